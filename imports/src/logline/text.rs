//! Lines of text: HAProxy's formats, nginx's, Envoy's, those of load balancers, labelled ones, `name=value`, and whatever else names the
//! client's address with its port.
//!
//! What a program's own format says comes first, then what has a name, then what stands where only a client's end stands: at the
//! beginning, or behind a word as `from`. Of two ends of which nothing says whose they are, neither is taken.

use std::net::{IpAddr, SocketAddr};
use std::sync::LazyLock;
use std::time::Duration;

use regex::Regex;

use super::named::{Named, duration, is_method};
use super::roles::Unit;
use super::{Fields, ParsedLine, Unread, endpoint};

/// A client's port is rarely below, a listener's often.
const WELL_KNOWN: u16 = 1024;
/// AWS's load balancers write seconds.
const SECONDS: Unit = Unit::Seconds;

/// Patterns, compiled once.
struct Patterns {
    /// What stands before the program's own words: a syslog head of either kind, a container runtime's, docker compose's.
    head: Regex,
    /// An address, perhaps with its port.
    address: Regex,
    /// `name=value`, `name: value`.
    pair: Regex,
    /// A handshake's duration in a sentence.
    duration: Regex,
    /// HAProxy: `client:port [time] frontend …`.
    haproxy: Regex,
    /// HAProxy's timers behind frontend and backend.
    timers: Regex,
    /// HAProxy: what failed before there was a request.
    failed: Regex,
    /// HAProxy's deprecated default: `Connect from client to listener (frontend/MODE)`.
    connect: Regex,
    /// Envoy: `[time] "METHOD …`.
    envoy: Regex,
    /// An NLB's log of TLS listeners: the client, the destination, and the handshake's milliseconds behind those of the connection.
    nlb: Regex,
    /// An ALB's connection log: address and port of the client, the listener's port, version, cipher, the handshake's seconds.
    alb_connection: Regex,
    /// ALB's access log and that of classic load balancers: the client's end.
    elb: Regex,
    /// What stands before an address that is not the client's.
    other: Regex,
    /// What stands before the client's.
    from: Regex,
    /// A request line in quotes.
    request: Regex,
    /// A connection that came or went, without a word of trouble.
    everyday: Regex,
    /// Words of trouble.
    trouble: Regex,
    /// `label:value`, as labelled lines have them between tabs.
    label: Regex,
}

