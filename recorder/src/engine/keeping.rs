//! What is kept of a handshake, and when that is said: once its file is on the disk, and not before.
//!
//! A write that failed is tried again while memory has the packets. What was written while a connection went on is written anew when
//! that is over: what was true then may not be the end of it.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use jiff::Timestamp;
use lru::LruCache;
use serving::otlp::trace::Trace;
use tokio::sync::mpsc::Sender;
use tracing::{debug, info};

use super::{Engine, Known, Later};
use crate::admission::network_of;
use crate::error::NotKept;
use crate::evidence_store::{Answer, WriteRequest};
use crate::flow_report::{FlowReport, Wanted, connection, flow_report};
use crate::memory::Packet;
use crate::metrics::{ByCulpritAndPlace, ByTrigger, EvidenceLabel, Metrics};
use crate::screen::Connection;
use crate::sources::TriggerRequest;
use crate::telemetry::{lies_in, trace};
use crate::trigger::{Source, Trigger};
use crate::view::{Shown, SlowHandshake};

/// Until a file that could not be written is tried again.
const AGAIN: Duration = Duration::from_secs(10);
/// Connections remembered whose file may have to be written anew.
const MOST_KEPT: usize = 4_096;
/// Bytes of log lines and journal entries remembered with them.
const MOST_WORDS: usize = 16 << 20;

impl Engine {
    /// Keeps a connection, unless it is not to be.
    pub(super) fn keep(&mut self, asked: TriggerRequest, known: Known, counted: Option<ByCulpritAndPlace>) {
        let TriggerRequest { trigger, at, answer } = asked;
        let Known { of, among } = known;
        // A person who asks is not rationed.
        let admitted = match trigger.source {
            Source::Asked => Ok(()),
            _ => self.admission.ask(self.begun.elapsed(), trigger.client.ip(), of),
        };
        if let Err(refused) = admitted {
            self.outcome(trigger.source.name(), refused.name());
            let client = self.called(trigger.client);
            debug!(client, why = refused.name(), source = trigger.source.name(), "a handshake is not kept");
            if let Some(answer) = answer {
                answer(Err(NotKept::Refused(refused)));
            }
            return;
        }
        let packets = self.packets(of);
        self.metrics.extraction.observe(at.elapsed().as_secs_f64());
        let held = packets.len();
        // One that has a file has one file. What a log said of it says more than that somebody asked, or that it was found.
        let before = self.files.get(of).map(|kept| Before::from(&*kept));
        let source = trigger.source.name();
        let (trigger, among) = match before.as_ref().and_then(|kept| kept.logged.clone()) {
            Some(logged) if !matches!(trigger.source, Source::Log(_)) => logged,
            _ => (trigger, among),
        };
        // Of what memory has begun to forget the file that is there says more.
        if let Some(kept) = before.as_ref().filter(|kept| kept.packets > held) {
            let there = kept.is_there.then(|| self.config.evidence.folder.join(&kept.name));
            self.outcome(source, if there.is_some() { "duplicate" } else { "gone" });
            if let Some(answer) = answer {
                answer(there.ok_or(NotKept::Gone));
            }
            return;
        }
        let Some(made) = self.make(packets, &trigger, among) else {
            self.outcome(source, "gone");
            if let Some(answer) = answer {
                answer(Err(NotKept::NoConnection));
            }
            return;
        };
        let (number, counted) = match &before {
            Some(kept) => (kept.number, counted.or(kept.counted.clone())),
            None => (self.files.number(), counted),
        };
        let announcement = Announcement { source, ..self.announcement(&made, number, &trigger, counted.clone()) };
        if before.is_none() {
            self.shown.slow(announcement.handshake.clone());
        }
        let (name, news) = (announcement.name.clone(), News::of(announcement));
        let replaces = before.map(|kept| kept.name).filter(|earlier| *earlier != name);
        self.submit(name.clone(), replaces.clone(), made, at, news.when_written(name.clone(), answer));
        self.files.put(of, Kept { number, trigger, among, name, replaces, packets: held, news, counted, look: None });
        self.look_after(of, self.config.evidence.follow.0);
    }

