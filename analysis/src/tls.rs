//! The two byte streams of a connection → where each TLS message lies in them.
//!
//! Works on reassembled bytes alone, so it needs no times: it says at which *offset* each message ends,
//! and any observer's [`crate::flow::View`] turns offsets into times. What is encrypted is told by
//! record type, order and length (RFC 8446 section 5, RFC 5246 section 7.3; lengths in DESIGN 5).

use serde::{Deserialize, Serialize};

/// ServerHello.random of a HelloRetryRequest (RFC 8446, section 4.1.3).
const HELLO_RETRY: [u8; 32] = [
    0xCF, 0x21, 0xAD, 0x74, 0xE5, 0x9A, 0x61, 0x11, 0xBE, 0x1D, 0x8C, 0x02, 0x1E, 0x65, 0xB8, 0x91, 0xC2, 0xA2, 0x11, 0x16, 0x7A,
    0xBB, 0x8C, 0x5E, 0x07, 0x9E, 0x09, 0xE2, 0xC8, 0xA8, 0x33, 0x9C,
];
/// A client Finished as a TLS 1.3 record: header 5, message 4, hash, content type 1, tag 16.
const FINISHED_13: [i64; 2] = [5 + 4 + 32 + 1 + 16, 5 + 4 + 48 + 1 + 16];
/// A TLS 1.3 alert record: header 5, alert 2, content type 1, tag 16.
const ALERT_13: i64 = 5 + 2 + 1 + 16;

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
}

/// One complete record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record {
    /// Its content type.
    pub content: Content,
    /// Where it lies, header included.
    pub extent: Extent,
}

/// One handshake message sent in clear.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message<'a> {
    /// Handshake type (RFC 8446, section 4).
    pub kind: u8,
    /// Body without the four-byte header.
    pub body: std::borrow::Cow<'a, [u8]>,
    /// From the first record that held a piece of it to its last byte.
    pub extent: Extent,
}

/// TLS version agreed on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Version {
    /// TLS 1.2 or older.
    #[serde(rename = "TLS 1.2")]
    Tls12,
    /// TLS 1.3.
    #[serde(rename = "TLS 1.3")]
    Tls13,
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
    /// Whether an earlier session was resumed.
    pub resumed: bool,
    /// The (last) ClientHello.
    pub client_hello: Option<Extent>,
    /// The first ClientHello, where a HelloRetryRequest asked for another.
    pub first_client_hello: Option<Extent>,
    /// HelloRetryRequest.
    pub hello_retry: Option<Extent>,
    /// ServerHello.
    pub server_hello: Option<Extent>,
    /// All that the server sends before it needs the client again.
    pub server_flight: Option<Extent>,
    /// The client's flight that ends with Finished.
    pub client_finished: Option<Extent>,
    /// TLS 1.2: the server's ChangeCipherSpec and Finished.
    pub server_finished: Option<Extent>,
    /// Alert by the client, if one ended the handshake.
    pub client_alert: Option<Extent>,
    /// Alert by the server.
    pub server_alert: Option<Extent>,
}

impl Dialogue {
    /// Reads both streams. `server_before_finished` is how many server bytes the observer had seen when
    /// the client's Finished passed: what TLS 1.3 encrypts, only order can tell apart; call [`Self::read`]
    /// with `None` first to learn where Finished lies.
    pub fn read(client: &[u8], server: &[u8], server_before_finished: Option<i64>) -> Self {
        let mut d = Dialogue::default();
        let client_records = records(client);
        let server_records = records(server);
        d.read_client_hellos(client, &client_records);
        d.read_server_hello(server, &server_records);
        match d.version {
            Some(Version::Tls13) => d.read_13(&client_records, &server_records, server_before_finished),
            Some(Version::Tls12) => d.read_12(server, &client_records, &server_records),
            None => {}
        }
        d.client_alert = d.client_alert.or_else(|| clear_alert(client, &client_records));
        d.server_alert = d.server_alert.or_else(|| clear_alert(server, &server_records));
        d
    }

    /// Whether this is TLS at all.
    pub fn is_tls(&self) -> bool {
        self.client_hello.is_some()
    }

