//! The binary and other processes. In: commands. Out: what they said and their exit code; children that end with their owner.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
pub use testing::program;

use crate::waiting::wait_some;

/// The repository's folder.
#[must_use]
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("e2e is in the repository").to_owned()
}

/// The binary that is tried: what `WHOSTALLED_BIN` names, else the release build.
#[must_use]
pub fn binary() -> PathBuf {
    let path = std::env::var_os("WHOSTALLED_BIN").map_or_else(|| repository().join("target/release/whostalled"), PathBuf::from);
    assert!(path.is_file(), "{} is not there: make build, or name another by WHOSTALLED_BIN", path.display());
    path
}

/// What a command said.
#[derive(Debug)]
pub struct Said {
    /// None if a signal ended it, as at the end of its time.
    pub code: Option<i32>,
    /// What it wrote to standard output.
    pub out: String,
    /// What it wrote to standard error.
    pub err: String,
}

impl Said {
    /// Whether it ended with this exit code, and its error says `words`.
    #[must_use]
    pub fn refused(&self, code: i32, words: &str) -> bool {
        self.code == Some(code) && self.err.contains(words)
    }
}

/// Runs a command to its end; it is killed after `seconds`.
#[must_use]
pub fn run(command: Command, seconds: u64) -> Said {
    let named = format!("{command:?}");
    let output = assert_cmd::Command::from_std(command).timeout(Duration::from_secs(seconds)).output();
    let output = output.unwrap_or_else(|error| panic!("{named}: {error}"));
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// Runs the binary to its end; it is killed after a minute.
#[must_use]
pub fn whostalled<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Said {
    let mut command = Command::new(binary());
    command.args(arguments);
    run(command, 60)
}

/// Whether a program can be run.
#[must_use]
pub fn is_program(name: &str) -> bool {
    program(name).is_some()
}

/// A process that is killed when its owner is dropped.
#[derive(Debug)]
pub struct Running(Child);

impl Running {
    /// Starts it, without input.
    pub fn start(command: &mut Command) -> Self {
        let child = command.stdin(Stdio::null()).spawn();
        Self(child.unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        self.ended().is_none()
    }

    /// Sends a signal; one that has ended does not mind.
    pub fn signal(&mut self, signal: Signal) {
        if self.is_running() {
            let id = i32::try_from(self.0.id()).expect("a process id");
            kill(Pid::from_raw(id), signal).expect("our own child");
        }
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If it has not ended in so many seconds.
    pub fn wait(&mut self, seconds: u64) -> ExitStatus {
        let ended = wait_some(seconds, || self.ended());
        ended.unwrap_or_else(|| panic!("process {} does not end in {seconds} s", self.0.id()))
    }

    /// Sends a signal and waits for the end, 20 s at most; gives the exit code, if no signal ended it.
    pub fn end(&mut self, signal: Signal) -> Option<i32> {
        self.signal(signal);
        self.wait(20).code()
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        let ended: io::Result<_> = self.0.try_wait();
        ended.expect("our own child")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
