//! sshd of our own on loopback, and an `ssh` that knows it. In: a folder, a port. Out: a search path whose `ssh` reaches `box` (that sshd)
//! and `nowhere` (nobody).

use std::ffi::OsString;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::ports::free_port;
use crate::process::program;

/// Makes keys and configurations in `folder`, which must not be there yet; sshd is to listen on `port`.
///
/// # Panics
/// If ssh is not installed, or we are not root.
#[must_use]
pub fn configure(folder: &Path, port: u16) -> OsString {
    let permit = |path: &Path, mode| std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("our own");
    std::fs::create_dir_all(folder).expect("a folder of our own");
    permit(folder, 0o700);
    let key = |name: &str| {
        let path = folder.join(name);
        let mut command = Command::new("ssh-keygen");
        assert!(command.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&path).status().expect("it runs").success());
        path
    };
    let (host, user) = (key("host"), key("user"));
    let write = |name: &str, text: String| std::fs::write(folder.join(name), text).expect("a folder of our own");
    write(
        "sshd_config",
        format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nPidFile none\n\
         PermitRootLogin yes\nPasswordAuthentication no\n",
            host.display(),
            user.with_extension("pub").display()
        ),
    );
    write(
        "config",
        format!(
            "Host box\n  HostName 127.0.0.1\n  Port {port}\n  IdentityFile {}\n  StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n  LogLevel ERROR\n\
         Host nowhere\n  HostName 127.0.0.1\n  Port {}\n",
            user.display(),
            free_port()
        ),
    );
    let ssh = program("ssh").expect("ssh is installed");
    write("ssh", format!("#!/bin/sh\nexec {} -F {} \"$@\"\n", ssh.display(), folder.join("config").display()));
    permit(&folder.join("ssh"), 0o755);
    std::fs::create_dir_all("/run/sshd").expect("root may");
    let searched = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths([folder.to_owned()].into_iter().chain(std::env::split_paths(&searched))).expect("a path")
}

/// The sshd of a folder that was configured.
///
/// # Panics
/// If it is not installed.
#[must_use]
pub fn sshd(folder: &Path) -> Command {
    let mut command = Command::new(program("sshd").expect("sshd is installed"));
    command.arg("-D").arg("-f").arg(folder.join("sshd_config"));
    command
}
