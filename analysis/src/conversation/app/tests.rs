use super::*;
use crate::conversation::host::Sample;
use proptest::prelude::*;

fn at(ms: i64) -> Instant<Client> {
    Instant::from_nanos(ms * 1_000_000)
}

/// A connection whose steps end at these milliseconds: lookup, TCP, TLS, first byte.
fn trace(lookup: i64, connect: i64, tls: i64, first_byte: i64) -> AppTrace {
    AppTrace {
        started: at(0),
        queued: None,
        lookup: Some(Step { began: at(0), done: Some(at(lookup)) }),
        connect: Some(Step { began: at(lookup), done: Some(at(connect)) }),
        tls: Some(Tls::between(at(connect), Some(at(tls)))),
        sent: Some(at(tls)),
        first_byte: Some(at(first_byte)),
        ended: at(first_byte),
        complete: true,
        reused: false,
        host: None,
    }
}

fn judged(trace: &AppTrace, usual: Option<i64>) -> (Judgement, String) {
    let mut reading = read(trace);
    let judgement = judge(trace, &mut reading, usual.map(Span::from_millis));
    let sentence = sentence(trace, &reading, &judgement);
    (judgement, sentence)
}

fn label(trace: &AppTrace, usual: Option<i64>) -> String {
    judged(trace, usual).0.verdict.label()
}

const ALL: [Owner; 4] = [Owner::Client, Owner::Path, Owner::Loss, Owner::Edge];

#[test]
fn ordinary_connections_are_healthy() {
    assert_eq!(label(&trace(2, 22, 45, 70), None), "healthy", "TLS 1.3");
    assert_eq!(label(&trace(2, 22, 66, 90), None), "healthy", "TLS 1.2 takes two round trips");
}

#[test]
fn what_tls_takes_beyond_its_round_trips_is_anybodys() {
    let (judgement, sentence) = judged(&trace(2, 22, 500, 520), None);
    assert_eq!(judgement.verdict.label(), "inconclusive");
    assert!(ALL.iter().all(|owner| judgement.candidates.contains(*owner)), "{:?}", judgement.candidates);
    assert!(judgement.missing.contains(Missing::ClientSocket) && judgement.missing.contains(Missing::EdgeCapture));
    assert!(sentence.contains("\"ClientHello to server flight\""), "{sentence}");
}

#[test]
fn a_second_of_tcp_may_be_a_repeated_syn_and_may_be_something_else() {
    let (judgement, sentence) = judged(&trace(2, 1_024, 1_046, 1_070), None);
    assert_eq!(judgement.verdict.label(), "inconclusive", "a program does not see SYN");
    assert!(judgement.candidates.contains(Owner::Loss));
    assert!(sentence.contains("retransmitted after 1 s"), "{sentence}");
    assert_eq!(repeated_after(Span::from_millis(3_040)), Some(Span::from_millis(3_000)));
    assert_eq!(repeated_after(Span::from_millis(999)), None);
}

#[test]
fn a_slow_lookup_is_the_resolvers_or_its_ways() {
    let (judgement, sentence) = judged(&trace(2_000, 2_020, 2_042, 2_065), None);
    assert_eq!(judgement.verdict.label(), "resolver/lookup");
    assert!(sentence.contains("or the way's to it"), "{sentence}");
}

#[test]
fn steps_that_the_program_puts_off_are_its_own() {
    let mut late = trace(2, 22, 45, 470);
    late.sent = Some(at(445));
    assert_eq!(label(&late, None), "client");
}

#[test]
fn long_round_trips_are_no_detour_of_which_a_program_knows() {
    for usual in [None, Some(20)] {
        let (judgement, _) = judged(&trace(2, 202, 405, 606), usual);
        assert_eq!(judgement.verdict.label(), "inconclusive", "{usual:?}");
        assert!(ALL.iter().all(|owner| judgement.candidates.contains(*owner)), "{:?}", judgement.candidates);
    }
}

#[test]
fn scheduler_evidence_takes_the_clients_host_out() {
    let sample = |ms, delay: u64| Sample { at: at(ms), tid: 1, cpu: 0, run_delay: delay, state: 'R', steal: 0 };
    let mut starved = trace(2, 22, 500, 520);
    starved.host = Some(HostTrace { samples: vec![sample(0, 0), sample(22, 0), sample(500, 450_000_000)], nodelay: None });
    assert_eq!(label(&starved, None), "client_host/cpu_starved");
    assert_eq!(read(&starved).grade, Grade::App { host: true });

    let sample = |ms| Sample { state: 'S', ..sample(ms, 0) };
    starved.host = Some(HostTrace { samples: vec![sample(0), sample(22), sample(500), sample(520)], nodelay: None });
    let (judgement, _) = judged(&starved, None);
    assert_eq!(judgement.verdict.label(), "inconclusive");
    assert!(judgement.candidates.is_disjoint(Owner::Client | Owner::ClientHost), "{:?}", judgement.candidates);
}

#[test]
fn messages_that_the_program_logs_divide_tls() {
    let mut messages = trace(2, 22, 400, 425);
    let tls = messages.tls.as_mut().expect("it has TLS");
    (tls.hello, tls.flight, tls.rounds) = (Some(at(24)), Some(at(46)), Some(1));
    assert_eq!(label(&messages, None), "client", "it had the server's flight, and took its time");
    let tls = messages.tls.as_mut().expect("it has TLS");
    tls.flight = Some(at(396));
    assert_eq!(label(&messages, None), "inconclusive");
}

#[test]
fn a_connection_of_before_has_a_request_only() {
    let reused = AppTrace { lookup: None, connect: None, tls: None, sent: Some(at(1)), reused: true, ..trace(0, 0, 0, 600) };
    let reading = read(&reused);
    assert!(reading.ledger.entries.iter().all(|e| e.phase == Phase::Request), "{:?}", reading.ledger.entries);
    assert_eq!(label(&reused, None), "inconclusive");
}

#[test]
fn what_never_ended_is_open_and_says_how_far_it_came() {
    let mut stopped = trace(2, 22, 0, 0);
    stopped.tls = Some(Tls::between(at(22), None));
    (stopped.sent, stopped.first_byte, stopped.ended, stopped.complete) = (None, None, at(5_000), false);
    let (judgement, sentence) = judged(&stopped, None);
    assert_eq!(judgement.verdict.label(), "inconclusive");
    assert!(sentence.contains("had not completed where the account of it ends; the last thing proven is SYN-ACK"), "{sentence}");
}

proptest! {
    #[test]
    fn the_ledger_sums_to_its_total(times in prop::collection::vec(-50i64..9_000, 9), done in any::<[bool; 4]>(), reused in any::<bool>()) {
        let end = |i: usize, there: bool| there.then(|| at(times[i]));
        let trace = AppTrace {
            started: at(times[0]),
            queued: end(1, reused),
            lookup: Some(Step { began: at(times[1]), done: end(2, done[0]) }),
            connect: Some(Step { began: at(times[2]), done: end(3, done[1]) }),
            tls: Some(Tls { flight: end(4, reused), finished: end(5, reused), rounds: Some(2), ..Tls::between(at(times[3]), end(6, done[2])) }),
            sent: Some(at(times[7])),
            first_byte: end(8, done[3]),
            ended: at(times[8]),
            complete: true,
            reused,
            host: None,
        };
        let ledger = read(&trace).ledger;
        prop_assert_eq!(ledger.entries.iter().map(|e| e.span).sum::<Span>(), ledger.total);
    }
}
