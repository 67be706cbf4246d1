//! Lists in the documentation forget nothing.
//!
//! In: the published schemas (tests elsewhere hold them to the code), the folders of what is listed, the pages. A new scenario, kind of
//! fault, receiver, log, client or server, suite or decision fails here until its page names it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use whostalled_testing::{Need, program, skipped};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Names of what lies in a folder, without their endings.
fn in_folder(path: &str) -> BTreeSet<String> {
    let folder = std::fs::read_dir(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    let stem = |entry: std::fs::DirEntry| entry.path().file_stem().and_then(|s| s.to_str()).expect("a plain name").to_owned();
    folder.map(|entry| stem(entry.expect("it can be listed"))).collect()
}

/// The kinds of a type that a schema defines: its words, or what `kind` may be.
fn kinds(schema: &str, name: &str) -> BTreeSet<String> {
    let schema: Value = serde_json::from_str(&text(schema)).unwrap_or_else(|e| panic!("{schema}: {e}"));
    let variants = schema["$defs"][name]["oneOf"].as_array().unwrap_or_else(|| panic!("{name} is one of several"));
    let kind = |variant: &Value| {
        let word = variant.get("const").or_else(|| variant.pointer("/properties/kind/const")).and_then(Value::as_str);
        word.unwrap_or_else(|| panic!("{name}: a variant without a name: {variant}")).to_owned()
    };
    variants.iter().map(kind).collect()
}

/// What stands between backticks.
fn quoted(text: &str) -> BTreeSet<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The line of a page that begins so.
fn line(page: &str, begins: &str) -> String {
    let text = text(page);
    let found = text.lines().find_map(|line| line.strip_prefix(begins));
    found.unwrap_or_else(|| panic!("{page}: no line begins with {begins:?}")).to_owned()
}

/// First cells of the rows of the table with this head.
fn first_cells(page: &str, head: &str) -> Vec<String> {
    let text = text(page);
    let rows = text.lines().skip_while(|line| !line.starts_with(head)).skip(2).take_while(|line| line.starts_with('|'));
    let cells: Vec<String> = rows.map(|row| row.split('|').nth(1).unwrap_or_default().trim().to_owned()).collect();
    assert!(!cells.is_empty(), "{page}: no table begins with {head:?}");
    cells
}

#[test]
fn the_readme_says_of_every_scenario_what_comes_out() {
    let rows = first_cells("README.md", "| scenario |");
    let listed: Vec<&str> = rows.iter().flat_map(|cell| cell.split(", ")).collect();
    let named: BTreeSet<String> = listed.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(named.len(), listed.len(), "a scenario is listed twice");
    let mut there = in_folder("scenarios");
    assert!(there.remove("incidents"), "incidents have a page of their own");
    assert_eq!(named, there);
}

/// What a scenario's `[expect]` allows for a key.
fn expected(scenario: &str, key: &str) -> Vec<String> {
    let text = text(&format!("scenarios/{scenario}.toml"));
    let expect = text.split("[expect]").nth(1).unwrap_or_else(|| panic!("{scenario} expects nothing"));
    let value = expect.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "));
    let value = value.unwrap_or_else(|| panic!("{scenario} expects no {key}"));
    value.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_readme_says_of_every_scenario_what_its_file_expects() {
    let page = text("README.md");
    let rows = page.lines().skip_while(|line| !line.starts_with("| scenario |")).skip(2).take_while(|line| line.starts_with('|'));
    let mut looked_at = 0;
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, names, both, edge, _] = cells[..] else { panic!("{row}: not three cells") };
        let names: Vec<&str> = names.split(", ").collect();
        let edge = if edge == "the same" { both } else { edge };
        for (key, cell) in [("verdict", both), ("edge_only", edge)] {
            let said: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
            for (n, name) in names.iter().enumerate() {
                // One verdict each, or what holds for all of the row.
                let said = if said.len() == names.len() { &said[n..=n] } else { &said[..] };
                assert_eq!(said, expected(name, key), "README.md, {name}, {key}");
                looked_at += 1;
            }
        }
    }
    assert!(looked_at >= 40, "{looked_at}");
}

#[test]
fn the_library_shows_every_scenario_and_every_incident() {
    let page = text("docs/library.html");
    for folder in ["scenarios", "scenarios/incidents"] {
        for name in in_folder(folder).iter().filter(|name| *name != "incidents") {
            assert!(page.contains(&format!("whostalled run {folder}/{name}.toml")), "docs/library.html lacks {folder}/{name}");
        }
    }
}

#[test]
fn every_incident_has_a_row_on_its_page() {
    let page = text("docs/incidents.md");
    for incident in in_folder("scenarios/incidents") {
        let name = incident.trim_start_matches(|c: char| c.is_ascii_digit() || c == '-');
        assert!(page.contains(&format!("| `{name}` |")), "docs/incidents.md lacks {name}");
    }
}

