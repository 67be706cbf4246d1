//! What a field's name says of its value: whose address or port it is, or how long the handshake took.
//!
//! Names are taken apart into words (`ClientSrcPort`, `request.remote_ip`, `srcip`), and the words are looked up: loggers differ in how
//! they write names, and agree on the words. A name with a word that is another end's (`upstream`, `dst`, `listener`) or of a header that
//! anybody may write (`x_forwarded_for`) is never the client's.

/// What a name says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Role {
    /// An address of the client, perhaps with its port.
    Address(Client),
    /// The client's port.
    Port(Client),
    /// How long the handshake took, in that unit.
    Handshake(Unit),
    /// Nothing that we know.
    Nothing,
}

/// Which words a name has for the client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Client {
    /// Of several, the least is the connection's own end: what came by a header ranks last.
    pub rank: u8,
    /// The words that are no `ip` and no `port`: an address and a port that share them belong together.
    pub stem: Vec<String>,
}

/// The unit of a number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Millis,
    /// Microseconds.
    Micros,
    /// Nanoseconds.
    Nanos,
    /// The name does not say: whole numbers are milliseconds, others seconds.
    Unsaid,
}

/// The rank of what can be the client only.
pub(super) const CLIENT: u8 = 2;
/// The rank of what may be another program's `source`.
pub(super) const LEAST: u8 = 3;
/// Words for the client, the connection's own end before what may be taken from headers, and before what may be another program's `source`.
const CLIENTS: [(&str, u8); 8] = [
    ("direct", 0),
    ("remote", 1),
    ("peer", 1),
    ("client", CLIENT),
    ("src", LEAST),
    ("source", LEAST),
    ("orig", LEAST),
    ("originator", LEAST),
];
/// Words for other ends, and for what a header says.
const OTHERS: [&str; 42] = [
    "upstream",
    "server",
    "srv",
    "dst",
    "dest",
    "destination",
    "local",
    "listen",
    "listener",
    "backend",
    "frontend",
    "bind",
    "vip",
    "target",
    "origin",
    "forwarded",
    "xff",
    "real",
    "true",
    "resp",
    "responder",
    "virtual",
    "node",
    "pod",
    "gateway",
    "proxy",
    "via",
    "next",
    "hop",
    "cluster",
    "service",
    "router",
    "resolver",
    "dns",
    "nat",
    "mapped",
    "translated",
    "balancer",
    "connecting",
    "header",
    "headers",
    "response",
];
/// Words that say nothing of whose it is.
const NEUTRAL: [&str; 32] = [
    "request",
    "req",
    "http",
    "https",
    "httprequest",
    "network",
    "net",
    "connection",
    "conn",
    "properties",
    "jsonpayload",
    "payload",
    "tcp",
    "tls",
    "ssl",
    "id",
    "socket",
    "sock",
    "fields",
    "attributes",
    "attr",
    "data",
    "event",
    "log",
    "ctx",
    "context",
    "info",
    "meta",
    "metadata",
    "ecs",
    "downstream",
    "edge",
];
const ADDRESSES: [&str; 11] =
    ["ip", "ipv4", "ipv6", "addr", "address", "ipaddr", "ipaddress", "endpoint", "sockaddr", "host", "h"];
