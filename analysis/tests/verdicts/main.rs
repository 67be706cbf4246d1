//! From packets of both ends to verdicts, for conversations built packet by packet.

mod acks;
mod client;
mod early;
mod gave_up;
mod golden;
mod judging;
mod late_and_lost;
mod long;
mod missed;
mod needless;
mod outage;
mod overdue;
mod support;
mod ticks;
mod too_big;
mod unfinished;
mod unsaid;

use enumset::EnumSet;
use support::*;
use whostalled_analysis::claims::check;
use whostalled_analysis::clock::{Client, Instant, Span};
use whostalled_analysis::conversation::handshake::Handshake;
use whostalled_analysis::conversation::host::{HostTrace, Sample};
use whostalled_analysis::conversation::walk;
use whostalled_analysis::doubt::offset::own_step;
use whostalled_analysis::judging::ledger::{Baseline, Kind, Missing, Owner};
use whostalled_analysis::judging::sentence::{Citation, explain};
use whostalled_analysis::judging::verdict::{Circumstances, End, Judgement, Reading, Verdict, judge};
use whostalled_analysis::tcp::flow::Side::{Client as C, Server as S};
use whostalled_analysis::tls::Version;

const OK: Fate = Fate { lost: false, held: 0 };
const LOST: Fate = Fate { lost: true, held: 0 };

/// Where a TLS 1.3 handshake may be disturbed.
#[derive(Clone, Default)]
struct Plan {
    /// The client's turnaround between flight and Finished.
    stall: i64,
    /// The edge's between ClientHello and its flight.
    edge: i64,
    /// What becomes of the second segment of the flight.
    flight: Fate,
    /// What becomes of the first Finished.
    finished: Fate,
    /// When the lost packet is sent again, after the first copy.
    again: i64,
}

fn tls13(mut talk: Talk, plan: &Plan) -> Handshake {
    played(&mut talk, plan)
}

fn played(talk: &mut Talk, plan: &Plan) -> Handshake {
    let established = talk.connect(1_000 * MS);
    let hello_at = established + MS;
    let hello = client_hello();
    talk.data(C, hello_at, &hello, OK);
    talk.ack(S, hello_at + HALF, OK);
    let flight_at = hello_at + HALF + MS + plan.edge;
    let first = [server_hello([1; 32], &TLS13), record(20, &[1]), record(23, &[0; 600])].concat();
    let second = record(23, &[0; 700]);
    let middle = talk.data(S, flight_at, &first, OK);
    talk.data(S, flight_at + 1_000, &second, plan.flight);
    let mut arrived = flight_at + 1_000 + HALF + plan.flight.held;
    if plan.flight.lost {
        talk.again(S, flight_at + 1_000 + plan.again, middle, &second, OK);
        arrived += plan.again;
    }
    talk.ack(C, arrived + 10_000, OK);
    let finished_at = arrived + MS / 2 + plan.stall;
    let fin = finished13();
    let start = client_hello().len() as i64;
    talk.data(C, finished_at, &fin, plan.finished);
    let mut at_edge = finished_at + HALF + plan.finished.held;
    if plan.again > 0 && !plan.flight.lost {
        talk.again(C, finished_at + plan.again, start, &fin, OK);
        if plan.finished.lost {
            at_edge += plan.again;
        }
    }
    talk.ack(S, at_edge + 20_000, OK);
    talk.handshake()
}

/// A connection, and a ClientHello that the edge has heard, and acknowledged, by then.
fn heard(talk: &mut Talk) -> i64 {
    let hello_at = talk.connect(1_000 * MS) + MS;
    talk.data(C, hello_at, &client_hello(), OK);
    talk.ack(S, hello_at + HALF, OK);
    hello_at + HALF
}

/// The same, and the edge's flight, which the client has and has acknowledged by then.
fn flown(talk: &mut Talk, flight: &[u8]) -> i64 {
    let flight_at = heard(talk) + MS;
    talk.data(S, flight_at, flight, OK);
    let came = flight_at + HALF;
    talk.ack(C, came + 10_000, OK);
    came
}

/// The client has the flight, acknowledges it, and its Finished comes.
fn finishes(talk: &mut Talk, came: i64) {
    talk.ack(C, came + 10_000, OK);
    talk.data(C, came + MS, &finished13(), OK);
    talk.ack(S, came + MS + HALF + 20_000, OK);
}

