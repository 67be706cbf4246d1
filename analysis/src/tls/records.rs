//! A byte stream → its TLS records, incrementally.
//!
//! In: a [`Stream`] that grows. Out: the records found so far. TLS may begin anywhere in it: after STARTTLS, a SOCKS
//! greeting, PostgreSQL's SSLRequest. So the first thing looked for is a Hello.

use std::ops::Range;

use memchr::memchr2;

use super::messages::kind::CERTIFICATE;
use super::stream::Stream;
use super::{Content, Extent, Record};

/// Plaintext before TLS beyond this is no negotiation of TLS.
pub(super) const MOST_BEFORE: usize = 16 * 1024;
/// TLSCiphertext.length may not be more (RFC 5246 section 6.2.3; RFC 8446 allows less).
const MOST_RECORD: usize = (1 << 14) + 2048;

/// Records of most directions of a handshake, at most.
const USUAL_RECORDS: usize = 8;
/// A record's header, and that of a handshake message behind it.
const MOST_HEADER: usize = 5 + 4;
/// Bodies shorter than this are kept.
const WORTH_IT: usize = 64;

/// What a Hello in a record begins with: only [`begins`] at offset 0 knows another.
const HANDSHAKE: u8 = 22;
/// What an answer to a ClientHello may begin with.
const ALERT: u8 = 21;

/// Which Hello a side begins with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hello {
    /// ClientHello.
    Client,
    /// ServerHello, HelloRetryRequest or an alert.
    Server,
}

/// The records of one direction, found as the stream grows.
#[derive(Clone, Default, Debug)]
pub struct Records {
    /// Where TLS begins; absent until its Hello is found.
    start: Option<usize>,
    /// Next byte to look at.
    at: usize,
    /// Records, in order.
    pub found: Vec<Record>,
    /// How many of them are of protected data.
    protected: usize,
    /// Whether a ChangeCipherSpec was found, and a handshake record behind one.
    change: bool,
    handshake_behind_change: bool,
    /// The record on its way: before it ends, there is nothing to look at.
    coming: Option<Coming>,
    /// The stream stopped looking like TLS.
    lost: bool,
}

/// A record of which not all has come.
#[derive(Clone, Copy, Debug)]
struct Coming {
    record: Record,
    /// From where on nobody will read it: the body of one of protected data, or of a Certificate.
    unread_from: Option<usize>,
}

impl Records {
    /// All records of a whole stream.
    pub fn read(stream: &Stream, hello: Hello) -> Self {
        let mut records = Self::default();
        records.advance(stream, hello);
        records
    }

    /// Where TLS begins in the stream; absent until its Hello is found.
    pub fn start(&self) -> Option<usize> {
        self.start
    }

    /// Bytes held in memory beside itself.
    pub(crate) fn held(&self) -> usize {
        self.found.capacity() * size_of::<Record>()
    }

    /// Whether the stream does not begin with TLS; it may come later (STARTTLS).
    pub fn begins_otherwise(&self) -> bool {
        self.start.is_none() && self.at > 0
    }

    /// Whether this stream is not TLS, or no more.
    pub fn hopeless(&self) -> bool {
        self.lost || (self.start.is_none() && self.at >= MOST_BEFORE)
    }

    /// How many records of protected data.
    pub fn protected(&self) -> usize {
        self.protected
    }

    /// Whether a handshake record came behind a ChangeCipherSpec: Finished of TLS 1.2 and older (or a second ClientHello).
    pub fn handshake_behind_change(&self) -> bool {
        self.handshake_behind_change
    }

    /// The body of a record that has begun and is not whole yet, if nobody will read it: one of protected data, or a Certificate.
    pub fn unread(&self) -> Option<Range<usize>> {
        self.coming.and_then(|Coming { record, unread_from }| Some(unread_from?..record.extent.end as usize))
    }

