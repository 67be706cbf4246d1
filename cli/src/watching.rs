//! `whostalled watch` and `whostalled incidents`.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use alerting::Store;
use alerting::clock::UnixSeconds;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use watch::checks::{CheckFile, schema};
use watch::incidents::{TWO_WEEKS, lines};
use watch::page::incident_file;
use watch::validate;

use crate::args::{Incidents, Watch};
use crate::exit;

/// Watches until a signal ends it.
///
/// # Errors
/// If the check file is wrong or the watcher cannot go on.
pub fn watch(args: &Watch) -> Result<u8, Box<dyn Error>> {
    if args.schema {
        println!("{}", serde_json::to_string_pretty(&schema())?);
        return Ok(exit::HELD);
    }
    let Some(path) = &args.checks else { return Err("name a check file".into()) };
    if args.validate {
        let (checks, notes) = if args.fleet.fleet.is_some() { watch::fleet::validate(path)? } else { validate(path)? };
        notes.iter().for_each(|note| eprintln!("note: {note}"));
        println!("{}: valid, {checks} checks", path.display());
        return Ok(exit::HELD);
    }
    let (stop, reload) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    signal_hook::flag::register(SIGHUP, Arc::clone(&reload))?;
    let fleet = args.fleet.fleet.is_some();
    let ready = |file: &CheckFile| {
        let scheme = if file.watch.tls.is_some() { "https" } else { "http" };
        let from = if fleet { format!("a fleet, as {}", file.watch.vantage) } else { file.watch.vantage.clone() };
        eprintln!("watching {} checks from {from}; page: {scheme}://{}/", file.checks.len(), file.watch.listen);
    };
    if fleet {
        crate::fleets::watch(&args.fleet, path, &stop, &reload, ready)?;
    } else {
        watch::watch(path, &stop, &reload, ready)?;
    }
    Ok(exit::HELD)
}

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
    if let Some(path) = &args.html {
        std::fs::write(path, incident_file(&found, now)).map_err(|e| format!("{}: {e}", path.display()))?;
        eprintln!("wrote {}", path.display());
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&found)?);
    } else if args.html.is_none() {
        print!("{}", lines(&found));
    }
    Ok(exit::HELD)
}
