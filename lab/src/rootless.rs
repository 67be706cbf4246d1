//! Without root: becoming "root" inside a user namespace of our own.

use nix::sched::{CloneFlags, unshare};

use crate::Error;

/// What the calling process may do after [`enter`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Privilege {
    /// Real root: quotas and real-time priority work.
    Root,
    /// Root of a user namespace: pinned burners stand in for quotas, the wire has no priority.
    UserNamespace,
}

/// Makes this process able to build a lab. Must be called while the process has one thread.
///
/// # Errors
/// If it is neither root nor allowed to make user namespaces.
pub fn enter() -> Result<Privilege, Error> {
    if nix::unistd::geteuid().is_root() {
        let mapping = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        let whole = mapping.split_whitespace().nth(2).is_some_and(|n| n == "4294967295");
        return Ok(if whole { Privilege::Root } else { Privilege::UserNamespace });
    }
    let (uid, gid) = (nix::unistd::getuid(), nix::unistd::getgid());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)
        .map_err(Error::errno("making a user namespace for an ordinary user"))?;
    let write = |file: &str, text: String| std::fs::write(file, text).map_err(Error::system(format!("writing {file}")));
    write("/proc/self/setgroups", "deny".into())?;
    write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    write("/proc/self/gid_map", format!("0 {gid} 1"))?;
    Ok(Privilege::UserNamespace)
}
