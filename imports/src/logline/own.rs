//! A line → what the program that wrote it says itself.
//!
//! A request line, a user agent, a captured header are a client's words, and a client may write `handshake=9000` or another's address into
//! them. They stand in quotation marks, in HAProxy's braces, or behind a method; they are blanked, so that everything else keeps its place.

use std::sync::LazyLock;

use regex::Regex;

use super::endpoint;
use super::roles::{Role, role};
use crate::haproxy;

/// So much before a quotation mark tells what is in it.
const BEFORE: usize = 96;
/// Names of what the program itself has to say.
const WORDS: [&str; 13] = [
    "msg",
    "message",
    "error",
    "err",
    "reason",
    "detail",
    "log",
    "text",
    "event",
    "warning",
    "exception",
    "short_message",
    "body",
];

struct Patterns {
    /// A method and what is asked for.
    request: Regex,
    /// A path, that of an address, and HAProxy's name of the server that a client asked for, behind its request and its errors.
    path: Regex,
    /// Words behind which the client's address stands.
    from: Regex,
}

#[expect(clippy::unwrap_used, reason = "the patterns are fixed; a test compiles them")]
static PATTERNS: LazyLock<Patterns> = LazyLock::new(|| {
    Patterns {
    request: Regex::new(
        r#"(?:^|\s|(?<quote>["']))(?:(?:GET|HEAD|POST|PUT|DELETE|OPTIONS|PATCH|TRACE|PRI) (?<target>(?:/|\*|https?://)\S*)|CONNECT (?<host>\S+:\d+))"#,
    )
    .unwrap(),
    path: Regex::new(r#"(?:://[^\s/"']+|\s)(?<path>/\S*)|" \d+/[0-9A-Fa-f]+/\d+/\d+/[01] (?<name>[^\n]*)"#).unwrap(),
    from: Regex::new(r"(?i)\b(?:from|client|peer|remote)(?: (?:address|addr|ip))?\s*[=:]?\s*$").unwrap(),
}
});

/// What a line tells of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum About {
    /// A request, as every request is logged.
    Request,
    /// A request, in words that may be about anything.
    Words,
    /// Nothing that has others' words in it.
    Other,
}

/// A line without others' words.
pub(crate) struct Own {
    /// Each byte of others is a blank.
    pub text: String,
    pub about: About,
}

/// What a line, or the part before something, tells of.
fn about(line: &str) -> About {
    match PATTERNS.request.captures(line) {
        Some(found) if found.name("quote").is_some() => About::Request,
        // Its request may be empty, and its captures are there all the same.
        _ if haproxy::line(line).is_some() => About::Request,
        Some(_) => About::Words,
        None => About::Other,
    }
}

/// Blanks what others wrote.
pub(crate) fn own(line: &str) -> Own {
    let about = about(line);
    let mut blanked = Blanked { line, bytes: line.as_bytes().to_vec() };
    blanked.quoted(b'"', about);
    if about == About::Request {
        blanked.braces();
    }
    // What stands between apostrophes is only looked for outside of all that: a client may write one, too.
    blanked.quoted(b'\'', about);
    let Blanked { bytes, .. } = blanked;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let parts = |pattern: &Regex, names: [&str; 2]| {
        let each = pattern.captures_iter(&text);
        let part = |found: regex::Captures<'_>| names.iter().find_map(|name| found.name(name)).map(|part| part.range());
        each.filter_map(part).collect::<Vec<_>>()
    };
    let mut ranges = parts(&PATTERNS.request, ["target", "host"]);
    // Java's `/192.0.2.7:5` is no path.
    let is_path =
        |range: &std::ops::Range<usize>| endpoint(text[range.clone()].trim_matches(['/', ',', ';', ':', ')'])).is_none();
    ranges.extend(parts(&PATTERNS.path, ["path", "name"]).into_iter().filter(is_path));
    let mut bytes = text.into_bytes();
    for range in ranges {
        bytes[range].fill(b' ');
    }
    Own { text: String::from_utf8_lossy(&bytes).into_owned(), about }
}

