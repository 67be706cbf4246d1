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

/// A process with a network namespace of its own.
fn namespace() -> Running {
    let holder = Running::start(Command::new("unshare").args(["-n", "sleep", "1000"]));
    let namespace = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/net")).expect("procfs");
    let own = namespace("self");
    assert!(wait_for(SOON, || namespace(&holder.id().to_string()) != own), "a network namespace of our own");
    holder
}

/// Takes a recorder's filters off; gives whether there is a program that can.
fn take_off(holder: &Running, recorder: &Running) -> bool {
    if !is_program("bpftool") {
        return false;
    }
    let links: Vec<Value> = serde_json::from_str(&inside(holder, &["bpftool", "-j", "link", "show"])).unwrap_or_default();
    // An older bpftool knows no name for it, and not whose it is.
    let own = |link: &Value| link["pids"].as_array().is_none_or(|of| of.iter().any(|of| of["pid"] == recorder.id()));
    for link in links.iter().filter(|link| (link["type"] == "tcx" || link["type"] == 11) && own(link)) {
        inside(holder, &["bpftool", "link", "detach", "id", &link["id"].to_string()]);
    }
    true
}

#[test]
fn an_interface_that_goes_and_comes_back() {
    let Some(place) = Place::new() else { return };
    let mut t = Checks::new();
    let holder = namespace();
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
    if take_off(&holder, &recorder) {
        let said = wait_for(SOON, || place.status_text("notes").contains("took the filter off"));
        t.check("a filter that somebody took off is hung up again, and that is said", said, || place.status());
    } else {
        t.skip(Need::Tools, "a filter that somebody takes off: bpftool is not installed");
    }
    recorder.end(Signal::SIGTERM);
}

#[test]
fn an_interface_that_is_down_and_one_that_is_renamed() {
    let Some(place) = Place::new() else { return };
    let mut t = Checks::new();
    let holder = namespace();
    shell(&holder, "ip link set lo up; for i in d e; do ip link add ${i}0 type veth peer name ${i}1; done");
    shell(&holder, "ip link set e0 up; ip link set e1 up");
    let id = holder.id().to_string();
    let interfaces = Config { interface: r#"d0", "e0"#, ..place.config() };
    let mut recorder = place.begin_with(&["nsenter", "-t", &id, "-n"], &interfaces);
    t.check("one that is down does not stop the other", recorder.is_running(), || place.log());
    let down = wait_for(SOON, || (place.trouble("d0"), place.trouble("e0")) == (Some(true), Some(false)));
    t.check("it is said to be in trouble", down, || place.status());
    shell(&holder, "ip link set d0 up; ip link set d1 up");
    let up = wait_for(SOON, || place.trouble("d0") == Some(false));
    t.check("when it is up, it is seen", up, || place.status());
    shell(&holder, "ip link set e0 down; ip link set e0 name x0; ip link set x0 up");
    let renamed = wait_for(SOON, || place.status_text("notes").contains("called x0") && place.trouble("e0") == Some(false));
    t.check("one that has another name is followed", renamed, || place.status());
    if take_off(&holder, &recorder) {
        let said = wait_for(SOON, || place.status_text("notes").contains("e0: somebody took the filter off"));
        t.check("its filter is hung up again under that name", said, || place.status());
    } else {
        t.skip(Need::Tools, "a filter that somebody takes off: bpftool is not installed");
    }
    shell(&holder, "ip link set x0 down");
    let down = wait_for(SOON, || place.trouble("e0") == Some(true));
    t.check("that it is down is said of it under that name, too", down, || place.status());
    shell(&holder, "ip link set x0 name e0; ip link set e0 up");
    let back = wait_for(SOON, || !place.status_text("notes").contains("called x0") && place.trouble("e0") == Some(false));
    t.check("with its own name it is as before", back, || place.status());
    recorder.end(Signal::SIGTERM);
}
