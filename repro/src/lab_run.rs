//! A scenario's lab for somebody else's program: a command runs at one of its hosts while faults come and go.
//!
//! In: a scenario, a host, a command, a timetable. Out: the command's exit code and, if wanted, each host's packets as pcapng. This is
//! how `watch` is shown and measured: against real kernels, on a wire whose faults are known.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;
use std::process::Child;
use std::str::FromStr;
use std::time::{Duration, Instant};

use analysis::wire::packet::LinkType;
use capture::evidence::Evidence;
use lab::rootless::Privilege;

use crate::Error;
use crate::conditions::Conditions;
use crate::duration::Length;
use crate::scenario::Scenario;
use crate::vantages::Testbed;

/// Time between two looks at the timetable.
const LOOK: Duration = Duration::from_millis(20);
/// `LINKTYPE_ETHERNET`.
const ETHERNET: i32 = 1;

/// A fault for a while: `detour=20s..45s`.
#[derive(Clone, PartialEq, Debug)]
pub struct Turn {
    /// The fault's name in the scenario.
    pub fault: String,
    /// From then, since the start.
    pub from: Duration,
    /// Until then, since the start.
    pub to: Duration,
}

/// What is no [`Turn`].
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoTurn {
    /// It has other parts.
    #[error("`{0}`: write FAULT=FROM..TO, as detour=20s..45s")]
    Shape(String),
    /// One of its times is none.
    #[error("`{text}`: {what}")]
    Time {
        /// The whole.
        text: String,
        /// What is wrong with the time.
        what: String,
    },
}

impl FromStr for Turn {
    type Err = NoTurn;

    fn from_str(text: &str) -> Result<Self, NoTurn> {
        let wrong = || NoTurn::Shape(text.to_owned());
        let (fault, span) = text.split_once('=').ok_or_else(wrong)?;
        let (from, to) = span.split_once("..").ok_or_else(wrong)?;
        let time = |t: &str| {
            let read = Length::from_str(t).map(|l| l.0);
            read.map_err(|e| NoTurn::Time { text: text.to_owned(), what: e.to_string() })
        };
        Ok(Self { fault: fault.to_owned(), from: time(from)?, to: time(to)? })
    }
}

/// What to do in the lab.
pub struct LabRun<'a> {
    /// At which host.
    pub at: &'a str,
    /// Faults that come and go; the scenario's others are on all the time.
    pub turns: &'a [Turn],
    /// Where each host's packets go.
    pub captures: Option<PathBuf>,
    /// The program and its arguments. `WHOSTALLED_LAB_CA` names the lab's root certificate; with `WHOSTALLED_LAB_HOST_…` of another host,
    /// `whostalled lab-exec` runs a program there.
    pub command: &'a [String],
    /// What may be done on this machine.
    pub privilege: Privilege,
}

/// Builds the lab, runs the command, takes the lab down; the command's exit code.
///
/// # Errors
/// Harness failures.
pub fn run(scenario: &Scenario, wanted: &LabRun<'_>, say: &mut dyn FnMut(&str)) -> Result<i32, Error> {
    for turn in wanted.turns {
        let Some(fault) = scenario.faults.get(&turn.fault) else {
            let known: Vec<&str> = scenario.faults.keys().map(String::as_str).collect();
            return Err(Error::Scenario(format!("the scenario has no fault {:?}; it has {}", turn.fault, known.join(", "))));
        };
        if let Some(why) = fault.kind().fixed() {
            return Err(Error::Scenario(format!(
                "the fault {:?} is there from the start to the end or not at all: {why}",
                turn.fault
            )));
        }
    }
    let with = |on: &dyn Fn(&str) -> bool| {
        let stays = |name: &str| wanted.turns.iter().all(|t| t.fault != name);
        Conditions::of(scenario, scenario.faults.iter().filter(|(name, _)| stays(name) || on(name)).map(|(_, fault)| fault))
    };
    let testbed = Testbed::build(scenario, &with(&|_| false), wanted.privilege)?;
    let host = testbed.host(wanted.at).ok_or_else(|| Error::Scenario(format!("there is no host {:?}", wanted.at)))?;
    let [program, args @ ..] = wanted.command else { return Err(Error::Scenario("there is no command to run".into())) };
    let mut command = host.placement().command(program, args)?;
    command.env("WHOSTALLED_LAB_CA", testbed.roots());
    for host in testbed.hosts() {
        let placement = serde_json::to_string(&host.placement()).map_err(|e| Error::Scenario(e.to_string()))?;
        command.env(format!("WHOSTALLED_LAB_HOST_{}", host.name.replace('-', "_")), placement);
    }
    let mut child = command.spawn().map_err(lab::Error::system(format!("starting {program}")))?;
    let begun = Instant::now();
    let mut active = BTreeSet::new();
    let status = loop {
        if let Some(status) = ended(&mut child)? {
            break status;
        }
        let now = begun.elapsed();
        let due: BTreeSet<&str> = wanted.turns.iter().filter(|t| t.from <= now && now < t.to).map(|t| t.fault.as_str()).collect();
        if due != active {
            for (names, what) in [(due.difference(&active), "begins"), (active.difference(&due), "ends")] {
                names.for_each(|name| say(&format!("{:>5.1} s  the fault {name} {what}", now.as_secs_f64())));
            }
            testbed.set(&with(&|name| due.contains(name)))?;
            active = due;
        }
        std::thread::sleep(LOOK);
    };
    if let Some(folder) = &wanted.captures {
        write_captures(&testbed, folder)?;
    }
    Ok(status)
}

fn ended(child: &mut Child) -> Result<Option<i32>, Error> {
    let status = child.try_wait().map_err(lab::Error::system("waiting for the command"))?;
    Ok(status.map(|s| s.code().unwrap_or(128)))
}

fn write_captures(testbed: &Testbed, folder: &PathBuf) -> Result<(), Error> {
    std::fs::create_dir_all(folder).map_err(|source| Error::Write { path: folder.display().to_string(), source })?;
    for (name, live) in testbed.captures() {
        let path = folder.join(format!("{name}.pcapng"));
        let write = || -> std::io::Result<()> {
            let out = std::io::BufWriter::new(File::create(&path)?);
            let mut evidence = Evidence::begin(out, "packets of a lab host")?;
            let interface = evidence.interface(name, ETHERNET)?;
            let mut last = 0;
            for frame in live.drain() {
                evidence.packet(interface, Some(LinkType::Ethernet), &frame, &[])?;
                last = frame.at;
            }
            evidence.finish(last, &[live.losses()])
        };
        write().map_err(|source| Error::Write { path: path.display().to_string(), source })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_a_fault_from_then_to_then() {
        let turn: Turn = "detour=1s..2.5s".parse().expect("it is one");
        assert_eq!((turn.fault.as_str(), turn.from, turn.to), ("detour", Duration::from_secs(1), Duration::from_millis(2_500)));
        assert!("detour".parse::<Turn>().is_err() && "detour=1..2".parse::<Turn>().is_err());
    }
}
