//! Commands that are started, and stopped with all that they started: children, and what made itself a daemon or has a session of its own.
//!
//! In: a line for the shell. Out: a process until it is dropped. This process is made the one to whom the kernel gives children whose
//! parents have ended (`PR_SET_CHILD_SUBREAPER`): nothing that a command starts leaves the tree below us. What is found there and is not
//! below a command that still runs belonged to one that has ended; while two run nobody knows to which, and the last one takes it along.

use std::collections::BTreeSet;
use std::fs::{File, read_dir};
use std::os::unix::process::CommandExt;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

/// Asked to end, it may take so long.
const ENDS_WITHIN: Duration = Duration::from_secs(2);
/// Killed, so long.
const DIES_WITHIN: Duration = Duration::from_secs(1);
/// It is looked at every so often meanwhile.
const LOOK: Duration = Duration::from_millis(5);

/// What is known of our children.
struct Ours {
    /// Those that were there before the first command: somebody else's.
    others: Option<BTreeSet<i32>>,
    /// The commands that are not stopped yet.
    live: BTreeSet<i32>,
    /// What could not be stopped, in words.
    left: Vec<String>,
}

static OURS: Mutex<Ours> = Mutex::new(Ours { others: None, live: BTreeSet::new(), left: Vec::new() });

fn ours() -> MutexGuard<'static, Ours> {
    OURS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What was started and could not be stopped, for people; each is told once.
pub fn left_behind() -> Vec<String> {
    std::mem::take(&mut ours().left)
}

/// A line that becomes its program, in place of the shell that reads it.
pub fn becoming(line: &str) -> String {
    let line = line.trim_start();
    if line.starts_with("exec ") { line.to_owned() } else { format!("exec {line}") }
}

/// Kills all that was started and is not stopped yet, and waits for nothing.
pub fn kill_all() {
    let live = ours().live.clone();
    let processes = Process::all();
    for process in live.iter().flat_map(|id| belonging(&processes, *id)).chain(adopted(&processes)) {
        let _ = kill(Pid::from_raw(process.id), Signal::SIGKILL);
    }
}

/// A command and all that it started: stopped when this is dropped.
#[derive(Debug)]
pub struct Command(Child);

impl Command {
    /// Starts one; what it prints is shown, away from our own output.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn begin(line: &str) -> std::io::Result<Self> {
        Self::start(line, std::io::stderr().into(), Stdio::inherit())
    }

    /// Starts one whose output is nobody's; what it has to say goes to `errors`.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn quiet(line: &str, errors: File) -> std::io::Result<Self> {
        Self::start(line, Stdio::null(), errors.into())
    }

    fn start(line: &str, output: Stdio, errors: Stdio) -> std::io::Result<Self> {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", line]).stdin(Stdio::null()).stdout(output).stderr(errors).process_group(0);
        let mut ours = ours();
        if ours.others.is_none() {
            set_child_subreaper(true)?;
            let me = me();
            ours.others = Some(Process::all().iter().filter(|p| p.parent == me).map(|p| p.id).collect());
        }
        let child = command.spawn()?;
        ours.live.extend(i32::try_from(child.id()));
        Ok(Self(child))
    }

    /// Its process: the shell's, which is the command itself where this is a simple one.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// How it ended, if it has.
    pub fn status(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().ok().flatten()
    }

    /// The same in words. One that ended well and left something that runs is a daemon, and there.
    pub fn ended(&mut self) -> Option<String> {
        let status = self.status()?;
        let is_there = status.success() && self.running().next().is_some();
        (!is_there).then(|| status.to_string())
    }

    /// What is to be stopped with it.
    fn running(&self) -> impl Iterator<Item = Process> + use<> {
        let id = i32::try_from(self.0.id()).unwrap_or(0);
        let processes = Process::all();
        let is_last = ours().live.iter().all(|live| *live == id);
        let ended = self.0.id();
        let mut all = belonging(&processes, id);
        // A daemon may be any one's; whoever only asks is told that there is one.
        if is_last || !processes.iter().any(|p| i64::from(p.id) == i64::from(ended) && !p.is_dead) {
            all.extend(adopted(&processes));
        }
        all.into_iter().filter(|process| !process.is_dead)
    }

    /// Sends it to all, until none is left or it has taken too long; whether none is.
    fn stop(&mut self, signal: Signal, patience: Duration) -> bool {
        let id = i32::try_from(self.0.id()).unwrap_or(0);
        let begun = Instant::now();
        let mut told = BTreeSet::new();
        loop {
            let _ = self.status();
            let is_last = ours().live.iter().all(|live| *live == id);
            let processes = Process::all();
            let mut all = belonging(&processes, id);
            if is_last {
                let adopted = adopted(&processes);
                // Whoever has ended and was given to us waits for us.
                for dead in adopted.iter().filter(|p| p.is_dead && p.parent == me()) {
                    let _ = waitpid(Pid::from_raw(dead.id), Some(WaitPidFlag::WNOHANG));
                }
                all.extend(adopted);
            }
            all.retain(|process| !process.is_dead);
            if all.is_empty() {
                return true;
            }
            for process in &all {
                if told.insert(process.id) {
                    let _ = kill(Pid::from_raw(process.id), signal);
                }
            }
            if begun.elapsed() > patience {
                return false;
            }
            std::thread::sleep(LOOK);
        }
    }
}

