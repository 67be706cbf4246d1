//! Lines whose fields have names: JSON of nginx, Envoy and others, labelled lines, `name=value`. And nginx's lines without names, as far
//! as their form is widespread.

use std::sync::LazyLock;

use analysis::clock::Span;
use analysis::conversation::app::edge::EdgeTrace;
use enumset::EnumSet;
use regex::Regex;

use super::{address_of, asked_for, aws, connected, edge, envoy, ms, seconds};
use crate::logline::own::own;
use crate::logline::{self, endpoint};
use crate::request::{End, Place, Request};
use crate::when::When;
use crate::{Reason, Source};

/// Finds a field by its name.
pub(super) type Field<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Fields that only Envoy's logs have.
const ENVOYS: [&str; 6] = [
    "response_flags",
    "downstream_remote_address",
    "downstream_local_address",
    "upstream_host",
    "upstream_cluster",
    "downstream_handshake_duration",
];
/// Fields that only nginx's logs have.
const NGINXS: [&str; 6] =
    ["request_time", "upstream_response_time", "body_bytes_sent", "ssl_handshake_time", "request_length", "tcpinfo_rtt"];

/// Names of the client's address and port: first those that are the connection's own end, whatever a header said.
const CLIENTS: [(&str, &str); 7] = [
    ("downstream_direct_remote_address", ""),
    ("realip_remote_addr", "realip_remote_port"),
    ("downstream_remote_address", ""),
    ("remote_addr", "remote_port"),
    ("client", "client_port"),
    ("client_addr", "client_port"),
    ("client_ip", "client_port"),
];
/// Names of the listener's.
const SERVERS: [(&str, &str); 2] = [("downstream_local_address", ""), ("server_addr", "server_port")];

/// `name=value` pairs and what stands before them in nginx's lines.
struct Patterns {
    /// `name=value`, `name="value"`.
    pair: Regex,
    /// `address[:port] - user [time] "request" status bytes`, and the rest.
    combined: Regex,
    /// ingress-nginx: `request_length request_time [upstream] [alternative] address length time status id`.
    ingress: Regex,
}

/// What nginx writes of one backend after another.
const LIST: &str = r"[^\s,]+(?:(?:,| :) [^\s,]+)*";

