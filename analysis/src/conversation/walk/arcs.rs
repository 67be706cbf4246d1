//! The arcs of a walk: each a stretch of time that one thing took. Laid end to end they are the handshake.

use super::transport::{Known, Rule};
use crate::judging::ledger::Phase;
use crate::tcp::flow::Side;

/// What took the time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum What {
    /// An end's own: from what came to what left.
    Work(Work),
    /// One way through the network; across two clocks, so only the sum of a way out and a way back means anything.
    Way,
    /// From the first copy to the one that came.
    Lost,
    /// The same, though the first copy came after all, behind its repetition.
    Overtaken,
    /// From the first copy, which had come, to the one whose acknowledgement came: what was waited for was that of the first.
    Unheard,
    /// TCP let nothing go before some news, by this rule, or spread it over a round trip.
    Limit(Rule),
    /// By this rule nothing left before its timer ran out, for an acknowledgement was overdue.
    Overdue(Rule),
    /// An acknowledgement that an end put off, and that the other end's TCP waited for by this rule.
    Hold(Rule),
    /// Its window was shut on the way, in its name.
    Shut,
    /// It left, and never came as long as anybody watched.
    Vanished,
}

/// Which of an end's own work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Work {
    /// Up to the first segment of its turn.
    Head,
    /// From there to the segment that was waited for: a flight written in several pieces.
    Tail,
    /// It let data lie until its window closed.
    Unread,
    /// It never said what was due.
    Silence,
}

/// One stretch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arc {
    pub what: What,
    /// Whose: the end that worked, or the one that sent.
    pub side: Side,
    /// Where in the handshake.
    pub phase: Phase,
    /// On that end's clock; of a [`What::Way`] from one end's to the other's.
    pub from: i64,
    pub to: i64,
    /// Packets that bound it.
    pub packets: [Option<u64>; 2],
    /// The less certain of its two ends.
    pub known: Known,
}

impl Arc {
    pub fn span(&self) -> i64 {
        self.to.saturating_sub(self.from)
    }
}
