//! Rounds of a check → an alert → what a receiver is sent: `cargo run -p whostalled-alerting --example alert_request`
//!
//! Nothing is sent: the requests are printed.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use whostalled_alerting::clock::UnixSeconds;
use whostalled_alerting::states::{Active, Blame, KofN, Rule, State};
use whostalled_alerting::{Culprit, Event, Family, Receiver};

/// Between two rounds.
const INTERVAL: Duration = Duration::from_secs(30);

fn event(active: Active, ended: Option<UnixSeconds>) -> Event {
    Event {
        key: "login@here".into(),
        check: "login".into(),
        vantage: "here".into(),
        seen_from: Vec::new(),
        target: "login.example:443".into(),
        resolved: ended.is_some(),
        since: active.since,
        ended,
        blame: active.blame,
        before: None,
        unwatched: None,
        labels: BTreeMap::from([("team".to_owned(), "edge".to_owned())]),
        link: None,
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let receiver: Receiver = toml::from_str("kind = \"webhook\"\nurl = \"http://127.0.0.1:9/hook\"")?;
    let rule = Rule { fire: KofN { k: 2, n: 3 }, resolve_after: 2 };
    let slow = || Blame {
        culprit: Culprit::Edge,
        family: Family::Slow,
        phase: "server_flight".into(),
        words: "ClientHello to server flight".into(),
        ms: 312.0,
        sentence: "The edge took 312 ms before its flight.".into(),
        pattern: None,
    };

    let (mut state, mut now) = (State::default(), UnixSeconds::from_secs(1_800_000_000));
    for bad in [false, true, false, true, true, false, false] {
        now = now + INTERVAL;
        print!("{now}: {}", if bad { "bad" } else { "good" });
        let Some(transition) = state.round(now, bad.then(slow), rule, false) else {
            println!(", nothing to tell");
            continue;
        };
        let (active, over) = transition.into_parts();
        let event = event(active, over);
        let request = receiver.request(&event, now)?;
        println!(", to tell: {}\nPOST {}\n{:#}", event.summary(), request.url, request.body);
    }
    Ok(())
}
