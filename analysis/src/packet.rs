//! Bytes of one captured frame → one TCP segment or UDP datagram.
//!
//! Own code because this is the hot path. Every function takes `&[u8]` and cannot panic on any input.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::tunnel::{self, Inner, after_ethertype, behind};

/// How a capture's frames begin (the `LINKTYPE_` registry of tcpdump.org).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum LinkType {
    /// Ethernet, with any number of VLAN tags.
    Ethernet,
    /// IPv4 or IPv6 with nothing before it.
    RawIp,
    /// Linux cooked capture, v1.
    LinuxSll,
    /// Linux cooked capture, v2.
    LinuxSll2,
    /// BSD loopback.
    Null,
}

impl LinkType {
    /// By its number in the registry; absent for what nobody here can read.
    pub fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            0 | 108 => LinkType::Null,
            1 => LinkType::Ethernet,
            12 | 14 | 101 | 228 | 229 => LinkType::RawIp,
            113 => LinkType::LinuxSll,
            276 => LinkType::LinuxSll2,
            _ => return None,
        })
    }
}

impl LinkType {
    /// Its number in the registry.
    pub fn number(self) -> i32 {
        match self {
            LinkType::Null => 0,
            LinkType::Ethernet => 1,
            LinkType::RawIp => 101,
            LinkType::LinuxSll => 113,
            LinkType::LinuxSll2 => 276,
        }
    }
}

/// Why a frame yields no segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoSegment {
    /// The capture holds fewer bytes than the headers need.
    Incomplete,
    /// A header contradicts itself.
    Malformed(&'static str),
    /// Well formed, but neither TCP nor UDP over IP.
    OtherProtocol,
}

/// TCP flags this crate reads (RFC 9293, section 3.1).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Flags(pub u8);

impl Flags {
    /// FIN set.
    pub fn fin(self) -> bool {
        self.0 & 0x01 != 0
    }
    /// SYN set.
    pub fn syn(self) -> bool {
        self.0 & 0x02 != 0
    }
    /// RST set.
    pub fn rst(self) -> bool {
        self.0 & 0x04 != 0
    }
    /// ACK set.
    pub fn ack(self) -> bool {
        self.0 & 0x10 != 0
    }
}

/// The options of a TCP header, read when they are wanted: for most packets of a capture nobody does.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct TcpOptions<'a>(pub &'a [u8]);

impl<'a> TcpOptions<'a> {
    /// `TSval` of the timestamps option (RFC 7323).
    #[inline]
    pub fn tsval(self) -> Option<u32> {
        // How most stacks lay it out: two NOPs before it, nothing behind.
        if let [1, 1, 8, 10, a, b, c, d, _, _, _, _] = *self.0 {
            return Some(u32::from_be_bytes([a, b, c, d]));
        }
        be32(self.value(8)?, 0).ok()
    }

    /// SACK blocks (RFC 2018), left and right edge.
    #[inline]
    pub fn sack(self) -> impl ExactSizeIterator<Item = (u32, u32)> {
        let plain = self.0.is_empty() || matches!(*self.0, [1, 1, 8, 10, _, _, _, _, _, _, _, _]);
        let blocks = if plain { None } else { self.value(5) };
        let edge = |b: &[u8]| u32::from_be_bytes([b[0], b[1], b[2], b[3]]);
        blocks.unwrap_or_default().chunks_exact(8).map(move |block| (edge(block), edge(&block[4..])))
    }

    /// What an option holds; a malformed option ends the list, as it does in real stacks.
    fn value(self, wanted: u8) -> Option<&'a [u8]> {
        let mut options = self.0;
        while let [kind, rest @ ..] = options {
            match kind {
                0 => return None,
                1 => {
                    options = rest;
                    continue;
                }
                _ => {}
            }
            let len = rest.first().map(|l| usize::from(*l)).filter(|l| *l >= 2 && *l <= options.len())?;
            if *kind == wanted {
                return Some(&options[2..len]);
            }
            options = &options[len..];
        }
        None
    }
}

/// One TCP segment as a frame showed it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TcpSegment<'a> {
    /// Sender.
    pub source: SocketAddr,
    /// Receiver.
    pub destination: SocketAddr,
    /// Sequence number of the first payload byte (of SYN, if set).
    pub seq: u32,
    /// Acknowledgement number; meaningful if the ACK flag is set.
    pub ack: u32,
    /// Flags.
    pub flags: Flags,
    /// Payload length on the wire; `payload` may be cut shorter by the snap length.
    pub len: u32,
    /// Captured payload.
    pub payload: &'a [u8],
    /// Its options.
    pub options: TcpOptions<'a>,
    /// IPv4 identification; absent in IPv6.
    pub ip_id: Option<u16>,
    /// Length of the IP packet.
    pub ip_len: u32,
    /// TTL or hop limit.
    pub ttl: u8,
    /// The window field as sent, without its scale.
    pub window: u16,
}

