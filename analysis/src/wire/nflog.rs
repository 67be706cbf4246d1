//! Packets that Linux's packet filter logged (`LINKTYPE_NFLOG`).
//!
//! A header of four bytes, then what the kernel tells, each with its length and type in the byte order of the machine that
//! captured. Every function takes bytes and cannot panic on any input.

use crate::wire::packet::{NoSegment, array, tail};
use crate::wire::tunnel::Inner;

/// `NFULA_PAYLOAD`: the packet, from its IP header on.
const PAYLOAD: u16 = 9;
/// Bits of a type that say how its value is written (`NLA_F_NESTED`, `NLA_F_NET_BYTEORDER`).
const HOW: u16 = 0xc000;

/// The IP packet within a frame.
pub(crate) fn packet_in(frame: &[u8]) -> Result<Inner<'_>, NoSegment> {
    let mut at = 4;
    loop {
        let [a, b, c, d] = array(frame, at)?;
        // Types are small numbers: only one byte order makes them so.
        let little = u16::from_le_bytes([c, d]) & !HOW;
        let (len, kind) = match little < 0x100 {
            true => (u16::from_le_bytes([a, b]), little),
            false => (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]) & !HOW),
        };
        let len = usize::from(len);
        if len < 4 {
            return Err(NoSegment::Malformed("NFLOG attribute shorter than its header"));
        }
        if kind == PAYLOAD {
            return Ok(Inner { bytes: tail(frame, at + 4)?, most: len - 4 });
        }
        at += len.next_multiple_of(4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: [u8; 5] = [0x45, 1, 2, 3, 4];

    #[test]
    fn the_packet_is_found_in_either_byte_order() {
        // A prefix of one byte (padded), a nested attribute, the packet.
        let little = [&[2, 0, 0, 5, 5, 0, 10, 0, 0, 9, 9, 9, 4, 0, 19, 0x80, 9, 0, 9, 0][..], &PACKET].concat();
        let big = [&[2, 0, 0, 5, 0, 5, 0, 10, 0, 9, 9, 9, 0, 4, 0x80, 19, 0, 9, 0, 9][..], &PACKET].concat();
        for frame in [little, big] {
            let inner = packet_in(&frame).expect("there is a packet");
            assert_eq!((inner.bytes, inner.most), (&PACKET[..], 5));
        }
    }

    #[test]
    fn no_length_leads_astray() {
        assert!(matches!(packet_in(&[2, 0, 0, 5, 0, 0, 10, 0]), Err(NoSegment::Malformed(_))));
        assert!(matches!(packet_in(&[2, 0, 0, 5, 0xff, 0xff, 10, 0]), Err(NoSegment::Incomplete)));
        assert!(matches!(packet_in(&[2, 0]), Err(NoSegment::Incomplete)));
    }
}
