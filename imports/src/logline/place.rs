//! The client's end by where it stands in a text: behind a word as `from`, or alone where only a client's end stands.
//!
//! An end behind a word as `upstream`, behind a name that is not the client's, or in a line that tells how somebody connected to it, is
//! another's, and stays it where it is named again. Of two ends of which nothing says whose they are, neither is taken.

use std::net::{IpAddr, SocketAddr};
use std::sync::LazyLock;

use regex::Regex;

use super::own::name_before;
use super::roles::{Role, role};
use super::{Unread, WELL_KNOWN, endpoint};

/// So much before an address says whose it is.
const BEFORE: usize = 96;
/// More addresses than a line about one connection has.
const MOST_ENDS: usize = 32;
/// Ports above the well-known ones at which servers listen, not clients.
const ALTERNATES: [u16; 2] = [8080, 8443];

struct Patterns {
    /// An address, perhaps with its port.
    address: Regex,
    /// What stands before an address that is not the client's.
    other: Regex,
    /// What stands before one that was read from, or whose answer was.
    answered: Regex,
    /// What stands before the client's, or a peer's.
    from: Regex,
    /// What stands before the client's.
    client: Regex,
    /// Go's two ends of a connection, its own to the left.
    go: Regex,
    /// Only who connects himself is refused, or finds no way.
    connects: Regex,
    /// Words about connections to others.
    outward: Regex,
}

#[expect(clippy::unwrap_used, reason = "the patterns are fixed; a test compiles them")]
static PATTERNS: LazyLock<Patterns> = LazyLock::new(|| {
    Patterns {
    address: Regex::new(
        r#"\[{1,2}[0-9a-fA-F:.]+\](?::\d{1,5}\b\]?)?|\b\d{1,3}(?:\.\d{1,3}){3}\b(?::\d{1,5}\b)?|(?:^|[\s="(])[0-9a-fA-F]*:[0-9a-fA-F.]*:[0-9a-fA-F:.]*"#,
    )
    .unwrap(),
    other: Regex::new(
        r#"(?i)(?:://|\b(?:server|upstream|backend|listen(?:ing|er)?|local|host|dst|dest|destination|bind|vip|target|remote server from|(?-i:I)=)\w*"?\s*[=:]?\s*["(\[]?|\b(?:to|on|via|at|connect(?:ing|ed)|binding|proxying|forwarding)\s+["(\[]?|(?:->|→|=>)\s*)$"#,
    )
    .unwrap(),
    answered: Regex::new(r"(?i)\b(?:response|reply|answer)\b[^,;]{0,24}\bfrom\s+$").unwrap(),
    from: Regex::new(r#"(?i)(?:\b(?:from|client|peer|remote|src|source)(?: (?:address|addr|ip))?\s*[=:]?\s*["'(/]?|<-\s*)$"#).unwrap(),
    client: Regex::new(r#"(?i)\bclient(?: (?:address|addr|ip))?\s*[=:]?\s*["'(/]?$"#).unwrap(),
    go: Regex::new(r"\b(?<did>[a-z]+) (?:tcp|udp)[46]? (?<own>\S+?)->(?<peer>\S+?)(?::?\s|:?$)").unwrap(),
    connects: Regex::new(
        r"(?i)\bdial(?:ing|ed)?\b|\bconnection refused\b|\bno route to host\b|\bunreachable\b|\bE(?:CONNREFUSED|HOSTUNREACH|NETUNREACH)\b|\bconnect E[A-Z]+\b|\bConnect(?:Timeout)?Exception\b|\btrying to connect\b|\bconnect (?:error|failed|timeout|timed out)\b|\bunhealthy\b|\bhealth[ _-]?checks?\b|\bproxy error\b",
    )
    .unwrap(),
    outward: Regex::new(
        r"(?i)\bs_(?:connect|poll_wait)\b|\bconnect(?:ing|ion)? (?:to|attempt|error|failed|failure|timeout)\b|\bupstreams?\b|\bbackends?\b|\bprox(?:ied|ying)\b|\bforward(?:ed|ing)?\b",
    )
    .unwrap(),
}
});

/// Whether words tell that somebody tried to connect to an end.
pub(super) fn tells_of_connecting(words: &str) -> bool {
    PATTERNS.connects.is_match(words)
}

/// The client's end in the body of a line, of which what stands before may be its program's head, or say whose the end is.
pub(super) fn by_place(line: &str, body: &str) -> Result<SocketAddr, Unread> {
    let patterns = &*PATTERNS;
    let mut others: Vec<SocketAddr> = Vec::new();
    if let Some(found) = patterns.go.captures(body) {
        return of_go(line, &found);
    }
    // With whether it stands at the beginning.
    let mut first: Option<(SocketAddr, bool)> = None;
    let mut several = false;
    for (n, found) in patterns.address.find_iter(body).enumerate() {
        if n > MOST_ENDS {
            return Err(Unread::Several);
        }
        let text = found.as_str().trim_start_matches([' ', '\t', '=', '"', '(']);
        let begin = found.end() - text.len();
        let before = behind(body, begin);
        let text = text.trim_end_matches('.');
        let end = endpoint(text);
        let is_clients = |name: &str| name.eq_ignore_ascii_case("from") || matches!(role(name), Role::Address(_));
        let named = name_of(before).is_some_and(|name| !is_clients(name));
        if named || patterns.other.is_match(before) || patterns.answered.is_match(before) {
            others.push(end.unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0))));
            continue;
        }
        let sure = patterns.from.is_match(before);
        match end {
            Some(end) if end.ip().is_unspecified() || end.port() == 0 || others.contains(&end) => others.push(end),
            Some(end) if sure && (patterns.client.is_match(before) || !listens(end.port())) => return Ok(end),
            Some(end) if sure => others.push(end),
            Some(end) => match first {
                None => first = Some((end, body[..begin].trim_matches(['[', '(', '"', ' ']).is_empty())),
                Some((known, _)) => several |= known != end,
            },
            // The client's, without a port: whatever end follows is another's.
            None if (sure || first.is_none()) && is_address(text) => return Err(Unread::NoPort),
            None => {}
        }
    }
    match first {
        Some(_) if several => Err(Unread::Several),
        Some((end, at_beginning)) => {
            let head = line[..line.len() - body.len()].trim_end();
            // Alone, or as what a program begins with: behind a time only, or a shipper's word, it may be a listener.
            let begins = at_beginning && (head.is_empty() || head.ends_with([':', '|', '-', 'F', 'P']));
            let others = others.contains(&end)
                || (!begins && end.port() < WELL_KNOWN)
                || tells_of_connecting(line)
                || patterns.outward.is_match(if at_beginning { head } else { line });
            if others { Err(Unread::OtherEnd) } else { Ok(end) }
        }
        None if others.is_empty() => Err(Unread::NoAddress),
        None => Err(Unread::OtherEnd),
    }
}