/// Whether what stands at a place may be others': within quotation marks, or behind a request.
pub(crate) fn is_others(line: &str, at: usize) -> bool {
    let bytes = line.as_bytes();
    let mut from = 0;
    while let Some(open) = memchr::memchr(b'"', &bytes[from..at]).map(|n| from + n) {
        match closing(bytes, open) {
            Some(close) if close < at => from = close + 1,
            _ => return true,
        }
    }
    about(&line[..at]) == About::Request
}

struct Blanked<'a> {
    line: &'a str,
    bytes: Vec<u8>,
}

impl Blanked<'_> {
    fn blank(&mut self, from: usize, to: usize) {
        self.bytes[from..to].fill(b' ');
    }

    /// What is in quotation marks, but for values of names that are the program's own.
    fn quoted(&mut self, mark: u8, about: About) {
        let mut at = 0;
        while let Some(open) = memchr::memchr(mark, &self.bytes[at..]).map(|n| at + n) {
            let inside = open.checked_sub(1).is_some_and(|before| self.bytes[before].is_ascii_alphanumeric());
            if mark == b'\'' && inside {
                at = open + 1; // an apostrophe
                continue;
            }
            let Some(close) = closing(&self.bytes, open) else {
                if mark == b'"' {
                    self.blank(open + 1, self.bytes.len());
                }
                return; // nor does any later one end
            };
            if !is_own(&self.line[..open], &self.line[open + 1..close], about) {
                self.blank(open + 1, close);
            }
            at = close + 1;
        }
    }

    /// HAProxy's captured headers, in which it writes no braces of others.
    fn braces(&mut self) {
        let mut at = 0;
        while let Some(open) = memchr::memchr(b'{', &self.bytes[at..]).map(|n| at + n) {
            let close = memchr::memchr(b'}', &self.bytes[open..]).map_or(self.bytes.len(), |n| open + n);
            self.blank(open + 1, close);
            at = close;
        }
    }
}

/// The next mark of the same kind that nothing escapes.
fn closing(bytes: &[u8], open: usize) -> Option<usize> {
    let mut at = open + 1;
    while let Some(next) = memchr::memchr2(bytes[open], b'\\', &bytes[at..]).map(|n| at + n) {
        if bytes[next] == bytes[open] {
            return Some(next);
        }
        at = (next + 2).min(bytes.len());
    }
    None
}

/// Whether a quoted text is the program's own: by its name, or because it is nothing but an address where a client's may stand.
fn is_own(before: &str, text: &str, about: About) -> bool {
    let mut begin = before.len().saturating_sub(BEFORE);
    while !before.is_char_boundary(begin) {
        begin += 1;
    }
    let before = &before[begin..];
    if let Some(name) = name_before(before) {
        let last = name.rsplit('.').next().unwrap_or_default();
        let of_words = WORDS.iter().any(|word| last.eq_ignore_ascii_case(word));
        // An address behind `name=` is left to whoever looks at its name, which a configuration may have.
        let by_hand = before.ends_with('=') && endpoint(text).is_some();
        return of_words || by_hand || is_plain(text) || role(name) != Role::Nothing;
    }
    endpoint(text).is_some() && (about != About::Request || before.trim().is_empty() || PATTERNS.from.is_match(before))
}

/// The name whose value follows: `name=`, `name: `.
pub(super) fn name_before(before: &str) -> Option<&str> {
    let colon = || before.strip_suffix(' ').unwrap_or(before).strip_suffix(':');
    let named = before.strip_suffix('=').or_else(colon)?;
    let of_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.@-".contains(byte);
    let len = named.bytes().rev().take_while(of_name).count();
    let name = named[named.len() - len..].trim_start_matches(|c: char| !c.is_ascii_alphabetic());
    (!name.is_empty()).then_some(name)
}

/// Whether it can be read as nothing else than a word or a number.
fn is_plain(text: &str) -> bool {
    !text.contains(['=', ':']) && !text.to_ascii_lowercase().contains("handshake")
}
