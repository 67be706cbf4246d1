//! The provider that docs/providers.md shows, as it stands there.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
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

/// A provider that writes down what it is asked, with a price of its own, and a scenario with these vantages of it; ssh lets nobody in.
fn written(folder: &Path, vantages: &str) -> Command {
    let script = r#"#!/bin/sh
read -r request
get() { printf '%s' "$request" | jq -r "$1"; }
echo "$(get .ask) $(get .dry_run) $(get .order)" >> asks
case $(get .ask) in
  up) echo '{"say":"price","usd":0.6,"usd_per_hour":0.6,"what":"a machine"}'
      [ "$(get .dry_run)" = true ] || printf '%s' "$request" | jq -c '{say:"vantage",name:.vantages[0].name,run:.run,id:"m",state:"running",reach:{by:"ssh",host:"m"}}' ;;
esac
echo '{"say":"done"}'
"#;
    for (name, text) in
        [("whostalled-vantage-box", script), ("ssh", "#!/bin/sh\necho tried >> tries\necho 'Connection refused' >&2\nexit 255\n")]
    {
        let path = folder.join(name);
        std::fs::write(&path, text).expect("our own folder");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o700)).expect("our own file");
    }
    let scenario = format!(
        "name = \"there\"\n[client]\nkind = \"probe\"\n{vantages}\
         [[target]]\nname = \"edge\"\nrole = \"edge\"\nurl = \"https://127.0.0.1:9/\"\n"
    );
    std::fs::write(folder.join("there.toml"), scenario).expect("our own folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_whostalled"));
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
    command.args(["run", "there.toml", "--results", "results"]).env("PATH", path).current_dir(folder);
    command
}

fn vantage(name: &str) -> String {
    format!("[[vantage]]\nname = \"{name}\"\nkind = \"provider\"\nprovider = \"box\"\nsettings = {{ as = \"{name}\" }}\n")
}

fn lines(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// Waits until something is so.
fn until(what: &str, is: &dyn Fn() -> bool) {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < Duration::from_secs(60), "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Two settings are two orders, each within the cap by itself.
#[test]
fn orders_are_summed_before_the_first_begins() {
    if program("jq").is_none() {
        return skipped(Need::Tools, "jq is not installed; no provider was asked");
    }
    for (most, begun) in [("1", 0), ("1.2", 1)] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = written(folder.path(), &format!("{}{}", vantage("a"), vantage("b")));
        let output = command.args(["--join-within", "1s", "--max-cost", most]).output().expect("our own binary");
        let (err, asks) = (String::from_utf8_lossy(&output.stderr), lines(&folder.path().join("asks")));
        assert_eq!(asks.iter().filter(|ask| ask.starts_with("up true ")).count(), 2, "{asks:?} {err}");
        // The first of them is never let in, so the second is not begun.
        assert_eq!(asks.iter().filter(|ask| ask.starts_with("up false ")).count(), begun, "{asks:?} {err}");
        assert_eq!((output.status.code(), err.contains("--max-cost")), (Some(2), begun == 0), "{err}");
        assert_eq!(err.contains("2 orders: at most $1.20 together"), begun == 1, "{err}");
    }
}

/// Whoever presses Ctrl-C twice waits for nothing, and leaves nothing up.
#[test]
fn what_is_up_is_taken_down_although_a_second_signal_ends_the_run() {
    if program("jq").is_none() {
        return skipped(Need::Tools, "jq is not installed; no provider was asked");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (asks, tries) = (folder.path().join("asks"), folder.path().join("tries"));
    let mut child = written(folder.path(), &vantage("a")).args(["--join-within", "10m"]).spawn().expect("our own binary");
    until("ssh is tried", &|| !lines(&tries).is_empty());
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process"));
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        kill(pid, signal).expect("our own child");
    }
    assert_eq!(child.wait().expect("our own child").code(), Some(2));
    let of = |ask: &str| lines(&asks).iter().find_map(|line| line.strip_prefix(ask).map(str::to_owned));
    until("down is asked for", &|| of("down false ").is_some());
    assert_eq!(of("down false "), of("up false "), "that order, and no other");
}

/// A terminal that is closed, a pipeline that Ctrl-C ended: nobody hears any more that it is taken down, and it is.
#[test]
fn what_is_up_is_taken_down_although_nobody_hears_it() {
    if program("jq").is_none() {
        return skipped(Need::Tools, "jq is not installed; no provider was asked");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (asks, tries) = (folder.path().join("asks"), folder.path().join("tries"));
    let mut command = written(folder.path(), &vantage("a"));
    let mut child = command.args(["--join-within", "10m"]).stderr(Stdio::piped()).spawn().expect("our own binary");
    until("ssh is tried", &|| !lines(&tries).is_empty());
    drop(child.stderr.take());
    kill(Pid::from_raw(i32::try_from(child.id()).expect("a process")), Signal::SIGHUP).expect("our own child");
    assert_eq!(child.wait().expect("our own child").code(), Some(2));
    assert!(lines(&asks).iter().any(|line| line.starts_with("down false ")), "{:?}", lines(&asks));
}
