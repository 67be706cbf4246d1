//! Sketches of made-up records: which fault stands for what, and what is said to be left out.

use analysis::clock::Span;
use analysis::conversation::milestone::Milestone;
use analysis::judging::ledger::{Entry, Ledger};
use analysis::judging::verdict::{Circumstances, Grade, Reading, judge};
use analysis::judging::vocabulary::{Kind, Missing};
use enumset::EnumSet;
use records::FORMAT;
use records::explained::{Habits, Plaintext, SeenFrom};

use super::report::Slow;
use super::*;
use crate::faults::{AnswerBefore, Fault};

fn entry(phase: Phase, owner: Owner, kind: Option<Kind>, ms: i64, baseline: i64) -> Entry {
    let mut entry = Entry::new(phase, owner, kind, Span::from_millis(ms), Span::from_micros(100));
    entry.baseline = Span::from_millis(baseline);
    entry
}

fn round(phase: Phase, ms: i64) -> Entry {
    Entry { baseline: Span::from_millis(40), ..Entry::round_trip(phase, Span::from_millis(ms), Span::from_micros(100)) }
}

fn record(entries: Vec<Entry>, aborted: Option<(Owner, Milestone)>) -> ExplainedRecord {
    let mut ledger = Ledger::open(entries.iter().map(|e| e.span).sum());
    entries.into_iter().for_each(|entry| ledger.charge(entry));
    let reading = Reading { grade: Grade::BothEnds { host: false }, ledger, end: End::Complete };
    let mut judgement = judge(&reading, Circumstances::default());
    if let Some((by, after)) = aborted {
        judgement.verdict = Verdict::Aborted { by, after };
    }
    ExplainedRecord {
        format: FORMAT,
        id: 1,
        started: "2026-11-26T16:40:00.000001Z".into(),
        started_ns: 1,
        client: "192.0.2.7:40000".into(),
        server: "198.51.100.1:443".into(),
        server_name: Some("login.example".into()),
        random: None,
        version: Some("TLS 1.2".into()),
        resumed: false,
        habits: Some(Habits { flight_bytes: Some(6_000), ..Habits::default() }),
        seen_from: SeenFrom::BothEnds,
        how: String::new(),
        judged: Some(Judged { reading, judgement, sentence: "The edge was slow.".into() }),
        not_judged: None,
        other_leg: None,
        notes: Vec::new(),
        lanes: Vec::new(),
    }
}

fn sketch(record: ExplainedRecord) -> Sketch {
    Sketch::of_records("a.pcap", &[record], None).expect("it was judged")
}

/// The only fault of a sketch of three rounds and one stretch more.
fn only(phase: Phase, owner: Owner, kind: Option<Kind>, ms: i64) -> Result<Fault, String> {
    let rounds = [Phase::Connect, Phase::ServerFlight, Phase::Finish].map(|phase| round(phase, 40));
    let stretch = entry(phase, owner, kind, ms, 0);
    let sketch = sketch(record(rounds.into_iter().chain([stretch]).collect(), None));
    assert_eq!(sketch.scenario.targets[0].rtt.as_millis(), 40.0);
    let mut faults = sketch.scenario.faults.into_values();
    let first = faults.next().ok_or_else(|| sketch.cannot.join("; "))?;
    assert!(faults.next().is_none());
    Ok(first)
}

