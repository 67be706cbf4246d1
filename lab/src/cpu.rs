//! Taking CPU away from a host: quota (cgroup v1 or v2), burners, stop and continue.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Error;
use crate::clean::locked;
use crate::exec::{Placement, own_program};

/// Prefix of our cgroups' names; the runner's process id follows.
pub const PREFIX: &str = "whostalled.";
/// Groups of one name: more are no coincidence.
const MOST_OF_A_NAME: u32 = 100;
/// The scheduler's usual accounting period.
const PERIOD_US: u64 = 100_000;

/// Where CPU quotas are set on this machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hierarchy {
    /// cgroup v1 with the cpu controller.
    V1,
    /// cgroup v2 with the cpu controller.
    V2,
}

impl Hierarchy {
    /// Finds it, if this process may use it.
    pub fn detect() -> Option<Self> {
        let own = |path: &str| nix::unistd::access(path, nix::unistd::AccessFlags::W_OK).is_ok();
        if Path::new("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").exists() || Path::new("/sys/fs/cgroup/cpu/cpu.shares").exists() {
            return own("/sys/fs/cgroup/cpu/cgroup.procs").then_some(Hierarchy::V1);
        }
        let controllers = std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
        (controllers.split_whitespace().any(|c| c == "cpu") && own("/sys/fs/cgroup/cgroup.subtree_control"))
            .then_some(Hierarchy::V2)
    }

    /// The folder under which our groups stand.
    pub fn root(self) -> &'static Path {
        Path::new(match self {
            Hierarchy::V1 => "/sys/fs/cgroup/cpu",
            Hierarchy::V2 => "/sys/fs/cgroup",
        })
    }
}

/// A host's cgroup; dropping it kills what is inside and removes it.
#[derive(Debug)]
pub struct Cgroup {
    hierarchy: Hierarchy,
    folder: PathBuf,
    /// Tells [`crate::clean`] that its run lives.
    _lock: Option<File>,
}

impl Cgroup {
    /// Makes the group of `host` in this run.
    ///
    /// # Errors
    /// If the hierarchy refuses.
    pub fn create(hierarchy: Hierarchy, host: &str) -> Result<Self, Error> {
        if hierarchy == Hierarchy::V2 {
            // Already on is no failure, and a failure shows when the quota is set.
            let _ = std::fs::write("/sys/fs/cgroup/cgroup.subtree_control", "+cpu");
        }
        let wanted = format!("{}/{PREFIX}{}.{host}", hierarchy.root().display(), std::process::id());
        let folder = made(&wanted).map_err(Error::system(format!("making cgroup {wanted}")))?;
        let lock = locked(&folder);
        Ok(Self { hierarchy, folder, _lock: lock })
    }

    /// Limits the group to `cpus` CPUs (0.4 = 40 % of one).
    ///
    /// # Errors
    /// If the kernel refuses the value.
    pub fn quota(&self, cpus: f64) -> Result<(), Error> {
        let micros = ((PERIOD_US as f64 * cpus) as u64).max(1_000);
        match self.hierarchy {
            Hierarchy::V1 => {
                self.write("cpu.cfs_period_us", &PERIOD_US.to_string())?;
                self.write("cpu.cfs_quota_us", &micros.to_string())
            }
            Hierarchy::V2 => self.write("cpu.max", &format!("{micros} {PERIOD_US}")),
        }
    }

    /// Sets the group's weight against others (1 is ordinary).
    ///
    /// # Errors
    /// If the kernel refuses the value.
    pub fn weight(&self, factor: f64) -> Result<(), Error> {
        match self.hierarchy {
            Hierarchy::V1 => self.write("cpu.shares", &((1024.0 * factor) as u64).max(2).to_string()),
            Hierarchy::V2 => self.write("cpu.weight", &((100.0 * factor) as u64).clamp(1, 10_000).to_string()),
        }
    }

    /// The file by which processes join.
    pub fn procs(&self) -> PathBuf {
        self.folder.join("cgroup.procs")
    }

    fn write(&self, file: &str, value: &str) -> Result<(), Error> {
        let path = self.folder.join(file);
        std::fs::write(&path, value).map_err(Error::system(format!("writing {value} to {}", path.display())))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        remove(&self.folder);
    }
}

