//! What the client's capture alone can know, and what it leaves open.

use whostalled_analysis::conversation::settle::Progress;
use whostalled_analysis::conversation::walk;
use whostalled_analysis::tcp::table::FlowTable;
use whostalled_analysis::wire::packet::{LinkType, Transport, decode};

use super::*;

fn read(seen: &Handshake) -> (Reading, Judgement) {
    judged(seen, walk::read(seen).expect("the client's end shows a SYN"))
}

fn client(talk: &Talk) -> (Reading, Judgement) {
    read(&talk.at_client())
}

/// ClientHello, acknowledged `late`; a flight that takes `held` longer to come; Finished and its acknowledgement.
fn answered(late: i64, held: i64) -> Talk {
    let mut talk = Talk::new();
    let hello_at = talk.connect(0) + MS;
    talk.data(C, hello_at, &client_hello(), OK);
    talk.ack(S, hello_at + HALF + late, OK);
    let flight_at = hello_at + HALF + late + MS;
    let flight = [server_hello([1; 32], &TLS13), record(20, &[1]), record(23, &[0; 900])].concat();
    talk.data(S, flight_at, &flight, Fate { held, ..OK });
    let finished_at = flight_at + HALF + held + MS;
    talk.data(C, finished_at, &finished13(), OK);
    talk.ack(S, finished_at + HALF, OK);
    talk
}

#[test]
fn a_late_acknowledgement_may_be_the_ways_or_the_edges() {
    assert_eq!(client(&answered(0, 0)).1.verdict, Verdict::Healthy);
    let (_, judgement) = client(&answered(60 * MS, 0));
    assert_eq!(judgement.verdict.label(), "inconclusive");
    assert_eq!(judgement.candidates, Owner::Path | Owner::Edge);
}

#[test]
fn what_came_late_was_on_its_way_only_if_the_host_was_awake() {
    let mut seen = answered(0, 120 * MS).at_client();
    let (reading, judgement) = read(&seen);
    assert_eq!(judgement.verdict.label(), "inconclusive");
    assert_eq!(open(&reading), (Owner::Path | Owner::Client, Missing::ClientHost.into()));
    assert_eq!((judgement.candidates, judgement.missing), (Owner::Path | Owner::Client, Missing::ClientHost.into()));
    // Other packets were captured all the while.
    seen.client_pulse = (0..200).map(|beat| Instant::from_nanos(beat * 2 * MS)).collect();
    assert_eq!(read(&seen).1.verdict.label(), "path/delay");
    // All but when the flight was due.
    seen.client_pulse.retain(|at| !(90 * MS..190 * MS).contains(&at.nanos()));
    assert_eq!(read(&seen).1.verdict.label(), "inconclusive");
}

#[test]
fn the_flight_of_a_resumed_session_ends_with_finished_whatever_answers_early_data() {
    let psk = [&TLS13[..], &[0, 41, 0, 2, 0, 0]].concat();
    let flight = |finished: &[u8]| [server_hello([1; 32], &psk), record(23, &[0; 22]), finished.to_vec()].concat();
    // EncryptedExtensions and Finished in a record each; in one.
    for whole in [flight(&record(23, &[0; 53])), [server_hello([1; 32], &psk), record(23, &[0; 75])].concat()] {
        let mut talk = Talk::new();
        let t = talk.connect(0) + MS;
        talk.data(C, t, &client_hello(), OK);
        let end = talk.data(S, t + HALF + MS, &whole, OK);
        talk.data(S, t + HALF + 30 * MS, &record(23, &[0; 900]), OK);
        let t = t + 2 * HALF + 40 * MS;
        talk.data(C, t, &finished13(), OK);
        talk.ack(S, t + HALF, OK);
        let dialogue = talk.at_client().dialogue;
        assert!(dialogue.resumed);
        assert_eq!(dialogue.server_flight.map(|flight| flight.end), Some(end));
        assert_eq!(dialogue.first_response.map(|response| response.start), Some(end));
    }
}