#[test]
fn each_stretch_has_its_fault_of_its_size() {
    let ms = crate::duration::Length::millis;
    let pause = only(Phase::ClientFinished, Owner::Client, None, 300).expect("it can be done");
    assert!(matches!(pause, Fault::ClientPause(p) if p.length == ms(299) && p.before == agent::PauseBefore::ClientFinished));
    let slow = only(Phase::ServerFlight, Owner::Edge, None, 250).expect("it can be done");
    assert!(matches!(slow, Fault::EdgeDelay(d) if d.length == ms(249) && d.before == AnswerBefore::ServerHello));
    let last = only(Phase::Finish, Owner::Edge, None, 90).expect("it can be done");
    assert!(matches!(last, Fault::EdgeDelay(d) if d.before == AnswerBefore::ServerFinished));
    let loss = only(Phase::Connect, Owner::Loss, Some(Kind::Out), 2_045).expect("it can be done");
    assert!(matches!(loss, Fault::Drop(d) if d.copies == 2 && d.message == lab::wire::Message::Syn));
    let lost = only(Phase::ServerFlight, Owner::Loss, Some(Kind::Back), 250).expect("it can be done");
    assert!(matches!(&lost, Fault::Drop(d) if d.segment == 4), "{lost:?}: the last of 6,000 bytes");
    assert!(matches!(only(Phase::Dns, Owner::Resolver, None, 200), Ok(Fault::DnsDelay(_))));
    let why = only(Phase::Finish, Owner::Unattributed, None, 300).expect_err("nobody knows whose it was");
    assert!(why.contains("the evidence does not tell") && why.contains("300"), "{why}");
}

#[test]
fn an_ends_stretch_is_as_long_whatever_of_it_was_usual_and_what_nobody_can_name_is_put_to_it() {
    let usual = Entry { baseline: Span::from_millis(12), ..entry(Phase::ServerFlight, Owner::Edge, None, 80, 0) };
    let mut open = entry(Phase::ServerFlight, Owner::Unattributed, None, 38, 0);
    open.candidates = Owner::Edge | Owner::Path;
    let rounds = [Phase::Connect, Phase::ServerFlight, Phase::Finish].map(|phase| round(phase, 40));
    let sketch = sketch(record(rounds.into_iter().chain([usual, open]).collect(), None));
    let faults: Vec<&Fault> = sketch.scenario.faults.values().collect();
    let [Fault::EdgeDelay(delay)] = faults.as_slice() else { panic!("{faults:?}") };
    assert_eq!(delay.length, crate::duration::Length::millis(117), "80 and 38, but for what the lab's edge works itself");
    assert!(sketch.cannot.iter().any(|what| what.contains("put to the other's")), "{:?}", sketch.cannot);
}

#[test]
fn what_nobody_can_name_is_put_to_nobody_where_two_had_time_or_no_fault_stands_for_it() {
    let open = |phase| Entry { candidates: Owner::Edge.into(), ..entry(phase, Owner::Unattributed, None, 38, 0) };
    let of = |phase, owners: &[Owner]| {
        let rounds = [Phase::Connect, Phase::ServerFlight, Phase::Finish].map(|phase| round(phase, 40));
        let slow = owners.iter().map(|owner| entry(phase, *owner, None, 80, 0)).chain([open(phase)]);
        record(rounds.into_iter().chain(slow).collect(), None)
    };
    for seen in [of(Phase::ServerFlight, &[Owner::Edge, Owner::Client]), of(Phase::Connect, &[Owner::Edge])] {
        let judged = seen.judged.clone().expect("it was judged");
        let mut sketch = sketch(seen);
        assert!(!sketch.cannot.iter().any(|what| what.contains("put to the other's")), "{:?}", sketch.cannot);
        assert!(!tune(&mut sketch, &judged), "what ran is what was seen");
    }
}

#[test]
fn what_nobody_can_name_and_nobody_had_time_beside_is_put_to_who_usually_has_it_which_is_said() {
    let of = |phase, candidates: EnumSet<Owner>| {
        let open = Entry { candidates, ..entry(phase, Owner::Unattributed, None, 300, 0) };
        let rounds = [Phase::Connect, Phase::ServerFlight, Phase::Finish].map(|phase| round(phase, 40));
        record(rounds.into_iter().chain([open]).collect(), None)
    };
    let client_or_path = Owner::Client | Owner::Path;
    let sketched = sketch(of(Phase::ClientFinished, client_or_path));
    let faults: Vec<&Fault> = sketched.scenario.faults.values().collect();
    assert!(matches!(faults[..], [Fault::ClientPause(p)] if p.length.as_millis() == 299.0), "{faults:?}");
    assert!(sketched.cannot.iter().any(|what| what.contains("300") && what.contains("a guess")), "{:?}", sketched.cannot);
    // Whoever usually has it was not there: another of them.
    let sketched = sketch(of(Phase::ClientFinished, Owner::Path.into()));
    assert!(matches!(sketched.scenario.faults.values().next(), Some(Fault::Hold(_))), "{:?}", sketched.scenario.faults);
    // Seen from the same end, the run is as open, and its size is corrected by that.
    let seen = of(Phase::ClientFinished, client_or_path);
    let mut again = sketch(seen.clone());
    assert!(!tune(&mut again, seen.judged.as_ref().expect("it was judged")), "what ran is what was seen");
}

