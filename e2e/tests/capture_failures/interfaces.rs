//! Interfaces that go and come back, and a filter that somebody takes off, in a network namespace of our own.

use std::process::Command;

use e2e::checks::Checks;
use e2e::process::{Running, is_program, run};
use e2e::waiting::wait_for;
use nix::sys::signal::Signal;
use serde_json::Value;
use testing::Need;

use crate::recorder::{Config, Place, SOON};

/// Runs a command in the namespace of a process; gives what it said.
fn inside(holder: &Running, words: &[&str]) -> String {
    let mut command = Command::new("nsenter");
    command.args(["-t", &holder.id().to_string(), "-n"]).args(words);
    run(command, 20).out
}

fn shell(holder: &Running, line: &str) {
    let mut command = Command::new("nsenter");
    command.args(["-t", &holder.id().to_string(), "-n", "sh", "-ec", line]);
    let said = run(command, 20);
    assert_eq!(said.code, Some(0), "{line}: {}", said.err);
}

#[test]
fn an_interface_that_goes_and_comes_back() {
    let Some(place) = Place::new() else { return };
    let mut t = Checks::new();
    let holder = Running::start(Command::new("unshare").args(["-n", "sleep", "1000"]));
    let namespace = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/net")).expect("procfs");
    let own = namespace("self");
    assert!(wait_for(SOON, || namespace(&holder.id().to_string()) != own), "a network namespace of our own");
    shell(&holder, "ip link set lo up; ip link add e0 type veth peer name e1; ip link set e0 up; ip link set e1 up");
    let id = holder.id().to_string();
    let mut recorder = place.begin_with(&["nsenter", "-t", &id, "-n"], &Config { interface: "e0", ..place.config() });
    t.check("an interface of its own namespace", recorder.is_running(), || place.log());
    shell(&holder, "ip link del e0");
    let gone = wait_for(SOON, || place.status_text("trouble").contains("gone"));
    t.check("an interface that goes is said to be gone", gone, || place.status());
    shell(
        &holder,
        "ip link add e0 type veth peer name e1; ip link set e0 up; ip link set e1 up; ip addr add 10.98.0.1/24 dev e0",
    );
    let back = wait_for(SOON, || place.trouble("e0") == Some(false));
    t.check("when it is back, it is seen again", back, || place.status());
    if is_program("bpftool") {
        let links: Vec<Value> = serde_json::from_str(&inside(&holder, &["bpftool", "-j", "link", "show"])).unwrap_or_default();
        // An older bpftool knows no name for it.
        for link in links.iter().filter(|link| link["type"] == "tcx" || link["type"] == 11) {
            inside(&holder, &["bpftool", "link", "detach", "id", &link["id"].to_string()]);
        }
        let said = wait_for(SOON, || place.status_text("notes").contains("took the filter off"));
        t.check("a filter that somebody took off is hung up again, and that is said", said, || place.status());
    } else {
        t.skip(Need::Tools, "a filter that somebody takes off: bpftool is not installed");
    }
    recorder.end(Signal::SIGTERM);
}
