//! The two byte streams of a connection → where each TLS message lies in them.
//!
//! ```text
//! segments ─ stream ─► records ─► messages (in clear) ─► Dialogue: the offset of each milestone
//!                                 hello: version, name, suite
//! ```
//! Works on reassembled bytes alone, so it needs no times: it says at which *offset* each message ends,
//! and any observer's [`crate::tcp::flow::View`] turns offsets into times. What is encrypted is told by
//! record type, order and length (RFC 8446 section 5, RFC 5246 section 7.3; lengths in docs/method.md, "TLS on the wire").

mod dependence;
mod hello;
mod messages;
pub mod records;
pub mod stream;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

pub use hello::client_random;
use hello::{ClientHello, HELLO_RETRY, ServerHello};
use messages::{Message, kind, messages};
use records::{Hello, Records};
use stream::Stream;

/// A TLS 1.3 alert record: header 5, alert 2, content type 1, tag 16.
const ALERT_13: i64 = 5 + 2 + 1 + 16;
/// A client's flight of more records than this before Finished has not been seen.
const MOST_FLIGHT_RECORDS: usize = 6;

/// A half-open range of stream offsets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Extent {
    /// First byte.
    pub start: i64,
    /// Just after the last byte.
    pub end: i64,
}

/// Record content types (RFC 8446, section 5.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Content {
    /// change_cipher_spec.
    ChangeCipherSpec,
    /// alert.
    Alert,
    /// handshake.
    Handshake,
    /// application_data; in TLS 1.3 everything encrypted.
    ApplicationData,
    /// heartbeat (RFC 6520).
    Heartbeat,
    /// No record at all: a ClientHello in the format of SSL 2.0.
    HelloV2,
}

/// One record of which all bytes passed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record {
    /// Its content type.
    pub content: Content,
    /// Where it lies, header included.
    pub extent: Extent,
}

impl Record {
    pub(crate) fn len(&self) -> i64 {
        self.extent.end - self.extent.start
    }

    /// Whether it is an alert that is not encrypted: header 5, level, description.
    fn is_clear_alert(&self) -> bool {
        self.content == Content::Alert && self.len() == 7
    }
}

/// Protocol version agreed on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Version {
    /// SSL 3.0.
    #[serde(rename = "SSL 3.0")]
    Ssl3,
    /// TLS 1.0.
    #[serde(rename = "TLS 1.0")]
    Tls10,
    /// TLS 1.1.
    #[serde(rename = "TLS 1.1")]
    Tls11,
    /// TLS 1.2.
    #[serde(rename = "TLS 1.2")]
    Tls12,
    /// TLS 1.3, drafts included.
    #[serde(rename = "TLS 1.3")]
    Tls13,
}

impl Version {
    fn of(number: u16) -> Option<Self> {
        Some(match number {
            0x0300 => Version::Ssl3,
            0x0301 => Version::Tls10,
            0x0302 => Version::Tls11,
            0x0303 => Version::Tls12,
            // Drafts, those of Facebook's own among them.
            0x0304 | 0x7f00..=0x7fff | 0xfb00..=0xfbff => Version::Tls13,
            _ => return None,
        })
    }

    /// Its name, as Wireshark and everybody else writes it.
    pub fn name(self) -> &'static str {
        match self {
            Version::Ssl3 => "SSL 3.0",
            Version::Tls10 => "TLS 1.0",
            Version::Tls11 => "TLS 1.1",
            Version::Tls12 => "TLS 1.2",
            Version::Tls13 => "TLS 1.3",
        }
    }
}

