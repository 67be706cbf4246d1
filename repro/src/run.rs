//! One run from start to verdict: plans out to the ends of each cell, bundles back, judged, written down.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use lab::rootless::Privilege;
use lab::truth::Injected;
use records::handshake::HandshakeRecord;
use records::run::{Footing, Provided, RunRecord};

use crate::Error;
use crate::batch::{self, Order, Ran};
use crate::conditions::Conditions;
use crate::ends::Ends;
use crate::folder::Folder;
use crate::gathered::Gathered;
use crate::manifest::{manifest, run_id};
use crate::scenario::Scenario;
use crate::targets::TargetSpec;
use crate::vantages::{AskRecorder, Opening, Reach, open};

/// Renders a page: the run, its handshakes, what was injected.
pub type Page<'a> = dyn Fn(&RunRecord, &[HandshakeRecord], &[String]) -> String + 'a;

/// How to run.
pub struct RunOptions<'a> {
    /// Where run folders go.
    pub results: PathBuf,
    /// What this process may do in the lab.
    pub privilege: Privilege,
    /// Do without packets, where the hosts are real.
    pub no_capture: bool,
    /// Reaches agents of a fleet, where there is one.
    pub fleet: Option<&'a Reach<'a>>,
    /// Asks recorders beside agents of a fleet, where there is one.
    pub recorders: Option<&'a AskRecorder<'a>>,
    /// Vantages that a provider brought up for it.
    pub provided: &'a [Provided],
    /// Set to stop.
    pub interrupted: &'a AtomicBool,
    /// Told how far the run is: (what, done, of how many).
    pub progress: &'a dyn Fn(&str, u64, u64),
    /// Renders `report.html`.
    pub page: &'a Page<'a>,
}

/// What a run gives back.
pub struct Outcome {
    /// The run.
    pub record: RunRecord,
    /// Its handshakes.
    pub handshakes: Vec<HandshakeRecord>,
    /// Clients that did what they were to do.
    pub succeeded: u64,
    /// What was injected.
    pub truth: Vec<Injected>,
    /// Where everything lies.
    pub folder: PathBuf,
}

/// Runs a scenario.
///
/// # Errors
/// Harness failures only; what was measured until then is in the run folder.
pub fn run(scenario: &Scenario, options: &RunOptions<'_>) -> Result<Outcome, Error> {
    let run_id = run_id(&scenario.name);
    let cells: u64 = (scenario.vantages.len() * scenario.targets.len()) as u64;
    let total = cells * u64::from(scenario.all_rounds());
    (options.progress)(if scenario.in_lab() { "building the lab" } else { "reaching the vantages" }, 0, total);
    let with_faults = Conditions::of(scenario, scenario.faults.values());
    let without = (scenario.baseline_rounds > 0).then(|| Conditions::of(scenario, []));
    let RunOptions { privilege, no_capture, fleet, recorders, interrupted, progress, .. } = *options;
    let provider = open(
        scenario,
        without.as_ref().unwrap_or(&with_faults),
        Opening { privilege, no_capture, fleet, recorders, interrupted, progress, total },
    )?;
    let mut ends = Ends::of(provider.as_ref(), scenario)?;
    let names = scenario.vantages.iter().map(|v| &v.name).chain(scenario.targets.iter().map(|t| &t.name));
    let hosts = if scenario.in_lab() { names.cloned().collect() } else { Vec::new() };
    let mut folder = Folder::create(options.results.join(&run_id), &scenario.name, hosts)?;
    let manifest = manifest(&run_id, scenario, &ends, options.provided.to_vec());
    folder.json("run.json", &manifest)?;

    let truth: Vec<Injected> = scenario.faults.values().filter_map(|fault| fault.kind().truth()).collect();
    let footing = Footing { gave_up: ends.gave_up.clone(), missing: ends.missing.clone(), ..Footing::default() };
    let mut gathered = Gathered::new(footing, truth, ends.watched());
    for injected in &gathered.truth {
        folder.append("truth.ndjson", injected)?;
    }
    let (mut done, mut taken) = (0, false);
    let measured = (|| {
        for round in 0..scenario.all_rounds() {
            let conditions = match &without {
                Some(without) if round < scenario.baseline_rounds => without,
                _ => &with_faults,
            };
            if round > 0 && round == scenario.baseline_rounds {
                provider.set(conditions)?;
            }
            for (vantages, target) in order(scenario, round) {
                let who = vantages.join(", ");
                (options.progress)(&format!("round {}: {who} → {}", round + 1, target.name), done, total);
                let mut orders = BTreeMap::new();
                for vantage in vantages {
                    done += 1;
                    let clients = batch::clients(scenario, conditions, vantage, target, ends.destination(target)?);
                    let load = conditions.loads.get(vantage).filter(|_| provider.plans_load()).copied();
                    orders.insert(vantage, Order { batch: done, clients, load });
                }
                let numbers: BTreeMap<&str, u64> = orders.iter().map(|(name, order)| (*name, order.batch)).collect();
                let cells = ends.cells(target, orders)?;
                if cells.members.is_empty() {
                    continue;
                }
                let Ran { batches, unwatched } = batch::run(cells, folder.next_packet(), options.interrupted)?;
                for (vantage, batch) in batches {
                    match batch.map_err(Error::from) {
                        Ok(batch) => {
                            gathered.take(&mut folder, scenario, round + 1, &vantage, &target.name, batch, provider.truth())?;
                            folder.keep()?;
                            taken = true;
                            ends.stored(&vantage, numbers[vantage.as_str()]);
                        }
                        Err(Error::Vantage(error)) if provider.goes_on() => {
                            let why = format!("from round {}: {error}", round + 1);
                            gathered.footing.missing.push(why);
                            ends.lose(&vantage);
                            // Where something was measured, that is judged, also if no vantage is left.
                            if ends.are_gone() && !taken {
                                return Err(Error::NoVantage(gathered.footing.missing.clone()));
                            }
                        }
                        Err(error) => return Err(error),
                    }
                }
                match unwatched.map(Error::from) {
                    None => {}
                    Some(Error::Vantage(error)) if provider.goes_on() => {
                        gathered.footing.missing.push(format!("from round {}: {error}", round + 1));
                        ends.unwatch(target);
                    }
                    Some(error) => return Err(error),
                }
            }
        }
        Ok(())
    })();
    if let Err(error) = measured {
        return Err(error.and(folder.finish(&gathered.losses)));
    }
    let facts = provider.facts();
    let lost = std::mem::take(&mut ends.lost);
    drop(ends);
    drop(provider);
    (options.progress)("judging", done, total);
    gathered.finish(facts, &lost, folder, scenario, &manifest, options.page)
}

/// The cells of one round, those that start together side by side; each round begins with another, so that none is always first.
fn order(scenario: &Scenario, round: u32) -> Vec<(Vec<&str>, &TargetSpec)> {
    let vantages = || scenario.vantages.iter().map(|vantage| vantage.name.as_str());
    let mut cells: Vec<(Vec<&str>, &TargetSpec)> = if scenario.together {
        scenario.targets.iter().map(|target| (vantages().collect(), target)).collect()
    } else {
        vantages().flat_map(|vantage| scenario.targets.iter().map(move |target| (vec![vantage], target))).collect()
    };
    let shift = round as usize % cells.len();
    cells.rotate_left(shift);
    cells
}
