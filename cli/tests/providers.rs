//! The provider that docs/providers.md shows, as it stands there.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use testing::{Need, program, skipped};

/// The example of the page, in a folder.
fn example(folder: &Path) {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/providers.md");
    let text = std::fs::read_to_string(&page).unwrap_or_else(|e| panic!("{}: {e}", page.display()));
    let (_, behind) = text.split_once("<!-- example: whostalled-vantage-box -->\n```sh\n").expect("the page has the example");
    let (script, _) = behind.split_once("\n```").expect("it ends");
    let lines = script.lines().count();
    assert!(lines <= 12, "about ten lines: {lines}");
    let path = folder.join("whostalled-vantage-box");
    std::fs::write(&path, script).expect("our own folder");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o700)).expect("our own file");
}

fn ask(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new(env!("CARGO_BIN_EXE_whostalled"));
    command.arg("vantage").args(arguments).env("PATH", path).current_dir(folder);
    let output = command.output().expect("our own binary");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_example_of_the_page_is_a_provider() {
    if program("jq").is_none() {
        return skipped(Need::Tools, "jq is not installed; the example of docs/providers.md was not run");
    }
    let folder = tempfile::tempdir().expect("a folder");
    example(folder.path());
    let (code, out, err) = ask(folder.path(), &["up", "--provider", "box", "--dry-run"]);
    assert_eq!((code, out.as_str()), (Some(0), ""), "a dry run brings nothing up: {err}");
    assert!(err.contains("at most $0.00"), "{err}");
    let (code, out, err) = ask(folder.path(), &["up", "--provider", "box", "--run", "r", "--name", "a"]);
    assert!(code == Some(0) && out.contains("a  box-7  running  run r  ssh:box-7"), "{out}{err}");
    let (code, out, _) = ask(folder.path(), &["list", "--provider", "box", "--json"]);
    let say = |line: &str| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["say"].as_str().map(str::to_owned);
    let said: Vec<String> = out.lines().filter_map(say).collect();
    assert_eq!((code, said), (Some(0), vec!["vantage".to_owned(), "done".into()]));
    let (code, _, err) = ask(folder.path(), &["down", "r", "--provider", "box"]);
    assert!(code == Some(0) && err.contains("box-7 is gone"), "{err}");
    assert_eq!(ask(folder.path(), &["reap", "--provider", "box"]).0, Some(0));
    // It has one vantage, and says so by what it does not say: what cannot be whole is taken down.
    let (code, _, err) = ask(folder.path(), &["up", "--provider", "box", "--name", "a", "--name", "b"]);
    assert!(code == Some(2) && err.contains("did not say where b is") && err.contains("box-7 is gone"), "{err}");
}

/// A machine that runs lets nobody in at first, and then by ssh: until then a run waits, and no longer than it was told to.
#[test]
fn a_run_waits_until_a_vantage_takes_ssh() {
    if program("jq").is_none() {
        return skipped(Need::Tools, "jq is not installed; the example of docs/providers.md was not run");
    }
    for (opens_at, within, words, least) in [(3, "1m", "machine", 4), (1_000, "3s", "Connection refused", 1)] {
        let folder = tempfile::tempdir().expect("a folder");
        example(folder.path());
        // It lets us in from the third time on, and has no shell for us then.
        let script = format!(
            "#!/bin/sh\necho \"$@\" >> {0}/calls\n[ \"$(wc -l < {0}/calls)\" -ge {opens_at} ] || {{ echo 'Connection refused' >&2; exit 255; }}\n",
            folder.path().display()
        );
        let ssh = folder.path().join("ssh");
        std::fs::write(&ssh, script).expect("our own folder");
        std::fs::set_permissions(&ssh, PermissionsExt::from_mode(0o700)).expect("our own file");
        let scenario = "name = \"there\"\n[client]\nkind = \"probe\"\n[[vantage]]\nname = \"box\"\nkind = \"provider\"\nprovider = \"box\"\n\
                        [[target]]\nname = \"edge\"\nrole = \"edge\"\nurl = \"https://127.0.0.1:9/\"\n";
        std::fs::write(folder.path().join("there.toml"), scenario).expect("our own folder");
        let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new(env!("CARGO_BIN_EXE_whostalled"));
        command.args(["run", "there.toml", "--join-within", within, "--results", "results"]).env("PATH", path);
        let output = command.current_dir(folder.path()).output().expect("our own binary");
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        let calls = std::fs::read_to_string(folder.path().join("calls")).unwrap_or_default().lines().count();
        assert!(output.status.code() == Some(2) && err.contains(words) && err.contains("box-7 is gone"), "{err}");
        assert!(calls >= least, "{calls} calls: {err}");
    }
}

#[test]
fn caps_are_held_before_a_provider_is_asked() {
    let folder = tempfile::tempdir().expect("a folder");
    example(folder.path());
    for (more, words) in [
        (&["--lifetime", "5h"][..], "--max-hours"),
        (&["--max-instances", "1", "--name", "a", "--name", "b"], "--max-instances"),
        (&["--lifetime", "soon"], "lifetime"),
    ] {
        let (code, _, err) = ask(folder.path(), &[&["up", "--provider", "box"], more].concat());
        assert!(code == Some(2) && err.contains(words), "{more:?}: {err}");
    }
    let path = folder.path().join("whostalled-vantage-box").display().to_string();
    assert_eq!(ask(folder.path(), &["list", "--provider", &path, "--dry-run"]).0, Some(0), "a path is one, too");
    let (code, _, err) = ask(folder.path(), &["list", "--provider", "./none"]);
    assert!(code == Some(2) && err.contains("./none"), "{err}");
    let (code, _, err) = ask(folder.path(), &["list", "--provider", "no-such"]);
    assert!(code == Some(2) && err.contains("whostalled-vantage-no-such"), "{err}");
}
