//! `run.json`: enough to know what was run where.

use agent::Hello;
use report::model::FORMAT;
use serde::Serialize;

use crate::scenario::Scenario;

/// The manifest of a run.
#[derive(Serialize)]
pub struct Manifest<'a> {
    format: u32,
    /// Name of the run folder.
    pub run_id: String,
    /// When it began, RFC 3339 UTC.
    pub started: String,
    version: &'static str,
    /// The kernel of the first vantage.
    pub kernel: String,
    clock_source: String,
    cpus: usize,
    scenario: &'a Scenario,
}

impl<'a> Manifest<'a> {
    /// Of a run whose first vantage said `hello`.
    pub fn new(run_id: &str, scenario: &'a Scenario, hello: &Hello) -> Self {
        Self {
            format: FORMAT,
            run_id: run_id.to_owned(),
            started: timestamp().1,
            version: env!("CARGO_PKG_VERSION"),
            kernel: hello.kernel.clone(),
            clock_source: hello.clock.source.clone(),
            cpus: hello.cpus,
            scenario,
        }
    }
}

/// Sorts by time, tells what was run, and cannot collide with a run beside it.
pub fn run_id(scenario: &str) -> String {
    format!("{}-{scenario}-{}", timestamp().0, std::process::id())
}

/// Now, as `20261123T201500.123` and in RFC 3339 (UTC).
fn timestamp() -> (String, String) {
    let now = jiff::Timestamp::now();
    let of_folder = now.strftime("%Y%m%dT%H%M%S%.3f").to_string();
    (of_folder, now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}
