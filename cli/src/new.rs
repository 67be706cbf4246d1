//! `whostalled new`: a report or a capture in, a scenario out, run at once; how close it comes.

mod asking;
mod trial;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use explain::filter::Filter;
use explain::gather::Gather;
use explain::imported::{self, sniff};
use lab::rootless::Privilege;
use records::explained::{ExplainedRecord, SeenFrom};
use records::run::Expectation;
use repro::Outcome;
use repro::client::{ClientKind, ClientSpec};
use repro::sketch::{Closeness, Piece, Report, Sketch, Slow, representative, tune};
use serde::Serialize;
use settings::words::visible;

use crate::args::New;
use crate::run::{once_in_lab, words};
use crate::vantage_verbs::stopped;
use crate::{exit, saying};
pub use trial::trial;

/// Runs that say nothing (void) before that is said.
const MOST_VOID: u32 = 3;

/// Makes a scenario, runs it, prints how close it comes.
pub fn new(args: &New) -> Result<u8, Box<dyn std::error::Error>> {
    let mut sketch = wanted(args)?;
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from(format!("{}.toml", sketch.scenario.name)));
    if out.exists() && !args.force {
        return Err(format!("{}: it is there already: --out another file, or --force", out.display()).into());
    }
    write(&sketch, &out)?;
    if args.no_run {
        if !args.json {
            saying::coloured(made(&sketch, &out))?;
        }
        return Ok(exit::HELD);
    }
    repro::ready(&sketch.scenario, &args.results)?;
    let privilege = lab::rootless::enter()?;
    let best = approach(&mut sketch, args.tries, &args.results, privilege)?;
    write(&best.sketch, &out)?;
    if args.json {
        saying::line(serde_json::to_string_pretty(&best.told(&out))?)?;
    } else {
        saying::coloured(made(&best.sketch, &out) + &compared(&best))?;
    }
    Ok(if best.is_close() { exit::HELD } else { exit::FAILED })
}

fn write(sketch: &Sketch, out: &Path) -> Result<(), Box<dyn std::error::Error>> {
    std::fs::write(out, sketch.to_text()?).map_err(|e| format!("{}: {e}", out.display()).into())
}

/// The sketch that the arguments, the files or the answers mean.
fn wanted(args: &New) -> Result<Sketch, Box<dyn std::error::Error>> {
    if args.from.is_empty() {
        let report = match (&args.slow, &args.sni) {
            (None, None) => asking::report()?,
            _ => reported(args)?,
        };
        return Ok(report.sketch()?);
    }
    let name = |path: &PathBuf| path.file_name().map_or_else(String::new, |name| visible(&name.to_string_lossy()).into_owned());
    let from = args.from.iter().map(name).collect::<Vec<_>>().join(", ");
    let kinds: Vec<_> = args.from.iter().map(|path| (path.clone(), sniff(path).ok().flatten())).collect();
    if kinds.iter().all(|(_, kind)| kind.is_some()) {
        let files: Vec<_> = kinds.into_iter().filter_map(|(path, kind)| Some((path, kind?))).collect();
        let mut found = imported::explain(&files, imported::Options { filter: Filter::default(), top: usize::MAX, each: None })?;
        found.slowest.retain(|r| {
            !r.reused && r.judged.is_some() && args.sni.as_ref().is_none_or(|sni| r.server_name.as_ref() == Some(sni))
        });
        let slowest = found.slowest.first().ok_or_else(|| format!("{from}: no new connection with times in it"))?;
        return Ok(Report { culprit: args.culprit, ..Report::of_imported(slowest)? }.sketch()?);
    }
    if args.culprit.is_some() {
        return Err("--culprit belongs to reports: of a capture, the verdict says who it was".into());
    }
    let mut records = explained(&args.from)?;
    if let Some(sni) = &args.sni {
        records.retain(|record| record.server_name.as_ref() == Some(sni));
    }
    Ok(Sketch::of_records(&from, &records, args.handshake).map_err(|e| format!("{from}: {e}"))?)
}

fn reported(args: &New) -> Result<Report, String> {
    let facts = [("address", &args.address), ("client's region", &args.region), ("time", &args.time)];
    let facts = facts.iter().filter_map(|(what, said)| Some(format!("{what}: {}", said.as_deref()?)));
    let (kind, command) = match args.client.as_deref() {
        None | Some("probe") => (ClientKind::Probe, Vec::new()),
        Some("curl") => (ClientKind::Curl, Vec::new()),
        Some(command) => (ClientKind::Command, words(command)?),
    };
    let tls = if args.tls12 { repro::client::TlsVersion::V12 } else { repro::client::TlsVersion::Any };
    Ok(Report {
        server_name: args.sni.clone(),
        facts: facts.collect(),
        client: Some(ClientSpec { command, tls, concurrency: args.clients.unwrap_or(1), ..ClientSpec::new(kind) }),
        round_trip: args.rtt,
        slow: args.slow.map(|Slow(stretch, time)| (stretch, time)),
        culprit: args.culprit,
    })
}

/// All handshakes of captures.
fn explained(captures: &[PathBuf]) -> Result<Vec<ExplainedRecord>, Box<dyn std::error::Error>> {
    let mut records = Vec::new();
    let mut each = |record: &ExplainedRecord| {
        records.push(record.clone());
        ControlFlow::Continue(())
    };
    let mut silent = |_| {};
    let mut gather = Gather::new(Filter::default(), 0, &mut silent).for_each(&mut each);
    let outcome = explain::explain(&explain::Options { captures: captures.to_vec(), ..Default::default() }, &mut gather);
    if outcome.unreadable > 0 {
        return Err(outcome.warnings.join("; ").into());
    }
    Ok(records)
}

