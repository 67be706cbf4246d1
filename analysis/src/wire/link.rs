//! The link types of captures: where in a frame its IP packet lies.

use serde::{Deserialize, Serialize};

use crate::wire::packet::{NoSegment, Unread, be16, byte, tail};
use crate::wire::tunnel::{self, Inner, after_ethertype, behind, behind_llc};
use crate::{wire::nflog, wire::pktap, wire::wlan};

/// What a capture's frames begin with; the numbers are those of <https://www.tcpdump.org/linktypes.html>.
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
    /// PPP (RFC 1661), with or without the framing of HDLC (RFC 1662).
    Ppp,
    /// Cisco's HDLC.
    CiscoHdlc,
    /// PPP behind a byte that says which way it went.
    PppWithDirection,
    /// A PPPoE session's packets (RFC 2516).
    PppoeSession,
    /// What Linux's packet filter logged.
    Nflog,
    /// Apple's header, which says the link type of each frame.
    Pktap,
    /// For anybody's use: Apple's header, where it looks like that.
    User2,
    /// 802.11.
    Wlan,
    /// 802.11 behind what the receiver measured.
    Radiotap,
}

impl LinkType {
    /// All of them.
    pub const ALL: [Self; 14] = [
        LinkType::Ethernet,
        LinkType::RawIp,
        LinkType::LinuxSll,
        LinkType::LinuxSll2,
        LinkType::Null,
        LinkType::Ppp,
        LinkType::CiscoHdlc,
        LinkType::PppWithDirection,
        LinkType::PppoeSession,
        LinkType::Nflog,
        LinkType::Pktap,
        LinkType::User2,
        LinkType::Wlan,
        LinkType::Radiotap,
    ];

    /// By its number in the registry; absent for what nobody here can read.
    pub fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            0 | 108 => LinkType::Null,
            1 => LinkType::Ethernet,
            9 | 50 => LinkType::Ppp,
            12 | 14 | 101 | 228 | 229 => LinkType::RawIp,
            51 => LinkType::PppoeSession,
            104 => LinkType::CiscoHdlc,
            105 => LinkType::Wlan,
            113 => LinkType::LinuxSll,
            127 => LinkType::Radiotap,
            149 => LinkType::User2,
            204 => LinkType::PppWithDirection,
            239 => LinkType::Nflog,
            258 => LinkType::Pktap,
            276 => LinkType::LinuxSll2,
            _ => return None,
        })
    }

    /// Its number in the registry.
    pub fn number(self) -> i32 {
        match self {
            LinkType::Null => 0,
            LinkType::Ethernet => 1,
            LinkType::Ppp => 9,
            LinkType::PppoeSession => 51,
            LinkType::RawIp => 101,
            LinkType::CiscoHdlc => 104,
            LinkType::Wlan => 105,
            LinkType::LinuxSll => 113,
            LinkType::Radiotap => 127,
            LinkType::User2 => 149,
            LinkType::PppWithDirection => 204,
            LinkType::Nflog => 239,
            LinkType::Pktap => 258,
            LinkType::LinuxSll2 => 276,
        }
    }

    /// The IP packet within a frame.
    #[inline]
    pub(crate) fn packet_of(self, frame: &[u8]) -> Result<Inner<'_>, NoSegment> {
        match self {
            LinkType::RawIp => Ok(Inner::all(frame)),
            LinkType::Ethernet => after_ethertype(frame, 12),
            LinkType::LinuxSll => in_cooked(be16(frame, 14)?, frame, 16),
            LinkType::LinuxSll2 => in_cooked(be16(frame, 0)?, frame, 20),
            LinkType::Null => tail(frame, 4).map(Inner::all),
            LinkType::Ppp => in_ppp(frame),
            LinkType::CiscoHdlc => after_ethertype(frame, 2),
            LinkType::PppWithDirection => in_ppp(tail(frame, 1)?),
            LinkType::PppoeSession => behind(0x8864, frame, 0),
            LinkType::Nflog => nflog::packet_in(frame),
            LinkType::Pktap => pktap::packet_in(frame),
            LinkType::User2 if pktap::begins(frame) => pktap::packet_in(frame),
            LinkType::User2 => Err(NoSegment::NotUnderstood(Unread::LinkType(149))),
            LinkType::Wlan => wlan::packet_in(frame, false),
            LinkType::Radiotap => wlan::behind_radiotap(frame),
        }
    }
}

/// Linux's protocols are EtherTypes, but for small numbers of its own; of these, one means LLC.
fn in_cooked(protocol: u16, frame: &[u8], at: usize) -> Result<Inner<'_>, NoSegment> {
    match protocol {
        4 => behind_llc(frame, at),
        ..=0x05ff => Err(NoSegment::OtherProtocol),
        ethertype => behind(ethertype, frame, at),
    }
}