    /// Takes a segment's payload, all of which was captured and which begins at `start` in the stream, if it is what the stream waits for
    /// and its records can be found as it passes, without a second look: bodies that nobody will read are not kept. Gives whether it did;
    /// if not, nothing has changed, and [`Stream::push`] and [`Self::advance`] find the same in longer time.
    pub fn take(&mut self, stream: &mut Stream, hello: Hello, start: i64, payload: &[u8]) -> bool {
        let base = stream.end();
        if start != base as i64 || self.lost || !stream.is_plain() {
            return false;
        }
        if self.start.is_none() {
            let begins_here = base == 0 && payload.first().is_some_and(|kind| kind & 0x80 == 0);
            if !begins_here || begins(payload, hello, false) != Some(true) {
                return false;
            }
            self.start = Some(0);
        }
        // What lies in `payload[kept..at]` is looked at and not handed on yet.
        let (mut kept, mut at) = (0, 0);
        if let Some(Coming { record, unread_from }) = self.coming {
            at = (record.extent.end as usize - base).min(payload.len());
            if unread_from.is_some() {
                stream.pass(at, base + at);
                kept = at;
            }
            if base + at == record.extent.end as usize {
                self.add(record);
            }
        } else if self.at != base {
            return false; // half a header is there
        }
        while self.coming.is_none() && payload.len() - at >= 5 {
            let rest = &payload[at..];
            let Some((content, len)) = header(rest) else {
                self.lost = true;
                break;
            };
            let (end, whole) = (at + 5 + len, 5 + len <= rest.len());
            let read = read_of(&rest[..MOST_HEADER.min(5 + len).min(rest.len())]);
            if let Some(read) = read.filter(|read| !whole || 5 + len > read + WORTH_IT) {
                stream.keep(&payload[kept..at + read]);
                kept = end.min(payload.len());
                stream.pass(kept - (at + read), base + end);
            }
            let record = record(content, base + at, base + end);
            if whole {
                self.add(record);
            } else {
                self.coming = Some(Coming { record, unread_from: read.map(|read| base + at + read) });
            }
            at = end;
        }
        stream.keep(&payload[kept..]);
        true
    }

    fn add(&mut self, record: Record) {
        self.coming = None;
        self.at = record.extent.end as usize;
        match record.content {
            Content::ApplicationData => self.protected += 1,
            Content::ChangeCipherSpec => self.change = true,
            Content::Handshake => self.handshake_behind_change |= self.change,
            _ => {}
        }
        if self.found.capacity() == 0 {
            self.found.reserve(USUAL_RECORDS);
        }
        self.found.push(record);
    }

    /// Looks at what the stream has grown by.
    pub fn advance(&mut self, stream: &Stream, hello: Hello) {
        if self.start.is_none() && !self.find_start(stream, hello) {
            return;
        }
        if self.coming.is_some_and(|coming| stream.end() < coming.record.extent.end as usize) {
            return;
        }
        self.coming = None;
        while !self.lost {
            match self.next(stream) {
                Step::Record(record) => self.add(record),
                Step::Wait => return,
                Step::Within(record) => {
                    let end = record.extent.end as usize;
                    let header = stream.get(self.at..(self.at + MOST_HEADER).min(end).min(stream.end()));
                    let unread_from = header.and_then(read_of).map(|read| self.at + read);
                    self.coming = Some(Coming { record, unread_from });
                    return;
                }
                Step::Skip(to) => self.at = to,
                Step::Lost => self.lost = true,
            }
        }
    }

    fn find_start(&mut self, stream: &Stream, hello: Hello) -> bool {
        let bytes = stream.beginning();
        while self.at < bytes.len().min(MOST_BEFORE) {
            let rest = &bytes[self.at..];
            match begins(rest, hello, self.at > 0) {
                Some(true) => {
                    self.start = Some(self.at);
                    return true;
                }
                // Too little to say.
                None => return false,
                Some(false) => {
                    self.at += 1;
                    let rest = &bytes[self.at..];
                    self.at += memchr2(HANDSHAKE, ALERT, rest).unwrap_or(rest.len());
                }
            }
        }
        false
    }

    fn next(&self, stream: &Stream) -> Step {
        let at = self.at;
        if at + 5 > stream.end() {
            return Step::Wait;
        }
        if !stream.known(at, at + 5) {
            // A record's header was not captured: go on where a segment begins with one.
            return resynchronise(stream, at);
        }
        let Some(bytes) = stream.get(at..at + 5) else { return Step::Lost };
        if self.found.is_empty() && bytes[0] & 0x80 != 0 {
            let end = at + 2 + (usize::from(bytes[0] & 0x7f) << 8 | usize::from(bytes[1]));
            return if end > stream.end() { Step::Wait } else { Step::Record(record(Content::HelloV2, at, end)) };
        }
        let Some((content, len)) = header(bytes) else { return Step::Lost };
        let record = record(content, at, at + 5 + len);
        if at + 5 + len > stream.end() { Step::Within(record) } else { Step::Record(record) }
    }
}

