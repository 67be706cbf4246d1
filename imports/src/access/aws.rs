//! AWS's load balancers: ALB access and connection logs, NLB's log of TLS listeners.

use analysis::clock::Span;
use analysis::conversation::app::edge::EdgeTrace;
use enumset::EnumSet;

use super::{address_of, asked_for, edge, ms, seconds};
use crate::lines::words;
use crate::logline::endpoint;
use crate::request::{End, Place, Request};
use crate::when::When;
use crate::{Reason, Source};

/// Absent if it is no such line.
pub(super) fn read(place: Place, line: &str) -> Option<Result<Request, Reason>> {
    let first = line.split(' ').next()?;
    match first {
        "http" | "https" | "h2" | "grpcs" | "ws" | "wss" => alb(place, &words(line)),
        "tls" => nlb(place, &words(line)),
        _ if first.ends_with('Z') && first.contains('T') => alb_connection(place, &words(line)),
        _ => None,
    }
    .map(Ok)
}

/// Whether a body may come with it, whose sender the load balancer waits for.
fn has_body(request_line: &str) -> bool {
    !["GET ", "HEAD ", "OPTIONS ", "DELETE "].iter().any(|method| request_line.starts_with(method))
}

fn alb(place: Place, words: &[&str]) -> Option<Request> {
    let [kind, time, _, client, _, processing, target, response, status, _, _, _, asked, ..] = *words else { return None };
    let when = When::iso(time, true)?;
    let client = endpoint(client)?;
    let (processing, target, response) = (seconds(processing), seconds(target), seconds(response));
    let (own, undivided) = if has_body(asked) { (response, processing) } else { (sum(processing, response), None) };
    let trace =
        EdgeTrace { own, backend: target, undivided, complete: target.is_some() && response.is_some(), ..EdgeTrace::default() };
    let mut request = edge(place, Source::Alb, trace, EnumSet::empty());
    if kind == "http" || kind == "ws" {
        request.unknown.remove(crate::request::Unknown::Handshake); // it has none
    }
    request.client = client.into();
    // `time` is when the answer went out.
    request.when = words.get(21).and_then(|created| When::iso(created, true)).or(Some(when));
    request.status = status.parse().ok();
    request.version = words.get(15).and_then(|version| tls_version(version));
    asked_for(&mut request, words.get(18).copied(), address_of(asked));
    Some(request)
}

fn alb_connection(place: Place, words: &[&str]) -> Option<Request> {
    let [time, ip, port, listener, version, _, latency, _, _, _, verified, ..] = *words else { return None };
    let when = When::iso(time, true)?;
    let client = End { ip: Some(ip.parse().ok()?), port: Some(port.parse().ok()?) };
    let listener: u16 = listener.parse().ok()?;
    let handshake = seconds(latency);
    let trace = EdgeTrace { handshake, complete: handshake.is_some(), ..EdgeTrace::default() };
    let mut request = edge(place, Source::AlbConnections, trace, EnumSet::empty());
    (request.client, request.server.port, request.port) = (client, Some(listener), Some(listener));
    request.when = Some(when);
    request.version = tls_version(version);
    request.error = verified.strip_prefix("Failed:").map(|why| {
        let what = if why.starts_with("ClientCert") { "the client's certificate was refused" } else { "the connection failed" };
        format!("{what}: {why}")
    });
    Some(request)
}

fn nlb(place: Place, words: &[&str]) -> Option<Request> {
    let [_, _, time, _, _, client, destination, _, handshake, _, _, alert, _, _, _, version, ..] = *words else { return None };
    let when = When::iso(time, true)?;
    let (client, destination) = (endpoint(client)?, endpoint(destination));
    let handshake = ms(handshake);
    let trace = EdgeTrace { handshake, complete: handshake.is_some(), ..EdgeTrace::default() };
    let mut request = edge(place, Source::Nlb, trace, EnumSet::empty());
    request.client = client.into();
    if let Some(destination) = destination {
        request.server = destination.into();
        request.port = Some(destination.port());
    }
    // `time` is when the connection ended.
    request.when = words.get(21).and_then(|created| When::iso(created, true)).or(Some(when));
    request.version = tls_version(version);
    request.error = (alert != "-").then(|| format!("the client sent TLS alert {alert}"));
    if let Some(name) = words.get(17).filter(|name| **name != "-") {
        request.host = Some((*name).to_owned());
    }
    Some(request)
}

/// `TLSv1.3`, `tlsv13` → "TLS 1.3".
pub(super) fn tls_version(text: &str) -> Option<String> {
    let digits: Vec<char> = text.to_ascii_lowercase().strip_prefix("tlsv")?.chars().filter(char::is_ascii_digit).collect();
    match digits[..] {
        [major] => Some(format!("TLS {major}.0")),
        [major, minor] => Some(format!("TLS {major}.{minor}")),
        _ => None,
    }
}

fn sum(a: Option<Span>, b: Option<Span>) -> Option<Span> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a + b),
        (a, b) => a.or(b),
    }
}
