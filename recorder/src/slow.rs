//! Whether a judged handshake is slow, and by whose fault.

use analysis::clock::Span;
use analysis::judging::ledger::{Entry, Missing, Owner};
use analysis::judging::verdict::Verdict;
use enumset::EnumSet;
use explain::judging::Opinion;

use crate::config::Slow;

/// Whose fault a handshake was: what metrics, sums and alerts are by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Culprit {
    /// An owner's, without what tells app from host.
    Side(Owner),
    /// Nobody's that the evidence can name.
    Inconclusive,
    /// Perhaps nobody's: only how long this path usually is was missing.
    LongPath,
    /// It did not complete: the client, the edge or else the path ended it.
    Aborted(Owner),
}

impl Culprit {
    /// All that a recorder at an edge may say.
    pub const ALL: [Self; 11] = [
        Self::Side(Owner::Client),
        Self::Side(Owner::Path),
        Self::Side(Owner::Loss),
        Self::Side(Owner::Edge),
        Self::Side(Owner::Protocol),
        Self::Side(Owner::Unattributed),
        Self::Inconclusive,
        Self::LongPath,
        Self::Aborted(Owner::Client),
        Self::Aborted(Owner::Edge),
        Self::Aborted(Owner::Path),
    ];

    /// Whose fault a judged handshake was; absent if it was healthy.
    pub fn of(opinion: &Opinion) -> Option<Self> {
        match &opinion.judgement.verdict {
            Verdict::Healthy => None,
            Verdict::Culprit { primary, .. } => Some(Self::Side(primary.owner.side())),
            Verdict::Inconclusive { missing, .. } if only_path(*missing) => Some(Self::LongPath),
            Verdict::Inconclusive { .. } => Some(Self::Inconclusive),
            Verdict::Aborted { by, .. } => Some(Self::Aborted(match by.side() {
                end @ (Owner::Client | Owner::Edge) => end,
                _ => Owner::Path,
            })),
        }
    }

    /// Its name in labels and in sums.
    pub fn label(self) -> &'static str {
        match self {
            Self::Side(side) => side.label(),
            Self::Inconclusive => "inconclusive",
            Self::LongPath => "long_path",
            Self::Aborted(Owner::Client) => "aborted_client",
            Self::Aborted(Owner::Edge) => "aborted_edge",
            Self::Aborted(_) => "aborted_path",
        }
    }
}

impl std::fmt::Display for Culprit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.label())
    }
}

/// Whether all that is open is how long this path usually is: true of every first handshake from far away.
fn only_path(missing: EnumSet<Missing>) -> bool {
    missing == Missing::PathBaseline
}

impl Slow {
    /// The least of all thresholds: what took less in all is slow by none of them.
    pub fn least(&self) -> Span {
        let named = self.phases.values().chain(self.owners.values()).chain(&self.total);
        Span::from_nanos(named.map(|t| t.nanos()).fold(self.excess.nanos(), i64::min))
    }

    /// Whether a handshake is slow by any threshold. A healthy one never is, however long its path, nor one that is only far away.
    pub fn holds(&self, opinion: &Opinion) -> bool {
        let ledger = &opinion.reading.ledger;
        let nanos = |sum: &dyn Fn(&Entry) -> i64| ledger.entries.iter().map(sum).sum::<i64>();
        match &opinion.judgement.verdict {
            Verdict::Healthy => return false,
            Verdict::Inconclusive { missing, .. } if only_path(*missing) => return false,
            _ => {}
        }
        let excess = opinion.judgement.excess.nanos() >= self.excess.nanos();
        let total = self.total.is_some_and(|least| ledger.total.nanos() >= least.nanos());
        let by_phase = |name: &str| nanos(&|e| if e.phase.label() == name { e.span.nanos() } else { 0 });
        let by_owner = |name: &str| nanos(&|e| if e.owner.side().label() == name { e.excess().nanos() } else { 0 });
        let phases = self.phases.iter().any(|(name, least)| by_phase(name) >= least.nanos());
        let owners = self.owners.iter().any(|(name, least)| by_owner(name) >= least.nanos());
        excess || total || phases || owners
    }
}
