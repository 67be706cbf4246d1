//! The program and aws-sdk-ec2 against an endpoint that plays EC2 over HTTP: requests as they are on the wire, answers that fail or are lost.

mod common;

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use common::program::{Said, ask, begin, end, now, server};
use common::{settings, up};
use fake::http::Server;
use fake::model::{Tags, Trouble};
use provider::{Ask, Caps, Fault, Line, Reach, Request};
use vantage_ec2::tags::{EXPIRES, KEEP, MANAGED_BY, MARKED, RUN, US};

const CAPS: Caps = Caps { instances: 10, hours: 3.0, usd: 5.0 };

fn order(vantages: u32, more: serde_json::Value) -> Request {
    up("run-1", vantages, now() + 3_600, CAPS, settings(&more))
}

fn down() -> Request {
    Request::new(Ask::Down { run: "run-1".into(), order: None }, false, settings(&serde_json::json!({})))
}

fn nothing_is_left(server: &Server) {
    let there = server.model().there(RUN, "run-1");
    assert!(there.is_empty(), "{there:?}");
}

fn shown(said: &Said) -> String {
    format!("{:?} {:?}", said.lines, said.end)
}

#[test]
fn an_order_is_launched_as_it_must_be_listed_and_taken_down() {
    let server = server();
    server.model().character.lag = 4;
    let said = ask(&server.url(), &order(2, serde_json::json!({"subnets": ["subnet-1"], "security_groups": ["sg-1"]})));
    assert!(said.done(), "{}", shown(&said));
    let first = said.lines.iter().position(|line| matches!(line, Line::Price { .. })).expect("a price");
    assert_eq!(first, 0, "the price comes first");
    let vantages: Vec<_> = said.lines.iter().filter_map(|l| if let Line::Vantage(v) = l { Some(v) } else { None }).collect();
    assert_eq!(vantages[1].reach, Some(Reach::Fleet { agent: "a1".into() }));
    assert_eq!(vantages[0].facts["credits"]["at_launch"], 60.0);
    let state = server.state();
    let last = state.last.expect("one");
    assert_eq!((last.credits.as_deref(), last.shutdown_terminates, last.tokens_required), (Some("standard"), true, true));
    for kind in ["instance", "volume", "network-interface"] {
        let tags = &last.tags[kind];
        assert_eq!((tags[MANAGED_BY].as_str(), tags[RUN].as_str()), (US, "run-1"), "{kind}");
        assert!(tags[EXPIRES].parse::<u64>().is_ok_and(|end| end > now()), "{kind}");
    }
    assert!(last.user_data.starts_with("#!/bin/bash") && last.user_data.contains("shutdown -P"), "{}", last.user_data);
    let tokens: BTreeSet<String> = server.model().instances.values().map(|i| i.launch.token.clone()).collect();
    assert!(tokens.len() == 2 && tokens.iter().all(|token| (1..=64).contains(&token.len())), "{tokens:?}");
    let listed =
        ask(&server.url(), &Request::new(Ask::List { run: Some("run-1".into()) }, false, settings(&serde_json::json!({}))));
    assert_eq!(listed.ids().len(), 2, "{}", shown(&listed));
    let said = ask(&server.url(), &down());
    assert!(said.done(), "{}", shown(&said));
    nothing_is_left(&server);
}

#[test]
fn an_answer_that_is_lost_behind_a_launch_launches_no_second() {
    let server = server();
    server.trouble("RunInstances", Trouble::Lost, 2);
    let said = ask(&server.url(), &order(1, serde_json::json!({})));
    assert!(said.done(), "{}", shown(&said));
    assert_eq!(server.state().launched, 1);
}

#[test]
fn throttling_passes_and_a_full_subnet_has_a_next() {
    let server = server();
    server.trouble("DescribeInstances", Trouble::Throttled, 2);
    server.trouble("RunInstances", Trouble::Throttled, 1);
    server.trouble("RunInstances", Trouble::Full, 1);
    let said = ask(&server.url(), &order(1, serde_json::json!({"subnets": ["subnet-1", "subnet-2"]})));
    assert!(said.done(), "{}", shown(&said));
    let subnet = server.model().instances.values().next().and_then(|i| i.launch.subnet.clone());
    assert_eq!(subnet.as_deref(), Some("subnet-2"));
}

