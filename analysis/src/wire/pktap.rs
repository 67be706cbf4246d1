//! Frames of any of a Mac's interfaces, each with a header that says of which (`LINKTYPE_PKTAP`).
//!
//! The header says how long it is and what link type follows. Every function takes bytes and cannot panic on any input.

use crate::wire::link::LinkType;
use crate::wire::packet::{NoSegment, Unread, le32, tail};
use crate::wire::tunnel::Inner;

/// `struct pktap_header` as it was when first published; later ones are longer.
const LEAST_HEADER: usize = 108;
/// No header is so long: what claims to be is none.
const MOST_HEADER: usize = 1_024;
/// `PTH_TYPE_PACKET`: a frame follows.
const PACKET: u32 = 1;

/// The IP packet within a frame.
pub(crate) fn packet_in(frame: &[u8]) -> Result<Inner<'_>, NoSegment> {
    let header = le32(frame, 0)? as usize;
    if !(LEAST_HEADER..MOST_HEADER).contains(&header) {
        return Err(NoSegment::Malformed("pktap header of an impossible length"));
    }
    if le32(frame, 4)? != PACKET {
        return Err(NoSegment::OtherProtocol);
    }
    let number = le32(frame, 8)?;
    match LinkType::from_number(number) {
        None | Some(LinkType::Pktap | LinkType::User2) => Err(NoSegment::NotUnderstood(Unread::LinkType(number.cast_signed()))),
        Some(link) => link.packet_of(tail(frame, header)?),
    }
}

/// Whether a frame of `LINKTYPE_USER2`, which is for anybody's use, begins with such a header: Macs wrote them so.
pub(crate) fn begins(frame: &[u8]) -> bool {
    let word = |at| le32(frame, at).unwrap_or(u32::MAX);
    (LEAST_HEADER..MOST_HEADER).contains(&(word(0) as usize)) && word(4) <= PACKET && word(8) <= 1_024
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(link: u32, inside: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; 112];
        for (at, word) in [(0, 112_u32), (4, 1), (8, link)] {
            frame[at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
        frame.extend(inside);
        frame
    }

    #[test]
    fn each_frame_says_its_own_link_type() {
        let packet = [0x45; 20];
        let ethernet = [&[2; 12][..], &[8, 0], &packet].concat();
        for frame in [frame(1, &ethernet), frame(12, &packet), frame(0, &[&[2, 0, 0, 0][..], &packet].concat())] {
            for link in [LinkType::Pktap, LinkType::User2] {
                assert_eq!(link.packet_of(&frame).map(|inner| inner.bytes), Ok(&packet[..]));
            }
        }
    }

    #[test]
    fn what_is_no_such_header_is_not_taken_for_one() {
        let of = |link: LinkType, frame: &[u8]| link.packet_of(frame).map(|inner| inner.bytes.len());
        assert_eq!(of(LinkType::User2, &[0x45; 200]), Err(NoSegment::NotUnderstood(Unread::LinkType(149))));
        assert_eq!(of(LinkType::User2, &[]), Err(NoSegment::NotUnderstood(Unread::LinkType(149))));
        // USB, and a header within a header.
        assert_eq!(of(LinkType::Pktap, &frame(266, &[])), Err(NoSegment::NotUnderstood(Unread::LinkType(266))));
        assert_eq!(of(LinkType::Pktap, &frame(258, &[])), Err(NoSegment::NotUnderstood(Unread::LinkType(258))));
        assert_eq!(of(LinkType::Pktap, &[3, 0]), Err(NoSegment::Incomplete));
    }
}
