//! Lines of text: HAProxy's formats, nginx's, Envoy's, labelled ones, and whatever else names the client's address with its port.

use std::net::{IpAddr, SocketAddr};
use std::sync::LazyLock;

use regex::Regex;

use super::{Fields, ParsedLine, duration, endpoint, ip, read_fields};

/// Patterns, compiled once.
struct Patterns {
    /// What stands before the program's own words: a syslog head of either kind.
    head: Regex,
    /// An address, perhaps with its port.
    address: Regex,
    /// The client by name, address and port apart.
    pair: Regex,
    /// The client by name, both together.
    named: Regex,
    /// A handshake's duration by name.
    duration: Regex,
    /// HAProxy: `client:port [time] frontend backend/server timers`.
    haproxy: Regex,
    /// Envoy: `[time] "METHOD …`.
    envoy: Regex,
    /// What stands before an address that is not the client's.
    other: Regex,
    /// `label:value`, as labelled lines have them between tabs.
    label: Regex,
}

#[expect(clippy::unwrap_used, reason = "the patterns are fixed; a test compiles them")]
static PATTERNS: LazyLock<Patterns> = LazyLock::new(|| {
    Patterns {
    head: Regex::new(r"^(?:<\d+>1 \S+ \S+ \S+ \S+ \S+ (?:-|(?:\[[^\]]*\])+) ?|(?:<\d+>)?(?:[^\[\]{]{0,80}\s)?[\w./-]{1,48}(?:\[\d+\])?: )")
        .unwrap(),
    address: Regex::new(
        r#"\[[0-9a-fA-F:.]+\](?::\d{1,5}\b)?|\b\d{1,3}(?:\.\d{1,3}){3}\b(?::\d{1,5}\b)?|(?:^|[\s="])[0-9a-fA-F]*:[0-9a-fA-F.]*:[0-9a-fA-F:.]*"#,
    )
    .unwrap(),
    pair: Regex::new(r"(?i)\b(?:client|remote)_(?:addr|address|ip)=(\S+).*?\b(?:client|remote)_port=(\d{1,5})\b").unwrap(),
    named: Regex::new(r#"(?i)\b(?:downstream_remote_address|client(?:_addr(?:ess)?|_ip)?|remote_addr(?:ess)?|peer)"?\s*[=:]\s*"?(\[[0-9a-f:.]+\]:\d{1,5}|\d{1,3}(?:\.\d{1,3}){3}:\d{1,5})\b"#)
        .unwrap(),
    duration: Regex::new(r"(?i)\b(th|(?:tls_|ssl_)?handshake(?:_(?:ms|time|duration))?)\s*[=:]\s*(\d+(?:\.\d+)?\s*(?:ms|s)?)(?:\s|,|;|$)")
        .unwrap(),
    haproxy: Regex::new(r"(?:^|\s)\S+:\d{1,5} \[\d{1,2}/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d\.\d{1,6}\] \S+ \S+/\S+ ([+-]?\d+(?:/[+-]?\d+)+)(?:\s|$)")
        .unwrap(),
    envoy: Regex::new(r#"^\[\d{4}-\d\d-\d\dT[\d:.]+Z?\] ""#).unwrap(),
    other: Regex::new(r#"(?i)(?:://|\b(?:server|upstream|backend|listen(?:ing)?|local|host|dst|dest|destination|bind|vip|target)\w*"?\s*[=:]?\s*"?|\b(?:to|on|via)\s+|(?:->|→|=>)\s*)$"#)
        .unwrap(),
    label: Regex::new(r"^[A-Za-z][A-Za-z0-9_.-]*:").unwrap(),
}
});

/// Reads a line of text.
pub(super) fn read(line: &str, fields: &Fields) -> Option<ParsedLine> {
    let patterns = &*PATTERNS;
    if let Some(said) = labelled(line, fields) {
        return said;
    }
    let body = patterns.head.find(line).map_or(line, |head| &line[head.end()..]);
    // Whose words begin with what looks like a head is read as a whole.
    let (client, of_body) = match client(body) {
        Found::Nobody if body.len() < line.len() => (client(line).somebody()?, line),
        found => (found.somebody()?, body),
    };
    let took = patterns.duration.captures(line).and_then(|found| duration(&found[1], &found[2]));
    if let (None, Some(found)) = (took, patterns.haproxy.captures(of_body)) {
        // Its own formats have three timers (TCP) or five (HTTP) and none of the handshake; with seven, the first is %Th.
        let timers: Vec<&str> = found[1].split('/').collect();
        let th = timers.first().filter(|_| timers.len() == 7).and_then(|th| duration("th", th));
        return Some(ParsedLine { client, took: th, every: th.is_none() });
    }
    Some(ParsedLine { client, took, every: false })
}

/// Whose address a line has.
enum Found {
    Client(SocketAddr),
    /// The client's, without a port: whatever address follows is somebody else's.
    NoPort,
    Nobody,
}

impl Found {
    fn somebody(self) -> Option<SocketAddr> {
        if let Found::Client(client) = self { Some(client) } else { None }
    }
}

/// The client's end: by name, or the first address that is not said to be another's.
fn client(line: &str) -> Found {
    let patterns = &*PATTERNS;
    let pair = patterns.pair.captures(line).and_then(|found| Some(SocketAddr::new(ip(&found[1])?, found[2].parse().ok()?)));
    let named = || patterns.named.captures(line).and_then(|found| endpoint(&found[1]));
    if let Some(client) = pair.or_else(named) {
        return Found::Client(client);
    }
    if patterns.envoy.is_match(line) {
        return Found::NoPort; // every address in it is another's, or stands where only its configuration says
    }
    for found in patterns.address.find_iter(line) {
        let text = found.as_str().trim_start_matches([' ', '\t', '=', '"']);
        let before = &line[..found.end() - text.len()];
        let text = text.trim_end_matches('.');
        if patterns.other.is_match(before) {
            continue;
        }
        match endpoint(text) {
            Some(end) if end.ip().is_unspecified() || end.port() == 0 => {}
            Some(end) => return Found::Client(end),
            None if text.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|ip| !ip.is_unspecified()) => return Found::NoPort,
            None => {}
        }
    }
    Found::Nobody
}

/// A labelled line (ltsv.org): `label:value` between tabs.
pub(crate) struct Labels<'a>(Vec<&'a str>);

/// Takes a labelled line apart; absent if it is none.
pub(crate) fn labels(line: &str) -> Option<Labels<'_>> {
    let pieces: Vec<&str> = line.trim_end().split('\t').collect();
    let labelled = pieces.len() >= 3 && pieces[1..].iter().all(|piece| PATTERNS.label.is_match(piece));
    labelled.then_some(Labels(pieces))
}

impl Labels<'_> {
    /// A label's value, unless it is empty.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        // The first may have a syslog head before it.
        let labelled = self.0.iter().find_map(|piece| {
            let (label, value) = piece.split_once(':')?;
            label.rsplit(' ').next().is_some_and(|label| label.eq_ignore_ascii_case(name)).then_some(value)
        });
        labelled.filter(|value| !matches!(*value, "" | "-")).map(str::to_owned)
    }
}

/// Reads a labelled line. Absent if it is none.
fn labelled(line: &str, fields: &Fields) -> Option<Option<ParsedLine>> {
    let labels = labels(line)?;
    let value = |name: &str| labels.get(name);
    // Its `host` is the client's, as in the common log format.
    let said = read_fields(&value, fields).or_else(|| {
        let client = SocketAddr::new(ip(&value("host")?)?, value("port")?.parse().ok()?);
        let took = fields.duration.iter().find_map(|name| duration(name, &value(name)?));
        Some(ParsedLine { client, took, every: took.is_none() })
    });
    Some(said.map(|said| ParsedLine { every: said.took.is_none() && !fields.own, ..said }))
}
