//! From placed handshakes to judged ones, with baselines from the captures themselves.
//!
//! In: [`Placed`] handshakes, one by one. Out: [`Finding`]s, in the same order, a little later: a judgement wants to know how
//! fast the same path was at other times, so handshakes wait in a queue of bounded size until others have spoken.

use std::collections::VecDeque;
use std::collections::hash_map::Entry;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use analysis::clock::{Client, Instant, Span, Unplaced};
use analysis::conversation::handshake::Handshake;
use analysis::conversation::walk;
use analysis::judging::ledger::{self, Missing, Owner};
use analysis::judging::policy;
use analysis::judging::verdict::{Circumstances, Culprit, Judgement, Reading, Verdict, judge};
use analysis::tcp::flow::{Endpoints, Side, View};
use analysis::tls::Dialogue;
use enumset::EnumSet;
use foldhash::HashMap;
use records::explained::SeenFrom;
use smallvec::SmallVec;

use crate::placing::Placed;
use crate::usual::{Between, Edge, Part, Usual};

/// Bytes of handshakes that wait.
const MOST_HELD: usize = 4 << 20;

/// What is made of a handshake.
#[derive(Clone)]
pub struct Opinion {
    /// Where its time went.
    pub reading: Reading,
    /// Who did it.
    pub judgement: Judgement,
    /// Whether it is an opinion on [`Placed::otherwise`].
    pub of_otherwise: bool,
}

/// Why a handshake is not judged: always what the capture holds, or what its client did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotJudged {
    /// It had nothing to say.
    #[error("the client said nothing on this connection: a spare one")]
    Spare,
    /// Nobody can tell a wait from an answer.
    #[error("the capture holds one direction only")]
    OneDirection,
    /// Nobody can tell when it began.
    #[error("the capture shows neither its SYN nor its ClientHello")]
    NoBeginning,
}

/// A handshake, judged.
pub struct Finding {
    /// Its number, from 1.
    pub id: u64,
    /// When its first packet was captured, on the clock of the capture that shows it.
    pub started: Instant<Unplaced>,
    /// The handshake and where it was seen from.
    pub placed: Placed,
    /// What was read and judged, or why not.
    pub judged: Result<Opinion, NotJudged>,
    /// The number of the handshake that carries the same ClientHello on another connection.
    pub other_leg: Option<u64>,
}

/// ClientHello.random as a key: chosen at random, so that eight bytes of it are a hash (and hashed again, should somebody choose them).
#[derive(PartialEq, Eq)]
struct Random([u8; 32]);

impl Hash for Random {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        state.write_u64(u64::from_ne_bytes([a, b, c, d, e, f, g, h]));
    }
}

/// How long a browser waits for a first connection before it opens a spare one, in nanoseconds: 250 ms and its timer's slack.
const SPARE: Range<i64> = 249_000_000..262_000_000;
/// Places whose latest connections are remembered, and how many of each.
const MOST_PLACES: usize = 10_000;
const MOST_CONNECTING: usize = 16;

struct Pending {
    id: u64,
    started: Instant<Unplaced>,
    between: Between,
    random: Option<[u8; 32]>,
    placed: Placed,
    /// One; two where it is open at which end the observer stood; none with the reason.
    readings: Result<Readings, NotJudged>,
    other_leg: Option<(u64, Leg)>,
    held: usize,
}

/// Which of two connections with one ClientHello this is: a proxy that ends TCP and passes TLS through has one to either side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Leg {
    /// From the client to the proxy.
    Front,
    /// From the proxy to the edge.
    Back,
    /// One of both: their addresses do not tell.
    Either,
}

impl Leg {
    /// Of a connection, by the other's ends: the proxy is the server of one and the client of the other.
    fn of(own: Endpoints, other: Endpoints) -> Self {
        match (own.server.ip() == other.client.ip(), own.client.ip() == other.server.ip()) {
            (true, false) => Leg::Front,
            (false, true) => Leg::Back,
            _ => Leg::Either,
        }
    }

    fn turned(self) -> Self {
        match self {
            Leg::Front => Leg::Back,
            Leg::Back => Leg::Front,
            Leg::Either => Leg::Either,
        }
    }

    /// The ends that may be the proxy: what looks like its time may be that of anything behind it.
    fn doubted(self) -> EnumSet<Owner> {
        match self {
            Leg::Front => Owner::Edge.into(),
            Leg::Back => Owner::Client.into(),
            Leg::Either => Owner::Edge | Owner::Client,
        }
    }
}