    /// A look at a connection that has a file; it takes the place of one that was to come.
    fn look_after(&mut self, of: Connection, after: Duration) {
        let Some(kept) = self.files.get(of) else { return };
        let due = Instant::now() + after;
        kept.look = Some(due);
        self.later(after, Later::Extend(of, due));
    }

    /// A look that was to come, unless another one took its place.
    pub(super) fn extend(&mut self, of: Connection, due: Instant) {
        if self.files.get(of).is_some_and(|kept| kept.look == Some(due)) {
            self.write_anew(of, false);
        }
    }

    /// What to call a client where anybody may read it.
    fn called(&self, client: SocketAddr) -> String {
        if self.config.capture.anonymise { network_of(client.ip()).to_string() } else { client.to_string() }
    }

    fn announcement(
        &mut self,
        made: &FlowReport,
        number: u64,
        trigger: &Trigger,
        counted: Option<ByCulpritAndPlace>,
    ) -> Announcement {
        let anonymise = self.config.capture.anonymise;
        let mut trace = trace(&made.record, &self.called(trigger.client));
        let name = name_of(made, trigger, anonymise.then_some(&trace));
        lies_in(&mut trace, &name);
        let network = self.context.origins.of(trigger.client.ip()).map(|origin| origin.to_string());
        Announcement {
            metrics: Arc::clone(&self.metrics),
            shown: Arc::clone(&self.shown),
            traces: self.context.traces.clone(),
            trace,
            handshake: SlowHandshake { number, network, ..slow_handshake(made, trigger, anonymise) },
            name,
            source: trigger.source.name(),
            counted,
        }
    }

    /// The packets of a connection.
    pub(super) fn packets(&self, of: Connection) -> Vec<Packet> {
        connection(self.memory.flow(of.flow), of.isn)
    }

    pub(super) fn make(&self, packets: Vec<Packet>, trigger: &Trigger, among: usize) -> Option<FlowReport> {
        let wanted = Wanted { trigger, among, until: Some(self.read_until) };
        flow_report(packets, wanted, &self.detector, &self.provenance(), self.threads.as_ref())
    }

    fn submit(&mut self, name: String, replaces: Option<String>, made: FlowReport, asked: Instant, done: Answer) {
        let request = WriteRequest { name, replaces, bytes: made.pcapng, asked, done: Some(done) };
        if let Err(request) = self.writer.submit(request) {
            self.metrics.evidence_failures.inc();
            if let Some(done) = request.done {
                done(Err(NotKept::Busy));
            }
        }
    }

    /// Writes the file of a connection once more: if it is over now, if there is more of it, or if it could not be written.
    pub(super) fn write_anew(&mut self, of: Connection, over: bool) {
        let Some(kept) = self.files.get(of) else { return };
        let (waits, held) = (kept.news.waits(), kept.packets);
        let packets = self.packets(of);
        if waits != Some(Waits::Failed) && !over && packets.len() <= held {
            if waits.is_some() {
                self.look_after(of, AGAIN);
            }
            return;
        }
        let Some(kept) = self.files.get(of) else { return };
        let (number, trigger, among, counted) = (kept.number, kept.trigger.clone(), kept.among, kept.counted.clone());
        let count = packets.len();
        // Of what memory has begun to forget the file that is there says more.
        let Some(made) = self.make(packets, &trigger, among).filter(|_| count >= held) else {
            return if waits.is_some() {
                self.files.forget(of)
            };
        };
        let announcement = self.announcement(&made, number, &trigger, counted);
        let Some(kept) = self.files.get(of) else { return };
        let name = announcement.name.clone();
        let before = std::mem::replace(&mut kept.name, name.clone());
        // A file that could not be written replaced nothing yet.
        let replaces = if waits == Some(Waits::Failed) { kept.replaces.take() } else { Some(before) };
        let replaces = replaces.filter(|earlier| *earlier != name);
        (kept.packets, kept.replaces) = (count, replaces.clone());
        let done = match kept.news.replace(announcement) {
            None => kept.news.when_written(name.clone(), None),
            Some(announcement) => announcement.again(),
        };
        // This is no new trigger: it does not count as one that took a second.
        self.submit(name, replaces, made, Instant::now(), done);
        let sooner = self.files.get(of).is_some_and(|kept| kept.look.is_some_and(|due| due > Instant::now()));
        if waits.is_some() && !sooner {
            self.look_after(of, AGAIN);
        }
    }
}

