//! `whostalled run`, `accuracy` and `schema`.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use indicatif::{ProgressBar, ProgressStyle};
use lab::rootless::Privilege;
use repro::accuracy::score;
use repro::stand::Standing;
use repro::{Outcome, RunOptions, Scenario};

use crate::args::{Accuracy, Run, Stand};
use crate::exit;

/// Runs a scenario and prints what came out.
pub fn run(args: &Run) -> Result<u8, Box<dyn std::error::Error>> {
    let mut overrides = args.set.clone();
    overrides.extend(args.rounds.map(|n| format!("rounds={n}")));
    let mut scenario = read(&args.scenario, &overrides)?;
    scenario.select(&args.vantage, &args.target)?;
    repro::ready(&scenario, &args.results)?;
    let privilege = lab::rootless::enter()?;
    let outcome = once(&scenario, &args.results, privilege)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&outcome.record)?);
    } else {
        anstream::print!("{}", report::terminal::render(&outcome.record, &outcome.handshakes));
        println!("  report: {}", outcome.folder.join("report.html").display());
        println!("  evidence: {}", outcome.folder.join("evidence.pcapng").display());
    }
    Ok(match &outcome.record.footing.void {
        Some(_) => exit::HARNESS,
        None if outcome.record.held() => exit::HELD,
        None => exit::FAILED,
    })
}

/// Runs a command on a scenario's stage.
pub fn stand(args: &Stand) -> Result<u8, Box<dyn std::error::Error>> {
    let scenario = read(&args.scenario, &[])?;
    let privilege = lab::rootless::enter()?;
    // Ctrl-C is the command's to obey; the stage comes down when it has ended.
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    let standing =
        Standing { at: &args.at, turns: &args.when, captures: args.captures.clone(), command: &args.command, privilege };
    let code = repro::stand::stand(&scenario, &standing, &mut |said| eprintln!("{said}"))?;
    Ok(u8::try_from(code).unwrap_or(exit::HARNESS))
}

/// The published schema of scenario files.
pub fn schema() -> String {
    repro::scenario::schema()
}

fn read(path: &Path, overrides: &[String]) -> Result<Scenario, Box<dyn std::error::Error>> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|e| format!("{file}: {e}"))?;
    Ok(Scenario::parse(&file, &text, overrides)?)
}

fn once(scenario: &Scenario, results: &Path, privilege: Privilege) -> Result<Outcome, Box<dyn std::error::Error>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // A second signal ends the process at once; namespaces and children go with it.
        signal_hook::flag::register_conditional_shutdown(signal, i32::from(exit::HARNESS), Arc::clone(&interrupted))?;
        signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
    }
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new(1) } else { ProgressBar::hidden() };
    bar.set_style(ProgressStyle::with_template("{spinner} {bar:24} {pos}/{len} {msg} {elapsed}")?);
    bar.enable_steady_tick(std::time::Duration::from_millis(120));
    let progress = |what: &str, done: u64, total: u64| {
        bar.set_length(total);
        bar.set_position(done);
        bar.set_message(what.to_owned());
        if bar.is_hidden() {
            eprintln!("[{done}/{total}] {}: {what}", scenario.name);
        }
    };
    let options = RunOptions {
        results: results.to_owned(),
        privilege,
        interrupted: &interrupted,
        progress: &progress,
        page: &report::html::page,
    };
    let outcome = repro::run(scenario, &options);
    bar.finish_and_clear();
    Ok(outcome?)
}

/// Runs scenarios over seeds, severities and round-trip times, and prints the table.
pub fn accuracy(args: &Accuracy) -> Result<u8, Box<dyn std::error::Error>> {
    for path in &args.scenarios {
        repro::ready(&read(path, &[])?, &args.results)?;
    }
    let privilege = lab::rootless::enter()?;
    let mut rows = Vec::new();
    let mut all_right = true;
    for path in &args.scenarios {
        let (mut right, mut void, mut wrong) = (0, 0, Vec::new());
        let mut errors: Vec<f64> = Vec::new();
        let mut trial = 0;
        // A void run says nothing about the verdict: it is counted, shown and tried again, twice at most.
        let mut attempts = 0;
        while trial < args.trials {
            let variation = repro::accuracy::variation(&read(path, &[])?, trial);
            let scenario = read(path, &variation)?;
            let outcome = once(&scenario, &args.results, privilege)?;
            attempts += 1;
            if outcome.record.footing.void.is_some() && attempts < args.trials + 2 {
                void += 1;
                continue;
            }
            trial += 1;
            if outcome.record.held() {
                right += 1;
            } else {
                let missed = outcome.record.expectations.iter().filter(|e| !e.held);
                wrong.extend(missed.map(|e| format!("{}: {} ({})", e.evidence, e.seen, variation.join(" "))));
            }
            errors.extend(score(&outcome).iter().map(|s| (s.attributed - s.injected).abs()));
        }
        all_right &= right == args.trials;
        errors.sort_by(f64::total_cmp);
        let at = |q: f64| errors.get(((errors.len() as f64 * q) as usize).min(errors.len().saturating_sub(1))).copied();
        let shown = |v: Option<f64>| v.map_or("–".to_owned(), |v| format!("{v:.2}"));
        let name = path.file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned());
        rows.push(format!(
            "| {name} | {right}/{} | {void} | {} | {} | {} | {} |",
            args.trials,
            errors.len(),
            shown(at(0.5)),
            shown(at(0.95)),
            wrong.join("; ")
        ));
        eprintln!("{}", rows.last().expect("a row was just pushed"));
    }
    println!(
        "| scenario | right | void runs | n scored | median error ms | p95 error ms | missed |\n|---|---|---|---|---|---|---|"
    );
    println!("{}", rows.join("\n"));
    Ok(if all_right { exit::HELD } else { exit::FAILED })
}
