//! What one capture alone can know, and what it leaves open: the client's for the most part.

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
    let flight = flight13();
    talk.data(S, flight_at, &flight, Fate { held, ..OK });
    let finished_at = flight_at + HALF + held + MS;
    talk.data(C, finished_at, &finished13(), OK);
    talk.ack(S, finished_at + HALF, OK);
    talk
}

/// Kept as files, as those of [`super::golden`].
#[test]
fn readings_of_the_clients_capture_are_as_they_were() {
    let cases = [("client-healthy", 0, 0), ("client-late-acknowledgement", 60, 0), ("client-flight-held", 0, 300)];
    for (name, late, held) in cases {
        let seen = answered(late * MS, held * MS).at_client();
        insta::assert_json_snapshot!(name, super::golden::opinion(&seen, read(&seen)));
    }
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

#[test]
fn what_goes_on_in_another_language_behind_a_server_hello_is_no_tls() {
    let talk = |client: &[u8], server: &[u8]| {
        let mut talk = Talk::new();
        let t = talk.connect(0) + MS;
        talk.data(C, t, &client_hello(), OK);
        talk.data(S, t + HALF + MS, &server_hello([1; 32], &[]), OK);
        let t = t + 2 * HALF + 2 * MS;
        talk.data(C, t, client, OK);
        talk.data(S, t + HALF + MS, server, OK);
        talk.fin(C, t + 60_000 * MS);
        talk.at_client()
    };
    // As one messenger does, to look like TLS: no record has such a header.
    let handshake = talk(&[0x11; 42], &[0x96; 66]);
    assert!(handshake.is_not_tls());
    let (reading, judgement) = read(&handshake);
    assert_eq!((reading.end, judgement.verdict.label().as_str()), (End::NotTls, "healthy"));
    assert!(!talk(&record(22, &[16; 60]), &[]).is_not_tls());
}

/// What the edge's capture says of a Finished of which it saw no first copy, sent again `again` behind it; an acknowledgement of the
/// client's meanwhile bears a number behind it, or there is none.
fn finished_again(again: i64, meanwhile: bool) -> String {
    let mut talk = Talk::new();
    let t = talk.connect(0) + MS;
    talk.data(C, t, &client_hello(), OK);
    talk.ack(S, t + HALF, OK);
    let flight = flight13();
    talk.data(S, t + HALF + MS, &flight, OK);
    let t = t + 2 * HALF + 2 * MS;
    talk.ack(C, t, OK);
    let start = client_hello().len() as i64;
    talk.data(C, t, &finished13(), LOST);
    if meanwhile {
        talk.ack(C, t + 5 * MS, OK);
    }
    talk.again(C, t + again, start, &finished13(), OK);
    talk.ack(S, t + again + HALF, OK);
    let seen = talk.handshake().edge_side_only();
    judged(&seen, walk::read(&seen).expect("the edge's end shows a SYN")).1.verdict.label()
}

#[test]
fn a_number_behind_it_tells_that_it_had_been_sent_before() {
    assert_eq!(finished_again(36 * MS, true), "loss/out", "however soon it comes again");
    assert_eq!(finished_again(36 * MS, false), "client", "nothing else shows that one was lost: nobody repeats so soon");
}

/// What the edge's capture says of a client over IPv6 whose flight comes in two pieces, so far apart.
fn in_two_pieces(apart: i64) -> String {
    let mut talk = Talk::new().over_ipv6();
    let t = talk.connect(0) + MS;
    talk.data(C, t, &client_hello(), OK);
    talk.ack(S, t + HALF, OK);
    let flight = flight13();
    talk.data(S, t + HALF + MS, &flight, OK);
    let t = t + 2 * HALF + 2 * MS;
    talk.ack(C, t, OK);
    let finished = finished13();
    let (first, second) = finished.split_at(30);
    talk.data(C, t, first, OK);
    talk.data(C, t + apart, second, OK);
    talk.ack(S, t + apart + HALF, OK);
    let seen = talk.handshake().edge_side_only();
    judged(&seen, walk::read(&seen).expect("the edge's end shows a SYN")).1.verdict.label()
}

#[test]
fn the_tail_of_a_flight_two_round_trips_late_may_be_a_loss_probe() {
    assert_eq!(in_two_pieces(84 * MS), "inconclusive");
    assert_eq!(in_two_pieces(60 * MS), "client", "no probe is sent so soon");
    assert_eq!(in_two_pieces(120 * MS), "client", "nor so late");
}

#[test]
fn nobody_waits_for_the_acknowledgement_of_finished() {
    // Finished takes so much longer to come, and its acknowledgement to come back, as the edge's timestamps tell.
    let held = |out: i64, back: i64| {
        let mut talk = Talk::new();
        let hello_at = talk.connect(0) + MS;
        talk.data(C, hello_at, &client_hello(), OK);
        let flight_at = hello_at + HALF + MS;
        talk.data(S, flight_at, &flight13(), OK);
        let finished_at = flight_at + HALF + MS;
        talk.data(C, finished_at, &finished13(), Fate { held: out, ..OK });
        talk.ack(S, finished_at + HALF + out, Fate { held: back, ..OK });
        let mut at_client = talk.at_client();
        at_client.client_pulse = (0..300).map(|beat| Instant::from_nanos(beat * 2 * MS)).collect();
        let both = talk.handshake();
        let both = judged(&both, walk::read(&both).expect("both ends")).1.verdict.label();
        (read(&at_client).1.verdict.label(), both)
    };
    let label = |label: &str| (label.to_owned(), label.to_owned());
    assert_eq!(held(0, 0), label("healthy"));
    assert_eq!(held(0, 160 * MS), label("healthy"));
    // From the client's end alone, the edge may have been late to acknowledge it.
    assert_eq!(held(160 * MS, 0), ("inconclusive".to_owned(), "path/delay".to_owned()));
}

#[test]
fn what_follows_a_hello_that_nobody_answers_and_is_no_tls_makes_it_none() {
    // As Skype does: 25 bytes behind ClientHello, sent again until the client closes; the edge answers the last copy, too late.
    let mut talk = Talk::new();
    let t = talk.connect(0) + MS;
    let start = talk.data(C, t, &client_hello(), OK);
    talk.ack(S, t + HALF, OK);
    talk.data(C, t + 42 * MS, &[0x5a; 25], LOST);
    talk.again(C, t + 600 * MS, start, &[0x5a; 25], LOST);
    talk.fin(C, t + 2_000 * MS);
    talk.again(C, t + 8_000 * MS, start, &[0x5a; 25], OK);
    talk.data(S, t + 8_000 * MS + HALF, &[0x17; 60], OK);
    let (reading, judgement) = client(&talk);
    assert_eq!(reading.end, End::NotTls);
    assert!(reading.ledger.total < Span::from_millis(2_100), "it waited until it closed: {}", reading.ledger.total);
    assert!(!reading.ledger.entries.iter().any(|e| e.phase.label() == "client_finished"), "{:?}", reading.ledger);
    assert!(judgement.candidates.contains(Owner::Loss), "{judgement:?}");
}

/// A handshake that its client leaves so long after ClientHello; the flight comes a round trip behind that, and a reset answers it.
fn left(after: i64) -> Talk {
    let mut talk = Talk::new();
    let hello_at = talk.connect(1_000 * MS) + MS;
    talk.data(C, hello_at, &client_hello(), OK);
    talk.fin(C, hello_at + after);
    let flight = flight13();
    talk.data(S, hello_at + HALF + 30 * MS, &flight, OK);
    talk
}

#[test]
fn what_comes_behind_its_own_close_an_end_did_not_wait_for() {
    let total = |after: i64| {
        let (reading, _) = client(&left(after));
        assert!(matches!(reading.end, End::Stopped { .. }), "{:?}", reading.end);
        reading.ledger.total
    };
    let begun = Span::from_nanos(2 * HALF + MS / 10 + MS);
    for after in [3 * MS, 40 * MS] {
        assert_eq!(total(after), begun + Span::from_nanos(after));
    }
}