/// A connection with a file.
pub(super) struct Kept {
    /// Its number among all of them.
    pub number: u64,
    /// Whose word made it one.
    pub trigger: Trigger,
    /// How many connections that word may have meant.
    pub among: usize,
    /// The file's name.
    pub name: String,
    /// The file that it takes the place of, if it has another name.
    pub replaces: Option<String>,
    /// Packets in it.
    pub packets: usize,
    /// What is still to be said of it.
    pub news: News,
    /// By what a slow handshake is counted.
    pub counted: Option<ByCulpritAndPlace>,
    /// When it is to be looked at again.
    pub look: Option<Instant>,
}

/// What is known of a connection that is kept once more.
struct Before {
    number: u64,
    name: String,
    packets: usize,
    counted: Option<ByCulpritAndPlace>,
    /// The log's word, and how many connections that may have meant.
    logged: Option<(Trigger, usize)>,
    /// Whether the file is written.
    is_there: bool,
}

impl From<&Kept> for Before {
    fn from(kept: &Kept) -> Self {
        let logged = matches!(kept.trigger.source, Source::Log(_)).then(|| (kept.trigger.clone(), kept.among));
        let (name, counted) = (kept.name.clone(), kept.counted.clone());
        Self { number: kept.number, name, packets: kept.packets, counted, logged, is_there: kept.news.waits().is_none() }
    }
}

/// The files that were asked for lately.
pub(super) struct Files {
    kept: LruCache<Connection, Kept, RandomState>,
    /// Bytes of the words in them.
    words: usize,
    /// How many there were.
    ever: u64,
}

impl Default for Files {
    fn default() -> Self {
        let most = NonZeroUsize::new(MOST_KEPT).unwrap_or(NonZeroUsize::MIN);
        Self { kept: LruCache::with_hasher(most, RandomState::default()), words: 0, ever: 0 }
    }
}

impl Files {
    /// The next one's number.
    pub fn number(&mut self) -> u64 {
        self.ever += 1;
        self.ever
    }

    pub fn put(&mut self, of: Connection, kept: Kept) {
        self.words += kept.trigger.words();
        let before = self.kept.push(of, kept).map(|(_, before)| before);
        before.into_iter().for_each(|before| self.leave(before));
        while self.words > MOST_WORDS
            && let Some((_, oldest)) = self.kept.pop_lru()
        {
            self.leave(oldest);
        }
    }

    fn leave(&mut self, kept: Kept) {
        self.words -= kept.trigger.words();
        kept.news.give_up();
    }

    pub fn get(&mut self, of: Connection) -> Option<&mut Kept> {
        self.kept.get_mut(&of)
    }

    /// Memory has nothing of it any more.
    pub fn forget(&mut self, of: Connection) {
        if let Some(kept) = self.kept.pop(&of) {
            self.leave(kept);
        }
    }
}

/// What to say of a handshake once its file is there. Whoever takes it says it: nobody else does.
#[derive(Clone)]
pub(super) struct News(Arc<Mutex<Untold>>);

struct Untold {
    /// Absent once it was said.
    what: Option<Announcement>,
    waits: Waits,
}

/// What news wait for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Waits {
    /// The disk.
    Disk,
    /// The disk, which has one try.
    LastTry,
    /// Somebody who tries again: it failed.
    Failed,
}

impl News {
    pub fn of(announcement: Announcement) -> Self {
        Self(Arc::new(Mutex::new(Untold { what: Some(announcement), waits: Waits::Disk })))
    }

    fn lock(&self) -> MutexGuard<'_, Untold> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What they wait for, if the file is not there yet.
    pub fn waits(&self) -> Option<Waits> {
        let untold = self.lock();
        untold.what.as_ref().map(|_| untold.waits)
    }

