//! Once everything is open, the recorder keeps only what it needs to go on.
//!
//! Capabilities: those to look after its programs and sockets (CAP_NET_RAW, CAP_NET_ADMIN, CAP_BPF, CAP_PERFMON); all others go, from the
//! bounding set too. No new privileges. System calls that a recorder never makes (debugging, mounting, modules, setting clocks, entering
//! namespaces, …) are refused by seccomp; unless a journal is followed, so is starting programs. Must run before the first thread is
//! started: threads inherit, and cannot be made to drop later.

use std::collections::BTreeMap;

use caps::{CapSet, Capability, CapsHashSet};
use nix::unistd::{Gid, Uid, User, setgroups, setresgid, setresuid};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

/// Why privileges could not be given up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The user's: there is no such user to become.
    #[error("[capture] user = {user:?}: {why}")]
    User {
        /// The name.
        user: String,
        /// What the system said of it.
        why: String,
    },
    /// This host's: it does not let us.
    #[error("{what}: {source}")]
    Refused {
        /// What we wanted.
        what: String,
        /// What the system said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What a recorder needs to go on: to look after the filter, and to open an interface again that comes back.
const KEPT: [Capability; 4] = [Capability::CAP_NET_RAW, Capability::CAP_NET_ADMIN, Capability::CAP_BPF, Capability::CAP_PERFMON];

/// System calls refused.
const REFUSED: &[i64] = &[
    nix::libc::SYS_ptrace,
    nix::libc::SYS_process_vm_readv,
    nix::libc::SYS_process_vm_writev,
    nix::libc::SYS_mount,
    nix::libc::SYS_umount2,
    nix::libc::SYS_pivot_root,
    nix::libc::SYS_chroot,
    nix::libc::SYS_unshare,
    nix::libc::SYS_setns,
    nix::libc::SYS_init_module,
    nix::libc::SYS_finit_module,
    nix::libc::SYS_delete_module,
    nix::libc::SYS_kexec_load,
    nix::libc::SYS_reboot,
    nix::libc::SYS_swapon,
    nix::libc::SYS_swapoff,
    nix::libc::SYS_acct,
    nix::libc::SYS_quotactl,
    nix::libc::SYS_settimeofday,
    nix::libc::SYS_clock_settime,
    nix::libc::SYS_clock_adjtime,
    nix::libc::SYS_adjtimex,
    nix::libc::SYS_sethostname,
    nix::libc::SYS_setdomainname,
    nix::libc::SYS_keyctl,
    nix::libc::SYS_add_key,
    nix::libc::SYS_request_key,
    nix::libc::SYS_userfaultfd,
    nix::libc::SYS_open_by_handle_at,
    nix::libc::SYS_personality,
    nix::libc::SYS_setuid,
    nix::libc::SYS_setgid,
    nix::libc::SYS_setreuid,
    nix::libc::SYS_setregid,
    nix::libc::SYS_setresuid,
    nix::libc::SYS_setresgid,
    nix::libc::SYS_setgroups,
    nix::libc::SYS_capset,
];

/// Gives up what is not needed, becoming `user` if one is named. `programs`: whether programs may still be started.
///
/// # Errors
/// If something could not be given up: better not to run then.
pub fn give_up(user: Option<&str>, programs: bool) -> Result<(), Error> {
    let failed = |what: &str, source| Error::Refused { what: format!("giving up privileges: {what}"), source };
    let had = caps::read(None, CapSet::Permitted).map_err(|e| failed("reading capabilities", e.into()))?;
    let kept: CapsHashSet = KEPT.into_iter().filter(|c| had.contains(c)).collect();
    if had.contains(&Capability::CAP_SETPCAP) {
        for capability in caps::all().into_iter().filter(|c| !kept.contains(c)) {
            // One that this kernel does not know is not there.
            let _ = caps::drop(None, CapSet::Bounding, capability);
        }
    }
    if let Some(name) = user {
        become_user(name)?;
    }
    caps::clear(None, CapSet::Inheritable).map_err(|e| failed("inheritable capabilities", e.into()))?;
    // Permitted last: what is not permitted any more cannot be effective.
    caps::set(None, CapSet::Effective, &kept).map_err(|e| failed("effective capabilities", e.into()))?;
    caps::set(None, CapSet::Permitted, &kept).map_err(|e| failed("permitted capabilities", e.into()))?;
    nix::sys::prctl::set_no_new_privs().map_err(|e| failed("no new privileges", e.into()))?;
    let filter = filter(programs).map_err(|e| failed("seccomp", e))?;
    seccompiler::apply_filter(&filter).map_err(|e| failed("seccomp", e.into()))
}

/// Whether there is such a user.
///
/// # Errors
/// Says why not.
pub fn known(name: &str) -> Result<(), Error> {
    user(name).map(drop)
}

fn user(name: &str) -> Result<User, Error> {
    let unknown = |why: String| Error::User { user: name.to_owned(), why };
    let found = User::from_name(name).map_err(|e| unknown(e.to_string()))?;
    found.ok_or_else(|| unknown("there is no such user".into()))
}

fn become_user(name: &str) -> Result<(), Error> {
    let User { uid, gid, .. } = user(name)?;
    let failed = |source| Error::Refused { what: format!("becoming {name}"), source };
    let said = |e: nix::Error| failed(e.into());
    caps::securebits::set_keepcaps(true).map_err(|e| failed(e.into()))?;
    setgroups(&[gid]).map_err(said)?;
    setresgid(gid, gid, gid).map_err(said)?;
    setresuid(uid, uid, uid).map_err(said)?;
    debug_assert!(Uid::effective() == uid && Gid::effective() == gid);
    caps::securebits::set_keepcaps(false).map_err(|e| failed(e.into()))
}

fn filter(programs: bool) -> Result<BpfProgram, Box<dyn std::error::Error + Send + Sync>> {
    let starting = [nix::libc::SYS_execve, nix::libc::SYS_execveat];
    let refused = REFUSED.iter().chain(starting.iter().filter(|_| !programs));
    // An empty list of conditions: whatever its arguments.
    let rules: BTreeMap<i64, Vec<seccompiler::SeccompRule>> = refused.map(|call| (*call, vec![])).collect();
    let refuse = SeccompAction::Errno(nix::libc::EPERM.unsigned_abs());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, std::env::consts::ARCH.try_into()?)?;
    Ok(filter.try_into()?)
}
