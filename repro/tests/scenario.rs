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
        ("name = \"edge\"", "name = \"edge\"\nrtt = \"40\"", "line 9", "300ms"),
        ("kind = \"cpu_quota\"", "kind = \"cpu_qouta\"", "line 11", "cpu_quota"),
    ] {
        let message = parse(&GOOD.replace(from, to), &[]).expect_err(to);
        assert!(message.starts_with("x.toml: "), "{message}");
        assert!(message.contains(line) && message.contains(words), "{to}: wants {line} and {words:?} in:\n{message}");
    }
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