#[expect(clippy::unwrap_used, reason = "the patterns are fixed; a test compiles them")]
static PATTERNS: LazyLock<Patterns> = LazyLock::new(|| {
    Patterns {
    head: Regex::new(
        r"^(?:<\d+>1 \S+ \S+ \S+ \S+ \S+ (?:-|(?:\[[^\]]*\])+) ?|\d{4}-\d\d-\d\dT\S+ std(?:out|err) [FP] |[\w.-]{1,64} +\| |(?:<\d+>)?(?:[^\[\]{]{0,80}\s)?[\w./-]{1,48}(?:\[\d+\])?: )",
    )
    .unwrap(),
    address: Regex::new(
        r#"\[[0-9a-fA-F:.]+\](?::\d{1,5}\b)?|\b\d{1,3}(?:\.\d{1,3}){3}\b(?::\d{1,5}\b)?|(?:^|[\s="(])[0-9a-fA-F]*:[0-9a-fA-F.]*:[0-9a-fA-F:.]*"#,
    )
    .unwrap(),
    pair: Regex::new(
        r#"(?:^|[\s,;(\[{|])([A-Za-z][\w.@-]{0,60})(?:\s?[=:]\s?)("[^"]*"|'[^']*'|\[[0-9A-Fa-f:.]+\](?::\d+)?|[^\s,;|)\]"']+)"#,
    )
    .unwrap(),
    duration: Regex::new(
        r"(?i)\bhandshake\b[^\n]{0,60}?\b(?:took|in|after|duration|time|lasted|of)\s*[=:]?\s*(\d+(?:\.\d+)?)\s*(ms|s|us|µs|ns)\b",
    )
    .unwrap(),
    haproxy: Regex::new(r"^(\S+:\d{1,5}) \[\d{1,2}/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d(?:\.\d{1,6})?[^\]]{0,8}\] (\S.*)$").unwrap(),
    timers: Regex::new(r"^\S+ [^\s/]+/\S+ ([+-]?\d+(?:/[+-]?\d+)+)(?:\s|$)").unwrap(),
    failed: Regex::new(r"^\S+: \S").unwrap(),
    connect: Regex::new(r"^Connect from (\S+:\d{1,5}) to \S+ \(\S+\)").unwrap(),
    envoy: Regex::new(r#"^\[\d{4}-\d\d-\d\dT[\d:.]+Z?\] ""#).unwrap(),
    nlb: Regex::new(r"^tls \d\.\d \S+ \S+ \S+ (\S+:\d{1,5}) \S+ (?:-|\d+) (-|\d+) ").unwrap(),
    alb_connection: Regex::new(r"^\d{4}-\d\d-\d\dT\S+Z (\S+) (\d{1,5}) \d{1,5} (?:TLSv[\d.]+|-) \S+ ([\d.]+|-) ").unwrap(),
    elb: Regex::new(r"^(?:(?:http|https|h2|grpcs|ws|wss) )?\d{4}-\d\d-\d\dT\S+Z \S+ (\S+:\d{1,5}) (?:\S+:\d{1,5}|-) (?:-?[\d.]+ ){3}").unwrap(),
    other: Regex::new(
        r#"(?i)(?:://|\b(?:server|upstream|backend|listen(?:ing|er)?|local|host|dst|dest|destination|bind|vip|target|remote server from|(?-i:I)=)\w*"?\s*[=:]?\s*["(\[]?|\b(?:to|on|via|at|connect(?:ing|ed)|binding|proxying|forwarding)\s+["(\[]?|(?:->|→|=>)\s*)$"#,
    )
    .unwrap(),
    from: Regex::new(r#"(?i)(?:\b(?:from|client|peer|remote|src|source)(?: (?:address|addr|ip))?\s*[=:]?\s*["'(/]?|<-\s*)$"#).unwrap(),
    request: Regex::new(r#""([A-Z]{3,10}) \S+(?: HTTP/[\d.]+)?""#).unwrap(),
    everyday: Regex::new(
        r"(?i)\b(?:accept(?:ed|ing)?|new|incoming|clos(?:ed|ing)|opened|established|disconnect(?:ed|ing)?)\b.*\b(?:connection|client|session)|\b(?:connection|client|session)\b.*\b(?:accepted|closed|opened|established|disconnected|connected)\b",
    )
    .unwrap(),
    trouble: Regex::new(r"(?i)slow|handshake|time(?:d )?-?out|fail|error|stall|reset|alert|abort").unwrap(),
    label: Regex::new(r"^[A-Za-z][A-Za-z0-9_.-]*:").unwrap(),
}
});

/// Reads a line of text.
pub(super) fn read(line: &str, fields: &Fields) -> Result<ParsedLine, Unread> {
    let line = line.trim_end();
    if let Some(labels) = labels(line) {
        return labels.named().read(fields);
    }
    let patterns = &*PATTERNS;
    // A runtime's head may stand before a program's.
    let mut body = line;
    let mut bodies = vec![line];
    let is_head = |head: &regex::Match<'_>| head.end() > 0 && !patterns.other.is_match(head.as_str());
    while let Some(head) = patterns.head.find(body).filter(|head| is_head(head) && bodies.len() < 4) {
        body = &body[head.end()..];
        bodies.push(body);
    }
    // The whole line is tried last: its words may only look like a head.
    let mut unread = Unread::NoAddress;
    for body in bodies.into_iter().rev() {
        match program(body).unwrap_or_else(|| any(body, fields)) {
            Ok(said) => return Ok(said),
            Err(Unread::NoAddress) => {}
            Err(why) if unread == Unread::NoAddress => unread = why,
            Err(_) => {}
        }
        if unread != Unread::NoAddress {
            break;
        }
    }
    Err(unread)
}

/// A line of a format that a program has of its own; absent if it is none of those that we know.
fn program(body: &str) -> Option<Result<ParsedLine, Unread>> {
    let patterns = &*PATTERNS;
    let every = |client| ParsedLine { client, took: None, every: true };
    if let Some(found) = patterns.haproxy.captures(body) {
        let client = endpoint(&found[1])?;
        let rest = &found[2];
        let th = named_duration(rest).or_else(|| positional(rest));
        // What failed has a message, and no backend.
        let failed = patterns.failed.is_match(rest) && !patterns.timers.is_match(rest);
        return Some(Ok(ParsedLine { client, took: th, every: th.is_none() && !failed }));
    }
    if let Some(found) = patterns.connect.captures(body) {
        return endpoint(&found[1]).map(every).map(Ok);
    }
    if let Some(found) = patterns.nlb.captures(body) {
        let took = duration(&found[2], Unit::Millis);
        return Some(Ok(ParsedLine { client: endpoint(&found[1])?, took, every: took.is_none() }));
    }
    if let Some(found) = patterns.alb_connection.captures(body) {
        let took = duration(&found[3], SECONDS);
        let client = SocketAddr::new(found[1].parse().ok()?, found[2].parse().ok()?);
        return Some(Ok(ParsedLine { client, took, every: took.is_none() }));
    }
    if let Some(found) = patterns.elb.captures(body) {
        return endpoint(&found[1]).map(every).map(Ok);
    }
    // Every address in it is another's, or stands where only its configuration says.
    patterns.envoy.is_match(body).then_some(Err(Unread::NoPort))
}

/// HAProxy's own formats have three timers (TCP) or five (HTTP) and none of the handshake; with seven, the first is `%Th`.
fn positional(rest: &str) -> Option<Duration> {
    let found = PATTERNS.timers.captures(rest)?;
    let timers: Vec<&str> = found[1].split('/').collect();
    timers.first().filter(|_| timers.len() == 7).and_then(|th| duration(th, Unit::Millis))
}

/// A line of no format that we know.
fn any(body: &str, fields: &Fields) -> Result<ParsedLine, Unread> {
    let named = pairs(body);
    let took = named_duration(body);
    let every = |took: Option<Duration>| took.is_none() && !fields.own && (is_everyday(body) || named.is_of_every_request());
    match named.read(fields) {
        Ok(said) => {
            let took = said.took.or(took);
            return Ok(ParsedLine { took, every: took.is_none() && (said.every || every(took)), ..said });
        }
        // A client without its port: whatever end follows is another's.
        Err(Unread::NoPort) => return Err(Unread::NoPort),
        Err(_) => {}
    }
    let took = took.or_else(|| named.took(fields));
    Ok(ParsedLine { client: unnamed(body)?, took, every: every(took) })
}

/// Whether every request, or every connection, has such a line.
fn is_everyday(body: &str) -> bool {
    let patterns = &*PATTERNS;
    patterns.request.captures(body).is_some_and(|found| is_method(&found[1]))
        || (patterns.everyday.is_match(body) && !patterns.trouble.is_match(body))
}

fn named_duration(text: &str) -> Option<Duration> {
    let of_pairs = || pairs(text).took(&Fields::default());
    let of_words =
        || PATTERNS.duration.captures(text).and_then(|found| duration(&format!("{}{}", &found[1], &found[2]), Unit::Unsaid));
    of_pairs().or_else(of_words)
}

fn pairs(text: &str) -> Named {
    let each = PATTERNS.pair.captures_iter(text);
    each.map(|pair| (pair[1].to_owned(), pair[2].trim_matches(['"', '\'']).to_owned())).collect()
}

/// The client's end by where it stands.
fn unnamed(body: &str) -> Result<SocketAddr, Unread> {
    let patterns = &*PATTERNS;
    let mut first: Option<SocketAddr> = None;
    let (mut at_beginning, mut others) = (false, false);
    for found in patterns.address.find_iter(body) {
        let text = found.as_str().trim_start_matches([' ', '\t', '=', '"', '(']);
        let before = &body[..found.end() - text.len()];
        let text = text.trim_end_matches('.');
        if patterns.other.is_match(before) {
            others = true;
            continue;
        }
        let sure = patterns.from.is_match(before);
        match endpoint(text) {
            Some(end) if end.ip().is_unspecified() || end.port() == 0 => others = true,
            Some(end) if sure => return Ok(end),
            Some(end) => match first {
                None => (first, at_beginning) = (Some(end), before.trim_matches(['[', '(', '"', ' ']).is_empty()),
                Some(known) if known == end => {}
                Some(_) => return Err(Unread::Several),
            },
            // The client's, without a port: whatever end follows is another's.
            None if (sure || first.is_none()) && is_address(text) => return Err(Unread::NoPort),
            None => {}
        }
    }
    match first {
        Some(end) if at_beginning || end.port() >= WELL_KNOWN => Ok(end),
        Some(_) => Err(Unread::OtherEnd),
        None if others => Err(Unread::OtherEnd),
        None => Err(Unread::NoAddress),
    }
}

/// Whether a text is an address of somebody, without a port.
fn is_address(text: &str) -> bool {
    text.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|ip| !ip.is_unspecified())
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
        let (_, value) = self.each().find(|(label, value)| label.eq_ignore_ascii_case(name) && !matches!(*value, "" | "-"))?;
        Some(value.to_owned())
    }

    fn each(&self) -> impl Iterator<Item = (&str, &str)> {
        // The first may have a syslog head before it.
        let labelled = self.0.iter().filter_map(|piece| piece.split_once(':'));
        labelled.map(|(label, value)| (label.rsplit(' ').next().unwrap_or(label), value))
    }

    fn named(&self) -> Named {
        self.each().map(|(label, value)| (label.to_owned(), value.to_owned())).collect()
    }
}
