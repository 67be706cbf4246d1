//! What goes wrong around a run must give a clear message, the documented exit code, and leave nothing behind.

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use e2e::checks::Checks;
use e2e::disk::Disk;
use e2e::process::{Running, Said, binary, program, repository, run};
use e2e::waiting::pause;
use nix::sys::signal::Signal;
use regex::Regex;
use tempfile::TempDir;
use testing::{Need, skipped};

/// What is left behind is looked for on the whole machine: one run at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// A folder for results, and the checks.
struct Trial {
    checks: Checks,
    folder: TempDir,
    /// What others had left behind before this trial: a machine on which a run was killed is no fault of ours.
    before: BTreeSet<String>,
    _alone: MutexGuard<'static, ()>,
}

impl Trial {
    /// None, which is said, if we are not root.
    fn begin() -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            skipped(Need::Root, "cgroups, tmpfs and leftovers can only be checked as root; no failure was tried");
            return None;
        }
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir().expect("a temporary folder");
        Some(Self { checks: Checks::new(), folder, before: left_behind(), _alone: alone })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `run` of a scenario, to be started.
    fn command(&self, scenario: &Path, more: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.current_dir(repository()).arg("run").arg(scenario).args(more).arg("--results").arg(self.path("results"));
        command
    }

    fn run(&self, scenario: &Path, more: &[&str]) -> Said {
        run(self.command(scenario, more), 60)
    }

    /// A run that goes on, four seconds after its start; what it says lies in `log`.
    fn under_way(&self, more: &[&str]) -> Running {
        let log = std::fs::File::create(self.path("log")).expect("a file of our own");
        let mut command = self.command(&scenario("overloaded-client"), &[&["--rounds", "50"], more].concat());
        let running = Running::start(command.stdout(log.try_clone().expect("a file")).stderr(log));
        pause(4000);
        running
    }

    fn log(&self, code: Option<i32>) -> Said {
        Said { code, out: std::fs::read_to_string(self.path("log")).expect("a file of our own"), err: String::new() }
    }

    /// The exit code, words on a line (a regular expression), and nothing left behind.
    fn check(&mut self, words: &str, said: &Said, code: i32, wanted: &str) {
        let wanted = Regex::new(wanted).expect("a regular expression");
        let found = wanted.is_match(&said.out) || wanted.is_match(&said.err);
        let left: Vec<String> = left_behind().difference(&self.before).cloned().collect();
        self.checks.check(words, said.code == Some(code) && found && left.is_empty(), || {
            let tail = |text: &str| text.lines().rev().take(5).map(String::from).collect::<Vec<_>>();
            format!(
                "wanted {code} and /{wanted}/, got {:?}, {:?} {:?}; left behind: {left:?}",
                said.code,
                tail(&said.out),
                tail(&said.err)
            )
        });
    }
}

fn scenario(name: &str) -> PathBuf {
    repository().join("scenarios").join(name).with_extension("toml")
}

/// Control groups, scratch folders and helpers of runs that are over, wherever they are. Those of another's run that still goes on are its own.
fn left_behind() -> BTreeSet<String> {
    let mut left = BTreeSet::new();
    let mut folders = vec![(PathBuf::from("/sys/fs/cgroup"), 3), (std::env::temp_dir(), 1)];
    while let Some((folder, depth)) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            // The process that made it is in its name.
            if name.strip_prefix("whostalled.").is_some_and(|rest| !is_running(rest.split('.').next().unwrap_or_default())) {
                left.insert(entry.path().display().to_string());
            }
            if depth > 1 && entry.file_type().is_ok_and(|t| t.is_dir()) {
                folders.push((entry.path(), depth - 1));
            }
        }
    }
    let helper = Regex::new("lab-(edge|dns|burn|exec)").expect("a regular expression");
    for process in std::fs::read_dir("/proc").expect("procfs").flatten() {
        let id = process.file_name().to_string_lossy().into_owned();
        let line = command_line(&id);
        if helper.is_match(&line) && !ancestors(&id).any(|id| is_run(&id)) {
            left.insert(format!("process {id}: {line}"));
        }
    }
    left
}

fn is_running(process: &str) -> bool {
    !process.is_empty() && Path::new("/proc").join(process).exists()
}

fn command_line(process: &str) -> String {
    let line = std::fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).replace('\0', " ")
}

/// Whether a process is a program of ours (`whostalled`, `whostalled-zoo`), no helper.
fn is_run(process: &str) -> bool {
    let line = command_line(process);
    let program = line.split(' ').next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
    program.starts_with("whostalled") && !line.contains(" lab-")
}

/// Parents, their parents and so on. Who lost its parent is init's.
fn ancestors(process: &str) -> impl Iterator<Item = String> {
    let parent = |process: &String| {
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().to_owned();
        Some(parent).filter(|parent| parent != "0")
    };
    std::iter::successors(parent(&process.to_owned()), parent)
}

