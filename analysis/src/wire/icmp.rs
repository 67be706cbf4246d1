//! ICMP and ICMPv6 errors (RFC 792, RFC 4443): who refused which packet, and why.
//!
//! An error quotes the packet that caused it, often no more of it than its IP header and eight bytes. Every function takes
//! bytes and cannot panic on any input.

use std::net::{IpAddr, SocketAddr};

use crate::wire::packet::{Addresses, be16, be32, behind_extensions, tail};

/// What an error says of the packet that it quotes; the words are those of the RFCs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum IcmpKind {
    /// Net unreachable (v6: no route to destination).
    NetworkUnreachable,
    /// Host unreachable (v6: address unreachable).
    HostUnreachable,
    /// Protocol unreachable.
    ProtocolUnreachable,
    /// Port unreachable.
    PortUnreachable,
    /// Administratively prohibited, or refused by policy: a firewall's word.
    Prohibited,
    /// Destination unreachable for another reason, by its code.
    OtherUnreachable(u8),
    /// Fragmentation needed and DF set (v6: packet too big).
    TooBig,
    /// Time to live (v6: hop limit) exceeded in transit.
    TimeExceeded,
    /// Fragment reassembly time exceeded: a piece never came.
    ReassemblyTimeExceeded,
}

/// An ICMP or ICMPv6 error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IcmpError<'a> {
    /// What it says.
    pub kind: IcmpKind,
    /// Next-hop MTU of [`IcmpKind::TooBig`]; absent where old routers leave it out.
    pub next_hop_mtu: Option<u16>,
    /// Who says it, and to whom.
    pub addresses: Addresses<'a>,
    /// Of which packet.
    pub quoted: Quoted<'a>,
}

impl IcmpError<'_> {
    /// Who says it: a router, a firewall, or the end itself.
    pub fn source(&self) -> IpAddr {
        self.addresses.source()
    }
}

/// The packet that an error quotes, as its own header tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quoted<'a> {
    /// Its addresses.
    pub addresses: Addresses<'a>,
    /// Its ports.
    pub ports: [u16; 2],
    /// Its TCP sequence number; absent for UDP.
    pub seq: Option<u32>,
    /// IPv4 identification; absent in IPv6.
    pub ip_id: Option<u16>,
    /// Length of the IP packet, all of it.
    pub ip_len: u32,
}

impl Quoted<'_> {
    /// Who sent it.
    pub fn source(&self) -> SocketAddr {
        SocketAddr::new(self.addresses.source(), self.ports[0])
    }

    /// For whom it was.
    pub fn destination(&self) -> SocketAddr {
        SocketAddr::new(self.addresses.destination(), self.ports[1])
    }
}

/// Reads an ICMP message of a packet with these addresses; absent if it is no error about a TCP or UDP packet, or quotes too little.
pub(crate) fn error<'a>(addresses: Addresses<'a>, body: &'a [u8]) -> Option<IcmpError<'a>> {
    let [kind, code, ..] = *body.first_chunk::<8>()?;
    let v6 = matches!(addresses, Addresses::V6(_));
    let kind = if v6 { kind_of_v6(kind, code)? } else { kind_of_v4(kind, code)? };
    let mtu = if v6 { be32(body, 4).ok()? } else { u32::from(be16(body, 6).ok()?) };
    let next_hop_mtu = (kind == IcmpKind::TooBig && mtu > 0).then(|| u16::try_from(mtu).unwrap_or(u16::MAX));
    let ip = tail(body, 8).ok()?;
    let quoted = if v6 { quoted_v6(ip)? } else { quoted_v4(ip)? };
    Some(IcmpError { kind, next_hop_mtu, addresses, quoted })
}

fn kind_of_v4(kind: u8, code: u8) -> Option<IcmpKind> {
    Some(match (kind, code) {
        (3, 0 | 6 | 11) => IcmpKind::NetworkUnreachable,
        (3, 1 | 7 | 12) => IcmpKind::HostUnreachable,
        (3, 2) => IcmpKind::ProtocolUnreachable,
        (3, 3) => IcmpKind::PortUnreachable,
        (3, 4) => IcmpKind::TooBig,
        (3, 9 | 10 | 13) => IcmpKind::Prohibited,
        (3, other) => IcmpKind::OtherUnreachable(other),
        (11, 0) => IcmpKind::TimeExceeded,
        (11, 1) => IcmpKind::ReassemblyTimeExceeded,
        _ => return None,
    })
}

