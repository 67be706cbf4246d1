//! All connections of one observer, in bounded memory.
//!
//! In: segments. A connection is a [`View`] until somebody takes it; then only its name is remembered, so that the bulk
//! data behind a handshake costs one lookup. Names of connections long silent are forgotten.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::hash::{Hash, Hasher};
use std::net::IpAddr;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::clock::{Domain, Instant, Span};
use crate::tcp::flow::{Endpoints, Side, View};
use crate::wire::packet::{Addresses, TcpSegment, halves};

/// Names remembered of connections that were taken.
const MOST_NAMES: usize = 200_000;
/// Bytes held by views in all, reserved room included, before the oldest must go.
const MOST_HELD: usize = 40 << 20;
/// Views in all before the oldest must go: names are looked through for those to forget while not all of them are of views.
const MOST_VIEWS: usize = MOST_NAMES / 2;
/// A handshake in which nothing happens for so long is over.
const IDLE: Span = Span::from_millis(90_000);
/// So many places in the order of views are not worth a look for those that are gone.
const MOST_GONE: usize = 4_096;
/// A SYN carries no more data (TCP Fast Open, RFC 7413), which the SYN-ACK acknowledges with it.
const MOST_WITH_SYN: u32 = 65_535;
/// No view.
const TAKEN: u32 = u32::MAX;

/// Both endpoints, the lesser first: one key for both directions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Key {
    V4(V4),
    V6(V6),
}

impl Key {
    /// A segment's key, and whether its sender is the lesser end.
    #[inline(always)]
    fn of(segment: &TcpSegment<'_>) -> (Self, bool) {
        let [from, to] = segment.ports;
        match segment.addresses {
            Addresses::V4(both) => {
                let [a, b, c, d, e, f, g, h] = *both;
                Self::v4([u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h])], from, to)
            }
            Addresses::V6(both) => Self::v6(halves(both).map(u128::from_be_bytes), from, to),
        }
    }

    fn between(ends: &Endpoints) -> Self {
        let (from, to) = (ends.client.port(), ends.server.port());
        match (ends.client.ip(), ends.server.ip()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => Self::v4([a.to_bits(), b.to_bits()], from, to).0,
            (a, b) => Self::v6([bits(a), bits(b)], from, to).0,
        }
    }

    #[inline(always)]
    fn v4([source, destination]: [u32; 2], from: u16, to: u16) -> (Self, bool) {
        let end = |address: u32, port: u16| u64::from(address) << 16 | u64::from(port);
        let lesser = end(source, from) <= end(destination, to);
        let ends = if lesser { [source, destination, ports(from, to)] } else { [destination, source, ports(to, from)] };
        (Key::V4(V4(ends)), lesser)
    }

    #[inline(always)]
    fn v6([source, destination]: [u128; 2], from: u16, to: u16) -> (Self, bool) {
        let lesser = (source, from) <= (destination, to);
        let (a, b, ports) = if lesser { (source, destination, ports(from, to)) } else { (destination, source, ports(to, from)) };
        (Key::V6(V6 { ends: [(a >> 64) as u64, a as u64, (b >> 64) as u64, b as u64], ports }), lesser)
    }
}

/// Two addresses and both ports: twelve bytes, for there are many of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct V4([u32; 3]);

impl Hash for V4 {
    #[inline(always)]
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [a, b, ports] = self.0;
        state.write_u64(u64::from(a) << 32 | u64::from(b));
        state.write_u32(ports);
    }
}

/// The same for IPv6, without the alignment of `u128`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct V6 {
    ends: [u64; 4],
    ports: u32,
}

impl Hash for V6 {
    #[inline(always)]
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.ends.iter().for_each(|half| state.write_u64(*half));
        state.write_u32(self.ports);
    }
}

fn ports(a: u16, b: u16) -> u32 {
    u32::from(a) << 16 | u32::from(b)
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().into(),
        IpAddr::V6(v6) => v6.into(),
    }
}

/// Names by [`Key`]: those of IPv4 take a third of the room, which shows where there are many.
#[derive(Default, Debug)]
struct Names {
    v4: HashMap<V4, Name, RandomState>,
    v6: HashMap<V6, Name, RandomState>,
}

