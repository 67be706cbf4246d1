//! HAProxy's log: `option tcplog`, `httplog`, `httpslog`, any of them with `%Th` and `%Ti` before its timers, and what it says of
//! handshakes that failed.

use std::sync::LazyLock;

use analysis::clock::Span;
use analysis::conversation::app::edge::EdgeTrace;
use enumset::EnumSet;
use regex::Regex;

use super::{address_of, asked_for, edge, ms};
use crate::haproxy::{Steps, Timers, line as taken_apart};
use crate::lines::words;
use crate::logline::own::own;
use crate::request::{Place, Request};
use crate::when::When;
use crate::{Reason, Source};

/// Patterns, compiled once.
struct Patterns {
    /// `frontend/bind: SSL handshake failure`.
    failed: Regex,
    /// `%Th` by name.
    named: Regex,
}

#[expect(clippy::unwrap_used, reason = "the patterns are fixed; a test compiles them")]
static PATTERNS: LazyLock<Patterns> = LazyLock::new(|| Patterns {
    failed: Regex::new(r"^\S+: (?:.*SSL.*|.*handshake.*)$").unwrap(),
    named: Regex::new(r"\bTh=(\d+)\b").unwrap(),
});

/// Absent if it is no such line.
pub(super) fn read(place: Place, line: &str) -> Option<Result<Request, Reason>> {
    let own = own(line).text;
    let found = taken_apart(&own)?;
    // What a client wrote is blank there, and in its place here.
    let whole = |rest: &str| &line[line.len() - rest.len()..];
    if let Some(served) = found.served() {
        let named = PATTERNS.named.captures(found.rest).map(|th| th[1].to_owned());
        let mut request = edge(place, Source::HaProxy, trace(&served.timers, named.as_deref()), EnumSet::empty());
        request.client = found.client?.into();
        request.when = When::common(found.time);
        let rest = words(whole(served.rest));
        if matches!(served.timers.steps, Steps::Http(_)) {
            request.status = rest.first().and_then(|status| status.parse().ok()).filter(|status| *status > 0);
            let asked = rest.iter().find(|word| {
                word.ends_with("HTTP/1.1")
                    || word.ends_with("HTTP/1.0")
                    || word.ends_with("HTTP/2.0")
                    || word.ends_with("HTTP/3.0")
            });
            // `option httpslog`: errors and whether it was resumed, then name, version and cipher.
            let tls: Option<[&str; 3]> = rest.last().and_then(|last| last.split('/').collect::<Vec<_>>().try_into().ok());
            let mut host = None;
            if let Some([name, version, _]) = tls.filter(|[_, version, _]| version.starts_with("TLSv")) {
                request.version = super::aws::tls_version(version);
                host = Some(name);
            }
            asked_for(&mut request, host, asked.and_then(|asked| address_of(asked)));
        }
        return Some(Ok(request));
    }
    if !PATTERNS.failed.is_match(found.rest) {
        return None;
    }
    let trace = EdgeTrace { complete: false, ..EdgeTrace::default() };
    let mut request = edge(place, Source::HaProxy, trace, EnumSet::empty());
    request.client = found.client?.into();
    request.when = When::common(found.time);
    let why = whole(found.rest).split_once(": ").map_or("", |(_, why)| why);
    request.error = Some(crate::request::shortened(why).to_owned());
    Some(Ok(request))
}

/// The timers in their order; -1 is a step that was not reached.
fn trace(timers: &Timers<'_>, named: Option<&str>) -> EdgeTrace {
    let add = |a: Option<Span>, b: Option<Span>| a.map_or(b, |a| Some(a + b.unwrap_or_default()));
    let mut trace = match timers.steps {
        // How long data went to and fro afterwards is nobody's stall.
        Steps::Tcp([own, backend, _]) => {
            let backend = ms(backend);
            EdgeTrace { own: ms(own), backend, complete: backend.is_some(), ..EdgeTrace::default() }
        }
        Steps::Http([receiving, own, connect, answer, _]) => {
            let answer = ms(answer);
            let backend = add(ms(connect), answer);
            EdgeTrace { receiving: ms(receiving), own: ms(own), backend, complete: answer.is_some(), ..EdgeTrace::default() }
        }
    };
    trace.handshake = named.or(timers.th).and_then(ms);
    // Th is 0 for all requests of a connection but its first.
    if trace.handshake == Some(Span::ZERO) {
        (trace.handshake, trace.reused) = (None, true);
    }
    trace
}