/// The edge has ClientHello, acknowledges it, and all goes well from there.
fn goes_on(talk: &mut Talk, heard_at: i64) {
    talk.ack(S, heard_at + 10_000, OK);
    talk.data(S, heard_at + MS, &flight13(), OK);
    finishes(talk, heard_at + MS + HALF);
}

/// A ClientHello of more than a segment dies twice on its way, and comes in two pieces; gives when they left.
fn comes_in_pieces(talk: &mut Talk, hello_at: i64) -> i64 {
    let hello = long_client_hello(1_300);
    talk.data(C, hello_at, &hello, LOST);
    talk.again(C, hello_at + 300 * MS, 0, &hello, LOST);
    let again_at = hello_at + 900 * MS;
    let (begun, rest) = hello.split_at(800);
    talk.again(C, again_at, 0, begun, OK);
    talk.again(C, again_at, 800, rest, OK);
    again_at
}

/// A client that writes ChangeCipherSpec and Finished one by one, Nagle's algorithm on; the edge acknowledges late.
fn in_pieces(stall: i64, delayed_ack: i64) -> Handshake {
    let mut talk = Talk::new();
    let heard_at = heard(&mut talk);
    let flight = flight13();
    let flight_at = heard_at + MS;
    talk.data(S, flight_at, &flight, OK);
    let arrived = flight_at + HALF;
    talk.ack(C, arrived + 10_000, OK);
    let ccs_at = arrived + MS / 2 + stall;
    talk.data(C, ccs_at, &record(20, &[1]), OK);
    talk.ack(S, ccs_at + HALF + delayed_ack, OK);
    let finished_at = ccs_at + 2 * HALF + delayed_ack + 30_000;
    talk.data(C, finished_at, &record(23, &[0; 53]), OK);
    talk.ack(S, finished_at + HALF + 20_000, OK);
    talk.handshake()
}

fn both(handshake: &Handshake) -> (Reading, Judgement) {
    judged(handshake, walk::read(handshake).expect("the client's end shows a SYN"))
}

fn edge(handshake: &Handshake) -> (Reading, Judgement) {
    let seen = handshake.edge_side_only();
    let reading = walk::read(&seen).expect("the edge's end shows a SYN");
    judged(&seen, reading)
}

fn judged(handshake: &Handshake, mut reading: Reading) -> (Reading, Judgement) {
    reading.ledger.apply(&Baseline::default());
    let sum: Span = reading.ledger.entries.iter().map(|e| e.span).sum();
    assert_eq!(sum, reading.ledger.total, "the ledger sums to its total");
    let circumstances = Circumstances { capture_incomplete: handshake.capture_incomplete(), ..Circumstances::default() };
    let judgement = judge(&reading, circumstances);
    // Of both ends' captures the numbers here are the same.
    if handshake.client.is_none() || handshake.edge.is_none() {
        let cite = |number: u64| Citation { number, file: None };
        let said = explain(handshake, &reading, &judgement, &cite);
        let broken: Vec<String> = check(handshake, &reading, &judgement, &said).iter().map(ToString::to_string).collect();
        assert!(broken.is_empty(), "{said}\n{broken:#?}");
    }
    (reading, judgement)
}

fn labels(handshake: &Handshake) -> (String, String) {
    (both(handshake).1.verdict.label(), edge(handshake).1.verdict.label())
}

/// What a conversation is called by both captures, the client's and the edge's.
fn all_three(talk: &Talk) -> [String; 3] {
    let seen = talk.handshake();
    let read = |seen: &Handshake| {
        let (reading, _) = judged(seen, walk::read(seen).expect("its SYN was captured"));
        judge(&reading, Circumstances::of(seen)).verdict.label()
    };
    [read(&seen), read(&talk.at_client()), read(&seen.edge_side_only())]
}

/// Who may have had the most of the time that was left open, and what would tell.
fn open(reading: &Reading) -> (EnumSet<Owner>, EnumSet<Missing>) {
    let open = reading.ledger.entries.iter().filter(|e| e.owner_of_excess() == Owner::Unattributed);
    let most = open.max_by_key(|e| e.excess()).expect("something was left open");
    (most.candidates, most.missing)
}

fn of(reading: &Reading, owner: Owner) -> f64 {
    reading.ledger.of(owner).millis()
}

