//! The link types of captures: where in a frame its IP packet lies.

use serde::{Deserialize, Serialize};

use crate::packet::{NoSegment, be16, byte, tail};
use crate::tunnel::{Inner, after_ethertype, behind};

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
}

impl LinkType {
    /// By its number in the registry; absent for what nobody here can read.
    pub fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            0 | 108 => LinkType::Null,
            1 => LinkType::Ethernet,
            9 | 50 => LinkType::Ppp,
            12 | 14 | 101 | 228 | 229 => LinkType::RawIp,
            104 => LinkType::CiscoHdlc,
            113 => LinkType::LinuxSll,
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
            LinkType::RawIp => 101,
            LinkType::CiscoHdlc => 104,
            LinkType::LinuxSll => 113,
            LinkType::LinuxSll2 => 276,
        }
    }

    /// The IP packet within a frame.
    #[inline]
    pub(crate) fn packet_of(self, frame: &[u8]) -> Result<Inner<'_>, NoSegment> {
        match self {
            LinkType::RawIp => Ok(Inner::all(frame)),
            LinkType::Ethernet => after_ethertype(frame, 12),
            LinkType::LinuxSll => after_ethertype(frame, 14),
            LinkType::LinuxSll2 => be16(frame, 0).and_then(|ethertype| behind(ethertype, frame, 20)),
            LinkType::Null => tail(frame, 4).map(Inner::all),
            LinkType::Ppp => in_ppp(frame),
            LinkType::CiscoHdlc => after_ethertype(frame, 2),
        }
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
    match protocol {
        0x0021 => behind(0x0800, frame, at),
        0x0057 => behind(0x86dd, frame, at),
        0x0281 => behind(0x8847, frame, at),
        _ => Err(NoSegment::OtherProtocol),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packet_behind_each_link_header_is_found() {
        let packet: Vec<u8> = [&[0x45, 0, 0, 20][..], &[7; 16]].concat();
        let headers: [(u32, &[u8]); 10] = [
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
        ];
        for (number, header) in headers {
            let link = LinkType::from_number(number).expect("it is known");
            let frame = [header, &packet].concat();
            assert_eq!(link.packet_of(&frame).map(|inner| inner.bytes), Ok(&packet[..]), "{link:?}");
            assert_eq!(LinkType::from_number(link.number() as u32), Some(link));
        }
    }
}
