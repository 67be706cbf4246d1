//! The ledger: a partition of one handshake's elapsed time among owners.
//!
//! Entries plus `unattributed` sum to the total exactly, by construction: [`Ledger::charge`] never takes
//! more than is left, and [`Ledger::close`] books the rest.

use enumset::EnumSet;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::clock::Span;
pub use crate::judging::baseline::{Baseline, Normal};
use crate::judging::policy;
pub use crate::judging::vocabulary::{Kind, Missing, Owner, Phase};
use crate::tcp::flow::Side;

/// Of whose own work an entry is a part: the same work of sibling handshakes tells how long it takes when nothing is wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Worked {
    /// Which end worked.
    pub side: Side,
    /// Whether it lies behind the first segment of its turn: a flight that is written in several pieces.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tail: bool,
}

/// One line of a ledger.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Where in the handshake.
    pub phase: Phase,
    /// Whose time it was.
    pub owner: Owner,
    /// Doing what; absent where nothing more is known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub kind: Option<Kind>,
    /// Path only: it holds one whole round trip, which a healthy path takes too.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub round_trip: bool,
    /// A round trip that only a rule of TCP's or TLS's asked for.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub extra_round: bool,
    /// One end of it was not captured and stands where it usually does, or somebody else answered: it tells nothing of what is usual.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub filled_in: bool,
    /// Whose work it is a part of, if anybody's.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub worked: Option<Worked>,
    /// How long, in nanoseconds.
    pub span: Span,
    /// How coarse the clock was that measured it, where that matters.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub grain: Span,
    /// How much that varies among healthy handshakes: one standard deviation.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub spread: Span,
    /// How much of it a healthy handshake takes as well.
    pub baseline: Span,
    /// How far `span` may be off.
    pub error: Span,
    /// Frames that bound it.
    #[serde(skip_serializing_if = "SmallVec::is_empty", default)]
    pub packets: Cited,
    /// Unattributed only: who it may have been.
    #[serde(skip_serializing_if = "EnumSet::is_empty", default)]
    pub candidates: EnumSet<Owner>,
    /// Unattributed only: what would tell.
    #[serde(skip_serializing_if = "EnumSet::is_empty", default)]
    pub missing: EnumSet<Missing>,
}

/// Frames that bound an entry.
pub type Cited = SmallVec<[u64; 2]>;

impl Entry {
    /// An entry with nothing known but its owner and length.
    pub fn new(phase: Phase, owner: Owner, kind: impl Into<Option<Kind>>, span: Span, error: Span) -> Self {
        Self {
            phase,
            owner,
            kind: kind.into(),
            round_trip: false,
            extra_round: false,
            filled_in: false,
            worked: None,
            span,
            grain: Span::ZERO,
            spread: Span::ZERO,
            baseline: Span::ZERO,
            error,
            packets: SmallVec::new(),
            candidates: EnumSet::empty(),
            missing: EnumSet::empty(),
        }
    }

    /// One round trip of the path.
    pub fn round_trip(phase: Phase, span: Span, error: Span) -> Self {
        Self { round_trip: true, ..Self::new(phase, Owner::Path, Kind::Delay, span, error) }
    }

    /// Cites the frames that bound it.
    #[must_use]
    #[inline]
    pub fn between(mut self, packets: impl IntoIterator<Item = u64>) -> Self {
        self.packets.clear();
        packets.into_iter().for_each(|packet| self.packets.push(packet));
        self
    }

    /// Whose it is that it took longer than usual: a round trip that one end saw grow may be somebody else's.
    pub fn owner_of_excess(&self) -> Owner {
        if self.owner == Owner::Path && !self.candidates.is_empty() { Owner::Unattributed } else { self.owner }
    }

    /// Time beyond the baseline.
    pub fn excess(&self) -> Span {
        (self.span - self.baseline).at_least_zero()
    }
}

fn is_zero(span: &Span) -> bool {
    *span == Span::ZERO
}

/// Lines of most ledgers, at most.
const USUAL_ENTRIES: usize = 6;

/// The partition of one handshake's time.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ledger {
    /// The handshake's elapsed time.
    pub total: Span,
    /// Its parts; they sum to `total`.
    pub entries: Vec<Entry>,
}

impl Ledger {
    /// A ledger in which nothing is charged yet.
    pub fn open(total: Span) -> Self {
        Self { total: total.at_least_zero(), entries: Vec::with_capacity(USUAL_ENTRIES) }
    }

