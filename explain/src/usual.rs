//! What is usual on each path and at each end, learned from the handshakes that pass.
//!
//! In: readings, healthy or not. Out: a [`Baseline`] for one of them, out of its siblings, three at least. A path's usual round trip is the
//! least, over the addresses of the edge, of each address's median: so a detour to one of several addresses shows, and a slow handshake
//! does not move it. Addresses that only share a name may be different sites: they are compared where they were used by turns, not one
//! after the other.

use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use analysis::clock::Span;
use analysis::judging::ledger::{Baseline, Ledger, Normal, Owner, Phase, Worked};
use analysis::judging::policy::{CLIENT_CPU, ENOUGH, ORDINARY_WORK, UNSPLIT_CLIENT};
use analysis::judging::siblings::Samples;
use analysis::judging::verdict::Reading;
use analysis::tcp::flow::Side;
use foldhash::HashMap;
use smallvec::SmallVec;

/// Paths that are remembered; work is, of as many ends. So many fit into tables of 65,536 places; of more, each table would be twice as
/// large, and half as large again while it grows.
const MOST_PATHS: usize = 57_000;
/// Addresses of one edge that are compared.
const MOST_ADDRESSES: usize = 16;

/// An address in a key: hashed as the number that it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Address(IpAddr);

impl Hash for Address {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self.0 {
            IpAddr::V4(v4) => state.write_u32(v4.to_bits()),
            IpAddr::V6(v6) => state.write_u128(v6.to_bits()),
        }
    }
}

/// What makes several addresses one edge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Edge {
    /// One observer stands at it.
    Observed(usize),
    /// Clients ask them for this name.
    Named(Arc<str>),
    /// Nothing: it is alone.
    Address(IpAddr),
}

impl Hash for Edge {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Edge::Observed(observer) => state.write_usize(*observer),
            Edge::Named(name) => name.hash(state),
            Edge::Address(address) => Address(*address).hash(state),
        }
    }
}

/// Whose siblings a handshake has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Between {
    /// The client's address.
    pub client: IpAddr,
    /// The edge's.
    pub server: IpAddr,
    /// The edge.
    pub edge: Edge,
    /// Whether a session was resumed: that spares both ends the certificates.
    pub resumed: bool,
    /// How much of the way the observer took for the whole.
    pub part: Part,
    /// Whether the client met this edge for the first time, as far as was seen: whatever it may remember of its certificates, it does not
    /// yet.
    pub first: bool,
    /// What another lookup at the same resolver took.
    pub lookup: Option<Span>,
}

/// How much of the way is taken for the whole: an observer between the ends sees two parts, and what each of them takes is not what the
/// whole does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Part {
    /// From end to end.
    Whole,
    /// From the observer, taken for the client, to the edge.
    ToEdge,
    /// From the client to the observer, taken for the edge.
    ToClient,
}

/// What one end's work took, by its sorts.
type WorkOf = SmallVec<[(Phase, Worked, Samples); 2]>;

/// The round trips over one path.
#[derive(Default)]
struct Path {
    samples: Samples,
    /// The places of the first and the last of them in the order in which all were learned.
    first: u64,
    last: u64,
}

impl Path {
    fn push(&mut self, round: Span, place: u64) {
        if self.samples.is_empty() {
            self.first = place;
        }
        self.last = place;
        self.samples.push(round);
    }

    /// Whether both were used by turns.
    fn interleaved(&self, other: &Path) -> bool {
        self.first < other.last && other.first < self.last
    }
}

/// What is usual.
#[derive(Default)]
pub struct Usual {
    paths: HashMap<(Address, Address, Part), Path>,
    /// Round trips learned so far: the order of time.
    learned: u64,
    /// By whose it is, whether sessions were resumed, and what was seen of the way.
    of_clients: HashMap<(Address, bool, Part), WorkOf>,
    of_edges: HashMap<(Edge, bool, Part), WorkOf>,
    /// Which clients met which edges, and at which addresses of those that have several.
    met: HashMap<(Address, Edge), SmallVec<[IpAddr; 1]>>,
}

impl Usual {
    /// Whether a client has met an edge before.
    pub fn has_met(&self, client: IpAddr, edge: &Edge) -> bool {
        self.met.contains_key(&(Address(client), edge.clone()))
    }

    /// Learns from a reading; `sound` if no capture missed any of it: else what it saw of round trips means nothing.
    pub fn note(&mut self, between: &Between, ledger: &Ledger, sound: bool) {
        let round = middle(ledger).filter(|_| sound);
        if let Some(round) = round {
            self.note_path(between, round);
        }
        if self.of_clients.len() >= MOST_PATHS {
            self.of_clients.clear();
        }
        if self.of_edges.len() >= MOST_PATHS {
            self.of_edges.clear();
        }
        if self.met.len() >= MOST_PATHS {
            self.met.clear();
        }
        let addresses = self.met.entry((Address(between.client), between.edge.clone())).or_default();
        if round.is_some()
            && !matches!(between.edge, Edge::Address(_))
            && !addresses.contains(&between.server)
            && addresses.len() < MOST_ADDRESSES
        {
            addresses.push(between.server);
        }
        let works = works(ledger);
        for side in [Side::Client, Side::Server] {
            let mut own = works.iter().filter(|(_, worked, _)| worked.side == side).peekable();
            if own.peek().is_none() {
                continue;
            }
            let known = match side {
                Side::Client => self.of_clients.entry(of_client(between)).or_default(),
                Side::Server => self.of_edges.entry(of_edge(between)).or_default(),
            };
            for (phase, worked, span) in own {
                let place = known.iter().position(|(p, w, _)| (p, w) == (phase, worked)).unwrap_or_else(|| {
                    known.push((*phase, *worked, Samples::default()));
                    known.len() - 1
                });
                known[place].2.push(*span);
            }
        }
    }