    /// Something else is to be said, if anything still is: a file was made anew. Gives it back if nothing is.
    pub fn replace(&self, announcement: Announcement) -> Option<Announcement> {
        let mut untold = self.lock();
        match &mut untold.what {
            Some(waiting) => {
                // Whose word it was is counted.
                *waiting = Announcement { source: waiting.source, ..announcement };
                untold.waits = Waits::Disk;
                None
            }
            None => Some(announcement),
        }
    }

    /// Says it as soon as the file is there; then tells whoever asked what became of it.
    pub fn when_written(&self, name: String, asked: Option<Answer>) -> Answer {
        let news = self.clone();
        Box::new(move |written| {
            let mut untold = news.lock();
            let of_this = untold.what.as_ref().is_some_and(|announcement| announcement.name == name);
            let told = match (&written, untold.waits) {
                (Err(_), Waits::Disk | Waits::Failed) if of_this => {
                    untold.waits = Waits::Failed;
                    None
                }
                _ if of_this => untold.what.take(),
                _ => None,
            };
            drop(untold);
            if let Some(announcement) = told {
                if written.is_ok() { announcement.kept() } else { announcement.outcome("failed") }
            }
            if let Some(answer) = asked {
                answer(written);
            }
        })
    }

    /// Nobody tries again: what failed has failed, and what the disk has may still come.
    fn give_up(&self) {
        let mut untold = self.lock();
        let failed = if untold.waits == Waits::Failed { untold.what.take() } else { None };
        untold.waits = Waits::LastTry;
        drop(untold);
        failed.into_iter().for_each(|announcement| announcement.outcome("failed"));
    }
}

/// What is said of a file.
pub(super) struct Announcement {
    pub metrics: Arc<Metrics>,
    pub shown: Arc<Shown>,
    /// Where the trace goes, where somebody wants it.
    pub traces: Option<Sender<Trace>>,
    pub trace: Trace,
    pub handshake: SlowHandshake,
    pub name: String,
    pub source: &'static str,
    pub counted: Option<ByCulpritAndPlace>,
}

impl Announcement {
    fn outcome(&self, outcome: &str) {
        let label = ByTrigger { source: self.source.into(), outcome: outcome.into() };
        self.metrics.triggers.get_or_create(&label).inc();
    }

    fn kept(self) {
        self.outcome("kept");
        info!(file = self.name, source = self.source, verdict = self.handshake.verdict, "a handshake is kept");
        let label = EvidenceLabel::of(self.trace.hex(), &self.name);
        if let Some(counted) = &self.counted {
            let at = Some(std::time::SystemTime::now());
            self.metrics.slow.get_or_create(counted).inc_by(0, Some(label), at); // it was counted when it was found
        }
        if let Some(traces) = &self.traces {
            // A collector that is away costs traces, nothing else.
            let _ = traces.try_send(self.trace);
        }
        self.shown.slow(SlowHandshake { file: Some(self.name), ..self.handshake });
    }

    /// What was kept is written anew: the page shows what is known now.
    pub fn again(self) -> Answer {
        Box::new(move |written| {
            if written.is_ok() {
                self.shown.slow(SlowHandshake { file: Some(self.name), ..self.handshake });
            }
        })
    }
}

/// "20261125T131903.123Z_192.0.2.7-40000_client-cpu_starved.pcapng": sorts by time, says who and whom. Where clients are to be networks,
/// so they are here, for the name is shown in many places; part of the trace's number then tells two of one moment apart.
pub(super) fn name_of(made: &FlowReport, trigger: &Trigger, trace: Option<&Trace>) -> String {
    let time = Timestamp::from_nanosecond(i128::from(made.record.started_ns)).unwrap_or_default();
    let client = match trace {
        Some(trace) => format!("{}-{}", network_of(trigger.client.ip()), &trace.hex()[..8]).replace('/', "-"),
        None => made.record.client.replace(['[', ']'], ""),
    };
    let client = client.replace(':', "-");
    let verdict: String =
        made.record.label().chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).collect();
    format!("{}_{client}_{verdict}.pcapng", time.strftime("%Y%m%dT%H%M%S.%3fZ"))
}

