//! What one observer can know of the *far* end: was its packet sent late, did it travel long, or was it sent twice?
//!
//! In: two packets of the far end as they arrived. Two witnesses in them separate the three (DESIGN 5.2): TCP timestamps
//! (RFC 7323) say when the far end *sent*; an IP identification that counts its packets says whether one is missing
//! between them. Where the far end offers neither, the time stays unattributed with the candidates named.

use enumset::EnumSet;
use smallvec::{SmallVec, smallvec};

use crate::clock::{Domain, Span};
use crate::flow::{Seen, Side, View};
use crate::ledger::{Entry, Kind, Missing, Owner, Phase};
use crate::stamps::sent_apart;

/// TCP timestamps tick once a millisecond on Linux, Windows and macOS; two readings are off by one each.
pub(crate) const TICK: Span = Span::from_millis(2);

/// The TTL at which stacks start that count the packets of each connection by itself.
const PER_CONNECTION_TTL: u8 = 64;

/// The far end of a view.
pub(crate) struct FarSide<'a, D> {
    pub view: &'a View<D>,
    pub side: Side,
}

/// A stretch between two packets of the far end.
#[derive(Clone, Copy)]
pub(crate) struct Stretch<'a, D> {
    pub phase: Phase,
    pub before: &'a Seen<D>,
    pub next: &'a Seen<D>,
    /// How much of it was no fault: a round trip, waits that the protocol demands.
    pub innocent: Span,
    pub round_trip: Span,
}

impl<D: Domain> FarSide<'_, D> {
    fn owner(&self) -> Owner {
        if self.side == Side::Client { Owner::Client } else { Owner::Edge }
    }

    fn direction(&self) -> Kind {
        if self.side == Side::Client { Kind::Out } else { Kind::Back }
    }

    /// Divides a stretch among the far end, the path and loss.
    pub fn divide(&self, stretch: Stretch<'_, D>) -> SmallVec<[Entry; 1]> {
        let Stretch { phase, before, next, innocent, round_trip } = stretch;
        let gap = (next.at - before.at - innocent).at_least_zero();
        let cited = [before.packet, next.packet];
        let [capture, timestamps, ip_id] = match self.side {
            Side::Client => [Missing::ClientCapture, Missing::ClientTimestamps, Missing::ClientIpId],
            Side::Server => [Missing::EdgeCapture, Missing::EdgeTimestamps, Missing::EdgeIpId],
        };
        let undecided = |span, candidates: EnumSet<Owner>, missing: EnumSet<Missing>| {
            let mut entry = Entry::new(phase, Owner::Unattributed, None, span, Span::ZERO).between(cited);
            entry.candidates = candidates;
            entry.missing = missing;
            entry
        };
        // A piece that arrived together with the rest, however long before it was sent, shows how long the way was.
        let piece = self.view.sent_by(self.side).rfind(|p| !p.is_empty() && p.end() == next.start() && p.at > before.at);
        let left = piece.filter(|p| next.at - p.at < Span::from_millis(1)).unwrap_or(next);
        let Some(sent_gap) =
            sent_apart(self.view, self.side, before, left).filter(|s| *s <= next.at - before.at + Span::from_millis(20))
        else {
            return smallvec![undecided(gap, self.owner() | Owner::Path | Owner::Loss, timestamps | capture)];
        };
        let late = (sent_gap - innocent).at_least_zero().min(gap);
        let travelled = gap - late;
        let mut entries = SmallVec::new();
        let long_way = travelled > TICK + Span::from_millis(1);
        if long_way {
            entries.push(Entry::new(phase, Owner::Path, Kind::Delay, travelled, TICK).between(cited));
        }
        let late = if long_way { late } else { gap };
        // The first copy came after all, behind its repetition: it was late, not lost (DESIGN 5.7).
        if late > TICK && self.overtaken(next) {
            entries.push(Entry::new(phase, Owner::Path, Kind::Delay, late, round_trip.min(late)).between(cited));
            return entries;
        }
        // Sooner than one round trip nobody repeats a packet: it was simply sent late.
        let missing = if late < round_trip.max(Span::from_millis(5)) { Some(0) } else { self.missing_between(before, next) };
        entries.push(match missing {
            Some(0) => Entry::new(phase, self.owner(), None, late, TICK).between(cited),
            Some(_) => Entry::new(phase, Owner::Loss, self.direction(), late, round_trip.min(late)).between(cited),
            None => undecided(late, self.owner() | Owner::Loss, ip_id | capture),
        });
        entries
    }

    /// How many of the far end's packets just before one of them never came; as [`Self::missing_between`].
    pub fn lost_before(&self, packet: u64) -> Option<u16> {
        let next = self.view.sent_by(self.side).find(|p| p.packet == packet)?;
        let before = self.view.sent_by(self.side).rfind(|p| p.packet < packet && next.at - p.at > Span::from_millis(1))?;
        self.missing_between(before, next)
    }

    /// How many of the far end's packets between two seen ones never came, by its IP identification; absent
    /// if it does not count this connection's packets. Stacks that start at TTL 64 do, or none at all; those that start higher count
    /// the host's packets, and what its other connections send looks like loss.
    fn missing_between(&self, before: &Seen<D>, next: &Seen<D>) -> Option<u16> {
        if next.ttl > PER_CONNECTION_TTL {
            return None;
        }
        let step = |a: &Seen<D>, b: &Seen<D>| Some(b.ip_id()?.wrapping_sub(a.ip_id()?));
        let sent: Vec<&Seen<D>> = self.view.sent_by(self.side).filter(|p| !p.flags.syn()).collect();
        // Proof that it counts: other neighbours step by exactly one packet.
        let (mut ones, mut others) = (0, 0);
        for pair in sent.windows(2).filter(|pair| pair[1].packet != next.packet) {
            match step(pair[0], pair[1])? {
                1 => ones += 1,
                2..=8 => {}
                _ => others += 1,
            }
        }
        let counts = ones > others;
        let seen = sent.iter().filter(|p| p.packet > before.packet && p.packet <= next.packet).count();
        let step = step(before, next)?;
        (counts && (1..=64).contains(&step)).then(|| step.saturating_sub(seen as u16))
    }

    /// Whether a packet that left before `next` with the same bytes came after it.
    fn overtaken(&self, next: &Seen<D>) -> bool {
        let same = |p: &&Seen<D>| p.packet > next.packet && !p.is_empty() && p.start() <= next.start() && p.end() >= next.end();
        let older = |p: &Seen<D>| match (p.tsval().zip(next.tsval()), p.ip_id().zip(next.ip_id())) {
            (Some((p, next)), _) if p != next => (p.wrapping_sub(next) as i32) < 0,
            (_, Some((p, next))) if p != next => (p.wrapping_sub(next) as i16) < 0,
            _ => false,
        };
        self.view.sent_by(self.side).filter(same).any(older)
    }
}
