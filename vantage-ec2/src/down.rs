//! `down`: a run, or one order of it, in; nothing of it left. Whatever fails is said, and the rest goes on.

use std::collections::BTreeSet;
use std::time::Duration;

use provider::{Fault, Line, Wrong};

use crate::clock::Insisting;
use crate::cloud::{Cloud, Failed, Kind, Of, Part};
use crate::patience::{instances, patiently, things};
use crate::serve::Serving;
use crate::settings::word;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(5);
/// Looks that must show nothing more, one behind the other: what was launched a moment ago may not be in the first.
const QUIET: u32 = 3;
/// Looks, one behind the other, at which nothing moved and all that failed was refused: a later one will be refused, too.
const REFUSED: u32 = 2;
/// Seconds for all of it: an instance takes a minute or two to end, and a cloud that does not answer may never do.
const PATIENCE: u64 = 300;

/// One region, while a run is taken down there.
#[derive(Default)]
struct Place {
    region: String,
    /// Launched there, and in no list yet.
    unseen: BTreeSet<String>,
    /// Told to end.
    ending: BTreeSet<String>,
    quiet: u32,
    refused: u32,
    /// Whether anything of it was ever seen there.
    found: bool,
    left: Vec<String>,
    /// The last refusal.
    refusal: Option<Failed>,
    waited: bool,
}

/// Takes down all of a run, or of an order of it, in every region, although we are told to stop. `launched` is what is known to have been
/// launched, in the region of the settings: it is ended by its id, as lists may not show it yet. Whether anything was there at all.
pub(crate) fn down<C: Cloud>(
    serving: &mut Serving<'_, C>,
    run: &str,
    order: Option<&str>,
    launched: &[String],
) -> Result<bool, Wrong> {
    let insisting = Insisting { clock: serving.clock, until: serving.clock.now() + PATIENCE };
    let mut serving = Serving { cloud: serving.cloud, clock: &insisting, settings: serving.settings, out: &mut *serving.out };
    let of = match order {
        None => Of::Run(run.to_owned()),
        Some(order) => Of::Order { run: run.to_owned(), order: order.to_owned() },
    };
    let begin = |region: String| Place { region, ..Place::default() };
    let mut places: Vec<Place> = serving.settings.all_regions().into_iter().map(begin).collect();
    if let Some(first) = places.first_mut() {
        first.unseen.extend(launched.iter().cloned());
        first.found = !launched.is_empty();
    }
    loop {
        for place in places.iter_mut().filter(|place| !place.is_over()) {
            if serving.clock.go_on().is_ok() {
                place.look(&mut serving, &of);
            }
        }
        if places.iter().all(Place::is_over) || serving.clock.go_on().is_err() {
            break;
        }
        serving.clock.insist(LOOK);
    }
    let left: Vec<String> = places.iter().flat_map(Place::left).collect();
    if left.is_empty() {
        return Ok(places.iter().any(|place| place.found));
    }
    let denied = |place: &Place| place.refusal.as_ref().is_some_and(|failed| failed.kind == Kind::Denied);
    let (fault, first) =
        if places.iter().any(denied) { (Fault::Rights, "look after your credentials, then ") } else { (Fault::Cloud, "") };
    let what = format!("not all of {run} could be taken down");
    let again = serving.settings.command(&format!("down {}", word(run)));
    let todo = format!("{first}run `{again}` again; each ends by itself in time, else by `whostalled vantage reap`");
    Err(Wrong { fault, what, todo: Some(todo), left })
}

impl Place {
    fn is_over(&self) -> bool {
        self.quiet >= QUIET || self.refused >= REFUSED
    }

    /// What may be left there.
    fn left(&self) -> Vec<String> {
        if self.quiet >= QUIET {
            return Vec::new();
        }
        let region = &self.region;
        let unseen = self.unseen.iter().map(|id| format!("{id} in {region} (launched, and no list shows it)"));
        let mut left: Vec<String> = self.left.iter().cloned().chain(unseen).collect();
        if left.is_empty() {
            left.push(format!("in {region}: what is still shutting down, or was not looked at any more"));
        }
        left
    }

    fn look<C: Cloud>(&mut self, serving: &mut Serving<'_, C>, of: &Of) {
        self.left.clear();
        let (mut waiting, mut failures, mut answered) = (false, Vec::new(), true);
        match instances(serving.cloud, serving.clock, &self.region, of) {
            Ok(all) => {
                for instance in all {
                    self.found = true;
                    self.unseen.remove(&instance.id);
                    if instance.state != "terminated" {
                        if instance.is_live() {
                            failures.extend(self.end(serving, &instance.id));
                        } else {
                            self.told(serving, instance.id);
                        }
                        waiting = true;
                    }
                }
            }
            Err(failed) => {
                answered = !failed.may_pass();
                failures.push(("instances".to_owned(), failed));
            }
        }
        for id in self.unseen.clone() {
            if !self.ending.contains(&id) {
                failures.extend(self.end(serving, &id));
            }
        }
        for part in [Part::Interface, Part::Volume] {
            // Where nobody answers, the time is better spent in the other regions: parts wait for the next look.
            if !answered || serving.clock.go_on().is_err() {
                waiting = true;
                continue;
            }
            match things(serving.cloud, serving.clock, &self.region, part, of) {
                Ok(all) => {
                    for thing in all {
                        (waiting, self.found) = (true, true);
                        // What is in use goes with its instance, or is free then.
                        if !thing.free || serving.clock.go_on().is_err() {
                            continue;
                        }
                        match patiently(serving.clock, || serving.cloud.delete(&self.region, part, &thing.id)) {
                            Ok(()) => serving.say(Line::Gone { id: thing.id }),
                            Err(failed) if failed.kind == Kind::NotFound => {}
                            Err(failed) => failures.push((thing.id, failed)),
                        }
                    }
                }
                Err(failed) => failures.push(("volumes or interfaces".to_owned(), failed)),
            }
        }
        self.note(serving, waiting, failures);
    }

    /// Ends an instance, for which it is asked once at least, however late it is; how that failed.
    fn end<C: Cloud>(&mut self, serving: &mut Serving<'_, C>, id: &str) -> Option<(String, Failed)> {
        match patiently(serving.clock, || serving.cloud.terminate(&self.region, id)) {
            Ok(()) => {
                self.told(serving, id.to_owned());
                None
            }
            // Or not yet: lists decide.
            Err(failed) if failed.kind == Kind::NotFound => None,
            Err(failed) => Some((id.to_owned(), failed)),
        }
    }

    fn told<C>(&mut self, serving: &mut Serving<'_, C>, id: String) {
        if self.ending.insert(id.clone()) {
            serving.say(Line::Gone { id });
        }
    }

    fn note<C>(&mut self, serving: &mut Serving<'_, C>, waiting: bool, failures: Vec<(String, Failed)>) {
        // What no list shows yet is waited for until one shows how it ends.
        self.quiet = if waiting || !failures.is_empty() || !self.unseen.is_empty() { 0 } else { self.quiet + 1 };
        let hopeless = !waiting && !failures.is_empty() && failures.iter().all(|(_, failed)| !failed.may_pass());
        self.refused = if hopeless { self.refused + 1 } else { 0 };
        if let Some((what, failed)) = failures.first().filter(|_| !self.waited && !hopeless) {
            self.waited = true;
            let what = format!("{what}: {failed}: it is asked again, for {} min at most", PATIENCE / 60);
            serving.say(Line::Progress { what, done: None, of: None });
        }
        for (what, failed) in failures {
            self.left.push(format!("{what} ({failed})"));
            self.refusal = Some(failed);
        }
    }
}
