//! What the recorder remembers: handshake packets in a ring of fixed size, SYN packets in one of their own.
//!
//! A stranger can send any number of SYN packets: they must not push out anything else. A connection's SYN packets move to the main
//! ring when it shows that it is one.

use analysis::clock::{Instant, Unplaced};
use analysis::wire::packet::{LinkType, Transport, decode};
use capture::chains::{Chains, Entry};
use capture::clock::{Monotonic, WallOffset};
use capture::ends::FlowName;
use capture::seen::{Frame, Seen};

use crate::screen::Isn;

/// SYN packets get this part of the memory.
const SYN_PART: usize = 8;

/// A packet taken out of memory; its time is the monotonic clock's until somebody says what the wall clock showed then.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Packet<D = Monotonic> {
    /// When it passed.
    pub at: Instant<D>,
    /// Length on the wire.
    pub wire_len: u32,
    /// The interface's place in the configuration.
    pub interface: u16,
    /// Whether it left this host.
    pub outgoing: bool,
    /// How the frame begins.
    pub link: LinkType,
    /// The bytes captured.
    pub bytes: Vec<u8>,
}

impl From<Entry<'_>> for Packet {
    fn from(e: Entry<'_>) -> Self {
        Self {
            at: e.at,
            wire_len: e.wire_len,
            interface: e.interface,
            outgoing: e.outgoing,
            link: e.link,
            bytes: e.bytes.to_vec(),
        }
    }
}

impl Packet {
    /// The same with the wall clock's time.
    pub fn on_wall_clock(self, offset: WallOffset) -> Packet<Unplaced> {
        let Self { at, wire_len, interface, outgoing, link, bytes } = self;
        Packet { at: offset.to_wall(at), wire_len, interface, outgoing, link, bytes }
    }
}

/// Handshake packets.
pub struct Memory {
    main: Chains,
    syns: Chains,
}

impl Memory {
    /// So many bytes in all, the indices apart.
    pub fn new(bytes: usize) -> Self {
        let syns = bytes / SYN_PART;
        Self { main: Chains::new(bytes - syns), syns: Chains::new(syns) }
    }

    /// Takes a packet of a flow; gives whether it belongs to a connection. A SYN belongs to none until something else follows:
    /// then `moved` is given what waited.
    pub fn push(&mut self, seen: &Seen<'_>, mut moved: impl FnMut(Entry<'_>)) -> bool {
        let &Seen { frame, flow, flags, .. } = seen;
        let Frame { at, wire_len, outgoing, link, bytes, .. } = frame;
        let entry = Entry { flow, at, wire_len, interface: frame.interface as u16, outgoing, flags, link, bytes };
        let known = self.main.has(flow);
        if seen.syn() && !known {
            self.syns.push(entry);
            return false;
        }
        if !known {
            for syn in self.syns.flow(flow) {
                self.main.push(syn);
                moved(syn);
            }
            self.syns.forget(flow);
        }
        self.main.push(entry);
        true
    }

    /// The packets of a flow, oldest first; with SYN packets of one that shows nothing else.
    pub fn flow(&self, flow: FlowName) -> Vec<Packet> {
        let mut packets: Vec<Packet> = self.syns.flow(flow).into_iter().chain(self.main.flow(flow)).map(Packet::from).collect();
        packets.sort_by_key(|packet| packet.at); // two buffers, many CPUs: not all packets come in order
        packets
    }

    /// The number with which the client of a flow's latest connection began; absent if its SYN is not in memory.
    pub fn last_isn(&self, flow: FlowName) -> Isn {
        let entries = self.syns.flow(flow).into_iter().chain(self.main.flow(flow));
        let syn = entries.filter(|entry| entry.flags.syn() && !entry.flags.ack()).max_by_key(|entry| entry.at)?;
        match decode(syn.link, syn.bytes) {
            Ok(Transport::Tcp(segment)) => Some(segment.seq),
            _ => None,
        }
    }

    /// When the latest packet of a flow passed.
    pub fn last_at(&self, flow: FlowName) -> Option<Instant<Monotonic>> {
        self.syns.flow(flow).iter().chain(&self.main.flow(flow)).map(|entry| entry.at).max()
    }

    /// Whether there is anything of a flow.
    pub fn has(&self, flow: FlowName) -> bool {
        self.main.has(flow) || self.syns.has(flow)
    }

    /// All packets since then of connections that are more than a SYN, oldest first.
    pub fn since(&self, at: Instant<Monotonic>) -> impl Iterator<Item = Entry<'_>> {
        self.main.since(at)
    }

    /// Time of the oldest packet: how far back memory reaches.
    pub fn oldest_at(&self) -> Option<Instant<Monotonic>> {
        self.main.oldest_at()
    }

    /// The rings: packets of connections, and SYN packets.
    pub fn rings(&self) -> [(&'static str, &Chains); 2] {
        [("handshakes", &self.main), ("syns", &self.syns)]
    }
}