#[test]
fn a_healthy_handshake_is_healthy_from_either_view() {
    let handshake = tls13(Talk::new(), &Plan::default());
    assert_eq!(labels(&handshake), ("healthy".into(), "healthy".into()));
    assert_eq!(handshake.dialogue.version, Some(Version::Tls13));
    assert_eq!(handshake.dialogue.server_name.as_deref(), Some("edge.test"));
    let (reading, _) = both(&handshake);
    assert_eq!(reading.end, End::Complete);
    // Three round trips of 40 ms, although the clocks are an hour apart.
    assert!((of(&reading, Owner::Path) - 120.0).abs() < 0.1, "{}", of(&reading, Owner::Path));
}

#[test]
fn a_stalled_client_is_named_and_its_host_evidence_splits_it() {
    let plan = Plan { stall: 300 * MS, ..Plan::default() };
    let mut handshake = tls13(Talk::new(), &plan);
    assert_eq!(labels(&handshake), ("client".into(), "client".into()));
    let start = handshake.client.as_ref().expect("captured").packets[0].at;
    let at = |ms: i64| start + Span::from_millis(ms);
    // On a CPU until 80 ms, then throttled; the kernel credits the wait when it runs again at 383 ms.
    let sample = |at: Instant<Client>, cpu: u64, run_delay: u64, state| Sample { at, tid: 1, cpu, run_delay, state, steal: 0 };
    handshake.client_host = Some(HostTrace {
        nodelay: None,
        samples: vec![
            sample(at(0), 0, 0, 'S'),
            sample(at(82), 0, 0, 'R'),
            sample(at(200), 0, 0, 'R'),
            sample(at(381), 0, 0, 'R'),
            sample(at(384), 1_000_000, 300_000_000, 'R'),
        ],
    });
    let (reading, judgement) = both(&handshake);
    assert_eq!(judgement.verdict.label(), "client_host/cpu_starved");
    assert!(of(&reading, Owner::ClientHost) > 290.0);
}

#[test]
fn a_lost_finished_is_loss_from_both_ends_and_by_ip_id_from_the_edge() {
    let plan = Plan { finished: LOST, again: 250 * MS, ..Plan::default() };
    let handshake = tls13(Talk::new(), &plan);
    assert_eq!(labels(&handshake), ("loss/out".into(), "loss/out".into()));
    let (reading, _) = both(&handshake);
    assert!((of(&reading, Owner::Loss) - 250.0).abs() < 0.01);
    assert!(of(&reading, Owner::Client) < 3.0, "the wait is not the client's");
}

#[test]
fn without_ip_id_the_edge_alone_cannot_tell_a_stall_from_a_lost_finished() {
    for plan in [Plan { finished: LOST, again: 250 * MS, ..Plan::default() }, Plan { stall: 250 * MS, ..Plan::default() }] {
        let handshake = tls13(Talk::new().over_ipv6(), &plan);
        let (reading, judgement) = edge(&handshake);
        let Verdict::Inconclusive { candidates, missing, .. } = &judgement.verdict else { panic!("{:?}", judgement.verdict) };
        assert_eq!(open(&reading), (Owner::Client | Owner::Loss, Missing::ClientIpId | Missing::ClientCapture));
        assert_eq!((*candidates, *missing), (Owner::Client | Owner::Loss, Missing::ClientIpId | Missing::ClientCapture));
    }
    // From both ends the two are as clear as over IPv4.
    let lost = tls13(Talk::new().over_ipv6(), &Plan { finished: LOST, again: 250 * MS, ..Plan::default() });
    assert_eq!(both(&lost).1.verdict.label(), "loss/out");
}

#[test]
fn a_hold_after_the_acknowledgement_is_the_paths_where_timestamps_say_so() {
    let plan = Plan { finished: Fate { held: 300 * MS, lost: false }, ..Plan::default() };
    assert_eq!(labels(&tls13(Talk::new(), &plan)), ("path/delay".into(), "path/delay".into()));
    let mute = tls13(Talk::new().without_timestamps(), &plan);
    assert_eq!(labels(&mute), ("path/delay".into(), "inconclusive".into()));
}

#[test]
fn a_repetition_whose_first_copy_arrived_costs_nothing() {
    let plan = Plan { finished: Fate { held: 220 * MS, lost: false }, again: 210 * MS, ..Plan::default() };
    let (reading, judgement) = both(&tls13(Talk::new(), &plan));
    assert_eq!(judgement.verdict.label(), "path/delay", "delay, not loss");
    assert_eq!(reading.ledger.of(Owner::Loss), Span::ZERO);
}

