//! Pieces of IP packets → whole packets (RFC 791 section 3.2, RFC 8200 section 4.5).
//!
//! In: the IP packets that [`crate::wire::packet::decode`] called fragments. Out: each whole packet once its last piece
//! is there, with a header as if it had never been cut. Overlapping pieces that disagree keep what came first.

use std::collections::VecDeque;

/// Packets in pieces remembered at once; the oldest goes first.
const MOST_PENDING: usize = 256;
/// No IP packet is longer.
const MOST_BYTES: usize = 65_535;

/// Addresses, protocol and identification: what the pieces of one packet share.
type Key = Vec<u8>;

struct Pending {
    key: Key,
    /// Headers before the fragmentable part, from the first piece.
    head: Option<Vec<u8>>,
    pieces: Vec<(usize, Vec<u8>)>,
    /// The frames that held them.
    frames: Vec<u64>,
    length: Option<usize>,
}

/// A packet that is whole again.
pub struct Whole {
    /// The packet, from its IP header on.
    pub packet: Vec<u8>,
    /// The frames that held its pieces, but for the last that came.
    pub earlier: Vec<u64>,
}

/// Puts fragments together.
#[derive(Default)]
pub struct Defragmenter(VecDeque<Pending>);

struct Piece<'a> {
    key: Key,
    head: Vec<u8>,
    offset: usize,
    more: bool,
    body: &'a [u8],
}

impl Defragmenter {
    /// Takes one fragment, from its IP header on, that lay in `frame`; gives the whole packet if this completed it.
    pub fn push(&mut self, ip: &[u8], frame: u64) -> Option<Whole> {
        let piece = match ip.first()? >> 4 {
            4 => piece4(ip)?,
            6 => piece6(ip)?,
            _ => return None,
        };
        if piece.offset + piece.body.len() > MOST_BYTES {
            return None;
        }
        let index = self.0.iter().position(|p| p.key == piece.key).unwrap_or_else(|| {
            if self.0.len() >= MOST_PENDING {
                self.0.pop_front();
            }
            let (pieces, frames) = (Vec::new(), Vec::new());
            self.0.push_back(Pending { key: piece.key.clone(), head: None, pieces, frames, length: None });
            self.0.len() - 1
        });
        let pending = &mut self.0[index];
        if piece.offset == 0 {
            pending.head.get_or_insert(piece.head);
        }
        if !piece.more {
            pending.length = Some(piece.offset + piece.body.len());
        }
        if pending.pieces.iter().all(|(offset, _)| *offset != piece.offset) {
            pending.pieces.push((piece.offset, piece.body.to_vec()));
            pending.frames.push(frame);
        }
        let packet = pending.whole()?;
        let mut earlier = self.0.remove(index)?.frames;
        earlier.retain(|piece| *piece != frame);
        Some(Whole { packet, earlier })
    }
}

impl Pending {
    fn whole(&mut self) -> Option<Vec<u8>> {
        let (head, length) = (self.head.as_ref()?, self.length?);
        self.pieces.sort_by_key(|(offset, _)| *offset);
        let mut body = Vec::with_capacity(length);
        for (offset, bytes) in &self.pieces {
            let known = body.len().checked_sub(*offset)?;
            body.extend(bytes.get(known..).unwrap_or_default());
        }
        if body.len() < length {
            return None;
        }
        let mut packet = head.clone();
        packet.extend(&body[..length]);
        let total = u16::try_from(packet.len()).ok()?;
        match packet.first()? >> 4 {
            4 => packet.get_mut(2..4)?.copy_from_slice(&total.to_be_bytes()),
            _ => packet.get_mut(4..6)?.copy_from_slice(&total.checked_sub(40)?.to_be_bytes()),
        }
        Some(packet)
    }
}

fn piece4(ip: &[u8]) -> Option<Piece<'_>> {
    let header = usize::from(ip.first()? & 0x0f) * 4;
    let total = usize::from(u16::from_be_bytes([*ip.get(2)?, *ip.get(3)?]));
    let flags = u16::from_be_bytes([*ip.get(6)?, *ip.get(7)?]);
    let mut head = ip.get(..header)?.to_vec();
    // The whole packet is no fragment.
    head.get_mut(6..8)?.fill(0);
    let key = [ip.get(12..20)?, ip.get(9..10)?, ip.get(4..6)?].concat();
    // What a snap length cut off cannot be put together.
    let body = ip.get(header..total)?;
    Some(Piece { key, head, offset: usize::from(flags & 0x1fff) * 8, more: flags & 0x2000 != 0, body })
}

fn piece6(ip: &[u8]) -> Option<Piece<'_>> {
    let total = 40 + usize::from(u16::from_be_bytes([*ip.get(4)?, *ip.get(5)?]));
    // Walk to the fragment header, remembering which byte names it.
    let (mut named_at, mut next, mut at) = (6, *ip.get(6)?, 40);
    while next != 44 {
        if !matches!(next, 0 | 43 | 60) {
            return None;
        }
        (named_at, next) = (at, *ip.get(at)?);
        at += 8 + usize::from(*ip.get(at + 1)?) * 8;
    }
    let flags = u16::from_be_bytes([*ip.get(at + 2)?, *ip.get(at + 3)?]);
    let mut head = ip.get(..at)?.to_vec();
    *head.get_mut(named_at)? = *ip.get(at)?;
    let key = [ip.get(8..40)?, ip.get(at + 4..at + 8)?].concat();
    Some(Piece { key, head, offset: usize::from(flags & 0xfff8), more: flags & 1 != 0, body: ip.get(at + 8..total)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cut(body: &[u8], sizes: &[usize]) -> Vec<Vec<u8>> {
        let (mut found, mut at) = (Vec::new(), 0_usize);
        for size in sizes.iter().map(|s| s * 8).chain([usize::MAX]) {
            let end = at.saturating_add(size).min(body.len());
            let more = u16::from(end < body.len()) << 13;
            let mut ip = vec![0x45, 0, 0, 0, 0xab, 0xcd, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
            ip[2..4].copy_from_slice(&((20 + end - at) as u16).to_be_bytes());
            ip[6..8].copy_from_slice(&(more | (at / 8) as u16).to_be_bytes());
            ip.extend(&body[at..end]);
            found.push(ip);
            at = end;
            if at == body.len() {
                break;
            }
        }
        found
    }

    proptest! {
        #[test]
        fn pieces_come_together_in_any_order(
            body in prop::collection::vec(any::<u8>(), 17..3_000), sizes in prop::collection::vec(1usize..60, 0..12), seed in any::<u64>(),
        ) {
            let mut pieces = cut(&body, &sizes);
            pieces.sort_by_key(|p| seed.wrapping_mul(u64::from(p[7]) * 2 + 1).rotate_left(13));
            let mut defragmenter = Defragmenter::default();
            let whole: Vec<Whole> = (0..).zip(&pieces).filter_map(|(frame, p)| defragmenter.push(p, frame)).collect();
            prop_assert_eq!(whole.len(), 1);
            prop_assert_eq!(&whole[0].packet[20..], &body[..]);
            prop_assert_eq!(&whole[0].packet[6..8], &[0, 0]);
            prop_assert_eq!(&whole[0].earlier, &(0..pieces.len() as u64 - 1).collect::<Vec<_>>());
        }

        #[test]
        fn hostile_fragments_are_harmless(packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..120), 0..40)) {
            let mut defragmenter = Defragmenter::default();
            for packet in &packets {
                let _ = defragmenter.push(packet, 0);
            }
        }
    }
}
