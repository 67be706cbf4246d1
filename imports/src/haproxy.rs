//! A line of HAProxy's → client, time, and what its timers are of. For the recorder and for `explain`.
//!
//! `%ci:%cp [%tr] %ft %b/%s TIMERS …`, wherever it begins in a line: runtimes and collectors put words of their own before it.

use std::net::SocketAddr;
use std::sync::LazyLock;

use regex::Regex;

use crate::logline::ip;

struct Patterns {
    /// `client:port [time]`, and the rest.
    line: Regex,
    /// Frontend, backend and server, `%Th` by name, timers, and the rest.
    served: Regex,
    /// Status and bytes of HTTP.
    http: Regex,
    /// Bytes and the two letters of a TCP session's end.
    tcp: Regex,
}

#[expect(clippy::unwrap_used, reason = "the patterns are fixed; a test compiles them")]
static PATTERNS: LazyLock<Patterns> = LazyLock::new(|| {
    Patterns {
    line: Regex::new(
        r"(?:^|[\s>])(?<client>[^\s<>]+:\d{1,5}) \[(?<time>\d{1,2}/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d[^\]]{0,14})\] (?<rest>\S.*)$",
    )
    .unwrap(),
    served: Regex::new(
        r"^\S+ [^\s/]+/\S+ (?:Th=\d+ )?(?<timers>[+-]?\d+(?:/[+-]?\d+)+)(?<rest>(?: .*)?)$",
    )
    .unwrap(),
    http: Regex::new(r"^ (?:-1|\d{3}) \+?\d+(?: |$)").unwrap(),
    tcp: Regex::new(r"^ \+?\d+ [A-Za-z-]{2}(?: |$)").unwrap(),
}
});

/// A line of HAProxy's.
pub(crate) struct Line<'a> {
    /// Absent where it is no address: a socket of the host's own.
    pub client: Option<SocketAddr>,
    pub time: &'a str,
    /// What stands behind the time.
    pub rest: &'a str,
}

/// What was served.
pub(crate) struct Served<'a> {
    pub timers: Timers<'a>,
    /// What stands behind the timers.
    pub rest: &'a str,
}

/// Timers, by what they are of.
pub(crate) struct Timers<'a> {
    /// `%Th`, where it stands before the others.
    pub th: Option<&'a str>,
    pub steps: Steps<'a>,
}

/// The timers of a format.
pub(crate) enum Steps<'a> {
    /// `%Tw/%Tc/%Tt`
    Tcp([&'a str; 3]),
    /// `%TR/%Tw/%Tc/%Tr/%Ta`
    Http([&'a str; 5]),
}

/// Takes a line apart; absent if it is none of HAProxy's.
pub(crate) fn line(text: &str) -> Option<Line<'_>> {
    let found = PATTERNS.line.captures(text)?;
    let (end, time, rest) = (found.name("client")?, found.name("time")?.as_str(), found.name("rest")?.as_str());
    // nginx writes whole seconds, and may write them behind any address.
    let is_haproxys = end.start() == 0 || time.contains('.') || PATTERNS.served.is_match(rest);
    is_haproxys.then(|| Line { client: client(end.as_str()), time, rest })
}

/// The last part is the port, also of an address that would be whole with it.
fn client(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.rsplit_once(':')?;
    Some(SocketAddr::new(ip(address)?, port.parse().ok()?))
}

impl<'a> Line<'a> {
    /// What its timers tell; absent if they are of no format that is known.
    pub fn served(&self) -> Option<Served<'a>> {
        let found = PATTERNS.served.captures(self.rest)?;
        let part = |name: &str| found.name(name).map(|part| part.as_str());
        let rest = part("rest")?;
        Some(Served { timers: timers(part("timers")?, rest)?, rest })
    }
}

/// TCP has three, HTTP five; `%Th` may stand before them, `%Ti` (a client that had nothing to ask yet) between. Where the number does not
/// tell which they are, what follows does.
fn timers<'a>(text: &'a str, rest: &str) -> Option<Timers<'a>> {
    let all: Vec<&str> = text.split('/').collect();
    let before = match all.len() {
        4 | 5 if PATTERNS.tcp.is_match(rest) => all.len() - 3,
        6 if PATTERNS.http.is_match(rest) => 1,
        3 => 0,
        5 | 7 => all.len() - 5,
        _ => return None,
    };
    let steps = match all[before..] {
        [a, b, c] => Steps::Tcp([a, b, c]),
        [a, b, c, d, e] => Steps::Http([a, b, c, d, e]),
        _ => return None,
    };
    Some(Timers { th: all.first().copied().filter(|_| before > 0), steps })
}