    /// Books an entry, at most what is left; entries of no length are dropped.
    pub fn charge(&mut self, mut entry: Entry) {
        entry.span = entry.span.at_least_zero().min(self.remaining());
        if entry.span > Span::ZERO {
            self.entries.push(entry);
        }
    }

    /// Books what is left as unattributed in `phase`.
    pub fn close(&mut self, phase: Phase) {
        let rest = self.remaining();
        self.charge(Entry::new(phase, Owner::Unattributed, None, rest, Span::ZERO));
    }

    /// The client had nothing to ask yet: what it waited before ClientHello is nobody's.
    pub fn had_nothing_to_say(&mut self) {
        for entry in self.entries.iter_mut().filter(|e| e.phase == Phase::ClientHello && e.owner.side() == Owner::Client) {
            (entry.owner, entry.kind, entry.worked) = (Owner::Client, Some(Kind::Idle), None);
        }
    }

    /// Time not yet charged.
    pub fn remaining(&self) -> Span {
        self.total - self.entries.iter().map(|e| e.span).sum()
    }

    /// Time of one owner.
    pub fn of(&self, owner: Owner) -> Span {
        self.entries.iter().filter(|e| e.owner == owner).map(|e| e.span).sum()
    }

    /// What a healthy handshake would have taken.
    pub fn baseline(&self) -> Span {
        self.entries.iter().map(|e| e.baseline.min(e.span)).sum()
    }

    /// The path's part of each exchange: round-trip times without anybody's turnaround.
    pub fn path_spans(&self) -> impl Iterator<Item = Span> {
        self.entries.iter().filter(|e| e.round_trip).map(|e| e.span)
    }

    /// The least and the longest round trip of the path of those that were measured, if they are several and agree about how much longer
    /// than usual they took: then every one did, whatever the ends were doing.
    pub fn even_rounds(&self) -> Option<[Span; 2]> {
        let rounds = || self.entries.iter().filter(|e| e.round_trip && e.owner == Owner::Path && !e.filled_in);
        let least = rounds().map(Entry::excess).min()?;
        let noise = rounds().map(|e| e.spread.percent(policy::DETOUR_SPREADS)).max()?.max(policy::LEAST_DETOUR);
        if least < noise || rounds().nth(1).is_none() {
            return None;
        }
        // What else of the same exchange may have been the path's.
        let may_be_path = |e: &&Entry| match e.owner {
            Owner::Path => !e.round_trip,
            _ => e.owner == Owner::Unattributed && e.candidates.contains(Owner::Path),
        };
        let beside =
            |phase| self.entries.iter().filter(|e| e.phase == phase).filter(may_be_path).map(Entry::excess).sum::<Span>();
        let most = rounds().map(|e| e.excess() + beside(e.phase)).max()?;
        let even = least >= most.percent(policy::DETOUR_EVEN);
        let spans = || rounds().map(|e| e.span);
        spans().min().zip(spans().max()).filter(|_| even).map(|(least, most)| [least, most])
    }

    /// The least path time of any exchange: the handshake's own measure of its round trip, clean if it has a clean one.
    pub fn min_path(&self) -> Option<Span> {
        self.clean_path().or_else(|| self.path_spans().min())
    }