/// Where the messages of one handshake lie; what was never sent is absent.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Dialogue {
    /// Version agreed on.
    pub version: Option<Version>,
    /// Cipher suite agreed on.
    pub cipher_suite: Option<u16>,
    /// Name the client asked for.
    pub server_name: Option<String>,
    /// ClientHello.random: a name of the handshake that survives every middlebox that does not end TLS.
    #[serde(skip)]
    pub client_random: Option<[u8; 32]>,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
    /// Whether the bytes were cut off, and messages told by whose turn it was to speak (`conversation::turns`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_turns: bool,
    /// Whether bytes were cut off, and nothing told the messages in them: what is absent may have been said.
    #[serde(skip)]
    pub cut: bool,
    /// Whether the client offered data before the server's answer (0-RTT).
    pub early_data_offered: bool,
    /// The (last) ClientHello.
    pub client_hello: Option<Extent>,
    /// What was said of a ClientHello that was begun and never finished.
    #[serde(skip)]
    pub half_hello: Option<Extent>,
    /// The first ClientHello, where a HelloRetryRequest asked for another.
    pub first_client_hello: Option<Extent>,
    /// HelloRetryRequest.
    pub hello_retry: Option<Extent>,
    /// ServerHello.
    pub server_hello: Option<Extent>,
    /// The server's Certificate, where it is in clear (TLS 1.2 and older).
    pub certificate: Option<Extent>,
    /// CertificateRequest, where it is in clear.
    pub certificate_request: Option<Extent>,
    /// ServerHelloDone (TLS 1.2 and older).
    pub server_hello_done: Option<Extent>,
    /// All that the server sends before it needs the client again.
    pub server_flight: Option<Extent>,
    /// TLS 1.2 and older: the client's ChangeCipherSpec.
    pub client_change: Option<Extent>,
    /// Whether records of the client's flight lie before its Finished (TLS 1.3): a certificate, or the word that it has none.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub client_certificate: bool,
    /// The client's flight that ends with Finished.
    pub client_finished: Option<Extent>,
    /// TLS 1.2 and older: the server's ChangeCipherSpec.
    pub server_change: Option<Extent>,
    /// TLS 1.2 and older: the server's ChangeCipherSpec and Finished.
    pub server_finished: Option<Extent>,
    /// The client's first record after its Finished.
    pub first_request: Option<Extent>,
    /// The server's first record after its flight (TLS 1.3: perhaps a ticket).
    pub first_response: Option<Extent>,
    /// Alert by the client, if one ended the handshake.
    pub client_alert: Option<Extent>,
    /// Alert by the server.
    pub server_alert: Option<Extent>,
    /// By side, where the alerts begin that are the last that it said, orderly ends and encrypted ones among them.
    #[serde(skip)]
    pub farewells: [Option<i64>; 2],
}

/// What one side sent.
#[derive(Clone, Copy, Debug)]
pub struct Half<'a> {
    /// Its bytes.
    pub stream: &'a Stream,
    /// The records in them.
    pub records: &'a Records,
}

/// What only an observer's order of packets tells, in offsets of the streams.
#[derive(Clone, Copy, Default, Debug)]
pub struct Order {
    /// Server bytes that had passed when the client's Finished did.
    pub server_before_finished: Option<i64>,
    /// Client bytes that had passed when ServerHello did: with 0-RTT, early data.
    pub client_before_hello: Option<i64>,
}

impl Dialogue {
    /// Reads both streams. What TLS 1.3 encrypts, only `order` can tell apart: read once without it to learn where
    /// Finished lies, then again.
    pub fn read(client: Half<'_>, server: Half<'_>, order: Order) -> Self {
        let mut d = Dialogue::default();
        let (from_client, from_server) = (&client.records.found, &server.records.found);
        messages(client.stream, from_client, |message| d.read_client_message(message));
        messages(server.stream, from_server, |message| d.read_server_message(message));
        let whole = |e: Extent| server.stream.known(e.start as usize, e.end as usize);
        d.farewells = [client, server].map(|half| farewell(half, d.server_hello.is_some() && d.version == Some(Version::Tls13)));
        if d.server_hello.is_some_and(|hello| !whole(hello)) {
            d.read_cut_hello(from_client);
        }
        match d.version.filter(|_| d.server_hello.is_some()) {
            Some(Version::Tls13) => d.read_protected(client, server, order),
            Some(_) => d.read_12(from_client, from_server),
            None => d.read_client_alone(from_client),
        }
        d.client_alert = d.client_alert.or_else(|| clear_alert(client));
        d.server_alert = d.server_alert.or_else(|| clear_alert(server));
        d.half_hello = client.records.start().filter(|_| d.client_hello.is_none()).and_then(|start| {
            let end = client.stream.end();
            let all_known = !client.records.hopeless() && client.stream.known(start, end);
            all_known.then_some(Extent { start: start as i64, end: end as i64 })
        });
        d
    }

    /// Reads again with what the order of packets tells: only what TLS 1.3 encrypts can change.
    pub fn read_again(&mut self, client: Half<'_>, server: Half<'_>, order: Order) {
        if self.version == Some(Version::Tls13) {
            (self.client_alert, self.server_alert) = (None, None);
            (self.server_flight, self.client_finished) = (None, None);
            (self.first_request, self.first_response) = (None, None);
            self.read_protected(client, server, order);
            self.client_alert = self.client_alert.or_else(|| clear_alert(client));
            self.server_alert = self.server_alert.or_else(|| clear_alert(server));
        }
    }

