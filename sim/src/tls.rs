//! What TLS peers write, byte by byte, and what each waits for (RFC 8446, RFC 5246). Contents that nobody can read are random.

use fastrand::Rng;

use crate::host::Think;
use crate::plaintext::{Plaintext, Speech, without_tls};

/// Which handshake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// TLS 1.2, full.
    Tls12,
    /// TLS 1.2, resumed.
    Tls12Resumed,
    /// TLS 1.3, full.
    Tls13,
    /// TLS 1.3, resumed with a pre-shared key.
    Tls13Resumed,
}

impl Version {
    /// All of them.
    pub const ALL: [Version; 4] = [Version::Tls12, Version::Tls12Resumed, Version::Tls13, Version::Tls13Resumed];

    /// Whether it is TLS 1.3.
    pub fn is_13(self) -> bool {
        matches!(self, Version::Tls13 | Version::Tls13Resumed)
    }

    /// Whether it is resumed.
    pub fn resumed(self) -> bool {
        matches!(self, Version::Tls12Resumed | Version::Tls13Resumed)
    }
}

/// One step of a peer: wait, think, write.
#[derive(Clone, Debug)]
pub struct Step {
    /// Bytes of the other side that must have come.
    pub after: usize,
    /// What the program does then.
    pub think: Think,
    /// What it writes, piece by piece.
    pub writes: Vec<Vec<u8>>,
    /// Whether it closes the connection then.
    pub close: bool,
}

/// Both sides' steps, and where the messages lie.
#[derive(Clone, Default, Debug)]
pub struct Script {
    /// The client's.
    pub client: Vec<Step>,
    /// The server's.
    pub server: Vec<Step>,
    /// Where things are.
    pub marks: Marks,
}

/// Positions in the two streams.
#[derive(Clone, Copy, Default, Debug)]
pub struct Marks {
    /// Behind the (last) ClientHello.
    pub hello_end: usize,
    /// First byte of the server's flight.
    pub flight_start: usize,
    /// Behind it.
    pub flight_end: usize,
    /// First byte of the client's last flight.
    pub finished_start: usize,
    /// Behind it.
    pub finished_end: usize,
    /// Which step of the client writes Finished.
    pub finishing_step: usize,
    /// Which step of the server writes its flight.
    pub flight_step: usize,
}

/// What the peers do.
#[derive(Clone, Debug)]
pub struct Manner {
    /// Which handshake.
    pub version: Version,
    /// Bytes of ClientHello.
    pub hello_len: usize,
    /// Bytes of the certificate flight.
    pub certificate_len: usize,
    /// A HelloRetryRequest comes first.
    pub retry: bool,
    /// 0-RTT data go with ClientHello, this many bytes.
    pub early_data: usize,
    /// The client has a certificate.
    pub client_certificate: bool,
    /// The client writes half of its (first) ClientHello, and the rest behind this.
    pub hello_pause: Think,
    /// The server writes ServerHello, and the rest of its flight behind this.
    pub flight_pause: Think,
    /// The client writes ChangeCipherSpec and Finished one by one.
    pub split_writes: bool,
    /// The server writes ServerHello and the rest one by one.
    pub split_flight: bool,
    /// The server sends a ticket with its first flight (TLS 1.3, as Go does).
    pub early_ticket: bool,
    /// Bytes of the answer to the request.
    pub response_len: usize,
    /// The server writes each message of its flight by itself, in a record of its own, as GnuTLS does.
    pub split_records: bool,
    /// What is said before TLS.
    pub plaintext: Option<Plaintext>,
    /// What is spoken at all.
    pub speech: Speech,
    /// Before a HelloRetryRequest, and before the second ClientHello.
    pub retry_thinks: [Think; 2],
    /// Before the server's last messages, those behind the client's Finished.
    pub settle: Think,
    /// Name asked for.
    pub name: String,
    /// Before ClientHello, before Finished, before the flight, before the response.
    pub thinks: [Think; 4],
}

fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, 3, 3][..], &(body.len() as u16).to_be_bytes(), body].concat()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &(body.len() as u32).to_be_bytes()[1..], body].concat()
}

fn noise(len: usize, rng: &mut Rng) -> Vec<u8> {
    std::iter::repeat_with(|| rng.u8(..)).take(len).collect()
}

fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &(body.len() as u16).to_be_bytes(), body].concat()
}