#[test]
fn a_lost_segment_of_the_flight_is_loss_on_the_way_back() {
    let plan = Plan { flight: LOST, again: 230 * MS, ..Plan::default() };
    let handshake = tls13(Talk::new(), &plan);
    assert_eq!(labels(&handshake), ("loss/back".into(), "loss/back".into()));
    assert!((of(&both(&handshake).0, Owner::Loss) - 230.0).abs() < 0.01);
}

#[test]
fn a_slow_edge_is_the_edges_from_either_view() {
    let handshake = tls13(Talk::new(), &Plan { edge: 200 * MS, ..Plan::default() });
    assert_eq!(labels(&handshake), ("edge".into(), "edge".into()));
}

#[test]
fn two_culprits_are_both_named() {
    let plan = Plan { stall: 200 * MS, flight: LOST, again: 230 * MS, ..Plan::default() };
    let (_, judgement) = both(&tls13(Talk::new(), &plan));
    assert!(judgement.verdict.is("client + loss/back"), "{}", judgement.verdict.label());
}

#[test]
fn merged_and_reordered_arrivals_change_nothing() {
    let plan = Plan { stall: 300 * MS, ..Plan::default() };
    // GRO: the client's capture shows the two flight segments as one.
    let mut talk = Talk::new();
    let plain = tls13_into(&mut talk, &plan);
    let merged = {
        let tap = talk.client_tap();
        let flight: Vec<usize> = (0..tap.len()).filter(|i| tap[*i].1.len() > 600).collect();
        let (a, b) = (flight[0], flight[1]);
        let headers = 14 + 20 + 32;
        let tail = tap[b].1[headers..].to_vec();
        tap[a].1.extend(tail);
        let total = (tap[a].1.len() - 14) as u16;
        tap[a].1[16..18].copy_from_slice(&total.to_be_bytes());
        tap[a].0 = tap[b].0;
        tap.remove(b);
        talk.handshake()
    };
    let (a, b) = (both(&plain).0.ledger, both(&merged).0.ledger);
    assert_eq!(a.total, b.total);
    assert!((a.of(Owner::Client) - b.of(Owner::Client)).millis().abs() < 0.1);
    // Reordered on the way: the second segment first.
    let mut talk = Talk::new();
    tls13_into(&mut talk, &plan);
    let tap = talk.client_tap();
    let flight: Vec<usize> = (0..tap.len()).filter(|i| tap[*i].1.len() > 600).collect();
    tap[flight[0]].0 = tap[flight[1]].0 + 5_000;
    let reordered = talk.handshake();
    assert_eq!(both(&reordered).1.verdict.label(), "client");
    assert!(both(&reordered).0.ledger.of(Owner::Loss) == Span::ZERO);
}

/// Like [`tls13`], keeping the talk for changes.
fn tls13_into(talk: &mut Talk, plan: &Plan) -> Handshake {
    let taken = std::mem::replace(talk, Talk::new());
    let mut built = taken;
    let handshake = tls13_on(&mut built, plan);
    *talk = built;
    handshake
}

fn tls13_on(talk: &mut Talk, plan: &Plan) -> Handshake {
    let established = talk.connect(1_000 * MS);
    talk.data(C, established + MS, &client_hello(), OK);
    let flight_at = established + 2 * MS + HALF;
    talk.data(S, flight_at, &[server_hello([1; 32], &TLS13), record(23, &[0; 600])].concat(), OK);
    talk.data(S, flight_at + 1_000, &record(23, &[0; 700]), OK);
    let arrived = flight_at + 1_000 + HALF;
    talk.ack(C, arrived + 10_000, OK);
    talk.data(C, arrived + plan.stall, &finished13(), OK);
    talk.ack(S, arrived + plan.stall + HALF + 20_000, OK);
    talk.handshake()
}

#[test]
fn what_the_capture_lost_is_never_called_loss() {
    // The edge's capture misses the first Finished, which arrived: its repetition looks like the first.
    let mut talk = Talk::new();
    let _ = tls13_into(&mut talk, &Plan::default());
    let tap = talk.edge_tap();
    let finished = tap.iter().rposition(|(_, f)| f.len() > 14 + 20 + 32 + 50 && f[14 + 12 + 3] == 1).expect("it was sent");
    tap.remove(finished);
    let handshake = talk.handshake();
    assert!(handshake.capture_incomplete(), "the edge acknowledged bytes its capture never showed");
    let (_, judgement) = both(&handshake);
    assert!(!judgement.verdict.label().starts_with("loss"), "{}", judgement.verdict.label());
}

