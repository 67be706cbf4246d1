//! All connections of one observer, in bounded memory.
//!
//! In: segments. A connection is a [`View`] until somebody takes it; then only its name is remembered, so that the bulk
//! data behind a handshake costs one lookup. Names of connections long silent are forgotten.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr, SocketAddrV4};

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::clock::{Domain, Instant, Span};
use crate::flow::{Endpoints, Side, View};
use crate::packet::TcpSegment;

/// Names remembered of connections that were taken.
const MOST_NAMES: usize = 200_000;
/// Bytes held by views in all before the oldest must go.
const MOST_HELD: usize = 40 << 20;
/// A handshake in which nothing happens for so long is over.
const IDLE: Span = Span::from_millis(90_000);
/// No view.
const TAKEN: u32 = u32::MAX;

/// Both endpoints, the lesser first: one key for both directions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Key {
    V4(V4),
    V6([u128; 2], u32),
}

impl Key {
    #[inline(always)]
    fn of(a: SocketAddr, b: SocketAddr) -> Self {
        match (a, b) {
            (SocketAddr::V4(a), SocketAddr::V4(b)) => {
                let end = |e: SocketAddrV4| u64::from(u32::from(*e.ip())) << 16 | u64::from(e.port());
                let (a, b) = (end(a).min(end(b)), end(a).max(end(b)));
                Key::V4(V4([(a >> 16) as u32, (b >> 16) as u32, (a << 16) as u32 | b as u16 as u32]))
            }
            (a, b) => {
                let ends = ((bits(a.ip()), a.port()), (bits(b.ip()), b.port()));
                let ((a, a_port), (b, b_port)) = if ends.0 <= ends.1 { ends } else { (ends.1, ends.0) };
                Key::V6([a, b], ports(a_port, b_port))
            }
        }
    }
}

/// Two addresses and both ports: twelve bytes, for there are many of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct V4([u32; 3]);

impl Hash for V4 {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [a, b, ports] = self.0;
        state.write_u64(u64::from(a) << 32 | u64::from(b));
        state.write_u32(ports);
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
    v6: HashMap<([u128; 2], u32), Name, RandomState>,
}

impl Names {
    #[inline(always)]
    fn get_mut(&mut self, key: Key) -> Option<&mut Name> {
        match key {
            Key::V4(key) => self.v4.get_mut(&key),
            Key::V6(addresses, ports) => self.v6.get_mut(&(addresses, ports)),
        }
    }

