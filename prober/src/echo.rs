//! An ICMP echo request and its reply (RFC 792, RFC 4443).
//!
//! In: an address and what to send it. Out: when the reply came, by the program's own clock, and with which hop limit. An unprivileged
//! socket is tried first (`net.ipv4.ping_group_range`), then a raw one (CAP_NET_RAW); Don't Fragment wants the latter, whose header it is in.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, recvmsg, sendto,
    setsockopt, socket, sockopt,
};
use tokio::io::Interest;
use tokio::net::UdpSocket;

const ECHO_V4: u8 = 8;
const REPLY_V4: u8 = 0;
const ECHO_V6: u8 = 128;
const REPLY_V6: u8 = 129;
/// Type, code, checksum, identifier, sequence number.
const HEAD: usize = 8;
/// An IPv4 header without options.
const IPV4_HEAD: usize = 20;
const DONT_FRAGMENT: u16 = 0x4000;
/// What the system takes where nobody says.
const USUAL_HOP_LIMIT: u8 = 64;

/// Begins where chance has it, so that two programs do not go in step.
static SEQUENCE: LazyLock<AtomicU16> = LazyLock::new(|| AtomicU16::new(chance()));
/// A process in a container is often the first: its number alone says nothing.
static IDENTIFIER: LazyLock<u16> = LazyLock::new(chance);

fn chance() -> u16 {
    use std::hash::{BuildHasher, Hasher};
    let word = std::collections::hash_map::RandomState::new().build_hasher().finish();
    u16::try_from(word & 0xffff).unwrap_or_default()
}

/// What to send.
#[derive(Clone, Debug)]
pub struct Echo {
    /// Whom to ask.
    pub to: IpAddr,
    /// From which address; absent: the system takes one.
    pub from: Option<IpAddr>,
    /// What the request carries, and the reply too.
    pub payload: Vec<u8>,
    /// TTL or hop limit; absent: the system's.
    pub hop_limit: Option<u8>,
    /// Forbid fragments (IPv4).
    pub dont_fragment: bool,
    /// Give up after so long.
    pub patience: Duration,
}

/// A reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reply {
    /// What making the socket took.
    pub setup: Duration,
    /// From sending to having read the reply.
    pub round_trip: Duration,
    /// TTL or hop limit with which it came.
    pub hop_limit: Option<u8>,
}

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub enum NoReply {
    /// This host may not, or cannot.
    #[error("no ICMP socket: {0} (CAP_NET_RAW is needed, or a group within net.ipv4.ping_group_range)")]
    Socket(io::Error),
    /// It could not be sent.
    #[error("the echo request could not be sent: {0}")]
    Send(io::Error),
    /// The socket broke.
    #[error("the socket broke: {0}")]
    Receive(io::Error),
    /// Nothing came in time.
    #[error("no echo reply in time")]
    Timeout,
}

/// Sends one request and waits for its reply.
///
/// # Errors
/// If it could not be sent, or no reply came.
pub fn echo(request: &Echo) -> BoxFuture<'_, Result<Reply, NoReply>> {
    Box::pin(echoed(request))
}

async fn echoed(request: &Echo) -> Result<Reply, NoReply> {
    let begun = Instant::now();
    let socket = Socket::open(request).map_err(NoReply::Socket)?;
    let sequence = SEQUENCE.fetch_add(1, Ordering::Relaxed);
    let packet = socket.packet(request, sequence);
    let setup = begun.elapsed();
    let sent = Instant::now();
    socket.send(&packet, request.to).map_err(NoReply::Send)?;
    let wanted = wanted(request, sequence);
    let received = async {
        let mut buffer = vec![0; 1 << 16];
        loop {
            let received = socket.socket.async_io(Interest::READABLE, || socket.receive(&mut buffer)).await;
            let (len, from, hop_limit) = received.map_err(NoReply::Receive)?;
            let round_trip = sent.elapsed();
            if from == Some(request.to) && socket.answers(&buffer[..len], &wanted) {
                let limit = hop_limit.or_else(|| socket.hop_limit(&buffer[..len]));
                return Ok(Reply { setup, round_trip, hop_limit: limit });
            }
        }
    };
    tokio::time::timeout(request.patience, received).await.unwrap_or(Err(NoReply::Timeout))
}

/// What a reply has behind its checksum: identifier, sequence number, payload.
fn wanted(request: &Echo, sequence: u16) -> Vec<u8> {
    [&IDENTIFIER.to_be_bytes()[..], &sequence.to_be_bytes(), &request.payload].concat()
}

/// A socket for ICMP.
struct Socket {
    /// Of whatever protocol: all that is asked of it here is when there is something to read.
    socket: UdpSocket,
    v4: bool,
    raw: bool,
    /// We write the IPv4 header.
    headed: bool,
}

