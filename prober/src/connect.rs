//! Connecting to the first of several addresses that answers (Happy Eyeballs, RFC 8305).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use analysis::clock::{Client, Instant, Span};
use analysis::conversation::socket::Connect;
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
            tried.began.get_or_insert(began);
            running.push(async move { (address, began, begin(address, source).await) });
        }
        let more = waiting.len() > 0;
        tokio::select! {
            Some((address, began, outcome)) = running.next() => match outcome {
                Ok(stream) => return Ok(connected(stream, address, began, clock)),
                Err(error) => {
                    tried.failed.push((address, error));
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
    let Some(source) = source else { return TcpStream::connect(address).await };
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.bind(SocketAddr::new(source, 0))?;
    socket.connect(address).await
}

fn connected(stream: TcpStream, address: SocketAddr, began: Instant<Client>, clock: &Clock) -> Connected {
    let TcpInfo { rtt, total_retrans, .. } = tcp_info(&stream).unwrap_or_default();
    let round_trip = (rtt > Span::ZERO).then_some(rtt);
    let connect = Connect { began, round_trip, repeated: total_retrans, done: Some(clock.now()) };
    Connected { stream, address, connect }
}
