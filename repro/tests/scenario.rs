//! Scenario files: what is right is read, what is wrong is refused with its place.

use std::path::Path;

use whostalled_repro::Scenario;

const GOOD: &str = r#"
name = "x"
[client]
kind = "probe"
[[vantage]]
name = "office"
[[target]]
name = "edge"
role = "edge"
[faults.q]
kind = "cpu_quota"
on = "office"
cpus = 0.4
[expect]
verdict = "client_host"
"#;

fn parse(text: &str, set: &[&str]) -> Result<Scenario, String> {
    let set: Vec<String> = set.iter().map(|s| (*s).to_owned()).collect();
    Scenario::parse("x.toml", text, &set).map_err(|e| e.to_string())
}

#[test]
fn every_shipped_scenario_parses_and_says_what_it_expects() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let files: Vec<_> = std::fs::read_dir(folder).expect("the folder is there").flatten().map(|e| e.path()).collect();
    assert!(files.len() >= 17);
    for file in files {
        let text = std::fs::read_to_string(&file).expect("readable");
        let scenario = Scenario::parse(&file.display().to_string(), &text, &[]).unwrap_or_else(|e| panic!("{e}"));
        assert!(scenario.expect.is_some() && !scenario.description.is_empty(), "{}", file.display());
        assert_eq!(file.file_stem().and_then(|s| s.to_str()), Some(scenario.name.as_str()), "a scenario is named as its file");
    }
}

#[test]
fn mistakes_name_file_line_and_what_was_meant() {
    for (from, to, line, words) in [
        ("kind = \"probe\"", "kindd = \"probe\"", "line 4", "kindd"),
        ("cpus = 0.4", "cpus = \"much\"", "line 13", "expected f64"),
        ("cpus = 0.4", "cpus = 4000", "line 10", "between 0.01 and 64"),
        ("cpus = 0.4", "", "line 10", "needs `cpus`"),
        ("cpus = 0.4", "cpus = 0.4\ncopies = 2", "line 10", "takes no `copies`"),
        ("on = \"office\"", "on = \"offcie\"", "line 10", "there is edge, office"),
        ("\"client_host\"", "\"client_hots\"", "line 14", "is no verdict"),
        ("name = \"edge\"", "name = \"edge\"\nrtt = \"40\"", "line 9", "250ms"),
        ("kind = \"cpu_quota\"", "kind = \"cpu_qouta\"", "line 11", "cpu_quota"),
    ] {
        let message = parse(&GOOD.replace(from, to), &[]).expect_err(to);
        assert!(message.starts_with("x.toml: "), "{message}");
        assert!(message.contains(line) && message.contains(words), "{to}: wants {line} and {words:?} in:\n{message}");
    }
}