#[test]
fn tls12_full_resumed_and_a_retried_hello_are_read() {
    // Full: the server's Finished closes it.
    let full = |acknowledges: bool| {
        let mut talk = Talk::new();
        let t = talk.connect(0) + MS;
        talk.data(C, t, &client_hello(), OK);
        talk.data(S, t + HALF + MS, &[server_hello([1; 32], &[]), certificate_and_done()].concat(), OK);
        let t = t + 2 * HALF + MS;
        if acknowledges {
            talk.ack(C, t + 10_000, OK);
        }
        let t = t + 151 * MS;
        talk.data(C, t, &[record(22, &[16, 0, 0, 2, 0, 0]), finished12()].concat(), OK);
        talk.data(S, t + HALF + MS, &finished12(), OK);
        talk.ack(C, t + 2 * HALF + 2 * MS, OK);
        talk.handshake()
    };
    let plain = full(true);
    assert_eq!((plain.dialogue.version, plain.dialogue.resumed), (Some(Version::Tls12), false));
    assert_eq!(labels(&plain), ("client".into(), "client".into()));
    assert!(plain.dialogue.server_finished.is_some());
    // No kernel acknowledges nothing for so long: from the edge it may as well have been the way.
    let mute = full(false);
    assert_eq!(both(&mute).1.verdict.label(), "client");
    let (reading, judgement) = edge(&mute);
    assert_eq!(judgement.verdict.label(), "inconclusive");
    assert_eq!(judgement.candidates - Owner::ClientHost, Owner::Client | Owner::Path, "{judgement:?}");
    assert!(judgement.missing.contains(Missing::ClientCapture) && of(&reading, Owner::Edge) < 3.0);

    // Resumed: the server's ChangeCipherSpec comes first.
    let mut talk = Talk::new();
    let t = talk.connect(0) + MS;
    talk.data(C, t, &client_hello(), OK);
    talk.data(S, t + HALF + MS, &[server_hello([1; 32], &[]), finished12()].concat(), OK);
    talk.data(C, t + 2 * HALF + 2 * MS, &finished12(), OK);
    talk.ack(S, t + 3 * HALF + 2 * MS, OK);
    let resumed = talk.handshake();
    assert!(resumed.dialogue.resumed);
    assert_eq!(labels(&resumed), ("healthy".into(), "healthy".into()));

    // HelloRetryRequest: the extra round trip is the protocol's.
    let retry = {
        let mut random = [0; 32];
        random.copy_from_slice(&[
            0xCF, 0x21, 0xAD, 0x74, 0xE5, 0x9A, 0x61, 0x11, 0xBE, 0x1D, 0x8C, 0x02, 0x1E, 0x65, 0xB8, 0x91, 0xC2, 0xA2, 0x11,
            0x16, 0x7A, 0xBB, 0x8C, 0x5E, 0x07, 0x9E, 0x09, 0xE2, 0xC8, 0xA8, 0x33, 0x9C,
        ]);
        server_hello(random, &TLS13)
    };
    let mut talk = Talk::new();
    let t = talk.connect(0) + MS;
    talk.data(C, t, &client_hello(), OK);
    talk.data(S, t + HALF + MS, &[retry, record(20, &[1])].concat(), OK);
    let t = t + 2 * HALF + 2 * MS;
    talk.data(C, t, &[record(20, &[1]), client_hello()].concat(), OK);
    talk.data(S, t + HALF + MS, &[server_hello([1; 32], &TLS13), record(23, &[0; 900])].concat(), OK);
    let t = t + 2 * HALF + 2 * MS;
    talk.data(C, t, &record(23, &[0; 53]), OK);
    talk.ack(S, t + HALF, OK);
    let retried = talk.handshake();
    assert!(retried.dialogue.hello_retry.is_some() && retried.dialogue.client_finished.is_some());
    let (reading, judgement) = both(&retried);
    assert!(reading.ledger.entries.iter().any(|e| e.kind == Some(Kind::HelloRetry)));
    assert_eq!(judgement.verdict.label(), "protocol/hello_retry");
}