#[test]
fn who_broke_off_and_cannot_be_proven_to_have_is_guessed_too() {
    let mut seen = record(vec![round(Phase::Connect, 40)], None);
    let judged = seen.judged.as_mut().expect("it was judged");
    judged.reading.end = End::Stopped { after: Milestone::ServerFlightEnd };
    judged.judgement.verdict = Verdict::Inconclusive {
        candidates: Owner::Client | Owner::Path,
        missing: Missing::ClientCapture.into(),
        excess: Span::ZERO,
    };
    let sketch = sketch(seen);
    assert_eq!(sketch.aim.slow, None, "it was not slow");
    let faults: Vec<&Fault> = sketch.scenario.faults.values().collect();
    assert!(matches!(&faults[..], [Fault::Refuse(refuse)] if refuse.on == CLIENT), "{faults:?}");
    assert!(sketch.cannot.iter().any(|what| what.contains("who ended it") && what.contains("a guess")), "{:?}", sketch.cannot);
    let (labels, _) = expected(&sketch);
    assert!(["inconclusive", "aborted"].into_iter().all(|label| labels.iter().any(|l| l == label)), "{labels:?}");
}

#[test]
fn where_no_round_trip_was_seen_none_is_said_to_be_reported() {
    let sketch = sketch(record(vec![entry(Phase::ServerFlight, Owner::Edge, None, 30, 0)], None));
    assert_eq!(sketch.aim.round_trip, None);
    assert_eq!(sketch.scenario.targets[0].rtt.as_millis(), 10.0, "no more than all of it took");
    assert!(sketch.cannot.iter().any(|what| what.contains("no round trip could be measured")), "{:?}", sketch.cannot);
}

#[test]
fn rounds_that_are_all_longer_are_a_detour_and_one_that_is_longer_is_held() {
    let phases = [Phase::Connect, Phase::ServerFlight, Phase::Finish];
    let detour = sketch(record(phases.map(|phase| round(phase, 100)).into(), None));
    let faults: Vec<&Fault> = detour.scenario.faults.values().collect();
    assert!(matches!(faults.as_slice(), [Fault::Detour(d)] if d.extra_rtt.as_millis() == 60.0), "{faults:?}");
    assert_eq!(detour.aim.round_trip, Some(Span::from_millis(40)));
    assert_eq!((detour.scenario.baseline_rounds, detour.scenario.rounds), (BASELINE_ROUNDS, ROUNDS));
    let held = sketch(record(vec![round(Phase::Connect, 40), round(Phase::ServerFlight, 240), round(Phase::Finish, 40)], None));
    let faults: Vec<&Fault> = held.scenario.faults.values().collect();
    assert!(matches!(faults.as_slice(), [Fault::Hold(h)] if h.length.as_millis() == 200.0), "{faults:?}");
}

#[test]
fn who_broke_off_breaks_off_and_what_cannot_be_done_is_said() {
    let broken = |by, after| sketch(record(vec![round(Phase::Connect, 40)], Some((by, after))));
    let faults = |sketch: &Sketch| sketch.scenario.faults.values().cloned().collect::<Vec<_>>();
    let reset = broken(Owner::Path, Milestone::SynAck);
    assert!(matches!(faults(&reset).as_slice(), [Fault::Reset(r)] if r.message == lab::wire::Message::ClientHello));
    let alert = broken(Owner::Edge, Milestone::ClientHello);
    assert!(matches!(faults(&alert).as_slice(), [Fault::Refuse(r)] if r.on == EDGE));
    let late = broken(Owner::Edge, Milestone::ClientFinished);
    assert!(faults(&late).is_empty() && late.cannot.iter().any(|what| what.contains("breaks off")), "{:?}", late.cannot);
}

