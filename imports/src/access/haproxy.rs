//! HAProxy's log: `option tcplog`, `httplog`, `httpslog`, any of them with `%Th` and `%Ti` before its timers, and what it says of
//! handshakes that failed.

use std::sync::LazyLock;

use analysis::clock::Span;
use analysis::conversation::app::edge::EdgeTrace;
use enumset::EnumSet;
use regex::Regex;

use super::{address_of, asked_for, edge, ms};
use crate::lines::words;
use crate::logline::endpoint;
use crate::request::{Place, Request};
use crate::when::When;
use crate::{Reason, Source};

/// Patterns, compiled once.
struct Patterns {
    /// `client:port [time] frontend backend/server timers rest`.
    line: Regex,
    /// `client:port [time] frontend/bind: SSL handshake failure`.
    failed: Regex,
    /// `%Th` by name.
    named: Regex,
}

#[expect(clippy::unwrap_used, reason = "the patterns are fixed; a test compiles them")]
static PATTERNS: LazyLock<Patterns> = LazyLock::new(|| {
    Patterns {
    line: Regex::new(
        r"(?:^|\s)(?<client>\S+:\d{1,5}) \[(?<time>\d{1,2}/[A-Z][a-z]{2}/\d{4}:[^\]]{8,20})\] (?<front>\S+) (?<back>[^\s/]+/\S+) (?:Th=(?<th>\d+) )?(?<timers>[+-]?\d+(?:/[+-]?\d+){2,6})(?<rest>(?: .*)?)$",
    )
    .unwrap(),
    failed: Regex::new(r"(?:^|\s)(?<client>\S+:\d{1,5}) \[(?<time>\d{1,2}/[A-Z][a-z]{2}/\d{4}:[^\]]{8,20})\] \S+: (?<why>.*SSL.*|.*handshake.*)$").unwrap(),
    named: Regex::new(r"\bTh=(\d+)\b").unwrap(),
}
});

/// Absent if it is no such line.
pub(super) fn read(place: Place, line: &str) -> Option<Result<Request, Reason>> {
    if let Some(found) = PATTERNS.line.captures(line) {
        let timers: Vec<&str> = found["timers"].split('/').collect();
        let named = PATTERNS.named.captures(line).map(|th| th[1].to_owned());
        let trace = trace(&timers, named.as_deref())?;
        let mut request = edge(place, Source::HaProxy, trace, EnumSet::empty());
        if !found["front"].ends_with('~') && named.is_none() && timers.len() != 7 {
            // No TLS ends here: what passes may be TLS all the same.
            request.unknown |= crate::request::Unknown::Handshake;
        }
        request.client = endpoint(&found["client"])?.into();
        request.when = When::common(&found["time"]);
        let rest = words(&found["rest"]);
        if timers.len() > 3 {
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
    let found = PATTERNS.failed.captures(line)?;
    let trace = EdgeTrace { complete: false, ..EdgeTrace::default() };
    let mut request = edge(place, Source::HaProxy, trace, EnumSet::empty());
    request.client = endpoint(&found["client"])?.into();
    request.when = When::common(&found["time"]);
    request.error = Some(crate::request::shortened(&found["why"]).to_owned());
    Some(Ok(request))
}

/// The timers in their order; -1 is a step that was not reached.
fn trace(timers: &[&str], named: Option<&str>) -> Option<EdgeTrace> {
    let at = |n: usize| timers.get(n).and_then(|text| ms(text));
    let add = |a: Option<Span>, b: Option<Span>| a.map_or(b, |a| Some(a + b.unwrap_or_default()));
    let mut trace = match timers.len() {
        // Tw/Tc/Tt: how long data went to and fro afterwards is nobody's stall.
        3 => EdgeTrace { own: at(0), backend: at(1), complete: at(1).is_some(), ..EdgeTrace::default() },
        // TR/Tw/Tc/Tr/Ta
        5 => EdgeTrace {
            receiving: at(0),
            own: at(1),
            backend: add(at(2), at(3)),
            complete: at(3).is_some(),
            ..EdgeTrace::default()
        },
        // Th/Ti/TR/Tw/Tc/Tr/Ta: Ti is a client that had nothing to ask yet.
        7 => EdgeTrace {
            handshake: at(0),
            receiving: at(2),
            own: at(3),
            backend: add(at(4), at(5)),
            complete: at(5).is_some(),
            ..EdgeTrace::default()
        },
        _ => return None,
    };
    if let Some(th) = named.and_then(ms) {
        trace.handshake = Some(th);
    }
    // Th is 0 for all requests of a connection but its first.
    if trace.handshake == Some(Span::ZERO) {
        (trace.handshake, trace.reused) = (None, true);
    }
    Some(trace)
}
