//! A ring of packets in a fixed piece of memory, with a chain through the packets of each flow.
//!
//! In: packets, each with its flow. Out: one flow's packets, or all since some time, without a search. The oldest packets are
//! overwritten; a chain ends where what it leads to has been. Nothing is allocated after [`Chains::new`].
//!
//! ```text
//! index:  flow ─► its last packet            arena: … │ packet │ packet │ packet │ …   (positions count from the first ever)
//!                                                       ▲────────┘ prev
//! ```

use analysis::clock::Instant;
use analysis::wire::packet::{Flags, LinkType};

use crate::clock::Monotonic;
use crate::ends::FlowName;

/// Bytes of an entry before its frame.
const HEADER: usize = 40;
/// Places of the index that a flow may take.
const WAYS: usize = 8;
/// One place of the index for so many bytes of packets: a handshake has ten times as many, so hardly ever do nine want one bucket.
const BYTES_PER_PLACE: usize = 512;
/// No position.
const NONE: u64 = u64::MAX;

/// A packet in the ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry<'a> {
    /// Its flow.
    pub flow: FlowName,
    /// When it passed.
    pub at: Instant<Monotonic>,
    /// Length on the wire.
    pub wire_len: u32,
    /// The interface's place in the list of those that are read.
    pub interface: u16,
    /// Whether it left this host.
    pub outgoing: bool,
    /// TCP's flags.
    pub flags: Flags,
    /// How the frame begins.
    pub link: LinkType,
    /// The bytes captured.
    pub bytes: &'a [u8],
}

#[derive(Clone, Copy)]
struct Place {
    /// 0: free.
    flow: u64,
    last: u64,
}

const FREE: Place = Place { flow: 0, last: NONE };

/// The ring.
pub struct Chains {
    arena: Vec<u8>,
    index: Vec<[Place; WAYS]>,
    /// Where the next entry goes.
    head: u64,
    /// The oldest entry that is whole.
    tail: u64,
    entries: u64,
    evicted: u64,
    crowded: u64,
}

impl Chains {
    /// A ring of so many bytes, its index (a 32nd of it) apart.
    pub fn new(bytes: usize) -> Self {
        let bytes = bytes.max(1 << 17).next_multiple_of(8);
        let buckets = (bytes / BYTES_PER_PLACE / WAYS).next_power_of_two();
        // Written now, so that every page is there before the first packet comes.
        let index = vec![[FREE; WAYS]; buckets];
        Self { arena: vec![0xff; bytes], index, head: 0, tail: 0, entries: 0, evicted: 0, crowded: 0 }
    }

    /// Bytes of memory, all of it.
    pub fn memory(&self) -> usize {
        self.arena.len() + size_of_val(&self.index[..])
    }

    /// Takes a packet.
    pub fn push(&mut self, entry: Entry<'_>) {
        let most = self.arena.len() / 4;
        let bytes = &entry.bytes[..entry.bytes.len().min(most)];
        let size = (HEADER + bytes.len()).next_multiple_of(8);
        let mut at = self.offset(self.head);
        if at + size > self.arena.len() {
            // An entry lies in one piece: what is left at the end is skipped.
            let left = self.arena.len() - at;
            self.make_room(left);
            self.put(at, left as u32); // entries are multiples of 8 bytes: so is what is left, and a length fits
            if left >= HEADER {
                self.put(at + 4, NO_ENTRY);
            }
            self.head += left as u64;
            at = 0;
        }
        self.make_room(size);
        let position = self.head;
        let prev = self.link(entry.flow, position);
        let [low, high] = entry.interface.to_le_bytes();
        self.put(at, size as u32);
        self.put(at + 4, bytes.len() as u32);
        self.put(at + 8, entry.wire_len);
        self.put(at + 12, u32::from_le_bytes([entry.link as u8 | u8::from(entry.outgoing) << 7, entry.flags.0, low, high]));
        self.put_long(at + 16, entry.at.nanos().cast_unsigned());
        self.put_long(at + 24, prev);
        self.put_long(at + 32, entry.flow.0);
        self.arena[at + HEADER..at + HEADER + bytes.len()].copy_from_slice(bytes);
        self.head += size as u64;
        self.entries += 1;
    }

