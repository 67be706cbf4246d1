//! The fleet: this host as an agent of it, and a run's way to its agents.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use analysis::key::Key;
use fleet::{AskRecorder, Fleet, Log, Name, Receiving, Reports, SILENCE, Server, Serving, Tls, receive, serve};
use repro::Scenario;
use repro::places::Place;
use settings::words::visible;
use vantage::{Leave, Local, Vantage};
use watch::WatchError;
use watch::checks::CheckFile;
use watch::fleet::{Line, Outlet, probe};
use watch::probing::Steady;

use crate::args::{Agent, Nats, WatchedFleet};
use crate::recording::flows;
use crate::saying::aside;

type Failure = Box<dyn std::error::Error>;

/// Answers controllers over NATS until told to stop.
pub(crate) fn agent(args: &Agent, host: &str, stop: &Arc<AtomicBool>) -> Result<(), Failure> {
    let Some(server) = server(&args.nats)? else { return Err("--nats: name the server".into()) };
    // What a killed agent left: its clients went with it, its groups and files did not.
    lab::clean::clean().iter().for_each(aside);
    let name: Name = args.name.as_deref().unwrap_or(host.split('.').next().unwrap_or(host)).parse()?;
    let groups = args.group.iter().map(|group| group.parse()).collect::<Result<Vec<Name>, _>>()?;
    let leave = Leave { load: args.allow_load, capture: !args.no_capture };
    let vantage = |capture: bool| -> Result<Box<dyn Vantage>, vantage::Error> {
        Ok(Box::new(Local::new(name.as_str(), Leave { capture: capture && leave.capture, ..leave })?))
    };
    let recorder =
        args.recorder.clone().map(|socket| -> Arc<AskRecorder> { Arc::new(move |last, keys| ask(&socket, last, keys)) });
    let said = log(name.as_str());
    let watching = args.watch.then(|| watching(args.spool.as_deref(), stop, &said)).transpose()?;
    let serving = Serving {
        name: name.clone(),
        groups,
        commands: args.allow_command,
        spool: args.spool.clone(),
        recorder,
        recorder_only: args.recorder_only,
        silence: SILENCE,
        reports: watching.as_ref().map(|(reports, _)| Arc::clone(reports)),
        vantage: &vantage,
    };
    let served = serve(&server, &serving, stop, &said);
    stop.store(true, Ordering::Relaxed);
    if let Some((_, probing)) = watching {
        probing.join().map_err(|_| "the thread that probes broke; please report it")??;
    }
    Ok(served?)
}

type Probing = (Arc<Reports>, JoinHandle<Result<(), WatchError>>);

/// Begins to probe what controllers hand out. If that breaks, `stop` is set.
fn watching(spool: Option<&Path>, stop: &Arc<AtomicBool>, log: &Log) -> Result<Probing, Failure> {
    let folder = spool.map(|spool| spool.join("watch"));
    let clock = Steady::start();
    let reports = Arc::new(Reports::open(folder.clone(), move || clock.now(), log)?);
    let (keeper, teller, waiter) = (Arc::clone(&reports), Arc::clone(&reports), Arc::clone(&reports));
    let said = Arc::clone(log);
    let outlet = Outlet {
        keep: Box::new(move |news, report| {
            if let Err(error) = keeper.keep(news, &report) {
                said(&format!("a report is in memory alone: {error}"));
            }
        }),
        trouble: Box::new(move |what| teller.trouble(what)),
        controllers: Box::new(move |names| waiter.wait_for(names)),
    };
    let (checks, stop) = (reports.checks(), Arc::clone(stop));
    let probing = std::thread::Builder::new().name("watch".into()).spawn(move || {
        let probed = probe(checks, outlet, folder.as_deref(), clock, &stop);
        stop.store(true, Ordering::Relaxed);
        probed
    })?;
    Ok((reports, probing))
}

/// Judges what a fleet's agents report until told to stop.
pub(crate) fn watch(
    args: &WatchedFleet,
    path: &Path,
    stop: &Arc<AtomicBool>,
    reload: &AtomicBool,
    ready: impl FnOnce(&CheckFile),
) -> Result<(), Failure> {
    let WatchedFleet { fleet, nats_ca, nats_cert, nats_key } = args;
    let (nats, nats_ca, nats_cert, nats_key) = (fleet.clone(), nats_ca.clone(), nats_cert.clone(), nats_key.clone());
    let Some(server) = server(&Nats { nats, nats_ca, nats_cert, nats_key })? else {
        return Err("--fleet: name the server".into());
    };
    let carrier = Arc::clone(stop);
    Ok(watch::fleet::watch(path, stop, reload, ready, move |line| {
        let Line { controller, checks, delivered, stored, reached } = line;
        receive(&server, Receiving { controller, checks, delivered, stored, reached }, &carrier, &log("fleet"))
    })?)
}