impl Names {
    #[inline(always)]
    fn get_mut(&mut self, key: Key) -> Option<&mut Name> {
        match key {
            Key::V4(key) => self.v4.get_mut(&key),
            Key::V6(key) => self.v6.get_mut(&key),
        }
    }

    fn insert(&mut self, key: Key, name: Name) {
        match key {
            Key::V4(key) => self.v4.insert(key, name),
            Key::V6(key) => self.v6.insert(key, name),
        };
    }

    fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    fn retain(&mut self, keep: impl Fn(&Name) -> bool) {
        self.v4.retain(|_, name| keep(name));
        self.v6.retain(|_, name| keep(name));
    }
}

/// Connections remembered that begun lately and were taken: what a host asked others.
const MOST_OTHERS: usize = 4_096;

/// A connection that was taken, as far as it matters to others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Other<D> {
    /// Who talks to whom.
    pub endpoints: Endpoints,
    /// When it began.
    pub from: Instant<D>,
    /// When the server's last data came; absent if none did.
    pub to: Option<Instant<D>>,
    /// Frames of both.
    pub packets: [u64; 2],
    /// When its server first sent anything but a refusal; absent if it never did.
    pub answered: Option<Instant<D>>,
    /// Whether its client sent any data.
    pub used: bool,
    /// When it was taken: it had begun before.
    seen: Instant<D>,
}

impl<D: Domain> Other<D> {
    fn of(view: &View<D>) -> Option<Self> {
        let first = view.packets.first()?;
        let last = view.sent_by(Side::Server).rfind(|p| !p.is_empty());
        let packets = [first.packet, last.map_or(first.packet, |p| p.packet)];
        let seen = view.last_at()?;
        let answered = view.sent_by(Side::Server).find(|p| !p.flags.rst()).map(|p| p.at);
        let used = view.sent_by(Side::Client).any(|p| !p.is_empty());
        Some(Self { endpoints: view.endpoints, from: first.at, to: last.map(|p| p.at), packets, answered, used, seen })
    }
}

#[derive(Clone, Copy, Debug)]
struct Name {
    /// Among [`FlowTable::others`], counted from the first ever, modulo 2^32.
    other: u32,
    view: u32,
    client_isn: Option<u32>,
    /// When it was last looked up, modulo 2^16.
    epoch: u16,
    /// Whether the client is the lesser end.
    client_is_lesser: bool,
}

/// A view in the table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Slot(u32);

/// A view to look at once it may have been idle: when its last packet came as of the last look, the number of its first, and its place.
type Look<D> = Reverse<(Instant<D>, u64, Slot)>;

/// The connections of one observer.
#[derive(Debug)]
pub struct FlowTable<D> {
    names: Names,
    views: Vec<Option<Box<View<D>>>>,
    free: Vec<u32>,
    /// Views by the order in which they began, each with the number of its first packet; may name views that are gone.
    order: VecDeque<(Slot, u64)>,
    /// The same, the one that may be idle first on top: a view is looked at again [`IDLE`] behind its last packet, whatever others do.
    looks: BinaryHeap<Look<D>>,
    held: usize,
    epoch: u16,
    others: VecDeque<Other<D>>,
    /// How many of `others` are gone, modulo 2^32.
    forgotten: u32,
}

impl<D: Domain> Default for FlowTable<D> {
    fn default() -> Self {
        Self {
            names: Names::default(),
            views: Vec::new(),
            free: Vec::new(),
            order: VecDeque::new(),
            looks: BinaryHeap::new(),
            held: 0,
            epoch: 0,
            others: VecDeque::new(),
            forgotten: 0,
        }
    }
}

