//! Envoy's access log as text: its default format, and Istio's, which has the client's end.

use analysis::clock::Span;
use analysis::conversation::app::edge::EdgeTrace;
use enumset::EnumSet;

use super::{address_of, asked_for, edge, ms};
use crate::lines::words;
use crate::logline::endpoint;
use crate::request::{Place, Request};
use crate::when::When;
use crate::{Reason, Source};

/// Absent if it is no such line.
pub(super) fn read(place: Place, line: &str) -> Option<Result<Request, Reason>> {
    if !line.starts_with('[') {
        return None;
    }
    let words = words(line);
    let [time, asked, status, _, ref rest @ ..] = words[..] else { return None };
    let when = When::iso(time, false)?;
    let status: u16 = status.parse().ok()?;
    // Istio puts what went wrong between the flags and the counts.
    let (istio, counts) = match rest {
        [_, _, _, received, ..] if rest[0].parse::<u64>().is_err() && received.parse::<u64>().is_ok() => (true, &rest[3..]),
        _ => (false, rest),
    };
    let [received, sent, duration, upstream, _, _, _, authority, ref behind @ ..] = *counts else { return None };
    if received.parse::<u64>().is_err() || sent.parse::<u64>().is_err() {
        return None;
    }
    // A connection without a request: its duration is how long it lived, nobody's stall.
    if asked.trim_matches(['-', ' ']).is_empty() {
        return Some(Err(Reason::NoTimes));
    }
    let trace = divided(ms(duration)?, ms(upstream), None, status != 0);
    let mut request = edge(place, Source::Envoy, trace, EnumSet::empty());
    request.when = Some(when);
    request.status = Some(status).filter(|status| *status > 0);
    asked_for(&mut request, Some(authority), address_of(asked));
    if istio {
        // upstream host, cluster, upstream's local address, then both ends of the client's connection, and the name asked for.
        request.server = behind.get(3).and_then(|end| endpoint(end)).map(Into::into).unwrap_or_default();
        request.client = behind.get(4).and_then(|end| endpoint(end)).map(super::connected).unwrap_or_default();
    }
    Some(Ok(request))
}

/// Envoy's times: all of it, what its upstream took, and what came in until the request's last byte.
pub(super) fn divided(duration: Span, upstream: Option<Span>, receiving: Option<Span>, complete: bool) -> EdgeTrace {
    let backend = upstream.map(|upstream| upstream.min(duration));
    let rest = duration - backend.unwrap_or_default();
    let receiving = receiving.map(|receiving| receiving.min(rest));
    EdgeTrace { receiving, backend, undivided: Some(rest - receiving.unwrap_or_default()), complete, ..EdgeTrace::default() }
}
