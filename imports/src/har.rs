//! HAR (HTTP Archive 1.2): the browser's own clock, entry by entry, whatever the size of the bodies between them.
//!
//! A timing of -1 did not happen, or is not told: it is absent. `ssl` lies within `connect` by the specification, in Chromium's exports and
//! Playwright's, and behind it in Firefox's; of others `time`, which is the sum of all, tells which. No HAR names the client's end; `connection` is a number of the browser's own,
//! or the server's port.
//!
//! Not by the crate `har`: that takes a whole file into memory, and refuses it for one field of another type, or for its missing end.

use std::io::{BufReader, Read};
use std::ops::ControlFlow;

use analysis::clock::{Client, Instant};
use analysis::conversation::app::{AppTrace, Step, Tls};
use enumset::EnumSet;
use serde::Deserialize;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess};

use crate::json::{Each, Fields, Number, Object, TakeField, Text, was_enough};
use crate::request::{End, Place, Request, Seen, Unit, Unknown, shortened};
use crate::when::When;
use crate::{Found, Reason, Source};

/// No part of a request takes longer than a day, in milliseconds.
const LONGEST: f64 = 86_400_000.0;
/// How far `time` may be from the sum of its parts: exports round.
const ROUNDING: f64 = 2.0;

#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry {
    #[serde(rename = "startedDateTime")]
    started: Text,
    time: Number,
    request: Object<Asked>,
    response: Object<Answer>,
    timings: Object<Timings>,
    #[serde(rename = "serverIPAddress")]
    server: Text,
    #[serde(rename = "_fromCache")]
    cached: Text,
    /// Safari's word for where it had the answer from.
    #[serde(rename = "_fetchType")]
    fetched: Text,
    #[serde(rename = "_securityDetails")]
    security: Object<Security>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Security {
    protocol: Text,
}

/// Who wrote the file.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Creator {
    name: Text,
}

/// Whether `connect` includes `ssl`, as its writer is known to have it; absent of others.
fn tls_within(creator: &str) -> Option<bool> {
    match creator {
        "WebInspector" | "Playwright" => Some(true),
        "Firefox" => Some(false),
        _ => None,
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Asked {
    url: Text,
    #[serde(rename = "httpVersion")]
    version: Text,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Answer {
    status: Number,
    #[serde(rename = "httpVersion")]
    version: Text,
    #[serde(rename = "_error")]
    error: Text,
    #[serde(rename = "_fetchedViaServiceWorker")]
    by_worker: crate::json::Truth,
}

#[derive(Deserialize, Default, Clone, Copy)]
#[serde(default)]
struct Timings {
    blocked: Number,
    dns: Number,
    connect: Number,
    ssl: Number,
    send: Number,
    wait: Number,
    receive: Number,
}

pub(crate) fn read(from: impl Read, found: &mut Found<'_, '_>) {
    let mut from = BufReader::with_capacity(256 << 10, from);
    skip_mark(&mut from);
    let mut json = serde_json::Deserializer::from_reader(from);
    let mut top = Top { found, number: 0, entries: false, within: None };
    let read = Fields(&mut top).deserialize(&mut json);
    let (number, entries) = (top.number, top.entries);
    match read {
        Err(error) if was_enough(&error) => {}
        Err(error) if error.is_eof() => found.cut(format!("the file ends behind entry {number}")),
        Err(error) => found.cut(format!("behind entry {number}: {error}")),
        Ok(()) if !entries => found.cut("it has no log.entries"),
        Ok(()) => {}
    }
}

/// A byte order mark is no JSON.
pub(crate) fn skip_mark(from: &mut impl std::io::BufRead) {
    if from.fill_buf().is_ok_and(|head| head.starts_with(b"\xef\xbb\xbf")) {
        from.consume(3);
    }
}

/// The outer object, and `log` within it.
struct Top<'f, 'a, 'b> {
    found: &'f mut Found<'a, 'b>,
    number: u64,
    entries: bool,
    /// See [`tls_within`].
    within: Option<bool>,
}

impl TakeField for Top<'_, '_, '_> {
    fn take<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "log" => map.next_value_seed(Fields(self)),
            "creator" => {
                let creator = map.next_value::<Object<Creator>>()?.0.unwrap_or_default();
                self.within = creator.name.full().and_then(tls_within);
                Ok(())
            }
            "entries" => {
                self.entries = true;
                let (found, number, within) = (&mut *self.found, &mut self.number, self.within);
                map.next_value_seed(Each(&mut |entry: Object<Entry>| {
                    *number += 1;
                    let place = Place { unit: Unit::Entry, number: *number };
                    match entry.0.ok_or(Reason::NotUnderstood).and_then(|entry| request(place, &entry, within)) {
                        Ok(request) => found.request(request),
                        Err(reason) => found.skip(reason, place),
                    }
                    if found.ended { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                }))
            }
            _ => map.next_value::<IgnoredAny>().map(|_| ()),
        }
    }
}