const PORTS: [&str; 2] = ["port", "p"];
/// Names that are whole words of their own: HAProxy's `%ci` and `%cp`, CEF's `spt`, Dovecot's `rip`.
const WHOLE: [(&str, &[&str]); 12] = [
    ("ci", &["client", "ip"]),
    ("cp", &["client", "port"]),
    ("rip", &["remote", "ip"]),
    ("rport", &["remote", "port"]),
    ("raddr", &["remote", "addr"]),
    ("lip", &["local", "ip"]),
    ("lport", &["local", "port"]),
    ("laddr", &["local", "addr"]),
    ("spt", &["src", "port"]),
    ("dpt", &["dst", "port"]),
    ("peername", &["peer", "addr"]),
    ("saddr", &["src", "addr"]),
];
/// Names that mean another thing than their words: nginx's realip module keeps the connection's own end under the first two, and a
/// collector the sender of the log under the last.
const EXCEPTIONS: [(&str, &[&str]); 4] = [
    ("realip_remote_addr", &["direct", "remote", "addr"]),
    ("realip_remote_port", &["direct", "remote", "port"]),
    ("log.source.address", &["server", "addr"]),
    ("log.source.ip", &["server", "addr"]),
];
/// Words that make a handshake another's than the client's by TLS.
const ANOTHERS: [&str; 29] = [
    "x",
    "arg",
    "args",
    "cookie",
    "query",
    "bc",
    "be",
    "upstream",
    "backend",
    "origin",
    "target",
    "dst",
    "dest",
    "destination",
    "resolver",
    "dns",
    "next",
    "hop",
    "forwarded",
    "header",
    "headers",
    "tcp",
    "websocket",
    "ws",
    "ssh",
    "smtp",
    "mqtt",
    "rtmp",
    "postgres",
];
/// Words before `handshake` that make it no length of time of one.
const NO_TIME: [&str; 14] = [
    "timeout", "count", "failures", "failure", "errors", "error", "failed", "limit", "max", "min", "avg", "mean", "deadline",
    "last",
];
/// Words that may stand behind `handshake` where it is a length of time; others make it a number of bytes, a moment, a version.
const LENGTHS: [&str; 9] = ["time", "duration", "dur", "took", "latency", "elapsed", "length", "in", "value"];
/// Names of programs whose documentation says the unit: Envoy's.
const MILLIS: &str = "downstream_handshake_duration";

/// What a name says.
pub(super) fn role(name: &str) -> Role {
    if is_header(name) {
        return Role::Nothing;
    }
    let words = words(name);
    let has = |known: &[&str]| words.iter().any(|word| known.contains(&word.as_str()));
    if words.last().is_some_and(|word| word == "th") {
        return Role::Handshake(Unit::Millis);
    }
    if let Some(at) = words.iter().position(|word| word == "handshake") {
        let is_length = |word: &String| LENGTHS.contains(&word.as_str()) || unit_of(word).is_some();
        if has(&ANOTHERS) || has(&NO_TIME) || !words[at + 1..].iter().all(is_length) {
            return Role::Nothing;
        }
        return Role::Handshake(if name.eq_ignore_ascii_case(MILLIS) { Unit::Millis } else { unit(&words[at + 1..]) });
    }
    let rank = words.iter().filter_map(|word| CLIENTS.iter().find(|(known, _)| known == word)).map(|(_, rank)| *rank).min();
    let Some(rank) = rank.filter(|_| !has(&OTHERS)) else { return Role::Nothing };
    let known = |word: &String| {
        let word = word.as_str();
        CLIENTS.iter().any(|(client, _)| *client == word)
            || ADDRESSES.contains(&word)
            || PORTS.contains(&word)
            || NEUTRAL.contains(&word)
    };
    if !words.iter().all(known) {
        return Role::Nothing;
    }
    // OpenTelemetry's `net.peer.ip` is the client's in a server's spans, and of a log whoever sent it on.
    let rank = if has(&["net"]) && has(&["peer"]) { LEAST } else { rank };
    let is_port = has(&PORTS);
    let own = |word: &&String| !ADDRESSES.contains(&word.as_str()) && !PORTS.contains(&word.as_str());
    let client = Client { rank, stem: words.iter().filter(own).cloned().collect() };
    if is_port { Role::Port(client) } else { Role::Address(client) }
}

/// Whether a name is that of a header, which anybody may write: nginx's `$http_NAME`, Traefik's `request_NAME`.
fn is_header(name: &str) -> bool {
    let begins = |known: &str| name.get(..known.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(known));
    begins("http_") || (begins("request_") || begins("req_")) && name.contains('-')
}

/// Whether a word says that a handshake is another's.
pub(super) fn is_anothers(word: &str) -> bool {
    ANOTHERS.contains(&word)
}

fn unit(words: &[String]) -> Unit {
    words.iter().rev().find_map(|word| unit_of(word)).unwrap_or(Unit::Unsaid)
}

