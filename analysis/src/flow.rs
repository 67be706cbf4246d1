//! One observer's view of TCP connections: what passed, in which order, at what time.
//!
//! A [`View`] speaks of *offsets* into each direction's byte stream (0 = the first byte after SYN), so
//! that two views of one connection can be compared byte by byte however the packets were cut, merged
//! (GRO, GSO), repeated or reordered on the way.

use std::collections::HashMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::clock::{Domain, Instant};
use crate::packet::{Flags, TcpSegment};

/// Packets remembered per connection; a handshake is over long before, bulk data is not wanted.
const MAX_PACKETS: usize = 2_048;
/// Bytes reassembled per direction: more than any handshake needs (TLS caps a message at 2^24 but
/// real flights with client certificates and post-quantum keys stay below this).
const MAX_BYTES: usize = 128 * 1024;

/// Which end sent a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The end that sent SYN.
    Client,
    /// The end that sent SYN-ACK.
    Server,
}

impl Side {
    /// The other end.
    #[must_use]
    pub fn peer(self) -> Self {
        match self {
            Side::Client => Side::Server,
            Side::Server => Side::Client,
        }
    }
}

/// The two endpoints of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Endpoints {
    /// The end that sent SYN.
    pub client: SocketAddr,
    /// The end that listened.
    pub server: SocketAddr,
}

/// One packet of a connection, as one observer saw it.
#[derive(Clone, Debug)]
pub struct Seen<D> {
    /// When, on the observer's clock.
    pub at: Instant<D>,
    /// Its number in the capture.
    pub packet: u64,
    /// Who sent it.
    pub from: Side,
    /// TCP flags.
    pub flags: Flags,
    /// Offset of its first payload byte.
    pub start: i64,
    /// Payload bytes on the wire.
    pub len: i64,
    /// Offset in the peer's stream up to which it acknowledges; absent without ACK.
    pub ack: Option<i64>,
    /// SACK blocks, as offsets in the peer's stream.
    pub sack: Vec<(i64, i64)>,
    /// IPv4 identification.
    pub ip_id: Option<u16>,
    /// TCP timestamp value.
    pub tsval: Option<u32>,
    /// Length of the IP packet.
    pub ip_len: u32,
}

impl<D: Domain> Seen<D> {
    /// Offset just after the last payload byte.
    pub fn end(&self) -> i64 {
        self.start + self.len
    }
    /// Whether it does nothing but acknowledge.
    pub fn pure_ack(&self) -> bool {
        self.len == 0 && self.flags.ack() && !self.flags.syn() && !self.flags.fin() && !self.flags.rst()
    }
    /// Whether it carries the byte before offset `end`.
    fn covers_last_byte_before(&self, end: i64) -> bool {
        self.len > 0 && self.start < end && self.end() >= end
    }
}

/// One connection as one observer saw it.
#[derive(Clone, Debug)]
pub struct View<D> {
    /// Who talks to whom.
    pub endpoints: Endpoints,
    /// Every packet, in the order of capture.
    pub packets: Vec<Seen<D>>,
    client_isn: Option<u32>,
    server_isn: Option<u32>,
    client_bytes: Reassembly,
    server_bytes: Reassembly,
}

impl<D: Domain> View<D> {
    fn new(endpoints: Endpoints) -> Self {
        Self {
            endpoints,
            packets: Vec::new(),
            client_isn: None,
            server_isn: None,
            client_bytes: Reassembly::default(),
            server_bytes: Reassembly::default(),
        }
    }

    /// The client's initial sequence number: with the server's, the name of a connection that
    /// survives address translation.
    pub fn client_isn(&self) -> Option<u32> {
        self.client_isn
    }

    /// The contiguous bytes that `side` sent, from offset 0.
    pub fn bytes(&self, side: Side) -> &[u8] {
        match side {
            Side::Client => &self.client_bytes.bytes,
            Side::Server => &self.server_bytes.bytes,
        }
    }

    /// Packets of one end.
    pub fn sent_by(&self, side: Side) -> impl DoubleEndedIterator<Item = &Seen<D>> {
        self.packets.iter().filter(move |p| p.from == side)
    }

    /// SYNs (from the client) or SYN-ACKs (from the server).
    pub fn syns(&self, side: Side) -> impl Iterator<Item = &Seen<D>> {
        self.sent_by(side).filter(|p| p.flags.syn())
    }