/// A handshake's reading, and what bears on the verdict beside it: whoever judges later need not look at the packets again.
struct Read {
    reading: Reading,
    circumstances: Circumstances,
}

type Readings = SmallVec<[Read; 1]>;

/// Judges handshakes.
pub struct Judging {
    /// Boxed: they are large, and moved as the queue grows.
    pending: VecDeque<Box<Pending>>,
    held: usize,
    most_held: usize,
    count: u64,
    usual: Usual,
    by_random: HashMap<Random, u64>,
    /// When the latest connections of a client to a place began, and were answered.
    connecting: HashMap<(IpAddr, SocketAddr), VecDeque<(i64, i64)>>,
}

impl Judging {
    /// With `at_once`, nothing waits: for following a capture that still grows.
    pub fn new(at_once: bool) -> Self {
        Self {
            pending: VecDeque::new(),
            held: 0,
            most_held: if at_once { 0 } else { MOST_HELD },
            count: 0,
            usual: Usual::default(),
            by_random: HashMap::default(),
            connecting: HashMap::default(),
        }
    }

    /// Takes a handshake; of one that took no longer than `counts_only` nobody will ask for packets.
    pub fn push(&mut self, mut placed: Placed, counts_only: Option<Span>) {
        self.count += 1;
        let id = self.count;
        let mut readings = read(&placed);
        let between = self.between(&placed);
        if self.is_spare(&placed.handshake) {
            readings.iter_mut().flatten().for_each(|read| read.reading.ledger.had_nothing_to_say());
        }
        let random = placed.handshake.dialogue.client_random;
        // What a capture missed makes round trips of whatever it saw.
        let sound = !placed.handshake.capture_incomplete();
        for (read, part) in readings.iter().flatten().zip(parts(placed.seen)) {
            self.usual.note(&Between { part, ..between.clone() }, &read.reading.ledger, sound);
        }
        let other_leg = random.and_then(|random| self.leg(id, random, placed.handshake.endpoints));
        let started = first_at(&placed.handshake);
        placed.forget_bytes();
        let entries: usize = readings.iter().flatten().map(|r| r.reading.ledger.entries.capacity()).sum();
        let mut held = size_of::<Pending>() + entries * size_of::<ledger::Entry>();
        for handshake in [Some(&placed.handshake), placed.otherwise.as_ref()].into_iter().flatten() {
            let packets = handshake.client.as_ref().map_or(0, View::held) + handshake.edge.as_ref().map_or(0, View::held);
            held += size_of::<Handshake>() + size_of::<Dialogue>() + packets;
        }
        // Behind that sum: how long handshakes lie here, and so what is known of their paths, must not depend on the output.
        let total = readings.iter().flatten().map(|r| r.reading.ledger.total).max().unwrap_or_default();
        if counts_only.is_some_and(|most| total <= most) {
            placed.forget_packets();
        }
        self.held += held;
        self.pending.push_back(Box::new(Pending { id, started, between, random, placed, readings, other_leg, held }));
    }

    /// A judged handshake, if too many wait (or, at the `end`, as long as it is not empty).
    pub fn pop(&mut self, end: bool) -> Option<Finding> {
        if !end && self.held <= self.most_held {
            return None;
        }
        let Pending { id, started, between, random, placed, readings, other_leg, held } = *self.pending.pop_front()?;
        self.held -= held;
        if let Some(random) = random
            && let Entry::Occupied(known) = self.by_random.entry(Random(random))
            && *known.get() == id
        {
            known.remove();
        }
        let judged =
            readings.map(|readings| self.judge_open(placed.seen, readings, &between, true, other_leg.map(|(_, leg)| leg)));
        Some(Finding { id, started, placed, judged, other_leg: other_leg.map(|(id, _)| id) })
    }

    /// Learns from a handshake that nobody needs judged: the round trip over its path.
    pub fn note_path(&mut self, client: IpAddr, server: IpAddr, round_trip: Span) {
        let between = Between {
            client,
            server,
            edge: Edge::Address(server),
            resumed: false,
            part: Part::Whole,
            first: false,
            lookup: None,
        };
        self.usual.note_path(&between, round_trip);
    }

