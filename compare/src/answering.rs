//! The edge that clients' builds are compared against: ours, on loopback, for one connection after the other.
//!
//! In: a listener, the moment at which the client's process began. Out: one handshake with its request, as [`Served`]: what the client did
//! by itself in each phase, and what it sent. It runs in the thread that measures: what is waited for is the client, and nothing else.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use analysis::judging::ledger::Phase;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use prober::tls::{Only, suite_name, version_name, versions};
use rustls::{HandshakeKind, ServerConfig, ServerConnection};
use rustls_pki_types::PrivateKeyDer;

/// The name that it is asked by.
const NAME: &str = "localhost";
/// Between two looks at whether the client is still there.
const LOOK: Duration = Duration::from_millis(50);
/// Connections that a client may leave before it asks on one.
const MOST_CONNECTIONS: u64 = 8;
/// A request may be so long.
const MOST_REQUEST: usize = 1 << 16;
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n";

/// Our edge.
pub struct Answering {
    listeners: Vec<TcpListener>,
    port: u16,
    config: Arc<ServerConfig>,
}

/// One handshake with its request.
#[derive(Debug)]
pub struct Served {
    /// What the client took by itself, in milliseconds, in order: from its start to its connection, to its ClientHello, and so on. What
    /// waited for a CPU is left out.
    pub took_ms: Vec<(Phase, f64)>,
    /// What it sent of the handshake, turn by turn.
    pub sent: Vec<Vec<u8>>,
    /// Turns in which it waited for the edge, the answer's among them.
    pub waited: u64,
    /// Connections that it opened.
    pub connections: u64,
    /// A HelloRetryRequest had to be sent.
    pub retried: bool,
    /// Version, cipher suite and protocol.
    pub agreed: Vec<String>,
}

/// Of a client's process.
pub trait Process {
    /// How it ended, if it has.
    fn ended(&mut self) -> Option<String>;
    /// Whether somebody wants it all to end.
    fn is_given_up(&self) -> bool;
    /// How long it was ready to run and did not, so far.
    fn waited_for_a_cpu(&self) -> Duration;
}

/// Why there was no handshake with its request.
#[derive(Debug)]
pub enum Unserved {
    /// The client's doing, in words.
    Client(String),
    /// This host's.
    Host(io::Error),
}

impl From<io::Error> for Unserved {
    fn from(error: io::Error) -> Self {
        Self::Host(error)
    }
}

impl Answering {
    /// Listens on loopback, with a certificate of its own that is written to `ca`.
    ///
    /// # Errors
    /// If it cannot listen or write.
    pub fn begin(ca: &Path, only: Option<Only>) -> io::Result<Self> {
        let own = rcgen::generate_simple_self_signed(vec![NAME.to_owned()]).map_err(io::Error::other)?;
        std::fs::write(ca, own.cert.pem())?;
        let key = PrivateKeyDer::Pkcs8(own.signing_key.serialize_der().into());
        let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let builder = builder.with_protocol_versions(versions(only)).map_err(io::Error::other)?.with_no_client_auth();
        let mut config = builder.with_single_cert(vec![own.cert.der().clone()], key).map_err(io::Error::other)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // Nobody waits for tickets, and a client that is started anew has none.
        config.send_tls13_tickets = 0;
        let v4 = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = v4.local_addr()?.port();
        // A client that tries the other family first is not to meet a refusal there; a host without that family has no such client.
        let listeners = [Some(v4), TcpListener::bind((Ipv6Addr::LOCALHOST, port)).ok()];
        let listeners: Vec<TcpListener> = listeners.into_iter().flatten().collect();
        listeners.iter().try_for_each(|listener| listener.set_nonblocking(true))?;
        Ok(Self { listeners, port, config: Arc::new(config) })
    }

    /// What clients are told to ask for.
    pub fn url(&self, path: &str) -> String {
        format!("https://{NAME}:{}{path}", self.port)
    }