#[test]
fn what_cannot_be_had_whole_is_taken_down() {
    let server = server();
    // The first of two is launched.
    let mut left = 1;
    server.model().trouble = Box::new(move |action, _, _| {
        if action != "RunInstances" || left > 0 {
            left -= i32::from(action == "RunInstances");
            return Trouble::None;
        }
        Trouble::Full
    });
    let said = ask(&server.url(), &order(2, serde_json::json!({})));
    let (fault, words) = said.wrong().expect("there is one only");
    assert_eq!(fault, Fault::Capacity);
    assert!(words.contains("InsufficientInstanceCapacity") && words.contains("subnets"), "{words}");
    assert_eq!(server.state().launched, 1);
    nothing_is_left(&server);
}

#[test]
fn who_dies_while_it_starts_is_said_and_taken_down() {
    let server = server();
    server.model().character.fails = true;
    let said = ask(&server.url(), &order(1, serde_json::json!({})));
    let (_, words) = said.wrong().expect("it died");
    assert!(words.contains("Server.InternalError"), "{words}");
    nothing_is_left(&server);
}

#[test]
fn a_signal_takes_down_what_began() {
    let server = server();
    server.model().character.boot = 3_600;
    let child = begin(&server.url(), &order(1, serde_json::json!({})), true);
    let until = now() + 30;
    while server.state().launched == 0 && now() < until {
        std::thread::sleep(Duration::from_millis(50));
    }
    let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(killed.is_ok_and(|status| status.success()));
    let said = end(child);
    assert_eq!(said.wrong().map(|(fault, _)| fault), Some(Fault::Interrupted), "{}", shown(&said));
    assert_eq!(server.state().launched, 1);
    nothing_is_left(&server);
}

#[test]
fn a_dry_run_and_what_is_refused_launch_nothing() {
    let server = server();
    let said = ask(&server.url(), &Request { dry_run: true, ..order(1, serde_json::json!({})) });
    assert!(said.done() && said.lines.iter().any(|l| matches!(l, Line::Price { .. })), "{}", shown(&said));
    let caps = Caps { usd: 0.01, ..CAPS };
    let said = ask(&server.url(), &up("run-1", 1, now() + 3_600, caps, settings(&serde_json::json!({}))));
    assert!(
        said.wrong().is_some_and(|(fault, words)| fault == Fault::Request && words.contains("--max-cost")),
        "{}",
        shown(&said)
    );
    let said = ask(&server.url(), &order(1, serde_json::json!({"type": "x9.huge"})));
    assert!(said.wrong().is_some_and(|(_, words)| words.contains("usd_per_hour")), "{}", shown(&said));
    let unknown = end(begin(&server.url(), &order(1, serde_json::json!({})), false));
    assert_eq!(unknown.wrong().map(|(fault, _)| fault), Some(Fault::Rights), "{}", shown(&unknown));
    assert_eq!(server.state().launched, 0);
}

#[test]
fn a_reaper_follows_pages_marks_and_then_ends() {
    let server = server();
    let tags = |more: &[(&str, String)]| {
        let ours = [(MANAGED_BY, US.to_owned()), (RUN, "run-1".to_owned())];
        ours.iter().chain(more).map(|(k, v)| ((*k).to_owned(), v.clone())).collect::<Tags>()
    };
    let (past, ahead) = ((now() - 100).to_string(), (now() + 3_600).to_string());
    // Pages have two items.
    let strange = |region: &str, tags: Tags| server.model().strange(region, tags);
    let late: Vec<String> =
        (0..5).map(|n| strange(["eu-central-1", "us-east-1"][n % 2], tags(&[(EXPIRES, past.clone())]))).collect();
    let stay = [
        strange("eu-central-1", tags(&[(EXPIRES, ahead)])),
        strange("eu-central-1", tags(&[(EXPIRES, past), (KEEP, "true".into())])),
        strange("us-east-1", Tags::from([("Name".into(), "somebody's".into())])),
    ];
    let reap = |grace_s| ask(&server.url(), &Request::new(Ask::Reap { grace_s }, false, settings(&serde_json::json!({}))));
    // One that cannot be marked stops none of the others; that is said.
    server.trouble("CreateTags", Trouble::Broken, 6);
    let said = reap(0);
    assert_eq!(said.wrong().map(|(fault, _)| fault), Some(Fault::Cloud), "{}", shown(&said));
    let marked = |server: &Server| late.iter().filter(|id| server.model().instances[*id].tags.contains_key(MARKED)).count();
    assert_eq!(marked(&server), 4);
    let said = reap(3_600);
    assert!(said.done() && marked(&server) == 5, "{}", shown(&said));
    assert!(late.iter().all(|id| server.model().instances[id].state == "running"), "the grace is not over");
    let said = reap(0);
    assert!(said.done(), "{}", shown(&said));
    assert!(late.iter().all(|id| server.model().instances[id].state != "running"));
    assert!(stay.iter().all(|id| server.model().instances[id].state == "running"));
}