    /// The packets of a flow, oldest first.
    pub fn flow(&self, flow: FlowName) -> Vec<Entry<'_>> {
        let mut found = Vec::new();
        let mut position = self.last(flow).unwrap_or(NONE);
        while position != NONE && position >= self.tail {
            let at = self.offset(position);
            found.push(self.entry(at));
            position = self.long(at + 24);
        }
        found.reverse();
        found
    }

    /// Whether the ring has packets of a flow.
    pub fn has(&self, flow: FlowName) -> bool {
        self.last(flow).is_some()
    }

    /// Ends a flow's chain: its packets stay until they are overwritten, but under no name.
    pub fn forget(&mut self, flow: FlowName) {
        let bucket = self.bucket(flow);
        self.index[bucket].iter_mut().filter(|p| p.flow == flow.0).for_each(|p| *p = FREE);
    }

    /// All packets since then, oldest first.
    pub fn since(&self, at: Instant<Monotonic>) -> impl Iterator<Item = Entry<'_>> {
        self.all().skip_while(move |entry| entry.at < at)
    }

    /// Time of the oldest packet: how far back the ring reaches.
    pub fn oldest_at(&self) -> Option<Instant<Monotonic>> {
        self.all().next().map(|entry| entry.at)
    }

    /// Packets in the ring.
    pub fn len(&self) -> u64 {
        self.entries - self.evicted
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Packets overwritten so far.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Flows that lost their place in the index to others before their packets were overwritten.
    pub fn crowded(&self) -> u64 {
        self.crowded
    }

    fn all(&self) -> impl Iterator<Item = Entry<'_>> {
        let mut position = self.tail;
        std::iter::from_fn(move || {
            while position < self.head {
                let at = self.offset(position);
                position += u64::from(self.word(at));
                if self.is_entry(at) {
                    return Some(self.entry(at));
                }
            }
            None
        })
    }

    /// Forgets the oldest entries until `size` bytes are free.
    fn make_room(&mut self, size: usize) {
        while self.head + size as u64 - self.tail > self.arena.len() as u64 {
            let at = self.offset(self.tail);
            self.evicted += u64::from(self.is_entry(at));
            self.tail += u64::from(self.word(at));
        }
    }

    /// Notes that the flow's last packet is at `position`; gives the one before.
    fn link(&mut self, flow: FlowName, position: u64) -> u64 {
        let tail = self.tail;
        let bucket = self.bucket(flow);
        let places = &mut self.index[bucket];
        let alive = |place: &Place| place.flow != 0 && place.last >= tail;
        let known = places.iter_mut().find(|p| p.flow == flow.0);
        if let Some(place) = known {
            let prev = if alive(place) { place.last } else { NONE };
            place.last = position;
            return prev;
        }
        // Of places that are all taken, the one whose flow was silent longest.
        let Some(place) = places.iter_mut().min_by_key(|p| if alive(p) { p.last + 1 } else { 0 }) else { return NONE };
        self.crowded += u64::from(alive(place));
        *place = Place { flow: flow.0, last: position };
        NONE
    }

    fn last(&self, flow: FlowName) -> Option<u64> {
        let place = self.index[self.bucket(flow)].iter().find(|p| p.flow == flow.0)?;
        (place.last >= self.tail).then_some(place.last)
    }

    fn bucket(&self, flow: FlowName) -> usize {
        // The number of buckets is a power of two.
        flow.0 as usize & (self.index.len() - 1)
    }

    fn offset(&self, position: u64) -> usize {
        (position % self.arena.len() as u64) as usize
    }

    fn is_entry(&self, at: usize) -> bool {
        self.word(at) as usize >= HEADER && self.word(at + 4) != NO_ENTRY
    }

    fn entry(&self, at: usize) -> Entry<'_> {
        let len = self.word(at + 4) as usize;
        let [link, flags, low, high] = self.word(at + 12).to_le_bytes();
        Entry {
            flow: FlowName(self.long(at + 32)),
            at: Instant::from_nanos(self.long(at + 16).cast_signed()),
            wire_len: self.word(at + 8),
            interface: u16::from_le_bytes([low, high]),
            outgoing: link & 0x80 != 0,
            flags: Flags(flags),
            link: LINKS.into_iter().find(|l| *l as u8 == link & 0x7f).unwrap_or(LinkType::Ethernet),
            bytes: &self.arena[at + HEADER..at + HEADER + len],
        }
    }

    fn word(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.arena[at..at + 4].try_into().unwrap_or_default())
    }

    fn long(&self, at: usize) -> u64 {
        u64::from_ne_bytes(self.arena[at..at + 8].try_into().unwrap_or_default())
    }

    fn put(&mut self, at: usize, word: u32) {
        self.arena[at..at + 4].copy_from_slice(&word.to_ne_bytes());
    }

    fn put_long(&mut self, at: usize, long: u64) {
        self.arena[at..at + 8].copy_from_slice(&long.to_ne_bytes());
    }
}

