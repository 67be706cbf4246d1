//! Lines of what was measured: one JSON object each, oldest first, in a file that git keeps.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use records::compared::Fingerprint;
use serde::{Deserialize, Serialize};

use crate::changes::Sort;

/// What was measured of one commit.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Measured {
    /// The commit's full name.
    pub commit: String,
    /// Its date, as git writes it by RFC 3339.
    pub date: String,
    /// The first line of its message.
    pub subject: String,
    /// Where it was measured.
    pub machine: Fingerprint,
    /// By which compiler: `rustc --version`.
    pub compiler: String,
    /// Instructions by what they are spent on.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub instructions: BTreeMap<String, f64>,
    /// Criterion's medians in nanoseconds, by group and benchmark, for one element of the group's throughput.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub nanoseconds: BTreeMap<String, f64>,
}

/// One benchmark's values of commits that can be compared with each other.
#[derive(Clone, PartialEq, Debug)]
pub struct Series<'a> {
    /// What is measured.
    pub what: &'a str,
    /// How.
    pub sort: Sort,
    /// The measured commits, oldest first, and the values.
    pub values: Vec<(&'a Measured, f64)>,
}

/// Reads the file; an absent one has no lines.
///
/// # Errors
/// If it cannot be read, or a line is none: it says which.
pub fn read(file: &Path) -> Result<Vec<Measured>> {
    let text = match fs::read_to_string(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        text => text.with_context(|| format!("cannot read {}", file.display()))?,
    };
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(n, line)| serde_json::from_str(line).with_context(|| format!("{}, line {n}", file.display()))).collect()
}

/// Adds what was measured, in place of what the same machine and compiler measured of the same commit before.
///
/// # Errors
/// If the file cannot be read or written.
pub fn add(file: &Path, measured: Measured) -> Result<()> {
    let same = |m: &Measured| (&m.commit, &m.machine, &m.compiler) == (&measured.commit, &measured.machine, &measured.compiler);
    let mut lines = read(file)?;
    lines.retain(|m| !same(m));
    lines.push(measured);
    lines.sort_by(|a, b| a.date.cmp(&b.date));
    let lines: Vec<String> = lines.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
    fs::write(file, lines.join("\n") + "\n").with_context(|| format!("cannot write {}", file.display()))
}

/// The series: times of one machine and compiler each, counts of one processor and compiler: libraries choose their code by what it can do.
pub fn series(lines: &[Measured]) -> Vec<Series<'_>> {
    let mut found: BTreeMap<_, Series> = BTreeMap::new();
    for m in lines {
        for (what, value) in &m.instructions {
            let key = (Sort::Counted as u8, what, &m.compiler, &m.machine.cpu, None);
            let series = found.entry(key).or_insert_with(|| Series { what, sort: Sort::Counted, values: Vec::new() });
            series.values.push((m, *value));
        }
        for (what, value) in &m.nanoseconds {
            let machine = (m.machine.cpus, &m.machine.kernel);
            let key = (Sort::Timed as u8, what, &m.compiler, &m.machine.cpu, Some(machine));
            let series = found.entry(key).or_insert_with(|| Series { what, sort: Sort::Timed, values: Vec::new() });
            series.values.push((m, *value));
        }
    }
    found.into_values().collect()
}

/// What `cargo xtask instructions` writes.
#[derive(Deserialize)]
struct Counted {
    counts: BTreeMap<String, f64>,
}

/// The counts in a file of `cargo xtask instructions`.
///
/// # Errors
/// If it cannot be read or is none.
pub fn counts(file: &Path) -> Result<BTreeMap<String, f64>> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let counted: Counted = serde_json::from_str(&text).with_context(|| file.display().to_string())?;
    Ok(counted.counts)
}

