//! Plays an incident: the lab stands, its faults take their turns, a watcher at every vantage runs a round at a time.
//!
//! In: an incident, or its lab with no fault on. Out: its course.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use alerting::clock::UnixSeconds;
use lab::rootless::Privilege;
use repro::live_lab::LiveLab;

use crate::Error;
use crate::course::{Course, Round, Said};
use crate::file::Incident;
use crate::watcher::{SUBCOMMAND, WatcherConfig};

const NANOS: i64 = 1_000_000_000;

/// How to play.
pub struct Options<'a> {
    /// What may be done on this machine.
    pub privilege: Privilege,
    /// So many rounds with no fault on, instead of the incident.
    pub healthy: Option<u32>,
    /// Set to stop.
    pub interrupted: &'a AtomicBool,
    /// Told of each round: its number, of how many, what is on.
    pub progress: &'a dyn Fn(u32, u32, &str),
}

/// Plays an incident.
///
/// # Errors
/// Harness failures; the lab is taken down.
pub fn play(incident: &Incident, options: &Options<'_>) -> Result<Course, Error> {
    let live = LiveLab::build(&incident.scenario, incident.turning(), options.privilege)?;
    let mut watchers = BTreeMap::new();
    for vantage in &incident.scenario.vantages {
        watchers.insert(vantage.name.as_str(), Watcher::start(&live, incident, &vantage.name)?);
    }
    for watcher in watchers.values_mut() {
        watcher.hear()?;
    }
    let interval = i64::try_from(incident.checks.defaults.interval.0.as_nanos()).unwrap_or(i64::MAX);
    let begun = UnixSeconds::now().secs().saturating_mul(NANOS);
    let rounds = options.healthy.unwrap_or(incident.plan.rounds);
    let mut course = Course::default();
    let mut before = BTreeSet::new();
    for number in 1..=rounds {
        if options.interrupted.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        let turns = incident.plan.during.iter().filter(|turn| options.healthy.is_none() && turn.covers(number));
        let on: BTreeSet<&str> = turns.map(|turn| turn.fault.as_str()).collect();
        let names: Vec<String> = on.iter().map(|name| (*name).to_owned()).collect();
        (options.progress)(number, rounds, &names.join(", "));
        if on != before {
            live.set(&on)?;
            before = on;
        }
        std::thread::sleep(incident.plan.pace.0);
        let at = begun.saturating_add(interval.saturating_mul(i64::from(number)));
        for watcher in watchers.values_mut() {
            watcher.ask(at)?;
        }
        let mut round = Round { on: names, ..Round::default() };
        for (vantage, watcher) in &mut watchers {
            round.said.insert((*vantage).to_owned(), watcher.hear()?);
        }
        course.rounds.push(round);
    }
    Ok(course)
}

/// A watcher's process; dropping it ends it.
struct Watcher {
    vantage: String,
    child: Child,
    asked: ChildStdin,
    said: BufReader<ChildStdout>,
}

impl Watcher {
    fn start(live: &LiveLab<'_>, incident: &Incident, vantage: &str) -> Result<Self, Error> {
        let failed = |what: String| Error::Watcher { vantage: vantage.to_owned(), what };
        let config = WatcherConfig {
            text: incident.text.clone(),
            vantage: vantage.to_owned(),
            ca: live.roots().to_owned(),
            resolver: live.name_server(),
        };
        let config = serde_json::to_string(&config).map_err(|e| failed(format!("cannot be told what to do: {e}")))?;
        let own = lab::exec::own_program().map_err(|e| failed(format!("has no program: {e}")))?;
        let mut command = live.command(vantage, &own.display().to_string(), &[SUBCOMMAND.into(), config])?;
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.map_err(|e| failed(format!("cannot be started: {e}")))?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(asked), Some(said)) => Ok(Self { vantage: vantage.to_owned(), child, asked, said: BufReader::new(said) }),
            _ => Err(failed("has no pipes".into())),
        }
    }

    fn ask(&mut self, at: i64) -> Result<(), Error> {
        writeln!(self.asked, "{at}").map_err(|e| self.failed(format!("does not listen: {e}")))
    }

    fn hear(&mut self) -> Result<Said, Error> {
        let mut line = String::new();
        let read = self.said.read_line(&mut line).map_err(|e| self.failed(format!("cannot be heard: {e}")))?;
        if read == 0 {
            return Err(self.failed("ended; what it said is above".into()));
        }
        serde_json::from_str(&line).map_err(|e| self.failed(format!("says what nobody understands: {e}")))
    }

    fn failed(&self, what: String) -> Error {
        Error::Watcher { vantage: self.vantage.clone(), what }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
