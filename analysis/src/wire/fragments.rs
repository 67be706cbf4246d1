//! Pieces of IP packets → whole packets (RFC 791 section 3.2, RFC 8200 section 4.5).
//!
//! In: the IP packets that [`crate::wire::packet::decode`] called fragments. Out: each whole packet once its last piece
//! is there, with a header as if it had never been cut. A piece that came already is left out. Pieces that overlap in any other way, or do
//! not agree where their packet ends, are of two packets (16 bits of identification come again soon, RFC 4963) or of somebody who means
//! harm: the earlier ones go (RFC 5722 drops all), and the piece that came last begins another packet. So do pieces that are too old.

use std::collections::VecDeque;

use crate::clock::{Domain, Instant, Span};
use crate::wire::packet::{FRAGMENT, extension};

/// Packets in pieces remembered at once; the oldest goes first.
const MOST_PENDING: usize = 256;
/// Behind the first piece that came, the others come sooner: Linux gives up after 30 s (`ipfrag_time`), RFC 791 asks for 15 s at least,
/// RFC 8200 for 60 s.
const LONGEST_WAIT: Span = Span::from_millis(30_000);
/// No IP packet is longer.
const MOST_BYTES: usize = 65_535;

/// Addresses, protocol and identification: what the pieces of one packet share.
type Key = Vec<u8>;

struct Pending<D> {
    key: Key,
    /// When its first piece came.
    since: Instant<D>,
    /// Headers before the fragmentable part, from the first piece.
    head: Option<Vec<u8>>,
    pieces: Vec<(usize, Vec<u8>)>,
    /// Bytes in them.
    there: usize,
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
pub struct Defragmenter<D>(VecDeque<Pending<D>>);

impl<D> Default for Defragmenter<D> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

struct Piece<'a> {
    key: Key,
    head: Vec<u8>,
    offset: usize,
    more: bool,
    body: &'a [u8],
}

impl<D: Domain> Defragmenter<D> {
    /// Takes one fragment, from its IP header on, that lay in `frame` and came at `at`; gives the whole packet if this completed it.
    pub fn push(&mut self, ip: &[u8], at: Instant<D>, frame: u64) -> Option<Whole> {
        let piece = match ip.first()? >> 4 {
            4 => piece4(ip)?,
            6 => piece6(ip)?,
            _ => return None,
        };
        if piece.end() > MOST_BYTES {
            return None;
        }
        self.0.retain(|p| (at - p.since).abs() <= LONGEST_WAIT);
        let known = self.0.iter().position(|p| p.key == piece.key);
        if let Some(index) = known {
            match self.0[index].takes(&piece) {
                Fit::Again => return None,
                Fit::Disagrees => drop(self.0.remove(index)),
                Fit::New => return self.add(index, piece, frame),
            }
        }
        if self.0.len() >= MOST_PENDING {
            self.0.pop_front();
        }
        let (pieces, frames) = (Vec::new(), Vec::new());
        self.0.push_back(Pending { key: piece.key.clone(), since: at, head: None, pieces, there: 0, frames, length: None });
        self.add(self.0.len() - 1, piece, frame)
    }

    fn add(&mut self, index: usize, piece: Piece<'_>, frame: u64) -> Option<Whole> {
        let pending = self.0.get_mut(index)?;
        if !piece.more {
            pending.length = Some(piece.end());
        }
        let place = pending.pieces.partition_point(|(offset, _)| *offset < piece.offset);
        pending.pieces.insert(place, (piece.offset, piece.body.to_vec()));
        pending.there += piece.body.len();
        pending.frames.push(frame);
        if piece.offset == 0 {
            pending.head = Some(piece.head);
        }
        let packet = pending.whole()?;
        let mut earlier = self.0.remove(index)?.frames;
        earlier.retain(|piece| *piece != frame);
        Some(Whole { packet, earlier })
    }
}

/// How a piece goes with those of its packet that are there.
enum Fit {
    /// It lies where nothing is yet.
    New,
    /// It is there already.
    Again,
    /// It overlaps another, or one of them lies behind the end that the other tells.
    Disagrees,
}

impl Piece<'_> {
    fn end(&self) -> usize {
        self.offset + self.body.len()
    }
}