impl<D: Domain> FlowTable<D> {
    /// Takes one segment, seen at `at` as packet number `packet`; gives its connection's view, unless that was taken.
    #[inline]
    pub fn push(&mut self, at: Instant<D>, packet: u64, segment: &TcpSegment<'_>) -> Option<Slot> {
        let (key, from_lesser) = Key::of(segment);
        let syn = segment.flags.syn() && !segment.flags.ack();
        let epoch = self.epoch;
        let known = self.names.get_mut(key).map(|name| {
            if name.epoch != epoch {
                name.epoch = epoch; // written only where it changes: other packets' names share the line
            }
            *name
        });
        let (slot, client_is_lesser) = match known {
            Some(name) if !(segment.flags.syn() && self.begins_anew(name, segment, from_lesser)) => {
                let from_client = name.client_is_lesser == from_lesser;
                if name.view == TAKEN {
                    if segment.len > 0 && !from_client {
                        self.touch(name.other, at, packet);
                    }
                    return None;
                }
                (Slot(name.view), name.client_is_lesser)
            }
            _ => self.open(key, (at, packet), segment, syn, from_lesser),
        };
        let view = self.views[slot.0 as usize].as_mut()?;
        let from = if client_is_lesser == from_lesser { Side::Client } else { Side::Server };
        // Overlapping pieces take less room once they are put together.
        self.held = self.held.wrapping_add_signed(view.push(at, packet, from, segment));
        Some(slot)
    }

    /// Whether a SYN or SYN-ACK on a known 4-tuple is of a new connection: the port was reused. So it is where its numbers are not those of
    /// the one that is known.
    #[inline(never)]
    fn begins_anew(&self, name: Name, segment: &TcpSegment<'_>, from_lesser: bool) -> bool {
        let from_client = name.client_is_lesser == from_lesser;
        if segment.flags.ack() {
            // Of one whose SYN was seen, a SYN-ACK that does not fit is what a server offers beside, or what something on the way rewrote.
            if name.view != TAKEN && name.client_isn.is_some() {
                return false;
            }
            let acknowledged = segment.ack.wrapping_sub(1);
            let near =
                |isn: u32| acknowledged.wrapping_sub(isn) <= MOST_WITH_SYN || isn.wrapping_sub(acknowledged) <= MOST_WITH_SYN;
            return from_client || !self.client_isn(name).is_some_and(near);
        }
        if let Some(isn) = name.client_isn {
            return isn != segment.seq;
        }
        // One that was first seen in mid-connection, or a SYN that was captured behind the packets that answer it.
        !from_client || self.client_isn(name).is_none_or(|isn| isn.wrapping_sub(segment.seq) > MOST_WITH_SYN)
    }

    /// The client's initial number: that of its SYN, or what its view has learned of it.
    fn client_isn(&self, name: Name) -> Option<u32> {
        let view = self.views.get(name.view as usize).and_then(Option::as_ref);
        name.client_isn.or_else(|| view?.isn(Side::Client))
    }

    /// The view in a slot that [`Self::push`] gave.
    pub fn view(&mut self, slot: Slot) -> Option<&mut View<D>> {
        self.views.get_mut(slot.0 as usize)?.as_deref_mut()
    }

    /// Takes a view out; packets of its connection are ignored from now on.
    pub fn take(&mut self, slot: Slot) -> Option<Box<View<D>>> {
        let view = self.views.get_mut(slot.0 as usize)?.take()?;
        self.held -= view.held();
        self.free.push(slot.0);
        let key = Key::between(&view.endpoints);
        if let Some(name) = self.names.get_mut(key).filter(|name| name.view == slot.0) {
            name.view = TAKEN;
            name.client_isn = view.isn(Side::Client);
            name.other = self.forgotten.wrapping_add(self.others.len() as u32);
            if let Some(other) = Other::of(&view) {
                self.others.push_back(other);
                if self.others.len() > MOST_OTHERS {
                    self.others.pop_front();
                    self.forgotten = self.forgotten.wrapping_add(1);
                }
            }
        }
        Some(view)
    }

    /// Connections begun at `from` or later, of those remembered.
    pub fn others_since(&self, from: Instant<D>) -> impl Iterator<Item = Other<D>> {
        let taken = self.others.iter().rev().take_while(move |other| other.seen >= from).copied();
        let watched = self.order.iter().rev().filter_map(|place| self.ordered(*place));
        let begun = move |view: &&View<D>| view.packets.first().is_some_and(|p| p.at >= from);
        let watched = watched.take_while(begun).filter_map(|view| Other::of(view));
        taken.chain(watched).filter(move |other| other.from >= from)
    }

    /// How many views there are.
    fn watched(&self) -> usize {
        self.views.len() - self.free.len()
    }

