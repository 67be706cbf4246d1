//! Logs of edges: lines of text or JSON, each in a form of its own.
//!
//! In: lines. Out: what the edge's program says of its own end ([`EdgeTrace`]). A line in no known form that names a client with its port,
//! as the recorder takes it for a trigger ([`logline`]), gives the key and, if it has one, the time of the handshake.

mod aws;
mod envoy;
mod haproxy;
mod named;

use std::io::Read;
use std::net::SocketAddr;

use analysis::clock::Span;
use analysis::conversation::app::edge::EdgeTrace;
use enumset::EnumSet;

use crate::lines::{self, Line};
use crate::logline;
use crate::request::{End, Place, Request, Seen, Unit, Unknown};
use crate::{Found, Reason, Source};

/// Logs within logs: docker's of the journal's of the proxy's.
const MOST_WITHIN: u32 = 3;

pub(crate) fn read(from: impl Read, found: &mut Found<'_, '_>) {
    let ended = lines::read(from, &mut |number, line| {
        let place = Place { unit: Unit::Line, number };
        match line {
            Line::Text(text) if text.trim().is_empty() || text.starts_with('#') => {}
            Line::Text(text) => match self::line(place, text) {
                Ok(request) => found.request(request),
                Err(reason) => found.skip(reason, place),
            },
            Line::NotUtf8 => found.skip(Reason::NotUtf8, place),
            Line::TooLong => found.skip(Reason::TooLong, place),
        }
        !found.ended
    });
    if let Err(error) = ended {
        found.cut(error);
    }
}

/// What kind of log a line is of; absent if it is of none.
pub(crate) fn source(line: &str) -> Option<Source> {
    match self::line(Place { unit: Unit::Line, number: 1 }, line) {
        Ok(request) => Some(request.source),
        // It is understood that it has no times.
        Err(Reason::NoTimes) => Some(Source::Line),
        Err(_) => None,
    }
}

fn line(place: Place, text: &str) -> Result<Request, Reason> {
    let mut request = within(place, text, MOST_WITHIN)?;
    request.say_what_is_absent();
    Ok(request)
}

fn within(place: Place, text: &str, deeper: u32) -> Result<Request, Reason> {
    let Some(json) = logline::object(text) else { return of_text(place, text) };
    let field = |name: &str| logline::lookup(&json, name);
    if let Some(kept) = logline::kept(&field).filter(|_| deeper > 0) {
        return within(place, kept.trim_end(), deeper - 1);
    }
    // Collectors keep a line with fields of their own about it; a request's own record keeps none, but what its client sent.
    let collects = deeper > 0 && !logline::is_of_a_request(&json);
    let words = logline::KEPT.iter().filter_map(|name| field(name)).filter(|_| collects);
    let of_kept =
        words.filter_map(|kept| within(place, kept.trim_end(), deeper - 1).ok()).find(|kept| kept.source != Source::Line);
    of_kept.map(Ok).or_else(|| named::read(place, &field)).unwrap_or_else(|| other(place, text))
}

fn of_text(place: Place, text: &str) -> Result<Request, Reason> {
    let labelled = logline::text::labels(text);
    let of_labels = || named::read(place, &|name| labelled.as_ref()?.get(name));
    aws::read(place, text)
        .or_else(|| envoy::read(place, text))
        .or_else(|| haproxy::read(place, text))
        .or_else(of_labels)
        .or_else(|| named::of_line(place, text))
        .unwrap_or_else(|| other(place, text))
}

/// A line of which only the client's end is known, and perhaps the handshake's time.
fn other(place: Place, text: &str) -> Result<Request, Reason> {
    let said = logline::read(text, &logline::Fields::default()).map_err(|why| match why {
        // A time without a unit is none.
        logline::Unread::NoUnit => Reason::NoTimes,
        _ => Reason::NotUnderstood,
    })?;
    let handshake = said.took.and_then(|took| Some(Span::from_nanos(i64::try_from(took.as_nanos()).ok()?)));
    let trace = EdgeTrace { handshake, complete: handshake.is_some(), ..EdgeTrace::default() };
    let mut request = edge(place, Source::Line, trace, EnumSet::empty());
    request.client = said.client.into();
    if handshake.is_none() {
        return Err(Reason::NoTimes);
    }
    Ok(request)
}

/// A request as an edge logs it.
fn edge(place: Place, source: Source, trace: EdgeTrace, unknown: EnumSet<Unknown>) -> Request {
    let mut unknown = unknown | Unknown::BeforeTheEdge;
    unknown |= if trace.handshake.is_some() { Unknown::TlsMessages } else { Unknown::Handshake };
    if trace.undivided.is_some_and(|span| span > Span::ZERO) {
        unknown |= Unknown::Division;
    }
    Request::new(place, source, Seen::Edge(trace), unknown)
}

/// The end of a connection: with port 0 it is one that Envoy took from a header, and no connection's.
fn connected(end: SocketAddr) -> End {
    let end = End::from(end);
    End { port: end.port.filter(|port| *port > 0), ..end }
}

/// Milliseconds of a log, whole or not; absent if it is negative, `-`, or none.
fn ms(text: &str) -> Option<Span> {
    seconds_of(text.trim().trim_start_matches('+'), 1e-3)
}

/// Seconds of a log.
fn seconds(text: &str) -> Option<Span> {
    seconds_of(text.trim(), 1.0)
}

fn seconds_of(text: &str, unit: f64) -> Option<Span> {
    let seconds = text.parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0)? * unit;
    // A year is no length of time that a log tells of.
    (seconds < 3.2e7).then(|| Span::from_micros((seconds * 1e6).round() as i64))
}

/// `GET /path HTTP/1.1` → its address.
fn address_of(request_line: &str) -> Option<&str> {
    request_line.split(' ').nth(1).filter(|address| !address.is_empty() && *address != "-")
}

/// Notes where a request went: by a whole address, or by a host and a path.
fn asked_for(request: &mut Request, host: Option<&str>, path: Option<&str>) {
    let host = host.map(str::trim).filter(|host| !host.is_empty() && *host != "-");
    match (host, path) {
        (_, Some(whole)) if whole.starts_with("https://") || whole.starts_with("http://") => request.asked_for(whole),
        (Some(host), path) => {
            request.asked_for(&format!("https://{host}{}", path.filter(|path| path.starts_with('/')).unwrap_or("/")));
        }
        (None, Some(path)) => {
            request.path = Some(crate::request::shortened(crate::request::queryless(path)).to_owned());
        }
        (None, None) => {}
    }
}

#[cfg(test)]
mod tests;
