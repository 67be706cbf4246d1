//! A controller among agents that are played: a clock that is set, no network.

use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use agent::{BatchId, Delivered, RoundBatch, Stored, Wellbeing};
use alerting::clock::UnixSeconds;
use alerting::states::Blame;
use alerting::{Culprit, Event, Family};
use analysis::clock::Instant;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::controller::{Controller, Parts, locked};
use super::matrix::Matrix;
use super::metrics::FleetMetrics;
use super::report::tests::record;
use super::report::{Entry, Report};
use crate::checks::CheckFile;
use crate::status::Status;
use crate::store::History;

const FILE: &str = "[fleet]\nsilent_after = \"60s\"\nreport = \"10s\"\n[defaults]\nfire = { k = 2, n = 3 }\nresolve_after = 2\ninterval = \"10s\"\n\
                    from = { k = 2 }\n[[check]]\nname = \"login\"\ntarget = \"a.test:443\"\nlabels = { team = \"edge\" }\n\
                    [[check]]\nname = \"other\"\ntarget = \"b.test:443\"\n[[receiver]]\nkind = \"webhook\"\nurl = \"http://h.test/\"\n";
const SECOND: i64 = 1_000_000_000;

struct Fixture {
    controller: Controller,
    status: Arc<Status>,
    matrix: Arc<Mutex<Matrix>>,
    acknowledged: UnboundedReceiver<Stored>,
    /// What the store refused to take.
    _direct: UnboundedReceiver<(String, Event)>,
    /// Nanoseconds.
    clock: Arc<AtomicI64>,
    /// The last batch of each agent.
    numbers: std::collections::BTreeMap<String, u64>,
}

impl Fixture {
    fn new(folder: &Path) -> Self {
        Self::at(folder, UnixSeconds::now().secs())
    }

    /// A controller that begins at a second.
    fn at(folder: &Path, second: i64) -> Self {
        Self::of(folder, second, FILE)
    }

    /// The same of another check file.
    fn of(folder: &Path, second: i64, file: &str) -> Self {
        let clock = Arc::new(AtomicI64::new(second * SECOND));
        let ticking = Arc::clone(&clock);
        let config = Arc::new(CheckFile::parse(file).expect("it is sound"));
        let (status, (direct, _direct), (stored, acknowledged)) =
            (Arc::new(Status::default()), unbounded_channel(), unbounded_channel());
        let matrix = Arc::new(Mutex::new(Matrix::new(Arc::clone(&config), UnixSeconds::from_secs(second))));
        let controller = Controller::open(Parts {
            store: History::open(&folder.join("store.db")).expect("it opens"),
            config,
            status: Arc::clone(&status),
            metrics: Arc::new(FleetMetrics::default()),
            matrix: Arc::clone(&matrix),
            direct,
            stored,
            handout: "one".into(),
            clock: Box::new(move || Instant::from_nanos(ticking.load(Ordering::Relaxed))),
        })
        .expect("it opens");
        Self { controller, status, matrix, acknowledged, _direct, clock, numbers: std::collections::BTreeMap::new() }
    }

    fn now(&self) -> i64 {
        self.clock.load(Ordering::Relaxed) / SECOND
    }

    fn pass(&mut self, seconds: i64) {
        self.clock.fetch_add(seconds * SECOND, Ordering::Relaxed);
        self.controller.evaluate(UnixSeconds::from_secs(self.now()));
    }

    /// An agent, whose clock is years behind, says how its checks fare: `e`, `p`, `g` (gated) or `.` of each, a round just now.
    fn says(&mut self, agent: &str, login: char, other: char) {
        let delivered = self.batch(agent, &[("login", login, 0), ("other", other, 0)]);
        self.controller.take(delivered);
    }