#[test]
fn a_finished_held_by_nagle_is_the_protocols_not_a_sleeping_clients() {
    let handshake = in_pieces(0, 40 * MS);
    assert_eq!(labels(&handshake), ("protocol/nagle".into(), "protocol/nagle".into()));
    let (reading, _) = both(&handshake);
    assert!((of(&reading, Owner::Protocol) - 80.0).abs() < 0.2, "a round trip and the delayed acknowledgement: {reading:?}");
}

#[test]
fn a_stall_shows_through_nagle_and_only_the_stall_is_blamed() {
    let handshake = in_pieces(60 * MS, 40 * MS);
    assert_eq!(labels(&handshake), ("client".into(), "client".into()));
    for reading in [both(&handshake).0, edge(&handshake).0] {
        assert!((of(&reading, Owner::Client) - 61.0).abs() < 2.5, "{reading:?}");
    }
}

#[test]
fn a_finished_held_behind_a_lost_piece_is_loss() {
    // The loss probe sends Finished 245 ms after ChangeCipherSpec was lost; that is repeated when SACK asks for it.
    let mut talk = Talk::new();
    let arrived = flown(&mut talk, &flight13());
    let ccs = record(20, &[1]);
    let end = talk.data(C, arrived + MS / 2, &ccs, LOST);
    let probe_at = arrived + 245 * MS;
    talk.data(C, probe_at, &record(23, &[0; 53]), OK);
    let again_at = probe_at + 2 * HALF + 30_000;
    talk.again(C, again_at, end - ccs.len() as i64, &ccs, OK);
    talk.ack(S, again_at + HALF + 20_000, OK);
    let handshake = talk.handshake();
    let (reading, judgement) = both(&handshake);
    assert_eq!(judgement.verdict.label(), "loss/out");
    // At the edge a client that wrote both 245 ms late, and lost the first, looks alike.
    assert_eq!(edge(&handshake).1.candidates, Owner::Client | Owner::Loss);
    assert!((of(&reading, Owner::Loss) - 284.5).abs() < 0.2 && of(&reading, Owner::Client) < 3.0, "{reading:?}");
}

#[test]
fn a_counter_of_the_whole_host_is_no_witness_of_loss() {
    // A step of two may be another connection's packet.
    let plan = Plan { finished: LOST, again: 200 * MS, ..Plan::default() };
    assert_eq!(edge(&tls13(Talk::new(), &plan)).1.verdict.label(), "loss/out");
    let (_, judgement) = edge(&tls13(Talk::new().with_ttl(120), &plan));
    assert_eq!(judgement.verdict.label(), "inconclusive");
    assert!(judgement.candidates.contains(Owner::Client) && judgement.candidates.contains(Owner::Loss), "{judgement:?}");
}

#[test]
fn a_warning_ends_nothing_and_a_fatal_alert_does() {
    // unrecognized_name, as OpenSSL sends it before a ServerHello in the same record layer.
    let talk = |alert: [u8; 2]| {
        let mut talk = Talk::new();
        let t = talk.connect(0) + MS;
        talk.data(C, t, &client_hello(), OK);
        talk.data(S, t + HALF + MS, &[record(21, &alert), server_hello([1; 32], &[]), certificate_and_done()].concat(), OK);
        let t = t + 2 * HALF + 2 * MS;
        talk.data(C, t, &[record(22, &[16, 0, 0, 2, 0, 0]), finished12()].concat(), OK);
        talk.data(S, t + HALF + MS, &finished12(), OK);
        talk.ack(C, t + 2 * HALF + 2 * MS, OK);
        talk.handshake().dialogue
    };
    let warned = talk([1, 112]);
    assert_eq!((warned.version, warned.server_alert), (Some(Version::Tls12), None));
    assert!(warned.server_hello_done.is_some() && warned.server_finished.is_some(), "{warned:?}");
    assert!(talk([2, 40]).server_alert.is_some());

    // A warning behind which nothing comes.
    let mut alone = Talk::new();
    let t = alone.connect(0) + MS;
    alone.data(C, t, &client_hello(), OK);
    alone.data(S, t + HALF + MS, &record(21, &[1, 112]), OK);
    assert!(alone.handshake().dialogue.server_alert.is_some());
}

#[test]
fn slow_timestamps_tell_as_much_as_quick_ones_where_pauses_show_them() {
    // Every 4 ms, as Linux before 4.13 with its usual timer.
    let stalled = tls13(Talk::new().ticking(4), &Plan { stall: 150 * MS, ..Plan::default() });
    assert_eq!(labels(&stalled), ("client".into(), "client".into()));
    let held = tls13(Talk::new().ticking(4), &Plan { finished: Fate { held: 150 * MS, ..OK }, ..Plan::default() });
    assert_eq!(labels(&held), ("path/delay".into(), "path/delay".into()));
}

