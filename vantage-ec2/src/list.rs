//! `list` and `reap`: what is there, and what of it has outlived its time. A region, a thing or a call that fails stops none of the others.

use provider::{Fault, Line, Wrong};

use crate::cloud::{Cloud, Kind, Of, Part, Tags};
use crate::patience::{instances, patiently, things};
use crate::reap::{Decision, decide};
use crate::serve::{Serving, describe};
use crate::tags::MARKED;

/// Says which instances there are.
pub(crate) fn list<C: Cloud>(serving: &mut Serving<'_, C>, run: Option<&str>) -> Result<(), Wrong> {
    let of = run.map_or(Of::All, |run| Of::Run(run.to_owned()));
    let mut failures = Vec::new();
    for region in serving.settings.all_regions() {
        serving.clock.go_on()?;
        match instances(serving.cloud, serving.clock, &region, &of) {
            Ok(all) => {
                for instance in all.iter().filter(|instance| instance.state != "terminated") {
                    let described = describe(serving, instance);
                    serving.say(Line::Vantage(described));
                }
            }
            Err(failed) => failures.push(failed),
        }
    }
    serving.clock.go_on()?;
    let all: Vec<String> = failures.iter().map(ToString::to_string).collect();
    match failures.pop() {
        None => Ok(()),
        Some(last) => Err(Wrong { what: all.join("; "), ..Wrong::from(last) }),
    }
}

/// What a reaper may end.
enum Found {
    Instance(String),
    Part(Part, String),
}

impl Found {
    fn id(&self) -> &str {
        match self {
            Self::Instance(id) | Self::Part(_, id) => id,
        }
    }
}

/// Marks and ends what has outlived its time.
pub(crate) fn reap<C: Cloud>(serving: &mut Serving<'_, C>, grace: u64, dry_run: bool) -> Result<(), Wrong> {
    let mut left = Vec::new();
    for region in serving.settings.all_regions() {
        serving.clock.go_on()?;
        let mut found: Vec<(Found, Tags)> = Vec::new();
        match instances(serving.cloud, serving.clock, &region, &Of::All) {
            Ok(all) => found.extend(all.into_iter().filter(|i| i.is_live()).map(|i| (Found::Instance(i.id), i.tags))),
            Err(failed) => left.push(format!("instances in {region} ({failed})")),
        }
        for part in [Part::Interface, Part::Volume] {
            match things(serving.cloud, serving.clock, &region, part, &Of::All) {
                // What is in use goes with its instance, or is free then.
                Ok(all) => found.extend(all.into_iter().filter(|t| t.free).map(|t| (Found::Part(part, t.id), t.tags))),
                Err(failed) => left.push(format!("volumes or interfaces in {region} ({failed})")),
            }
        }
        for (found, tags) in found {
            serving.clock.go_on()?;
            if let Err(failed) = one(serving, &region, &found, &tags, grace, dry_run) {
                left.push(format!("{} in {region} ({failed})", found.id()));
            }
        }
    }
    serving.clock.go_on()?;
    if left.is_empty() {
        return Ok(());
    }
    let todo = Some("run it again; it is made to be run on a schedule (terraform/modules/reaper)".into());
    Err(Wrong { fault: Fault::Cloud, what: "not everything could be looked at or ended".into(), todo, left })
}

fn one<C: Cloud>(
    serving: &mut Serving<'_, C>,
    region: &str,
    found: &Found,
    tags: &Tags,
    grace: u64,
    dry_run: bool,
) -> Result<(), crate::cloud::Failed> {
    let now = serving.clock.now();
    let would = if dry_run { "would be " } else { "" };
    match decide(tags, now, grace) {
        Decision::NotOurs | Decision::InTime => Ok(()),
        Decision::Spared => {
            serving.say(Line::Progress { what: format!("{} is tagged to be kept", found.id()), done: None, of: None });
            Ok(())
        }
        Decision::Marked(why) => {
            serving.say(Line::Progress {
                what: format!("{} is marked, and its grace is not over: {why}", found.id()),
                done: None,
                of: None,
            });
            Ok(())
        }
        Decision::Mark(why) => {
            if !dry_run {
                patiently(serving.clock, || serving.cloud.tag(region, found.id(), MARKED, &now.to_string()))
                    .or_else(gone_is_fine)?;
            }
            serving.say(Line::Marked { id: found.id().to_owned(), why: format!("{would}marked: {why}") });
            Ok(())
        }
        Decision::End(why) => {
            if dry_run {
                serving.say(Line::Progress { what: format!("{} would be ended: {why}", found.id()), done: None, of: None });
                return Ok(());
            }
            let ended = match found {
                Found::Instance(id) => patiently(serving.clock, || serving.cloud.terminate(region, id)),
                Found::Part(part, id) => patiently(serving.clock, || serving.cloud.delete(region, *part, id)),
            };
            ended.or_else(gone_is_fine)?;
            serving.say(Line::Gone { id: found.id().to_owned() });
            Ok(())
        }
    }
}

/// What is not there any more has ended.
fn gone_is_fine(failed: crate::cloud::Failed) -> Result<(), crate::cloud::Failed> {
    if failed.kind == Kind::NotFound { Ok(()) } else { Err(failed) }
}
