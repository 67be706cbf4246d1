//! Programs of targets, which may be gone, stopped, die and return, or run with another command while the lab is up.
//!
//! In: command lines and where they run; what is to become of each. Out: processes. Dropping it ends them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lab::exec::{CommandLine, Placement};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::servers::{Reaped, start, wait_until_listening};
use crate::Error;
use crate::conditions::Conditions;
use crate::faults::{Crashes, Does};

/// Between two looks of a program that dies and returns at whether it is to end.
const LOOK: Duration = Duration::from_millis(5);

/// A program, and how it is started.
#[derive(Clone)]
pub(super) struct Program {
    /// Whose it is.
    pub target: String,
    /// What faults call it.
    pub name: String,
    /// Where it runs.
    pub placement: Placement,
    /// What it is started by when nothing is wrong with it.
    pub line: CommandLine,
    /// The port that it listens on.
    pub port: u16,
    /// Where it says what is wrong.
    pub scratch: PathBuf,
}

impl Program {
    fn start(&self, line: &CommandLine) -> Result<Reaped, Error> {
        start(&self.scratch, &self.placement, line, &self.log_name())
    }

    fn start_and_wait(&self, line: &CommandLine) -> Result<Reaped, Error> {
        let mut child = self.start(line)?;
        wait_until_listening(&mut child, &self.target, &self.log_name(), self.port, &self.scratch)?;
        Ok(child)
    }

    /// The server's log has the target's name, as it always had.
    fn log_name(&self) -> String {
        if self.name == crate::targets::SERVER { self.target.clone() } else { format!("{}-{}", self.target, self.name) }
    }
}

/// The programs of all targets.
#[derive(Default)]
pub(super) struct Programs(Mutex<Vec<(Program, Runs)>>);

/// How a program runs now.
enum Runs {
    /// With its own command; perhaps stopped.
    Itself { child: Reaped, stopped: bool },
    /// With another.
    Otherwise { words: Vec<String>, _child: Reaped },
    /// It dies and returns.
    Crashing { how: Crashes, _cycle: CrashCycle },
    /// Not at all.
    Not,
}

impl Runs {
    fn is(&self, wanted: Option<&Does>) -> bool {
        match (self, wanted) {
            (Runs::Itself { stopped, .. }, None) => !stopped,
            (Runs::Itself { stopped, .. }, Some(Does::Stopped)) => *stopped,
            (Runs::Otherwise { words, .. }, Some(Does::Runs(other))) => words == other,
            (Runs::Crashing { how, .. }, Some(Does::Crashes(other))) => how == other,
            (Runs::Not, Some(Does::Gone)) => true,
            _ => false,
        }
    }
}

/// Fills a command's words in, for a target.
pub(super) type FillIn<'a> = dyn Fn(&str, &[String]) -> CommandLine + 'a;

impl Programs {
    /// Starts one as it is to run from the beginning; its process id, if it is one process that stays.
    pub(super) fn begin(&mut self, program: Program, wanted: Option<&Does>, fill_in: &FillIn<'_>) -> Result<Option<u32>, Error> {
        let runs = changed(&program, Runs::Not, wanted, fill_in)?;
        let id = match &runs {
            Runs::Itself { child, .. } | Runs::Otherwise { _child: child, .. } => Some(child.id()),
            Runs::Crashing { .. } | Runs::Not => None,
        };
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner).push((program, runs));
        Ok(id)
    }

    /// Has each run as `conditions` say.
    pub(super) fn set(&self, conditions: &Conditions, fill_in: &FillIn<'_>) -> Result<(), Error> {
        let wanted: &BTreeMap<(String, String), Does> = &conditions.processes;
        for (program, runs) in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
            let wanted = wanted.get(&(program.target.clone(), program.name.clone()));
            if !runs.is(wanted) {
                *runs = changed(program, std::mem::replace(runs, Runs::Not), wanted, fill_in)?;
            }
        }
        Ok(())
    }
}

fn changed(program: &Program, now: Runs, wanted: Option<&Does>, fill_in: &FillIn<'_>) -> Result<Runs, Error> {
    // Whatever runs otherwise than wanted ends here, but its own program, which may only be stopped or go on.
    let itself = match (now, wanted) {
        (Runs::Itself { child, .. }, None | Some(Does::Stopped)) => Some(child),
        _ => None,
    };
    Ok(match wanted {
        None | Some(Does::Stopped) => {
            let child = itself.map_or_else(|| program.start_and_wait(&program.line), Ok)?;
            let stopped = wanted.is_some();
            let signal = if stopped { Signal::SIGSTOP } else { Signal::SIGCONT };
            let _ = kill(Pid::from_raw(child.id() as i32), signal);
            Runs::Itself { child, stopped }
        }
        Some(Does::Gone) => Runs::Not,
        Some(Does::Runs(words)) => {
            let child = program.start_and_wait(&fill_in(&program.target, words))?;
            Runs::Otherwise { words: words.clone(), _child: child }
        }
        Some(Does::Crashes(how)) => Runs::Crashing { how: *how, _cycle: CrashCycle::begin(program.clone(), *how) },
    })
}

/// A thread under which a program dies and returns; dropping it ends both.
struct CrashCycle {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl CrashCycle {
    fn begin(program: Program, Crashes { up, down }: Crashes) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            let sleep = |span: Duration| {
                let until = Instant::now() + span;
                while !told.load(Ordering::Relaxed) && Instant::now() < until {
                    std::thread::sleep(LOOK);
                }
            };
            while !told.load(Ordering::Relaxed) {
                // One that does not start is gone a little longer, which is what it is about.
                let child = program.start(&program.line);
                sleep(up.0);
                drop(child);
                sleep(down.0);
            }
        });
        Self { over, thread: Some(thread) }
    }
}

impl Drop for CrashCycle {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
