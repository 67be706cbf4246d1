//! `down`: a run in; nothing of it left. Whatever fails is said, and the rest goes on.

use std::collections::BTreeSet;
use std::time::Duration;

use provider::{Fault, Line, Wrong};

use crate::cloud::{Cloud, Kind, Of, Part};
use crate::patience::{instances, patiently, things};
use crate::serve::Serving;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(5);
/// Looks that must show nothing more, one behind the other: what was launched a moment ago may not be in the first.
const QUIET: u32 = 3;
/// Looks at most: an instance takes a minute or two to end.
const LOOKS: u32 = 60;

/// Takes down all of a run, in every region.
pub(crate) fn down<C: Cloud>(serving: &mut Serving<'_, C>, run: &str) -> Result<(), Wrong> {
    let of = Of::Run(run.to_owned());
    let mut left = Vec::new();
    for region in serving.settings.all_regions() {
        left.extend(down_in(serving, &region, &of));
    }
    if left.is_empty() {
        return Ok(());
    }
    let what = format!("not all of {run} could be taken down");
    let todo = "run `whostalled vantage down` again; each ends by itself in time, else by `whostalled vantage reap`";
    Err(Wrong { fault: Fault::Cloud, what, todo: Some(todo.into()), left })
}

/// What may be left in one region.
fn down_in<C: Cloud>(serving: &mut Serving<'_, C>, region: &str, of: &Of) -> Vec<String> {
    let (mut quiet, mut ending) = (0, BTreeSet::new());
    let mut left = Vec::new();
    for _ in 0..LOOKS {
        left.clear();
        let mut waiting = false;
        match instances(serving.cloud, serving.clock, region, of) {
            Ok(all) => {
                for instance in all {
                    if instance.state == "terminated" {
                        continue;
                    }
                    waiting = true;
                    if instance.is_live() {
                        if let Err(failed) = patiently(serving.clock, || serving.cloud.terminate(region, &instance.id)) {
                            if failed.kind != Kind::NotFound {
                                left.push(format!("{} in {region} ({failed})", instance.id));
                            }
                            continue;
                        }
                    }
                    if ending.insert(instance.id.clone()) {
                        serving.say(Line::Gone { id: instance.id });
                    }
                }
            }
            Err(failed) => left.push(format!("instances in {region} ({failed})")),
        }
        for part in [Part::Interface, Part::Volume] {
            match things(serving.cloud, serving.clock, region, part, of) {
                Ok(all) => {
                    for thing in all {
                        waiting = true;
                        if !thing.free {
                            // It goes with its instance, or is free then.
                            continue;
                        }
                        match patiently(serving.clock, || serving.cloud.delete(region, part, &thing.id)) {
                            Ok(()) => serving.say(Line::Gone { id: thing.id }),
                            Err(failed) if failed.kind == Kind::NotFound => {}
                            Err(failed) => left.push(format!("{} in {region} ({failed})", thing.id)),
                        }
                    }
                }
                Err(failed) => left.push(format!("volumes or interfaces in {region} ({failed})")),
            }
        }
        quiet = if waiting || !left.is_empty() { 0 } else { quiet + 1 };
        if quiet >= QUIET {
            return Vec::new();
        }
        serving.clock.insist(LOOK);
    }
    if left.is_empty() {
        left.push(format!("in {region}: what is still shutting down"));
    }
    left
}