    fn read_client_hellos(&mut self, client: &[u8], records: &[Record]) {
        for message in messages(client, records).into_iter().filter(|m| m.kind == 1) {
            if let Some(first) = self.client_hello {
                self.first_client_hello = Some(first);
            }
            self.client_hello = Some(message.extent);
            self.server_name = server_name(&message.body).or(self.server_name.take());
        }
    }

    fn read_server_hello(&mut self, server: &[u8], records: &[Record]) {
        for message in messages(server, records).into_iter().filter(|m| m.kind == 2) {
            if message.body.get(2..34) == Some(&HELLO_RETRY) {
                self.hello_retry = Some(message.extent);
                continue;
            }
            let Some(hello) = ServerHello::parse(&message.body) else { return };
            self.version = Some(if hello.version >= 0x0304 { Version::Tls13 } else { Version::Tls12 });
            self.cipher_suite = Some(hello.cipher_suite);
            self.resumed = hello.version >= 0x0304 && hello.pre_shared_key;
            self.server_hello = Some(message.extent);
            return;
        }
    }

    fn read_13(&mut self, client: &[Record], server: &[Record], server_before_finished: Option<i64>) {
        let (Some(client_hello), Some(server_hello)) = (self.client_hello, self.server_hello) else { return };
        let encrypted: Vec<Extent> = client
            .iter()
            .filter(|r| r.content == Content::ApplicationData && r.extent.start >= client_hello.end)
            .map(|r| r.extent)
            .collect();
        // The first record of Finished's length; 0-RTT data and client certificates come before it.
        let finished = encrypted
            .iter()
            .position(|e| FINISHED_13.contains(&(e.end - e.start)))
            .or_else(|| encrypted.iter().position(|e| e.end - e.start != ALERT_13));
        if let Some(i) = finished {
            let flight_start = client
                .iter()
                .find(|r| r.extent.start >= client_hello.end && r.content != Content::Handshake)
                .map_or(encrypted[i].start, |r| r.extent.start);
            self.client_finished = Some(Extent { start: flight_start, end: encrypted[i].end });
        } else if let Some(alert) = encrypted.first() {
            self.client_alert = Some(*alert);
        }
        let flight_end = server
            .iter()
            .filter(|r| r.extent.start >= server_hello.start)
            .filter(|r| server_before_finished.is_none_or(|seen| r.extent.end <= seen))
            .map(|r| r.extent.end)
            .max();
        if let Some(end) = flight_end.filter(|end| *end > server_hello.end) {
            self.server_flight = Some(Extent { start: server_hello.start, end });
        }
    }

    fn read_12(&mut self, server_bytes: &[u8], client: &[Record], server: &[Record]) {
        let Some(server_hello) = self.server_hello else { return };
        let client_change = client.iter().position(|r| r.content == Content::ChangeCipherSpec);
        let server_change = server.iter().position(|r| r.content == Content::ChangeCipherSpec);
        let with_finished = |records: &[Record], change: usize| Extent {
            start: records[change].extent.start,
            end: records.get(change + 1).map_or(records[change].extent.end, |r| r.extent.end),
        };
        self.client_finished = client_change.map(|i| with_finished(client, i));
        let done = messages(server_bytes, server).into_iter().find(|m| m.kind == 14).map(|m| m.extent.end);
        match (done, server_change) {
            (Some(end), change) => {
                self.server_flight = Some(Extent { start: server_hello.start, end });
                self.server_finished = change.map(|i| with_finished(server, i));
            }
            // No ServerHelloDone before ChangeCipherSpec: the session was resumed (RFC 5246, 7.3).
            (None, Some(i)) => {
                self.resumed = true;
                let finished = with_finished(server, i);
                self.server_flight = Some(Extent { start: server_hello.start, end: finished.end });
                self.server_finished = Some(finished);
            }
            (None, None) => {}
        }
    }
}

/// Splits a stream into its complete records; stops at the first byte that cannot be TLS.
pub fn records(stream: &[u8]) -> Vec<Record> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some([kind, major, _, hi, lo]) = stream.get(at..at + 5) {
        let content = match kind {
            20 => Content::ChangeCipherSpec,
            21 => Content::Alert,
            22 => Content::Handshake,
            23 => Content::ApplicationData,
            _ => break,
        };
        let end = at + 5 + usize::from(u16::from_be_bytes([*hi, *lo]));
        if *major != 3 || end > stream.len() {
            break;
        }
        found.push(Record { content, extent: Extent { start: at as i64, end: end as i64 } });
        at = end;
    }
    found
}

