//! What can be wrong with a claim.

use std::fmt;

use crate::clock::Span;
use crate::conversation::milestone::Milestone;
use crate::judging::ledger::{Entry, Kind, Missing, Owner, Phase};
use crate::tcp::flow::Side;

/// An entry of a ledger that claims something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claim {
    /// Where in the handshake.
    pub phase: Phase,
    /// Whose time.
    pub owner: Owner,
    /// Doing what.
    pub kind: Option<Kind>,
    /// How long.
    pub span: Span,
}

impl Claim {
    /// What an entry claims.
    pub fn of(entry: &Entry) -> Self {
        Self { phase: entry.phase, owner: entry.owner, kind: entry.kind, span: entry.span }
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.span, self.owner.words())?;
        self.kind.map_or(Ok(()), |kind| write!(f, " ({})", kind.words()))?;
        write!(f, " in {}", self.phase.words())
    }
}

/// The kinds of claims that are checked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Rule {
    /// A ledger sums to its total, a judgement to its ledger; owners have kinds that they can have.
    Sums,
    /// No instant is counted twice.
    Once,
    /// An end's own time holds nothing that the end said.
    Work,
    /// "Never completed", or completed.
    Ending,
    /// Something was lost, and came again.
    Loss,
    /// An end, or the path, ended it.
    Aborted,
    /// What is left open is open.
    Open,
    /// Cited packets are there.
    Cited,
    /// A rule of TCP's, a queue or a lookup held something.
    Limit,
    /// A round trip lies between the packets that it cites.
    Round,
    /// What the sentence says stands in the ledger.
    Words,
}

