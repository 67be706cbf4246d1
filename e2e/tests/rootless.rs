//! The lab as an ordinary user, by user namespaces. Root drops to `nobody` for it.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use e2e::checks::Checks;
use e2e::process::{binary, repository, run};
use testing::Need;

/// Runs that the wire or a capture could not follow say that they are void, and are run again.
const ATTEMPTS: usize = 3;

fn as_ordinary_user(program: &str) -> Command {
    if !nix::unistd::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", program]);
    command
}

#[test]
fn the_flagship_without_root() {
    let mut t = Checks::new();
    let mut unshare = as_ordinary_user("unshare");
    unshare.args(["-Urnm", "true"]);
    if run(unshare, 20).code != Some(0) {
        return t.skip(Need::Userns, "user namespaces are not permitted to ordinary users on this machine");
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let permit = |path: &std::path::Path, mode| std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("our own");
    permit(folder.path(), 0o777);
    for file in [binary(), repository().join("scenarios/overloaded-client.toml")] {
        let copy = folder.path().join(file.file_name().expect("a file"));
        std::fs::copy(&file, &copy).expect("our own folder");
        permit(&copy, 0o755);
    }
    for attempt in 1..=ATTEMPTS {
        let mut command = as_ordinary_user("./whostalled");
        command.current_dir(folder.path()).args(["run", "overloaded-client.toml", "--results", "results"]);
        let said = run(command, 120);
        let void = said.out.lines().chain(said.err.lines()).find(|line| line.starts_with("VOID"));
        if let (Some(2), Some(void), true) = (said.code, void, attempt < ATTEMPTS) {
            println!("void (attempt {attempt}): {void}");
            continue;
        }
        t.check("the flagship scenario holds for an ordinary user", said.code == Some(0), || said);
        return;
    }
}