#[test]
fn what_no_machine_can_bear_or_no_file_can_be_called_is_refused_with_its_line() {
    let target = "name = \"edge\"\nrole = \"edge\"";
    let command = "kind = \"command\"";
    for (from, to, line, words) in [
        ("name = \"x\"", "name = \"../../x\"", "line 2", "folder"),
        ("name = \"x\"", "name = \"/etc/x\"", "line 2", "folder"),
        ("name = \"x\"", "name = \"..\"", "line 2", "folder"),
        ("name = \"x\"", "name = \"\"", "line 2", "folder"),
        ("name = \"x\"", "name = \"a\\u001b[31mb\"", "line 2", "control character"),
        ("name = \"x\"", "name = \"x\"\ndescription = \"a\\u001bb\"", "line 3", "control character"),
        ("name = \"x\"", "name = \"x\"\nrounds = 0", "line 3", "from 1 to"),
        ("name = \"x\"", "name = \"x\"\nrounds = 4000000000", "line 3", "from 1 to"),
        ("kind = \"probe\"", "kind = \"probe\"\nconcurrency = 0", "line 5", "from 1 to"),
        ("kind = \"probe\"", "kind = \"probe\"\nconcurrency = 100000", "line 5", "from 1 to"),
        ("kind = \"probe\"", "kind = \"probe\"\ntimeout = \"9999999s\"", "line 5", "at most 600 s"),
        ("kind = \"probe\"", "kind = \"probe\"\nspread = \"2h\"", "line 5", "at most 60 s"),
        ("kind = \"probe\"", command, "line 4", "needs `command"),
        (target, "name = \"edge\"\nrole = \"edge\"\nrtt = \"9999999s\"", "line 10", "at most 60 s"),
        (target, "name = \"edge\"\nrole = \"edge\"\nserver = \"command\"", "line 10", "needs `command"),
        (target, "name = \"office\"\nrole = \"edge\"", "line 8", "two hosts are called"),
        (target, "name = \"an edge\"\nrole = \"edge\"", "line 8", "letters, digits"),
        ("[[vantage]]\nname = \"office\"", "vantage = []", "line 5", "at least one"),
        (
            "kind = \"cpu_quota\"\non = \"office\"\ncpus = 0.4",
            "kind = \"detour\"\nto = \"edge\"\nextra_rtt = \"1d\"",
            "line 13",
            "at most 60 s",
        ),
        (
            "kind = \"cpu_quota\"\non = \"office\"\ncpus = 0.4",
            "kind = \"edge_delay\"\non = \"office\"\nfor = \"1s\"",
            "line 10",
            "embedded",
        ),
        ("cpus = 0.4", "cpus = 0.4\nburners = 100000", "line 14", "at most 256"),
    ] {
        assert!(GOOD.contains(from), "{from}");
        // Keys of the root stand before the first table.
        let text = match to.starts_with("vantage") {
            true => GOOD.replace(from, "").replace("name = \"x\"\n", "name = \"x\"\n\n\nvantage = []\n"),
            false => GOOD.replacen(from, to, 1),
        };
        let message = parse(&text, &[]).expect_err(to);
        assert!(
            message.contains(&format!("{line}:")) && message.contains(words),
            "{to}: wants {line} and {words:?} in:\n{message}"
        );
        assert!(!message.contains('\u{1b}'), "{message:?}");
    }
    let all = ["rounds=10000".to_owned(), "client.concurrency=500".to_owned()];
    let message = Scenario::parse("x.toml", GOOD, &all).expect_err("five million handshakes").to_string();
    assert!(message.contains("1000000 at most"), "{message}");
}

#[test]
fn lengths_of_time_are_written_as_everywhere() {
    let scenario = parse(GOOD, &["client.timeout=2m30s", "target.edge.rtt=0.5s", "client.spread=1s 500ms"]).expect("all fit");
    assert_eq!(scenario.client.timeout.as_millis(), 150_000.0);
    assert_eq!((scenario.targets[0].rtt.as_millis(), scenario.client.spread.as_millis()), (500.0, 1_500.0));
}

#[test]
fn settings_reach_into_tables_and_named_lists() {
    let scenario = parse(GOOD, &["faults.q.cpus=0.2", "rounds=7", "client.kind=curl", "target.edge.rtt=80ms"]).expect("all fit");
    assert_eq!(scenario.faults().next().and_then(|f| f.cpus), Some(0.2));
    assert_eq!(scenario.rounds, 7);
    assert_eq!(scenario.targets[0].rtt.as_millis(), 80.0);
    for bad in ["faults.q.cpus=lots", "nonsense", "target.egde.rtt=1ms", "faults.q.colour=red"] {
        let message = parse(GOOD, &[bad]).expect_err(bad);
        assert!(message.contains("--set"), "{message}");
    }
}

#[test]
fn selecting_what_is_not_there_is_refused() {
    let mut scenario = parse(GOOD, &[]).expect("good");
    let message = scenario.select(&["home".into()], &[]).expect_err("no such vantage").to_string();
    assert!(message.contains("it has office"), "{message}");
}

#[test]
fn the_published_schema_is_the_codes() {
    let published = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/scenario.schema.json");
    let published = std::fs::read_to_string(published).expect("it is published");
    assert_eq!(published.trim(), whostalled_repro::scenario::schema().trim(), "regenerate it: make schema");
}