/// Criterion's last medians, by `group/benchmark`, from its folder (`target/criterion`).
///
/// # Errors
/// If the folder has none, or one is not as criterion writes it.
pub fn medians(folder: &Path) -> Result<BTreeMap<String, f64>> {
    let mut found = BTreeMap::new();
    for group in folders(folder)? {
        for benchmark in folders(&group)? {
            let last = benchmark.join("new");
            if !last.join("estimates.json").exists() {
                continue;
            }
            let benchmark: Benchmark = json(&last.join("benchmark.json"))?;
            let estimates: Estimates = json(&last.join("estimates.json"))?;
            let elements = benchmark.throughput.and_then(|t| t.elements).unwrap_or(1).max(1);
            found.insert(benchmark.full_id, estimates.median.point_estimate / elements as f64);
        }
    }
    ensure!(!found.is_empty(), "{} has no estimates: cargo bench -p whostalled-benches", folder.display());
    Ok(found)
}

#[derive(Deserialize)]
struct Benchmark {
    full_id: String,
    throughput: Option<Throughput>,
}

#[derive(Deserialize)]
struct Throughput {
    #[serde(rename = "Elements")]
    elements: Option<u64>,
}

#[derive(Deserialize)]
struct Estimates {
    median: Estimate,
}

#[derive(Deserialize)]
struct Estimate {
    point_estimate: f64,
}

fn json<T: for<'de> Deserialize<'de>>(file: &Path) -> Result<T> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_str(&text).with_context(|| file.display().to_string())
}

fn folders(of: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(of).with_context(|| format!("cannot read {}", of.display()))?;
    let mut found: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_dir()).collect();
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(commit: &str, date: &str, cpu: &str, value: f64) -> Measured {
        Measured {
            commit: commit.to_owned(),
            date: date.to_owned(),
            subject: String::new(),
            machine: Fingerprint { cpu: cpu.to_owned(), cpus: 2, kernel: "6".to_owned() },
            compiler: "rustc 1".to_owned(),
            instructions: [("a handshake".to_owned(), value)].into(),
            nanoseconds: [("per packet/decode".to_owned(), value)].into(),
        }
    }

    #[test]
    fn a_commit_measured_again_replaces_what_the_same_machine_said_and_stays_in_its_place() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("history.jsonl");
        for (commit, date, cpu, value) in [
            ("b", "2026-02-01", "fast", 2.0),
            ("a", "2026-01-01", "fast", 1.0),
            ("b", "2026-02-01", "fast", 3.0),
            ("b", "2026-02-01", "slow", 9.0),
        ] {
            add(&file, measured(commit, date, cpu, value)).expect("added");
        }
        let lines = read(&file).expect("read");
        let shown: Vec<_> =
            lines.iter().map(|m| (m.commit.as_str(), m.machine.cpu.as_str(), m.instructions["a handshake"])).collect();
        assert_eq!(shown, [("a", "fast", 1.0), ("b", "fast", 3.0), ("b", "slow", 9.0)]);
        let series = series(&lines);
        let sizes: Vec<_> = series.iter().map(|s| (s.sort, s.values.len())).collect();
        let wanted = [(Sort::Counted, 2), (Sort::Counted, 1), (Sort::Timed, 2), (Sort::Timed, 1)];
        assert_eq!(sizes, wanted, "what two machines measured is not compared");
    }

    #[test]
    fn a_broken_line_is_named() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("history.jsonl");
        add(&file, measured("a", "2026-01-01", "fast", 1.0)).expect("added");
        let text = fs::read_to_string(&file).expect("read");
        fs::write(&file, format!("{text}{{\"commit\":")).expect("written");
        let error = read(&file).expect_err("it is broken").to_string();
        assert!(error.contains("history.jsonl, line 2"), "{error}");
    }

    #[test]
    fn criterions_medians_are_for_one_element() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let last = folder.path().join("per packet/decode/new");
        fs::create_dir_all(&last).expect("made");
        fs::write(last.join("benchmark.json"), r#"{"full_id":"per packet/decode","throughput":{"Elements":200}}"#)
            .expect("written");
        fs::write(last.join("estimates.json"), r#"{"median":{"point_estimate":5000.0}}"#).expect("written");
        assert_eq!(medians(folder.path()).expect("read"), [("per packet/decode".to_owned(), 25.0)].into());
        assert!(medians(&last).is_err(), "nothing measured is no result");
    }
}