/// In place of an entry's length: nothing lies here.
const NO_ENTRY: u32 = u32::MAX;

const LINKS: [LinkType; 14] = LinkType::ALL;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::SocketAddr;

    fn end(n: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, (n >> 8) as u8, n as u8], 1_000 + n))
    }

    fn entry(flow: u16, at: i64, bytes: &[u8]) -> Entry<'_> {
        let flow = FlowName::of(end(flow), end(0));
        let (wire_len, flags) = (bytes.len() as u32, Flags(at as u8));
        let outgoing = at % 2 == 0;
        let at = Instant::from_nanos(at);
        Entry { flow, at, wire_len, interface: 0x1207, outgoing, flags, link: LinkType::Ethernet, bytes }
    }

    proptest! {
        /// Whatever comes, the ring is the end of the list of all packets, and each chain is its flow's part of that.
        #[test]
        fn chains_are_what_a_search_would_find(packets in proptest::collection::vec((0_u16..40, 0_usize..5_000), 1..600)) {
            let mut ring = Chains::new(1 << 17);
            let mut all: Vec<(FlowName, i64, Vec<u8>)> = Vec::new();
            for (at, (flow, len)) in packets.into_iter().enumerate() {
                let bytes = vec![at as u8; len];
                ring.push(entry(flow, at as i64, &bytes));
                all.push((entry(flow, 0, &[]).flow, at as i64, bytes));
            }
            let held: Vec<(FlowName, i64, Vec<u8>)> = ring.since(Instant::MIN).map(|e| (e.flow, e.at.nanos(), e.bytes.to_vec())).collect();
            prop_assert_eq!(held.len() as u64, ring.len());
            prop_assert!(all.ends_with(&held));
            let bytes: usize = held.iter().map(|(_, _, b)| b.len() + HEADER).sum();
            prop_assert!(held.len() == all.len() || bytes > (1 << 17) * 3 / 4, "it forgets only when it is full: {} bytes", bytes);
            for e in ring.since(Instant::MIN) {
                let at = e.at.nanos();
                prop_assert_eq!((e.interface, e.outgoing, e.flags, e.link), (0x1207, at % 2 == 0, Flags(at as u8), LinkType::Ethernet));
            }
            prop_assert_eq!(ring.oldest_at().map(Instant::nanos), held.first().map(|h| h.1));
            prop_assert_eq!(ring.crowded(), 0);
            for flow in 0..40 {
                let name = entry(flow, 0, &[]).flow;
                let chain: Vec<i64> = ring.flow(name).iter().map(|e| e.at.nanos()).collect();
                let search: Vec<i64> = held.iter().filter(|h| h.0 == name).map(|h| h.1).collect();
                prop_assert_eq!(ring.has(name), !search.is_empty());
                prop_assert_eq!(chain, search);
            }
        }
    }

    #[test]
    fn a_packet_larger_than_the_ring_takes_is_cut() {
        let mut ring = Chains::new(1 << 17);
        ring.push(entry(1, 1, &vec![1; 1 << 20]));
        let held = ring.flow(entry(1, 0, &[]).flow);
        assert_eq!((held.len(), held[0].bytes.len(), held[0].wire_len), (1, 1 << 15, 1 << 20));
    }
}