/// One UDP datagram.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UdpDatagram<'a> {
    /// Sender.
    pub source: SocketAddr,
    /// Receiver.
    pub destination: SocketAddr,
    /// Captured payload.
    pub payload: &'a [u8],
}

/// What a frame carried.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Transport<'a> {
    /// TCP.
    Tcp(TcpSegment<'a>),
    /// UDP.
    Udp(UdpDatagram<'a>),
    /// A piece of an IP packet that was cut on its way, from its IP header on ([`crate::fragments`]).
    Fragment(&'a [u8]),
}

/// Tunnels within tunnels beyond this are hostile.
const MOST_TUNNELS: u8 = 6;

/// Reads one frame.
///
/// # Errors
/// Says why there is no segment in it.
#[inline]
pub fn decode(link: LinkType, frame: &[u8]) -> Result<Transport<'_>, NoSegment> {
    network(packet_of(link, frame)?, MOST_TUNNELS)
}

/// The IP packet within a frame, headers included: what both ends of a path see alike.
///
/// # Errors
/// As [`decode`].
pub fn ip_of(link: LinkType, frame: &[u8]) -> Result<&[u8], NoSegment> {
    packet_of(link, frame).map(|inner| inner.bytes)
}

#[inline]
fn packet_of(link: LinkType, frame: &[u8]) -> Result<Inner<'_>, NoSegment> {
    match link {
        LinkType::RawIp => Ok(Inner::all(frame)),
        LinkType::Ethernet => after_ethertype(frame, 12),
        LinkType::LinuxSll => after_ethertype(frame, 14),
        LinkType::LinuxSll2 => be16(frame, 0).and_then(|ethertype| behind(ethertype, frame, 20)),
        LinkType::Null => tail(frame, 4).map(Inner::all),
    }
}

struct Network<'a> {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    ip_id: Option<u16>,
    ip_len: u32,
    ttl: u8,
    /// Whether it is but a piece of a packet.
    fragment: bool,
    /// Length of what follows the network header by the header's own account.
    len: usize,
    body: &'a [u8],
}

#[inline]
fn network(inner: Inner<'_>, tunnels: u8) -> Result<Transport<'_>, NoSegment> {
    let Inner { bytes: ip, most } = inner;
    let packet = match ip.first().ok_or(NoSegment::Incomplete)? >> 4 {
        4 => ipv4(ip, most)?,
        6 => ipv6(ip, most)?,
        _ => return Err(NoSegment::OtherProtocol),
    };
    if packet.fragment {
        return Ok(Transport::Fragment(ip));
    }
    let deeper = tunnels.checked_sub(1);
    match packet.protocol {
        6 => tcp(&packet),
        17 => {
            let datagram = udp(&packet)?;
            let inner = tunnel::in_udp(datagram.source.port(), datagram.destination.port(), datagram.payload);
            let inner = inner.zip(deeper).and_then(|(ip, left)| network(ip, left).ok());
            Ok(inner.unwrap_or(Transport::Udp(datagram)))
        }
        4 | 41 => within(Inner::all(packet.body), deeper),
        47 => within(tunnel::gre(packet.body)?, deeper),
        _ => Err(NoSegment::OtherProtocol),
    }
}

fn within(ip: Inner<'_>, deeper: Option<u8>) -> Result<Transport<'_>, NoSegment> {
    network(ip, deeper.ok_or(NoSegment::Malformed("too many tunnels within tunnels"))?)
}

#[inline]
fn ipv4(ip: &[u8], most: usize) -> Result<Network<'_>, NoSegment> {
    let fixed = ip.first_chunk::<20>().ok_or(NoSegment::Incomplete)?;
    let header = usize::from(fixed[0] & 0x0f) * 4;
    if header < 20 {
        return Err(NoSegment::Malformed("IPv4 header shorter than 20 bytes"));
    }
    let fragment = be16(fixed, 6)? & 0x3fff != 0; // more to come, or not the first
    let total = match usize::from(be16(fixed, 2)?) {
        0 => ip.len().max(header), // left to TCP segmentation offload
        total if total < header => return Err(NoSegment::Malformed("IPv4 total length inside its header")),
        total => total.min(most.max(header)),
    };
    Ok(Network {
        source: Ipv4Addr::from(array::<4>(fixed, 12)?).into(),
        destination: Ipv4Addr::from(array::<4>(fixed, 16)?).into(),
        protocol: fixed[9],
        ip_id: Some(be16(fixed, 4)?),
        ip_len: total as u32,
        ttl: fixed[8],
        fragment,
        len: total - header,
        body: clip(tail(ip, header)?, total - header),
    })
}

#[inline]
fn ipv6(ip: &[u8], most: usize) -> Result<Network<'_>, NoSegment> {
    let fixed = ip.first_chunk::<40>().ok_or(NoSegment::Incomplete)?;
    let payload = usize::from(be16(fixed, 4)?);
    let total = if payload == 0 { ip.len() } else { payload + 40 }.min(most);
    let (mut protocol, mut at, mut fragment) = (fixed[6], 40, false);
    loop {
        match protocol {
            0 | 43 | 60 | 135 => {
                protocol = byte(ip, at)?;
                at += 8 + usize::from(byte(ip, at + 1)?) * 8;
            }
            44 => {
                fragment |= be16(ip, at + 2)? & 0xfff9 != 0;
                protocol = byte(ip, at)?;
                at += 8;
            }
            _ => break,
        }
    }
    let len = total.checked_sub(at).ok_or(NoSegment::Malformed("IPv6 payload inside its headers"))?;
    Ok(Network {
        source: Ipv6Addr::from(array::<16>(fixed, 8)?).into(),
        destination: Ipv6Addr::from(array::<16>(fixed, 24)?).into(),
        protocol,
        ip_id: None,
        ip_len: total as u32,
        ttl: fixed[7],
        fragment,
        len,
        body: clip(tail(ip, at)?, len),
    })
}