/// Makes a group of this name, with a number behind it where one is there: of a run in another PID namespace with the same process id, or
/// of one that was killed and had it before.
fn made(wanted: &str) -> io::Result<PathBuf> {
    let mut folder = PathBuf::from(wanted);
    for n in 2..=MOST_OF_A_NAME {
        match std::fs::create_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => folder = format!("{wanted}.{n}").into(),
            done => return done.map(|()| folder),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Kills what is in a cgroup and removes it; false if it would not go.
pub fn remove(folder: &Path) -> bool {
    for _ in 0..100 {
        let procs = std::fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
        // 0 stands for a process of another PID namespace; to kill(2) it would be our own group.
        for pid in procs.lines().filter_map(|l| l.parse().ok()).filter(|pid| *pid > 0) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        if std::fs::remove_dir(folder).is_ok() || !folder.exists() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

/// Processes that only burn CPU; dropping them ends them.
#[derive(Debug)]
pub struct Burners(Vec<Child>);

impl Burners {
    /// Starts `count` burners as placed.
    ///
    /// # Errors
    /// If one cannot start.
    pub fn start(placement: &Placement, count: usize) -> Result<Self, Error> {
        let own = own_program()?;
        let mut burners = Burners(Vec::new());
        for _ in 0..count {
            let mut command = placement.command(&own, &["lab-burn".into()])?;
            burners.0.push(command.stdin(Stdio::null()).spawn().map_err(Error::system("starting a CPU burner"))?);
        }
        Ok(burners)
    }
}

impl Drop for Burners {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// How many burners on one CPU leave about as much of it as a quota of `cpus`.
pub fn burners_for(cpus: f64) -> usize {
    ((1.0 / cpus).ceil() as usize * 3).clamp(2, 24)
}

/// What a burner does.
pub fn burn() -> ! {
    loop {
        std::hint::spin_loop();
    }
}

/// Stops processes in a cycle that begins when they are set: `running`, `stopped`, `running`, …
#[derive(Debug)]
pub struct StopCycle {
    running: Duration,
    stopped: Duration,
    current: Option<Cycle>,
}

#[derive(Debug)]
struct Cycle {
    over: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl StopCycle {
    /// A cycle that concerns nobody yet.
    pub fn new(running: Duration, stopped: Duration) -> Self {
        Self { running, stopped, current: None }
    }

    /// Ends the cycle of the processes so far (they run on) and begins one for these.
    pub fn set(&mut self, pids: Vec<u32>) {
        self.end();
        if pids.is_empty() {
            return;
        }
        let over = Arc::new(AtomicBool::new(false));
        let (theirs, running, stopped) = (Arc::clone(&over), self.running, self.stopped);
        let thread = std::thread::spawn(move || {
            let signal = |signal| {
                for pid in &pids {
                    let _ = kill(Pid::from_raw(*pid as i32), signal);
                }
            };
            while sleep_unless(&theirs, running) {
                signal(Signal::SIGSTOP);
                sleep_unless(&theirs, stopped);
                signal(Signal::SIGCONT);
            }
        });
        self.current = Some(Cycle { over, thread });
    }

    fn end(&mut self) {
        if let Some(Cycle { over, thread }) = self.current.take() {
            over.store(true, Ordering::Relaxed);
            let _ = thread.join();
        }
    }
}

impl Drop for StopCycle {
    fn drop(&mut self) {
        self.end();
    }
}

/// Sleeps, false if told to end meanwhile.
fn sleep_unless(over: &AtomicBool, span: Duration) -> bool {
    let until = Instant::now() + span;
    while !over.load(Ordering::Relaxed) {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        std::thread::sleep(left.min(Duration::from_millis(20)));
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_of_the_same_name_is_left_to_whoever_has_it() {
        let Some(hierarchy) = Hierarchy::detect() else {
            return testing::skipped(testing::Need::Root, "no cgroups to make groups in");
        };
        // Two runs with one process id: in PID namespaces of their own, or one was killed.
        let [one, other] = [(); 2].map(|()| Cgroup::create(hierarchy, "host").expect("the hierarchy is ours"));
        assert_ne!(one.folder, other.folder);
        let folder = other.folder.clone();
        drop(other);
        assert!(!folder.exists() && one.folder.exists());
    }
}
