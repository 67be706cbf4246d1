//! What is said before TLS, or instead of it: greetings, STARTTLS, CONNECT, SSLRequest, SOCKS, and answers that are no TLS.
//!
//! In: which protocol, and how long the server thinks before its answers. Out: lines, and the steps that say them.

use fastrand::Rng;

use crate::frame::End;
use crate::host::{Think, ThreadState, length};
use crate::tls::{Script, Step, encrypted};

/// A protocol in which TLS begins after some plaintext.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// A greeting, EHLO, STARTTLS (RFC 3207).
    Smtp,
    /// A proxy's CONNECT (RFC 9110, section 9.3.6), refused so often with 407 first.
    Connect {
        /// How often.
        refusals: usize,
    },
    /// PostgreSQL: SSLRequest, one byte.
    Postgres,
    /// MySQL: a greeting; the client's SSLRequest is not answered.
    Mysql,
    /// SOCKS 5 (RFC 1928): methods, then the address.
    Socks,
    /// RDP: a connection request and its confirmation (MS-RDPBCGR).
    Rdp,
}

/// A protocol, and how its server takes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plaintext {
    /// Which.
    pub protocol: Protocol,
    /// What the server's program does before its first answer, its second, …; before those beyond, it computes a little.
    pub thinks: Vec<Think>,
}

/// What is spoken on a connection to a TLS port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Speech {
    /// TLS.
    Tls,
    /// The client's ClientHello is answered in plain HTTP.
    HttpAnswer,
    /// OpenVPN over TCP, which carries TLS records in packets of its own.
    OpenVpn,
    /// WebSocket frames; behind the upgrade the client's bytes are masked (RFC 6455, section 5.3).
    WebSocket,
    /// Nothing: the client opens the connection to have it, and closes it unused.
    Silence,
}

/// A line, or a packet, of plaintext.
pub type Line = (End, Vec<u8>);

const C: End = End::Client;
const S: End = End::Server;
/// A server's ordinary work on one line.
const ORDINARY: i64 = 300_000;

impl Protocol {
    /// What both say, in order.
    pub fn lines(self) -> Vec<Line> {
        let text = |end: End, line: &str| (end, line.as_bytes().to_vec());
        match self {
            Protocol::Smtp => vec![
                text(S, "220 mail.test ESMTP\r\n"),
                text(C, "EHLO client.test\r\n"),
                text(S, "250-mail.test\r\n250-SIZE 52428800\r\n250 STARTTLS\r\n"),
                text(C, "STARTTLS\r\n"),
                text(S, "220 2.0.0 Ready to start TLS\r\n"),
            ],
            Protocol::Connect { refusals } => {
                let ask = "CONNECT edge.test:443 HTTP/1.1\r\nHost: edge.test:443\r\n";
                let mut said = vec![text(C, &format!("{ask}\r\n"))];
                for _ in 0..refusals {
                    let refusal =
                        "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: NTLM\r\nContent-Length: 0\r\n\r\n";
                    said.push(text(S, refusal));
                    said.push(text(C, &format!("{ask}Proxy-Authorization: NTLM TlRMTVNTUAABAAAA\r\n\r\n")));
                }
                said.push(text(S, "HTTP/1.1 200 Connection established\r\n\r\n"));
                said
            }
            Protocol::Postgres => vec![(C, vec![0, 0, 0, 8, 4, 210, 22, 47]), (S, vec![b'S'])],
            Protocol::Mysql => {
                let greeting = [
                    &b"\x0a8.0.36\x00"[..],
                    &[7, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0],
                    // Capabilities, with CLIENT_SSL; character set; status; more of the former; length of the salt.
                    &[0xff, 0xff, 0xff, 2, 0, 0xff, 0xdf, 21],
                    &[0; 10],
                    b"abcdefghijkl\x00caching_sha2_password\x00",
                ]
                .concat();
                let request = [&[0x85, 0xae, 0xff, 0x19, 0, 0, 0, 1, 0xff][..], &[0; 23]].concat();
                let framed = |number: u8, body: Vec<u8>| [&[body.len() as u8, 0, 0, number][..], &body].concat();
                vec![(S, framed(0, greeting)), (C, framed(1, request))]
            }
            Protocol::Socks => vec![
                (C, vec![5, 1, 0]),
                (S, vec![5, 0]),
                (C, [&[5, 1, 0, 3, 9][..], b"edge.test", &[1, 187]].concat()),
                (S, vec![5, 0, 0, 1, 0, 0, 0, 0, 0, 0]),
            ],
            Protocol::Rdp => vec![
                (C, vec![3, 0, 0, 19, 14, 0xe0, 0, 0, 0, 0, 0, 1, 0, 8, 0, 3, 0, 0, 0]),
                (S, vec![3, 0, 0, 19, 14, 0xd0, 0, 0, 0x12, 0x34, 0, 2, 31, 8, 0, 2, 0, 0, 0]),
            ],
        }
    }
}