#[test]
fn habits_of_the_stacks_are_the_scenario_s() {
    let mut record = record(vec![round(Phase::Connect, 40), entry(Phase::BeforeTls, Owner::Edge, None, 400, 0)], None);
    record.habits = Some(Habits {
        certificate_bytes: Some(22_000),
        before_tls: Some(Plaintext { server_first: true, exchanges: 2 }),
        client_certificate: true,
        ..Habits::default()
    });
    record.resumed = false;
    let sketch = sketch(record);
    let edge = &sketch.scenario.targets[0];
    assert_eq!((edge.chain_bytes, sketch.scenario.client.tls), (Some(22_000), agent::TlsVersion::V12));
    let before = agent::BeforeTls { first: agent::Speaker::Edge, exchanges: 2 };
    assert_eq!(edge.before_tls, Some(before));
    assert!(edge.client_certificate && sketch.cannot.is_empty(), "{:?}", sketch.cannot);
    let text = sketch.to_text().expect("it can be written");
    let read = Scenario::parse("new.toml", &text, &[]).unwrap_or_else(|e| panic!("{e}:\n{text}"));
    assert_eq!((read.targets, read.faults), (sketch.scenario.targets, sketch.scenario.faults));
    assert!(text.contains("# Stands for 399") && text.contains("The edge was slow."), "{text}");
}

