//! One trial through `explain`, as a user's captures go.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use analysis::clock::Span;
use analysis::judging::ledger::Owner;
use analysis::judging::verdict::Verdict;
use analysis::wire::packet::{LinkType, Transport, decode};
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
    /// Every handshake that was told, the trial's own too: whoever reads one believes it.
    pub told: Vec<Told>,
    /// The connections whose SYN the captures show.
    pub begun: BTreeSet<Ends>,
    /// The client's ports of those before the trial's own.
    pub quiet: BTreeSet<u16>,
    /// Warnings beside it.
    pub warnings: Vec<String>,
    /// What evidence the far end of a single capture offered: timestamps, and an identification that counts.
    pub offered: (bool, bool),
}

/// Client and server.
pub type Ends = (SocketAddr, SocketAddr);

/// A handshake that was told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Told {
    /// Between whom.
    pub ends: Ends,
    /// Whether it is the trial's own, under either of its names.
    pub own: bool,
    /// The verdict's label.
    pub label: String,
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
        self.unsound().is_empty() && self.expected.right.iter().any(fits)
    }

    /// What was told of any handshake that cannot be: twice, of none that there is, or a blame of one before the trial's own, which nothing
    /// ailed.
    pub fn unsound(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (at, Told { ends, own, label }) in self.told.iter().enumerate() {
            let (client, server) = ends;
            if self.told[..at].iter().any(|earlier| earlier.ends == *ends || *own && earlier.own) {
                found.push(format!("{client} → {server} was told twice"));
            }
            if !self.begun.contains(ends) {
                found.push(format!("{client} → {server} is no connection of the trial"));
            }
            let shared = self.expected.of_all && self.expected.right.iter().any(|right| label.starts_with(right));
            let blamed = !shared && !matches!(label.as_str(), "healthy" | "inconclusive" | NOTHING);
            if !own && blamed && self.quiet.contains(&client.port()) {
                found.push(format!("{client} → {server}, which nothing ailed, is said to be {label}"));
            }
        }
        found.extend(self.left_out());
        found
    }

    /// An open verdict in which neither the candidates nor the parts have who it was.
    fn left_out(&self) -> Option<String> {
        let (owners, opinion) = (self.expected.among, self.opinion.as_ref()?);
        let open = matches!(opinion.judgement.verdict, Verdict::Inconclusive { .. });
        let named = opinion.judgement.parts.iter().map(|part| part.owner);
        let among = opinion.judgement.candidates.iter().chain(named).any(|candidate| owners.contains(&candidate.side()));
        (open && !among && !owners.is_empty())
            .then(|| format!("open, and none of {owners:?} is among {:?}", opinion.judgement.candidates))
    }

    /// Whether it said that it cannot tell, or nothing.
    pub fn open(&self) -> bool {
        self.unsound().is_empty() && matches!(self.label().as_str(), "inconclusive" | NOTHING)
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
    let mut sink = Picking { trial, grade: setup.grade, picked: None, told: Vec::new() };
    let counts = if setup.grade == Grade::Client { planned.server_counts } else { planned.counts };
    let offered = (planned.timestamps, counts);
    let Outcome { warnings, .. } = explain(&options, &mut sink);
    let Picking { picked: opinion, told, .. } = sink;
    let quiet = (0..planned.plan.before).flat_map(sim::ports).collect();
    Judged { setup, expected, opinion, told, begun: begun(trial), quiet, warnings, offered }
}

/// The connections whose SYN any capture of a trial shows.
fn begun(trial: &Trial) -> BTreeSet<Ends> {
    let frames = trial.client.iter().chain(&trial.edge).chain(trial.one_file.iter().flatten());
    let segments = frames.filter_map(|(_, frame)| match decode(LinkType::Ethernet, frame) {
        Ok(Transport::Tcp(segment)) => Some((segment.source(), segment.destination(), segment.flags)),
        _ => None,
    });
    segments.filter(|(.., flags)| flags.syn() && !flags.ack()).map(|(client, server, _)| (client, server)).collect()
}

/// Adds the hosts' evidence, and picks the opinion on the trial's own handshake.
struct Picking<'a> {
    trial: &'a Trial,
    grade: Grade,
    picked: Option<Opinion>,
    told: Vec<Told>,
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
        let (own, ends) = (self.is_ours(&finding.placed), finding.placed.handshake.endpoints);
        let label = finding.judged.as_ref().map_or(NOTHING.into(), |opinion| opinion.judgement.verdict.label());
        self.told.push(Told { ends: (ends.client, ends.server), own, label });
        if own {
            self.picked = finding.judged.ok();
        }
        ControlFlow::Continue(())
    }

    fn progress(&mut self, _: u64) {}
}

#[cfg(test)]
mod tests {
    use sim::tls::Version;

    use super::*;

    fn healthy(told: &[(u16, bool, &str)]) -> Judged {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let setup = Setup { case: 1, severity: 150, version: Version::Tls13, grade: Grade::Client, seed: 1 };
        let mut judged = trial(setup, folder.path()).expect("the case makes sense");
        let own = judged.told.iter().find(|told| told.own).expect("it was told").clone();
        let told = told.iter().map(|(port, own_one, label)| {
            let (mut client, server) = own.ends;
            client.set_port(if *own_one { client.port() } else { *port });
            Told { ends: (client, server), own: *own_one, label: (*label).to_owned() }
        });
        judged.told.extend(told);
        judged
    }

    #[test]
    fn what_is_told_beside_the_trials_own_handshake_counts() {
        let as_it_is = healthy(&[]);
        assert!(as_it_is.told.len() > 1 && as_it_is.right(), "{:?}", as_it_is.unsound());
        for wrong in [(0, true, "healthy"), (40_000, false, "healthy"), (39_000, false, "healthy"), (40_007, false, "client")] {
            let judged = healthy(&[wrong]);
            assert!(!judged.right() && !judged.open(), "{wrong:?}");
        }
        let mut blamed = healthy(&[]);
        let sibling = blamed.told.iter_mut().find(|told| !told.own).expect("there are some before it");
        sibling.label = "edge".into();
        assert_eq!(blamed.unsound().len(), 1);
        assert!(!blamed.right());
    }
}