fn kind_of_v6(kind: u8, code: u8) -> Option<IcmpKind> {
    Some(match (kind, code) {
        (1, 0) => IcmpKind::NetworkUnreachable,
        (1, 1 | 5 | 6) => IcmpKind::Prohibited,
        (1, 3) => IcmpKind::HostUnreachable,
        (1, 4) => IcmpKind::PortUnreachable,
        (1, other) => IcmpKind::OtherUnreachable(other),
        (2, _) => IcmpKind::TooBig,
        (3, 0) => IcmpKind::TimeExceeded,
        (3, 1) => IcmpKind::ReassemblyTimeExceeded,
        _ => return None,
    })
}

fn quoted_v4(ip: &[u8]) -> Option<Quoted<'_>> {
    let fixed = ip.first_chunk::<20>()?;
    let header = usize::from(fixed[0] & 0x0f) * 4;
    let offset = be16(fixed, 6).ok()? & 0x1fff;
    if fixed[0] >> 4 != 4 || header < 20 || offset != 0 {
        return None; // ports are in the first piece only
    }
    let (ports, seq) = ports_and_seq(fixed[9], tail(ip, header).ok()?)?;
    let (ip_id, ip_len) = (Some(be16(fixed, 4).ok()?), u32::from(be16(fixed, 2).ok()?));
    Some(Quoted { addresses: Addresses::V4(fixed.last_chunk()?), ports, seq, ip_id, ip_len })
}

fn quoted_v6(ip: &[u8]) -> Option<Quoted<'_>> {
    let fixed = ip.first_chunk::<40>()?;
    let behind = behind_extensions(fixed[6], ip).ok()?;
    if fixed[0] >> 4 != 6 || behind.piece & 0xfff8 != 0 {
        return None;
    }
    let (ports, seq) = ports_and_seq(behind.protocol, tail(ip, behind.at).ok()?)?;
    let ip_len = u32::from(be16(fixed, 4).ok()?) + 40;
    Some(Quoted { addresses: Addresses::V6(fixed.last_chunk()?), ports, seq, ip_id: None, ip_len })
}

