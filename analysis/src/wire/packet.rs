//! Bytes of one captured frame → one TCP segment or UDP datagram.
//!
//! Own code because this is the hot path. Every function takes `&[u8]` and cannot panic on any input.

use std::net::SocketAddr;

pub use crate::wire::addresses::Addresses;
pub(crate) use crate::wire::addresses::halves;
pub use crate::wire::icmp::{IcmpError, IcmpKind, Quoted};
pub use crate::wire::link::LinkType;
use crate::wire::tunnel::{self, Inner};
pub use crate::wire::unread::Unread;

/// Why a frame yields no segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoSegment {
    /// The capture holds fewer bytes than the headers need.
    Incomplete,
    /// A header contradicts itself.
    Malformed(&'static str),
    /// Well formed, and known to carry neither TCP nor UDP over IP (ARP, LLDP, a ping).
    OtherProtocol,
    /// Nobody here can read it: whether there is TCP in it is not known.
    NotUnderstood(Unread),
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
        match self.only_timestamps() {
            Some(value) => Some(value),
            None => be32(self.value(8)?, 0).ok(),
        }
    }

    /// `TSval` and `TSecr` of the timestamps option: the sender's clock, and the `TSval` of the packet that this one answers.
    #[inline]
    pub fn timestamps(self) -> Option<(u32, u32)> {
        if self.only_timestamps().is_some() {
            return Some((be32(self.0, 4).ok()?, be32(self.0, 8).ok()?));
        }
        let value = self.value(8)?;
        Some((be32(value, 0).ok()?, be32(value, 4).ok()?))
    }

    /// The largest segment its sender takes (RFC 9293, section 3.7.1); only SYN and SYN-ACK say it.
    pub fn mss(self) -> Option<u16> {
        be16(self.value(2)?, 0).ok()
    }

    /// By how much the window field of later packets is shifted (RFC 7323); only SYN and SYN-ACK say it.
    pub fn window_scale(self) -> Option<u8> {
        self.value(3)?.first().map(|shift| (*shift).min(14))
    }

    /// `TSval` where the timestamps are all there is, as most stacks lay them out: two NOPs before them, nothing behind.
    #[inline]
    fn only_timestamps(self) -> Option<u32> {
        let [n, o, kind, len, a, b, c, d, _, _, _, _] = *<&[u8; 12]>::try_from(self.0).ok()?;
        // One comparison of four bytes, not four of one.
        let as_usual = u32::from_ne_bytes([n, o, kind, len]) == u32::from_ne_bytes([1, 1, 8, 10]);
        as_usual.then(|| u32::from_be_bytes([a, b, c, d]))
    }

    /// Whether there may be SACK blocks among them.
    #[inline]
    pub fn may_have_sack(self) -> bool {
        !self.0.is_empty() && self.only_timestamps().is_none()
    }

    /// SACK blocks (RFC 2018), left and right edge.
    #[inline]
    pub fn sack(self) -> impl ExactSizeIterator<Item = (u32, u32)> {
        let blocks = if self.may_have_sack() { self.value(5) } else { None };
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
    /// Sender and receiver: made into [`SocketAddr`]s where somebody wants them, which is once a connection.
    pub addresses: Addresses<'a>,
    /// Their ports.
    pub ports: [u16; 2],
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

impl TcpSegment<'_> {
    /// Sender.
    #[inline]
    pub fn source(&self) -> SocketAddr {
        SocketAddr::new(self.addresses.source(), self.ports[0])
    }

    /// Receiver.
    #[inline]
    pub fn destination(&self) -> SocketAddr {
        SocketAddr::new(self.addresses.destination(), self.ports[1])
    }
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
    /// An ICMP or ICMPv6 error about a TCP or UDP packet.
    Icmp(IcmpError<'a>),
    /// A piece of an IP packet that was cut on its way, from its IP header on ([`crate::wire::fragments`]).
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
    match ordinary(link, frame) {
        Some(segment) => Ok(Transport::Tcp(segment)),
        None => network(link.packet_of(frame)?, MOST_TUNNELS),
    }
}

/// What nearly every frame of most captures is: TCP in IP in Ethernet, nothing between, nothing odd; absent for all else.
/// [`decode`] says the same of it, in three times the time.
#[inline(always)]
pub fn ordinary(link: LinkType, frame: &[u8]) -> Option<TcpSegment<'_>> {
    if link != LinkType::Ethernet {
        return None;
    }
    let ethertype = u16::from_be_bytes(*frame.get(12..)?.first_chunk()?);
    let ip = frame.get(14..)?;
    let (addresses, ip_id, ip_len, ttl, header) = match ethertype {
        0x0800 => {
            let fixed = ip.first_chunk::<20>()?;
            let [0x45, _, a, b, id @ .., flags, offset, ttl, 6, _, _] = *fixed.first_chunk::<12>()? else { return None };
            if flags & 0x3f != 0 || offset != 0 {
                return None;
            }
            let addresses = Addresses::V4(fixed.last_chunk()?);
            (addresses, Some(u16::from_be_bytes(id)), usize::from(u16::from_be_bytes([a, b])), ttl, 20)
        }
        0x86dd => {
            let fixed = ip.first_chunk::<40>()?;
            let [first, _, _, _, a, b, 6, ttl] = *fixed.first_chunk()? else { return None };
            let payload = usize::from(u16::from_be_bytes([a, b]));
            if first >> 4 != 6 || payload == 0 {
                return None;
            }
            (Addresses::V6(fixed.last_chunk()?), None, payload + 40, ttl, 40)
        }
        _ => return None,
    };
    let body = ip.get(header..ip_len.min(ip.len()))?;
    let fixed = body.first_chunk::<20>()?;
    let begins = usize::from(fixed[12] >> 4) * 4;
    let (options, payload) = (body.get(20..begins)?, &body[begins..]);
    Some(TcpSegment {
        addresses,
        ports: [u16::from_be_bytes([fixed[0], fixed[1]]), u16::from_be_bytes([fixed[2], fixed[3]])],
        seq: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
        ack: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
        flags: Flags(fixed[13]),
        len: (ip_len - header - begins) as u32,
        payload,
        options: TcpOptions(options),
        ip_id,
        ip_len: ip_len as u32,
        ttl,
        window: u16::from_be_bytes([fixed[14], fixed[15]]),
    })
}