fn request(place: Place, entry: &Entry, within: Option<bool>) -> Result<Request, Reason> {
    let asked = entry.request.0.as_ref().ok_or(Reason::NotUnderstood)?;
    let url = asked.url.full().ok_or(Reason::NotUnderstood)?;
    let answer = entry.response.0.as_ref();
    let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
    let by_worker = answer.is_some_and(|a| a.by_worker.0 == Some(true));
    let cached = entry.cached.full().is_some() || entry.fetched.full().is_some_and(|fetched| fetched != "Network Load");
    if !matches!(scheme, "https" | "http" | "wss" | "ws") || cached || by_worker {
        return Err(Reason::NotAsked);
    }
    let timings = entry.timings.0.ok_or(Reason::NoTimes)?;
    let told = [timings.blocked, timings.dns, timings.connect, timings.ssl, timings.send, timings.wait]
        .iter()
        .any(|t| t.positive().is_some_and(|t| t > 0.0));
    if !told {
        return Err(if answer.is_some_and(|a| a.status.0 == Some(304.0)) { Reason::NotAsked } else { Reason::NoTimes });
    }
    let version =
        [answer.map(|a| &a.version), Some(&asked.version)].into_iter().flatten().find_map(Text::full).unwrap_or_default();
    let quic = matches!(version.to_ascii_lowercase().as_str(), "h3" | "http/3" | "http/3.0") || version.starts_with("h3-");
    let secure = matches!(scheme, "https" | "wss");
    let (mut trace, unknown) = trace(timings, entry.time.positive(), secure, quic, within).ok_or(Reason::Contradiction)?;
    let error = answer.and_then(|a| a.error.full()).map(|text| shortened(text).to_owned());
    let status = answer.and_then(|a| a.status.whole()).filter(|status| *status > 0);
    trace.complete = status.is_some();
    if !trace.complete {
        give_up(&mut trace);
    }
    let tls = entry.security.0.as_ref().and_then(|security| security.protocol.full()).filter(|tls| tls.starts_with("TLS 1."));
    if let Some(handshake) = &mut trace.tls {
        // Of 1.2 it does not tell whether the session was resumed.
        handshake.rounds = handshake.rounds.or((tls == Some("TLS 1.3")).then_some(1));
    }
    let mut request = Request::new(place, Source::Har, Seen::Client(trace), unknown);
    request.asked_for(url);
    request.version = tls.map(str::to_owned);
    request.when = entry.started.full().and_then(|text| When::iso(text, false));
    let server = entry.server.full().and_then(|ip| ip.trim_matches(['[', ']']).parse().ok());
    request.server = End { ip: server, port: request.port.filter(|_| server.is_some()) };
    request.status = status;
    request.error = error;
    request.say_what_is_absent();
    Ok(request)
}