fn ports_and_seq(protocol: u8, transport: &[u8]) -> Option<([u16; 2], Option<u32>)> {
    let ports = [be16(transport, 0).ok()?, be16(transport, 2).ok()?];
    match protocol {
        6 => Some((ports, Some(be32(transport, 4).ok()?))),
        17 => Some((ports, None)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::packet::{LinkType, NoSegment, Transport, decode};

    const TCP: [u8; 8] = [0x9c, 0x40, 0x01, 0xbb, 0x4c, 0x6a, 0x5b, 0xe8];

    fn v4(protocol: u8, from: u8, to: u8, more: usize) -> Vec<u8> {
        let mut ip = vec![0x45, 0, 0, 0, 0xab, 0xcd, 0x40, 0, 64, protocol, 0, 0, 10, 0, 0, from, 10, 0, 0, to];
        ip[2..4].copy_from_slice(&((20 + more) as u16).to_be_bytes());
        ip
    }

    fn v6(protocol: u8, from: u8, to: u8, more: usize) -> Vec<u8> {
        let mut ip = vec![0; 40];
        (ip[0], ip[6], ip[7], ip[8], ip[23], ip[24], ip[39]) = (0x60, protocol, 64, 0xfd, from, 0xfd, to);
        ip[4..6].copy_from_slice(&(more as u16).to_be_bytes());
        ip
    }

    /// Router 9 tells host 1 of a packet of 1500 bytes to host 2.
    fn refusal4(kind: u8, code: u8, mtu: u16, quote: &[u8]) -> Vec<u8> {
        let [high, low] = mtu.to_be_bytes();
        let quoted = [v4(6, 1, 2, 1480), quote.to_vec()].concat();
        [v4(1, 9, 1, 8 + quoted.len()), vec![kind, code, 0, 0, 0, 0, high, low], quoted].concat()
    }

    fn refusal6(kind: u8, code: u8, mtu: u32, quoted: &[u8]) -> Vec<u8> {
        [v6(58, 9, 1, 8 + quoted.len()), vec![kind, code, 0, 0], mtu.to_be_bytes().to_vec(), quoted.to_vec()].concat()
    }

    fn read(packet: &[u8]) -> Result<IcmpError<'_>, NoSegment> {
        match decode(LinkType::RawIp, packet)? {
            Transport::Icmp(error) => Ok(error),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn eight_quoted_bytes_name_the_packet_that_was_too_big() {
        let packet = refusal4(3, 4, 1400, &TCP);
        let error = read(&packet).expect("it is an error about TCP");
        assert_eq!((error.kind, error.next_hop_mtu), (IcmpKind::TooBig, Some(1400)));
        assert_eq!(error.source().to_string(), "10.0.0.9");
        assert_eq!(error.quoted.source().to_string(), "10.0.0.1:40000");
        assert_eq!(error.quoted.destination().to_string(), "10.0.0.2:443");
        let Quoted { seq, ip_id, ip_len, .. } = error.quoted;
        assert_eq!((seq, ip_id, ip_len), (Some(0x4c6a_5be8), Some(0xabcd), 1500));
        // A router older than RFC 1191.
        assert_eq!(read(&refusal4(3, 4, 0, &TCP)).expect("as before").next_hop_mtu, None);
    }

    #[test]
    fn ipv6_says_the_same_behind_extension_headers_too() {
        let quoted = [v6(6, 1, 2, 1460), TCP.to_vec()].concat();
        let packet = refusal6(2, 0, 1280, &quoted);
        let error = read(&packet).expect("it is an error about TCP");
        assert_eq!(
            (error.kind, error.next_hop_mtu, error.source().to_string().as_str()),
            (IcmpKind::TooBig, Some(1280), "fd00::9")
        );
        assert_eq!(error.quoted.source().to_string(), "[fd00::1]:40000");
        assert_eq!((error.quoted.seq, error.quoted.ip_len), (Some(0x4c6a_5be8), 1500));

        let piece = [6, 0, 0, 1, 0, 0, 0, 7]; // the first of several
        let quoted = [v6(44, 1, 2, 1460), piece.to_vec(), TCP.to_vec()].concat();
        let packet = refusal6(1, 1, 0, &quoted);
        let error = read(&packet).expect("it is an error about TCP");
        assert_eq!((error.kind, error.next_hop_mtu, error.quoted.ports), (IcmpKind::Prohibited, None, [40_000, 443]));
        // An MTU beyond what a packet can have.
        let quoted = [v6(6, 1, 2, 1460), TCP.to_vec()].concat();
        assert_eq!(read(&refusal6(2, 0, 1 << 20, &quoted)).expect("as before").next_hop_mtu, Some(u16::MAX));
    }

    #[test]
    fn each_kind_has_its_name() {
        let kinds = [
            (3, 0, IcmpKind::NetworkUnreachable),
            (3, 1, IcmpKind::HostUnreachable),
            (3, 2, IcmpKind::ProtocolUnreachable),
            (3, 3, IcmpKind::PortUnreachable),
            (3, 13, IcmpKind::Prohibited),
            (3, 5, IcmpKind::OtherUnreachable(5)),
            (11, 0, IcmpKind::TimeExceeded),
            (11, 1, IcmpKind::ReassemblyTimeExceeded),
        ];
        for (kind, code, expected) in kinds {
            assert_eq!(read(&refusal4(kind, code, 0, &TCP)).map(|e| (e.kind, e.next_hop_mtu)), Ok((expected, None)));
        }
        let quoted = [v6(6, 1, 2, 1460), TCP.to_vec()].concat();
        for (kind, code, expected) in [
            (1, 0, IcmpKind::NetworkUnreachable),
            (1, 3, IcmpKind::HostUnreachable),
            (1, 4, IcmpKind::PortUnreachable),
            (3, 0, IcmpKind::TimeExceeded),
        ] {
            assert_eq!(read(&refusal6(kind, code, 0, &quoted)).map(|e| e.kind), Ok(expected));
        }
    }

    #[test]
    fn what_names_no_packet_is_no_evidence() {
        // Too little quoted, a ping, a later piece, another protocol.
        assert_eq!(read(&refusal4(3, 4, 1400, &TCP[..7])), Err(NoSegment::OtherProtocol));
        assert_eq!(read(&refusal4(8, 0, 1400, &TCP)), Err(NoSegment::OtherProtocol));
        let mut later = refusal4(3, 4, 1400, &TCP);
        later[28 + 7] = 185;
        assert_eq!(read(&later), Err(NoSegment::OtherProtocol));
        let mut other = refusal4(3, 4, 1400, &TCP);
        other[28 + 9] = 132;
        assert_eq!(read(&other), Err(NoSegment::OtherProtocol));
        let mut udp = refusal4(3, 3, 0, &TCP);
        udp[28 + 9] = 17;
        assert_eq!(read(&udp).map(|e| (e.quoted.seq, e.quoted.ports)), Ok((None, [40_000, 443])));
    }

    proptest! {
        #[test]
        fn hostile_messages_are_harmless(bytes in prop::collection::vec(any::<u8>(), 0..160), cut in 0usize..90, kind in 0u8..12) {
            let _ = error(Addresses::V4(&[1; 8]), &bytes);
            let _ = error(Addresses::V6(&[1; 32]), &bytes);
            let whole = refusal4(kind, bytes.first().copied().unwrap_or_default(), 0, &TCP);
            let _ = decode(LinkType::RawIp, &whole[..cut.min(whole.len())]);
        }
    }
}
