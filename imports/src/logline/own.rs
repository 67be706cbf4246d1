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
    /// The path of an address.
    path: Regex,
    /// A name whose value follows.
    name: Regex,
    /// Words behind which the client's address stands.
    from: Regex,
}

#[expect(clippy::unwrap_used, reason = "the patterns are fixed; a test compiles them")]
static PATTERNS: LazyLock<Patterns> = LazyLock::new(|| {
    Patterns {
    request: Regex::new(
        r#"(?:^|[\s"'])(?:(?:GET|HEAD|POST|PUT|DELETE|OPTIONS|PATCH|TRACE|PRI) (?<target>(?:/|\*|https?://)\S*)|CONNECT (?<host>\S+:\d+))"#,
    )
    .unwrap(),
    path: Regex::new(r#"://[^\s/"']+(?<path>/\S*)"#).unwrap(),
    name: Regex::new(r"([A-Za-z][\w.@-]{0,60})(?:=|:\s?)$").unwrap(),
    from: Regex::new(r"(?i)\b(?:from|client|peer|remote)(?: (?:address|addr|ip))?\s*[=:]?\s*$").unwrap(),
}
});

/// A line without others' words.
pub(crate) struct Own {
    /// Each byte of others is a blank.
    pub text: String,
    /// Whether it tells of a request.
    pub of_request: bool,
}

/// Blanks what others wrote.
pub(crate) fn own(line: &str) -> Own {
    let asked = PATTERNS.request.is_match(line);
    // Its requests may be empty, and its captures are there all the same.
    let of_request = asked || haproxy::line(line).is_some();
    let mut text = Blanked { line, bytes: line.as_bytes().to_vec() };
    text.quoted(b'"', of_request);
    if of_request {
        text.braces();
    }
    // What stands between apostrophes is only looked for outside of all that: a client may write one, too.
    text.quoted(b'\'', of_request);
    let mut text = String::from_utf8_lossy(&text.bytes).into_owned();
    for pattern in [&PATTERNS.request, &PATTERNS.path] {
        let ranges: Vec<_> = pattern
            .captures_iter(&text)
            .filter_map(|found| ["target", "host", "path"].iter().find_map(|name| found.name(name)).map(|part| part.range()))
            .collect();
        for range in ranges {
            let blanks = " ".repeat(range.len());
            text.replace_range(range, &blanks);
        }
    }
    Own { text, of_request }
}

/// Whether a place lies within quotation marks.
pub(crate) fn is_quoted(line: &str, at: usize) -> bool {
    let bytes = line.as_bytes();
    let mut from = 0;
    while let Some(open) = memchr::memchr(b'"', &bytes[from..at]).map(|n| from + n) {
        match closing(bytes, open) {
            Some(close) if close < at => from = close + 1,
            _ => return true,
        }
    }
    false
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
    fn quoted(&mut self, mark: u8, of_request: bool) {
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
            if !is_own(&self.line[..open], &self.line[open + 1..close], of_request) {
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
fn is_own(before: &str, text: &str, of_request: bool) -> bool {
    let mut begin = before.len().saturating_sub(BEFORE);
    while !before.is_char_boundary(begin) {
        begin += 1;
    }
    let before = &before[begin..];
    if let Some(name) = PATTERNS.name.captures(before).map(|found| found[1].to_owned()) {
        let last = name.rsplit('.').next().unwrap_or_default();
        return role(&name) != Role::Nothing || WORDS.iter().any(|word| last.eq_ignore_ascii_case(word)) || is_plain(text);
    }
    endpoint(text).is_some() && (!of_request || before.trim().is_empty() || PATTERNS.from.is_match(before))
}

/// Whether it can be read as nothing else than a word or a number.
fn is_plain(text: &str) -> bool {
    !text.contains(['=', ':']) && !text.to_ascii_lowercase().contains("handshake")
}
