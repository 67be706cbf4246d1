//! One socket of a NetLog: its TCP, its TLS and the messages of that, event by event.

use analysis::clock::{Client, Instant};
use analysis::conversation::app::{Step, Tls};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Params;
use super::state::What;

/// A TLS handshake message: its type and length, the version, then the random bytes of a ClientHello.
const CLIENT_HELLO: u8 = 1;
const FINISHED: u32 = 20;
const RANDOM_AT: usize = 6;

/// Milliseconds of the browser's clock.
pub(super) type Ms = i64;

/// When something began and ended, and whether it failed.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Stretch {
    pub(super) began: Option<Ms>,
    pub(super) ended: Option<Ms>,
    pub(super) error: Option<i64>,
}

impl Stretch {
    pub(super) fn note(&mut self, begin: bool, end: bool, at: Ms, params: &Params) {
        if begin && self.began.is_none() {
            self.began = Some(at);
        }
        if end && self.began.is_some() {
            self.ended = Some(at);
            self.error = params.net_error.0.filter(|error| *error < 0.0).map(|error| error as i64);
        }
    }

    pub(super) fn step(&self) -> Option<Step> {
        Some(Step { began: instant(self.began?), done: self.ended.filter(|_| self.error.is_none()).map(instant) })
    }
}

#[derive(Clone, Default, Debug)]
pub(super) struct Socket {
    pub(super) tcp: Stretch,
    pub(super) tls: Stretch,
    pub(super) local: Option<String>,
    pub(super) remote: Option<String>,
    pub(super) version: Option<String>,
    pub(super) resumed: bool,
    pub(super) random: Option<[u8; 32]>,
    pub(super) hello: Option<Ms>,
    pub(super) flight: Option<Ms>,
    pub(super) finished: Option<Ms>,
    /// The job that made it.
    pub(super) job: Option<u64>,
    /// The request that used it first.
    pub(super) user: Option<u64>,
}

impl Socket {
    pub(super) fn connected(&mut self, what: What, begin: bool, end: bool, at: Ms, params: &Params) {
        let text = |text: &crate::json::Text| text.full().map(str::to_owned);
        match what {
            What::TcpConnect => {
                self.tcp.note(begin, end, at, params);
                self.local = self.local.take().or(text(&params.local_address)).or(text(&params.source_address));
                self.remote = text(&params.remote_address).or(self.remote.take());
            }
            What::TcpConnectAttempt => self.remote = text(&params.address).or(self.remote.take()),
            _ => {
                self.tls.note(begin, end, at, params);
                self.version = self.version.take().or(text(&params.version));
                self.resumed |= params.is_resumed.0 == Some(true);
            }
        }
    }

    pub(super) fn message(&mut self, sent: bool, at: Ms, params: &Params) {
        if self.tls.ended.is_some() {
            return; // session tickets
        }
        match sent {
            true if params.message.0 == Some(f64::from(CLIENT_HELLO)) => {
                self.hello.get_or_insert(at);
                self.random = self.random.or_else(|| random(params));
            }
            true if params.message.whole() == Some(FINISHED) => self.finished = Some(at),
            true => {}
            false if self.finished.is_none() => self.flight = Some(at),
            false => {}
        }
    }

    pub(super) fn tls(&self) -> Option<Tls> {
        let step = self.tls.step()?;
        let rounds = match (self.version.as_deref(), self.resumed) {
            (Some("TLS 1.3"), _) | (Some(_), true) => Some(1),
            // Chrome may send the request behind its own Finished (False Start): one or two.
            (Some(_), false) if self.flight.is_some() => Some(2),
            (Some(_), false) => None,
            (None, _) => None,
        };
        let hello = self.hello.map(instant);
        Some(Tls {
            hello,
            flight: self.flight.map(instant),
            finished: self.finished.map(instant),
            rounds,
            ..Tls::between(step.began, step.done)
        })
    }
}

/// ClientHello.random from a message's bytes: base64, or hexadecimal digits before Chrome 81.
fn random(params: &Params) -> Option<[u8; 32]> {
    let bytes = match (params.bytes.full(), params.hex_encoded_bytes.full()) {
        (Some(text), _) => STANDARD.decode(text).ok()?,
        (None, Some(hex)) => hex.as_bytes().chunks_exact(2).map(byte).collect::<Option<Vec<u8>>>()?,
        (None, None) => return None,
    };
    (bytes.first() == Some(&CLIENT_HELLO)).then(|| bytes.get(RANDOM_AT..RANDOM_AT + 32)?.try_into().ok())?
}

fn byte(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

pub(super) fn instant(ms: Ms) -> Instant<Client> {
    Instant::from_nanos(ms.saturating_mul(1_000_000))
}