#[test]
fn a_clock_that_was_set_is_told_from_timestamps_that_tick_slowly() {
    for tick in [1, 4, 10] {
        let mut talk = Talk::new().ticking(tick);
        let plan = Plan { stall: 400 * MS, ..Plan::default() };
        assert_eq!(own_step(tls13_on(&mut talk, &plan).edge.as_ref().expect("it was seen")), None, "{tick} ms");
        // Set by 300 ms when the flight has left.
        let set_at = 1_000 * MS + 4 * HALF;
        for (at, _) in talk.edge_tap() {
            *at += if *at > set_at { 300 * MS } else { 0 };
        }
        let step = own_step(talk.handshake().edge.as_ref().expect("it was seen"));
        assert!(step.is_some_and(|step| (step.by.millis() - 300.0).abs() < 25.0), "{tick} ms: {step:?}");
    }
}

#[test]
fn what_waits_for_a_repair_is_lost_the_same_way() {
    let mut talk = Talk::new();
    let t = talk.connect(0) + MS;
    talk.data(C, t, &client_hello(), OK);
    let flight_at = t + HALF + MS;
    let pieces = [
        [server_hello([1; 32], &TLS13), record(20, &[1]), record(23, &[0; 1_100])].concat(),
        record(23, &[0; 1_300]),
        record(23, &[0; 1_300]),
    ];
    talk.data(S, flight_at, &pieces[0], LOST);
    talk.data(S, flight_at + 1_000, &pieces[1], OK);
    let again_at = flight_at + 230 * MS;
    talk.again(S, again_at, 0, &pieces[0], OK);
    // Its acknowledgement lets the rest go.
    talk.ack(C, again_at + HALF, OK);
    let rest_at = again_at + 2 * HALF + 50_000;
    talk.data(S, rest_at, &pieces[2], OK);
    let finished_at = rest_at + HALF + MS;
    talk.data(C, finished_at, &finished13(), OK);
    talk.ack(S, finished_at + HALF, OK);
    let (reading, judgement) = both(&talk.handshake());
    assert_eq!(judgement.verdict.label(), "loss/back");
    // The timer, and the round trip that only the repair asked for.
    assert!((of(&reading, Owner::Loss) - 270.0).abs() < 0.2, "{reading:?}");
    let mut lost = reading.ledger.entries.iter().filter(|e| e.owner == Owner::Loss);
    assert!(lost.all(|e| e.kind == Some(Kind::Back)), "{reading:?}");
}

#[test]
fn one_direction_tells_nobodys_waiting_from_anybodys_answer() {
    let one_way = |last: usize| {
        let mut talk = Talk::new();
        talk.connect(1_000 * MS);
        talk.data(C, 1_000 * MS + 2 * HALF + MS, &client_hello(), OK);
        // What came from the client, the first `last` packets of it.
        let taken = talk.edge_tap();
        taken.retain(|(_, frame)| frame[26..30] == [10, 0, 0, 1]);
        taken.truncate(last);
        walk::read(&talk.handshake().edge_side_only()).is_some()
    };
    assert!(one_way(1), "nobody may have answered a SYN");
    assert!(!one_way(2), "what is acknowledged was answered, and the answer was not captured");
    assert!(!one_way(3));
}

#[test]
fn an_acknowledgement_that_is_lost_before_a_stall_does_not_make_it_a_loss() {
    let stalled = |lost: Fate| {
        let mut talk = Talk::new();
        let heard_at = heard(&mut talk);
        let flight = flight13();
        let flight_at = heard_at + MS;
        talk.data(S, flight_at, &flight[..500], OK);
        talk.ack(C, flight_at + HALF + 10_000, lost);
        talk.data(S, flight_at + 100_000, &flight[500..], OK);
        talk.ack(C, flight_at + HALF + 110_000, OK);
        let finished_at = flight_at + HALF + 300 * MS;
        talk.data(C, finished_at, &finished13(), OK);
        talk.ack(S, finished_at + HALF + 20_000, OK);
        labels(&talk.handshake())
    };
    assert_eq!(stalled(OK), ("client".into(), "client".into()));
    assert_eq!(stalled(LOST), ("client".into(), "client".into()));
}