/// Encrypted handshake messages of `len` bytes, in as many records as they need.
pub(crate) fn encrypted(len: usize, rng: &mut Rng) -> Vec<u8> {
    let mut left = len;
    let mut bytes = Vec::new();
    while left > 0 {
        let part = left.min(16_000);
        bytes.extend(record(23, &noise(part + 17, rng)));
        left -= part;
    }
    bytes
}

fn client_hello(manner: &Manner, random: &[u8], rng: &mut Rng) -> Vec<u8> {
    let name = manner.name.as_bytes();
    let list = [&[0][..], &(name.len() as u16).to_be_bytes(), name].concat();
    let mut extensions = extension(0, &[&(list.len() as u16).to_be_bytes()[..], &list].concat());
    if manner.version.is_13() {
        extensions.extend(extension(43, &[4, 3, 4, 3, 3]));
    }
    if manner.early_data > 0 {
        extensions.extend(extension(42, &[]));
    }
    let fixed = 2 + 32 + 33 + 4 + 2 + 2;
    let padding = manner.hello_len.saturating_sub(9 + fixed + extensions.len() + 4);
    extensions.extend(extension(if manner.hello_len > 1_000 { 51 } else { 21 }, &noise(padding, rng)));
    if manner.version == Version::Tls13Resumed {
        extensions.extend(extension(41, &noise(60, rng)));
    }
    let body = [
        &[3, 3][..],
        random,
        &[32],
        &noise(32, rng),
        &[0, 2, 0x13, 0x01],
        &[1, 0],
        &(extensions.len() as u16).to_be_bytes(),
        &extensions,
    ];
    record(22, &message(1, &body.concat()))
}

fn server_hello(version: Version, random: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut extensions = Vec::new();
    if version.is_13() {
        extensions.extend(extension(43, &[3, 4]));
    }
    if version == Version::Tls13Resumed {
        extensions.extend(extension(41, &[0, 0]));
    }
    let suite: &[u8] = if version.is_13() { &[0x13, 0x01] } else { &[0xc0, 0x2f] };
    let session = noise(32, rng);
    let length = (extensions.len() as u16).to_be_bytes();
    let body = [&[3, 3][..], random, &[32], &session, suite, &[0], &length, &extensions];
    record(22, &message(2, &body.concat()))
}

const RETRY: [u8; 32] = [
    0xCF, 0x21, 0xAD, 0x74, 0xE5, 0x9A, 0x61, 0x11, 0xBE, 0x1D, 0x8C, 0x02, 0x1E, 0x65, 0xB8, 0x91, 0xC2, 0xA2, 0x11, 0x16, 0x7A,
    0xBB, 0x8C, 0x5E, 0x07, 0x9E, 0x09, 0xE2, 0xC8, 0xA8, 0x33, 0x9C,
];