/// The name whose value an address is: `name=ADDRESS`, `name="ADDRESS"`, `name: "ADDRESS"`; not the program's of `program: ADDRESS`.
fn name_of(before: &str) -> Option<&str> {
    match before.strip_suffix(['"', '\'']) {
        Some(before) => name_before(before),
        None => name_before(before).filter(|_| before.ends_with('=')),
    }
}

/// Of `read tcp OWN->PEER` the peer is a client only where the own end is one at which servers listen: otherwise Go may have dialled it.
fn of_go(line: &str, found: &regex::Captures<'_>) -> Result<SocketAddr, Unread> {
    let (own, peer) = (endpoint(&found["own"]), endpoint(&found["peer"]));
    let accepted = own.is_some_and(|own| listens(own.port())) && !tells_of_connecting(line);
    peer.filter(|peer| accepted && !listens(peer.port())).ok_or(Unread::OtherEnd)
}

/// Whether servers listen at that port.
fn listens(port: u16) -> bool {
    port < WELL_KNOWN || ALTERNATES.contains(&port)
}

/// What stands before a place.
fn behind(body: &str, at: usize) -> &str {
    let mut begin = at.saturating_sub(BEFORE);
    while !body.is_char_boundary(begin) {
        begin += 1;
    }
    &body[begin..at]
}

/// Whether a text is an address of somebody, without a port.
fn is_address(text: &str) -> bool {
    text.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|ip| !ip.is_unspecified())
}