    /// Serves the first handshake that comes.
    ///
    /// # Errors
    /// Whose fault it is that there was none.
    pub fn serve(&self, process: &mut dyn Process, began: Instant, until: Instant) -> Result<Served, Unserved> {
        for connections in 1.. {
            let stream = self.accept(process, until).map_err(|unserved| match unserved {
                Unserved::Client(why) if connections > 1 => {
                    Unserved::Client(format!("it left its connection before it had asked: {why} again"))
                }
                other => other,
            })?;
            let accepted = Instant::now();
            stream.set_nodelay(true)?;
            let mut turns =
                Turns { stream, process, took: Vec::new(), from: began, delay: Duration::ZERO, pending: Vec::new(), until };
            turns.over(accepted);
            let tls = ServerConnection::new(Arc::clone(&self.config)).map_err(io::Error::other)?;
            let error = match turns.serve(tls) {
                Ok(served) => return Ok(Served { connections: connections + self.further(), ..served }),
                Err(error) => error,
            };
            match error.kind() {
                // One that races two addresses leaves the slower connection.
                io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset if connections < MOST_CONNECTIONS => {}
                io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
                    return Err(Unserved::Client("it closes its connections before it has asked".into()));
                }
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                    return Err(Unserved::Client("timeout: it connected and did not go on".into()));
                }
                _ => return Err(Unserved::Client(error.to_string())),
            }
        }
        Err(Unserved::Client("it never asked".into()))
    }

    /// The next connection.
    fn accept(&self, process: &mut dyn Process, until: Instant) -> Result<TcpStream, Unserved> {
        loop {
            let mut all: Vec<PollFd<'_>> =
                self.listeners.iter().map(|listener| PollFd::new(listener.as_fd(), PollFlags::POLLIN)).collect();
            let wait = PollTimeout::try_from(LOOK).unwrap_or(PollTimeout::ZERO);
            match poll(&mut all, wait) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(io::Error::from(error).into()),
            }
            for listener in &self.listeners {
                match listener.accept() {
                    Ok((stream, _)) => {
                        stream.set_nonblocking(false)?;
                        return Ok(stream);
                    }
                    // Nobody there, or not any more.
                    Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionAborted) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            if let Some(status) = process.ended() {
                return Err(Unserved::Client(format!("it ended ({status}) and never connected")));
            }
            if Instant::now() >= until || process.is_given_up() {
                return Err(Unserved::Client("timeout: it never connected".into()));
            }
        }
    }

    /// Takes connections that the client opened beside the one that was served; how many.
    fn further(&self) -> u64 {
        self.listeners.iter().map(|listener| std::iter::from_fn(|| listener.accept().ok()).count() as u64).sum()
    }
}

/// One connection, in turns.
struct Turns<'a> {
    stream: TcpStream,
    process: &'a mut dyn Process,
    /// What the client took in each of its turns, in milliseconds.
    took: Vec<f64>,
    /// Since when it is its turn.
    from: Instant,
    /// How long it had waited for a CPU then.
    delay: Duration,
    /// What came and is no whole record yet.
    pending: Vec<u8>,
    /// Then it is given up.
    until: Instant,
}