#[test]
fn a_report_names_its_stretch_and_the_round_trip_in_it_is_no_fault() {
    let Slow(stretch, time) = "ServerHello to Finished 500ms".parse().expect("it is one");
    let report = |stretch, time| Report {
        server_name: Some("login.example".into()),
        round_trip: Some(crate::duration::Length::millis(40)),
        slow: Some((stretch, time)),
        ..Report::default()
    };
    let sketch = report(stretch, time).sketch().expect("it can be done");
    assert!(matches!(sketch.scenario.faults.values().next(), Some(Fault::ClientPause(p)) if p.length.as_millis() == 460.0));
    assert!(sketch.cannot.iter().any(|what| what.contains("--culprit")), "a report does not tell who it was");
    let path = Report { culprit: "path/delay".parse().ok(), ..report(stretch, time) }.sketch().expect("it can be done");
    assert!(matches!(path.scenario.faults.values().next(), Some(Fault::Hold(_))));
    assert!(matches!(report(stretch, crate::duration::Length::millis(41)).sketch(), Err(NoReport::NotSlow { .. })));
    for (text, words) in
        [("ServerHello 500ms", "write \""), ("Hello to Finished 5ms", "ClientHello"), ("SYN to ACK 5", "write \"")]
    {
        let error = text.parse::<Slow>().expect_err(text).to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn a_run_is_close_or_it_is_not_and_then_sizes_are_corrected() {
    let made = |ms| {
        let entries = vec![round(Phase::Connect, 40), entry(Phase::ClientFinished, Owner::Client, None, ms, 0)];
        record(entries, None)
    };
    let mut sketch = sketch(made(300));
    let closeness = |ms| {
        let record = made(ms);
        let judged = record.judged.clone().expect("it was judged");
        (Closeness::of(&sketch.aim, &record, &judged), judged)
    };
    assert!(closeness(310).0.is_close());
    let (far, judged) = closeness(340);
    assert!(!far.is_close() && far.verdict.as_ref().is_some_and(|v| v.close) && far.slow.as_ref().is_some_and(|s| !s.close));
    assert!(tune(&mut sketch, &judged));
    assert!(matches!(sketch.scenario.faults.values().next(), Some(Fault::ClientPause(p)) if p.length.as_millis() == 259.0));
    let healthy = record(vec![round(Phase::Connect, 40)], None);
    let judged = healthy.judged.clone().expect("it was judged");
    assert!(!Closeness::of(&sketch.aim, &healthy, &judged).is_alike());
}

/// What a file made of it expects of both ends and of the edge's, read again.
fn expected(sketch: &Sketch) -> (Vec<String>, Option<Vec<String>>) {
    let text = sketch.to_text().expect("it can be written");
    let read = Scenario::parse("new.toml", &text, &[]).unwrap_or_else(|e| panic!("{e}:\n{text}"));
    let words = |labels: &crate::scenario::OneOrMore| labels.labels().into_iter().map(str::to_owned).collect();
    let expect = read.expect.unwrap_or_else(|| panic!("it expects nothing:\n{text}")).into_inner();
    (words(&expect.verdict), expect.edge_only.as_ref().map(words))
}

#[test]
fn a_run_of_it_must_come_to_what_the_evidence_said() {
    let rounds = || [Phase::Connect, Phase::ServerFlight, Phase::Finish].map(|phase| round(phase, 40));
    let pause = || entry(Phase::ClientFinished, Owner::Client, None, 300, 0);
    let greeting = || entry(Phase::ServerFlight, Owner::Edge, None, 200, 0);
    let of = |more: Vec<Entry>, aborted| record(rounds().into_iter().chain(more).collect(), aborted);
    let all = [
        (of(vec![], None), "healthy"),
        (of(vec![pause()], None), "client"),
        (of(vec![pause(), greeting()], None), "client + edge"),
        (of(vec![entry(Phase::Connect, Owner::Loss, Some(Kind::Out), 1_000, 0)], None), "loss/out"),
        (of(vec![], Some((Owner::Edge, Milestone::ClientHello))), "aborted/edge"),
    ];
    for (mut record, label) in all {
        assert_eq!(expected(&sketch(record.clone())), (vec![label.to_owned()], None));
        record.seen_from = SeenFrom::EdgeEnd;
        let alone = Some(vec![label.to_owned()]);
        assert_eq!(expected(&sketch(record)), (vec![label.to_owned()], alone), "the same end is asked again");
    }
}

#[test]
fn what_was_ordinary_there_may_be_blamed_in_a_run_and_nobody_else() {
    let usual = Entry { baseline: Span::from_millis(80), ..entry(Phase::ServerFlight, Owner::Edge, None, 80, 0) };
    let sketch = sketch(record(vec![round(Phase::Connect, 40), usual, round(Phase::Finish, 40)], None));
    assert_eq!(sketch.aim.verdict, Some(Verdict::Healthy));
    assert_eq!(expected(&sketch).0, ["healthy", "edge"]);
}

#[test]
fn what_the_evidence_leaves_open_may_be_any_of_those_it_may_have_been_but_not_nothing() {
    let candidates = Owner::EdgeApp | Owner::Path;
    let open = Entry { candidates, ..entry(Phase::ServerFlight, Owner::Unattributed, None, 300, 0) };
    let sketch = sketch(record(vec![round(Phase::Connect, 40), open, round(Phase::Finish, 40)], None));
    let (labels, _) = expected(&sketch);
    let is = |label: &str| labels.iter().any(|l| l == label);
    assert!(["inconclusive", "path", "edge"].into_iter().all(is), "{labels:?}");
    assert!(labels.iter().any(|label| label.contains(" + ")), "both may have had some of it: {labels:?}");
    assert!(!["healthy", "client", "loss"].into_iter().any(is), "{labels:?}");
}

#[test]
fn a_report_expects_its_suspect_or_the_guess_and_nothing_where_nothing_was_slow() {
    let report = |culprit: Option<&str>| Report {
        round_trip: Some(crate::duration::Length::millis(40)),
        slow: Some((Stretch::Between("server_hello", "client_finished"), crate::duration::Length::millis(500))),
        culprit: culprit.map(|label| label.parse().expect("it is one")),
        ..Report::default()
    };
    for (culprit, label, from) in [(None, "client", "A guess"), (Some("path/delay"), "path/delay", "The suspect")] {
        let sketch = report(culprit).sketch().expect("it can be done");
        assert_eq!(expected(&sketch), (vec![label.to_owned()], None));
        assert!(sketch.to_text().is_ok_and(|text| text.contains(from)), "{culprit:?}");
    }
    let nothing = Report { slow: None, ..report(None) }.sketch().expect("it can be done");
    assert!(nothing.scenario.expect.is_none());
}
