//! The program where somebody fails it: credentials that expire, an endpoint that is not there, whoever asked is killed, lists that lag.

mod common;

use std::net::TcpListener;
use std::process::{Child, Command};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::program::{ask, begin, end};
use common::{settings, up};
use fake::http::{Server, Setup};
use fake::model::{Character, Trouble};
use provider::{Ask, Caps, Fault, Request};
use vantage_ec2::tags::RUN;

fn order() -> Request {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    up("run-1", 1, now + 3_600, Caps { instances: 10, hours: 3.0, usd: 5.0 }, settings(&serde_json::json!({})))
}

fn asking(ask: Ask) -> Request {
    // One region is enough.
    Request::new(ask, false, settings(&serde_json::json!({"regions": []})))
}

fn down() -> Request {
    asking(Ask::Down { run: "run-1".into(), order: None })
}

/// EC2 whose instances never come to run.
fn slow(lag: u64) -> Server {
    let server = Server::start(Setup::default());
    server.model().character = Character { boot: 3_600, lag, ..Character::default() };
    server.model().ending = 1;
    server
}

fn until(what: &str, mut is: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < Duration::from_secs(60), "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn terminate(child: &Child) {
    let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(killed.is_ok_and(|status| status.success()));
}

/// An address where nobody listens.
fn nobody() -> String {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
    format!("http://127.0.0.1:{port}")
}

#[test]
fn credentials_that_have_expired_are_said_and_not_waited_for() {
    let server = slow(0);
    server.trouble("*", Trouble::Refused("ExpiredToken"), 1_000);
    for request in [order(), asking(Ask::List { run: None })] {
        let (fault, words) = ask(&server.url(), &request).wrong().expect("it may not");
        assert!(fault == Fault::Rights && words.contains("ExpiredToken") && words.contains("still valid"), "{words}");
    }
    let began = Instant::now();
    let (fault, words) = ask(&server.url(), &down()).wrong().expect("it may not");
    assert!(fault == Fault::Rights && words.contains("ExpiredToken") && words.contains("vantage down run-1"), "{words}");
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}: they do not come back", began.elapsed());
    assert_eq!(server.state().launched, 0);
}

#[test]
fn where_nobody_answers_is_said() {
    let (fault, words) = ask(&nobody(), &asking(Ask::List { run: None })).wrong().expect("nobody is there");
    assert!(fault == Fault::Cloud && words.contains("no answer") && words.contains("endpoint"), "{words}");
}

#[test]
fn who_waits_for_nobody_stops_when_told_to() {
    for request in [asking(Ask::List { run: None }), order(), asking(Ask::Reap { grace_s: 60 })] {
        let child = begin(&nobody(), &request, true);
        std::thread::sleep(Duration::from_secs(2));
        terminate(&child);
        let began = Instant::now();
        let (fault, words) = end(child).wrong().expect("nobody is there");
        assert!(fault == Fault::Interrupted && began.elapsed() < Duration::from_secs(10), "{words}: {:?}", began.elapsed());
    }
}

#[test]
fn vantages_whose_orderer_was_killed_are_taken_down() {
    let server = slow(0);
    let mut child = begin(&server.url(), &order(), true);
    until("launched", || server.state().launched == 1);
    // What it sees of a killed one: nobody reads what it says.
    drop(child.stdout.take());
    until("taken down", || server.model().there(RUN, "run-1").is_empty());
    assert!(child.wait().is_ok_and(|status| !status.success()));
}

#[test]
fn what_no_list_shows_yet_is_ended_by_its_id() {
    let server = slow(15);
    let child = begin(&server.url(), &order(), true);
    until("launched", || server.state().launched == 1);
    terminate(&child);
    let (fault, words) = end(child).wrong().expect("it was told to stop");
    assert_eq!(fault, Fault::Interrupted, "{words}");
    let there = server.model().there(RUN, "run-1");
    assert!(there.is_empty() && !words.contains("may still be there"), "{there:?} {words}");
}
