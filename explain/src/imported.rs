//! What customers sent (curl's times, HAR, NetLog, lines of logs) in, a verdict of grade `app` on every request in it out.
//!
//! ```text
//! capture::source ─ bytes ─► imports ─ requests ─► batch ─ usual round trips of the same server ─► app's judging ─► records, the slowest first
//! ```
//! Memory: a batch of requests and the slowest of all, whatever the files' size.

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use analysis::clock::{Instant, Span};
use analysis::conversation::app;
use analysis::judging::policy;
use analysis::judging::verdict::{Judgement, Reading};
use capture::source::{self, Source as Bytes};
use foldhash::HashMap;
pub use imports::Source;
use imports::{Contents, Key, Request, Seen};
use records::FORMAT;
use records::explained::Share;
use records::handshake::Judged;
use records::imported::{FlowKey, ImportReport, ImportedFile, ImportedRecord, SkippedParts};

use crate::filter::{Facts, Filter};
use crate::gather::{Sum, summary};

/// Requests that wait until what is usual of their server is known.
const BATCH: usize = 20_000;
/// Servers whose round trips are remembered, and round trips of each.
const MOST_SERVERS: usize = 10_000;
const MOST_ROUND_TRIPS: usize = 200;

/// Tells what `path` is, if it is something that a customer sent; absent for everything else, captures among them. Standard input (`-`)
/// is only looked at: whoever reads it next gets all of it.
///
/// # Errors
/// If it cannot be opened or read.
pub fn sniff(path: &Path) -> io::Result<Option<Source>> {
    if path.as_os_str() == "-" {
        let stdin = io::stdin();
        let mut stdin = stdin.lock();
        return head(Box::new(io::Cursor::new(stdin.fill_buf()?.to_vec()))).map(|head| imports::sniff(&head));
    }
    if !std::fs::metadata(path)?.is_file() {
        return Ok(None); // what is looked at in a pipe is gone
    }
    head(Box::new(File::open(path)?)).map(|head| imports::sniff(&head))
}

/// A file's bytes, unpacked where they are packed.
///
/// # Errors
/// If it cannot be opened.
pub fn open(path: &Path) -> io::Result<impl Read> {
    Bytes::new(Box::new(File::open(path)?))
}

/// The beginning of a file, unpacked; what cannot be unpacked is nothing.
fn head(from: Box<dyn Read + Send>) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let _ = Bytes::new(from)?.take(imports::HEAD as u64).read_to_end(&mut head);
    Ok(head)
}

/// Somebody who wants each admitted request as it is judged.
pub type Each<'a> = dyn FnMut(&ImportedRecord) -> ControlFlow<()> + 'a;

/// What to show.
pub struct Options<'a> {
    /// Which requests.
    pub filter: Filter,
    /// How many of the slowest.
    pub top: usize,
    /// Who gets each of them as it comes.
    pub each: Option<&'a mut Each<'a>>,
}

/// Reads files, of which [`sniff`] told what they are.
///
/// # Errors
/// Names the file that cannot be opened.
pub fn explain(files: &[(PathBuf, Source)], options: Options<'_>) -> Result<ImportReport, Unreadable> {
    let mut judging = Judging {
        options,
        batch: Vec::new(),
        usual: Usual::default(),
        shares: Vec::new(),
        selected: 0,
        requests: 0,
        slowest: Vec::new(),
        ended: false,
    };
    let mut imported = Vec::new();
    for (path, kind) in files {
        let name = path.display().to_string();
        let bytes = source::open(path, None).map_err(|source| Unreadable { file: name.clone(), source })?;
        let contents = imports::read(*kind, bytes, &mut |request| judging.take(&name, request));
        judging.flush();
        imported.push(described(name, *kind, contents));
    }
    Ok(judging.report(imported))
}

/// A file that cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {source}")]
pub struct Unreadable {
    /// The file.
    pub file: String,
    /// Why.
    pub source: io::Error,
}

fn described(name: String, kind: Source, contents: Contents) -> ImportedFile {
    let skipped =
        contents.skipped.iter().map(|s| SkippedParts { reason: s.reason.words().to_owned(), n: s.n, first: s.first.to_string() });
    ImportedFile { name, source: kind.to_string(), requests: contents.requests, skipped: skipped.collect(), cut: contents.cut }
}

struct Judging<'a> {
    options: Options<'a>,
    /// With the file of each.
    batch: Vec<(String, Request)>,
    usual: Usual,
    shares: Vec<(String, Sum)>,
    requests: u64,
    selected: u64,
    slowest: Vec<(Span, ImportedRecord)>,
    ended: bool,
}