    /// The least path time of an exchange in which nothing was sent twice: of two copies nobody knows which one an acknowledgement
    /// answers (Karn's algorithm; RFC 6298, section 3).
    pub fn clean_path(&self) -> Option<Span> {
        let twice = |e: &Entry| e.owner == Owner::Loss || matches!(e.kind, Some(Kind::MtuBlackhole | Kind::AcceptQueue));
        let any = self.entries.iter().any(twice);
        let clean = |phase| !any || !self.entries.iter().any(|e| e.phase == phase && twice(e));
        let rounds = |extra| self.entries.iter().filter(move |e| e.round_trip && e.extra_round == extra && clean(e.phase));
        // When the far end got an acknowledgement that a rule waited for, nothing tells: it is guessed, and a little early.
        let asked_for = rounds(false).map(|e| e.span).min();
        asked_for.or_else(|| rounds(true).map(|e| e.span).min())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_round_trip_behind_a_repetition_is_no_measure() {
        let mut ledger = Ledger::open(Span::from_millis(700));
        ledger.charge(Entry::round_trip(Phase::Connect, Span::from_millis(60), Span::ZERO));
        ledger.charge(Entry::new(Phase::ServerFlight, Owner::Loss, Kind::Back, Span::from_millis(520), Span::ZERO));
        ledger.charge(Entry::round_trip(Phase::ServerFlight, Span::from_millis(42), Span::ZERO));
        assert_eq!(ledger.clean_path(), Some(Span::from_millis(60)));
        assert_eq!(ledger.min_path(), Some(Span::from_millis(60)));
        ledger.entries.remove(0);
        assert_eq!((ledger.clean_path(), ledger.min_path()), (None, Some(Span::from_millis(42))));
    }

    #[test]
    fn a_round_that_only_a_rule_asked_for_is_no_measure_where_there_is_another() {
        let mut ledger = Ledger::open(Span::from_millis(250));
        let mut held = Entry::round_trip(Phase::Finish, Span::from_millis(79), Span::ZERO);
        (held.owner, held.kind, held.extra_round) = (Owner::Protocol, Some(Kind::Nagle), true);
        ledger.charge(held);
        assert_eq!(ledger.min_path(), Some(Span::from_millis(79)));
        ledger.charge(Entry::round_trip(Phase::Connect, Span::from_millis(84), Span::ZERO));
        assert_eq!(ledger.min_path(), Some(Span::from_millis(84)));
    }

    #[test]
    fn every_round_trip_is_longer_only_if_all_that_were_measured_agree() {
        let detour = |rounds: &[(Phase, i64, bool)], beside: i64| {
            let mut ledger = Ledger::open(Span::from_millis(700));
            for (phase, millis, filled_in) in rounds {
                ledger
                    .charge(Entry { filled_in: *filled_in, ..Entry::round_trip(*phase, Span::from_millis(*millis), Span::ZERO) });
            }
            let mut open = Entry::new(Phase::Finish, Owner::Unattributed, None, Span::from_millis(beside), Span::ZERO);
            open.candidates = Owner::Path | Owner::Edge;
            ledger.charge(open);
            let path = Some(Normal { location: Span::from_millis(40), spread: Span::from_millis(1) });
            ledger.apply(&Baseline { path, ..Baseline::default() });
            ledger.entries[0].kind == Some(Kind::Detour)
        };
        let [connect, flight, finish] = [Phase::Connect, Phase::ServerFlight, Phase::Finish];
        assert!(detour(&[(connect, 84, false), (flight, 84, false), (finish, 86, false)], 0));
        assert!(!detour(&[(connect, 84, false), (flight, 130, false), (finish, 126, false)], 0), "a queue");
        // The same, seen from one end: what was measured is the first, and what came beside it may have been the path's.
        assert!(!detour(&[(connect, 84, false), (flight, 84, true), (finish, 84, true)], 0), "one alone is not every one");
        assert!(!detour(&[(connect, 84, false), (flight, 84, false), (finish, 84, false)], 100));
        assert!(detour(&[(connect, 84, false), (flight, 84, false), (finish, 84, false)], 30));
        // Packets that take another of several ways in each round are none.
        assert!(!detour(&[(connect, 49, false), (flight, 50, false), (finish, 49, false)], 0));
        assert!(detour(&[(connect, 53, false), (flight, 53, false), (finish, 53, false)], 0));
    }

    proptest! {
        #[test]
        fn the_ledger_sums_to_its_total_whatever_is_charged(
            total in -5i64..10_000, charges in prop::collection::vec((0usize..6, -50i64..4_000), 0..12), path in 0i64..300,
        ) {
            let owners = [Owner::Client, Owner::Path, Owner::Loss, Owner::EdgeHost, Owner::Resolver, Owner::Protocol];
            let mut ledger = Ledger::open(Span::from_micros(total));
            for (owner, span) in charges {
                ledger.charge(Entry::new(Phase::Connect, owners[owner], None, Span::from_micros(span), Span::ZERO));
            }
            ledger.close(Phase::Finish);
            ledger.apply(&Baseline { path: Baseline::of_path(Some(Span::from_micros(path))), ..Baseline::default() });
            prop_assert_eq!(ledger.entries.iter().map(|e| e.span).sum::<Span>(), ledger.total);
            prop_assert!(ledger.entries.iter().all(|e| e.span > Span::ZERO && e.baseline <= e.span));
        }
    }
}