fn unit_of(word: &str) -> Option<Unit> {
    match word {
        "ms" | "msec" | "msecs" | "millis" | "milliseconds" => Some(Unit::Millis),
        "us" | "usec" | "usecs" | "micros" | "microseconds" => Some(Unit::Micros),
        "ns" | "nanos" | "nanoseconds" => Some(Unit::Nanos),
        "s" | "sec" | "secs" | "seconds" => Some(Unit::Seconds),
        _ => None,
    }
}

/// A name's words, in lower case.
pub(super) fn words(name: &str) -> Vec<String> {
    if let Some((_, words)) = EXCEPTIONS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
        return words.iter().map(|word| (*word).to_owned()).collect();
    }
    let mut words: Vec<String> = Vec::new();
    let (mut word, mut before) = (String::new(), ' ');
    for c in name.chars() {
        let begins = c.is_uppercase() && (before.is_lowercase() || before.is_ascii_digit());
        if (!c.is_alphanumeric() || begins) && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if c.is_alphanumeric() {
            word.extend(c.to_lowercase());
        }
        before = c;
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    if let [client, rest] = &words[..]
        && client == "c"
        && (ADDRESSES.contains(&rest.as_str()) || PORTS.contains(&rest.as_str()))
    {
        return vec!["client".into(), rest.clone()]; // W3C's `c-ip`
    }
    words.into_iter().flat_map(|word| parted(&word)).collect()
}

/// `srcip`, `remoteaddr`: words that are written as one.
fn parted(word: &str) -> Vec<String> {
    if let Some((_, parts)) = WHOLE.iter().find(|(whole, _)| *whole == word) {
        return parts.iter().map(|part| (*part).to_owned()).collect();
    }
    let whose = CLIENTS.iter().map(|(client, _)| *client).chain(OTHERS);
    let parts = whose
        .filter_map(|whose| Some((whose, word.strip_prefix(whose)?)))
        .find(|(_, rest)| ADDRESSES.iter().chain(&PORTS).any(|part| part.len() > 1 && part == rest));
    parts.map_or_else(|| vec![word.to_owned()], |(whose, rest)| vec![whose.to_owned(), rest.to_owned()])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(name: &str) -> String {
        match role(name) {
            Role::Address(client) => format!("address {}", client.rank),
            Role::Port(client) => format!("port {}", client.rank),
            Role::Handshake(unit) => format!("{unit:?}"),
            Role::Nothing => "nothing".into(),
        }
    }

    #[test]
    fn names_are_known_by_their_words() {
        for (name, meant) in [
            ("remote_addr", "address 1"),
            ("remoteAddress", "address 1"),
            ("request.remote_ip", "address 1"),
            ("req.remotePort", "port 1"),
            ("ClientSrcPort", "port 2"),
            ("ClientAddr", "address 2"),
            ("clientIP", "address 2"),
            ("srcip", "address 3"),
            ("SPT", "port 3"),
            ("ci", "address 2"),
            ("c-ip", "address 2"),
            ("id.orig_h", "address 3"),
            ("id.orig_p", "port 3"),
            ("downstream_remote_address", "address 1"),
            ("downstream_direct_remote_address", "address 0"),
            ("peer", "address 1"),
            ("realip_remote_addr", "address 0"),
            ("handshake_ms", "Millis"),
            ("tlsHandshakeDurationMicros", "Micros"),
            ("ssl_handshake_time", "Unsaid"),
            ("time.th", "Millis"),
        ] {
            assert_eq!(said(name), meant, "{name}");
        }
        for other in [
            "upstream_addr",
            "server_addr",
            "dstip",
            "dpt",
            "lip",
            "s-ip",
            "x_forwarded_for",
            "x-real-ip",
            "true_client_ip",
            "CF-Connecting-IP",
            "downstream_local_address",
            "upstream_remote_address",
            "request.headers.client_ip",
            "proxy_protocol_addr",
            "id.resp_h",
            "log.source.address",
            "client_tls_version",
            "client_handshake_timeout",
            "ssl_handshake_timeout",
            "remote_user",
            "OriginIP",
            "host",
        ] {
            assert_eq!(said(other), "nothing", "{other}");
        }
    }
}