    fn read_protected(&mut self, client: Half<'_>, server: Half<'_>, order: Order) {
        let (from_client, from_server) = (&client.records.found, &server.records.found);
        self.read_13(from_client, from_server, order);
        // Half a record has come: the server's flight is not over.
        let behind = from_server.last().map_or(0, |r| r.extent.end as usize);
        if self.client_finished.is_none() && self.client_alert.is_none() && server.stream.end() > behind {
            self.server_flight = None;
        }
    }

    /// Reads two whole streams of which nothing is known but their bytes.
    pub fn of_bytes(client: &[u8], server: &[u8], order: Order) -> Self {
        let (client, server) = (Stream::whole(client), Stream::whole(server));
        let (from_client, from_server) = (Records::read(&client, Hello::Client), Records::read(&server, Hello::Server));
        let half = |stream, records| Half { stream, records };
        Self::read(half(&client, &from_client), half(&server, &from_server), order)
    }

    /// Whether the server looks at a certificate of the client's behind its Finished.
    pub fn client_authenticates(&self) -> bool {
        self.client_certificate && !self.early_data_offered
    }

    /// Whether the server refused what the client had shown it, behind the client's Finished.
    pub fn refused_late(&self) -> bool {
        let behind = |alert: Extent| self.server_flight.is_some_and(|flight| alert.start >= flight.end);
        self.client_finished.is_some() && self.version == Some(Version::Tls13) && self.server_alert.is_some_and(behind)
    }

    /// Whether this is TLS at all.
    pub fn is_tls(&self) -> bool {
        self.client_hello.is_some() || self.server_hello.is_some()
    }

    /// Whether the server speaks last: in a full handshake of TLS 1.2 or older.
    pub fn server_finishes_last(&self) -> bool {
        self.version.is_some_and(|v| v < Version::Tls13) && !self.resumed
    }

    fn read_client_message(&mut self, Message { kind, body, extent }: Message<'_>) {
        if kind != kind::CLIENT_HELLO {
            return;
        }
        let hello = ClientHello::parse(&body);
        self.first_client_hello = self.first_client_hello.or(self.client_hello);
        self.client_hello = Some(extent);
        self.server_name = hello.server_name.or(self.server_name.take());
        self.client_random = self.client_random.or(hello.random);
        self.early_data_offered |= hello.early_data;
    }

    fn read_server_message(&mut self, Message { kind, body, extent }: Message<'_>) {
        match kind {
            kind::SERVER_HELLO if body.get(2..34) == Some(&HELLO_RETRY) => self.read_hello_retry(extent),
            kind::HELLO_RETRY_REQUEST => self.read_hello_retry(extent),
            kind::SERVER_HELLO if self.server_hello.is_none() => {
                self.server_hello = Some(extent);
                let Some(hello) = ServerHello::parse(&body) else { return };
                self.version = hello.version;
                self.cipher_suite = Some(hello.cipher_suite);
                self.resumed = hello.version == Some(Version::Tls13) && hello.pre_shared_key;
            }
            kind::CERTIFICATE => self.certificate = self.certificate.or(Some(extent)),
            kind::CERTIFICATE_REQUEST => self.certificate_request = self.certificate_request.or(Some(extent)),
            kind::SERVER_HELLO_DONE => self.server_hello_done = self.server_hello_done.or(Some(extent)),
            _ => {}
        }
    }

    /// Only TLS 1.3 has it.
    fn read_hello_retry(&mut self, extent: Extent) {
        self.hello_retry = Some(extent);
        self.version = self.version.or(Some(Version::Tls13));
    }

    /// Of a ServerHello that was not captured whole neither suite nor extensions are to be trusted. What the client sends behind its
    /// ChangeCipherSpec tells the version: application_data by its looks in TLS 1.3, Finished as handshake before.
    fn read_cut_hello(&mut self, client: &[Record]) {
        (self.cipher_suite, self.resumed) = (None, false);
        let change = client.iter().position(|r| r.content == Content::ChangeCipherSpec);
        let next = change.and_then(|i| client.get(i + 1)).map(|r| r.content);
        self.version = match next {
            Some(Content::ApplicationData) => Some(Version::Tls13),
            Some(Content::Handshake) => self.version,
            _ => None,
        };
    }

