//! Starting a program on a lab host.
//!
//! The runner starts *itself* with [`Placement`] as an argument; that child joins the host's cgroup and
//! namespaces, waits at the barrier, and becomes the program. No unsafe `pre_exec`, and `ip netns exec`'s habit of
//! hiding cgroups is avoided.

use std::convert::Infallible;
use std::fs::File;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, CpuSet, sched_setaffinity, setns, unshare};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::Error;

/// The hidden subcommand by which the binary starts itself.
pub const SUBCOMMAND: &str = "lab-exec";

/// Our own program by a name that holds as long as this process lives: its file may be replaced or removed meanwhile, over ssh by another run.
const OWN: &str = "/proc/self/exe";

/// Our own program, as this process's children are to start it.
///
/// # Errors
/// If it cannot be found.
pub fn own_program() -> Result<PathBuf, Error> {
    if Path::new(OWN).exists() {
        return Ok(OWN.into());
    }
    // A host without /proc: as it was started, which is on the path or nowhere.
    let started = std::env::args_os().next().map(PathBuf::from).filter(|path| path.is_absolute() && path.exists());
    started.ok_or_else(|| Error::helper("finding our own program", "there is no /proc here: start it by its whole path"))
}

/// What our own program is called in lists of processes.
fn own_name() -> std::ffi::OsString {
    std::env::args_os().next().unwrap_or_else(|| "whostalled".into())
}

/// What would have a program call somebody else than it is told to, read other settings, or write its secrets.
const NOT_HANDED_ON: [&str; 10] = [
    "http_proxy",
    "HTTP_PROXY",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
    "CURL_HOME",
    "SSLKEYLOGFILE",
];

/// A program and its arguments.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommandLine {
    /// The program.
    pub program: String,
    /// Its arguments.
    pub args: Vec<String>,
}

/// Where and how a program runs.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Placement {
    /// The network namespace; absent: that of this process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<PathBuf>,
    /// `cgroup.procs` files to join.
    pub cgroups: Vec<PathBuf>,
    /// CPUs to run on; empty: any.
    pub cpus: Vec<usize>,
    /// A file to see in place of `/etc/resolv.conf`.
    pub resolv_conf: Option<PathBuf>,
    /// Wait for the end of standard input before starting.
    pub barrier: bool,
    /// Who starts it, as its parent's process id; [`Placement::command`] fills it in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner: Option<u32>,
}

impl Placement {
    /// A command that runs `program` as placed.
    ///
    /// # Errors
    /// If this process's own binary cannot be found.
    pub fn command<S: AsRef<std::ffi::OsStr>>(&self, program: S, args: &[String]) -> Result<Command, Error> {
        let placed = Self { runner: Some(std::process::id()), ..self.clone() };
        let placement = serde_json::to_string(&placed).map_err(|e| Error::helper("placing a program", e.to_string()))?;
        let mut command = Command::new(own_program()?);
        command.arg0(own_name()).arg(SUBCOMMAND).arg(placement).arg(program).args(args);
        for name in NOT_HANDED_ON {
            command.env_remove(name);
        }
        Ok(command)
    }

    /// In the child: joins everything, waits, and becomes the program.
    ///
    /// # Errors
    /// Always; it returns only if something could not be done.
    pub fn become_program(&self, program: &str, args: &[String]) -> Result<Infallible, Error> {
        // A killed runner takes its programs with it.
        nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(Error::errno("asking to die with the runner"))?;
        // One that was killed before that line takes nobody with it (prctl(2)).
        if self.runner.is_some_and(|runner| nix::unistd::getppid().as_raw().cast_unsigned() != runner) {
            return Err(Error::helper(format!("starting `{program}`"), "whoever started it is gone"));
        }
        for group in &self.cgroups {
            std::fs::write(group, std::process::id().to_string())
                .map_err(Error::system(format!("joining {}", group.display())))?;
        }
        if let Some(namespace) = &self.namespace {
            let namespace = File::open(namespace).map_err(Error::system("opening the host's namespace"))?;
            setns(&namespace, CloneFlags::CLONE_NEWNET).map_err(Error::errno("entering the host's namespace"))?;
        }
        if let Some(file) = &self.resolv_conf {
            own_resolv_conf(file)?;
        }
        if !self.cpus.is_empty() {
            pin(&self.cpus)?;
        }
        if self.barrier {
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
        }
        let mut command = Command::new(program);
        if Path::new(program) == Path::new(OWN) {
            command.arg0(own_name());
        }
        let error = command.args(args).exec();
        Err(Error::System { what: format!("starting `{program}`"), source: error })
    }
}

fn own_resolv_conf(file: &Path) -> Result<(), Error> {
    unshare(CloneFlags::CLONE_NEWNS).map_err(Error::errno("making a mount namespace"))?;
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).map_err(Error::errno("making mounts private"))?;
    // The file may be a link into /run: what it leads to is what programs open.
    let target = std::fs::canonicalize("/etc/resolv.conf").unwrap_or_else(|_| "/etc/resolv.conf".into());
    mount(Some(file), &target, none, MsFlags::MS_BIND, none).map_err(Error::errno(format!("mounting over {}", target.display())))
}

fn pin(cpus: &[usize]) -> Result<(), Error> {
    let mut set = CpuSet::new();
    for cpu in cpus {
        set.set(*cpu).map_err(Error::errno(format!("CPU {cpu}")))?;
    }
    sched_setaffinity(Pid::from_raw(0), &set).map_err(Error::errno(format!("running on CPUs {cpus:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_whose_runner_is_gone_is_not_started() {
        let nobodys = Placement { runner: Some(u32::MAX), ..Placement::default() };
        let refused = nobodys.become_program("true", &[]).expect_err("this process has another parent");
        assert!(refused.to_string().contains("gone"), "{refused}");
    }

    #[test]
    fn no_proxy_of_the_callers_is_handed_on() {
        let command = Placement::default().command("true", &[]).expect("we are there");
        let removed = |wanted: &str| command.get_envs().any(|(name, value)| name == wanted && value.is_none());
        assert!(["https_proxy", "HTTPS_PROXY", "all_proxy", "SSLKEYLOGFILE", "CURL_HOME"].into_iter().all(removed));
        assert!(!removed("PATH") && !removed("SSL_CERT_FILE"), "where roots are, the host says");
    }
}