    /// The view at a place of the order, unless it is gone.
    fn ordered(&self, (slot, began): (Slot, u64)) -> Option<&View<D>> {
        self.views[slot.0 as usize].as_deref().filter(|view| view.began_with(began))
    }

    /// Notes that a packet of a view came in pieces, in frames of these numbers and its own.
    pub fn note_pieces(&mut self, slot: Slot, packet: u64, frames: Vec<u64>) {
        if let Some(view) = self.views.get_mut(slot.0 as usize).and_then(Option::as_mut) {
            self.held += view.note_pieces(packet, frames);
        }
    }

    /// Notes that a connection that was taken got more data from its server.
    fn touch(&mut self, other: u32, at: Instant<D>, packet: u64) {
        // What is gone wraps round to a place beyond the last.
        let place = other.wrapping_sub(self.forgotten);
        if let Some(other) = self.others.get_mut(place as usize) {
            (other.to, other.packets[1]) = (Some(at), packet);
        }
    }

    /// Takes a view in which nothing happened for long, the one silent longest first; the oldest if memory is short.
    pub fn overdue(&mut self, now: Instant<D>) -> Option<Box<View<D>>> {
        while self.held > MOST_HELD || self.watched() > MOST_VIEWS {
            let place = self.order.pop_front()?;
            if self.ordered(place).is_some() {
                return self.take(place.0);
            }
        }
        loop {
            let Reverse((last, began, slot)) = *self.looks.peek()?;
            if now - last <= IDLE {
                return None;
            }
            self.looks.pop();
            let Some(view) = self.ordered((slot, began)) else { continue };
            match view.last_at() {
                Some(last) if now - last <= IDLE => self.looks.push(Reverse((last, began, slot))),
                _ => return self.take(slot),
            }
        }
    }

    /// The connections that nobody took, in the order in which they began.
    pub fn into_views(self) -> Vec<View<D>> {
        self.into_boxed_views().map(|view| *view).collect()
    }

    /// The same one by one: there may be very many of them, and whoever is done with one lets go of it.
    pub fn into_boxed_views(self) -> impl Iterator<Item = Box<View<D>>> {
        let (order, mut views) = (self.order, self.views);
        order.into_iter().filter_map(move |(slot, began)| views[slot.0 as usize].take_if(|view| view.began_with(began)))
    }

    /// Begins a connection; gives its view and whether its client is the lesser end.
    fn open(
        &mut self,
        key: Key,
        (at, packet): (Instant<D>, u64),
        segment: &TcpSegment<'_>,
        syn: bool,
        from_lesser: bool,
    ) -> (Slot, bool) {
        if self.names.len() >= MOST_NAMES {
            let epoch = self.epoch;
            self.names.retain(|name| name.view != TAKEN || name.epoch == epoch);
            self.epoch = self.epoch.wrapping_add(1);
        }
        let source_is_client = syn || (!segment.flags.syn() && segment.ports[0] > segment.ports[1]);
        let (client, server) =
            if source_is_client { (segment.source(), segment.destination()) } else { (segment.destination(), segment.source()) };
        let client_is_lesser = source_is_client == from_lesser;
        let view = Box::new(View::new(Endpoints { client, server }));
        self.held += view.held();
        let index = match self.free.pop() {
            Some(index) => {
                self.views[index as usize] = Some(view);
                index
            }
            None => {
                self.views.push(Some(view));
                self.views.len() as u32 - 1
            }
        };
        let client_isn = syn.then_some(segment.seq);
        let other = self.forgotten.wrapping_sub(1);
        self.names.insert(key, Name { other, view: index, client_isn, epoch: self.epoch, client_is_lesser });
        let most = MOST_GONE.max(2 * self.watched());
        let views = &self.views;
        let there = |slot: Slot, began: u64| views[slot.0 as usize].as_ref().is_some_and(|view| view.began_with(began));
        if self.order.len() >= most {
            self.order.retain(|(slot, began)| there(*slot, *began));
        }
        if self.looks.len() >= most {
            self.looks.retain(|Reverse((_, began, slot))| there(*slot, *began));
        }
        self.order.push_back((Slot(index), packet));
        self.looks.push(Reverse((at, packet, Slot(index))));
        (Slot(index), client_is_lesser)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    use crate::clock::Unplaced;
    use crate::wire::packet::{Flags, TcpOptions};

    fn syn(addresses: &[u8; 8], port: u16) -> TcpSegment<'_> {
        TcpSegment {
            addresses: Addresses::V4(addresses),
            ports: [port, 443],
            seq: 7,
            ack: 0,
            flags: Flags(0x02),
            len: 0,
            payload: &[],
            options: TcpOptions(&[]),
            ip_id: None,
            ip_len: 40,
            ttl: 64,
            window: 0,
        }
    }