#[expect(clippy::unwrap_used, reason = "the patterns are fixed; a test compiles them")]
static PATTERNS: LazyLock<Patterns> = LazyLock::new(|| {
    Patterns {
    pair: Regex::new(r#"(?:^|[\s,;])([A-Za-z_][A-Za-z0-9_]{0,40})=("[^"]*"|[^\s,;"]+(?:, [\d.]+)*)"#).unwrap(),
    combined: Regex::new(
        r#"^(?<client>\[?[0-9A-Fa-f.:]+\]?(?::\d{1,5})?) (?:- )?\S+ \[(?<time>[^\]]+)\] "(?<asked>[^"]*)" (?<status>\d{3}) \d+(?<rest>(?: .*)?)$"#,
    )
    .unwrap(),
    ingress: Regex::new(&r#"" \d+ (?<took>\d+\.\d+) \[[^\]]*\] \[[^\]]*\] LIST LIST (?<upstream>LIST) "#.replace("LIST", LIST)).unwrap(),
}
});

/// Reads named fields; absent if they are nobody's whom we know.
pub(super) fn read(place: Place, field: &Field<'_>) -> Option<Result<Request, Reason>> {
    let any = |names: &[&str]| names.iter().any(|name| field(name).is_some());
    let (source, trace) = if any(&ENVOYS) {
        (Source::Envoy, of_envoy(field))
    } else if any(&NGINXS) {
        (Source::Nginx, of_nginx(field))
    } else {
        return None;
    };
    let Some(mut trace) = trace else { return Some(Err(Reason::NoTimes)) };
    trace.reused = field("connection_requests").and_then(|n| n.parse::<u64>().ok()).is_some_and(|n| n > 1);
    if trace.reused {
        trace.handshake = None; // it was the first request's
    }
    let mut request = edge(place, source, trace, EnumSet::empty());
    let first = |names: &[&str]| names.iter().find_map(|name| field(name));
    let end = |(address, port): &(&str, &str)| {
        let (direct, address) = (*address == "realip_remote_addr", field(address)?);
        if direct && field("remote_addr").as_ref() == Some(&address) {
            return None; // no header was believed: the other name has the port, too
        }
        let alone = || Some(End { ip: Some(logline::ip(&address)?), port: field(port).and_then(|port| port.parse().ok()) });
        endpoint(&address).map(connected).or_else(alone)
    };
    request.client = CLIENTS.iter().find_map(end).unwrap_or_default();
    request.server = SERVERS.iter().find_map(end).unwrap_or_default();
    let moment = |text: String| When::iso(&text, false).or_else(|| When::common(&text));
    request.when = ["start_time", "time_iso8601", "timestamp", "time", "@timestamp", "time_local"]
        .iter()
        .find_map(|name| moment(field(name)?))
        .or_else(|| When::epoch(&field("msec")?));
    request.version = first(&["ssl_protocol", "downstream_tls_version"]).and_then(|version| aws::tls_version(&version));
    request.status = first(&["response_code", "status"]).and_then(|status| status.parse().ok()).filter(|status| *status > 0);
    let host =
        first(&["authority", ":authority", "host", "http_host", "requested_server_name", "ssl_server_name", "server_name"]);
    let path = first(&["path", "request_uri", "uri"]).or_else(|| address_of(&field("request")?).map(str::to_owned));
    asked_for(&mut request, host.as_deref(), path.as_deref());
    Some(Ok(request))
}

fn of_envoy(field: &Field<'_>) -> Option<EdgeTrace> {
    let time = |name: &str| field(name).and_then(|text| ms(&text));
    let handshake = time("downstream_handshake_duration");
    let upstream = time("upstream_service_time")
        .or_else(|| time("x-envoy-upstream-service-time"))
        .or_else(|| time("x_envoy_upstream_service_time"));
    let complete = field("response_code").is_none_or(|code| code != "0");
    let told = |name: &str| field(name).filter(|text| !matches!(text.as_str(), "" | "-" | "0")).is_some();
    let of_http = told("response_code") || told("method");
    match time("duration").filter(|_| of_http) {
        Some(duration) => Some(EdgeTrace { handshake, ..envoy::divided(duration, upstream, time("request_duration"), complete) }),
        // A connection's duration is how long it lived: nobody's stall.
        None => handshake.map(|handshake| EdgeTrace { handshake: Some(handshake), complete: true, ..EdgeTrace::default() }),
    }
}

fn of_nginx(field: &Field<'_>) -> Option<EdgeTrace> {
    // nginx always writes three decimals, of which JSON keeps one at least: without any it is another's, perhaps milliseconds.
    let time = |name: &str| field(name).filter(|text| text.contains('.')).and_then(|text| seconds(&text));
    let handshake = time("ssl_handshake_time").or_else(|| time("handshake_time"));
    let round_trip = field("tcpinfo_rtt").and_then(|us| us.trim().parse().ok()).map(|us: u32| Span::from_micros(us.into()));
    let took = time("request_time").or_else(|| time("rt"));
    let upstream = field("upstream_response_time").or_else(|| field("urt")).and_then(|text| total(&text));
    if took.is_none() && handshake.is_none() {
        return None;
    }
    let backend = upstream.map(|upstream| took.map_or(upstream, |took| upstream.min(took)));
    Some(EdgeTrace {
        handshake,
        round_trip,
        backend,
        undivided: took.map(|took| took - backend.unwrap_or_default()),
        // 499: the client went away.
        complete: field("status").is_none_or(|status| status != "499"),
        ..EdgeTrace::default()
    })
}

/// `0.004`, and `0.002, 0.010 : 0.001` of several backends, one after another.
fn total(text: &str) -> Option<Span> {
    let parts: Vec<Span> = text.split([',', ':']).filter_map(seconds).collect();
    (!parts.is_empty()).then(|| parts.into_iter().sum())
}

/// A line of text in nginx's ways.
pub(super) fn of_line(place: Place, line: &str) -> Option<Result<Request, Reason>> {
    let combined = PATTERNS.combined.captures(line);
    let own = own(line).text;
    let ingress = PATTERNS.ingress.captures(&own);
    let pairs: Vec<(String, String)> = PATTERNS
        .pair
        .captures_iter(&own)
        .map(|pair| (pair[1].to_ascii_lowercase(), pair[2].trim_matches('"').to_owned()))
        .collect();
    let of_pairs = |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    let field = |name: &str| {
        let of_form = || match (name, &combined, &ingress) {
            ("request_time", _, Some(found)) => Some(found["took"].to_owned()),
            ("upstream_response_time", _, Some(found)) => Some(found["upstream"].to_owned()),
            ("remote_addr", Some(found), _) => Some(found["client"].to_owned()),
            ("time_local", Some(found), _) => Some(found["time"].to_owned()),
            ("request", Some(found), _) => Some(found["asked"].to_owned()),
            ("status", Some(found), _) => Some(found["status"].to_owned()),
            _ => None,
        };
        let alias = || if name == "request_time" { of_pairs("rt") } else { None };
        of_pairs(name).or_else(alias).or_else(of_form)
    };
    match read(place, &field) {
        Some(read) => Some(read),
        None if combined.is_some() && pairs.is_empty() => Some(Err(Reason::NoTimes)),
        None => None,
    }
}
