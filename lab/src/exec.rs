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
}

impl Placement {
    /// A command that runs `program` as placed.
    ///
    /// # Errors
    /// If this process's own binary cannot be found.
    pub fn command<S: AsRef<std::ffi::OsStr>>(&self, program: S, args: &[String]) -> Result<Command, Error> {
        let own = std::env::current_exe().map_err(Error::system("finding our own binary"))?;
        let placement = serde_json::to_string(self).map_err(|e| Error::helper("placing a program", e.to_string()))?;
        let mut command = Command::new(own);
        command.arg(SUBCOMMAND).arg(placement).arg(program).args(args);
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
        let error = Command::new(program).args(args).exec();
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
    fn no_proxy_of_the_callers_is_handed_on() {
        let command = Placement::default().command("true", &[]).expect("we are there");
        let removed = |wanted: &str| command.get_envs().any(|(name, value)| name == wanted && value.is_none());
        assert!(["https_proxy", "HTTPS_PROXY", "all_proxy", "SSLKEYLOGFILE", "CURL_HOME"].into_iter().all(removed));
        assert!(!removed("PATH") && !removed("SSL_CERT_FILE"), "where roots are, the host says");
    }
}
