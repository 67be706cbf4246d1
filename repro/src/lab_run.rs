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

use analysis::clock::Instant as Stamp;
use analysis::wire::packet::LinkType;
use capture::evidence::Evidence;
use lab::rootless::Privilege;

use crate::Error;
use crate::duration::Length;
use crate::live_lab::LiveLab;
use crate::scenario::Scenario;

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
    let turns = wanted.turns.iter().map(|turn| turn.fault.clone()).collect();
    let live = LiveLab::build(scenario, turns, wanted.privilege)?;
    let [program, args @ ..] = wanted.command else { return Err(Error::Scenario("there is no command to run".into())) };
    let mut command = live.command(wanted.at, program, args)?;
    command.env("WHOSTALLED_LAB_CA", live.roots());
    for (name, placement) in live.placements()? {
        command.env(format!("WHOSTALLED_LAB_HOST_{}", name.replace('-', "_")), placement);
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
            live.set(&due)?;
            active = due;
        }
        std::thread::sleep(LOOK);
    };
    if let Some(folder) = &wanted.captures {
        write_captures(&live, folder)?;
    }
    Ok(status)
}

fn ended(child: &mut Child) -> Result<Option<i32>, Error> {
    let status = child.try_wait().map_err(lab::Error::system("waiting for the command"))?;
    Ok(status.map(|s| s.code().unwrap_or(128)))
}

fn write_captures(live: &LiveLab<'_>, folder: &PathBuf) -> Result<(), Error> {
    std::fs::create_dir_all(folder).map_err(|source| Error::Write { path: folder.display().to_string(), source })?;
    for (name, capture) in live.captures() {
        let path = folder.join(format!("{name}.pcapng"));
        let write = || -> std::io::Result<()> {
            let out = std::io::BufWriter::new(File::create(&path)?);
            let mut evidence = Evidence::begin(out, "packets of a lab host")?;
            let interface = evidence.interface(name, ETHERNET)?;
            let mut last = Stamp::from_nanos(0);
            for frame in capture.drain() {
                evidence.packet(interface, Some(LinkType::Ethernet), &frame, &[])?;
                last = frame.at;
            }
            evidence.finish(last, &[capture.losses()])
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