    /// The next batch of an agent: check, what it finds, how many seconds ago.
    fn batch(&mut self, agent: &str, rounds: &[(&str, char, i64)]) -> Delivered {
        const BEHIND: i64 = 100_000_000;
        let theirs = self.now() - BEHIND;
        let entries = rounds.iter().map(|(check, finds, ago)| {
            let culprit = match finds {
                'e' => Some(Culprit::Edge),
                'p' => Some(Culprit::Path),
                _ => None,
            };
            let record = Box::new(record(check, theirs - ago, 100.0, culprit));
            match culprit {
                None if *finds == 'g' => Entry::Gated { record, prober: Some(sick()) },
                Some(_) => Entry::Bad {
                    record,
                    family: Family::Slow,
                    phase: "connect".into(),
                    words: String::new(),
                    ms: 80.0,
                    pattern: None,
                },
                None => Entry::Good { rounds: 1, slowest: record },
            }
        });
        let report = Report { entries: entries.collect(), ..Report::default() };
        let number = self.numbers.entry(agent.to_owned()).or_default();
        *number += 1;
        let id = |number| BatchId { epoch: "e".into(), number };
        let after = (*number > 1).then(|| id(*number - 1));
        let bytes = serde_json::to_vec(&report).expect("JSON");
        let batch = Some(RoundBatch { id: id(*number), after, bytes });
        let wellbeing = Wellbeing { checks: Some("one".into()), ..Wellbeing::default() };
        Delivered { agent: agent.into(), sent: Instant::from_nanos(theirs * SECOND), wellbeing, batch }
    }

    /// What is on: `check@vantage culprit from whom`.
    fn on(&self) -> Vec<String> {
        let firing = self.status.alerts.snapshot().firing;
        firing.into_values().map(|event| format!("{} {} {}", event.key, event.blame.culprit, event.seen_from.join(","))).collect()
    }

    /// What receivers are to hear and the store does not have yet.
    fn told(&self) -> impl Iterator<Item = &Event> {
        self.controller.journal.batch.alerts.messages.iter().map(|(_, event)| event)
    }

    /// So many rounds of four agents, ten seconds apart.
    fn rounds(&mut self, count: usize, login: &str, other: &str) {
        for _ in 0..count {
            for (n, (login, other)) in login.chars().zip(other.chars()).enumerate() {
                if login != ' ' {
                    self.says(&format!("a{n}"), login, other);
                }
            }
            self.pass(10);
        }
    }
}

