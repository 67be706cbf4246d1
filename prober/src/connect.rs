//! Connecting to the first of several addresses that answers (Happy Eyeballs, RFC 8305).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use analysis::clock::{Client, Instant, Span};
use analysis::conversation::socket::{Attempt, Connect};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::net::{TcpSocket, TcpStream};

use crate::clock::Clock;
use crate::reason::Failure;
use crate::tcp_info::{TcpInfo, tcp_info};

/// Time an address has for itself before the next one is tried beside it (RFC 8305, section 5).
const HEAD_START: Duration = Duration::from_millis(250);

/// A connection, and how it came about.
pub(crate) struct Connected {
    pub stream: TcpStream,
    pub address: SocketAddr,
    pub connect: Connect,
}

/// What was tried in vain.
#[derive(Default)]
pub(crate) struct Tried {
    /// When the first attempt began.
    pub began: Option<Instant<Client>>,
    pub failed: Vec<(SocketAddr, io::Error)>,
    /// All of them, in order, each with its socket where there is more than one.
    attempts: Vec<(Attempt, Option<OwnedFd>)>,
}

impl Tried {
    /// The attempts before the one that began at `began`.
    pub fn before(self, began: Instant<Client>) -> Vec<Attempt> {
        let before = self.attempts.into_iter().filter(|(attempt, _)| attempt.began < began);
        before.map(|(attempt, socket)| Attempt { local: socket.and_then(local), ..attempt }).collect()
    }

    fn begin(&mut self, server: SocketAddr, socket: Option<OwnedFd>, now: Instant<Client>) {
        self.began.get_or_insert(now);
        // Whoever failed before had ended by itself.
        self.attempts.iter_mut().for_each(|(attempt, _)| attempt.until = attempt.until.min(now));
        let until = Instant::from_nanos(i64::MAX);
        self.attempts.push((Attempt { server, local: None, began: now, until }, socket));
    }

    fn fail(&mut self, server: SocketAddr, error: io::Error, now: Instant<Client>) {
        let theirs = self.attempts.iter_mut().map(|(attempt, _)| attempt).filter(|attempt| attempt.server == server);
        theirs.for_each(|attempt| attempt.until = attempt.until.min(now));
        self.failed.push((server, error));
    }
}

/// Connects; `tried` tells even if the caller runs out of patience.
pub(crate) async fn connect(
    addresses: &[SocketAddr],
    source: Option<IpAddr>,
    clock: &Clock,
    tried: &mut Tried,
) -> Result<Connected, Failure> {
    let mut waiting = addresses.iter().copied();
    let mut running = FuturesUnordered::new();
    loop {
        if let Some(address) = waiting.next() {
            let began = clock.now();
            let socket = open(address, source);
            // Only of one of several is it asked later where it began.
            let kept = socket.as_ref().ok().filter(|_| addresses.len() > 1).and_then(|s| s.as_fd().try_clone_to_owned().ok());
            tried.begin(address, kept, began);
            running.push(async move {
                let outcome = match socket {
                    Ok(socket) => socket.connect(address).await,
                    Err(error) => Err(error),
                };
                (address, began, outcome)
            });
        }
        let more = waiting.len() > 0;
        tokio::select! {
            Some((address, began, outcome)) = running.next() => match outcome {
                Ok(stream) => return Ok(connected(stream, address, began, clock)),
                Err(error) => {
                    tried.fail(address, error, clock.now());
                    if !more && running.is_empty() {
                        let Some((_, error)) = tried.failed.first() else { unreachable!("one was pushed just now") };
                        return Err(Failure::of_connect(error));
                    }
                }
            },
            () = tokio::time::sleep(HEAD_START), if more => {}
        }
    }
}

/// Connects to an address, from another if one is named.
pub(crate) async fn begin(address: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    open(address, source)?.connect(address).await
}

fn open(address: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    source.map_or(Ok(()), |source| socket.bind(SocketAddr::new(source, 0)))?;
    Ok(socket)
}

/// Where a socket begins, if it has called anybody and was not refused.
fn local(socket: OwnedFd) -> Option<SocketAddr> {
    std::net::TcpStream::from(socket).local_addr().ok().filter(|local| local.port() != 0)
}

fn connected(stream: TcpStream, address: SocketAddr, began: Instant<Client>, clock: &Clock) -> Connected {
    let TcpInfo { rtt, total_retrans, .. } = tcp_info(&stream).unwrap_or_default();
    let round_trip = (rtt > Span::ZERO).then_some(rtt);
    let connect = Connect { began, round_trip, repeated: total_retrans, done: Some(clock.now()) };
    Connected { stream, address, connect }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_that_does_not_answer_was_tried_until_the_next() {
        let local = || SocketAddr::from(([127, 0, 0, 1], 0));
        // Nobody accepts: once the queue is full, SYN is dropped.
        let mute = TcpSocket::new_v4().expect("a socket opens");
        mute.bind(local()).expect("loopback can be bound");
        let mute = mute.listen(1).expect("it listens");
        let dead = mute.local_addr().expect("it is bound");
        let mut queue = Vec::new();
        while let Ok(Ok(waiting)) = tokio::time::timeout(Duration::from_millis(300), TcpStream::connect(dead)).await {
            queue.push(waiting);
        }
        let alive = tokio::net::TcpListener::bind(local()).await.expect("loopback can be bound");
        let alive = (alive.local_addr().expect("it is bound"), alive);
        let (clock, mut tried) = (Clock::start(), Tried::default());
        let connected = connect(&[dead, alive.0], None, &clock, &mut tried).await.unwrap_or_else(|e| panic!("{e:?}"));
        assert_eq!(connected.address, alive.0);
        let began = tried.began;
        let before = tried.before(connected.connect.began);
        assert!(before.len() == 1 && before[0].server == dead && before[0].local.is_some(), "{before:?}");
        assert_eq!(began, Some(before[0].began));
        assert!(
            before[0].until == connected.connect.began && before[0].until - before[0].began >= Span::from_millis(200),
            "{before:?}"
        );
    }

    #[tokio::test]
    async fn one_that_refuses_was_tried_until_it_did() {
        let closed = TcpSocket::new_v4().expect("a socket opens");
        closed.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("loopback can be bound");
        let refuses = closed.local_addr().expect("it is bound");
        let alive = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("loopback can be bound");
        let address = alive.local_addr().expect("it is bound");
        let (clock, mut tried) = (Clock::start(), Tried::default());
        let connected = connect(&[refuses, address], None, &clock, &mut tried).await.unwrap_or_else(|e| panic!("{e:?}"));
        let failed = tried.failed.len();
        let before = tried.before(connected.connect.began);
        assert!(before.len() == 1 && before[0].until <= connected.connect.began && failed == 1, "{before:?}");
    }
}
