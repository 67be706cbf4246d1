//! Network namespaces without names: held by a descriptor, gone when nobody holds them.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::sched::{CloneFlags, setns, unshare};

use crate::Error;

/// A network namespace.
#[derive(Debug)]
pub struct Namespace {
    file: File,
}

impl Namespace {
    /// Makes a new, empty one.
    ///
    /// # Errors
    /// If the process may not make namespaces.
    pub fn create() -> Result<Self, Error> {
        let made = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).map_err(Error::errno("making a network namespace"))?;
            File::open("/proc/thread-self/ns/net").map_err(Error::system("opening the new network namespace"))
        });
        Ok(Self { file: join(made)? })
    }

    /// A path by which children of this process can open it while this process lives.
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd()).into()
    }

    /// Runs `work` on a thread inside the namespace; sockets it opens stay inside wherever they go.
    ///
    /// # Errors
    /// What `work` returns, or that the namespace could not be entered.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> Result<T, Error> + Send) -> Result<T, Error> {
        std::thread::scope(|scope| {
            let worker = scope.spawn(|| {
                setns(&self.file, CloneFlags::CLONE_NEWNET).map_err(Error::errno("entering a network namespace"))?;
                work()
            });
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Runs `ip -batch` with `script` inside the namespace.
    ///
    /// # Errors
    /// If `ip` is missing or refuses a line; the message holds what it said.
    pub fn ip(&self, script: &str) -> Result<(), Error> {
        self.run(|| {
            use std::io::Write;
            let mut child = Command::new("ip")
                .args(["-batch", "-"])
                .stdin(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .map_err(Error::system("starting `ip` (Debian package iproute2)"))?;
            if let Some(mut stdin) = child.stdin.take() {
                stdin.write_all(script.as_bytes()).map_err(Error::system("talking to `ip`"))?;
            }
            let output = child.wait_with_output().map_err(Error::system("waiting for `ip`"))?;
            if output.status.success() {
                return Ok(());
            }
            Err(Error::helper(format!("ip -batch: {}", script.trim()), String::from_utf8_lossy(&output.stderr).trim()))
        })
    }

    /// Writes a sysctl of this namespace; what this kernel or user may not set is left as it is.
    pub fn sysctl(&self, name: &str, value: &str) {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        // Ignored on purpose: these make the lab steadier, and none is needed for it to be right.
        let _ = self.run(|| std::fs::write(&path, value).map_err(Error::system(path.clone())));
    }
}

fn join<T>(thread: std::thread::JoinHandle<Result<T, Error>>) -> Result<T, Error> {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