/// The IP packet within a frame, headers included: what both ends of a path see alike.
///
/// # Errors
/// As [`decode`].
pub fn ip_of(link: LinkType, frame: &[u8]) -> Result<&[u8], NoSegment> {
    link.packet_of(frame).map(|inner| inner.bytes)
}

struct Network<'a> {
    addresses: Addresses<'a>,
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
        other => return Err(NoSegment::NotUnderstood(Unread::IpVersion(other))),
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
        1 | 58 => crate::wire::icmp::error(packet.addresses, packet.body).map(Transport::Icmp).ok_or(NoSegment::OtherProtocol),
        other => Err(Unread::ip_protocol(other)),
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
        addresses: Addresses::V4(fixed.last_chunk().ok_or(NoSegment::Incomplete)?),
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
    let Behind { protocol, at, piece } = behind_extensions(fixed[6], ip)?;
    let len = total.checked_sub(at).ok_or(NoSegment::Malformed("IPv6 payload inside its headers"))?;
    Ok(Network {
        addresses: Addresses::V6(fixed.last_chunk().ok_or(NoSegment::Incomplete)?),
        protocol,
        ip_id: None,
        ip_len: total as u32,
        ttl: fixed[7],
        fragment: piece & 0xfff9 != 0,
        len,
        body: clip(tail(ip, at)?, len),
    })
}

/// What lies behind the extension headers of an IPv6 packet.
pub(crate) struct Behind {
    pub protocol: u8,
    /// Where it begins in the packet.
    pub at: usize,
    /// Offset and flag of a fragment header; 0 without one.
    pub piece: u16,
}

#[inline]
pub(crate) fn behind_extensions(mut protocol: u8, ip: &[u8]) -> Result<Behind, NoSegment> {
    let (mut at, mut piece) = (40, 0);
    loop {
        match extension(protocol, at, ip) {
            Some(next) => (protocol, at) = next?,
            None if protocol == FRAGMENT => {
                piece |= be16(ip, at + 2)?;
                protocol = byte(ip, at)?;
                at += 8;
            }
            None => return Ok(Behind { protocol, at, piece }),
        }
    }
}