#[test]
fn the_readme_names_what_scenarios_are_made_of() {
    for (begins, name, of) in
        [("- Clients (", "ClientKind", "kind"), ("- Servers (", "ServerKind", "server"), ("- Faults (", "Fault", "kind")]
    {
        let mut listed = quoted(&line("README.md", begins));
        assert!(listed.remove(of), "README.md: {begins} does not say which field it is");
        assert_eq!(listed, kinds("docs/scenario.schema.json", name), "README.md, {begins}…");
    }
}

#[test]
fn every_receiver_is_named_where_receivers_are_set_up() {
    let receivers = kinds("docs/checks.schema.json", "Receiver");
    assert_eq!(receivers, kinds("docs/capture.schema.json", "Receiver"), "both verbs alert alike");
    let example = line("docs/watch.md", "kind = ");
    let listed: BTreeSet<String> = example
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|w| !w.is_empty() && *w != "or")
        .map(str::to_owned)
        .collect();
    assert_eq!(listed, receivers, "docs/watch.md: kind = {example}");
    let readme = text("README.md").to_lowercase();
    for receiver in receivers {
        assert!(readme.contains(&receiver), "README.md does not name the receiver {receiver}");
    }
}

#[test]
fn the_recorders_page_names_its_logs_and_its_filters() {
    let logs = quoted(&line("docs/capture.md", "- **Logs** (`[[log]]`): "));
    let missing: Vec<String> = kinds("docs/capture.schema.json", "Log").difference(&logs).cloned().collect();
    assert!(missing.is_empty(), "docs/capture.md, Logs: {missing:?}");
    let ways: BTreeSet<String> = first_cells("docs/capture.md", "| `filter_at` |").iter().flat_map(|cell| quoted(cell)).collect();
    assert_eq!(ways, kinds("docs/capture.schema.json", "FilterSetting"));
}

#[test]
fn every_suite_says_what_it_is_for() {
    let listed: BTreeSet<String> = first_cells("docs/ci.md", "| suite |").iter().flat_map(|cell| quoted(cell)).collect();
    assert_eq!(listed, in_folder("e2e/tests"));
}

#[test]
fn every_library_has_an_example() {
    let own = ["benches", "e2e", "prerequisites", "testing", "xtask", "zoo"]; // what only tests and builds use
    let manifest = text("Cargo.toml");
    let members = manifest.split("members = [").nth(1).and_then(|rest| rest.split("\n]").next()).expect("a workspace");
    let members: BTreeSet<&str> = members.split('"').skip(1).step_by(2).filter(|name| !own.contains(name)).collect();
    assert!(members.len() > 20, "{members:?}");
    for member in members {
        assert!(!in_folder(&format!("{member}/examples")).is_empty(), "{member} has no example");
    }
}

#[test]
fn every_decision_is_in_the_list_of_decisions() {
    let index = text("docs/decisions/README.md");
    for page in in_folder("docs/decisions") {
        assert!(page == "README" || index.contains(&format!("({page}.md)")), "docs/decisions/README.md lacks {page}");
    }
}

#[test]
fn nginx_knows_the_line_that_it_is_to_log() {
    let page = text("docs/capture.md");
    let directive = page.split('`').find(|part| part.starts_with("log_format handshakes ")).expect("the page has nginx's line");
    let Some(nginx) = program("nginx") else { return skipped(Need::Tools, "nginx is not installed") };
    let folder = std::env::temp_dir().join(format!("whostalled-documented-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    let at = folder.display();
    let conf = format!(
        "pid {at}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{ {directive}\naccess_log {at}/log handshakes;\nclient_body_temp_path {at}/b; \
         proxy_temp_path {at}/p; fastcgi_temp_path {at}/f; uwsgi_temp_path {at}/u; scgi_temp_path {at}/s; }}\n"
    );
    std::fs::write(folder.join("conf"), conf).expect("a folder of our own");
    let said = Command::new(nginx).arg("-t").arg("-c").arg(folder.join("conf")).output();
    std::fs::remove_dir_all(&folder).expect("a folder of our own");
    let said = said.expect("nginx can be run");
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
}

/// Pages whose tables are all written by `cargo xtask tables`.
const GENERATED: [&str; 5] = ["docs/accuracy.md", "docs/mutations.md", "docs/score.md", "docs/speed.md", "docs/zoo.md"];

#[test]
fn tables_of_measurements_are_written_by_their_commands() {
    for page in GENERATED {
        let mut inside = false;
        for (number, line) in (1..).zip(text(page).lines()) {
            match line {
                "<!-- /generated -->" => inside = false,
                line if line.starts_with("<!-- generated: ") => inside = true,
                line => assert!(inside || !line.starts_with('|'), "{page}: line {number}: a table that no command writes"),
            }
        }
    }
}