/// Asks the recorder on this host.
fn ask(socket: &Path, last: Duration, keys: &[Key]) -> Result<Vec<u8>, String> {
    let request = if keys.is_empty() { "status".to_owned() } else { flows(last, keys) };
    recorder::control::ask(socket, &request).map(|(_, bytes)| bytes).map_err(|e| e.to_string())
}

/// A run's connection to the fleet; absent: no server was named.
pub(crate) struct Reached(Option<Fleet>);

impl Reached {
    /// No fleet: the lab is its own.
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// Connects, if a server is named. Bundles that an earlier run did not store go to `results/handed-over`.
    pub(crate) fn connect(nats: &Nats, results: &Path) -> Result<Self, Failure> {
        let Some(server) = server(nats)? else { return Ok(Self(None)) };
        let host = nix::unistd::gethostname()?.to_string_lossy().into_owned();
        let who = format!("{host} (process {})", std::process::id());
        Ok(Self(Some(Fleet::connect(&server, &who, results.join("handed-over"), log("fleet"))?)))
    }

    /// Each agent that places mean.
    pub(crate) fn places(&self, places: Vec<Place>) -> Result<Vec<Place>, Failure> {
        let each = places.into_iter().map(|place| place.each(|pattern| self.meant(pattern))).collect::<Result<Vec<_>, _>>()?;
        Ok(each.into_iter().flatten().collect())
    }

    /// Each agent that a scenario's vantages mean.
    pub(crate) fn agents(&self, scenario: &mut Scenario) -> Result<(), Failure> {
        scenario.each_agent(|pattern| self.meant(pattern))
    }

    fn meant(&self, pattern: &str) -> Result<Vec<String>, Failure> {
        let fleet = self.0.as_ref().ok_or("a vantage is of a fleet: name its server, --nats tls://HOST:4222")?;
        Ok(fleet.meant(pattern)?.iter().map(ToString::to_string).collect())
    }

    /// Agents that are there; none where no fleet is.
    pub(crate) fn present(&self) -> Result<Vec<String>, Failure> {
        let Some(fleet) = &self.0 else { return Ok(Vec::new()) };
        Ok(fleet.present()?.iter().map(|present| present.name.to_string()).collect())
    }

    /// Waits until an agent is there.
    pub(crate) fn await_agent(&self, agent: &str, patience: Duration, stop: &AtomicBool) -> Result<(), Failure> {
        let fleet = self.0.as_ref().ok_or("name the server of the fleet, --nats tls://HOST:4222")?;
        let until = Instant::now() + patience;
        while !stop.load(Ordering::Relaxed) {
            if fleet.present()?.iter().any(|present| present.name.as_str() == agent) {
                return Ok(());
            }
            if Instant::now() >= until {
                return Err(format!("nobody of that name in {} s", patience.as_secs()).into());
            }
        }
        Err("told to stop".into())
    }

    /// Asks the recorder beside an agent.
    pub(crate) fn recorded(
        &self,
        agent: &str,
        name: &str,
        last: Duration,
        keys: &[Key],
        stop: &AtomicBool,
    ) -> Result<Vec<u8>, vantage::Error> {
        let (fleet, agent) = self.named(agent, name)?;
        fleet.recorded(&agent, name, last, keys, stop)
    }

    /// Reaches an agent as a vantage.
    pub(crate) fn open(
        &self,
        agent: &str,
        name: &str,
        leave: Leave,
        stop: &AtomicBool,
    ) -> Result<Box<dyn Vantage + '_>, vantage::Error> {
        let (fleet, agent) = self.named(agent, name)?;
        Ok(Box::new(fleet.open(&agent, name, leave.capture, stop)?))
    }

    /// The fleet, and an agent of it that the run calls `name`.
    fn named(&self, agent: &str, name: &str) -> Result<(&Fleet, Name), vantage::Error> {
        let gone = |what: String| vantage::Error::Gone { vantage: name.to_owned(), what };
        let no_server = || gone("is of a fleet, and its server was not named: --nats tls://HOST:4222".into());
        let agent = agent.parse().map_err(|e: fleet::NoName| gone(format!("cannot be one of a fleet: {e}")))?;
        Ok((self.0.as_ref().ok_or_else(no_server)?, agent))
    }
}

fn server(nats: &Nats) -> Result<Option<Server>, Failure> {
    let Some(url) = &nats.nats else { return Ok(None) };
    let own = nats.nats_cert.clone().zip(nats.nats_key.clone());
    let tls = (nats.nats_ca.is_some() || own.is_some()).then(|| Tls { ca: nats.nats_ca.clone(), own });
    Ok(Some(Server::new(url, tls.as_ref())?))
}

fn log(who: &str) -> Log {
    let who = who.to_owned();
    Arc::new(move |line| aside(format_args!("{who}: {}", visible(line))))
}