    /// What is made of a handshake by what is known of paths now; nothing is learned from it.
    ///
    /// # Errors
    /// Says why it cannot be read.
    pub fn opinion(&self, placed: &Placed) -> Result<Opinion, NotJudged> {
        read(placed).map(|readings| self.judge_open(placed.seen, readings, &self.between(placed), false, None))
    }

    /// Whether this is a browser's spare connection: opened a quarter of a second behind one to the same place that had no answer yet
    /// (Chromium's backup connect job), and used when there was something to ask.
    fn is_spare(&mut self, h: &Handshake) -> bool {
        let syn = |h: &Handshake, side| h.client.as_ref().and_then(|view| view.syns(side).next()).map(|p| p.at.nanos());
        let Some(began) = syn(h, Side::Client) else { return false };
        let place = (h.endpoints.client.ip(), h.endpoints.server);
        let stood = syn(h, Side::Server).unwrap_or(i64::MAX);
        if self.connecting.len() >= MOST_PLACES {
            self.connecting.clear();
        }
        let latest = self.connecting.entry(place).or_default();
        let spare = latest.iter().any(|(first, answered)| SPARE.contains(&(began - first)) && *answered > began);
        latest.push_back((began, stood));
        if latest.len() > MOST_CONNECTING {
            latest.pop_front();
        }
        spare
    }

    fn between(&self, placed: &Placed) -> Between {
        let handshake = &placed.handshake;
        let (client, server) = (handshake.endpoints.client.ip(), handshake.endpoints.server.ip());
        let edge = match (placed.edge_observer, &handshake.dialogue.server_name) {
            (Some(observer), _) => Edge::Observed(observer),
            (None, Some(name)) => Edge::Named(name.as_str().into()),
            (None, None) => Edge::Address(server),
        };
        let (first, lookup) = (!self.usual.has_met(client, &edge), handshake.lookup.as_ref().and_then(|lookup| lookup.usual));
        Between { client, server, edge, resumed: handshake.dialogue.resumed, part: Part::Whole, first, lookup }
    }

    /// Finds a handshake that waits, with the same ClientHello on another connection, and notes it with both.
    fn leg(&mut self, id: u64, random: [u8; 32], own: Endpoints) -> Option<(u64, Leg)> {
        let other = self.by_random.insert(Random(random), id)?;
        // They lie there in the order of their numbers, with none left out.
        let place = other.checked_sub(self.pending.front()?.id)?;
        let other = self.pending.get_mut(place as usize)?;
        let leg = Leg::of(own, other.placed.handshake.endpoints);
        other.other_leg = Some((id, leg.turned()));
        Some((other.id, leg))
    }
}

/// What the readings of an observer who stood there take for the whole way, in their order.
fn parts(seen: SeenFrom) -> [Part; 2] {
    match seen {
        SeenFrom::Between => [Part::ToClient, Part::ToEdge],
        SeenFrom::BothEnds | SeenFrom::ClientEnd | SeenFrom::EdgeEnd | SeenFrom::Unknown => [Part::Whole; 2],
    }
}

fn first_at(h: &Handshake) -> Instant<Unplaced> {
    let client = h.client.iter().flat_map(|v| v.packets.first()).map(|p| p.at.nanos());
    let edge = h.edge.iter().flat_map(|v| v.packets.first()).map(|p| p.at.nanos());
    client.chain(edge).next().map(Instant::from_nanos).unwrap_or_default()
}

fn read(placed: &Placed) -> Result<Readings, NotJudged> {
    let (h, otherwise) = (&*placed.handshake, placed.otherwise.as_deref());
    let said = |view: &View<Client>| view.sent_by(Side::Client).any(|p| !p.is_empty() || p.start() > 0);
    if h.client.as_ref().is_some_and(|view| view.syns(Side::Server).next().is_some() && !said(view)) {
        return Err(NotJudged::Spare);
    }
    if h.edge.as_ref().is_some_and(closed_unused) {
        return Err(NotJudged::Spare);
    }
    let (reading, second) = (walk::read(h), otherwise.and_then(walk::read));
    let (reading, second) = match placed.seen {
        SeenFrom::Between | SeenFrom::Unknown => reading.zip(second).map_or((None, None), |(a, b)| (Some(a), Some(b))),
        SeenFrom::BothEnds | SeenFrom::ClientEnd | SeenFrom::EdgeEnd => (reading, second),
    };
    let first = reading.ok_or_else(|| why_unread(h))?;
    let of = |reading, handshake| Read { reading, circumstances: Circumstances::of(handshake) };
    Ok([of(first, h)].into_iter().chain(second.zip(otherwise).map(|(reading, handshake)| of(reading, handshake))).collect())
}

