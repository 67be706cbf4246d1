//! `whostalled run`, `lab stand` and `schema`.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use indicatif::{ProgressBar, ProgressStyle};
use lab::rootless::Privilege;
use repro::stand::Standing;
use repro::{Outcome, RunOptions, Scenario};

use crate::args::{Run, Stand};
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

/// Reads a scenario file, with overrides.
pub fn read(path: &Path, overrides: &[String]) -> Result<Scenario, Box<dyn std::error::Error>> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|e| format!("{file}: {e}"))?;
    Ok(Scenario::parse(&file, &text, overrides)?)
}

/// Runs a scenario once, with progress on standard error.
pub fn once(scenario: &Scenario, results: &Path, privilege: Privilege) -> Result<Outcome, Box<dyn std::error::Error>> {
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
