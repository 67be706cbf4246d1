//! Is `watch` truthful when its host is starved? In the lab, the wire being the truth: the vantage `office` squeezed to 5 % of a CPU, a healthy edge and
//! one that is really slow. In: `TRUTH_SECONDS` (70). Out: how often each was blamed, and how far the edge's answer time is off, beside
//! blackbox_exporter's and curl's; it fails if the healthy edge was blamed. All is left in `results/watch-truth`.
//!
//! This program has two parts: outside of the lab, and at the vantage.

mod at_office;
mod compare;

use std::path::Path;
use std::process::{Command, ExitCode};

use e2e::checks::Checks;
use e2e::process::{binary, is_program, repository};
use testing::Need;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["at-office", results] => at_office::run(Path::new(results)),
        // What the test runner may add is for others.
        _ => outside(),
    }
    ExitCode::SUCCESS
}

fn outside() {
    let mut t = Checks::new();
    if !is_program("prometheus-blackbox-exporter") {
        return t.skip(Need::Tools, "a starved prober: prometheus-blackbox-exporter is not installed");
    }
    let results = repository().join("results/watch-truth");
    if results.exists() {
        std::fs::remove_dir_all(&results).expect("our own folder");
    }
    std::fs::create_dir_all(&results).expect("a folder of the repository");
    let scenario = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/watch_truth/scenario.toml");
    let mut lab = Command::new(binary());
    lab.args(["lab", "run"]).arg(scenario).args(["--at", "office", "--captures"]).arg(&results).arg("--");
    lab.arg(std::env::current_exe().expect("procfs")).arg("at-office").arg(&results);
    let status = lab.status().expect("it starts");
    t.check("the lab ran", status.success(), || status);
    compare::tables(&mut t, &results);
}