/// What is wrong with a prober.
fn sick() -> Blame {
    let (culprit, family, phase, words) = (Culprit::Prober, Family::Prober, "host".into(), String::new());
    Blame { culprit, family, phase, words, ms: 0.0, sentence: String::new(), pattern: None }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

#[test]
fn a_path_of_two_is_one_alert_that_names_them() {
    let folder = folder();
    let mut fixture = Fixture::new(folder.path());
    fixture.rounds(2, "....", "....");
    fixture.rounds(3, "p...", "....");
    assert!(fixture.on().is_empty(), "one vantage is not two: {:?}", fixture.on());
    fixture.rounds(3, "pp..", "....");
    assert_eq!(fixture.on(), ["login@fleet path a0,a1"]);
    fixture.rounds(3, "eeee", "....");
    assert_eq!(fixture.on(), ["login@fleet edge a0,a1,a2,a3"], "the same alert, of another culprit");
    let changed: Vec<(Culprit, Culprit)> =
        fixture.told().filter_map(|e| Some((e.before.as_ref()?.culprit, e.blame.culprit))).collect();
    assert_eq!(changed, [(Culprit::Path, Culprit::Edge)], "whose labels have the culprit hears that the one before is over");
    fixture.rounds(3, "....", "....");
    assert!(fixture.on().is_empty());
}

#[test]
fn who_gets_well_last_is_no_fault_of_another_kind_until_it_lasts() {
    let folder = folder();
    let mut fixture = Fixture::new(folder.path());
    fixture.rounds(3, "pppp", "....");
    assert_eq!(fixture.on(), ["login@fleet edge a0,a1,a2,a3"]);
    fixture.rounds(3, "pp..", "....");
    assert_eq!(fixture.on(), ["login@fleet edge a0,a1"]);
    fixture.rounds(30, "pp..", "....");
    assert_eq!(fixture.on(), ["login@fleet path a0,a1"], "five minutes later it is theirs");
    fixture.rounds(3, "ppp.", "....");
    assert_eq!(fixture.on(), ["login@fleet path a0,a1,a2"]);
}

#[test]
fn who_is_bad_everywhere_is_one_alert_of_its_own() {
    let folder = folder();
    let mut fixture = Fixture::new(folder.path());
    fixture.rounds(3, "p...", "p...");
    assert_eq!(fixture.on(), ["access@a0 access "]);
    fixture.rounds(3, "pp..", "p...");
    assert_eq!(fixture.on(), ["access@a0 access "], "it does not count with a1");
    fixture.rounds(3, "....", "....");
    assert!(fixture.on().is_empty());
}

#[test]
fn silence_neither_begins_nor_ends_an_alert() {
    let folder = folder();
    let mut fixture = Fixture::new(folder.path());
    fixture.rounds(3, "pp..", "....");
    fixture.rounds(8, "  ..", "  ..");
    assert_eq!(
        fixture.on(),
        ["agent@a0 prober ", "agent@a1 prober ", "login@fleet path "].map(str::to_owned).map(|mut said| {
            if said.starts_with("login") {
                said.push_str("a0,a1");
            }
            said
        })
    );
    fixture.pass(200);
    assert!(fixture.on().iter().any(|said| said.starts_with("agents@fleet")), "now nobody is heard of: {:?}", fixture.on());
    assert_eq!(fixture.on().len(), 4, "no agent more is named: {:?}", fixture.on());
    fixture.rounds(3, "....", "....");
    assert!(fixture.on().is_empty(), "{:?}", fixture.on());
}

#[test]
fn a_batch_counts_once_in_its_order_and_is_acknowledged_when_it_is_stored() {
    let folder = folder();
    let mut fixture = Fixture::new(folder.path());
    let batches: Vec<Delivered> = (0..3).map(|_| fixture.batch("a0", &[("login", 'p', 0)])).collect();
    fixture.controller.take(batches[1].clone());
    fixture.controller.take(batches[0].clone());
    fixture.controller.take(batches[0].clone());
    assert!(fixture.acknowledged.try_recv().is_err(), "it is in no store yet");
    fixture.controller.write();
    let number = |stored: Stored| stored.upto.number;
    assert_eq!(fixture.acknowledged.try_recv().map(number), Ok(1), "the second came before the first, and is to come again");
    fixture.controller.take(batches[1].clone());
    fixture.controller.take(batches[2].clone());
    fixture.controller.write();
    assert_eq!(fixture.acknowledged.try_recv().map(number), Ok(3));
    let rounds = |folder: &Path| {
        let history = History::open(&folder.join("store.db")).expect("it opens");
        history.rounds("login@a0", Instant::from_nanos(i64::MAX), 100).expect("it is read").len()
    };
    assert_eq!(rounds(folder.path()), 3);
    // Another process of the controller knows it all.
    let mut next = Fixture::at(folder.path(), fixture.now());
    for batch in batches {
        next.controller.take(batch);
    }
    next.controller.write();
    assert_eq!((next.acknowledged.try_recv().map(number), rounds(folder.path())), (Ok(3), 3));
}

#[test]
fn what_is_too_old_is_history() {
    let folder = folder();
    let mut fixture = Fixture::new(folder.path());
    for agent in ["a0", "a1"] {
        let late = fixture.batch(agent, &[("login", 'p', 900), ("login", 'p', 890), ("login", 'p', 880), ("login", '.', 0)]);
        fixture.controller.take(late);
    }
    fixture.pass(1);
    assert!(fixture.on().is_empty(), "{:?}", fixture.on());
    fixture.controller.write();
    let history = History::open(&folder.path().join("store.db")).expect("it opens");
    assert_eq!(history.rounds("login@a0", Instant::from_nanos(i64::MAX), 100).expect("it is read").len(), 4);
}

#[test]
fn an_alert_outlives_its_controller_and_ends_with_its_check() {
    let folder = folder();
    let mut fixture = Fixture::new(folder.path());
    fixture.rounds(3, "pp..", "....");
    fixture.controller.write();
    let mut next = Fixture::at(folder.path(), fixture.now());
    assert_eq!(next.on(), ["login@fleet path "]);
    next.numbers = fixture.numbers.clone();
    next.rounds(1, "pp..", "....");
    assert_eq!(next.on(), ["login@fleet path a0,a1"]);
    let without = FILE.replace("name = \"login\"", "name = \"logout\"");
    next.controller.change(Arc::new(CheckFile::parse(&without).expect("it is sound")));
    assert!(next.on().is_empty());
    let told: Vec<(bool, Option<String>)> = next
        .controller
        .journal
        .batch
        .alerts
        .messages
        .iter()
        .map(|(_, event)| (event.resolved, event.labels.get("team").cloned()))
        .collect();
    assert_eq!(told, [(true, Some("edge".into()))], "by the labels that it had");
    assert!(!locked(&next.matrix).checks.contains_key("login"));
}

#[test]
fn an_agent_that_is_gone_for_long_is_forgotten_and_one_named_as_the_fleet_is_refused() {
    let folder = folder();
    let mut fixture = Fixture::new(folder.path());
    fixture.rounds(2, "....", "....");
    for _ in 0..3 {
        fixture.rounds(1, " ...", " ...");
        fixture.pass(50);
    }
    assert_eq!(fixture.on(), ["agent@a0 prober "]);
    for _ in 0..8 {
        fixture.clock.fetch_add(86_400 * SECOND, Ordering::Relaxed);
        fixture.rounds(1, " ...", " ...");
    }
    assert!(fixture.on().is_empty(), "{:?}", fixture.on());
    assert!(!locked(&fixture.matrix).vantages.contains_key("a0"));
    let last = fixture.told().last().map(Event::summary);
    assert!(last.as_ref().is_some_and(|said| said.contains("no longer heard of") && !said.contains("again")), "{last:?}");
    assert!(!fixture.controller.metrics.exposition.openmetrics().concat().contains("vantage=\"a0\""), "nor has it any series");
    fixture.says("fleet", '.', '.');
    assert!(fixture.status.alerts.snapshot().trouble["agents"].contains("rename"));
}

#[test]
fn what_was_bad_in_maintenance_alone_is_told_to_nobody_behind_it() {
    let folder = folder();
    let mut fixture = Fixture::new(folder.path());
    fixture.rounds(2, "....", "....");
    let window = |to: i64| {
        let (from, to) = (UnixSeconds::from_secs(fixture.now() - 1), UnixSeconds::from_secs(fixture.now() + to));
        Arc::new(CheckFile::parse(&format!("{FILE}[[maintenance]]\nfrom = \"{from}\"\nto = \"{to}\"\n")).expect("it is sound"))
    };
    let config = window(45);
    fixture.controller.change(config);
    fixture.rounds(4, "pp..", "....");
    fixture.rounds(6, "....", "....");
    assert_eq!((fixture.told().count(), fixture.on().len()), (0, 0));
    fixture.rounds(3, "pp..", "....");
    assert_eq!(fixture.on(), ["login@fleet path a0,a1"], "what comes behind it is");
}

#[test]
fn what_was_bad_in_maintenance_alone_is_told_to_nobody_however_long_it_takes_to_be_over() {
    let folder = folder();
    let mut fixture = Fixture::new(folder.path());
    // What flaps must be well for longer.
    for _ in 0..3 {
        fixture.rounds(3, "pp..", "....");
        fixture.rounds(8, "....", "....");
    }
    let before = fixture.told().count();
    let (from, to) = (UnixSeconds::from_secs(fixture.now() - 1), UnixSeconds::from_secs(fixture.now() + 45));
    let window = format!("{FILE}[[maintenance]]\nfrom = \"{from}\"\nto = \"{to}\"\n");
    fixture.controller.change(Arc::new(CheckFile::parse(&window).expect("it is sound")));
    fixture.rounds(4, "pp..", "....");
    fixture.rounds(10, "....", "....");
    assert_eq!((fixture.told().count(), fixture.on().len()), (before, 0), "{:?}", fixture.on());
    assert!(locked(&fixture.matrix).standing.is_empty());
}

#[test]
fn a_sick_prober_that_is_forgotten_is_not_said_to_be_well() {
    let folder = folder();
    let mut fixture = Fixture::new(folder.path());
    fixture.rounds(6, "g...", "g...");
    assert_eq!(fixture.on(), ["prober@a0 prober "]);
    for _ in 0..8 {
        fixture.clock.fetch_add(86_400 * SECOND, Ordering::Relaxed);
        fixture.rounds(1, " ...", " ...");
    }
    assert!(fixture.on().is_empty(), "{:?}", fixture.on());
    let of_prober: Vec<String> =
        fixture.told().filter(|event| event.resolved && event.check == "prober").map(Event::summary).collect();
    assert!(of_prober.len() == 1 && of_prober[0].contains("no longer heard of"), "{of_prober:?}");
}

#[test]
fn an_alert_becomes_no_other_by_what_was_bad_in_maintenance_alone() {
    let folder = folder();
    let mut fixture = Fixture::new(folder.path());
    fixture.rounds(3, "pp..", "....");
    assert_eq!(fixture.on(), ["login@fleet path a0,a1"]);
    let (from, to) = (UnixSeconds::from_secs(fixture.now() - 1), UnixSeconds::from_secs(fixture.now() + 45));
    let window = format!("{FILE}[[maintenance]]\nfrom = \"{from}\"\nto = \"{to}\"\n");
    fixture.controller.change(Arc::new(CheckFile::parse(&window).expect("it is sound")));
    let changes = |fixture: &Fixture| fixture.told().filter(|event| event.before.is_some()).count();
    fixture.rounds(4, "eeee", "....");
    fixture.rounds(1, "....", "....");
    assert_eq!(changes(&fixture), 0, "{:?}", fixture.on());
    fixture.rounds(6, "eeee", "....");
    assert_eq!(changes(&fixture), 1, "by what comes behind it, it does: {:?}", fixture.on());
}

/// The check file with `other` probed at each of its addresses.
fn each() -> String {
    FILE.replace("name = \"other\"", "name = \"other\"\naddresses = \"each\"")
}

const OTHERS: [&str; 3] = ["a0", "a1", "a2"];

/// What three agents say, so many times, ten seconds apart.
fn say(fixture: &mut Fixture, rounds: &[(&str, char, i64)], times: usize) {
    for _ in 0..times {
        for agent in OTHERS {
            let delivered = fixture.batch(agent, rounds);
            fixture.controller.take(delivered);
        }
        fixture.pass(10);
    }
}

#[test]
fn an_address_that_left_dns_has_no_alert_and_no_cells() {
    let folder = folder();
    let mut fixture = Fixture::of(folder.path(), UnixSeconds::now().secs(), &each());
    say(&mut fixture, &[("other", 'e', 0)], 3);
    assert_eq!(fixture.on(), ["other@fleet edge a0,a1,a2"], "the name is not found");
    say(&mut fixture, &[("other 192.0.2.1", '.', 0), ("other 192.0.2.2", 'e', 0)], 4);
    assert_eq!(fixture.on(), ["other 192.0.2.2@fleet edge a0,a1,a2"], "it is, and an address of it is bad");
    say(&mut fixture, &[("other 192.0.2.1", '.', 0)], 30);
    assert!(fixture.on().is_empty(), "{:?}", fixture.on());
    let last = fixture.told().last().map(Event::summary);
    assert!(last.as_ref().is_some_and(|said| said.contains("no longer an address of b.test")), "{last:?}");
    assert!(!locked(&fixture.matrix).checks.contains_key("other 192.0.2.2"));
    let series = fixture.controller.metrics.exposition.openmetrics().concat();
    assert!(series.contains("other 192.0.2.1") && !series.contains("other 192.0.2.2"), "{series}");
}

#[test]
fn an_address_does_not_leave_dns_while_nobody_looks() {
    let folder = folder();
    let (both, quick) = ([("other 192.0.2.1", '.', 0), ("other 192.0.2.2", 'e', 0)], [("other 192.0.2.1", '.', 0)]);
    let on = ["other 192.0.2.2@fleet edge a0,a1,a2"];
    let mut fixture = Fixture::of(folder.path(), UnixSeconds::now().secs(), &each());
    say(&mut fixture, &both, 4);
    assert_eq!(fixture.on(), on);
    // The quick one is heard of first: by a controller that was away, by one whose agents were, and where no lookup worked for long.
    fixture.controller.write();
    let mut next = Fixture::of(folder.path(), fixture.now() + 3_600, &each());
    next.numbers = fixture.numbers.clone();
    say(&mut next, &quick, 1);
    assert_eq!(next.on(), on);
    say(&mut next, &both, 3);
    assert_eq!(next.on(), on);
    next.pass(3_600);
    say(&mut next, &quick, 1);
    say(&mut next, &both, 1);
    assert!(next.on().contains(&on[0].to_owned()), "{:?}", next.on());
    say(&mut next, &[("other", 'e', 0)], 60);
    say(&mut next, &quick, 1);
    say(&mut next, &both, 3);
    assert_eq!(next.on(), on);
    assert!(next.told().all(|event| event.unwatched.is_none()));
    say(&mut next, &quick, 30);
    assert!(next.on().is_empty(), "{:?}", next.on());
}

#[test]
fn a_round_of_several_addresses_is_one_of_the_name() {
    let folder = folder();
    let slow = each().replace("resolve_after = 2", "resolve_after = 4");
    let mut fixture = Fixture::of(folder.path(), UnixSeconds::now().secs(), &slow);
    say(&mut fixture, &[("other", 'e', 0)], 3);
    let three = [("other 192.0.2.1", '.', 0), ("other 192.0.2.2", '.', 0), ("other 192.0.2.3", '.', 0)];
    say(&mut fixture, &three, 3);
    assert_eq!(fixture.on(), ["other@fleet edge a0,a1,a2"], "three of four");
    say(&mut fixture, &three, 1);
    assert!(fixture.on().is_empty(), "{:?}", fixture.on());
}

#[test]
fn an_alert_of_a_fleet_that_has_another_name_is_not_said_to_be_of_a_check_that_is_gone() {
    let folder = folder();
    let mut fixture = Fixture::new(folder.path());
    fixture.rounds(3, "pp..", "....");
    let renamed = FILE.replace("[fleet]", "[fleet]\nname = \"eu\"");
    fixture.controller.change(Arc::new(CheckFile::parse(&renamed).expect("it is sound")));
    let summary = fixture.told().last().map(Event::summary);
    assert!(summary.as_ref().is_some_and(|said| said.contains("another name") && !said.contains("check file")), "{summary:?}");
}

#[test]
fn what_is_on_for_a_check_that_is_gone_at_the_start_ends() {
    let folder = folder();
    let mut fixture = Fixture::new(folder.path());
    fixture.rounds(3, "pp..", "....");
    fixture.controller.write();
    let without = FILE.replace("name = \"login\"", "name = \"logout\"");
    let fixture = Fixture::of(folder.path(), fixture.now(), &without);
    assert!(fixture.on().is_empty());
    let summary = fixture.told().last().map(Event::summary);
    assert!(summary.as_ref().is_some_and(|said| said.contains("no longer in the check file")), "{summary:?}");
}