impl Plaintext {
    /// The same with a server that never thinks for long.
    #[must_use]
    pub fn prompt(&self) -> Self {
        Self { thinks: Vec::new(), ..self.clone() }
    }

    /// Adds the steps to `script`; gives how many bytes each end has said.
    pub(crate) fn begin(&self, script: &mut Script) -> [usize; 2] {
        let mut said = [0, 0];
        for (end, think, bytes) in self.thoughtful() {
            say(script, &mut said, end, think, bytes);
        }
        said
    }

    /// How long one end thinks before its lines, in all.
    pub fn thought(&self, of: End) -> i64 {
        self.thoughtful().iter().filter(|(end, ..)| *end == of).map(|(_, think, _)| length(think)).sum()
    }

    /// Each line with what its speaker does before it.
    fn thoughtful(&self) -> Vec<(End, Think, Vec<u8>)> {
        let ordinary = || vec![(ThreadState::Computing, ORDINARY)];
        let mut thinks = self.thinks.iter();
        let mut think = |end: End| if end == S { thinks.next().cloned().unwrap_or_else(ordinary) } else { ordinary() };
        self.protocol.lines().into_iter().map(|(end, bytes)| (end, think(end), bytes)).collect()
    }
}

/// One end says something, when all that the other said before has come.
fn say(script: &mut Script, said: &mut [usize; 2], end: End, think: Think, bytes: Vec<u8>) {
    let after = said[end.peer() as usize];
    said[end as usize] += bytes.len();
    let step = Step { after, think, writes: vec![bytes], close: false };
    if end == C { script.client.push(step) } else { script.server.push(step) }
}

/// The script of a connection on which no TLS handshake is spoken. `hello` is a ClientHello in its record, `answer` a server's flight.
/// The thinks are those before ClientHello, before the client's second word, before the server's answer to its first.
pub(crate) fn without_tls(
    speech: Speech,
    [hello, answer]: [Vec<u8>; 2],
    [before_hello, before_second, before_answer]: [Think; 3],
    rng: &mut Rng,
) -> Script {
    let mut script = Script::default();
    let mut said = [0, 0];
    let moment = || vec![(ThreadState::Computing, ORDINARY)];
    let mut closing = moment();
    match speech {
        Speech::Tls => unreachable!("TLS has a script of its own"),
        Speech::HttpAnswer => {
            say(&mut script, &mut said, C, before_hello, hello);
            let refusal = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
            say(&mut script, &mut said, S, before_answer, refusal.to_vec());
        }
        Speech::OpenVpn => {
            // Length, opcode and key, session, acknowledgements, packet number.
            let session = |end: End| [if end == C { 0xc1 } else { 0x5e }; 8];
            let packet = |end: End, opcode: u8, body: &[u8]| {
                let inner = [&[opcode << 3][..], &session(end), &[0, 0, 0, 0, 1], body].concat();
                [&(inner.len() as u16).to_be_bytes()[..], &inner].concat()
            };
            say(&mut script, &mut said, C, moment(), packet(C, 7, &[]));
            say(&mut script, &mut said, S, moment(), packet(S, 8, &[]));
            say(&mut script, &mut said, C, before_hello, packet(C, 4, &hello));
            say(&mut script, &mut said, S, before_answer, packet(S, 4, &answer));
            say(&mut script, &mut said, C, before_second, packet(C, 4, &encrypted(60, rng)));
            say(&mut script, &mut said, S, moment(), packet(S, 4, &encrypted(200, rng)));
        }
        Speech::WebSocket => {
            let ask = b"GET /tunnel HTTP/1.1\r\nHost: edge.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
            let go = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
            let length = |bytes: &[u8]| (bytes.len() as u16).to_be_bytes();
            let mask = [0x37, 0xfa, 0x21, 0x3d];
            let masked = |bytes: &[u8]| -> Vec<u8> {
                let body = bytes.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
                [0x82, 0xfe].into_iter().chain(length(bytes)).chain(mask).chain(body).collect()
            };
            let plain = |bytes: &[u8]| [&[0x82, 0x7e][..], &length(bytes), bytes].concat();
            say(&mut script, &mut said, C, moment(), ask.to_vec());
            say(&mut script, &mut said, S, moment(), go.to_vec());
            say(&mut script, &mut said, C, before_hello, masked(&hello));
            say(&mut script, &mut said, S, before_answer, plain(&answer));
            say(&mut script, &mut said, C, before_second, masked(&encrypted(200, rng)));
            say(&mut script, &mut said, S, moment(), plain(&encrypted(300, rng)));
        }
        Speech::Silence => closing = before_hello,
    }
    script.client.push(Step { after: said[1], think: closing, writes: vec![], close: true });
    script.marks.finishing_step = script.client.len() - 1;
    script.marks.flight_step = script.server.len().saturating_sub(1);
    (script.marks.hello_end, script.marks.flight_end) = (said[0], said[1]);
    (script.marks.finished_start, script.marks.finished_end) = (said[0], said[0]);
    script
}
