//! `run.json`: enough to know what was run where.

use agent::{Hello, Spin};
use records::FORMAT;
use records::run::{HostSaid, Manifest, Provided, SpinTimed};

use crate::ends::Ends;
use crate::scenario::Scenario;

/// Of a run whose first vantage said `hello`.
pub fn manifest<'a>(run_id: &str, scenario: &'a Scenario, ends: &Ends<'_>, provided: Vec<Provided>) -> Manifest<&'a Scenario> {
    let hello = &ends.hello;
    Manifest {
        format: FORMAT,
        run_id: run_id.to_owned(),
        started: timestamp().1,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        kernel: hello.kernel.clone(),
        clock_source: hello.clock.source.clone(),
        cpus: hello.cpus,
        clocks: ends.clocks.clone(),
        hosts: ends.hosts.clone(),
        provided,
        scenario,
    }
}

/// What a vantage said of its host.
pub(crate) fn said(vantage: &str, hello: &Hello) -> HostSaid {
    HostSaid {
        vantage: vantage.to_owned(),
        kernel: hello.kernel.clone(),
        clock_source: hello.clock.source.clone(),
        cpus: hello.cpus,
        spin: hello.spin.map(timed),
    }
}

/// A spin in milliseconds.
pub(crate) fn timed(spin: Spin) -> SpinTimed {
    let Spin { n, least_ns, median_ns, most_ns, .. } = spin;
    SpinTimed { n, least_ms: least_ns.millis(), median_ms: median_ns.millis(), most_ms: most_ns.millis() }
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