    fn read_13(&mut self, client: &[Record], server: &[Record], order: Order) {
        let Some(server_hello) = self.server_hello else { return };
        self.read_client_13(client, order);
        let after = |record: &&Record| record.extent.start >= server_hello.start;
        // Who gave up waiting for the client said so behind its flight.
        let gave_up = self.farewells[1].filter(|_| self.client_finished.is_none()).unwrap_or(i64::MAX);
        let in_flight = |record: &&Record| {
            record.extent.start < gave_up && order.server_before_finished.is_none_or(|seen| record.extent.end <= seen)
        };
        let flight_end = match self.resumed_flight_end(server, server_hello) {
            None => server.iter().filter(after).filter(in_flight).map(|r| r.extent.end).max(),
            known => known,
        };
        if let Some(end) = flight_end.filter(|end| *end > server_hello.end) {
            self.server_flight = Some(Extent { start: server_hello.start, end });
            let encrypted = |r: &&Record| r.content == Content::ApplicationData && r.extent.start >= end;
            self.first_response = server.iter().find(encrypted).map(|r| r.extent);
            // A server that wants another certificate says so behind the client's Finished (RFC 8446, section 4.4.2.4), and nothing more.
            let last =
                server.last().filter(|r| r.content == Content::ApplicationData && r.len() == ALERT_13 && r.extent.start >= end);
            self.server_alert =
                last.filter(|_| self.client_authenticates() && server.iter().filter(encrypted).count() == 1).map(|r| r.extent);
        }
    }

    /// Where the flight of a resumed session ends: it holds nothing but EncryptedExtensions and Finished (RFC 8446, section 2.2), in a
    /// record each or in one. What comes behind them before the client's Finished answers its early data.
    fn resumed_flight_end(&self, server: &[Record], server_hello: Extent) -> Option<i64> {
        let mut protected = unbroken(server, server_hello.end).iter().filter(|r| r.content == Content::ApplicationData);
        let first = protected.next().filter(|_| self.resumed)?;
        let finished = protected.next().filter(|r| self.finished_13().contains(&r.len()));
        Some(finished.unwrap_or(first).extent.end)
    }

    fn read_client_13(&mut self, client: &[Record], order: Order) {
        let Some(client_hello) = self.client_hello else { return };
        let after = client_hello.end.max(order.client_before_hello.unwrap_or(0));
        let encrypted: SmallVec<[&Record; 8]> =
            client.iter().filter(|r| r.content == Content::ApplicationData && r.extent.start >= after).collect();
        // The first record of Finished's length; a client's certificate comes before it.
        let flight = encrypted.iter().take(MOST_FLIGHT_RECORDS);
        let finished = flight
            .clone()
            .position(|r| self.finished_13().contains(&r.len()))
            .or_else(|| flight.clone().position(|r| r.len() != ALERT_13));
        let Some(finished) = finished else {
            self.client_alert = encrypted.first().map(|r| r.extent);
            return;
        };
        let end = encrypted[finished].extent.end;
        let change = |r: &&Record| r.extent.start >= after && r.content == Content::ChangeCipherSpec && r.extent.end < end;
        let start = client.iter().find(change).unwrap_or(encrypted[0]).extent.start;
        self.client_finished = Some(Extent { start, end });
        self.client_certificate = finished > 0;
        self.first_request = encrypted.get(finished + 1).map(|r| r.extent);
    }

    /// The lengths of a Finished as a TLS 1.3 record: header 5, message 4, hash, content type 1, tag 16.
    pub(crate) fn finished_13(&self) -> &'static [i64] {
        match self.cipher_suite {
            Some(0x1302) => &[5 + 4 + 48 + 1 + 16],
            Some(0x1305) => &[5 + 4 + 32 + 1 + 8],
            Some(_) => &[5 + 4 + 32 + 1 + 16],
            None => &[5 + 4 + 32 + 1 + 16, 5 + 4 + 48 + 1 + 16],
        }
    }

    fn read_12(&mut self, client: &[Record], server: &[Record]) {
        let Some(server_hello) = self.server_hello else { return };
        let change_in = |records: &[Record]| records.iter().position(|r| r.content == Content::ChangeCipherSpec);
        if let Some(i) = change_in(client) {
            self.client_change = Some(client[i].extent);
            self.client_finished = Some(with_finished(client, i));
            self.first_request = client[i..].iter().find(|r| r.content == Content::ApplicationData).map(|r| r.extent);
        }
        let change = change_in(server);
        self.server_change = change.map(|i| server[i].extent);
        self.server_finished = change.map(|i| with_finished(server, i));
        if let Some(i) = change {
            self.first_response = server[i..].iter().find(|r| r.content == Content::ApplicationData).map(|r| r.extent);
        }
        // No Certificate and no ServerHelloDone before ChangeCipherSpec: the session was resumed (RFC 5246, 7.3).
        self.resumed = change.is_some() && self.server_hello_done.is_none() && self.certificate.is_none();
        let end = if self.resumed { self.server_finished } else { self.server_hello_done }.map(|e| e.end);
        self.server_flight = end.map(|end| Extent { start: server_hello.start, end });
    }

    /// Without the server's side: what the client sends behind its ChangeCipherSpec tells the version, as in a cut ServerHello.
    fn read_client_alone(&mut self, client: &[Record]) {
        let Some(client_hello) = self.client_hello else { return };
        let behind = unbroken(client, client_hello.end);
        let encrypted = |r: &Record| matches!(r.content, Content::ChangeCipherSpec | Content::ApplicationData);
        let Some(finished) = behind.iter().position(encrypted).map(|i| with_finished(behind, i)) else { return };
        self.client_finished = Some(finished);
        let request = |r: &&Record| r.content == Content::ApplicationData && r.extent.start >= finished.end;
        self.first_request = client.iter().find(request).map(|r| r.extent);
    }
}