#[test]
fn what_is_wrong_with_the_scenario_is_said() {
    let Some(mut trial) = Trial::begin() else { return };
    let right = std::fs::read_to_string(scenario("overloaded-client")).expect("a scenario");
    let typo = trial.path("typo.toml");
    std::fs::write(&typo, right.replace("\nconcurrency", "\nconcurency")).expect("a folder of our own");
    let said = trial.run(&typo, &[]);
    trial.check("a misspelt field", &said, 2, "typo.toml:.*line 8|concurency");
    let said = trial.run(&trial.path("none.toml"), &[]);
    trial.check("no such scenario", &said, 2, "none.toml.*No such file");
    let said = trial.run(&scenario("healthy"), &["--target", "nowhere"]);
    trial.check("no such target", &said, 2, "nowhere");
}

#[test]
fn what_is_not_installed_is_named() {
    let Some(mut trial) = Trial::begin() else { return };
    let bin = trial.path("bin");
    std::fs::create_dir(&bin).expect("a folder of our own");
    for tool in ["ip", "ethtool", "nginx"] {
        symlink(program(tool).unwrap_or_else(|| panic!("{tool} is not installed")), bin.join(tool)).expect("a folder of our own");
    }
    let mut command = trial.command(&scenario("overloaded-client"), &[]);
    command.env("PATH", &bin);
    let said = run(command, 60);
    trial.check("curl is not installed", &said, 2, "curl.*not installed.*apt-get install curl");
}

#[test]
fn a_server_that_ends_is_named() {
    let Some(mut trial) = Trial::begin() else { return };
    let server = ["--set", r#"target.edge.server="command""#, "--set"];
    let said = trial.run(&scenario("healthy"), &[&server[..], &[r#"target.edge.command=["false"]"#]].concat());
    trial.check("a server that ends at once", &said, 2, "server of target edge ended");
    let three_seconds = r#"target.edge.command=["timeout","3","openssl","s_server","-quiet","-www","-accept","{port}","-cert","{chain}","-key","{key}"]"#;
    let said = trial.run(&scenario("healthy"), &[&["--rounds", "20"], &server[..], &[three_seconds]].concat());
    trial.check("a server that dies during the run", &said, 2, "edge");
}

#[test]
fn a_client_that_hangs_is_ended() {
    let Some(mut trial) = Trial::begin() else { return };
    let client =
        ["--set", r#"client.kind="command""#, "--set", r#"client.command=["sleep","100"]"#, "--set", r#"client.timeout="1s""#];
    let said = trial.run(&scenario("healthy"), &[&["--rounds", "1"], &client[..]].concat());
    trial.check("a client that hangs is ended at its timeout", &said, 1, "inconclusive");
}

#[test]
fn a_full_disk_is_said() {
    let Some(mut trial) = Trial::begin() else { return };
    let full = trial.path("full");
    let _disk = Disk::mount(&full, "96k");
    let mut command = Command::new(binary());
    command.current_dir(repository()).arg("run").arg(scenario("overloaded-client")).arg("--results").arg(&full);
    let said = run(command, 120);
    trial.check("the disk is full", &said, 2, &format!("{}.*[Nn]o space", regex::escape(&full.display().to_string())));
}

#[test]
fn signals_take_everything_down() {
    let Some(mut trial) = Trial::begin() else { return };
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let code = trial.under_way(&[]).end(signal);
        let said = trial.log(code);
        trial.check(&format!("{signal} takes everything down"), &said, 2, "interrupted");
    }
    // The first SYN is still on the wire, for half a minute; what ends within 20 s did not wait for it.
    let code = trial.under_way(&["--set", "target.edge.rtt=60s"]).end(Signal::SIGINT);
    let said = trial.log(code);
    trial.check("a long way does not keep a run from ending", &said, 2, "interrupted");
    let mut killed = trial.under_way(&[]);
    killed.end(Signal::SIGKILL);
    pause(1000);
    let said = e2e::process::whostalled(["lab", "clean"]);
    trial.check("after SIGKILL, lab clean removes the rest", &said, 0, "removed");
}

#[test]
fn two_runs_at_once_do_not_disturb_each_other() {
    let Some(mut trial) = Trial::begin() else { return };
    let void = Regex::new("(?m)^VOID").expect("a regular expression");
    // A machine that could not keep both wires in time makes no verdict, and says so: again then.
    for attempt in 1.. {
        let (first, second) = std::thread::scope(|scope| {
            let first = scope.spawn(|| trial.run(&scenario("finished-lost"), &[]));
            let second = trial.run(&scenario("detour"), &[]);
            (first.join().expect("it does not panic"), second)
        });
        let is_void = |said: &Said| said.code == Some(2) && (void.is_match(&said.out) || void.is_match(&said.err));
        let held = |said: &Said| said.code == Some(0) || is_void(said);
        if held(&first) && held(&second) && (is_void(&first) || is_void(&second)) {
            if attempt < 3 {
                continue;
            }
            return trial
                .checks
                .disturbed("two runs at once: this machine could not keep both wires in time, and the runs said so");
        }
        let code = first.code.zip(second.code).map(|(one, two)| one + two);
        let said = Said { code, out: first.out + &second.out, err: first.err + &second.err };
        return trial.check("two runs at once do not disturb each other", &said, 0, "held");
    }
}