    /// The packet with which every byte of `[0, end)` had passed this observer at least once: where
    /// the observer stands with the receiver, the moment the receiver's kernel could deliver them.
    pub fn completed(&self, side: Side, end: i64) -> Option<&Seen<D>> {
        let mut covered = Ranges::default();
        self.sent_by(side).filter(|p| p.len > 0).find(|p| {
            covered.add(p.start, p.end());
            covered.prefix() >= end
        })
    }

    /// The first packet that carried the last byte before `end`.
    pub fn first_copy(&self, side: Side, end: i64) -> Option<&Seen<D>> {
        self.sent_by(side).find(|p| p.covers_last_byte_before(end))
    }

    /// Every packet that carried the last byte before `end`.
    pub fn copies(&self, side: Side, end: i64) -> impl Iterator<Item = &Seen<D>> {
        self.sent_by(side).filter(move |p| p.covers_last_byte_before(end))
    }

    /// The first packet of `side`'s peer that acknowledges everything `side` sent before `end`.
    pub fn first_ack(&self, side: Side, end: i64) -> Option<&Seen<D>> {
        self.sent_by(side.peer()).find(|p| !p.flags.rst() && p.ack.is_some_and(|ack| ack >= end))
    }

    /// Whether `side`'s peer acknowledges bytes that this observer never saw: the capture, not the
    /// network, lost them (DESIGN 5.7).
    pub fn capture_gap(&self, side: Side) -> bool {
        let mut covered = Ranges::default();
        self.packets.iter().any(|p| {
            if p.from == side {
                covered.add(p.start, p.end());
                false
            } else {
                // FIN takes one number that is no byte of the stream.
                p.ack.is_some_and(|ack| ack > covered.prefix() + 1 && self.packets.len() < MAX_PACKETS)
            }
        })
    }

    fn push(&mut self, at: Instant<D>, packet: u64, from: Side, segment: &TcpSegment<'_>) {
        if self.packets.len() >= MAX_PACKETS {
            return;
        }
        self.learn_isn(from, segment);
        let (Some(own), peer) = (self.isn(from), self.isn(from.peer())) else { return };
        let start = if segment.flags.syn() { 0 } else { offset(own, segment.seq) };
        self.packets.push(Seen {
            at,
            packet,
            from,
            flags: segment.flags,
            start,
            len: i64::from(segment.len),
            ack: peer.filter(|_| segment.flags.ack()).map(|isn| offset(isn, segment.ack)),
            sack: peer
                .map_or_else(Vec::new, |isn| segment.sack.iter().map(|(l, r)| (offset(isn, *l), offset(isn, *r))).collect()),
            ip_id: segment.ip_id,
            tsval: segment.tsval,
            ip_len: segment.ip_len,
        });
        match from {
            Side::Client => self.client_bytes.push(start, segment.payload),
            Side::Server => self.server_bytes.push(start, segment.payload),
        }
    }

    fn isn(&self, side: Side) -> Option<u32> {
        match side {
            Side::Client => self.client_isn,
            Side::Server => self.server_isn,
        }
    }

    /// SYN states the initial number; a capture that began later learns it from the first segment
    /// or from what the peer acknowledges.
    fn learn_isn(&mut self, from: Side, segment: &TcpSegment<'_>) {
        let (own, peer) = match from {
            Side::Client => (&mut self.client_isn, &mut self.server_isn),
            Side::Server => (&mut self.server_isn, &mut self.client_isn),
        };
        if segment.flags.syn() {
            *own = Some(segment.seq);
        }
        own.get_or_insert(segment.seq.wrapping_sub(1));
        if segment.flags.ack() {
            peer.get_or_insert(segment.ack.wrapping_sub(1));
        }
    }
}

/// Offset of sequence number `seq` in the stream whose SYN was `isn`; right across one wrap-around.
fn offset(isn: u32, seq: u32) -> i64 {
    i64::from(seq.wrapping_sub(isn.wrapping_add(1)) as i32)
}

/// Connections found in one capture.
#[derive(Debug)]
pub struct FlowTable<D> {
    views: Vec<View<D>>,
    open: HashMap<(SocketAddr, SocketAddr), usize>,
}

impl<D> Default for FlowTable<D> {
    fn default() -> Self {
        Self { views: Vec::new(), open: HashMap::new() }
    }
}

impl<D: Domain> FlowTable<D> {
    /// Takes one segment, seen at `at` as packet number `packet`.
    pub fn push(&mut self, at: Instant<D>, packet: u64, segment: &TcpSegment<'_>) {
        let forward = (segment.source, segment.destination);
        let known = self.open.get(&forward).copied();
        let syn = segment.flags.syn() && !segment.flags.ack();
        let index = match known {
            // A SYN with another number on a known 4-tuple is a new connection: the port was reused.
            Some(i) if syn && self.views[i].client_isn.is_some_and(|isn| isn != segment.seq) => None,
            other => other,
        }
        .unwrap_or_else(|| self.open_view(segment, syn));
        let view = &mut self.views[index];
        let from = if view.endpoints.client == segment.source { Side::Client } else { Side::Server };
        view.push(at, packet, from, segment);
    }