fn in_ppp(frame: &[u8]) -> Result<Inner<'_>, NoSegment> {
    // A synchronous line speaks either; Cisco's addresses are no PPP.
    if matches!(byte(frame, 0)?, 0x0f | 0x8f) {
        return LinkType::CiscoHdlc.packet_of(frame);
    }
    let at = if be16(frame, 0)? == 0xff03 { 2 } else { 0 };
    // Protocol numbers end in an odd byte; one alone is a short form.
    let (protocol, at) = match byte(frame, at)? {
        short if short & 1 == 1 => (u16::from(short), at + 1),
        _ => (be16(frame, at)?, at + 2),
    };
    behind(tunnel::in_ppp(protocol)?, frame, at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::packet::{Transport, decode};

    /// Link types by their number, and what may lie before a packet of IPv4 there.
    const HEADERS: [(u32, &[u8]); 18] = [
        (1, &[2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 8, 0]),
        (101, &[]),
        (113, &[0, 0, 0, 1, 0, 6, 2, 2, 2, 2, 2, 2, 0, 0, 8, 0]),
        (276, &[8, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 6, 2, 2, 2, 2, 2, 2, 0, 0]),
        (0, &[2, 0, 0, 0]),
        (9, &[0xff, 0x03, 0x00, 0x21]),
        (9, &[0x00, 0x21]),
        (50, &[0xff, 0x03, 0x21]),
        (50, &[0x0f, 0x00, 0x08, 0x00]),
        (104, &[0x0f, 0x00, 0x08, 0x00]),
        (113, &[0, 0, 0, 1, 0, 6, 2, 2, 2, 2, 2, 2, 0, 0, 0, 4, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0]),
        (204, &[0, 0xff, 0x03, 0x00, 0x21]),
        (204, &[1, 0x21]),
        (51, &[0x11, 0, 0, 1, 0, 22, 0, 0x21]),
        (239, &[2, 0, 0, 5, 8, 0, 1, 0, 0, 0, 0, 0, 24, 0, 9, 0]),
        (
            127,
            &[
                0, 0, 8, 0, 0, 0, 0, 0, 8, 1, 0, 0, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 0, 0, 0xaa, 0xaa, 3, 0,
                0, 0, 8, 0,
            ],
        ),
        (105, &[8, 1, 0, 0, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 0, 0, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0]),
        (276, &[0, 4, 0, 0, 0, 0, 0, 1, 0, 1, 0, 6, 2, 2, 2, 2, 2, 2, 0, 0, 6, 6, 3]),
    ];

    #[test]
    fn the_packet_behind_each_link_header_is_found() {
        let packet: Vec<u8> = [&[0x45, 0, 0, 20][..], &[7; 16]].concat();
        for (number, header) in HEADERS {
            let link = LinkType::from_number(number).expect("it is known");
            let frame = [header, &packet].concat();
            assert_eq!(link.packet_of(&frame).map(|inner| inner.bytes), Ok(&packet[..]), "{link:?}");
            assert_eq!(LinkType::from_number(link.number() as u32), Some(link));
        }
    }
    /// What IPv4 may carry: TCP, a tunnel with TCP in it, IPv6 in IPv4 with an extension header, a fragment, UDP to a tunnel, an ICMP error.
    fn packets() -> [Vec<u8>; 6] {
        let tcp =
            [&[0x9c, 0x40, 1, 0xbb, 0, 0, 0, 7, 0, 0, 0, 9, 0x80, 0x18, 0, 9, 0, 0, 0, 0][..], &[1, 1, 8, 10], &[0; 8], b"hello"]
                .concat();
        let ipv4 = |protocol: u8, flags: [u8; 2], body: &[u8]| {
            let len = (20 + body.len() as u16).to_be_bytes();
            let head = [0x45, 0, len[0], len[1], 0, 1, flags[0], flags[1], 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
            [&head[..], body].concat()
        };
        let plain = ipv4(6, [0x40, 0], &tcp);
        let behind_options = [&[6, 0, 1, 4, 0, 0, 0, 0][..], &tcp].concat();
        let ipv6 = [&[0x60, 0, 0, 0, 0, behind_options.len() as u8, 60, 64][..], &[0x20; 32], &behind_options].concat();
        let vxlan = [&[0x9c, 0x40, 0x12, 0xb5, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 7, 0][..], &[2; 12], &[8, 0], &plain].concat();
        [
            plain.clone(),
            ipv4(47, [0, 0], &[&[0, 0, 8, 0][..], &plain].concat()),
            ipv4(41, [0, 0], &ipv6),
            ipv4(6, [0x20, 0], &tcp[..32]),
            ipv4(17, [0, 0], &vxlan),
            ipv4(1, [0, 0], &[&[3, 4, 0, 0, 0, 0, 5, 0xdc][..], &plain].concat()),
        ]
    }

    #[test]
    fn what_is_changed_below_is_read_whole() {
        let kinds = packets().map(|packet| match decode(LinkType::RawIp, &packet) {
            Ok(Transport::Tcp(segment)) => ("TCP", segment.payload.to_vec()),
            Ok(Transport::Fragment(_)) => ("a fragment", vec![]),
            Ok(Transport::Icmp(_)) => ("ICMP", vec![]),
            other => panic!("{other:?}"),
        });
        let [hello, nothing] = [b"hello".to_vec(), vec![]];
        let tcp = ("TCP", hello);
        assert_eq!(kinds, [tcp.clone(), tcp.clone(), tcp.clone(), ("a fragment", nothing.clone()), tcp, ("ICMP", nothing)]);
    }

    proptest! {
        #[test]
        fn any_bytes_of_any_link_type_are_harmless(number in 0u32..300, frame in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(link) = LinkType::from_number(number) {
                let _ = decode(link, &frame);
            }
        }

        /// Frames that are read, but for a few bytes: any bytes at all end at the first header that tells what follows.
        #[test]
        fn hostile_frames_behind_a_header_are_harmless(
            header in 0usize..18, packet in 0usize..6, odd in prop::collection::vec((0usize..160, any::<u8>()), 0..4), cut in 0usize..400,
        ) {
            let (number, before) = HEADERS[header];
            let link = LinkType::from_number(number).expect("it is known");
            let mut frame = [before, &packets()[packet]].concat();
            for (at, byte) in odd {
                if let Some(place) = frame.get_mut(at) {
                    *place = byte;
                }
            }
            frame.truncate(cut.max(1));
            if let Ok(Transport::Tcp(segment)) = decode(link, &frame) {
                prop_assert!(segment.payload.len() <= frame.len());
            }
        }
    }
}