/// The records from offset `from` on, up to the first hole: behind that it may be any record.
fn unbroken(records: &[Record], from: i64) -> &[Record] {
    let records = &records[records.partition_point(|r| r.extent.start < from)..];
    let ends = std::iter::once(from).chain(records.iter().map(|r| r.extent.end));
    let whole = records.iter().zip(ends).take_while(|(r, end)| r.extent.start == *end).count();
    &records[..whole]
}

/// From a ChangeCipherSpec (or what stands for it) to the end of the record behind it.
fn with_finished(records: &[Record], change: usize) -> Extent {
    let (own, next) = (records[change], records.get(change + 1));
    let end = next.filter(|_| own.content == Content::ChangeCipherSpec).map_or(own.extent.end, |r| r.extent.end);
    Extent { start: own.extent.start, end }
}

/// Where the alerts begin with which a side's stream ends; in TLS 1.3 (`protected`) they are told by their length.
fn farewell(half: Half<'_>, protected: bool) -> Option<i64> {
    let alert =
        |r: &&Record| r.content == Content::Alert || protected && r.content == Content::ApplicationData && r.len() == ALERT_13;
    let found = &half.records.found;
    let all_read = found.last().is_some_and(|last| last.extent.end as usize >= half.stream.end());
    found.iter().rev().take_while(alert).last().filter(|_| all_read).map(|r| r.extent.start)
}

/// The alert in clear with which a side ended the handshake: a fatal one, or a warning behind which it says nothing more. A warning
/// alone ends nothing (RFC 5246, section 7.2): servers send unrecognized_name before ServerHello and go on.
fn clear_alert(half: Half<'_>) -> Option<Extent> {
    let found = &half.records.found;
    let ends = |(i, r): &(usize, &Record)| {
        if !r.is_clear_alert() {
            return false;
        }
        let at = r.extent.start as usize + 5;
        match half.stream.get(at..at + 2) {
            // close_notify: the orderly end.
            Some([_, 0]) => false,
            Some([1, _]) => found[i + 1..].iter().all(|later| later.content == Content::Alert),
            _ => true,
        }
    };
    found.iter().enumerate().find(ends).map(|(_, r)| r.extent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Any two byte streams are read without a panic, and no extent leaves its stream.
        #[test]
        fn hostile_bytes_are_harmless(client in stream(), server in stream(), seen in any::<Option<i64>>()) {
            let d = Dialogue::of_bytes(&client, &server, Order { server_before_finished: seen, client_before_hello: seen });
            for e in [d.client_hello, d.client_finished].into_iter().flatten() {
                prop_assert!(0 <= e.start && e.start <= e.end && e.end <= client.len() as i64);
            }
            for e in [d.server_hello, d.server_flight, d.server_finished].into_iter().flatten() {
                prop_assert!(0 <= e.start && e.start <= e.end && e.end <= server.len() as i64);
            }
        }
    }

    /// Random bytes seldom look like TLS; records with random contents do.
    fn stream() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec((19u8..25, prop::collection::vec(any::<u8>(), 0..90)), 0..12).prop_map(|records| {
            records
                .into_iter()
                .flat_map(|(kind, mut body)| {
                    if kind == 22 && body.len() > 4 {
                        body[0] = [1, 2, 14, 20][usize::from(body[0] % 4)];
                        body[1] = 0;
                        body[2] = 0;
                    }
                    [vec![kind, 3, 3, 0, body.len() as u8], body].concat()
                })
                .collect()
        })
    }
}