    /// The connections, in the order in which they began.
    pub fn into_views(self) -> Vec<View<D>> {
        self.views
    }

    fn open_view(&mut self, segment: &TcpSegment<'_>, syn: bool) -> usize {
        let source_is_client = syn || (!segment.flags.syn() && segment.source.port() > segment.destination.port());
        let (client, server) =
            if source_is_client { (segment.source, segment.destination) } else { (segment.destination, segment.source) };
        let index = self.views.len();
        self.views.push(View::new(Endpoints { client, server }));
        self.open.insert((client, server), index);
        self.open.insert((server, client), index);
        index
    }
}

/// The contiguous prefix of a byte stream, built from pieces in any order.
#[derive(Clone, Default, Debug)]
struct Reassembly {
    bytes: Vec<u8>,
    /// Pieces beyond the prefix.
    waiting: Vec<(i64, Vec<u8>)>,
}

impl Reassembly {
    fn push(&mut self, start: i64, payload: &[u8]) {
        if payload.is_empty() || self.bytes.len() >= MAX_BYTES {
            return;
        }
        if !self.append(start, payload) {
            if self.waiting.len() < 256 {
                self.waiting.push((start, payload.to_vec()));
            }
            return;
        }
        while let Some(i) = self.waiting.iter().position(|(s, _)| *s <= self.bytes.len() as i64) {
            let (start, piece) = self.waiting.swap_remove(i);
            self.append(start, &piece);
        }
    }

    /// Adds what of the piece is new, if it touches the prefix.
    fn append(&mut self, start: i64, payload: &[u8]) -> bool {
        let have = self.bytes.len() as i64;
        if start > have {
            return false;
        }
        if let Some(new) = usize::try_from(have - start).ok().and_then(|skip| payload.get(skip..)) {
            self.bytes.extend_from_slice(new);
        }
        true
    }
}

/// A set of byte ranges, kept sorted and merged.
#[derive(Default, Debug)]
struct Ranges(Vec<(i64, i64)>);

impl Ranges {
    fn add(&mut self, start: i64, end: i64) {
        if start >= end {
            return;
        }
        self.0.push((start, end));
        self.0.sort_unstable();
        let mut merged: Vec<(i64, i64)> = Vec::with_capacity(self.0.len());
        for (s, e) in self.0.drain(..) {
            match merged.last_mut() {
                Some(last) if s <= last.1 => last.1 = last.1.max(e),
                _ => merged.push((s, e)),
            }
        }
        self.0 = merged;
    }

    /// How far the bytes reach without a hole from offset 0.
    fn prefix(&self) -> i64 {
        self.0.first().filter(|(s, _)| *s <= 0).map_or(0, |(_, e)| *e)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The bytes come out whole whatever the order, overlap and repetition of the pieces.
        #[test]
        fn reassembly_does_not_depend_on_order(
            bytes in prop::collection::vec(any::<u8>(), 1..400),
            cuts in prop::collection::vec((0usize..400, 1usize..80), 0..40),
            seed in any::<u64>(),
        ) {
            let mut pieces: Vec<(usize, usize)> = (0..bytes.len()).step_by(37).map(|s| (s, (s + 37).min(bytes.len()))).collect();
            pieces.extend(cuts.iter().filter(|(s, _)| *s < bytes.len()).map(|(s, l)| (*s, (s + l).min(bytes.len()))));
            pieces.sort_by_key(|(s, e)| (*s as u64).wrapping_mul(seed | 1).wrapping_add(*e as u64).rotate_left(17));
            let mut stream = Reassembly::default();
            let mut ranges = Ranges::default();
            for (s, e) in pieces {
                stream.push(s as i64, &bytes[s..e]);
                ranges.add(s as i64, e as i64);
            }
            prop_assert_eq!(ranges.prefix(), bytes.len() as i64);
            prop_assert_eq!(stream.bytes, bytes);
        }
    }

    #[test]
    fn offsets_survive_wrap_around() {
        assert_eq!(offset(u32::MAX, 0), 0);
        assert_eq!(offset(u32::MAX - 5, 10), 15);
        assert_eq!(offset(7, 8), 0);
        assert_eq!(offset(7, 7), -1, "a keep-alive repeats the byte before");
    }
}
