//! What a handshake takes when nothing is wrong, set against its ledger.
//!
//! In: a [`Baseline`] (the path's round trip, each end's work) and a ledger. Out: the ledger with each entry's baseline and spread, extra
//! rounds split between protocol and path, and round trips that are longer throughout marked as a detour.

use enumset::EnumSet;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::clock::Span;
use crate::judging::ledger::{Entry, Ledger, Worked};
use crate::judging::policy;
use crate::judging::vocabulary::{Kind, Owner, Phase};

/// A quantity when nothing is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Normal {
    /// Its usual size.
    pub location: Span,
    /// How much it varies: one standard deviation.
    pub spread: Span,
}

/// What a handshake takes when nothing is wrong.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Baseline {
    /// A round trip of the path; absent: the handshake's own least.
    pub path: Option<Normal>,
    /// What another lookup at the same resolver took, the quickest; absent: [`policy::ORDINARY_ROUND_TRIP`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lookup: Option<Span>,
    /// Each end's own work, where siblings tell; empty: by the two numbers below.
    pub work: Vec<(Phase, Worked, Normal)>,
    /// CPU time the client itself needs (it is its work, not a stall).
    pub client_cpu: Span,
    /// Time the client takes for itself where nothing tells its work from its waiting.
    pub client_unsplit: Span,
}

impl Baseline {
    /// A path of which only the least round trip is known.
    pub fn of_path(rtt: Option<Span>) -> Option<Normal> {
        rtt.map(|location| Normal { location, spread: Span::ZERO })
    }

    fn work_of(&self, phase: Phase, worked: Worked) -> Normal {
        self.work.iter().find(|(p, w, _)| (*p, *w) == (phase, worked)).map_or(policy::ORDINARY_WORK, |(.., normal)| *normal)
    }
}

impl Ledger {
    /// Sets every entry's baseline, and how much that varies, from what is known of this path and these ends when well.
    pub fn apply(&mut self, baseline: &Baseline) {
        let own = self.min_path().unwrap_or_default();
        let path = baseline.path.unwrap_or(Normal { location: own, spread: Span::ZERO });
        let round_spread = path.spread.max(policy::ROUND_SPREAD);
        let (mut client_cpu, mut unsplit_client) = (baseline.client_cpu, baseline.client_unsplit);
        let mut edge_cpu = policy::EDGE_CPU;
        // Its resolver lies elsewhere than its server; and a name needs one question.
        let mut lookup = baseline.lookup.unwrap_or(policy::ORDINARY_ROUND_TRIP);
        let mut work: SmallVec<[(Phase, Worked, Span); 8]> = SmallVec::new();
        for entry in &mut self.entries {
            let grain = entry.grain;
            entry.spread =
                if entry.round_trip || entry.extra_round { round_spread.max(entry.error).max(grain) } else { Span::ZERO };
            entry.baseline = match (entry.owner, entry.kind) {
                _ if entry.worked.is_some() && !baseline.work.is_empty() => {
                    let Some(worked) = entry.worked else { continue };
                    let known = work.iter().position(|(phase, w, _)| (*phase, *w) == (entry.phase, worked));
                    let at = known.unwrap_or_else(|| {
                        let normal = baseline.work_of(entry.phase, worked);
                        entry.spread = normal.spread.max(grain);
                        work.push((entry.phase, worked, normal.location));
                        work.len() - 1
                    });
                    let taken = entry.span.min(work[at].2);
                    work[at].2 -= taken;
                    taken
                }
                (Owner::Path, _) if entry.round_trip => entry.span.min(path.location),
                (owner, _) if owner == Owner::Resolver || entry.candidates.contains(Owner::Resolver) => {
                    let taken = entry.span.min(lookup);
                    lookup -= taken;
                    taken
                }
                (Owner::Protocol, Some(Kind::FinalAck)) | (_, Some(Kind::Idle)) => entry.span,
                // A delay that may be a host asleep is nobody's work.
                (Owner::Client, _) | (Owner::Unattributed, None) if may_be_client(entry) => {
                    let taken = entry.span.min(unsplit_client);
                    unsplit_client -= taken;
                    taken
                }
                (Owner::ClientApp, Some(Kind::Computing)) => {
                    let taken = entry.span.min(client_cpu);
                    client_cpu -= taken;
                    taken
                }
                (Owner::EdgeApp, Some(Kind::Computing)) => {
                    let taken = entry.span.min(edge_cpu);
                    edge_cpu -= taken;
                    taken
                }
                _ => Span::ZERO,
            };
        }
        self.split_extra_rounds(path.location, round_spread);
        let detour = self.even_rounds().is_some();
        for entry in self.entries.iter_mut().filter(|e| e.owner == Owner::Path && (e.round_trip || e.extra_round)) {
            entry.kind = Some(if detour { Kind::Detour } else { Kind::Delay });
            if detour {
                entry.candidates = EnumSet::empty(); // no machine stands still for each round alike
            }
        }
    }

    /// A round that a protocol asked for is as long as any other; what is more is the path's.
    fn split_extra_rounds(&mut self, path: Span, spread: Span) {
        let mut longer = Vec::new();
        for (i, entry) in self.entries.iter_mut().enumerate() {
            if !entry.extra_round || entry.owner != Owner::Protocol || path == Span::ZERO {
                continue;
            }
            let more = entry.span - path;
            // Seen from one end, the other's kernel may have put its acknowledgement off.
            let put_off = if entry.candidates.is_empty() { Span::ZERO } else { policy::PUT_OFF };
            if more > spread.percent(policy::EXTRA_ROUND_SPREADS).max(put_off) {
                entry.span -= more;
                longer.push((
                    i,
                    Entry { owner: Owner::Path, kind: Some(Kind::Delay), round_trip: false, span: more, ..entry.clone() },
                ));
            }
            (entry.candidates, entry.missing) = (EnumSet::empty(), EnumSet::empty());
        }
        for (i, rest) in longer.into_iter().rev() {
            self.entries.insert(i + 1, rest);
        }
    }
}

/// Whether it is the client's time, or may be.
fn may_be_client(entry: &Entry) -> bool {
    entry.owner == Owner::Client || entry.candidates.contains(Owner::Client)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tcp::flow::Side;

    /// The usual time of each of two entries, 40 ms each.
    fn usual(baseline: &Baseline, owner: Owner, worked: Option<Worked>) -> [Span; 2] {
        let mut ledger = Ledger::open(Span::from_millis(80));
        for _ in 0..2 {
            let entry = Entry::new(Phase::ServerFlight, owner, None, Span::from_millis(40), Span::ZERO);
            ledger.charge(Entry { worked, ..entry });
        }
        ledger.apply(baseline);
        [ledger.entries[0].baseline, ledger.entries[1].baseline]
    }

    #[test]
    fn what_is_usual_of_a_phase_is_usual_once() {
        let worked = Worked { side: Side::Server, tail: false };
        let normal = Normal { location: Span::from_millis(50), spread: Span::from_millis(1) };
        let baseline = Baseline { work: vec![(Phase::ServerFlight, worked, normal)], ..Baseline::default() };
        assert_eq!(usual(&baseline, Owner::EdgeApp, Some(worked)), [40, 10].map(Span::from_millis));
    }

    #[test]
    fn a_name_needs_one_question() {
        assert_eq!(usual(&Baseline::default(), Owner::Resolver, None), [40, 10].map(Span::from_millis));
        let known = Baseline { lookup: Some(Span::from_millis(5)), ..Baseline::default() };
        assert_eq!(usual(&known, Owner::Resolver, None), [5, 0].map(Span::from_millis));
    }
}
