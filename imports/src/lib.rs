//! What customers can send, in: curl's `-w '%{json}'`, a HAR, Chrome's NetLog, lines of AWS's, Envoy's, HAProxy's and nginx's logs.
//!
//! ```text
//!  bytes ─ sniff ─► Source ─ read ─► curl, har, netlog: a client's program ─┐
//!                                    access (logline): an edge's program ───┴─► Request, each as it is found ─► whoever reads
//! ```
//! In: bytes, from anywhere ([`std::io::Read`]); what they are is told by their content. Out: a [`Request`] for each connection or request:
//! addresses, times as the core takes them, the key by which an edge's recorder finds the flow, and what this source cannot know. Nothing
//! is kept of a file but what is under way: files may be larger than memory, and may break off. What cannot be read is counted, with why
//! and where. No files and no clock here.
#![forbid(unsafe_code)]

mod access;
mod curl;
mod haproxy;
mod har;
mod json;
mod lines;
pub mod logline;
mod netlog;
pub mod request;
mod sniff;
pub mod when;

use std::io::Read;
use std::ops::ControlFlow;

pub use request::{End, Key, Place, Request, Seen, Unit, Unknown};
pub use sniff::{HEAD, Source, sniff};

/// Why a part of a file gave no request.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, strum::VariantArray)]
pub enum Reason {
    /// It is of no form that is known.
    NotUnderstood,
    /// It is known and names no time of anything.
    NoTimes,
    /// Its times contradict each other.
    Contradiction,
    /// It has bytes that are no UTF-8.
    NotUtf8,
    /// It is longer than anything that is read.
    TooLong,
    /// The browser had it without asking: from its cache, a service worker, the page itself.
    NotAsked,
    /// curl followed redirects and adds their times up.
    Redirects,
    /// curl's time of TLS is of another protocol, or has a dialogue in it.
    NotTls,
    /// It is about something else: another protocol, a proxy's own messages.
    Other,
    /// There are more of them at once than are kept.
    TooMany,
}

impl Reason {
    /// Words for people.
    pub const fn words(self) -> &'static str {
        match self {
            Reason::NotUnderstood => "of no form that is known",
            Reason::NoTimes => {
                "without any time (nginx: log $request_time, $remote_addr:$remote_port; HAProxy: %Th; Envoy: %DURATION%)"
            }
            Reason::Contradiction => "with times that contradict each other",
            Reason::NotUtf8 => "with bytes that are no UTF-8",
            Reason::TooLong => "longer than anything that is read",
            Reason::NotAsked => "which the browser had without asking (cache, service worker, data: URL)",
            Reason::Redirects => "in which curl adds up the times of redirects (ask for the last address itself)",
            Reason::NotTls => "in which curl's time of TLS is another's: SSH's, or that of a dialogue before STARTTLS, too",
            Reason::Other => "about something else than a connection or a request",
            Reason::TooMany => "beyond what is kept at once",
        }
    }
}

/// Parts of a file that gave no request, for one reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Skipped {
    /// Why.
    pub reason: Reason,
    /// How many.
    pub n: u64,
    /// The first of them.
    pub first: Place,
}

/// What a file held, beside its requests.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Contents {
    /// Requests that were handed over.
    pub requests: u64,
    /// What gave none.
    pub skipped: Vec<Skipped>,
    /// Where and why reading ended before the file's end; what was read before counts.
    pub cut: Option<String>,
}

impl Contents {
    fn skip(&mut self, reason: Reason, place: Place) {
        match self.skipped.iter_mut().find(|s| s.reason == reason) {
            Some(skipped) => skipped.n += 1,
            None => self.skipped.push(Skipped { reason, n: 1, first: place }),
        }
    }
}

/// Whoever takes requests as they are found; [`ControlFlow::Break`] ends the reading.
pub type Sink<'a> = dyn FnMut(Request) -> ControlFlow<()> + 'a;

/// Reads a file of this kind, and hands each request over.
///
/// ```
/// use std::ops::ControlFlow;
/// use whostalled_imports::{Source, read, sniff};
///
/// let file = br#"{"time_namelookup":0.001,"time_connect":0.021,"time_appconnect":0.64,"time_pretransfer":0.64,
///     "time_starttransfer":0.66,"time_total":0.66,"num_redirects":0,"local_ip":"192.0.2.7","local_port":40012,
///     "remote_ip":"198.51.100.1","remote_port":443,"url_effective":"https://example.com/"}"#;
/// assert_eq!(sniff(file), Some(Source::Curl));
/// let mut keys = Vec::new();
/// let contents = read(Source::Curl, &file[..], &mut |request| {
///     keys.extend(request.key().map(|key| key.client.to_string()));
///     ControlFlow::Continue(())
/// });
/// assert_eq!((contents.requests, keys), (1, vec!["192.0.2.7:40012".to_owned()]));
/// ```
pub fn read(source: Source, from: impl Read, sink: &mut Sink<'_>) -> Contents {
    let mut found = Found { contents: Contents::default(), sink, ended: false };
    match source {
        Source::Curl => curl::read(from, &mut found),
        Source::Har => har::read(from, &mut found),
        Source::NetLog => netlog::read(from, &mut found),
        _ => access::read(from, &mut found),
    }
    found.contents
}

/// Where readers put what they find.
struct Found<'a, 'b> {
    contents: Contents,
    sink: &'a mut Sink<'b>,
    /// Whether nobody wants more.
    ended: bool,
}

impl Found<'_, '_> {
    fn request(&mut self, request: Request) {
        if !self.ended {
            self.contents.requests += 1;
            self.ended = (self.sink)(request).is_break();
        }
    }

    fn skip(&mut self, reason: Reason, place: Place) {
        self.contents.skip(reason, place);
    }

    fn cut(&mut self, what: impl std::fmt::Display) {
        self.contents.cut = Some(what.to_string());
    }
}
