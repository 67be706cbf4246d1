//! Incidents of `scenarios/incidents`, played in the lab: detected, named right, within their rounds, and nothing else; and their labs with
//! every fault off: no alert. `REPEAT=10` plays each so often, `HEALTHY=100` so many rounds with the fault off.

use std::process::Command;

use e2e::checks::Checks;
use e2e::process::{binary, is_program, repository, run};
use serde_json::Value;
use testing::Need;

/// A quick incident takes less than a minute, on a busy machine a few.
const PATIENCE: u64 = 900;

fn number(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Plays all, and gives what came of each.
fn played(t: &mut Checks, more: &[&str]) -> Vec<Value> {
    let results = tempfile::tempdir().expect("a temporary folder");
    let mut command = Command::new(binary());
    command.args(["run", "scenarios/incidents", "--all", "--json", "--results"]).arg(results.path()).args(more);
    command.current_dir(repository());
    let times: u64 = more.iter().filter_map(|word| word.parse::<u64>().ok()).sum::<u64>().max(1);
    let said = run(command, PATIENCE * times);
    t.check("they are played to their end", matches!(said.code, Some(0 | 1)), || &said);
    let drawn = std::fs::read_dir(results.path()).expect("it is there").filter_map(Result::ok);
    let page = drawn.map(|e| e.path().join("incidents.html")).find_map(|path| std::fs::read_to_string(path).ok());
    t.check("the diagram is drawn", page.is_some_and(|page| page.contains("<svg")), || "no incidents.html");
    serde_json::from_str::<Vec<Value>>(&said.out).unwrap_or_default()
}

fn may_run(t: &mut Checks) -> bool {
    let missing = ["haproxy", "nginx"].into_iter().find(|program| !is_program(program));
    if let Some(program) = missing {
        t.skip(Need::Tools, &format!("incidents: {program} is not installed"));
        return false;
    }
    if !nix::unistd::geteuid().is_root() {
        t.skip(Need::Root, "incidents: a host's CPU limit needs cgroups, and these need root");
        return false;
    }
    true
}

#[test]
fn each_incident_is_detected_named_right_and_in_time() {
    let mut t = Checks::new();
    if !may_run(&mut t) {
        return;
    }
    let repeat = number("REPEAT").unwrap_or_else(|| "1".into());
    let outcomes = played(&mut t, &["--repeat", &repeat]);
    t.check("there are eight", outcomes.len() == 8 * repeat.parse::<usize>().expect("REPEAT is a number"), || outcomes.len());
    for outcome in &outcomes {
        let name = outcome["name"].as_str().unwrap_or_default();
        for found in outcome["found"].as_array().into_iter().flatten() {
            let right = found["wrong"].as_array().is_some_and(Vec::is_empty);
            let took = found["took"].as_u64().map_or("never".to_owned(), |n| format!("round {n}"));
            t.check(
                format!("{name}: {} from {} blames {}, in {took}", found["check"], found["at"], found["culprit"]),
                right,
                || found,
            );
        }
        // A busy machine starves the prober, which says so and blames nobody else.
        let of_others = |alarm: &&Value| alarm["about"] != "prober";
        let quiet = outcome["false_alarms"].as_array().is_some_and(|alarms| alarms.iter().filter(of_others).count() == 0);
        t.check(format!("{name}: and nothing else"), quiet, || &outcome["false_alarms"]);
    }
}

#[test]
fn with_the_fault_off_nobody_is_alerted() {
    let mut t = Checks::new();
    let Some(rounds) = number("HEALTHY") else {
        return t.disturbed("rounds with the fault off take as long as they are many: HEALTHY=100, in make nightly");
    };
    if !may_run(&mut t) {
        return;
    }
    for outcome in &played(&mut t, &["--healthy", &rounds]) {
        let quiet = outcome["false_alarms"].as_array().is_some_and(Vec::is_empty);
        t.check(format!("{}: no alert in {rounds} rounds", outcome["name"]), quiet, || &outcome["false_alarms"]);
    }
}