/// A claim that the packets, or the sums, contradict.
#[derive(Clone, PartialEq, Debug)]
#[expect(missing_docs, reason = "what a field holds, the words of its variant say")]
pub enum Broken {
    /// The entries do not sum to the total.
    Sum { entries: Span, total: Span },
    /// An entry takes no time, or less; or more of it is usual than there is.
    NoTime { claim: Claim, baseline: Span },
    /// An owner that never does such a thing.
    NoSuchKind { claim: Claim },
    /// More time than anybody watched, beside the lookup.
    Longer { total: Span, watched: Span },
    /// The same entry twice: some instants are counted more than once.
    Twice { claim: Claim, packets: Vec<u64> },
    /// An owner's part of the excess is not that of the entries.
    Part { owner: Owner, said: Span, entries: Span },
    /// The excess is not the sum of its parts, or healthy above the floor.
    Excess { said: Span, is: Span },
    /// A cited packet belongs to no view of the handshake.
    NoPacket { claim: Claim, packet: u64 },
    /// The packets cited do not bound the time: they lie in two captures, or are of the wrong end.
    Unbound { claim: Claim, packets: Vec<u64>, why: &'static str },
    /// The cited packets lie another time apart.
    Distance { claim: Claim, packets: [u64; 2], apart: Span },
    /// The end that is said to have been silent, or at work, sent something new meanwhile.
    Spoke { claim: Claim, side: Side, packets: Vec<u64>, new: u64 },
    /// What left at its end acknowledges something newer than what it is said to have followed.
    Newer { claim: Claim, packets: [u64; 2], newer: u64 },
    /// The far end's timestamps leave no room for so much.
    Stamps { claim: Claim, packets: [u64; 2], told: Span },
    /// "Never completed", but the last Finished came.
    Completed { side: Side, packet: u64 },
    /// Completed, but nobody shows that the last Finished came.
    Incomplete { side: Side },
    /// The last thing proven is nowhere to be seen.
    Unproven { after: Milestone },
    /// Said to have been lost, but sent once, or all that was sent came.
    NotLost { claim: Claim, packets: Vec<u64>, sent: usize, came: usize },
    /// Its repetition came, says the sentence; no repetition did.
    NoRepetition { claim: Claim },
    /// Full-size packets came whole, or no smaller ones did.
    NoBlackhole { claim: Claim, packet: Option<u64> },
    /// Another ended it first.
    EndedFirst { by: Owner, first: Side, packet: u64 },
    /// Nobody ended it, in any capture.
    NobodyEnded { by: Owner },
    /// A list of candidates with one name, or none.
    Candidates { n: usize },
    /// Nobody is a candidate, or an end and a part of it.
    NoCandidate { owner: Owner },
    /// A witness is missed that is there.
    NotMissing { missing: Missing, packet: Option<u64> },
    /// A time that prints as nothing.
    Nothing { what: &'static str },
    /// What is said to have held something cannot have.
    NotHeld { claim: Claim, packets: Vec<u64>, why: &'static str },
    /// A round trip that cites nothing which bounds it: one packet, or packets of two captures.
    NoBounds { claim: Claim, packets: Vec<u64>, why: &'static str },
    /// No packet out, or none back, between the cited packets; or less time.
    NoRound { claim: Claim, packets: [u64; 2], apart: Span },
    /// A number in the sentence that nothing in the ledger prints as.
    Number { said: String },
    /// The sentence contradicts itself or the reading.
    Says { what: &'static str },
}

impl Broken {
    /// Which kind of claim it was.
    pub fn rule(&self) -> Rule {
        match self {
            Broken::Sum { .. }
            | Broken::NoTime { .. }
            | Broken::NoSuchKind { .. }
            | Broken::Part { .. }
            | Broken::Excess { .. } => Rule::Sums,
            Broken::Longer { .. } | Broken::Twice { .. } => Rule::Once,
            Broken::NoPacket { .. } => Rule::Cited,
            Broken::Unbound { .. }
            | Broken::Distance { .. }
            | Broken::Spoke { .. }
            | Broken::Newer { .. }
            | Broken::Stamps { .. } => Rule::Work,
            Broken::Completed { .. } | Broken::Incomplete { .. } | Broken::Unproven { .. } => Rule::Ending,
            Broken::NotLost { .. } | Broken::NoRepetition { .. } | Broken::NoBlackhole { .. } => Rule::Loss,
            Broken::EndedFirst { .. } | Broken::NobodyEnded { .. } => Rule::Aborted,
            Broken::Candidates { .. } | Broken::NoCandidate { .. } | Broken::NotMissing { .. } | Broken::Nothing { .. } => {
                Rule::Open
            }
            Broken::NotHeld { .. } => Rule::Limit,
            Broken::NoBounds { .. } | Broken::NoRound { .. } => Rule::Round,
            Broken::Number { .. } | Broken::Says { .. } => Rule::Words,
        }
    }

    /// Whether no input at all may break it: sums, and packets that are there.
    pub fn is_arithmetic(&self) -> bool {
        matches!(self.rule(), Rule::Sums | Rule::Cited)
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broken::Sum { entries, total } => write!(f, "the entries sum to {entries}, the total is {total}"),
            Broken::NoTime { claim, baseline } => write!(f, "{claim}, {baseline} of it usual: no time, or less than none"),
            Broken::NoSuchKind { claim } => write!(f, "{claim}: such an owner never does that"),
            Broken::Longer { total, watched } => write!(f, "{total} in all, of {watched} that anybody watched"),
            Broken::Twice { claim, packets } => write!(f, "{claim} by packets {packets:?} is counted twice"),
            Broken::Part { owner, said, entries } => {
                write!(f, "{said} beyond the baseline are said to be of {}, the entries have {entries}", owner.words())
            }
            Broken::Excess { said, is } => {
                write!(f, "{said} are said to be beyond the baseline; the parts, or the floor, say {is}")
            }
            Broken::NoPacket { claim, packet } => write!(f, "{claim} cites packet {packet}, which no view has"),
            Broken::Unbound { claim, packets, why } | Broken::NoBounds { claim, packets, why } => {
                write!(f, "{claim} is not bounded by packets {packets:?}: {why}")
            }
            Broken::Distance { claim, packets: [a, b], apart } => {
                write!(f, "{claim} cites packets {a} and {b}, which lie {apart} apart")
            }
            Broken::Spoke { claim, side, packets, new } => {
                write!(f, "{claim} between packets {packets:?}, but {} sent something new in packet {new}", end(*side))
            }
            Broken::Newer { claim, packets: [a, b], newer } => {
                write!(f, "{claim} between packets {a} and {b}, but {b} acknowledges packet {newer}, which came in between")
            }
            Broken::Stamps { claim, packets: [a, b], told } => {
                write!(f, "{claim}, but by the timestamps of packets {a} and {b} it was {told} at most")
            }
            Broken::Completed { side, packet } => {
                write!(f, "never completed, it is said, but packet {packet} shows that Finished of {} came", end(*side))
            }
            Broken::Incomplete { side } => {
                write!(f, "it completed, it is said, but nothing shows that Finished of {} came", end(*side))
            }
            Broken::Unproven { after } => write!(f, "{} is said to be proven; no view shows it", after.words()),
            Broken::NotLost { claim, packets, sent, came } => {
                write!(f, "{claim} by packets {packets:?}, but it was sent {sent} times and came {came} times")
            }
            Broken::NoRepetition { claim } => write!(f, "a retransmission is said to have come, but {claim} shows none"),
            Broken::NoBlackhole { claim, packet: Some(packet) } => {
                write!(f, "{claim}, but packet {packet} came whole, and is as big")
            }
            Broken::NoBlackhole { claim, packet: None } => write!(f, "{claim}, but no big packet was sent twice for nothing"),
            Broken::EndedFirst { by, first, packet } => {
                write!(f, "{} is said to have ended it; first was {}, in packet {packet}", by.words(), end(*first))
            }
            Broken::NobodyEnded { by } => write!(f, "{} is said to have ended it; no view shows that", by.words()),
            Broken::Candidates { n } => write!(f, "left open among {n} candidates"),
            Broken::NoCandidate { owner } => {
                write!(f, "{} is named as a candidate: nobody, or named already", owner.words())
            }
            Broken::NotMissing { missing, packet: Some(packet) } => {
                write!(f, "{missing} is said to be missing; see packet {packet}")
            }
            Broken::NotMissing { missing, packet: None } => write!(f, "{missing} is said to be missing, and is there"),
            Broken::Nothing { what } => write!(f, "{what} prints as nothing"),
            Broken::NotHeld { claim, packets, why } => write!(f, "{claim} by packets {packets:?}, but {why}"),
            Broken::NoRound { claim, packets: [a, b], apart } => {
                write!(f, "{claim} cites packets {a} and {b}, {apart} apart: no round trip of that length lies between them")
            }
            Broken::Number { said } => write!(f, "the sentence says {said}, which is nothing in the ledger"),
            Broken::Says { what } => write!(f, "the sentence {what}"),
        }
    }
}

fn end(side: Side) -> &'static str {
    match side {
        Side::Client => "the client",
        Side::Server => "the edge",
    }
}