/// Writes the script of a handshake, a request and its answer.
pub fn script(manner: &Manner, rng: &mut Rng) -> Script {
    let version = manner.version;
    let change = record(20, &[1]);
    let random = noise(32, rng);
    let [before_hello, before_finished, before_flight, before_response] = manner.thinks.clone();
    if manner.speech != Speech::Tls {
        let said = [client_hello(manner, &random, rng), flight(manner, rng).concat()];
        return without_tls(manner.speech, said, [before_hello, before_finished, before_flight], rng);
    }
    let mut script = Script::default();
    let [mut client, mut server] = manner.plaintext.as_ref().map_or([0, 0], |before| before.begin(&mut script));

    let begins = client;
    let mut hello = client_hello(manner, &random, rng);
    let first_hello = begins + hello.len();
    if manner.early_data > 0 {
        hello.extend([change.clone(), encrypted(manner.early_data, rng)].concat());
    }
    client += hello.len();
    let after_hello = if manner.early_data > 0 { first_hello } else { client };
    let rest = if manner.hello_pause.is_empty() { Vec::new() } else { hello.split_off(hello.len() / 2) };
    script.client.push(Step { after: server, think: before_hello, writes: vec![hello], close: false });
    if !rest.is_empty() {
        script.client.push(Step { after: server, think: manner.hello_pause.clone(), writes: vec![rest], close: false });
    }
    let mut answers = after_hello;
    if manner.retry {
        let retry = [server_hello(version, &RETRY, rng), change.clone()].concat();
        server += retry.len();
        let [think, before_second] = manner.retry_thinks.clone();
        script.server.push(Step { after: answers, think, writes: vec![retry], close: false });
        let again = Manner { early_data: 0, ..manner.clone() };
        let second = [change.clone(), client_hello(&again, &random, rng)].concat();
        client += second.len();
        answers = client;
        script.client.push(Step { after: server, think: before_second, writes: vec![second], close: false });
    }
    script.marks.hello_end = if manner.early_data > 0 && !manner.retry { first_hello } else { client };

    let flight = flight(manner, rng);
    script.marks.flight_start = server;
    server += flight.iter().map(Vec::len).sum::<usize>();
    script.marks.flight_end = server;
    script.marks.flight_step = script.server.len();
    let paused = !manner.flight_pause.is_empty();
    let mut writes = if manner.split_flight || manner.split_records || paused { flight } else { vec![flight.concat()] };
    let rest = if paused { writes.split_off(1) } else { Vec::new() };
    script.server.push(Step { after: answers, think: before_flight, writes, close: false });
    if paused {
        script.server.push(Step { after: answers, think: manner.flight_pause.clone(), writes: rest, close: false });
    }

    let pieces = finished(manner, rng);
    script.marks.finished_start = client;
    client += pieces.iter().map(Vec::len).sum::<usize>();
    script.marks.finished_end = client;
    script.marks.finishing_step = script.client.len();
    let writes = if manner.split_writes { pieces } else { vec![pieces.concat()] };
    script.client.push(Step { after: server, think: before_finished, writes, close: false });

    let last = match version {
        Version::Tls12 => vec![[record(22, &message(4, &noise(180, rng))), change, record(22, &noise(40, rng))].concat()],
        Version::Tls13 | Version::Tls13Resumed => vec![record(23, &noise(250, rng))],
        Version::Tls12Resumed => vec![],
    };
    if !last.is_empty() {
        server += last[0].len();
        script.server.push(Step { after: client, think: manner.settle.clone(), writes: last, close: false });
    }
    let needed = if version == Version::Tls12 { server } else { script.marks.flight_end };
    let request = record(23, &noise(300, rng));
    client += request.len();
    script.client.push(Step { after: needed, think: vec![], writes: vec![request], close: false });
    let response = encrypted(manner.response_len, rng);
    server += response.len();
    script.server.push(Step { after: client, think: before_response, writes: vec![response], close: true });
    script.client.push(Step { after: server, think: vec![], writes: vec![], close: true });
    script
}

/// ServerHello, and the rest.
fn flight(manner: &Manner, rng: &mut Rng) -> Vec<Vec<u8>> {
    let version = manner.version;
    let random = noise(32, rng);
    let hello = server_hello(version, &random, rng);
    let change = record(20, &[1]);
    if manner.split_records && version == Version::Tls13 {
        // EncryptedExtensions, Certificate, CertificateVerify, Finished.
        let messages = [60, manner.certificate_len, 264, 36].map(|len| encrypted(len, rng));
        let ticket = manner.early_ticket.then(|| record(23, &noise(240, rng)));
        return [hello, change].into_iter().chain(messages).chain(ticket).collect();
    }
    let rest = match version {
        Version::Tls13 => {
            let ticket = if manner.early_ticket { record(23, &noise(240, rng)) } else { vec![] };
            [change, encrypted(60 + manner.certificate_len + 264 + 36, rng), ticket].concat()
        }
        Version::Tls13Resumed => [change, encrypted(60 + 36, rng)].concat(),
        Version::Tls12Resumed => [change, record(22, &noise(40, rng))].concat(),
        Version::Tls12 => {
            let mut messages = vec![message(11, &noise(manner.certificate_len, rng)), message(12, &noise(296, rng))];
            if manner.client_certificate {
                messages.push(message(13, &noise(40, rng)));
            }
            messages.push(message(14, &[]));
            messages.iter().flat_map(|m| m.chunks(16_000)).flat_map(|part| record(22, part)).collect()
        }
    };
    vec![hello, rest]
}

fn finished(manner: &Manner, rng: &mut Rng) -> Vec<Vec<u8>> {
    let change = record(20, &[1]);
    if manner.version.is_13() {
        let mut last = Vec::new();
        if manner.client_certificate {
            last.extend([encrypted(900, rng), encrypted(264, rng)].concat());
        }
        last.extend(record(23, &noise(53, rng)));
        return vec![change, last];
    }
    let mut first = Vec::new();
    if manner.version == Version::Tls12 {
        if manner.client_certificate {
            first.extend(record(22, &message(11, &noise(900, rng))));
        }
        first.extend(record(22, &message(16, &noise(33, rng))));
        if manner.client_certificate {
            first.extend(record(22, &message(15, &noise(260, rng))));
        }
    }
    first.extend(change);
    vec![first, record(22, &noise(40, rng))]
}