    #[test]
    fn one_that_lasts_does_not_keep_the_places_of_those_that_are_gone() {
        let mut table = FlowTable::<Unplaced>::default();
        for n in 0..20_000_u32 {
            let [.., a, b] = n.to_be_bytes();
            let addresses = [10, 0, a, b, 192, 0, 2, 1];
            let at = Instant::from_nanos(i64::from(n) * 1_000_000);
            let slot = table.push(at, u64::from(n), &syn(&addresses, 4_000)).expect("a new connection");
            if n % 1_000 != 3 {
                table.take(slot);
            }
            assert!(table.overdue(at).is_none(), "none is idle");
        }
        assert!(table.order.len() <= MOST_GONE, "{} places for 20 views", table.order.len());
        let began: Vec<u64> = table.into_views().iter().map(|view| view.packets[0].packet).collect();
        assert_eq!(began, (0..20).map(|thousand| thousand * 1_000 + 3).collect::<Vec<_>>(), "in the order in which they began");
    }

    const ENDS: [&[u8; 8]; 2] = [&[10, 0, 0, 1, 192, 0, 2, 1], &[192, 0, 2, 1, 10, 0, 0, 1]];

    /// A segment between these ports, the client's first: (sent by the server, flags, seq, ack, bytes).
    type Sent = (bool, u8, u32, u32, u32);

