//! The lab as an ordinary user, by user namespaces: a run, and the wire of a comparison. Root drops to `nobody` for it.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::certificates;
use e2e::checks::Checks;
use e2e::process::{binary, is_program, repository, run};
use tempfile::TempDir;
use testing::Need;

/// Runs that the wire or a capture could not follow say that they are void, and are run again.
const ATTEMPTS: usize = 3;
const NOT_PERMITTED: &str = "user namespaces are not permitted to ordinary users on this machine";

fn as_ordinary_user(program: &str) -> Command {
    if !nix::unistd::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", program]);
    command
}

fn is_permitted() -> bool {
    let mut unshare = as_ordinary_user("unshare");
    unshare.args(["-Urnm", "true"]);
    run(unshare, 20).code == Some(0)
}

/// A folder of an ordinary user's, with copies of the binary and these files.
fn folder_of(files: &[PathBuf]) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let permit = |path: &Path, mode| std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("our own");
    permit(folder.path(), 0o777);
    for file in files.iter().chain([&binary()]) {
        let copy = folder.path().join(file.file_name().expect("a file"));
        std::fs::copy(file, &copy).expect("our own folder");
        permit(&copy, 0o755);
    }
    folder
}

/// The wire of a comparison is a child's: the program itself has threads by then, and shall not be in another network for good.
#[test]
fn a_comparison_on_a_wire_without_root() {
    let mut t = Checks::new();
    if !is_permitted() {
        return t.skip(Need::Userns, NOT_PERMITTED);
    }
    if !is_program("openssl") {
        return t.skip(Need::Tools, "openssl is not installed");
    }
    let made = tempfile::tempdir().expect("a temporary folder");
    let files = certificates::make(made.path());
    let folder = folder_of(&[files.ca, files.cert, files.key]);
    let plain = "exec openssl s_server -quiet -www -accept 127.0.0.1:{port} -cert cert.pem -key key.pem";
    for attempt in 1..=ATTEMPTS {
        let mut command = as_ordinary_user("./whostalled");
        command.current_dir(folder.path()).args(["compare", plain, plain, "--ca", "ca.pem", "--counts", "--wire", "50ms"]);
        let said = run(command, 300);
        // A machine that is busy is no wire.
        if said.err.contains("--wire: the wire sent") && attempt < ATTEMPTS {
            println!("the wire was late (attempt {attempt})");
            continue;
        }
        let counted = said.out.contains("on a wire of 50 ms: 2 → 2");
        t.check("round trips are counted for an ordinary user, too", counted, || said);
        return;
    }
}

#[test]
fn the_flagship_without_root() {
    let mut t = Checks::new();
    if !is_permitted() {
        return t.skip(Need::Userns, NOT_PERMITTED);
    }
    let folder = folder_of(&[repository().join("scenarios/overloaded-client.toml")]);
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
