//! Every kind that a verdict may have is charged by somebody: a row of the vocabulary that nothing ever gives is found here.
//!
//! In: trials of the fault matrix, with their hosts' evidence.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::PathBuf;

use analysis::judging::ledger::Kind;
use explain::judging::Finding;
use explain::placing::Placed;
use explain::{Sink, explain};
use sim::Trial;
use sim::cases::{CASES, Grade, Setup};
use sim::tls::Version;
use whostalled_score::captured::{add_hosts, captures};

/// Kinds that nothing gives any more: files of earlier versions have them.
const RETIRED: [Kind; 1] = [Kind::FinalAck];

/// Notes which kinds a trial's ledgers have.
struct Kinds<'a> {
    found: &'a mut BTreeSet<Kind>,
    trial: &'a Trial,
}

impl Sink for Kinds<'_> {
    fn placed(&mut self, placed: &mut Placed) {
        let ends = &placed.handshake.endpoints;
        if (ends.client, ends.server) == self.trial.at_client {
            add_hosts(self.trial, placed);
        }
    }

    fn finding(&mut self, finding: Finding, _: &[PathBuf]) -> ControlFlow<()> {
        let entries = finding.judged.iter().flat_map(|opinion| &opinion.reading.ledger.entries);
        self.found.extend(entries.filter_map(|entry| entry.kind));
        ControlFlow::Continue(())
    }

    fn progress(&mut self, _: u64) {}
}

#[test]
fn every_kind_is_charged_by_a_trial() {
    let wanted: BTreeSet<Kind> = Kind::ALL.iter().copied().filter(|kind| !RETIRED.contains(kind)).collect();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut found = BTreeSet::new();
    let setups = (1..=CASES).flat_map(|case| {
        let versions =
            Version::ALL.into_iter().flat_map(|version| [Grade::BothAndHost, Grade::Server].map(|grade| (version, grade)));
        versions.map(move |(version, grade)| Setup { case, severity: 500, version, grade, seed: u64::from(case) })
    });
    for setup in setups {
        // Most trials have nothing new: the matrix is played only as far as is needed.
        if wanted.is_subset(&found) {
            break;
        }
        let Some(planned) = setup.plan() else { continue };
        let trial = Trial::run(&planned.plan, setup.seed);
        explain(&captures(&trial, setup.grade, folder.path()), &mut Kinds { found: &mut found, trial: &trial });
    }
    let missing: Vec<&Kind> = wanted.difference(&found).collect();
    assert!(missing.is_empty(), "no trial has these charged: play them, or say that they are retired: {missing:?}");
    assert!(RETIRED.iter().all(|kind| !found.contains(kind)), "what is retired is charged: {found:?}");
}