impl<D> Pending<D> {
    fn takes(&self, piece: &Piece<'_>) -> Fit {
        let place = self.pieces.partition_point(|(offset, _)| *offset < piece.offset);
        let end = |(offset, bytes): &(usize, Vec<u8>)| offset + bytes.len();
        let there = self.pieces.get(place);
        let last = self.length == Some(piece.end());
        if there.is_some_and(|(offset, bytes)| *offset == piece.offset && bytes == piece.body) && last != piece.more {
            return Fit::Again;
        }
        let overlaps = there.is_some_and(|(offset, _)| *offset < piece.end() || *offset == piece.offset)
            || place.checked_sub(1).is_some_and(|before| end(&self.pieces[before]) > piece.offset);
        let behind_end = self.length.is_some_and(|length| !piece.more || piece.end() > length)
            || !piece.more && self.pieces.last().is_some_and(|last| end(last) > piece.end());
        if overlaps || behind_end { Fit::Disagrees } else { Fit::New }
    }

    /// The packet, if all of it is there: its pieces overlap nowhere.
    fn whole(&self) -> Option<Vec<u8>> {
        let (head, length) = (self.head.as_ref()?, self.length?);
        if self.there != length {
            return None;
        }
        let mut packet = head.clone();
        self.pieces.iter().for_each(|(_, bytes)| packet.extend_from_slice(bytes));
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
    while next != FRAGMENT {
        named_at = at;
        (next, at) = extension(next, at, ip)?.ok()?;
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

    use crate::clock::Unplaced;
    use crate::wire::packet::{LinkType, Transport, decode};

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

    type Pieces = Defragmenter<Unplaced>;

    fn second(n: i64) -> Instant<Unplaced> {
        Instant::from_nanos(n * 1_000_000_000)
    }

    /// The bodies of the packets that came together.
    fn whole(pieces: &[(i64, &[u8])]) -> Vec<Vec<u8>> {
        let mut defragmenter = Pieces::default();
        let push = |(frame, (at, piece)): (u64, &(i64, &[u8]))| defragmenter.push(piece, second(*at), frame);
        (0..).zip(pieces).filter_map(push).map(|whole| whole.packet[20..].to_vec()).collect()
    }

    proptest! {
        #[test]
        fn pieces_come_together_in_any_order(
            body in prop::collection::vec(any::<u8>(), 17..3_000), sizes in prop::collection::vec(1usize..60, 0..12), seed in any::<u64>(),
            again in 0usize..12,
        ) {
            let mut pieces = cut(&body, &sizes);
            pieces.sort_by_key(|p| seed.wrapping_mul(u64::from(p[7]) * 2 + 1).rotate_left(13));
            let last = pieces.len() - 1;
            let mut defragmenter = Pieces::default();
            // One of them, but for that which completes the packet, is captured twice.
            let twice = again % pieces.len();
            let captured = (0..).zip(&pieces).flat_map(|(n, p)| {
                std::iter::once((n, p)).chain((n as usize == twice && twice < last).then_some((99, p)))
            });
            let whole: Vec<Whole> = captured.filter_map(|(frame, p)| defragmenter.push(p, second(0), frame)).collect();
            prop_assert_eq!(whole.len(), 1);
            prop_assert_eq!(&whole[0].packet[20..], &body[..]);
            prop_assert_eq!(&whole[0].packet[6..8], &[0, 0]);
            prop_assert_eq!(&whole[0].earlier, &(0..pieces.len() as u64 - 1).collect::<Vec<_>>());
        }

        /// Fragments of both IP versions with a few bytes changed, at any time.
        #[test]
        fn hostile_fragments_are_harmless(
            sizes in prop::collection::vec(1usize..60, 1..9), v6 in any::<bool>(),
            odd in prop::collection::vec((0usize..20, 0usize..70, any::<u8>()), 0..9), cuts in prop::collection::vec(0usize..60, 9),
        ) {
            let mut pieces = cut(&[7; 500], &sizes);
            if v6 {
                pieces = pieces.iter().map(|p| as_ipv6(p, &[])).collect();
            }
            for (piece, at, byte) in odd {
                let index = piece % pieces.len();
                if let Some(place) = pieces[index].get_mut(at) {
                    *place = byte;
                }
            }
            let mut defragmenter = Pieces::default();
            for (n, (piece, cut)) in (0..).zip(pieces.iter().zip(cuts)) {
                // Most are whole.
                let len = piece.len().saturating_sub(cut.saturating_sub(50));
                if let Some(whole) = defragmenter.push(&piece[..len], second(n), n as u64) {
                    prop_assert!(whole.packet.len() <= MOST_BYTES + 60);
                }
            }
        }
    }

    /// The same piece in IPv6, behind these extension headers, each of eight bytes.
    fn as_ipv6(piece: &[u8], extensions: &[u8]) -> Vec<u8> {
        let body = &piece[20..];
        let len = (extensions.len() * 8 + 8 + body.len()) as u16;
        let mut headers = extensions.iter().copied().chain([FRAGMENT]);
        let mut ip = [&[0x60, 0, 0, 0][..], &len.to_be_bytes(), &[headers.next().unwrap_or(FRAGMENT), 64]].concat();
        ip.extend([[0x20; 16], [0x21; 16]].concat());
        for next in headers {
            ip.extend([next, 0, 0, 0, 0, 0, 0, 0]);
        }
        let (flags, offset) = (u16::from(piece[6] & 0x20 != 0), u16::from_be_bytes([piece[6] & 0x1f, piece[7]]) * 8);
        ip.extend([&[6, 0][..], &(offset | flags).to_be_bytes(), &[0, 0, 0xab, 0xcd], body].concat());
        ip
    }

    #[test]
    fn an_old_piece_is_no_part_of_a_new_packet() {
        let [old, new] = [cut(&[1; 80], &[5]), cut(&[2; 80], &[5])];
        // The other one of the old packet was lost.
        for orphan in &old {
            assert_eq!(whole(&[(0, orphan), (4_000, &new[0]), (4_000, &new[1])]), [[2; 80]]);
            assert_eq!(whole(&[(4_000, orphan), (0, &new[0]), (0, &new[1])]), [[2; 80]], "a clock that was set back");
        }
        // Nor soon afterwards, where it can be told.
        assert_eq!(whole(&[(0, &old[0]), (1, &new[0]), (1, &new[1])]), [[2; 80]]);
        assert_eq!(whole(&[(0, &old[1]), (1, &new[1]), (1, &new[0])]), [[2; 80]]);
        // Late, but of the same packet.
        assert_eq!(whole(&[(0, &old[1]), (29, &old[0])]), [[1; 80]]);
    }

    #[test]
    fn pieces_that_overlap_make_no_packet() {
        let (a, b) = (cut(&[1; 80], &[3, 3]), cut(&[2; 80], &[5]));
        let orders: [&[&[u8]]; 4] =
            [&[&a[0], &b[1], &a[1]], &[&a[0], &a[1], &b[1]], &[&a[2], &b[0], &a[0], &a[1]], &[&b[0], &a[1], &a[2]]];
        for order in orders {
            let pieces: Vec<_> = order.iter().map(|piece| (0, *piece)).collect();
            assert!(whole(&pieces).is_empty(), "{order:?}");
        }
        // The same place, and more of it.
        let longer = cut(&[2; 80], &[5]);
        assert_eq!(whole(&[(0, &a[0]), (0, &longer[0]), (0, &longer[1])]), [[2; 80]]);
        // Two ends.
        let short = cut(&[3; 40], &[3]);
        assert!(whole(&[(0, &a[2]), (0, &a[0]), (0, &short[1]), (0, &a[1])]).is_empty());
    }

    #[test]
    fn every_extension_header_that_decode_passes_over_may_lie_before_a_piece() {
        let body = [&[0x9c, 0x40, 1, 0xbb, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0, 9, 0, 0, 0, 0][..], &[7; 60]].concat();
        for extensions in [&[][..], &[0], &[43, 60], &[135], &[0, 43, 60, 135]] {
            let mut defragmenter = Pieces::default();
            let mut found = None;
            for piece in cut(&body, &[4]).iter().map(|piece| as_ipv6(piece, extensions)) {
                let Ok(Transport::Fragment(piece)) = decode(LinkType::RawIp, &piece) else { panic!("it is one: {extensions:?}") };
                found = found.or(defragmenter.push(piece, second(0), 0));
            }
            let packet = found.expect("it is whole").packet;
            let Ok(Transport::Tcp(segment)) = decode(LinkType::RawIp, &packet) else { panic!("it is TCP: {extensions:?}") };
            assert_eq!(segment.payload, [7; 60]);
        }
    }
}
