//! What this host permits, and what evidence it can therefore give.

use std::net::TcpListener;
use std::path::Path;

use agent::ClockError;
use lab::cpu::Hierarchy;
use serde::Serialize;
use strum::VariantArray;

use crate::host;
use crate::interfaces::may_listen;

/// What a host can be asked for, in the order in which it is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, VariantArray)]
#[serde(rename_all = "snake_case")]
pub enum Ability {
    /// Packets of its own clients.
    Packets,
    /// Kernel timestamps on its own sockets.
    SocketTimestamps,
    /// Scheduler counters of its own clients.
    Scheduler,
    /// Which connection is which client's.
    Sockets,
    /// CPU quotas for its own clients.
    Quotas,
    /// A lab of network namespaces.
    Lab,
    /// A clock that is known to be synchronised.
    Clock,
    /// curl, to be launched as a client.
    Curl,
    /// ssh, to reach other vantages.
    Ssh,
}

impl Ability {
    /// In a few words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Packets => "packets of its own clients",
            Self::SocketTimestamps => "kernel timestamps on its own sockets",
            Self::Scheduler => "scheduler counters of its own clients",
            Self::Sockets => "which connection is which client's",
            Self::Quotas => "CPU quotas for its own clients (--load)",
            Self::Lab => "the lab: scenarios without a target of their own",
            Self::Clock => "a synchronised clock",
            Self::Curl => "curl as a client",
            Self::Ssh => "vantages on other hosts (--vantage ssh:HOST)",
        }
    }

    fn look(self) -> Result<(), Lack> {
        match self {
            Self::Packets => may_listen().map_err(|why| {
                let own = std::env::current_exe().map_or_else(|_| "whostalled".into(), |path| path.display().to_string());
                Lack::new(why, format!("run as root, or: sudo setcap cap_net_raw+ep {own}"))
            }),
            Self::SocketTimestamps => socket_timestamps(),
            Self::Scheduler => scheduler(),
            Self::Sockets => sockets(),
            Self::Quotas => match Hierarchy::detect() {
                Some(_) => Ok(()),
                None => Err(Lack::new(
                    "no cgroup with the cpu controller is writable (burners on one CPU stand in)",
                    "run as root, or: systemd-run --user --scope -p Delegate=cpu whostalled …",
                )),
            },
            Self::Lab => lab(),
            Self::Clock if host::is_synchronised() => Ok(()),
            Self::Clock => Err(Lack::new(
                "nothing here says that the clock is synchronised; differences of clocks are measured and taken out all the same",
                "timedatectl set-ntp true",
            )),
            Self::Curl => program("curl", "apt-get install curl"),
            Self::Ssh => program("ssh", "apt-get install openssh-client"),
        }
    }
}

/// What is lacking.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Lack {
    /// Why it cannot be had.
    pub why: String,
    /// What would give it.
    pub more: String,
}

impl Lack {
    fn new(why: impl Into<String>, more: impl Into<String>) -> Self {
        Self { why: why.into(), more: more.into() }
    }
}

/// One ability of this host.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    /// Which.
    pub ability: Ability,
    /// Absent: it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lack: Option<Lack>,
}

/// All of them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Diagnosis {
    /// The host's kernel.
    pub kernel: String,
    /// CPUs that programs may use.
    pub cpus: usize,
    /// What its kernel keeps time by.
    pub clock_source: String,
    /// What it can and cannot do.
    pub findings: Vec<Finding>,
    /// The best evidence that a run from here gives of a real target: `one end`, `socket` or `app`, with or without ` + host`.
    pub grade: String,
}

/// Looks at this host.
pub fn examine() -> Diagnosis {
    let findings: Vec<Finding> =
        Ability::VARIANTS.iter().map(|ability| Finding { ability: *ability, lack: ability.look().err() }).collect();
    let has = |ability| findings.iter().any(|f| f.ability == ability && f.lack.is_none());
    let best = match (has(Ability::Packets), has(Ability::SocketTimestamps)) {
        (true, _) => "one end",
        (false, true) => "socket",
        (false, false) => "app",
    };
    let grade = format!("{best}{}", if has(Ability::Scheduler) { " + host" } else { "" });
    let clock = host::clock(ClockError::Unknown);
    let permits = agent::Permits { quotas: false, real_time: false, no_packets: None };
    let agent::Hello { kernel, cpus, .. } = host::hello("", clock.clone(), permits);
    Diagnosis { kernel, cpus, clock_source: clock.source, findings, grade }
}

fn program(name: &str, more: &str) -> Result<(), Lack> {
    if lab::host::installed(name) { Ok(()) } else { Err(Lack::new(format!("{name} is not installed"), more)) }
}

/// Whether the kernel stamps what a socket of ours sends and receives (SO_TIMESTAMPING, Documentation/networking/timestamping.rst).
fn socket_timestamps() -> Result<(), Lack> {
    use nix::sys::socket::{TimestampingFlag, setsockopt, sockopt};
    let lack = |why: String| Lack::new(why, "a kernel from 4.18 on, outside of gVisor and the like");
    let socket = TcpListener::bind(("127.0.0.1", 0)).map_err(|e| lack(format!("no socket on loopback: {e}")))?;
    let flags = TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE | TimestampingFlag::SOF_TIMESTAMPING_RX_SOFTWARE;
    setsockopt(&socket, sockopt::Timestamping, &flags)
        .map_err(|e| lack(format!("the kernel does not stamp what sockets receive: {e}")))
}

fn scheduler() -> Result<(), Lack> {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let counts = text.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).is_some_and(|n| n > 0);
    if counts {
        return Ok(());
    }
    Err(Lack::new("/proc/self/schedstat counts nothing", "a kernel with CONFIG_SCHED_INFO, or: sysctl kernel.sched_schedstats=1"))
}

fn sockets() -> Result<(), Lack> {
    // Children may be looked at under every setting but 2 and 3 (Yama, Documentation/admin-guide/LSM/Yama.rst).
    let scope = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
    match scope.trim() {
        "2" | "3" if !nix::unistd::geteuid().is_root() => Err(Lack::new(
            "kernel.yama.ptrace_scope forbids looking at the sockets of clients (curl and the probe say their ports themselves)",
            "sysctl kernel.yama.ptrace_scope=1",
        )),
        _ => Ok(()),
    }
}

fn lab() -> Result<(), Lack> {
    if nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    let said = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    if !Path::new("/proc/self/ns/user").exists() || said("/proc/sys/user/max_user_namespaces").trim() == "0" {
        return Err(Lack::new("the kernel makes no user namespaces", "sysctl user.max_user_namespaces=10000"));
    }
    if said("/proc/sys/kernel/unprivileged_userns_clone").trim() == "0" {
        return Err(Lack::new("ordinary users may make no user namespaces", "sysctl kernel.unprivileged_userns_clone=1"));
    }
    if said("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").trim() == "1" {
        let more = "sysctl kernel.apparmor_restrict_unprivileged_userns=0";
        return Err(Lack::new("AppArmor keeps ordinary users from namespaces", more));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lacking_comes_with_what_would_give_it() {
        let found = examine();
        assert_eq!(found.findings.len(), Ability::VARIANTS.len());
        for lack in found.findings.iter().filter_map(|f| f.lack.as_ref()) {
            assert!(!lack.why.is_empty() && !lack.more.is_empty(), "{lack:?}");
        }
        assert!(["one end", "socket", "app"].iter().any(|grade| found.grade.starts_with(grade)), "{}", found.grade);
    }
}
