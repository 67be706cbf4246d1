//! Runs `whostalled explain --ndjson` over a folder of cases and compares what it says with the truth.
//!
//! Three modes: both captures, the edge's alone, the client's alone. Every handshake has one outcome in each:
//!
//! | outcome | meaning |
//! |---|---|
//! | right | a verdict of the list, or a coarser or finer one of the same side |
//! | half | two were to be named, one was, and no other |
//! | open | inconclusive, unjudged or not in the output, and the list does not allow it |
//! | missed | healthy was said, and the list does not have it |
//! | wrong | a side was named that the list does not have |

mod outcome;
mod table;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Parser;
use serde_json::Value;

use crate::error::{Failed, Why};
pub use outcome::Outcome;
use outcome::{Said, judge};

/// Which captures the tool was given.
pub(crate) const MODES: [&str; 3] = ["both", "edge", "client"];

#[derive(Parser)]
#[command(about = "Compares `whostalled explain` with the truth of recorded cases")]
struct Options {
    /// The folder of cases.
    folder: PathBuf,
    /// The tool.
    #[arg(long, default_value = "whostalled")]
    binary: PathBuf,
    /// Only cases whose name begins so.
    #[arg(long)]
    prefix: Vec<String>,
    /// Every handshake that is not right.
    #[arg(long)]
    list: bool,
    /// All rows as JSON lines.
    #[arg(long)]
    json: Option<PathBuf>,
    /// `MODE=PERCENT`: at least so many of the affected must be right.
    #[arg(long, value_name = "MODE=PERCENT")]
    affected_right: Vec<String>,
    /// `MODE=PERCENT`: at least so many of all must be right.
    #[arg(long, value_name = "MODE=PERCENT")]
    right: Vec<String>,
    /// `MODE=PERCENT`: at least so many of all must be right or left open.
    #[arg(long, value_name = "MODE=PERCENT")]
    right_or_open: Vec<String>,
    /// `MODE=PERCENT`: at most so many of all may be wrong.
    #[arg(long, value_name = "MODE=PERCENT")]
    wrong: Vec<String>,
}

/// One handshake in one mode.
pub struct Row {
    /// The case's name.
    pub case: String,
    /// Its number in the case.
    pub handshake: u64,
    /// The client's port.
    pub port: u64,
    /// Which captures the tool was given.
    pub mode: &'static str,
    /// Whether something was done to it.
    pub affected: bool,
    /// What the verdict is worth.
    pub outcome: Outcome,
    /// The verdict.
    pub label: String,
    /// Verdicts that count as right.
    pub expected: Vec<String>,
    /// (injected, found) milliseconds where one stall of known length was injected and its side named.
    pub time: Option<(f64, f64)>,
}

/// What `main` does.
pub fn main() -> ExitCode {
    let options = Options::parse();
    match grade(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("zoo-grade: {error}");
            ExitCode::from(2)
        }
    }
}

/// Runs `binary` over the cases of a folder whose names begin with one of `prefixes` (all, if there is none).
///
/// # Errors
/// If a case cannot be read, or there is none.
pub fn rows(folder: &Path, binary: &Path, prefixes: &[String]) -> Result<Vec<Row>, Failed> {
    let scratch = std::env::temp_dir().join(format!("zoo-grade.{}", std::process::id()));
    let mut cases: Vec<PathBuf> = std::fs::read_dir(folder)
        .why(format!("reading {}", folder.display()))?
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.join("truth.json").exists())
        .collect();
    cases.sort();
    let mut rows = Vec::new();
    for case in &cases {
        let name = case.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if prefixes.is_empty() || prefixes.iter().any(|p| name.starts_with(p.as_str())) {
            let done = one(case, &name, binary, &scratch, &mut rows);
            let _ = std::fs::remove_dir_all(&scratch);
            done?;
        }
    }
    if rows.is_empty() {
        return Err(Failed(format!("no case in {}", folder.display())));
    }
    Ok(rows)
}

fn grade(options: &Options) -> Result<bool, Failed> {
    let rows = rows(&options.folder, &options.binary, &options.prefix)?;
    // Whoever reads only the head of it ends nothing.
    let _ = table::write(&mut std::io::stdout().lock(), &rows, options.list);
    if let Some(path) = &options.json {
        let lines: String = rows.iter().map(|r| table::json(r).to_string() + "\n").collect();
        std::fs::write(path, lines).why(format!("writing {}", path.display()))?;
    }
    bars(options, &rows)
}

fn one(case: &Path, name: &str, binary: &Path, scratch: &Path, rows: &mut Vec<Row>) -> Result<(), Failed> {
    std::fs::create_dir_all(scratch).why("scratch folder")?;
    let text = std::fs::read_to_string(case.join("truth.json")).why(format!("{name}: reading the truth"))?;
    let truth: Value = serde_json::from_str(&text).why(format!("{name}: reading the truth"))?;
    let mut files = HashMap::new();
    for side in ["client", "edge", "merged"] {
        let packed = case.join(format!("{side}.pcap.zst"));
        if packed.exists() {
            let target = scratch.join(format!("{side}.pcap"));
            let status = Command::new("zstd").args(["-q", "-d", "-f"]).arg(&packed).arg("-o").arg(&target).status();
            if !status.why("starting zstd")?.success() {
                return Err(Failed(format!("{name}: zstd failed on {side}")));
            }
            files.insert(side, target);
        }
    }
    for mode in MODES {
        let sides: &[&str] = match mode {
            "both" if files.contains_key("merged") => &["merged"],
            "both" => &["client", "edge"],
            other => &[other],
        };
        let given: Vec<&PathBuf> = sides.iter().filter_map(|s| files.get(s)).collect();
        let key = if mode == "edge" { "edge_client_port" } else { "client_port" };
        let said = explain(binary, &given, name)?;
        for h in truth["handshakes"].as_array().into_iter().flatten() {
            let n = h["handshake"].as_u64().unwrap_or(u64::MAX);
            if truth["ungraded_handshakes"].as_array().is_some_and(|u| u.iter().any(|x| x.as_u64() == Some(n))) {
                continue;
            }
            let port = h[key].as_u64().or(h["client_port"].as_u64()).unwrap_or(0);
            rows.push(row(name, &truth, n, port, mode, said.get(&port)));
        }
    }
    Ok(())
}