/// A handshake in a few words, of which no file is there yet.
pub(super) fn slow_handshake(made: &FlowReport, trigger: &Trigger, anonymise: bool) -> SlowHandshake {
    let record = &made.record;
    let judged = record.judged.as_ref();
    SlowHandshake {
        number: 0,
        started: record.started.clone(),
        client: if anonymise { network_of(trigger.client.ip()).to_string() } else { record.client.clone() },
        network: None,
        server_name: record.server_name.clone(),
        verdict: record.label(),
        total_ms: judged.map(|j| j.reading.ledger.total.millis()),
        sentence: judged.map(|j| j.sentence.clone()).or_else(|| record.not_judged.clone()).unwrap_or_default(),
        file: None,
        source: trigger.source.name().into(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use capture::ends::FlowName;

    use super::*;
    use crate::trigger::LogLine;

    const FILE: &str = "1_client.pcapng";

    fn announcement(metrics: &Arc<Metrics>) -> Announcement {
        let handshake = SlowHandshake::numbered(1);
        Announcement {
            metrics: Arc::clone(metrics),
            shown: Arc::default(),
            traces: None,
            trace: Trace::new("TLS handshake", 1, 0, 0),
            handshake,
            name: FILE.into(),
            source: "log",
            counted: None,
        }
    }

    fn outcomes(metrics: &Metrics) -> [u64; 2] {
        ["kept", "failed"]
            .map(|outcome| metrics.triggers.get_or_create(&ByTrigger { source: "log".into(), outcome: outcome.into() }).get())
    }

    #[test]
    fn what_waits_for_the_disk_has_not_failed_and_what_failed_is_said_once() {
        let metrics = Arc::new(Metrics::default());
        let news = News::of(announcement(&metrics));
        assert_eq!(news.waits(), Some(Waits::Disk));
        news.when_written(FILE.into(), None)(Err(NotKept::Busy));
        assert_eq!((news.waits(), outcomes(&metrics)), (Some(Waits::Failed), [0, 0]), "it is tried again");
        assert!(news.replace(announcement(&metrics)).is_none());
        assert_eq!(news.waits(), Some(Waits::Disk));
        // Nobody looks after it any more: what the disk has says what became of it.
        let (late, lost) = (news.when_written(FILE.into(), None), news.when_written(FILE.into(), None));
        news.give_up();
        assert_eq!(outcomes(&metrics), [0, 0]);
        late(Ok(PathBuf::new()));
        lost(Err(NotKept::Busy));
        assert_eq!((news.waits(), outcomes(&metrics)), (None, [1, 0]));
        let news = News::of(announcement(&metrics));
        news.when_written(FILE.into(), None)(Err(NotKept::Busy));
        news.give_up();
        assert_eq!((news.waits(), outcomes(&metrics)), (None, [1, 1]));
    }

    #[test]
    fn long_lines_are_remembered_of_as_many_files_as_fit() {
        let metrics = Arc::new(Metrics::default());
        let mut files = Files::default();
        let of = |port: u16| {
            let ends = [port, 443].map(|port| SocketAddr::from(([192, 0, 2, 7], port)));
            Connection { flow: FlowName::of(ends[0], ends[1]), isn: None }
        };
        let kept = || {
            let line = LogLine { text: String::new(), entry: Some(vec![b'x'; MOST_WORDS / 4]) };
            let client = SocketAddr::from(([192, 0, 2, 7], 40_000));
            let trigger = Trigger { client, server: None, source: Source::Log(line) };
            let news = News::of(announcement(&metrics));
            let name = FILE.to_owned();
            Kept { number: 1, trigger, among: 1, name, replaces: None, packets: 1, news, counted: None, look: None }
        };
        (1..=6).for_each(|port| files.put(of(port), kept()));
        files.put(of(6), kept());
        assert!((1..=6).filter(|port| files.get(of(*port)).is_some()).eq(3..=6), "the latest");
        files.forget(of(3));
        assert_eq!(files.words, 3 * (MOST_WORDS / 4));
    }
}
