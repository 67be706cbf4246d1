//! Alerts get through: receivers that are away or refuse, a killed watcher, a full disk, thousands of hung targets.

use e2e::checks::Checks;
use e2e::disk::Disk;
use e2e::edge::Edge;
use e2e::ports::free_port;
use e2e::process::whostalled;
use e2e::receiver::Receiver;
use e2e::waiting::{pause, wait_for, wait_some};
use nix::sys::signal::Signal;
use serde_json::Value;
use testing::Need;

use crate::watcher::{Config, Place, Watch};

#[test]
fn a_receiver_that_is_away_and_a_watcher_that_is_killed() {
    let mut t = Checks::new();
    let place = Place::new();
    let (mut edge, port, store) = (Edge::opened(&place.certificates), free_port(), place.path("store.db"));
    let config = Config::new(&place, edge.port, port, &store).text();
    let mut watch = Watch::start(&place, &config);
    let good = wait_for(20, || watch.is_good("target"));
    t.check("a healthy target alerts nobody", good && watch.alert().is_none(), || watch.api());
    edge.close();
    let alert = wait_some(20, || watch.alert()).unwrap_or_default();
    t.check("a target that refuses is blamed", alert["blame"]["culprit"] == "edge", || watch.api());
    // The batch is written every quarter of a second.
    pause(600);
    watch.end(Signal::SIGKILL);
    watch.start_again();
    let waits = || watch.metric("whostalled_outbox_messages") >= 1.0;
    t.check("killed, it knows on restart what waits", wait_for(20, waits), || watch.api());
    let receiver = Receiver::listening(port, 200);
    t.check("a receiver that comes back hears of it", wait_for(40, || receiver.said("firing") > 0), || watch.api());
    edge.open();
    t.check("and that it is over", wait_for(40, || receiver.said("resolved") > 0), || receiver.heard());
    let heard = receiver.heard();
    t.check("under one key", !heard.is_empty() && heard.iter().all(|e| e["key"] == "target@here"), || heard);
    t.check("once each", (receiver.said("firing"), receiver.said("resolved")) == (1, 1), || receiver.heard());
    t.check("SIGTERM ends it well", watch.end(Signal::SIGTERM) == Some(0), || watch.log());
    watch.start_again();
    edge.close();
    t.check("it alerts again", wait_for(20, || receiver.said("firing") == 2), || receiver.heard());
    watch.write(&config.replace("name = \"target\"", "name = \"another\""));
    let resolved = || receiver.said("resolved") == 2;
    t.check("a check that is removed takes its alert along", wait_for(20, resolved), || receiver.heard());
    watch.over(&mut t);
    let listed = whostalled(["incidents".as_ref(), "--store".as_ref(), store.as_os_str(), "--json".as_ref()]);
    let found: Vec<Value> = serde_json::from_str(&listed.out).expect("it is JSON");
    let ended = found.iter().filter(|i| i["name"] == "target" && !i["ended"].is_null()).count();
    t.check("the incidents are in the bulletin, ended", ended == 2, || found);
}

#[test]
fn a_receiver_that_refuses() {
    let mut t = Checks::new();
    let place = Place::new();
    let (edge, port, store) = (Edge::closed(&place.certificates), free_port(), place.path("store.db"));
    let receiver = Receiver::listening(port, 503);
    let watch = Watch::start(&place, &Config::new(&place, edge.port, port, &store).text());
    let failures = || watch.metric("whostalled_alerts_delivery_failures_total") >= 2.0;
    t.check("a receiver that answers 503 is tried again", wait_for(30, failures), || watch.api());
    receiver.answer(200);
    t.check("until it takes it", wait_for(60, || receiver.said("firing") > 0), || watch.api());
    watch.over(&mut t);
}

#[test]
fn a_full_disk() {
    let mut t = Checks::new();
    if !nix::unistd::geteuid().is_root() {
        return t.skip(Need::Root, "a full disk needs root to mount one");
    }
    let place = Place::new();
    let folder = place.path("disk");
    let disk = Disk::mount(&folder, "6m");
    let (mut edge, port, store) = (Edge::opened(&place.certificates), free_port(), folder.join("store.db"));
    let receiver = Receiver::listening(port, 200);
    let watch = Watch::start(&place, &Config::new(&place, edge.port, port, &store).text());
    t.check("there is room at first", wait_for(20, || watch.is_good("target")), || watch.api());
    let fill = disk.fill();
    t.check("a full disk is said", wait_for(20, || watch.trouble("store") == Some(true)), || watch.api());
    edge.close();
    t.check("and an alert goes out all the same", wait_for(30, || receiver.said("firing") > 0), || watch.api());
    std::fs::remove_file(fill).expect("our own file");
    t.check("room again, it writes again", wait_for(30, || watch.trouble("store") == Some(false)), || watch.api());
    watch.over(&mut t);
}

#[test]
fn hung_targets() {
    let mut t = Checks::new();
    let place = Place::new();
    let silent = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("loopback");
    let address = silent.local_addr().expect("it is bound");
    let hung: String = (0..1500)
        .map(|i| format!("[[check]]\nname = \"hung-{i}\"\ntarget = \"{address}\"\ninterval = \"1s\"\ntimeout = \"30s\"\n"))
        .collect();
    let (edge, store) = (Edge::opened(&place.certificates), place.path("store.db"));
    let config = Config::new(&place, edge.port, free_port(), &store);
    let watch = Watch::start(&place, &Config { more: &hung, watch: "most_under_way = 3000", ..config }.text());
    pause(12_000);
    let rounds = || watch.metric("whostalled_rounds_total{check=\"target\"");
    let before = rounds();
    pause(4000);
    let after = rounds();
    // Until hung probes hold all that may be under way, others keep their rhythm; then the refusal is counted.
    let held = watch.metric("whostalled_probes_under_way");
    let status = std::fs::read_to_string(format!("/proc/{}/status", watch.process.id())).expect("it runs");
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    let megabytes = peak.expect("the kernel says") / 1024;
    let words = "thousands of hung targets: never more under way than allowed";
    t.check(words, (1500.0..=3000.0).contains(&held), || held);
    let missed = watch.metric("whostalled_rounds_missed_total");
    t.check("and what was not begun is counted", missed > 0.0 || after > before, || (missed, before, after));
    t.check("in bounded memory", megabytes < 400, || format!("{megabytes} MB"));
    watch.over(&mut t);
}