/// What the tool says, by the client's port; the first of several counts.
fn explain(binary: &Path, files: &[&PathBuf], name: &str) -> Result<HashMap<u64, Value>, Failed> {
    let output = Command::new(binary).args(["explain", "--ndjson"]).args(files).output();
    let output = output.why(format!("starting {}", binary.display()))?;
    if !output.status.success() {
        return Err(Failed(format!("{name}: {} {}", output.status, String::from_utf8_lossy(&output.stderr).trim())));
    }
    let mut found = HashMap::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let line: Value = serde_json::from_str(line).why(format!("{name}: a line of explain"))?;
        let port = line["client"].as_str().and_then(|c| c.rsplit(':').next()?.parse().ok());
        if let Some(port) = port {
            found.entry(port).or_insert(line);
        }
    }
    Ok(found)
}

fn row(case: &str, truth: &Value, n: u64, port: u64, mode: &'static str, line: Option<&Value>) -> Row {
    let expected = &truth["expected"];
    let affected = truth["affected_handshakes"].as_array().is_some_and(|a| a.iter().any(|x| x.as_u64() == Some(n)));
    let own = &expected["per_handshake"][n.to_string()];
    let list = match (affected, mode) {
        (true, "edge") => &own["edge_only"],
        (true, _) => &own["both_ends"],
        (false, _) => &expected["unaffected"],
    };
    let mut words: Vec<String> = list.as_array().into_iter().flatten().filter_map(|w| w.as_str().map(String::from)).collect();
    if affected && mode == "client" {
        // The client alone: what both ends prove, half of it, or nothing.
        let halves: Vec<String> = words.iter().filter(|w| w.contains('+')).flat_map(|w| w.split('+').map(String::from)).collect();
        words.extend(halves);
        words.push("inconclusive".into());
    }
    let said = Said::of(line);
    let outcome = judge(&said, &words);
    let time = (mode == "both" && affected && outcome == Outcome::Right).then(|| time(truth, n, line, &said)).flatten();
    Row { case: case.into(), handshake: n, port, mode, affected, outcome, label: said.label, expected: words, time }
}

/// The injected and the found time where exactly one act of known length was done and a side was named.
fn time(truth: &Value, n: u64, line: Option<&Value>, said: &Said) -> Option<(f64, f64)> {
    let acts: Vec<&Value> = truth["injected"].as_array()?.iter().filter(|a| a["handshake"].as_u64() == Some(n)).collect();
    let [act] = acts.as_slice() else { return None };
    let ms = act["ms_actual"].as_f64().or(act["cost_ms"].as_f64()).or(act["ms"].as_f64())?;
    let side = said.culprits.first().filter(|_| said.culprits.len() == 1)?.side;
    let parts = line?["judgement"]["parts"].as_array()?;
    let found: f64 = parts
        .iter()
        .filter(|p| outcome::side_of_owner(p["owner"].as_str().unwrap_or("")) == side)
        .filter_map(|p| p["excess"].as_f64())
        .sum();
    Some((ms, found / 1e6))
}

/// What shares of the rows are held to.
struct Bars<'a> {
    what: &'static str,
    /// `MODE=PERCENT` each.
    asked: &'a [String],
    /// What is counted.
    outcomes: &'a [Outcome],
    affected_only: bool,
    /// Whether at least so many are wanted, or at most.
    least: bool,
}

fn bars(options: &Options, rows: &[Row]) -> Result<bool, Failed> {
    let mut met = true;
    let kind = |what, asked, outcomes, affected_only, least| Bars { what, asked, outcomes, affected_only, least };
    let kinds = [
        kind("affected right", &options.affected_right, &[Outcome::Right][..], true, true),
        kind("right", &options.right, &[Outcome::Right], false, true),
        kind("right or open", &options.right_or_open, &[Outcome::Right, Outcome::Open], false, true),
        kind("wrong", &options.wrong, &[Outcome::Wrong], false, false),
    ];
    for Bars { what, asked, outcomes, affected_only, least } in kinds {
        for bar in asked {
            let (mode, percent) = bar.split_once('=').ok_or_else(|| Failed(format!("{bar} is not MODE=PERCENT")))?;
            let percent: f64 = percent.parse().why(format!("{bar} is not MODE=PERCENT"))?;
            let of: Vec<&Row> = rows.iter().filter(|r| r.mode == mode && (r.affected || !affected_only)).collect();
            if of.is_empty() {
                return Err(Failed(format!("{bar}: no such mode")));
            }
            let share = 100.0 * of.iter().filter(|r| outcomes.contains(&r.outcome)).count() as f64 / of.len() as f64;
            let good = if least { share >= percent } else { share <= percent };
            println!("{} {mode} {what}: {share:.2} % (bar {percent} %)", if good { "met   " } else { "MISSED" });
            met &= good;
        }
    }
    Ok(met)
}
