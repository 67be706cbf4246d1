//! Who may call whom: the manifests of all crates are held to the table in ARCHITECTURE.md.
//!
//! In: that table, and every member's `Cargo.toml`. What tests and build scripts call is not looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use toml::Table;

/// What a crate calls, by its name.
type Calls = BTreeMap<String, BTreeSet<String>>;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn manifest(path: &str) -> Table {
    text(path).parse().unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Names between backticks.
fn names(cell: &str) -> impl Iterator<Item = String> + '_ {
    cell.split('`').skip(1).step_by(2).map(str::to_owned)
}

/// The rows of the table that begins with `| crate | calls |`, in their order.
fn rows(page: &str) -> Vec<(Vec<String>, BTreeSet<String>)> {
    let table = page.lines().skip_while(|line| *line != "| crate | calls |").skip(2).take_while(|line| line.starts_with('|'));
    let cells = table.map(|line| line.trim_matches('|').split_once('|').unwrap_or_else(|| panic!("{line}: two cells")));
    cells.map(|(crates, calls)| (names(crates).collect(), names(calls).collect())).collect()
}

/// What the members of the workspace call of each other: by `[dependencies]`, for every target and feature.
fn called() -> Calls {
    let workspace = manifest("Cargo.toml");
    let members = workspace["workspace"]["members"].as_array().expect("a list of members");
    let members: BTreeSet<&str> = members.iter().map(|member| member.as_str().expect("the path of a member")).collect();
    let own = |manifest: &Table| -> BTreeSet<String> {
        let tables = manifest.get("target").and_then(toml::Value::as_table).into_iter().flat_map(Table::values);
        let of_targets = tables.filter_map(|target| target.get("dependencies"));
        let all = manifest.get("dependencies").into_iter().chain(of_targets).filter_map(toml::Value::as_table);
        all.flat_map(Table::keys).filter(|name| members.contains(name.as_str())).cloned().collect()
    };
    members.iter().map(|member| ((*member).to_owned(), own(&manifest(&format!("{member}/Cargo.toml"))))).collect()
}

#[test]
fn crates_call_whom_the_table_says() {
    let mut table = Calls::new();
    for (crates, calls) in rows(&text("ARCHITECTURE.md")) {
        for name in crates {
            assert!(table.insert(name.clone(), calls.clone()).is_none(), "ARCHITECTURE.md: `{name}` has two rows");
        }
    }
    let called = called();
    assert!(called.values().any(|calls| calls.contains("analysis")), "members are known by the names of their folders");
    let all: BTreeSet<&String> = table.keys().chain(called.keys()).collect();
    let none = BTreeSet::new();
    for name in all {
        let (said, found) = (table.get(name), called.get(name));
        assert!(said.is_some(), "{name}: no row in ARCHITECTURE.md, \"Who may call whom\"");
        assert!(found.is_some(), "{name}: a row in ARCHITECTURE.md, and no member of the workspace");
        let (said, found) = (said.unwrap_or(&none), found.unwrap_or(&none));
        let (more, less): (Vec<_>, Vec<_>) = (found.difference(said).collect(), said.difference(found).collect());
        assert!(more.is_empty(), "{name}/Cargo.toml: it calls {more:?}, and its row in ARCHITECTURE.md does not allow it");
        assert!(less.is_empty(), "ARCHITECTURE.md: the row of `{name}` names {less:?}, and it calls none of them");
    }
}

#[test]
fn arrows_point_inwards() {
    let mut above: BTreeSet<String> = BTreeSet::new();
    for (crates, calls) in rows(&text("ARCHITECTURE.md")) {
        let below: Vec<_> = calls.difference(&above).collect();
        assert!(below.is_empty(), "ARCHITECTURE.md: {crates:?} calls {below:?}, whose row is not above");
        above.extend(crates);
    }
    let called = called();
    assert_eq!(called["analysis"], BTreeSet::new(), "the core asks nobody");
    assert_eq!(called["records"], BTreeSet::from(["analysis".to_owned()]), "data knows no renderer, and nobody who writes it");
    let rendering: Vec<&String> = called.iter().filter(|(_, calls)| calls.contains("report")).map(|(name, _)| name).collect();
    assert_eq!(rendering, ["cli"], "only the binary renders");
    for injector in ["lab", "zoo", "sim"] {
        for judge in ["explain", "repro", "score"] {
            assert!(!called[injector].contains(judge), "{injector} injects faults and asks {judge}, which judges");
        }
    }
}

#[test]
fn no_cloud_is_in_what_users_build() {
    let lock = text("Cargo.lock");
    assert!(lock.contains("name = \"whostalled\""), "this is the lock file");
    let clouds: Vec<&str> = lock.lines().filter(|line| line.starts_with("name = \"aws-") || line.contains("smithy")).collect();
    assert!(clouds.is_empty(), "a cloud's SDK is a provider's, in a workspace of its own: {clouds:?}");
}
