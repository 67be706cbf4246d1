//! Tags: all that a reaper knows. In: a run and its end. Out: tags of what is made; and from tags, whose something is and when it ends.

use provider::Wanted;

use crate::cloud::Tags;

/// Who made it.
pub const MANAGED_BY: &str = "managed-by";
/// That is us.
pub const US: &str = "whostalled";
/// The run.
pub const RUN: &str = "whostalled:run-id";
/// The order of that run.
pub const ORDER: &str = "whostalled:order";
/// When it ends, in seconds since the epoch.
pub const EXPIRES: &str = "whostalled:expires-at";
/// The vantage's name in the run.
pub const NAME: &str = "whostalled:vantage";
/// The agent that it is.
pub const AGENT: &str = "whostalled:agent";
/// For how many minutes its first script was told to spend the credits of launch.
pub const BURN: &str = "whostalled:burn-minutes";
/// When a reaper saw for the first time that it has outlived its time, in seconds since the epoch.
pub const MARKED: &str = "whostalled:marked-at";
/// Whatever its value but `false`: it is to stay.
pub const KEEP: &str = "whostalled:keep";

/// Tags of one vantage and all that comes with it.
#[must_use]
pub fn tags(run: &str, order: &str, wanted: &Wanted, expires_at: u64, burn_minutes: Option<f64>) -> Tags {
    let Wanted { name, agent } = wanted;
    let mut tags = Tags::from([
        (MANAGED_BY.to_owned(), US.to_owned()),
        (RUN.to_owned(), run.to_owned()),
        (ORDER.to_owned(), order.to_owned()),
        (EXPIRES.to_owned(), expires_at.to_string()),
        (NAME.to_owned(), name.clone()),
        ("Name".to_owned(), format!("whostalled {name}")),
    ]);
    tags.extend(agent.iter().map(|agent| (AGENT.to_owned(), agent.clone())));
    tags.extend(burn_minutes.map(|minutes| (BURN.to_owned(), minutes.to_string())));
    tags
}

/// A moment that a tag holds.
#[must_use]
pub fn moment(tags: &Tags, key: &str) -> Option<u64> {
    tags.get(key)?.trim().parse().ok()
}