    /// Learns one round trip.
    pub fn note_path(&mut self, between: &Between, round: Span) {
        if self.paths.len() >= MOST_PATHS {
            self.paths.clear();
        }
        self.learned += 1;
        self.paths.entry(way(between, between.server)).or_default().push(round, self.learned);
    }

    /// The path's usual round trip, and by how many handshakes over the path it is known, without one that is `itself` to be judged.
    fn path(&self, between: &Between, itself: Option<Span>) -> (Option<Normal>, usize) {
        let of = |server: IpAddr| self.paths.get(&way(between, server));
        let own = of(between.server);
        let siblings = own.map(|own| itself.map_or_else(|| own.samples.all(), |itself| own.samples.without(itself)));
        let witnesses = siblings.map_or(0, |siblings| siblings.len());
        let others = self.met.get(&(Address(between.client), between.edge.clone())).into_iter().flatten();
        // One host's addresses are one place; those of a name need not be.
        let comparable = |other: &&Path| match &between.edge {
            Edge::Observed(_) => true,
            Edge::Named(_) | Edge::Address(_) => own.is_some_and(|own| own.interleaved(other)),
        };
        let others = others.filter(|a| **a != between.server).filter_map(|a| of(*a)).filter(comparable);
        let all = others.map(|other| other.samples.all()).chain(siblings);
        let normals = all.filter(|siblings| siblings.len() >= ENOUGH).filter_map(|siblings| siblings.path());
        (normals.min_by_key(|n| n.location), witnesses)
    }

    /// What a reading is to be compared with, and by how many other handshakes its path is known; `learned`: it is among those of which
    /// paths were learned.
    pub fn baseline(&self, between: &Between, reading: &Reading, learned: bool) -> (Baseline, usize) {
        let (path, witnesses) = self.path(between, middle(&reading.ledger).filter(|_| learned));
        let known = [self.of_clients.get(&of_client(between)), self.of_edges.get(&of_edge(between))];
        let normal = |(phase, worked, _): (Phase, Worked, Span)| {
            let known = known[worked.side as usize]?;
            let (.., samples) = known.iter().find(|(p, w, _)| (*p, *w) == (phase, worked))?;
            let normal = samples.all().work()?;
            let cold = between.first && !between.resumed && (phase, worked.side) == (Phase::ClientFinished, Side::Client);
            Some((phase, worked, if cold { at_least_ordinary(normal) } else { normal }))
        };
        let works = works(&reading.ledger);
        let mut work: Vec<(Phase, Worked, Normal)> = works.iter().copied().filter_map(normal).collect();
        if work.is_empty()
            && let Some((phase, worked, _)) = works.first()
        {
            work.push((*phase, *worked, ORDINARY_WORK));
        }
        (Baseline { path, lookup: between.lookup, work, client_cpu: CLIENT_CPU, client_unsplit: UNSPLIT_CLIENT }, witnesses)
    }
}

/// What siblings with warm caches take, or the prior: whichever is more.
fn at_least_ordinary(normal: Normal) -> Normal {
    Normal { location: normal.location.max(ORDINARY_WORK.location), spread: normal.spread.max(ORDINARY_WORK.spread) }
}

/// The way from a client to one of its edge's addresses, as far as it was seen.
fn way(between: &Between, server: IpAddr) -> (Address, Address, Part) {
    (Address(between.client), Address(server), between.part)
}

/// Whose work a client's is.
fn of_client(between: &Between) -> (Address, bool, Part) {
    (Address(between.client), between.resumed, between.part)
}

/// Whose work an edge's is.
fn of_edge(between: &Between) -> (Edge, bool, Part) {
    (between.edge.clone(), between.resumed, between.part)
}

/// The middle one of a handshake's own round trips, of those in which nothing was sent twice.
fn middle(ledger: &Ledger) -> Option<Span> {
    let any_lost = ledger.entries.iter().any(|e| e.owner == Owner::Loss);
    let lost = |phase| any_lost && ledger.entries.iter().any(|e| e.phase == phase && e.owner == Owner::Loss);
    let plain = ledger.entries.iter().filter(|e| e.round_trip && !e.extra_round && !e.filled_in && !lost(e.phase));
    let mut spans: SmallVec<[Span; 6]> = plain.map(|e| e.span).collect();
    spans.sort_unstable();
    // Of an even number the less: half of them may have been held.
    spans.get(spans.len().checked_sub(1)? / 2).copied()
}

/// The ends' own work in a ledger, each sort once.
fn works(ledger: &Ledger) -> SmallVec<[(Phase, Worked, Span); 8]> {
    let mut found: SmallVec<[(Phase, Worked, Span); 8]> = SmallVec::new();
    for entry in &ledger.entries {
        let Some(worked) = entry.worked else { continue };
        match found.iter_mut().find(|(phase, w, _)| (*phase, *w) == (entry.phase, worked)) {
            Some((.., span)) => *span += entry.span,
            None => found.push((entry.phase, worked, entry.span)),
        }
    }
    found
}

#[cfg(test)]
mod tests;