    fn insert(&mut self, key: Key, name: Name) {
        match key {
            Key::V4(key) => self.v4.insert(key, name),
            Key::V6(addresses, ports) => self.v6.insert((addresses, ports), name),
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
    /// When it was taken: it had begun before.
    seen: Instant<D>,
}

impl<D: Domain> Other<D> {
    fn of(view: &View<D>) -> Option<Self> {
        let first = view.packets.first()?;
        let last = view.sent_by(Side::Server).rfind(|p| !p.is_empty());
        let packets = [first.packet, last.map_or(first.packet, |p| p.packet)];
        let seen = view.last_at()?;
        Some(Self { endpoints: view.endpoints, from: first.at, to: last.map(|p| p.at), packets, seen })
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
}

/// A view in the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slot(u32);

/// The connections of one observer.
#[derive(Debug)]
pub struct FlowTable<D> {
    names: Names,
    views: Vec<Option<Box<View<D>>>>,
    free: Vec<u32>,
    /// Views by the order in which they began; may name views that are gone.
    order: VecDeque<(Slot, Key)>,
    held: usize,
    epoch: u16,
    others: VecDeque<Other<D>>,
    /// How many of `others` are gone, modulo 2^32.
    forgotten: u32,
}

impl<D> Default for FlowTable<D> {
    fn default() -> Self {
        Self {
            names: Names::default(),
            views: Vec::new(),
            free: Vec::new(),
            order: VecDeque::new(),
            held: 0,
            epoch: 0,
            others: VecDeque::new(),
            forgotten: 0,
        }
    }
}

impl<D: Domain> FlowTable<D> {
    /// Takes one segment, seen at `at` as packet number `packet`; gives its connection's view, unless that was taken.
    pub fn push(&mut self, at: Instant<D>, packet: u64, segment: &TcpSegment<'_>) -> Option<Slot> {
        let key = Key::of(segment.source, segment.destination);
        let syn = segment.flags.syn() && !segment.flags.ack();
        let epoch = self.epoch;
        let known = self.names.get_mut(key).map(|name| {
            if name.epoch != epoch {
                name.epoch = epoch; // written only where it changes: other packets' names share the line
            }
            *name
        });
        let slot = match known {
            // A SYN with another number on a known 4-tuple is a new connection: the port was reused.
            Some(name) if !(syn && name.client_isn.is_some_and(|isn| isn != segment.seq)) => {
                if name.view == TAKEN {
                    self.touch(name.other, at, packet, segment);
                    return None;
                }
                Slot(name.view)
            }
            _ => self.open(key, segment, syn),
        };
        let view = self.views[slot.0 as usize].as_mut()?;
        let from = if view.endpoints.client == segment.source { Side::Client } else { Side::Server };
        let before = view.held();
        view.push(at, packet, from, segment);
        // Overlapping pieces take less room once they are put together.
        self.held = self.held + view.held() - before;
        Some(slot)
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
        let key = Key::of(view.endpoints.client, view.endpoints.server);
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
        let watched = self.order.iter().rev().filter_map(|(slot, _)| self.views[slot.0 as usize].as_deref());
        let begun = move |view: &&View<D>| view.packets.first().is_some_and(|p| p.at >= from);
        let watched = watched.take_while(begun).filter_map(|view| Other::of(view));
        taken.chain(watched).filter(move |other| other.from >= from)
    }

    /// Notes that a connection that was taken got more data.
    fn touch(&mut self, other: u32, at: Instant<D>, packet: u64, segment: &TcpSegment<'_>) {
        // What is gone wraps round to a place beyond the last.
        let place = other.wrapping_sub(self.forgotten);
        if let Some(other) = self.others.get_mut(place as usize)
            && segment.len > 0
            && segment.source == other.endpoints.server
        {
            (other.to, other.packets[1]) = (Some(at), packet);
        }
    }

    /// Takes the oldest view if nothing happened in it for long, or if memory is short.
    pub fn overdue(&mut self, now: Instant<D>) -> Option<Box<View<D>>> {
        loop {
            let (slot, key) = *self.order.front()?;
            let view = self.views[slot.0 as usize].as_ref().filter(|v| Key::of(v.endpoints.client, v.endpoints.server) == key);
            let Some(view) = view else {
                self.order.pop_front();
                continue;
            };
            let idle = view.last_at().is_none_or(|at| now - at > IDLE);
            if !idle && self.held <= MOST_HELD {
                return None;
            }
            self.order.pop_front();
            return self.take(slot);
        }
    }

    /// The connections that nobody took, in the order in which they began.
    pub fn into_views(mut self) -> Vec<View<D>> {
        let mut found = Vec::new();
        for (slot, _) in std::mem::take(&mut self.order) {
            found.extend(self.views[slot.0 as usize].take().map(|view| *view));
        }
        found
    }

    fn open(&mut self, key: Key, segment: &TcpSegment<'_>, syn: bool) -> Slot {
        if self.names.len() >= MOST_NAMES {
            let epoch = self.epoch;
            self.names.retain(|name| name.view != TAKEN || name.epoch == epoch);
            self.epoch = self.epoch.wrapping_add(1);
        }
        let source_is_client = syn || (!segment.flags.syn() && segment.source.port() > segment.destination.port());
        let (client, server) =
            if source_is_client { (segment.source, segment.destination) } else { (segment.destination, segment.source) };
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
        self.names.insert(key, Name { other: self.forgotten.wrapping_sub(1), view: index, client_isn, epoch: self.epoch });
        self.order.push_back((Slot(index), key));
        Slot(index)
    }
}