/// Lays the parts of an entry one after another; absent if they contradict each other.
fn trace(
    timings: Timings,
    time: Option<f64>,
    secure: bool,
    quic: bool,
    within: Option<bool>,
) -> Option<(AppTrace, EnumSet<Unknown>)> {
    let part = |number: Number| number.positive();
    let all = [timings.blocked, timings.dns, timings.connect, timings.ssl, timings.send, timings.wait, timings.receive];
    if all.into_iter().filter_map(part).any(|ms| ms > LONGEST) {
        return None;
    }
    let (dns, connect, ssl) = (part(timings.dns), part(timings.connect), part(timings.ssl));
    // Nothing was connected where nothing took any time.
    let connect = connect.filter(|ms| *ms > 0.0 || ssl.is_some_and(|ssl| ssl > 0.0));
    let ssl = ssl.filter(|ms| secure && *ms > 0.0);
    let sum: f64 = [timings.blocked, timings.dns, timings.connect, timings.send, timings.wait, timings.receive]
        .into_iter()
        .filter_map(part)
        .sum();
    let by_sum = |ssl: f64| time.is_none_or(|time| (sum - time).abs() <= (sum + ssl - time).abs() + ROUNDING);
    let within = match (connect, ssl) {
        (Some(connect), Some(ssl)) if connect >= ssl => within.unwrap_or_else(|| by_sum(ssl)),
        _ => false,
    };
    let tcp = match (connect, ssl) {
        (Some(connect), Some(ssl)) if within => Some(connect - ssl),
        (connect, _) => connect,
    };
    let mut at = 0.0;
    let mut lay = |length: f64| {
        let began = at;
        at += length;
        (instant(began), instant(at))
    };
    let queued = part(timings.blocked).filter(|ms| *ms > 0.0).map(|ms| lay(ms).1);
    let lookup = dns.map(&mut lay).map(|(began, done)| Step { began, done: Some(done) });
    let (connect, tls) = if quic {
        let both = tcp.unwrap_or_default() + ssl.filter(|_| !within || tcp.is_some()).unwrap_or_default();
        let handshake = (both > 0.0).then(|| lay(both));
        (None, handshake.map(|(began, done)| Tls { rounds: Some(1), ..Tls::between(began, Some(done)) }))
    } else {
        let step = tcp.map(&mut lay).map(|(began, done)| Step { began, done: Some(done) });
        (step, ssl.map(&mut lay).map(|(began, done)| Tls::between(began, Some(done))))
    };
    let sent = lay(part(timings.send).unwrap_or_default()).1;
    let ended = lay(part(timings.wait).unwrap_or_default()).1;
    let reused = connect.is_none() && tls.is_none();
    let mut unknown = EnumSet::empty();
    if queued.is_some() {
        unknown |= Unknown::Queue;
    }
    if !reused {
        unknown |= Unknown::TlsMessages | Unknown::Attempts;
    }
    if quic {
        unknown = (unknown - Unknown::Attempts) | Unknown::Quic;
    }
    let trace = AppTrace {
        started: instant(0.0),
        queued,
        lookup: lookup.filter(|step| step.done != Some(step.began)),
        connect,
        tls,
        sent: Some(sent),
        first_byte: Some(ended),
        ended,
        complete: true,
        reused,
        host: None,
    };
    Some((trace, unknown))
}

/// A request without an answer: its last step was never done.
fn give_up(trace: &mut AppTrace) {
    let asked = trace.sent.zip(trace.first_byte).is_some_and(|(sent, first)| first > sent);
    if asked {
        trace.first_byte = None;
    } else if let Some(tls) = &mut trace.tls {
        (tls.done, trace.sent, trace.first_byte) = (None, None, None);
    } else if let Some(connect) = &mut trace.connect {
        (connect.done, trace.sent, trace.first_byte) = (None, None, None);
    } else if let Some(lookup) = &mut trace.lookup {
        (lookup.done, trace.sent, trace.first_byte) = (None, None, None);
    } else {
        // It waited in the browser, for whatever there.
        (trace.sent, trace.first_byte, trace.reused) = (None, None, false);
    }
}

/// Milliseconds since the entry began.
fn instant(ms: f64) -> Instant<Client> {
    Instant::from_nanos((ms * 1e3).round() as i64 * 1_000)
}
