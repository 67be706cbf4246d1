//! The recorder at a lab edge: real nginx found by its own detector, real HAProxy by its slow-handshake lines, bulk data beside them, while
//! five faults come and go. Evidence and logs are left in `results/capture-lab`.
//!
//! This program has three parts: outside of the lab, at the edge, and a server there that sleeps.

mod clients;
mod edge;
mod sleepy;

use std::process::{Command, ExitCode};

use e2e::process::{binary, repository};

/// Faults of the scenario, and when: five seconds each, four between them.
pub const FAULTS: [&str; 5] = ["detour", "hold", "lost", "squeeze", "capacity"];
const FIRST: usize = 6;
const EVERY: usize = 9;
const LASTS: usize = 5;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["at-edge", results] => edge::at_edge(results.as_ref()),
        ["sleepy", address, chain, key] => sleepy::serve(address, chain.as_ref(), key.as_ref()),
        // What the test runner may add is for others.
        _ => return outside(),
    }
    ExitCode::SUCCESS
}

fn outside() -> ExitCode {
    let results = repository().join("results/capture-lab");
    if results.exists() {
        std::fs::remove_dir_all(&results).expect("our own folder");
    }
    std::fs::create_dir_all(&results).expect("a folder of the repository");
    let mut lab = Command::new(binary());
    lab.args(["lab", "run"]).arg(repository().join("examples/capture-lab/scenario.toml")).args(["--at", "edge"]);
    for (fault, begins) in FAULTS.iter().zip((FIRST..).step_by(EVERY)) {
        lab.args(["--when", &format!("{fault}={begins}s..{}s", begins + LASTS)]);
    }
    lab.arg("--").arg(std::env::current_exe().expect("procfs")).arg("at-edge").arg(&results);
    let status = lab.status().expect("it starts");
    // As the usual harness says it, so that who runs suites knows that this is one test.
    if status.success() {
        println!("test result: ok. 1 passed; 0 failed");
        return ExitCode::SUCCESS;
    }
    println!("\nfailures:\n    capture_lab\n\ntest result: FAILED. 0 passed; 1 failed");
    ExitCode::FAILURE
}