impl Socket {
    fn open(request: &Echo) -> io::Result<Self> {
        let v4 = request.to.is_ipv4();
        let (family, protocol) = match v4 {
            true => (AddressFamily::Inet, SockProtocol::Icmp),
            false => (AddressFamily::Inet6, SockProtocol::IcmpV6),
        };
        let of = |kind| socket(family, kind, SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC, protocol);
        let headed = v4 && request.dont_fragment;
        let (fd, raw) = match if headed { Err(Errno::EACCES) } else { of(SockType::Datagram) } {
            Ok(fd) => (fd, false),
            Err(_) => (of(SockType::Raw)?, true),
        };
        if headed {
            socket2::SockRef::from(&fd).set_header_included_v4(true)?;
        }
        let hops = request.hop_limit.map(i32::from);
        match v4 {
            true => {
                setsockopt(&fd, sockopt::Ipv4RecvTtl, &true)?;
                hops.map_or(Ok(()), |hops| setsockopt(&fd, sockopt::Ipv4Ttl, &hops))?;
            }
            false => {
                setsockopt(&fd, sockopt::Ipv6RecvHopLimit, &true)?;
                hops.map_or(Ok(()), |hops| setsockopt(&fd, sockopt::Ipv6Ttl, &hops))?;
            }
        }
        if let Some(from) = request.from {
            bind(fd.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(from, 0)))?;
        }
        Ok(Self { socket: UdpSocket::from_std(fd.into())?, v4, raw, headed })
    }

    fn packet(&self, request: &Echo, sequence: u16) -> Vec<u8> {
        let kind = if self.v4 { ECHO_V4 } else { ECHO_V6 };
        let mut packet = vec![kind, 0, 0, 0];
        packet.extend(wanted(request, sequence));
        if self.v4 {
            // Of ICMPv6 the kernel computes it, which knows our address.
            let sum = checksum(&packet).to_be_bytes();
            packet[2..4].copy_from_slice(&sum);
        }
        if let (true, IpAddr::V4(to)) = (self.headed, request.to) {
            let from = match request.from {
                Some(IpAddr::V4(from)) => from,
                _ => Ipv4Addr::UNSPECIFIED, // the kernel fills it in, as length, identification and checksum
            };
            let mut header = vec![0x45, 0, 0, 0, 0, 0];
            header.extend(DONT_FRAGMENT.to_be_bytes());
            header.extend([request.hop_limit.unwrap_or(USUAL_HOP_LIMIT), 1, 0, 0]);
            header.extend(from.octets().iter().chain(&to.octets()));
            packet.splice(0..0, header);
        }
        packet
    }

    fn send(&self, packet: &[u8], to: IpAddr) -> io::Result<()> {
        let to = SockaddrStorage::from(SocketAddr::new(to, 0));
        sendto(self.socket.as_raw_fd(), packet, &to, MsgFlags::empty())?;
        Ok(())
    }

    fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Option<IpAddr>, Option<u8>)> {
        let mut space = nix::cmsg_space!(i32);
        let mut slices = [IoSliceMut::new(buffer)];
        let message = recvmsg::<SockaddrStorage>(self.socket.as_raw_fd(), &mut slices, Some(&mut space), MsgFlags::empty())?;
        let from = message.address.and_then(|address| {
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::from(v4.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::from(v6.ip())))
        });
        let limit = message.cmsgs()?.find_map(|message| match message {
            ControlMessageOwned::Ipv4Ttl(limit) | ControlMessageOwned::Ipv6HopLimit(limit) => u8::try_from(limit).ok(),
            _ => None,
        });
        Ok((message.bytes, from, limit))
    }

    /// The ICMP message: a raw socket of IPv4 also gives the header before it.
    fn message<'a>(&self, packet: &'a [u8]) -> Option<&'a [u8]> {
        match self.v4 && self.raw {
            true => packet.get(usize::from(packet.first()? & 0xf) * 4..),
            false => Some(packet),
        }
    }

    fn hop_limit(&self, packet: &[u8]) -> Option<u8> {
        (self.v4 && self.raw && packet.len() >= IPV4_HEAD).then(|| packet[8])
    }

    /// Whether this is the reply to the request with `wanted` in it.
    fn answers(&self, packet: &[u8], wanted: &[u8]) -> bool {
        let kind = if self.v4 { REPLY_V4 } else { REPLY_V6 };
        // The identifier of an unprivileged socket is the kernel's, which hands over its own replies only.
        let skipped = if self.raw { 0 } else { 2 };
        self.message(packet).is_some_and(|message| {
            message.len() >= HEAD && message[..2] == [kind, 0] && message.get(4 + skipped..) == wanted.get(skipped..)
        })
    }
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)])));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_makes_the_sum_whole() {
        let mut packet = vec![8, 0, 0, 0, 0x12, 0x34, 0, 1, b'a', b'b', b'c'];
        let sum = checksum(&packet).to_be_bytes();
        packet[2..4].copy_from_slice(&sum);
        assert_eq!(checksum(&packet), 0);
    }

    #[tokio::test]
    async fn only_the_reply_to_our_request_is_one() {
        let request = |to: &str| Echo {
            to: to.parse().expect("an address"),
            from: None,
            payload: b"hello".to_vec(),
            hop_limit: None,
            dont_fragment: false,
            patience: Duration::ZERO,
        };
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("loopback");
        let raw = Socket { socket, v4: true, raw: true, headed: false };
        let wanted = wanted(&request("127.0.0.1"), 7);
        let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 61, 1, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1, REPLY_V4, 0, 0, 0];
        packet.extend(&wanted);
        assert!(raw.answers(&packet, &wanted) && raw.hop_limit(&packet) == Some(61));
        for at in [20, 24, 27, 30] {
            let mut other = packet.clone();
            other[at] ^= 1;
            assert!(!raw.answers(&other, &wanted), "byte {at}");
        }
        assert!(!raw.answers(&packet[..22], &wanted) && !raw.answers(&[], &wanted));
    }
}
