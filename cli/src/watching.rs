//! `whostalled watch` and `whostalled incidents`.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use alerting::Store;
use alerting::clock::UnixSeconds;
use settings::Time;
use settings::words::{plural, visible};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use watch::at_terminal::look;
use watch::checks::{Check, CheckFile, schema};
use watch::incidents::{TWO_WEEKS, lines};
use watch::page::incident_file;
use watch::target::ParsedTarget;
use watch::validate;

use crate::args::{Incidents, Watch, WatchAsk};
use crate::{beginning, exit, logging, saying};

/// Watches until a signal ends it.
///
/// # Errors
/// If the check file is wrong or the watcher cannot go on.
pub fn watch(args: &Watch) -> Result<u8, Box<dyn Error>> {
    if let Some(WatchAsk::Init { file, target }) = &args.ask {
        return beginning::write(file, &watch::init::text(target).map_err(|wrong| wrong.what)?, &|file| {
            format!("whostalled watch {file}")
        });
    }
    if args.schema {
        saying::line(serde_json::to_string_pretty(&schema())?)?;
        return Ok(exit::HELD);
    }
    let (stop, reload) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let path = match args.what.as_slice() {
        [file] if !is_target(file) => Path::new(file),
        targets => return at_terminal(args, targets, &stop),
    };
    if args.rounds.is_some() {
        return Err("--rounds is for targets; a check file is watched until a signal ends it".into());
    }
    if args.validate {
        let (checks, notes) = if args.fleet.fleet.is_some() { watch::fleet::validate(path)? } else { validate(path)? };
        notes.iter().for_each(|note| eprintln!("note: {note}"));
        saying::line(format_args!("{}: valid, {}", path.display(), plural(checks as u64, "check")))?;
        return Ok(exit::HELD);
    }
    logging::start(args.logged.log_format, args.logged.log_level);
    stopped_by_signals(&stop)?;
    signal_hook::flag::register(SIGHUP, Arc::clone(&reload))?;
    let fleet = args.fleet.fleet.is_some();
    let ready = |file: &CheckFile| {
        let scheme = if file.watch.tls.is_some() { "https" } else { "http" };
        let from = if fleet { format!("a fleet, as {}", file.watch.vantage) } else { file.watch.vantage.clone() };
        let checks = plural(file.checks.len() as u64, "check");
        tracing::info!("watching {checks} from {from}; page: {scheme}://{}/", file.watch.listen);
    };
    if fleet {
        crate::fleets::watch(&args.fleet, path, &stop, &reload, ready)?;
    } else {
        watch::watch(path, &stop, &reload, ready)?;
    }
    tracing::info!("stopped by a signal");
    Ok(exit::HELD)
}

fn stopped_by_signals(stop: &Arc<AtomicBool>) -> std::io::Result<()> {
    [SIGINT, SIGTERM].into_iter().try_for_each(|signal| signal_hook::flag::register(signal, Arc::clone(stop)).map(drop))
}

/// Whether this is something to check, and no check file.
fn is_target(text: &str) -> bool {
    let url = ["https://", "http://"].iter().any(|scheme| text.starts_with(scheme));
    url || (!Path::new(text).exists() && ParsedTarget::read(text).is_ok())
}

/// Checks targets and shows each round.
fn at_terminal(args: &Watch, targets: &[String], stop: &Arc<AtomicBool>) -> Result<u8, Box<dyn Error>> {
    if args.validate {
        return Err("--validate is for a check file; `whostalled watch init` writes one".into());
    }
    let example = watch::init::text(watch::init::EXAMPLE).map_err(|wrong| wrong.what)?;
    let mut file = CheckFile { checks: Vec::new(), ..CheckFile::parse(&example)? };
    (file.defaults.interval, file.defaults.timeout, file.defaults.ca) =
        (Time(args.interval), Time(args.timeout), args.ca.clone());
    for target in targets {
        file.checks.push(Check { insecure: args.insecure, ..Check::of(target) });
    }
    stopped_by_signals(stop)?;
    let mut said = Ok(());
    let good = look(file, stop, args.rounds, &mut |round| {
        let style = if round.good { GOOD } else { BAD };
        let more = round.more.as_deref().map(|more| format!("           {}\n", visible(more))).unwrap_or_default();
        said = saying::coloured(format_args!("{style}{}{style:#}\n{more}", visible(&round.line)));
        // What nobody can be told is not worth looking at.
        if said.is_err() {
            stop.store(true, Ordering::Relaxed);
        }
    })?;
    said?;
    Ok(if good || args.rounds.is_none() { exit::HELD } else { exit::FAILED })
}

const GOOD: anstyle::Style = anstyle::Style::new();
const BAD: anstyle::Style = anstyle::Style::new().bold().fg_color(Some(anstyle::Color::Ansi(anstyle::AnsiColor::Red)));

/// Prints or draws the incidents of the last two weeks.
///
/// # Errors
/// If there is no store, or the page cannot be written.
pub fn incidents(args: &Incidents) -> Result<u8, Box<dyn Error>> {
    if !args.store.exists() {
        return Err(format!("{}: there is no such store; name that of `watch` by --store", args.store.display()).into());
    }
    let now = UnixSeconds::now();
    let found = Store::open(&args.store)?.incidents(now - TWO_WEEKS)?;
    match &args.html {
        Some(path) if path.as_os_str() == "-" => saying::line(incident_file(&found, now))?,
        Some(path) => {
            std::fs::write(path, incident_file(&found, now)).map_err(|e| format!("{}: {e}", path.display()))?;
            eprintln!("wrote {}", path.display());
        }
        None => {}
    }
    if args.json {
        saying::line(serde_json::to_string_pretty(&found)?)?;
    } else if args.html.is_none() {
        saying::coloured(lines(&found))?;
    }
    Ok(exit::HELD)
}