impl Turns<'_> {
    /// Its turn is over.
    fn over(&mut self, at: Instant) {
        // It waits for us now: what the kernel says of it is of before.
        let delay = self.process.waited_for_a_cpu();
        let took = at.saturating_duration_since(self.from).saturating_sub(delay.saturating_sub(self.delay));
        self.took.push(took.as_secs_f64() * 1e3);
        self.delay = delay;
        self.from = at;
    }

    /// Reads what is there; the records that belong to the handshake, and when they were there.
    fn read(&mut self, tls: &mut ServerConnection) -> io::Result<(Vec<u8>, Instant)> {
        let mut buffer = [0; 1 << 14];
        let n = loop {
            let left = self.until.saturating_duration_since(Instant::now());
            if left.is_zero() || self.process.is_given_up() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.stream.set_read_timeout(Some(left.min(LOOK)))?;
            match self.stream.read(&mut buffer) {
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
                read => break read?,
            }
        };
        let at = Instant::now();
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.pending.extend_from_slice(&buffer[..n]);
        let mut of_handshake = Vec::new();
        // Record by record: behind Finished, what came with it is the request.
        while let Some(len) = first_record(&self.pending) {
            let record: Vec<u8> = self.pending.drain(..len).collect();
            if tls.is_handshaking() {
                of_handshake.extend_from_slice(&record);
            }
            let mut bytes = record.as_slice();
            while !bytes.is_empty() {
                if tls.read_tls(&mut bytes)? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into()); // it has said that it is done, and goes on
                }
                if let Err(error) = tls.process_new_packets() {
                    // The client is told; that it could not be is nothing new.
                    let _ = tls.write_tls(&mut self.stream);
                    return Err(io::Error::other(error));
                }
            }
        }
        Ok((of_handshake, at))
    }

    fn write(&mut self, tls: &mut ServerConnection) -> io::Result<()> {
        while tls.wants_write() {
            tls.write_tls(&mut self.stream)?;
        }
        self.from = Instant::now();
        Ok(())
    }

    fn serve(mut self, mut tls: ServerConnection) -> io::Result<Served> {
        let mut sent = vec![Vec::new()];
        let mut request = Vec::new();
        while tls.is_handshaking() {
            let (bytes, at) = self.read(&mut tls)?;
            sent.last_mut().into_iter().for_each(|turn: &mut Vec<u8>| turn.extend_from_slice(&bytes));
            if !tls.is_handshaking() {
                self.over(at);
            } else if tls.wants_write() {
                self.over(at);
                self.write(&mut tls)?;
                sent.push(Vec::new());
            }
        }
        let hellos = sent.len() as u64 - 1;
        plaintext(&mut tls, &mut request)?;
        // In TLS 1.2 a client asks when it has the server's Finished, unless it guesses that this will come (RFC 7918).
        let waits = tls.wants_write() && request.is_empty();
        self.write(&mut tls)?;
        let is_whole = |request: &[u8]| request.windows(4).any(|four| four == b"\r\n\r\n");
        while !is_whole(&request) {
            let (_, at) = self.read(&mut tls)?;
            plaintext(&mut tls, &mut request)?;
            if request.len() > MOST_REQUEST {
                return Err(io::Error::other("it asks for something that is no HTTP/1.1 request"));
            }
            if is_whole(&request) {
                self.over(at);
            }
        }
        tls.writer().write_all(ANSWER)?;
        tls.send_close_notify();
        self.write(&mut tls)?;
        // The last of the handshake's turns ends with Finished; those before it with a ClientHello each.
        let phase = |turn: usize| match turn as u64 {
            0 => Phase::Connect,
            turn if turn <= hellos => Phase::ClientHello,
            turn if turn == hellos + 1 => Phase::ClientFinished,
            _ => Phase::Request,
        };
        let took_ms = self.took.iter().enumerate().map(|(turn, took)| (phase(turn), *took)).collect();
        let version = tls.protocol_version().and_then(version_name);
        let suite = tls.negotiated_cipher_suite().and_then(|suite| suite_name(suite.suite()));
        let alpn = tls.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned());
        Ok(Served {
            took_ms,
            sent,
            waited: hellos + u64::from(waits) + 1,
            connections: 1,
            retried: tls.handshake_kind() == Some(HandshakeKind::FullWithHelloRetryRequest),
            agreed: [version, suite, alpn].into_iter().flatten().collect(),
        })
    }
}

/// Bytes of the first record, if it is whole (RFC 8446, 5.1).
fn first_record(bytes: &[u8]) -> Option<usize> {
    let [_, _, _, high, low, ..] = bytes else { return None };
    let len = 5 + usize::from(u16::from_be_bytes([*high, *low]));
    (bytes.len() >= len).then_some(len)
}

/// Adds what has been decrypted.
fn plaintext(tls: &mut ServerConnection, to: &mut Vec<u8>) -> io::Result<()> {
    match tls.reader().read_to_end(to) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(error),
    }
}
