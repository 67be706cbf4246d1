//! Lines of text: HAProxy's formats, nginx's, Envoy's, those of load balancers, labelled ones, `name=value`, and whatever else names the
//! client's address with its port.
//!
//! What a program's own format says comes first, then what has a name, then what stands where only a client's end stands: at the
//! beginning, or behind a word as `from`. Of two ends of which nothing says whose they are, neither is taken.

use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::Duration;

use regex::Regex;

use super::named::{Named, Took, Whose, duration};
use super::own::{About, own};
use super::place::{by_place, tells_of_connecting};
use super::roles::{Unit, is_anothers};
use super::{Fields, ParsedLine, Unread, endpoint};
use crate::haproxy;

/// AWS's load balancers write seconds.
const SECONDS: Unit = Unit::Seconds;
/// A runtime's head, a shipper's and a program's may stand before a line.
const MOST_HEADS: usize = 4;
/// Words so far before a handshake may say whose it is.
const BEFORE: usize = 24;

/// Patterns, compiled once.
struct Patterns {
    /// What stands before the program's own words: a syslog head of either kind, a container runtime's, docker compose's.
    head: Regex,
    /// `name=value`, `name: value`.
    pair: Regex,
    /// A handshake's duration in a sentence.
    duration: Regex,
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
    /// What ends in another end's name is no head.
    listens: Regex,
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
        r"^(?:(?:\d{1,5} )?<\d+>1 \S+ \S+ \S+ \S+ \S+ (?:-|(?:\[[^\]]*\])+) ?|\[pod/[^\]\s]+\] |\d{4}-\d\d-\d\dT\S+ (?:std(?:out|err) [FP] )?|[\w.-]{1,64} +\| |(?:(?:\d{1,5} )?<\d+>)?(?:[^\[\]{]{0,80}\s)?[\w./-]{1,48}(?:\[\d+\])?: |(?:\d{1,5} )?<\d+>)",
    )
    .unwrap(),
    pair: Regex::new(
        r#"(?:^|[\s,;(\[{|])([A-Za-z][\w.@-]{0,60})(?:\s?[=:]\s?)("[^"]*"|'[^']*'|\[[0-9A-Fa-f:.]+\](?::\d+)?|[^\s,;|)\]}"'=]+)"#,
    )
    .unwrap(),
    duration: Regex::new(
        r"(?i)\bhandshake\b[^\n]{0,60}?\b(?:took|in|after|duration|time|lasted|of)\s*[=:]?\s*(\d+(?:\.\d+)?)\s*(ms|s|us|µs|ns)\b",
    )
    .unwrap(),
    failed: Regex::new(r"^\S+: \S").unwrap(),
    connect: Regex::new(r"^Connect from (\S+:\d{1,5}) to \S+ \(\S+\)").unwrap(),
    envoy: Regex::new(r#"^\[\d{4}-\d\d-\d\dT[\d:.]+Z?\] ""#).unwrap(),
    nlb: Regex::new(r"^tls \d\.\d \S+ \S+ \S+ (\S+:\d{1,5}) \S+ (?:-|\d+) (-|\d+) ").unwrap(),
    alb_connection: Regex::new(r"^\d{4}-\d\d-\d\dT\S+Z (\S+) (\d{1,5}) \d{1,5} (?:TLSv[\d.]+|-) \S+ ([\d.]+|-) ").unwrap(),
    elb: Regex::new(r"^(?:(?:http|https|h2|grpcs|ws|wss) )?\d{4}-\d\d-\d\dT\S+Z \S+ (\S+:\d{1,5}) (?:\S+:\d{1,5}|-) (?:-?[\d.]+ ){3}").unwrap(),
    listens: Regex::new(r"(?i)\b(?:server|upstream|backend|listen(?:ing|er)?|local|host|dst|dest|destination|bind|vip|target)\w*: $").unwrap(),
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
        return labels.read(fields);
    }
    let own = own(line);
    let bodies = bodies(&own.text);
    if let Some(said) = bodies.iter().rev().find_map(|body| program(body)) {
        return said;
    }
    // The whole line is tried last: its words may only look like a head.
    for body in bodies.into_iter().rev() {
        match any(&own.text, body, fields, own.about) {
            Err(Unread::NoAddress) => {}
            said => return said,
        }
    }
    Err(Unread::NoAddress)
}

/// A line of a format that says itself which end is the client's; absent if it is in none.
pub(super) fn of_format(line: &str, fields: &Fields) -> Option<Result<ParsedLine, Unread>> {
    let line = line.trim_end();
    if let Some(labels) = labels(line) {
        return Some(labels.read(fields));
    }
    let own = own(line);
    bodies(&own.text).iter().rev().find_map(|body| program(body))
}

/// The line, and what is left of it without its heads: a runtime's head may stand before a program's.
fn bodies(line: &str) -> Vec<&str> {
    let patterns = &*PATTERNS;
    let mut bodies = vec![line];
    let mut body = line;
    let is_head = |head: &regex::Match<'_>| head.end() > 0 && !patterns.listens.is_match(head.as_str());
    while let Some(head) = patterns.head.find(body).filter(|head| is_head(head) && bodies.len() < MOST_HEADS) {
        body = &body[head.end()..];
        bodies.push(body);
    }
    bodies
}

