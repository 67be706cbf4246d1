//! A Debian of its own: a minimal system in a folder, with a network of its own that is loopback alone. In: debootstrap, root. Out: programs
//! that run in it, or beside it in its network; all of it is gone with its owner.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;
use testing::Need;

use crate::checks::Checks;
use crate::process::{Running, is_program, repository};
use crate::waiting::wait_for;

/// What a package is tried in.
const SUITE: &str = "bookworm";

/// One such system.
#[derive(Debug)]
pub struct Debian {
    folder: TempDir,
    /// Has the namespaces.
    holder: Running,
}

impl Debian {
    /// A minimal system as debootstrap leaves it: fetched once, then copied from `target/debian`. Without rights or debootstrap `checks`
    /// hears that it is skipped.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn minimal(checks: &mut Checks) -> Option<Self> {
        if !testing::root() {
            checks.skip(Need::Root, "a Debian of its own needs root");
            return None;
        }
        if !is_program("debootstrap") {
            checks.skip(Need::Tools, "debootstrap is not installed");
            return None;
        }
        let base = base();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = folder.path();
        done(Command::new("cp").args(["-a", "--reflink=auto"]).arg(base.join(".")).arg(root));
        let script = "mount -t proc proc \"$0/proc\" && mount -t sysfs sysfs \"$0/sys\" && mount --rbind /dev \"$0/dev\" \
                      && mount -t bpf bpf \"$0/sys/fs/bpf\" && ip link set lo up && touch \"$0/ready\" && exec sleep 10000";
        let holder = Running::start(Command::new("unshare").args(["--mount", "--net", "sh", "-c", script]).arg(root));
        assert!(wait_for(20, || root.join("ready").exists()), "{SUITE} in {} did not get its namespaces", root.display());
        Some(Self { folder, holder })
    }

    /// A file of it, as seen from outside: of what is mounted there, nothing is.
    #[must_use]
    pub fn path(&self, inside: &str) -> PathBuf {
        self.folder.path().join(inside.trim_start_matches('/'))
    }

    /// A program of it, run in it as root.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = self.entering(&["--mount", "--net"]);
        command.arg("chroot").arg(self.folder.path()).arg(program);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", "/root").env("LC_ALL", "C.UTF-8");
        command
    }

    /// A program of this host, run in its network.
    #[must_use]
    pub fn beside(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = self.entering(&["--net"]);
        command.arg(program);
        command
    }

    fn entering(&self, which: &[&str]) -> Command {
        let mut command = Command::new("/usr/bin/nsenter");
        command.args(["--target", &self.holder.id().to_string()]).args(which).arg("--");
        command
    }
}

/// The system that others are copied from.
fn base() -> PathBuf {
    let all = repository().join("target/debian");
    let base = all.join(SUITE);
    if base.is_dir() {
        return base;
    }
    std::fs::create_dir_all(&all).expect("a folder of our own");
    let new = tempfile::tempdir_in(&all).expect("a folder of our own");
    println!("fetching Debian {SUITE}");
    let mut fetch = Command::new("debootstrap");
    fetch.args(["--variant=minbase", SUITE]).arg(new.path()).args(testing::archive(SUITE)).stdout(Stdio::null());
    done(&mut fetch);
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(new.path(), permissions).expect("our own");
    std::fs::rename(new.keep(), &base).expect("a folder of our own");
    base
}

/// The newest of the files that `make dist` made whose name begins and ends so.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn made(begin: &str, end: &str) -> PathBuf {
    let folder = repository().join("target/packages");
    let files = std::fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let named = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // A provider is handed out apart.
        name.starts_with(begin) && name.ends_with(end) && !name.starts_with("whostalled-vantage-")
    };
    let found = files.filter(named).max_by_key(|path| std::fs::metadata(path).and_then(|m| m.modified()).ok());
    found.unwrap_or_else(|| panic!("no {begin}…{end} in {}: make dist", folder.display()))
}

/// Puts a file into a folder, under its own name.
///
/// # Panics
/// If it cannot be copied.
pub fn put(file: &Path, folder: &Path) {
    let name = file.file_name().expect("a file's name");
    std::fs::copy(file, folder.join(name)).unwrap_or_else(|e| panic!("{} to {}: {e}", file.display(), folder.display()));
}

fn done(command: &mut Command) {
    let status = command.status().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(status.success(), "{command:?}: {status}");
}
