//! Records → the handshake messages sent in clear.

use std::borrow::Cow;

use super::stream::Stream;
use super::{Content, Extent, Record};

/// A Hello longer than this is not kept.
const MOST_HELLO: usize = 32 * 1024;

/// Handshake types (RFC 8446 section 4, RFC 5246 section 7.4) that are read here.
pub mod kind {
    #![allow(missing_docs, reason = "the RFC's own names")]
    pub const CLIENT_HELLO: u8 = 1;
    pub const SERVER_HELLO: u8 = 2;
    /// Drafts of TLS 1.3 up to 21.
    pub const HELLO_RETRY_REQUEST: u8 = 6;
    pub const CERTIFICATE: u8 = 11;
    pub const CERTIFICATE_REQUEST: u8 = 13;
    pub const SERVER_HELLO_DONE: u8 = 14;
}

/// One handshake message sent in clear.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message<'a> {
    /// Handshake type.
    pub kind: u8,
    /// Body of a Hello without the four-byte header; empty for others.
    pub body: Cow<'a, [u8]>,
    /// From the first record that held a piece of it to the end of the record that held its last: a receiver reads
    /// whole records.
    pub extent: Extent,
}

/// A message of which not all has come.
struct Partial {
    header: Vec<u8>,
    body: Vec<u8>,
    start: i64,
    left: usize,
}

impl Partial {
    fn at(start: i64) -> Self {
        Self { header: Vec::with_capacity(4), body: Vec::new(), start, left: 0 }
    }

    /// Takes what belongs to this message of what a record holds; gives how much that is.
    fn take(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while self.header.len() < 4 && at < bytes.len() {
            self.header.push(bytes[at]);
            at += 1;
            if let [_, a, b, c] = self.header[..] {
                self.left = u32::from_be_bytes([0, a, b, c]) as usize;
            }
        }
        let part = self.left.min(bytes.len() - at);
        if part > 0 && self.header[0] <= kind::HELLO_RETRY_REQUEST && self.body.len() < MOST_HELLO {
            self.body.extend_from_slice(&bytes[at..at + part]);
        }
        self.left -= part;
        at + part
    }

    fn complete(&self) -> bool {
        self.header.len() == 4 && self.left == 0
    }
}

/// Gives each of the handshake messages in clear: those before the sender's first ChangeCipherSpec or encrypted record.
/// Alerts in clear may stand between them.
///
/// A client that is asked for a second ClientHello moves its ChangeCipherSpec before it (RFC 8446, appendix D.4),
/// and so does the server behind its HelloRetryRequest: a ChangeCipherSpec before a Hello does not end the clear part.
/// Of a message that was not captured whole, what its header says is told.
pub fn messages<'a>(stream: &'a Stream, records: &[Record], mut each: impl FnMut(Message<'a>)) {
    let mut partial: Option<Partial> = None;
    for (i, record) in records.iter().enumerate() {
        let (start, end) = (record.extent.start as usize, record.extent.end as usize);
        match record.content {
            Content::Handshake => {}
            Content::HelloV2 => {
                each(Message { kind: kind::CLIENT_HELLO, body: Cow::default(), extent: record.extent });
                continue;
            }
            // Early data that the server refused stand between ClientHello and its repetition.
            Content::ApplicationData | Content::ChangeCipherSpec
                if records[i + 1..].iter().any(|later| second_hello(stream, later)) =>
            {
                continue;
            }
            _ if record.is_clear_alert() => continue, // a warning, if anything comes behind it
            Content::ChangeCipherSpec if records.get(i + 1).is_some_and(|next| hello_follows(stream, next)) => continue,
            _ => break,
        }
        let mut at = start + 5;
        while at < end {
            if partial.is_none()
                && let Some((kind, body, next)) = whole(stream, at, end)
            {
                at = next;
                let extent = Extent { start: record.extent.start, end: end as i64 };
                each(Message { kind, body: Cow::Borrowed(body), extent });
                continue;
            }
            let mut message = partial.take().unwrap_or_else(|| Partial::at(record.extent.start));
            if message.header.len() < 4 && !stream.known(at, (at + 4 - message.header.len()).min(end)) {
                break; // its header was not captured: the next record begins anew
            }
            at += message.take(stream.get(at..end).unwrap_or_default());
            if !message.complete() {
                partial = Some(message);
                break;
            }
            each(Message {
                kind: message.header[0],
                body: message.body.into(),
                extent: Extent { start: message.start, end: end as i64 },
            });
        }
    }
}

/// The message at `at` if all of it lies before `end`: its type, its body (of a Hello) and where the next begins.
fn whole(stream: &Stream, at: usize, end: usize) -> Option<(u8, &[u8], usize)> {
    let [kind, a, b, c] = *stream.get(at..at + 4)? else { return None };
    let next = at + 4 + u32::from_be_bytes([0, a, b, c]) as usize;
    let here = next <= end && next - at < MOST_HELLO && stream.known(at, at + 4);
    let body = if kind <= kind::HELLO_RETRY_REQUEST { at + 4..next } else { at..at };
    stream.get(body).filter(|_| here).map(|body| (kind, body, next))
}

/// Whether a record holds a whole ClientHello: nothing else is sent in clear behind ClientHello.
fn second_hello(stream: &Stream, record: &Record) -> bool {
    if record.content != Content::Handshake {
        return false;
    }
    let (start, end) = (record.extent.start as usize + 5, record.extent.end as usize);
    let Some([kind::CLIENT_HELLO, a, b, c]) = stream.get(start..start + 4) else { return false };
    u32::from_be_bytes([0, *a, *b, *c]) as usize + 4 == end - start
}

fn hello_follows(stream: &Stream, record: &Record) -> bool {
    let at = record.extent.start as usize + 5;
    let large = record.extent.end - record.extent.start > 9 + 34;
    record.content == Content::Handshake && large && matches!(stream.get(at..at + 1), Some([1 | 2]))
}