impl Judging<'_> {
    fn take(&mut self, file: &str, request: Request) -> ControlFlow<()> {
        self.usual.learn(&request);
        self.batch.push((file.to_owned(), request));
        if self.batch.len() >= BATCH {
            self.flush();
        }
        if self.ended { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn flush(&mut self) {
        for (file, request) in std::mem::take(&mut self.batch) {
            self.requests += 1;
            if !self.ended {
                self.ended = self.judge(&file, &request).is_break();
            }
        }
    }

    fn judge(&mut self, file: &str, request: &Request) -> ControlFlow<()> {
        let judged = judged(request, self.usual.of(request));
        let (total, verdict) = match &judged {
            Some(judged) => (judged.reading.ledger.total, Some(&judged.judgement.verdict)),
            None => (Span::ZERO, None),
        };
        let facts = Facts {
            started: request.when.map(|when| Instant::from_nanos(when.ns)),
            total: verdict.map(|_| total),
            ends: [request.client, request.server].map(|end| (end.ip, end.port)),
            name: request.host.as_deref(),
            verdict,
        };
        if !self.options.filter.admit(&facts) {
            return ControlFlow::Continue(());
        }
        self.selected += 1;
        let record = record(self.requests, file, request, judged);
        let label = record.label();
        let place = self.shares.iter().position(|(known, _)| *known == label).unwrap_or_else(|| {
            self.shares.push((label, Sum::default()));
            self.shares.len() - 1
        });
        self.shares[place].1.add(record.judged.as_ref().map(|judged| (total, judged.judgement.excess)));
        if let Some(each) = &mut self.options.each {
            each(&record)?;
        }
        let place = self.slowest.partition_point(|(t, _)| *t >= total);
        if place < self.options.top {
            self.slowest.insert(place, (total, record));
            self.slowest.truncate(self.options.top);
        }
        ControlFlow::Continue(())
    }

    fn report(self, imported: Vec<ImportedFile>) -> ImportReport {
        let summary: Vec<Share> = summary(self.shares.into_iter().map(|(label, sum)| sum.share(label)));
        ImportReport {
            format: FORMAT,
            imported,
            requests: self.requests,
            selected: self.selected,
            summary,
            slowest: self.slowest.into_iter().map(|(_, record)| record).collect(),
        }
    }
}

/// Reads and judges one; absent if its source tells no time of it.
pub fn judged(request: &Request, usual: Option<Span>) -> Option<Judged> {
    let said = |reading: Reading, judgement: Judgement, sentence: String| Judged { reading, judgement, sentence };
    match &request.seen {
        Seen::Client(trace) => {
            let mut reading = app::read(trace);
            let judgement = app::judge(trace, &mut reading, usual);
            let sentence = app::sentence(trace, &reading, &judgement);
            Some(said(reading, judgement, sentence))
        }
        Seen::Edge(trace) => {
            let mut reading = app::edge::read(trace);
            if reading.ledger.total == Span::ZERO && !trace.complete {
                return None;
            }
            let judgement = app::edge::judge(trace, &mut reading);
            let sentence = app::edge::sentence(&reading, &judgement);
            Some(said(reading, judgement, sentence))
        }
    }
}

fn record(id: u64, file: &str, request: &Request, judged: Option<Judged>) -> ImportedRecord {
    let key = |key: Key| FlowKey { client: key.client.to_string(), server: key.server.map(|server| server.to_string()) };
    ImportedRecord {
        format: FORMAT,
        id,
        file: file.to_owned(),
        place: request.place.to_string(),
        source: request.source.to_string(),
        seen_by: if request.source.at_the_edge() { "edge" } else { "client" }.to_owned(),
        started: request.when.map(|when| when.text()),
        started_ns: request.when.map(|when| when.ns),
        client: request.client.to_string(),
        server: request.server.to_string(),
        url: request.url.clone(),
        server_name: request.host.clone(),
        version: request.version.clone(),
        reused: request.reused(),
        status: request.status,
        error: request.error.clone(),
        judged,
        key: request.key().map(key),
        random: request.random.map(|random| analysis::key::Key::Random(random).to_string()),
        cannot_know: request.unknown.iter().map(|unknown| unknown.words().to_owned()).collect(),
    }
}

/// The round trips that TCP's handshakes with each server tell.
#[derive(Default)]
struct Usual(HashMap<String, Vec<Span>>);

impl Usual {
    fn learn(&mut self, request: &Request) {
        let Seen::Client(trace) = &request.seen else { return };
        let connect = trace.connect.and_then(|connect| Some(connect.done? - connect.began)).filter(|span| *span > Span::ZERO);
        let (Some(round_trip), Some(server)) = (connect, server(request)) else { return };
        if self.0.len() < MOST_SERVERS || self.0.contains_key(&server) {
            let known = self.0.entry(server).or_default();
            if known.len() < MOST_ROUND_TRIPS {
                known.insert(known.partition_point(|known| *known <= round_trip), round_trip);
            }
        }
    }

    /// The lower quarter of a server's round trips, once there are enough: what is slow is among them.
    fn of(&self, request: &Request) -> Option<Span> {
        let known = self.0.get(&server(request)?)?;
        (known.len() >= policy::ENOUGH).then(|| known[(known.len() - 1) / 4])
    }
}

/// What stands for a server's place in the network: its address, or its name.
fn server(request: &Request) -> Option<String> {
    request.server.ip.map(|ip| ip.to_string()).or_else(|| request.host.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ops::ControlFlow;

    fn requests(json: &str) -> Vec<Request> {
        let mut found = Vec::new();
        imports::read(Source::Curl, json.as_bytes(), &mut |request| {
            found.push(request);
            ControlFlow::Continue(())
        });
        found
    }

    fn curl(connect: f64) -> String {
        let (tls, total) = (connect + 0.021, connect + 0.043);
        format!(
            r#"{{"time_namelookup":0.001,"time_connect":{connect},"time_appconnect":{tls},"time_pretransfer":{tls},"time_starttransfer":{total},"time_total":{total},"num_connects":1,"remote_ip":"198.51.100.1","remote_port":443,"url_effective":"https://a.test/"}}"#
        )
    }

    #[test]
    fn round_trips_to_the_same_server_tell_what_is_usual() {
        let all = requests(&[0.021, 0.022, 0.3, 0.021].map(curl).join("\n"));
        let mut usual = Usual::default();
        assert_eq!(usual.of(&all[0]), None);
        all.iter().for_each(|request| usual.learn(request));
        assert_eq!(usual.of(&all[0]), Some(Span::from_millis(20)));
        let label = |request| judged(request, usual.of(request)).map(|judged| judged.judgement.verdict.label());
        assert_eq!((label(&all[0]).as_deref(), label(&all[2]).as_deref()), (Some("healthy"), Some("inconclusive")));
    }
}