#[test]
fn a_repeated_finished_was_lost_and_a_repeated_hello_perhaps_not_wanted() {
    let repeated = |hello: bool| {
        let mut talk = Talk::new();
        let t = talk.connect(0) + MS;
        let fate = |lost| if lost { LOST } else { OK };
        talk.data(C, t, &client_hello(), fate(hello));
        let taken = if hello { t + 300 * MS } else { t };
        if hello {
            talk.again(C, taken, 0, &client_hello(), OK);
        }
        talk.ack(S, taken + HALF, OK);
        talk.data(S, taken + HALF + MS, &[server_hello([1; 32], &TLS13), record(23, &[0; 900])].concat(), OK);
        let t = taken + 2 * HALF + 2 * MS;
        let start = client_hello().len() as i64;
        talk.data(C, t, &finished13(), fate(!hello));
        let taken = if hello { t } else { t + 300 * MS };
        if !hello {
            talk.again(C, taken, start, &finished13(), OK);
        }
        talk.ack(S, taken + HALF, OK);
        client(&talk)
    };
    assert_eq!(repeated(false).1.verdict.label(), "loss/out");
    let (reading, judgement) = repeated(true);
    assert_eq!(judgement.verdict.label(), "inconclusive");
    assert_eq!(open(&reading), (Owner::Loss | Owner::EdgeHost, Missing::EdgeCapture.into()));
    assert_eq!(judgement.candidates, Owner::Loss | Owner::EdgeHost);
}

#[test]
fn the_echoed_timestamp_tells_a_late_copy_from_a_lost_one() {
    let acknowledged = |first: bool| {
        let mut talk = Talk::new();
        let t = talk.connect(0) + MS;
        talk.data(C, t, &client_hello(), OK);
        talk.ack(S, t + HALF, OK);
        talk.data(S, t + HALF + MS, &[server_hello([1; 32], &TLS13), record(23, &[0; 900])].concat(), OK);
        let (t, start) = (t + 2 * HALF + 2 * MS, client_hello().len() as i64);
        talk.data(C, t, &finished13(), LOST);
        talk.again(C, t + 250 * MS, start, &finished13(), OK);
        talk.ack_of(S, t + 250 * MS + HALF, if first { t } else { t + 250 * MS });
        client(&talk).1.verdict.label()
    };
    assert_eq!(acknowledged(false), "loss/out");
    assert_eq!(acknowledged(true), "inconclusive");
}

#[test]
fn only_what_some_path_may_refuse_for_its_size_dies_of_it() {
    let lost = |bytes: usize| {
        let mut talk = Talk::new();
        let t = talk.connect(0) + MS;
        talk.data(C, t, &client_hello(), OK);
        talk.ack(S, t + HALF, OK);
        talk.fin(C, t + 9_000 * MS); // it never had a byte to acknowledge
        let flight = [server_hello([1; 32], &TLS13), record(23, &vec![0; bytes])].concat();
        talk.data(S, t + HALF + MS, &flight[..bytes], LOST);
        talk.data(S, t + HALF + MS, &flight[bytes..], OK);
        client(&talk).1.verdict.label()
    };
    assert_eq!(lost(1_400), "path/mtu_blackhole");
    assert_eq!(lost(79), "inconclusive");
}

#[test]
fn what_comes_again_behind_both_fins_is_read() {
    let mut talk = Talk::new();
    let t = talk.connect(0) + MS;
    talk.data(C, t, &client_hello(), OK);
    talk.fin(C, t + 90 * MS); // it has not had a byte to acknowledge
    let flight = [server_hello([1; 32], &TLS13), record(23, &[0; 60])].concat();
    talk.data(S, t + HALF + MS, &flight, LOST);
    talk.fin(S, t + HALF + 2 * MS);
    talk.again(S, t + 400 * MS, 0, &flight, OK);
    talk.client_tap().sort_by_key(|(at, _)| *at);
    let mut table = FlowTable::<Client>::default();
    for (number, (at, frame)) in (1..).zip(talk.client_tap().iter()) {
        let Ok(Transport::Tcp(segment)) = decode(LinkType::Ethernet, frame) else {
            panic!("the builder wrote what cannot be read")
        };
        let slot = table.push(Instant::from_nanos(*at), number, &segment).expect("the connection is watched");
        assert_eq!(table.view(slot).expect("it is there").progress(), Progress::Going, "packet {number}");
    }
    assert!(talk.at_client().dialogue.server_hello.is_some());
}
