//! One trial through `explain`, as a user's captures go.

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use analysis::clock::Span;
use analysis::judging::ledger::Owner;
use explain::judging::{Finding, Opinion};
use explain::placing::Placed;
use explain::{Outcome, Sink, explain};
use sim::Trial;
use sim::cases::{Grade, Planned, Setup};

use crate::captured::{add_hosts, captures};
use crate::expect::{Expected, Family, NOTHING, expected};

/// One trial, judged.
pub struct Judged {
    /// What it was.
    pub setup: Setup,
    /// What was expected.
    pub expected: Expected,
    /// What was said; absent if the handshake was not found or not judged.
    pub opinion: Option<Opinion>,
    /// Warnings beside it.
    pub warnings: Vec<String>,
    /// What evidence the far end of a single capture offered: timestamps, and an identification that counts.
    pub offered: (bool, bool),
}

impl Judged {
    /// The verdict's label.
    pub fn label(&self) -> String {
        self.opinion.as_ref().map_or(NOTHING.into(), |o| o.judgement.verdict.label())
    }

    /// Whether that is right.
    pub fn right(&self) -> bool {
        let fits = |label: &String| match &self.opinion {
            Some(opinion) => opinion.judgement.verdict.is(label),
            None => label == NOTHING,
        };
        self.expected.right.iter().any(fits)
    }

    /// Whether it said that it cannot tell, or nothing.
    pub fn open(&self) -> bool {
        matches!(self.label().as_str(), "inconclusive" | NOTHING)
    }

    /// How much time it gave to the injected fault's owner, how much was injected, and the stated error.
    pub fn attributed(&self) -> Option<(Span, Span, Span)> {
        let (family, truth) = self.expected.truth?;
        let opinion = self.opinion.as_ref().filter(|_| self.right())?;
        let member = |owner: Owner| match family {
            Family::Client => owner.side() == Owner::Client,
            Family::Edge => owner.side() == Owner::Edge,
            Family::Loss => owner == Owner::Loss,
            Family::PathExcess => owner == Owner::Path,
        };
        let entries = || opinion.reading.ledger.entries.iter().filter(|e| member(e.owner));
        let given = entries().map(|e| if family == Family::PathExcess { e.excess() } else { e.span }).sum();
        Some((given, truth, entries().map(|e| e.error).sum()))
    }
}

/// Makes, reads and judges one trial; absent where the case makes no sense for the version or the evidence.
///
/// # Panics
/// If the trial's captures cannot be written to `folder`.
pub fn trial(setup: Setup, folder: &Path) -> Option<Judged> {
    let planned = setup.plan()?;
    let trial = Trial::run(&planned.plan, setup.seed);
    let expected = expected(&setup, &planned, &trial);
    Some(judge(setup, &planned, &trial, expected, folder))
}

fn judge(setup: Setup, planned: &Planned, trial: &Trial, expected: Expected, folder: &Path) -> Judged {
    let options = captures(trial, setup.grade, folder);
    let mut sink = Picking { trial, grade: setup.grade, picked: None };
    let counts = if setup.grade == Grade::Client { planned.server_counts } else { planned.counts };
    let offered = (planned.timestamps, counts);
    let Outcome { warnings, .. } = explain(&options, &mut sink);
    Judged { setup, expected, opinion: sink.picked, warnings, offered }
}

/// Adds the hosts' evidence, and picks the opinion on the trial's own handshake.
struct Picking<'a> {
    trial: &'a Trial,
    grade: Grade,
    picked: Option<Opinion>,
}

impl Picking<'_> {
    fn is_ours(&self, placed: &Placed) -> bool {
        let ours: [(SocketAddr, SocketAddr); 2] = [self.trial.at_client, self.trial.at_edge];
        let ends = &placed.handshake.endpoints;
        let ours = ours[usize::from(self.grade == Grade::Server)];
        // Of two names that an edge's capture shows, either is its own.
        ours == (ends.client, ends.server)
            || self.trial.inside.is_some_and(|inside| (ours.0, inside) == (ends.client, ends.server))
    }
}

impl Sink for Picking<'_> {
    fn placed(&mut self, placed: &mut Placed) {
        if self.grade == Grade::BothAndHost && self.is_ours(placed) {
            add_hosts(self.trial, placed);
        }
    }

    fn finding(&mut self, finding: Finding, _: &[PathBuf]) -> ControlFlow<()> {
        if self.is_ours(&finding.placed) {
            self.picked = finding.judged.ok();
        }
        ControlFlow::Continue(())
    }

    fn progress(&mut self, _: u64) {}
}
