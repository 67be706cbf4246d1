//! What is said: of the evidence, of one handshake, of a cell or a run of them.
//!
//! In: nothing but each other; [`super::decide`] makes them. Out: [`Reading`], [`Verdict`] and [`Judgement`] with their labels.

use std::fmt;

use enumset::EnumSet;
use serde::{Deserialize, Serialize};

use crate::clock::Span;
use crate::conversation::milestone::Milestone;
pub use crate::conversation::reset::Ended;
pub use crate::judging::decide::{Circumstances, decide, excess_by_owner, floor, judge};
use crate::judging::ledger::Ledger;
use crate::judging::vocabulary::{Kind, Label, Missing, Owner};

/// How good the evidence is (docs/verdicts.md, "Evidence grades").
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// A program's own clock alone: the client's, or the edge's as its log has it.
    App {
        /// Whether its scheduler evidence is there too.
        host: bool,
    },
    /// The client's own socket: kernel timestamps and counters.
    Socket {
        /// Whether the client's scheduler evidence is there too.
        host: bool,
    },
    /// Packets from one end.
    OneEnd {
        /// Whether that end's scheduler evidence is there too.
        host: bool,
    },
    /// Packets from both ends.
    BothEnds {
        /// Whether the client's scheduler evidence is there too.
        host: bool,
    },
}

impl fmt::Display for Grade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, host) = match self {
            Grade::App { host } => ("app", host),
            Grade::Socket { host } => ("socket", host),
            Grade::OneEnd { host } => ("one end", host),
            Grade::BothEnds { host } => ("both ends", host),
        };
        write!(f, "{name}{}", if *host { " + host" } else { "" })
    }
}

/// How a handshake ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// It completed.
    Complete,
    /// It was none: what answered ClientHello is not TLS, or the TLS lies inside something else. Read to the first answer.
    NotTls,
    /// It never completed.
    Stopped {
        /// The last milestone proven.
        after: Milestone,
    },
}

/// What the evidence of one grade says of one handshake.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Reading {
    /// The evidence.
    pub grade: Grade,
    /// Where the time went.
    pub ledger: Ledger,
    /// How it ended.
    pub end: End,
}

/// An owner found guilty.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Culprit {
    /// Whose time it was.
    pub owner: Owner,
    /// Doing what, for the most part.
    pub kind: Option<Kind>,
    /// Time beyond the baseline.
    pub excess: Span,
    /// How far that may be off.
    pub error: Span,
}

impl Culprit {
    /// `owner/kind`, as scenarios write it.
    pub fn label(&self) -> String {
        Label { owner: self.owner, kind: self.kind }.to_string()
    }

    /// Whether a scenario's `owner` or `owner/kind` names this culprit; `client` and `edge` also name
    /// their app and host.
    fn is(&self, pattern: &str) -> bool {
        pattern.parse::<Label>().is_ok_and(|label| label.names(self.owner, self.kind))
    }
}

/// What is said of one handshake, or of a cell or a run of them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "verdict")]
pub enum Verdict {
    /// Nothing beyond the baseline and the effect floor.
    Healthy,
    /// One owner did it, perhaps with a second.
    Culprit {
        /// The first.
        primary: Culprit,
        /// The second of a mixed case.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        second: Option<Culprit>,
    },
    /// The evidence cannot tell.
    Inconclusive {
        /// Who it may have been.
        candidates: EnumSet<Owner>,
        /// What would tell.
        missing: EnumSet<Missing>,
        /// The time in question.
        excess: Span,
    },
    /// One side ended it.
    Aborted {
        /// Which: the client or the edge.
        by: Owner,
        /// After which milestone.
        after: Milestone,
    },
}

impl Verdict {
    /// Short form: `healthy`, `client_host/cpu_starved`, `path/detour + client_app/asleep`, `inconclusive`.
    pub fn label(&self) -> String {
        match self {
            Verdict::Healthy => "healthy".into(),
            Verdict::Culprit { primary, second: None } => primary.label(),
            Verdict::Culprit { primary, second: Some(second) } => format!("{} + {}", primary.label(), second.label()),
            Verdict::Inconclusive { .. } => "inconclusive".into(),
            Verdict::Aborted { by, .. } => format!("aborted/{}", by.label()),
        }
    }

    /// Whether this verdict is what a scenario expects: `healthy`, `inconclusive`, `aborted`, `owner`,
    /// `owner/kind`, or two culprits joined by ` + ` in any order.
    pub fn is(&self, expected: &str) -> bool {
        match self {
            Verdict::Culprit { primary, second: None } => primary.is(expected.trim()),
            Verdict::Culprit { primary, second: Some(second) } => expected.split_once('+').is_some_and(|(a, b)| {
                let (a, b) = (a.trim(), b.trim());
                (primary.is(a) && second.is(b)) || (primary.is(b) && second.is(a))
            }),
            Verdict::Aborted { .. } => expected.trim() == "aborted" || self.label() == expected.trim(),
            other => other.label() == expected.trim(),
        }
    }

    /// Whether somebody else than the `end` (client, edge or path) is found guilty.
    pub(super) fn blames_other_than(&self, end: Owner) -> bool {
        matches!(self, Verdict::Culprit { primary, .. } if primary.owner.side() != end && primary.owner != Owner::Protocol)
    }

    /// Whether `label` (as for [`Self::is`]) is this verdict or names one of its culprits.
    pub fn names(&self, label: &str) -> bool {
        match self {
            Verdict::Culprit { primary, second } => {
                self.is(label) || primary.is(label) || second.as_ref().is_some_and(|s| s.is(label))
            }
            other => other.is(label),
        }
    }
}

/// A verdict with the sums behind it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Judgement {
    /// The verdict.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Everything beyond the baseline.
    pub excess: Span,
    /// Below this, nothing is wrong.
    pub floor: Span,
    /// The excess by owner, largest first.
    pub parts: Vec<Culprit>,
    /// What the left-open time needs, if any was left open.
    #[serde(skip_serializing_if = "EnumSet::is_empty", default)]
    pub candidates: EnumSet<Owner>,
    /// What would settle it.
    #[serde(skip_serializing_if = "EnumSet::is_empty", default)]
    pub missing: EnumSet<Missing>,
}

impl Judgement {
    /// Whether somebody, or time that nobody is given, took more beyond the baseline than counts.
    pub(super) fn was_slow(&self) -> bool {
        self.parts.iter().any(|p| p.excess >= self.floor)
    }

    /// Makes it inconclusive: it may have been any of `candidates`, and `missing` would tell.
    pub fn leave_open(&mut self, candidates: EnumSet<Owner>, missing: Missing) {
        let candidates = whole(candidates);
        (self.candidates, self.missing) = (candidates, missing.into());
        self.verdict = Verdict::Inconclusive { candidates, missing: self.missing, excess: self.excess };
    }
}

/// Owners who may have done something: nobody who is nobody, and no part beside its whole.
pub(super) fn whole(mut candidates: EnumSet<Owner>) -> EnumSet<Owner> {
    candidates.remove(Owner::Unattributed);
    candidates.remove(Owner::Protocol);
    for (whole, parts) in [(Owner::Client, Owner::ClientApp | Owner::ClientHost), (Owner::Edge, Owner::EdgeApp | Owner::EdgeHost)]
    {
        if candidates.contains(whole) {
            candidates -= parts;
        }
    }
    candidates
}