    fn sent(ports: [u16; 2], (by_server, flags, seq, ack, len): Sent) -> TcpSegment<'static> {
        let [client, server] = ports;
        let ports = if by_server { [server, client] } else { ports };
        let addresses = Addresses::V4(ENDS[usize::from(by_server)]);
        TcpSegment { addresses, ports, seq, ack, flags: Flags(flags), len, ..syn(ENDS[0], client) }
    }

    /// The packets of each connection found, by their places.
    fn connections(ports: [u16; 2], packets: &[Sent], take_behind: Option<usize>) -> Vec<Vec<u64>> {
        let (mut table, mut taken) = (FlowTable::<Unplaced>::default(), Vec::new());
        for (place, packet) in packets.iter().enumerate() {
            let at = Instant::from_nanos(place as i64 * 1_000_000);
            let slot = table.push(at, place as u64, &sent(ports, *packet));
            if take_behind == Some(place) {
                taken.extend(slot.and_then(|slot| table.take(slot)).map(|view| *view));
            }
        }
        taken.extend(table.into_views());
        taken.iter().map(|view| view.packets.iter().map(|p| p.packet).collect()).collect()
    }

    /// Both kinds of ports: whose number is the greater tells who is taken for the client in mid-connection.
    const PORTS: [[u16; 2]; 2] = [[40_000, 443], [40_000, 44_330]];
    const OLD: u32 = 0x7000_0000;

    #[test]
    fn a_port_that_is_used_again_behind_the_tail_of_a_connection_begins_another() {
        let tails: [&[Sent]; 4] = [
            &[(false, 0x10, OLD, OLD, 0), (true, 0x10, OLD, OLD + 1, 0)],
            &[(true, 0x18, OLD, OLD, 9), (false, 0x10, OLD, OLD + 9, 0)],
            &[(false, 0x18, OLD, OLD, 9)],
            &[(true, 0x04, OLD, 0, 0)],
        ];
        let new: [&[Sent]; 2] = [
            &[(false, 0x02, 555_000, 0, 0), (true, 0x12, 9_000, 555_001, 0), (false, 0x10, 555_001, 9_001, 0)],
            // The capture has lost its SYN, or sees one direction only.
            &[(true, 0x12, 9_000, 555_001, 0), (true, 0x10, 9_001, 555_100, 9)],
        ];
        for (ports, tail, new, taken) in PORTS
            .iter()
            .flat_map(|ports| tails.iter().map(move |tail| (ports, tail)))
            .flat_map(|(ports, tail)| new.iter().map(move |new| (ports, tail, new)))
            .flat_map(|(ports, tail, new)| [true, false].map(|taken| (ports, tail, new, taken)))
        {
            let packets = [*tail, *new].concat();
            let (old, all) = (tail.len() as u64, packets.len() as u64);
            let found = connections(*ports, &packets, taken.then_some(tail.len() - 1));
            let expected: Vec<Vec<u64>> = vec![(0..old).collect(), (old..all).collect()];
            assert_eq!(found, expected, "{ports:?} {tail:?} {new:?}, taken: {taken}");
        }
    }

    #[test]
    fn what_was_captured_behind_what_answers_it_is_of_the_same_connection() {
        let orders: [&[Sent]; 5] = [
            // SYN-ACK first; the same with data in the SYN, which it acknowledges too.
            &[(true, 0x12, 9_000, 1_001, 0), (false, 0x02, 1_000, 0, 0), (false, 0x10, 1_001, 9_001, 0)],
            &[(true, 0x12, 9_000, 1_301, 0), (false, 0x02, 1_000, 0, 300), (false, 0x10, 1_301, 9_001, 0)],
            // What behind them was captured first.
            &[(false, 0x10, 1_001, 9_001, 0), (false, 0x02, 1_000, 0, 0), (true, 0x12, 9_000, 1_001, 0)],
            &[(false, 0x18, 1_001, 9_001, 300), (true, 0x12, 9_000, 1_001, 0), (false, 0x02, 1_000, 0, 0)],
            // Repeated, and with another number of the server.
            &[(false, 0x02, 1_000, 0, 0), (false, 0x02, 1_000, 0, 0), (true, 0x12, 9_000, 1_001, 0), (true, 0x12, 70, 1_001, 0)],
        ];
        for order in orders {
            let all: Vec<u64> = (0..order.len() as u64).collect();
            assert_eq!(connections(PORTS[0], order, None), [all], "{order:?}");
        }
    }

    #[test]
    fn a_syn_ack_of_its_own_syn_ends_up_with_it_whatever_it_acknowledges() {
        let rewritten: [Sent; 3] =
            [(false, 0x02, 1_000, 0, 0), (true, 0x12, 9_000, 0x5000_0001, 0), (true, 0x12, 9_000, 1_001, 0)];
        assert_eq!(connections(PORTS[0], &rewritten, None), [[0, 1, 2]]);
        // What comes late, of one that is over, begins nothing.
        let late: [Sent; 3] = [(false, 0x02, 1_000, 0, 0), (true, 0x12, 9_000, 1_001, 0), (false, 0x02, 1_000, 0, 0)];
        assert_eq!(connections(PORTS[0], &late, Some(0)), [[0]]);
    }

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn one_that_never_falls_silent_keeps_none_behind_it_from_being_told() {
        let mut table = FlowTable::<Unplaced>::default();
        let mut push = |second: i64, port: u16, flags: u8| {
            let at = Instant::from_nanos(second * SECOND);
            table.push(at, (second * 10) as u64 + u64::from(port % 10), &sent([port, 443], (false, flags, 7, 0, 0)));
            let told: Vec<u16> = std::iter::from_fn(|| table.overdue(at)).map(|view| view.endpoints.client.port()).collect();
            told
        };
        push(0, 4_000, 0x02);
        // One that goes on for a while, and one that does not.
        push(1, 4_001, 0x02);
        push(2, 4_002, 0x02);
        push(40, 4_001, 0x10);
        let told: Vec<(i64, Vec<u16>)> = (1..10).map(|n| n * 30).map(|at| (at, push(at, 4_000, 0x10))).collect();
        let told: Vec<_> = told.into_iter().filter(|(_, ports)| !ports.is_empty()).collect();
        assert_eq!(
            told,
            [(120, vec![4_002]), (150, vec![4_001])],
            "each 90 s behind its own last packet, as soon as anything comes"
        );
        assert!(push(900, 4_003, 0x02) == [4_000] && table.views.iter().flatten().count() == 1);
    }

    #[test]
    fn looks_at_what_is_gone_are_forgotten() {
        let mut table = FlowTable::<Unplaced>::default();
        for n in 0..20_000_u32 {
            let at = Instant::from_nanos(i64::from(n) * 1_000);
            let [.., a, b] = n.to_be_bytes();
            let slot = table.push(at, u64::from(n), &syn(&[10, 0, a, b, 192, 0, 2, 1], 4_000)).expect("a new connection");
            table.take(slot);
        }
        assert!(table.looks.len() <= MOST_GONE, "{} looks for no view", table.looks.len());
    }

    #[test]
    fn where_memory_is_short_the_oldest_goes_and_a_syn_that_nobody_answers_takes_little() {
        let mut table = FlowTable::<Unplaced>::default();
        let (mut begun, mut told) = (0_u32, Vec::new());
        while told.len() < 3 {
            let [.., a, b, c] = begun.to_be_bytes();
            let at = Instant::from_nanos(i64::from(begun));
            table.push(at, u64::from(begun), &syn(&[10, a, b, c, 192, 0, 2, 1], 4_000));
            begun += 1;
            told.extend(table.overdue(at).map(|view| (view.packets[0].packet, view.packets.capacity())));
        }
        assert_eq!(told, [(0, 1), (1, 1), (2, 1)]);
        assert_eq!(begun as usize, MOST_VIEWS + 3, "so many take {} bytes", table.held);
        // Of those that hold more, fewer.
        let payload = [7; 9_000];
        for n in 0..(MOST_HELD / 10_500) as u32 {
            let [.., a, b] = n.to_be_bytes();
            let addresses = [11, 0, a, b, 192, 0, 2, 1];
            let data = TcpSegment { flags: Flags(0x18), len: 9_000, payload: &payload, ..syn(&addresses, 4_000) };
            table.push(Instant::from_nanos(0), u64::from(begun + n), &data);
            while let Some(view) = table.overdue(Instant::from_nanos(0)) {
                told.push((view.packets[0].packet, view.packets.capacity()));
            }
        }
        assert!(table.held <= MOST_HELD && table.watched() < MOST_VIEWS - 9_000, "{} hold {}", table.watched(), table.held);
        assert!(told.is_sorted() && told.iter().all(|(packet, _)| *packet < u64::from(begun)), "the oldest first");
    }

    proptest! {
        /// What is counted is what all views hold, whatever passes: pieces, holes, SACKs, what is sent again.
        #[test]
        fn all_that_views_hold_is_counted(
            passed in prop::collection::vec((0u16..3, any::<bool>(), 0usize..6, 0u32..4_000, 0u32..600, any::<bool>(), any::<bool>()), 1..200),
        ) {
            let mut table = FlowTable::<Unplaced>::default();
            let sack = [1, 1, 5, 10, 0, 0, 0, 9, 0, 0, 1, 9];
            let bytes = [&[22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[7; 600]].concat();
            for (number, (port, by_server, kind, seq, len, with_sack, in_pieces)) in (0..).zip(&passed) {
                let flags = [0x02, 0x12, 0x10, 0x18, 0x18, 0x18][*kind];
                let len = if flags == 0x18 { *len } else { 0 };
                let seq = if flags & 0x02 == 0 { *seq } else { 0 };
                let payload = &bytes[..len as usize];
                let options = TcpOptions(if *with_sack { &sack } else { &[] });
                let segment = TcpSegment { payload, options, ..sent([4_000 + port, 443], (*by_server, flags, seq, 1, len)) };
                if let Some(slot) = table.push(Instant::from_nanos(number), number as u64, &segment)
                    && *in_pieces
                {
                    table.note_pieces(slot, number as u64, vec![1, 2, 3]);
                }
                prop_assert_eq!(table.held, table.views.iter().flatten().map(|view| view.held()).sum::<usize>());
            }
            let all = table.views.len() as u32;
            (0..all).for_each(|slot| drop(table.take(Slot(slot))));
            prop_assert_eq!(table.held, 0);
        }
    }
}