enum Step {
    Record(Record),
    /// A record of which not all has come.
    Within(Record),
    Skip(usize),
    Wait,
    Lost,
}

fn record(content: Content, start: usize, end: usize) -> Record {
    Record { content, extent: Extent { start: start as i64, end: end as i64 } }
}

fn header(bytes: &[u8]) -> Option<(Content, usize)> {
    let [kind, 3, 0..=4, hi, lo, ..] = *bytes else { return None };
    let content = match kind {
        20 => Content::ChangeCipherSpec,
        21 => Content::Alert,
        22 => Content::Handshake,
        23 => Content::ApplicationData,
        24 => Content::Heartbeat,
        _ => return None,
    };
    let len = usize::from(u16::from_be_bytes([hi, lo]));
    (len <= MOST_RECORD).then_some((content, len))
}

/// How many bytes of a record will be read, if not all: the header of one of protected data, that of a Certificate too.
fn read_of(header: &[u8]) -> Option<usize> {
    match *header {
        [23, ..] => Some(5),
        [22, _, _, hi, lo, CERTIFICATE, a, b, c] => {
            let record = u32::from(u16::from_be_bytes([hi, lo]));
            (u32::from_be_bytes([0, a, b, c]) + 4 == record).then_some(MOST_HEADER)
        }
        _ => None,
    }
}

fn resynchronise(stream: &Stream, at: usize) -> Step {
    let begins = |start: &usize| {
        let bytes = stream.get(*start..start + 5).filter(|_| stream.known(*start, start + 5));
        bytes.is_some_and(|bytes| header(bytes).is_some())
    };
    stream.starts_behind_holes(at).find(begins).map_or(Step::Wait, Step::Skip)
}

/// Whether a segment begins with a record of protected data or an alert, as they do long after the Hello.
pub(crate) fn begins_protected(segment: &[u8]) -> bool {
    let known = matches!(header(segment), Some((Content::ApplicationData | Content::Alert, len)) if len >= 16);
    known && segment.get(1..3).is_some_and(|version| version[1] > 0)
}

/// Whether a Hello begins here; absent if more bytes are needed. Behind plaintext (`strict`) it must be in one piece.
fn begins(bytes: &[u8], hello: Hello, strict: bool) -> Option<bool> {
    let first = *bytes.first()?;
    if !matches!((first, hello), (22, _) | (21, Hello::Server)) && (first & 0x80 == 0 || hello == Hello::Server) {
        return Some(false);
    }
    if first & 0x80 != 0 {
        return Some(begins_v2(bytes.get(..11)?, strict));
    }
    let major = *bytes.get(1)?;
    if major != 3 || *bytes.get(2)? > 4 {
        return Some(false);
    }
    let Some((content, len)) = header(bytes.get(..5)?) else { return Some(false) };
    if content == Content::Alert {
        return Some(len == 2 && matches!(bytes.get(5)?, 1 | 2));
    }
    if len == 0 {
        return Some(false);
    }
    if !matches!((*bytes.get(5)?, hello), (1, Hello::Client) | (2 | 6, Hello::Server)) {
        return Some(false);
    }
    if len < 10 {
        return Some(!strict);
    }
    let message = usize::from(bytes.get(6).copied()?) << 16 | usize::from(*bytes.get(7)?) << 8 | usize::from(*bytes.get(8)?);
    let version = matches!((*bytes.get(9)?, bytes.get(10).copied()?), (3, 0..=4) | (0x7f, _));
    Some(version && (34..1 << 18).contains(&message))
}

/// The ClientHello of SSL 2.0 that offers SSL 3.0 or TLS (RFC 5246, appendix E.2).
fn begins_v2(bytes: &[u8], strict: bool) -> bool {
    let length = usize::from(bytes[0] & 0x7f) << 8 | usize::from(bytes[1]);
    let field = |at: usize| usize::from(bytes[at]) << 8 | usize::from(bytes[at + 1]);
    let (ciphers, session, challenge) = (field(5), field(7), field(9));
    bytes[2] == 1
        && bytes[3] == 3
        && bytes[4] <= 4
        && ciphers % 3 == 0
        && (16..=32).contains(&challenge)
        && length == 9 + ciphers + session + challenge
        && !strict
}