#[inline]
fn tcp<'a>(network: &Network<'a>) -> Result<Transport<'a>, NoSegment> {
    let body = network.body;
    // All that is read below lies in it.
    let fixed = body.first_chunk::<16>().ok_or(NoSegment::Incomplete)?;
    let header = usize::from(fixed[12] >> 4) * 4;
    if header < 20 {
        return Err(NoSegment::Malformed("TCP header shorter than 20 bytes"));
    }
    let len = network.len.checked_sub(header).ok_or(NoSegment::Malformed("TCP header longer than its packet"))?;
    Ok(Transport::Tcp(TcpSegment {
        source: SocketAddr::new(network.source, be16(fixed, 0)?),
        destination: SocketAddr::new(network.destination, be16(fixed, 2)?),
        seq: be32(fixed, 4)?,
        ack: be32(fixed, 8)?,
        flags: Flags(fixed[13]),
        len: len as u32,
        payload: body.get(header..).unwrap_or_default(),
        options: TcpOptions(body.get(20..header).unwrap_or_default()),
        ip_id: network.ip_id,
        ip_len: network.ip_len,
        ttl: network.ttl,
        window: be16(fixed, 14)?,
    }))
}

fn udp<'a>(network: &Network<'a>) -> Result<UdpDatagram<'a>, NoSegment> {
    let body = network.body;
    Ok(UdpDatagram {
        source: SocketAddr::new(network.source, be16(body, 0)?),
        destination: SocketAddr::new(network.destination, be16(body, 2)?),
        payload: tail(body, 8)?,
    })
}

#[inline]
fn clip(bytes: &[u8], len: usize) -> &[u8] {
    &bytes[..bytes.len().min(len)]
}
#[inline]
pub(crate) fn tail(bytes: &[u8], at: usize) -> Result<&[u8], NoSegment> {
    bytes.get(at..).ok_or(NoSegment::Incomplete)
}
#[inline]
pub(crate) fn byte(bytes: &[u8], at: usize) -> Result<u8, NoSegment> {
    bytes.get(at).copied().ok_or(NoSegment::Incomplete)
}
#[inline]
fn array<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], NoSegment> {
    bytes.get(at..at + N).and_then(|b| b.try_into().ok()).ok_or(NoSegment::Incomplete)
}
#[inline]
pub(crate) fn be16(bytes: &[u8], at: usize) -> Result<u16, NoSegment> {
    array(bytes, at).map(u16::from_be_bytes)
}
#[inline]
fn be32(bytes: &[u8], at: usize) -> Result<u32, NoSegment> {
    array(bytes, at).map(u32::from_be_bytes)
}
