//! Incident files: those of the repository are valid, and what is wrong is said with its line.

use std::path::Path;

use whostalled_incidents::Incident;

const GOOD: &str = "name = \"x\"
title = \"A detour.\"
rounds = 20
[[vantage]]
name = \"office\"
[[target]]
name = \"edge\"
role = \"edge\"
[faults.detour]
kind = \"detour\"
to = \"edge\"
extra_rtt = \"80ms\"
[[check]]
name = \"edge\"
target = \"https://edge.lab.test/\"
[[during]]
fault = \"detour\"
from = 5
to = 9
[[expect]]
fault = \"detour\"
at = \"office\"
check = \"edge\"
culprit = \"path\"
family = \"slow\"
within = 3
over_within = 4
";

#[test]
fn the_incidents_of_the_repository_are_valid_and_each_has_a_check_that_must_catch_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/incidents");
    let files: Vec<_> = std::fs::read_dir(&folder).expect("it is there").map(|e| e.expect("it is listed").path()).collect();
    assert_eq!(files.len(), 8, "{files:?}");
    for path in files {
        let text = std::fs::read_to_string(&path).expect("it is readable");
        let incident = Incident::parse(&path.display().to_string(), &text).unwrap_or_else(|e| panic!("{e}"));
        assert!(Incident::is_one(&text) && !incident.plan.expect.is_empty(), "{}", path.display());
        let last = incident.plan.expect.iter().map(|e| {
            let turn = incident.plan.during.iter().filter(|t| t.fault == e.fault).map(|t| t.to).max();
            turn.expect("each expectation has a turn") + e.over_within
        });
        let last = last.max().expect("there are some");
        assert!(
            incident.plan.rounds >= last,
            "{}: it ends in round {}, and the alert may last until {last}",
            path.display(),
            incident.plan.rounds
        );
    }
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    Incident::parse("x.toml", GOOD).expect("it is valid");
    for (from, to, place) in [
        ("rounds = 20", "rounds = 0", "line 3"),
        ("rounds = 20", "rounds = 20\ncolour = 1", "line 4"),
        ("extra_rtt = \"80ms\"", "extra_rtt = \"soon\"", "line 12"),
        ("target = \"https://edge.lab.test/\"", "target = \"edge\"", "line 15"),
        ("to = 9", "to = 90", "line 18"),
        ("fault = \"detour\"\nat", "fault = \"other\"\nat", "line 21"),
        ("at = \"office\"", "at = \"moon\"", "line 22"),
        ("check = \"edge\"", "check = \"other\"", "line 23"),
        ("culprit = \"path\"", "culprit = \"nobody\"", "line 24"),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let error = Incident::parse("x.toml", &GOOD.replacen(from, to, 1)).expect_err(to).to_string();
        assert!(error.starts_with("x.toml: ") && error.contains(place), "{to}: wants {place} in {error}");
    }
    let error = Incident::parse("x.toml", &GOOD.replace("fault = \"detour\"", "fault = \"none\"")).expect_err("no such fault");
    assert!(error.to_string().contains("no fault \"none\""), "{error}");
}

#[test]
fn a_scenario_without_turns_is_no_incident() {
    assert!(!Incident::is_one("name = \"x\"") && !Incident::is_one("name = ") && Incident::is_one(GOOD));
}
