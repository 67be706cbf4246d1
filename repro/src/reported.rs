//! From what a customer reports to what would reproduce it: whom to call, with which client, how many at once.
//!
//! In: the requests of a file (curl's times, a HAR, a NetLog, lines of logs). Out: targets, the slowest first, and a client. What the file
//! cannot say (where the customer is, what else his machine does) it does not say: name it by `--vantage` and `--load`.

use std::collections::BTreeMap;
use std::io::Read;
use std::ops::ControlFlow;

use agent::{ClientKind, ClientSpec};
use analysis::clock::Span;
use imports::{Request, Seen, Source};

use crate::Error;
use crate::scenario::Bearable;
use crate::targets::RealTarget;

/// Targets that are taken from one file.
const MOST_TARGETS: usize = 4;
/// Requests that are kept to count how many there were at once.
const MOST_REQUESTS: usize = 100_000;

/// What a file reports, as far as a run can use it.
#[derive(Clone, Debug)]
pub struct Reported {
    /// Whom to call, the slowest first; none where the file names no https address.
    pub targets: Vec<RealTarget>,
    /// The client: of the same kind, as many as there were at once.
    pub client: ClientSpec,
    /// The file in a sentence.
    pub words: String,
}

/// One server of a file.
struct Server {
    target: RealTarget,
    slowest: Span,
    /// From when to when each new connection to it was waited for, in nanoseconds of the file's clock.
    spans: Vec<(i64, i64)>,
}

/// Reads a file of this kind, called `name`.
///
/// # Errors
/// If it holds no request at all.
pub fn read(name: &str, source: Source, from: impl Read) -> Result<Reported, Error> {
    let mut servers: BTreeMap<String, Server> = BTreeMap::new();
    let (mut kept, mut slowest) = (0, Span::ZERO);
    let contents = imports::read(source, from, &mut |request| {
        let lasted = lasted(&request);
        slowest = slowest.max(lasted);
        if let Some(target) = target(&request).filter(|_| !request.reused()) {
            let server =
                servers.entry(target.name()).or_insert_with(|| Server { target, slowest: Span::ZERO, spans: Vec::new() });
            server.slowest = server.slowest.max(lasted);
            if let (Some(begun), true) = (begun(&request), kept < MOST_REQUESTS) {
                server.spans.push((begun, begun.saturating_add(lasted.nanos())));
                kept += 1;
            }
        }
        ControlFlow::Continue(())
    });
    if contents.requests == 0 {
        let skipped: Vec<String> = contents.skipped.iter().map(|s| format!("{} {}", s.n, s.reason.words())).collect();
        let why = if skipped.is_empty() { "it is empty".into() } else { skipped.join("; ") };
        return Err(Error::Scenario(format!("{name}: no request can be read from it: {why}")));
    }
    let mut servers: Vec<Server> = servers.into_values().collect();
    servers.sort_by_key(|server| std::cmp::Reverse(server.slowest));
    let kind = if source == Source::Curl { ClientKind::Curl } else { ClientKind::Probe };
    let at_once = servers.first().map_or(1, |server| at_once(&server.spans)).clamp(1, Bearable::default().clients);
    let words = format!("{} requests by {name} ({}), the slowest in {slowest}", contents.requests, source.words());
    let targets = servers.into_iter().take(MOST_TARGETS).map(|server| server.target).collect();
    Ok(Reported { targets, client: ClientSpec { concurrency: at_once, ..ClientSpec::new(kind) }, words })
}

fn target(request: &Request) -> Option<RealTarget> {
    let url = request.url.as_ref().and_then(|url| url.parse().ok());
    url.or_else(|| {
        let (host, port) = (request.host.as_ref()?, request.port.unwrap_or(443));
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        format!("https://{host}:{port}{}", request.path.as_deref().filter(|path| path.starts_with('/')).unwrap_or("/"))
            .parse()
            .ok()
    })
}

fn lasted(request: &Request) -> Span {
    match &request.seen {
        Seen::Client(trace) => trace.ended - trace.started,
        Seen::Edge(trace) => {
            [trace.handshake, trace.receiving, trace.own, trace.backend, trace.undivided].into_iter().flatten().sum()
        }
    }
}

fn begun(request: &Request) -> Option<i64> {
    request.when.map(|when| when.ns)
}

/// The most spans that overlap at any moment.
fn at_once(spans: &[(i64, i64)]) -> usize {
    // Ends before beginnings at the same moment: what ended made room.
    let mut moments: Vec<(i64, i32)> = spans.iter().flat_map(|(from, to)| [(*from, 1), (*to, -1)]).collect();
    moments.sort_unstable();
    let (mut now, mut most) = (0_i32, 0);
    for (_, change) in moments {
        now += change;
        most = most.max(now);
    }
    usize::try_from(most).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn reported(file: &str) -> Result<Reported, Error> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../imports/tests/customers").join(file);
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let source = imports::sniff(&bytes).unwrap_or_else(|| panic!("{file} is something that customers send"));
        read(file, source, bytes.as_slice())
    }

    #[test]
    fn a_curls_times_are_run_again_by_curl() {
        let found = reported("made/curl-late-flight.json").expect("it has a request");
        assert_eq!((found.client.kind, found.client.concurrency, found.targets.len()), (ClientKind::Curl, 1, 1));
        assert!(found.targets[0].to_string().starts_with("https://"), "{}", found.targets[0]);
    }

    #[test]
    fn a_browsers_page_is_run_again_by_our_client() {
        for file in ["made/chromium.har", "made/netlog.json"] {
            let found = reported(file).expect("it has requests");
            assert!(found.client.kind == ClientKind::Probe && !found.targets.is_empty(), "{file}: {found:?}");
            assert!((1..=50).contains(&found.client.concurrency));
        }
    }

    #[test]
    fn a_log_of_an_edge_names_no_server() {
        let found = reported("made/haproxy-handshake.log").expect("it has lines");
        assert!(found.targets.is_empty(), "{:?}", found.targets);
    }

    #[test]
    fn what_overlaps_is_counted() {
        assert_eq!(at_once(&[]), 0);
        assert_eq!(at_once(&[(0, 10), (10, 20)]), 1, "one ended when the other began");
        assert_eq!(at_once(&[(0, 10), (5, 20), (6, 7), (30, 40)]), 3);
    }

    #[test]
    fn a_file_without_requests_says_why() {
        let error =
            read("x.har", Source::Har, b"{\"log\": {\"entries\": []}}".as_slice()).expect_err("there is none").to_string();
        assert!(error.starts_with("x.har: no request can be read"), "{error}");
    }
}