/// A line of a format that a program has of its own; absent if it is none of those that we know.
fn program(body: &str) -> Option<Result<ParsedLine, Unread>> {
    let patterns = &*PATTERNS;
    let every = |client| ParsedLine { client, took: None, every: true };
    if let Some(found) = haproxy::line(body) {
        let served = found.served();
        let th = || served.as_ref().and_then(|served| duration(served.timers.th?, Unit::Millis));
        // What failed has a message, and no backend.
        let failed = served.is_none() && patterns.failed.is_match(found.rest);
        let took = match named_duration(found.rest) {
            Ok(named) => named.or_else(th),
            Err(why) => return Some(Err(why)),
        };
        let Some(client) = found.client else { return Some(Err(Unread::NoAddress)) };
        return Some(Ok(ParsedLine { client, took, every: is_zero(took) || took.is_none() && !failed }));
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

/// Whether it is of a later request of a connection: HAProxy's time of the handshake is 0 for all but the first.
pub(super) fn is_zero(took: Option<Duration>) -> bool {
    took.is_some_and(|took| took.is_zero())
}

/// A line of no format that we know.
fn any(line: &str, body: &str, fields: &Fields, about: About) -> Result<ParsedLine, Unread> {
    let named = pairs(body);
    let of_request = || match about {
        About::Request => true,
        About::Words => !is_trouble(body),
        About::Other => false,
    };
    let usual = || of_request() || is_everyday(body) || named.is_of_every_request();
    let every = |took: Option<_>| !fields.own && (is_zero(took) || took.is_none() && usual());
    match named.read(fields) {
        Ok((_, whose)) if whose != Whose::Clients && tells_of_connecting(line) && !usual() => return Err(Unread::OtherEnd),
        Ok((said, _)) => {
            let took = said.took.or(named_duration(body)?);
            return Ok(ParsedLine { took, every: every(took) || said.every && said.took == took, ..said });
        }
        // A client without its port: whatever end follows is another's.
        Err(why @ (Unread::NoPort | Unread::NoUnit)) => return Err(why),
        Err(_) => {}
    }
    let client = by_place(line, body)?;
    let took = match named_duration(body)? {
        None => named.took(fields)?,
        said => said,
    };
    Ok(ParsedLine { client, took, every: every(took) })
}

/// Whether words tell of a connection that came or went, without trouble.
pub(super) fn is_everyday(words: &str) -> bool {
    PATTERNS.everyday.is_match(words) && !is_trouble(words)
}

/// Whether words tell of trouble.
pub(super) fn is_trouble(words: &str) -> bool {
    PATTERNS.trouble.is_match(words)
}

/// A handshake's time by its name, or in a sentence.
fn named_duration(text: &str) -> Took {
    if let Some(took) = pairs(text).took(&Fields::default())? {
        return Ok(Some(took));
    }
    let Some(found) = PATTERNS.duration.captures(text) else { return Ok(None) };
    let Some(all) = found.get(0) else { return Ok(None) };
    let mut begin = all.start().saturating_sub(BEFORE);
    while !text.is_char_boundary(begin) {
        begin += 1;
    }
    // "upstream handshake took", "handshake with the backend took"
    if text[begin..all.end()].split(|c: char| !c.is_alphanumeric()).any(|word| is_anothers(&word.to_ascii_lowercase())) {
        return Ok(None);
    }
    Ok(duration(&format!("{}{}", &found[1], &found[2]), Unit::Unsaid))
}

/// `name=value`, one after another.
fn pairs(text: &str) -> Named {
    let mut pairs = Vec::new();
    let mut at = 0;
    while let Some(pair) = PATTERNS.pair.captures_at(text, at) {
        let (Some(all), Some(name), Some(value)) = (pair.get(0), pair.get(1), pair.get(2)) else { break };
        // In `slow: client=…` the value of the first is a name itself, and a blank may stand before it.
        let is_name = text[value.end()..].starts_with('=') && value.start() > name.end() + 1;
        at = if is_name { text[..value.start()].char_indices().next_back().map_or(0, |(at, _)| at) } else { all.end() };
        if !is_name {
            pairs.push((name.as_str().to_owned(), value.as_str().trim_matches(['"', '\'']).to_owned()));
        }
    }
    pairs.into_iter().collect()
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

    fn read(&self, fields: &Fields) -> Result<ParsedLine, Unread> {
        self.named().read(fields).map(|(said, _)| said)
    }

    fn named(&self) -> Named {
        // Of a request, ltsv.org calls the client `host`; elsewhere that may be anybody.
        let of_request = ["req", "method", "status", "reqtime"].iter().any(|name| self.get(name).is_some());
        let of_client = |label: &str| of_request && ["host", "port"].iter().any(|name| label.eq_ignore_ascii_case(name));
        let whose = |label: &str| if of_client(label) { format!("source_{label}") } else { label.to_owned() };
        self.each().map(|(label, value)| (whose(label), value.to_owned())).collect()
    }
}