/// Whether the client closed the connection before its first byte, whatever the edge said to that: its own sequence number shows it.
fn closed_unused(view: &View<analysis::clock::Edge>) -> bool {
    let mut of_client = view.sent_by(Side::Client);
    view.syns(Side::Server).next().is_some()
        && of_client.any(|p| (p.flags.fin() || p.flags.rst()) && p.is_empty() && p.start() == 0)
}

fn why_unread(h: &Handshake) -> NotJudged {
    let both = h.client.as_ref().is_some_and(View::both_directions) || h.edge.as_ref().is_some_and(View::both_directions);
    match both {
        false => NotJudged::OneDirection,
        true => NotJudged::NoBeginning,
    }
}

impl Judging {
    /// Judges readings; of two, for an observer at either end, only what both say stands. `learned`: of these paths were learned.
    fn judge_open(&self, seen: SeenFrom, readings: Readings, between: &Between, learned: bool, leg: Option<Leg>) -> Opinion {
        let readings = readings.into_iter().zip(parts(seen)).zip([false, true]);
        let mut judged = readings.map(|((Read { mut reading, circumstances }, part), of_otherwise)| {
            let learned = learned && !circumstances.capture_incomplete;
            let (baseline, witnesses) = self.usual.baseline(&Between { part, ..between.clone() }, &reading, learned);
            reading.ledger.apply(&baseline);
            let path_unknown = witnesses < policy::ENOUGH;
            let mut judgement = judge(&reading, Circumstances { path_unknown, ..circumstances });
            if let Some(leg) = leg {
                doubt_beyond_proxy(&mut judgement, leg);
            }
            Opinion { reading, judgement, of_otherwise }
        });
        let Some(first) = judged.next() else { unreachable!("a pending handshake has at least one reading") };
        let Some(second) = judged.next() else { return first };
        if family(&first.judgement.verdict) == family(&second.judgement.verdict) {
            return first;
        }
        // Whoever may have had it from either standpoint.
        let owners =
            [&first, &second].into_iter().flat_map(|j| j.judgement.parts.iter().map(|p| p.owner).chain(j.judgement.candidates));
        let candidates: EnumSet<Owner> = owners.filter(|o| !matches!(o, Owner::Unattributed | Owner::Protocol)).collect();
        let mut worse = if first.judgement.excess >= second.judgement.excess { first } else { second };
        let missing = if seen == SeenFrom::BothEnds { Missing::SteadyClock } else { Missing::Standpoint };
        worse.judgement.leave_open(candidates, missing);
        worse
    }
}

/// Beyond a proxy that ends TCP, what looks like an end's time may be the proxy's or that of anything behind it.
fn doubt_beyond_proxy(judgement: &mut Judgement, leg: Leg) {
    let Verdict::Culprit { primary, second } = &mut judgement.verdict else { return };
    let doubted = |culprit: &Culprit| leg.doubted().contains(culprit.owner.side());
    let other = second.take_if(|second| doubted(primary) || doubted(second)).filter(|second| !doubted(second));
    if !doubted(primary) {
        return;
    }
    match other {
        // As beside any time that is left open: an owner of so much is one of two at least.
        Some(other) if other.excess.fraction_of(judgement.excess) >= policy::CERTAIN_SHARE => *primary = other,
        _ => {
            let candidates = Owner::Path | Owner::Loss | primary.owner;
            judgement.leave_open(candidates, Missing::OtherLeg);
        }
    }
}

fn sorted(owners: impl Iterator<Item = Owner>) -> Vec<Owner> {
    let mut owners: Vec<Owner> = owners.collect();
    owners.sort_unstable();
    owners.dedup();
    owners
}

/// The verdict without what differs between two standpoints: kinds, and app or host.
fn family(verdict: &Verdict) -> (&'static str, Vec<Owner>) {
    match verdict {
        Verdict::Healthy => ("healthy", vec![]),
        Verdict::Culprit { primary, second } => {
            ("culprit", sorted([Some(primary), second.as_ref()].into_iter().flatten().map(|c| c.owner.side())))
        }
        Verdict::Inconclusive { .. } => ("inconclusive", vec![]),
        Verdict::Aborted { by, .. } => ("aborted", vec![by.side()]),
    }
}

#[cfg(test)]
mod tests;