/// A run of a sketch, and how close it came.
struct Run {
    sketch: Sketch,
    closeness: Closeness,
    outcome: Outcome,
    /// The handshake that stands for it, in a sentence.
    sentence: String,
    tries: u32,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Told<'a> {
    scenario: String,
    close: bool,
    closeness: &'a Closeness,
    cannot: &'a [String],
    tries: u32,
    run: String,
    run_verdict: String,
    expectations: &'a [Expectation],
    sentence: &'a str,
}

impl Run {
    fn told(&self, out: &Path) -> Told<'_> {
        Told {
            scenario: out.display().to_string(),
            close: self.is_close(),
            closeness: &self.closeness,
            cannot: &self.sketch.cannot,
            tries: self.tries,
            run: self.outcome.folder.display().to_string(),
            run_verdict: run_verdict(&self.outcome),
            expectations: &self.outcome.record.expectations,
            sentence: &self.sentence,
        }
    }

    /// It comes close, and `run` of the file ends well.
    fn is_close(&self) -> bool {
        self.closeness.is_close() && self.outcome.record.held()
    }

    fn is_better_than(&self, other: &Self) -> bool {
        let close = |run: &Self| run.closeness.rows().filter(|row| row.close).count();
        let rank = |run: &Self| (run.closeness.is_alike(), run.outcome.record.held(), close(run));
        rank(self) > rank(other) || rank(self) == rank(other) && self.closeness.missed_by < other.closeness.missed_by
    }
}

fn run_verdict(outcome: &Outcome) -> String {
    outcome.record.verdict().verdict.label()
}

/// Runs a sketch, corrects it and runs it again, until it is close or was tried often enough; the closest counts.
fn approach(sketch: &mut Sketch, tries: u32, results: &Path, privilege: Privilege) -> Result<Run, Box<dyn std::error::Error>> {
    let mut best: Option<Run> = None;
    let (mut tried, mut void) = (0, 0);
    let stop = stopped()?;
    while tried < tries.max(1) {
        let outcome = once_in_lab(&sketch.scenario, results, privilege, &stop)?;
        if let Some(why) = &outcome.record.footing.void {
            // What proves nothing is no try, and never the best.
            void += 1;
            if void < MOST_VOID {
                continue;
            }
            match best {
                Some(_) => break,
                None => return Err(format!("{void} runs were void: {why}").into()),
            }
        }
        tried += 1;
        let records = explained(&seen_alike(sketch, &outcome)?)?;
        let Some((record, judged)) = representative(sketch, &records) else {
            return Err(format!("{}: no handshake of the run could be judged", outcome.folder.display()).into());
        };
        let closeness = Closeness::of(&sketch.aim, record, judged);
        let run = Run { sketch: sketch.clone(), closeness, outcome, sentence: judged.sentence.clone(), tries: tried };
        let done = run.is_close();
        if best.as_ref().is_none_or(|best| run.is_better_than(best)) {
            best = Some(run);
        }
        if done || !tune(sketch, judged) && tried >= 2 {
            break;
        }
    }
    best.ok_or_else(|| "nothing was run".into())
}

/// The run's packets, seen from the same ends as the original.
fn seen_alike(sketch: &Sketch, outcome: &Outcome) -> Result<Vec<PathBuf>, Box<dyn std::error::Error>> {
    let evidence = outcome.folder.join("evidence.pcapng");
    let (interface, name) = match sketch.aim.seen_from {
        // Of an unknown place nobody can cut a capture.
        SeenFrom::BothEnds | SeenFrom::Between | SeenFrom::Unknown => return Ok(vec![evidence]),
        SeenFrom::ClientEnd => (0, "client-end.pcapng"),
        SeenFrom::EdgeEnd => (1, "edge-end.pcapng"),
    };
    let one = outcome.folder.join(name);
    repro::one_end::write(&evidence, interface, &one)?;
    Ok(vec![one])
}

fn made(sketch: &Sketch, out: &Path) -> String {
    let mut said = format!("{}\n", out.display());
    let mut line = |text: String| said += &format!("  {text}\n");
    sketch.origin.iter().for_each(|origin| line(format!("from {}", visible(origin))));
    for Piece { fault, span, owner, phase, .. } in &sketch.pieces {
        line(format!("faults.{fault} stands for {span} of {} ({})", owner.label(), phase.words()));
    }
    sketch.cannot.iter().for_each(|what| line(format!("not the same: {}", visible(what))));
    said
}

fn compared(run: &Run) -> String {
    let mut said = format!("\n  {:<34} {:<40} {:<40}\n", "", "reported", "this run");
    for row in run.closeness.rows() {
        let close = if row.close { "close" } else { "NOT CLOSE" };
        said += &format!("  {:<34} {:<40} {:<40} {close}\n", row.what, row.reported, row.ran);
    }
    said += &format!("\n  {}\n", visible(&run.sentence));
    said += &format!("  with all evidence of the run (host, socket, logs): {}\n", run_verdict(&run.outcome));
    for e in &run.outcome.record.expectations {
        let held = if e.held { "as the file expects" } else { "NOT as the file expects" };
        said += &format!("  {}: {}, {held} ({})\n", e.evidence, e.seen, e.expected.join(" or "));
    }
    said + &format!("  {} in {}\n", settings::words::plural(u64::from(run.tries), "attempt"), run.outcome.folder.display())
}