/// The extension header that tells a fragment (RFC 8200).
pub(crate) const FRAGMENT: u8 = 44;

/// What an IPv6 extension header at `at` says follows, and where; absent where `protocol` is none that is passed over: hop-by-hop options,
/// routing, destination options (RFC 8200), mobility (RFC 6275).
#[inline]
pub(crate) fn extension(protocol: u8, at: usize, ip: &[u8]) -> Option<Result<(u8, usize), NoSegment>> {
    let behind = || Ok((byte(ip, at)?, at + 8 + usize::from(byte(ip, at + 1)?) * 8));
    matches!(protocol, 0 | 43 | 60 | 135).then(behind)
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
        addresses: network.addresses,
        ports: [be16(fixed, 0)?, be16(fixed, 2)?],
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
        source: SocketAddr::new(network.addresses.source(), be16(body, 0)?),
        destination: SocketAddr::new(network.addresses.destination(), be16(body, 2)?),
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
pub(crate) fn array<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], NoSegment> {
    bytes.get(at..at + N).and_then(|b| b.try_into().ok()).ok_or(NoSegment::Incomplete)
}
#[inline]
pub(crate) fn be16(bytes: &[u8], at: usize) -> Result<u16, NoSegment> {
    array(bytes, at).map(u16::from_be_bytes)
}
#[inline]
pub(crate) fn le16(bytes: &[u8], at: usize) -> Result<u16, NoSegment> {
    array(bytes, at).map(u16::from_le_bytes)
}
#[inline]
pub(crate) fn le32(bytes: &[u8], at: usize) -> Result<u32, NoSegment> {
    array(bytes, at).map(u32::from_le_bytes)
}
#[inline]
pub(crate) fn be32(bytes: &[u8], at: usize) -> Result<u32, NoSegment> {
    array(bytes, at).map(u32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The short way through a frame says what the long one says, whatever the frame.
        #[test]
        fn the_short_way_says_the_same(
            v6 in any::<bool>(), odd in prop::collection::vec((0usize..80, any::<u8>()), 0..3), options in 0usize..11,
            payload in 0usize..40, cut in 0usize..120, more in -30i32..30,
        ) {
            let ip = if v6 { 40 } else { 20 };
            let mut frame = vec![0x11; 14 + ip + 20 + 4 * options + payload];
            frame[12..14].copy_from_slice(if v6 { &[0x86, 0xdd] } else { &[8, 0] });
            let told = (frame.len() as i32 - 14 + more).max(0) as u16;
            if v6 {
                (frame[14], frame[20]) = (0x60, 6);
                frame[18..20].copy_from_slice(&told.saturating_sub(40).to_be_bytes());
            } else {
                (frame[14], frame[23]) = (0x45, 6);
                frame[16..18].copy_from_slice(&told.to_be_bytes());
                frame[20..22].copy_from_slice(&[0x40, 0]);
            }
            frame[14 + ip + 12] = (5 + options as u8) << 4;
            for (at, byte) in odd {
                if let Some(place) = frame.get_mut(at) {
                    *place = byte;
                }
            }
            frame.truncate(frame.len().max(cut) - cut.min(40));
            if let Some(segment) = ordinary(LinkType::Ethernet, &frame) {
                let long = network(LinkType::Ethernet.packet_of(&frame).expect("IP"), MOST_TUNNELS);
                prop_assert_eq!(Ok(Transport::Tcp(segment)), long);
            }
        }
    }

    #[test]
    fn an_ordinary_frame_takes_the_short_way() {
        let mut frame = vec![0; 14 + 20 + 20 + 3];
        frame[12..14].copy_from_slice(&[8, 0]);
        (frame[14], frame[23], frame[17], frame[46]) = (0x45, 6, 43, 0x50);
        assert_eq!(ordinary(LinkType::Ethernet, &frame).map(|s| (s.len, s.payload.len())), Some((3, 3)));
    }
}