impl Drop for Command {
    fn drop(&mut self) {
        let gone = self.stop(Signal::SIGTERM, ENDS_WITHIN) || self.stop(Signal::SIGKILL, DIES_WITHIN);
        let left = if gone { Vec::new() } else { self.running().map(|p| p.words()).collect() };
        let is_there = self.status().is_none() && !gone;
        if !is_there {
            let _ = self.0.wait();
        }
        let mut ours = ours();
        ours.left.extend(left);
        if let Ok(id) = i32::try_from(self.0.id()) {
            ours.live.remove(&id);
        }
    }
}

/// One line of `/proc`.
#[derive(Clone, Debug)]
struct Process {
    id: i32,
    name: String,
    is_dead: bool,
    parent: i32,
    group: i32,
}

impl Process {
    /// All that there are now.
    fn all() -> Vec<Self> {
        let ids = read_dir("/proc").into_iter().flatten().flatten();
        ids.filter_map(|entry| Self::read(entry.file_name().to_str()?.parse().ok()?)).collect()
    }

    fn read(id: i32) -> Option<Self> {
        // A name may hold anything, brackets, spaces and what is no UTF-8 too (proc_pid_stat(5)).
        let bytes = std::fs::read(format!("/proc/{id}/stat")).ok()?;
        let text = String::from_utf8_lossy(&bytes);
        let (name, rest) = text.split_once('(')?.1.rsplit_once(')')?;
        let mut fields = rest.split_whitespace();
        let is_dead = matches!(fields.next()?, "Z" | "X");
        let (parent, group) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        Some(Self { id, name: name.to_owned(), is_dead, parent, group })
    }

    fn words(&self) -> String {
        format!("process {} ({}) could not be stopped and still runs", self.id, self.name)
    }
}

fn me() -> i32 {
    Pid::this().as_raw()
}

/// A command, its group, and all below them.
fn belonging(processes: &[Process], id: i32) -> Vec<Process> {
    below(processes, |process| process.id == id || process.group == id)
}

/// What was given to us when its parent ended, and all below.
fn adopted(processes: &[Process]) -> Vec<Process> {
    let (me, ours) = (me(), ours());
    let is_other = |id: i32| ours.live.contains(&id) || ours.others.as_ref().is_none_or(|others| others.contains(&id));
    below(processes, |process| process.parent == me && !is_other(process.id) && !ours.live.contains(&process.group))
}

/// Those, and all that they started.
fn below(processes: &[Process], is_root: impl Fn(&Process) -> bool) -> Vec<Process> {
    let mut found: Vec<Process> = processes.iter().filter(|process| is_root(process)).cloned().collect();
    let mut known: BTreeSet<i32> = found.iter().map(|process| process.id).collect();
    let mut next = 0;
    while let Some(parent) = found.get(next).map(|process| process.id) {
        next += 1;
        found.extend(processes.iter().filter(|p| p.parent == parent && known.insert(p.id)).cloned());
    }
    found
}
