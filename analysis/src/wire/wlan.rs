//! 802.11 frames as a card in monitor mode gives them, with or without a radiotap header.
//!
//! Data frames that are not encrypted hold LLC and an EtherType. Every function takes bytes and cannot panic on any input.

use crate::wire::packet::{NoSegment, Unread, be16, byte, le16, le32, tail};
use crate::wire::tunnel::{Inner, behind_llc};

/// Bits of radiotap's `Flags` field.
const DATA_PAD: u8 = 0x20;
const BAD_FCS: u8 = 0x40;
/// Beyond the last subframe of an A-MSDU there is at most padding and a frame check sequence.
const MOST_TRAILER: usize = 3 + 4;

/// The IP packet within a frame that begins with a radiotap header (<https://www.radiotap.org>).
pub(crate) fn behind_radiotap(frame: &[u8]) -> Result<Inner<'_>, NoSegment> {
    let header = usize::from(le16(frame, 2)?);
    if byte(frame, 0)? != 0 || header < 8 {
        return Err(NoSegment::Malformed("radiotap header of an unknown version or an impossible length"));
    }
    let wlan = tail(frame, header)?;
    let flags = flags(&frame[..header]).unwrap_or_default();
    if flags & BAD_FCS != 0 {
        return Err(NoSegment::Malformed("802.11 frame that failed its frame check sequence"));
    }
    packet_in(wlan, flags & DATA_PAD != 0)
}

/// Radiotap's `Flags` field, which follows `TSFT` if that is there.
fn flags(header: &[u8]) -> Option<u8> {
    let present = le32(header, 4).ok()?;
    let (mut word, mut at) = (present, 8);
    while word >> 31 == 1 {
        word = le32(header, at).ok()?;
        at += 4;
    }
    if present & 1 != 0 {
        at = at.next_multiple_of(8) + 8;
    }
    (present & 2 != 0).then(|| byte(header, at).ok()).flatten()
}

/// The IP packet within an 802.11 frame; `padded` if its header is filled up to a multiple of four bytes.
pub(crate) fn packet_in(frame: &[u8], padded: bool) -> Result<Inner<'_>, NoSegment> {
    let (kind, flags) = (byte(frame, 0)?, byte(frame, 1)?);
    // Protocol version 0, type data, and data in it.
    if kind & 0x4f != 0x08 {
        return Err(NoSegment::OtherProtocol);
    }
    if flags & 0x40 != 0 {
        return Err(NoSegment::NotUnderstood(Unread::WlanProtected));
    }
    if flags & 0x04 != 0 || byte(frame, 22)? & 0x0f != 0 {
        return Err(NoSegment::NotUnderstood(Unread::WlanFragment));
    }
    let mut at = if flags & 0x03 == 0x03 { 30 } else { 24 };
    let mut aggregate = false;
    if kind & 0x80 != 0 {
        aggregate = byte(frame, at)? & 0x80 != 0;
        at += if flags & 0x80 != 0 { 6 } else { 2 }; // QoS control, and HT control
    }
    if padded {
        at = at.next_multiple_of(4);
    }
    if aggregate {
        let len = usize::from(be16(frame, at + 12)?);
        at += 14;
        if frame.len() > at + len + MOST_TRAILER {
            return Err(NoSegment::NotUnderstood(Unread::WlanAggregate));
        }
    }
    behind_llc(frame, at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PACKET: [u8; 20] = [0x45; 20];
    const LLC: [u8; 8] = [0xaa, 0xaa, 3, 0, 0, 0, 8, 0];

    fn frame(kind: u8, flags: u8, more: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; 24];
        (frame[0], frame[1]) = (kind, flags);
        [&frame, more, &LLC, &PACKET].concat()
    }

    fn read(frame: &[u8]) -> Result<&[u8], NoSegment> {
        packet_in(frame, false).map(|inner| inner.bytes)
    }

    #[test]
    fn data_frames_hold_packets() {
        assert_eq!(read(&frame(0x08, 0x01, &[])), Ok(&PACKET[..]));
        assert_eq!(read(&frame(0x88, 0x02, &[0, 0])), Ok(&PACKET[..]));
        assert_eq!(read(&frame(0x88, 0x83, &[0; 12])), Ok(&PACKET[..]), "four addresses, QoS control, HT control");
        assert_eq!(packet_in(&frame(0x88, 0x01, &[0; 4]), true).map(|inner| inner.bytes), Ok(&PACKET[..]), "padded");
        let single = [&[0x80, 0][..], &[2; 12], &[0, 28]].concat();
        assert_eq!(read(&frame(0x88, 0x01, &single)), Ok(&PACKET[..]), "an aggregate of one");
    }

    #[test]
    fn what_cannot_be_read_says_so() {
        let several = [&[0x80, 0][..], &[2; 12], &[0, 8]].concat();
        assert_eq!(read(&frame(0x88, 0x01, &several)), Err(NoSegment::NotUnderstood(Unread::WlanAggregate)));
        assert_eq!(read(&frame(0x08, 0x41, &[])), Err(NoSegment::NotUnderstood(Unread::WlanProtected)));
        assert_eq!(read(&frame(0x08, 0x05, &[])), Err(NoSegment::NotUnderstood(Unread::WlanFragment)));
        // A beacon, an acknowledgement, a frame without data.
        for kind in [0x80, 0xd4, 0x48, 0xc8] {
            assert_eq!(read(&frame(kind, 0, &[])), Err(NoSegment::OtherProtocol));
        }
    }

    #[test]
    fn radiotap_says_where_the_frame_begins_and_whether_it_is_whole() {
        let behind = |header: &[u8], frame: &[u8]| {
            let all = [header, frame].concat();
            behind_radiotap(&all).map(|inner| inner.bytes.to_vec())
        };
        let plain = frame(0x08, 0x01, &[]);
        assert_eq!(behind(&[0, 0, 8, 0, 0, 0, 0, 0], &plain), Ok(PACKET.to_vec()));
        // Two words of what is present, a timestamp, then the flags.
        let mut header = [0; 25];
        (header[2], header[4], header[7]) = (25, 3, 0x80);
        assert_eq!(behind(&header, &plain), Ok(PACKET.to_vec()));
        header[24] = DATA_PAD;
        assert_eq!(behind(&header, &frame(0x88, 0x01, &[0; 4])), Ok(PACKET.to_vec()));
        header[24] = BAD_FCS;
        assert!(matches!(behind(&header, &plain), Err(NoSegment::Malformed(_))));
        assert!(matches!(behind(&[0, 0, 7, 0, 0, 0, 0, 0], &plain), Err(NoSegment::Malformed(_))));
    }

    proptest! {
        #[test]
        fn hostile_frames_are_harmless(bytes in prop::collection::vec(any::<u8>(), 0..120), padded in any::<bool>()) {
            let _ = packet_in(&bytes, padded);
            let _ = behind_radiotap(&bytes);
        }
    }
}