/// Handshake messages in clear: those before the sender's first ChangeCipherSpec or encrypted record.
///
/// A client that is asked for a second ClientHello moves its ChangeCipherSpec before it (RFC 8446,
/// section D.4), so a ChangeCipherSpec does not end the clear part when a ClientHello follows it.
pub fn messages<'a>(stream: &'a [u8], records: &[Record]) -> Vec<Message<'a>> {
    let mut found = Vec::new();
    let mut pending: Vec<u8> = Vec::new();
    let mut pending_start = 0;
    for (i, record) in records.iter().enumerate() {
        let (start, end) = (record.extent.start as usize, record.extent.end as usize);
        let body = &stream[start + 5..end];
        match record.content {
            Content::Handshake => {}
            Content::ChangeCipherSpec
                if records.get(i + 1).is_some_and(|r| {
                    r.content == Content::Handshake && matches!(stream.get(r.extent.start as usize + 5), Some(1 | 2))
                }) =>
            {
                continue;
            }
            _ => break,
        }
        if pending.is_empty() {
            pending_start = record.extent.start;
        }
        pending.extend_from_slice(body);
        while let [kind, a, b, c, rest @ ..] = pending.as_slice() {
            let len = u32::from_be_bytes([0, *a, *b, *c]) as usize;
            if rest.len() < len {
                break;
            }
            let unread = rest.len() - len;
            found.push(Message {
                kind: *kind,
                body: rest[..len].to_vec().into(),
                extent: Extent { start: pending_start, end: record.extent.end - unread as i64 },
            });
            pending.drain(..4 + len);
            pending_start = record.extent.start;
        }
    }
    found
}

fn clear_alert(stream: &[u8], records: &[Record]) -> Option<Extent> {
    // Level 1 code 0 is close_notify, the orderly end.
    records
        .iter()
        .find(|r| {
            r.content == Content::Alert
                && r.extent.end - r.extent.start == 7
                && stream.get(r.extent.start as usize + 6) != Some(&0)
        })
        .map(|r| r.extent)
}

struct ServerHello {
    version: u16,
    cipher_suite: u16,
    pre_shared_key: bool,
}

impl ServerHello {
    fn parse(body: &[u8]) -> Option<Self> {
        let mut r = Reader(body);
        let legacy = r.u16()?;
        r.take(32)?;
        r.vec8()?;
        let cipher_suite = r.u16()?;
        r.take(1)?;
        let mut hello = ServerHello { version: legacy, cipher_suite, pre_shared_key: false };
        for (kind, value) in r.extensions() {
            match kind {
                43 => hello.version = Reader(value).u16()?,
                41 => hello.pre_shared_key = true,
                _ => {}
            }
        }
        Some(hello)
    }
}

fn server_name(client_hello: &[u8]) -> Option<String> {
    let mut r = Reader(client_hello);
    r.take(34)?;
    r.vec8()?;
    r.vec16()?;
    r.vec8()?;
    let (_, value) = r.extensions().into_iter().find(|(kind, _)| *kind == 0)?;
    let mut list = Reader(value);
    list.take(3)?;
    String::from_utf8(list.vec16()?.to_vec()).ok()
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(n)?;
        self.0 = tail;
        Some(head)
    }
    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|b| u16::from_be_bytes([b[0], b[1]]))
    }
    fn vec8(&mut self) -> Option<&'a [u8]> {
        let n = usize::from(self.take(1)?[0]);
        self.take(n)
    }
    fn vec16(&mut self) -> Option<&'a [u8]> {
        let n = usize::from(self.u16()?);
        self.take(n)
    }
    fn extensions(&mut self) -> Vec<(u16, &'a [u8])> {
        let mut list = Reader(self.vec16().unwrap_or_default());
        let mut found = Vec::new();
        while let (Some(kind), Some(value)) = (list.u16(), list.vec16()) {
            found.push((kind, value));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Any two byte streams are read without a panic, and no extent leaves its stream.
        #[test]
        fn hostile_bytes_are_harmless(client in stream(), server in stream(), seen in any::<Option<i64>>()) {
            let d = Dialogue::read(&client, &server, seen);
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
