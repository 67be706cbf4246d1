//! A flight larger than its window, of which the acknowledgements are lost, late, or not given: a loss probe takes new data along.

use super::*;

const FULL: usize = 1_448;

/// Ten segments leave at once and what follows waits for news of them; the client acknowledges `late` and that has this fate; the probe
/// leaves two round trips and a little behind the ten.
fn probed(late: i64, fate: Fate) -> Talk {
    let mut talk = Talk::new();
    let heard_at = heard(&mut talk);
    let flight_at = heard_at + MS;
    let hello = [server_hello([1; 32], &TLS13), record(20, &[1])].concat();
    let flight = [hello, record(23, &vec![0; 11 * FULL])].concat();
    let mut pieces = flight.chunks(FULL);
    for (n, piece) in pieces.by_ref().take(10).enumerate() {
        talk.data(S, flight_at + n as i64 * 1_000, piece, OK);
    }
    let acked = flight_at + 9_000 + HALF + 10_000 + late;
    let probe_at = flight_at + 9_000 + 4 * HALF + 4 * MS;
    // Two acknowledgements, as segments come in pairs.
    talk.ack(C, acked, fate);
    talk.ack(C, acked + 1_000, fate);
    talk.data(S, probe_at, pieces.next().expect("there is more"), OK);
    talk.ack(C, probe_at + HALF + 10_000, OK);
    let rest_at = probe_at + 2 * HALF + 30_000;
    for (n, piece) in pieces.enumerate() {
        talk.data(S, rest_at + n as i64 * 1_000, piece, OK);
    }
    let came = rest_at + 2_000 + HALF;
    talk.ack(C, came, OK);
    talk.data(C, came + MS, &finished13(), OK);
    talk.ack(S, came + MS + HALF + 20_000, OK);
    talk
}

#[test]
fn who_kept_an_acknowledgement_is_named_where_both_ends_show_it() {
    let held = Fate { held: 70 * MS, ..OK };
    // What left two round trips later came, and it did not.
    let behind_the_probe = 2 * HALF + 2 * HALF + 5 * MS;
    for (late, fate, label) in
        [(0, LOST, "loss/out"), (0, held, "path/delay"), (70 * MS, OK, "client"), (behind_the_probe, OK, "client")]
    {
        let handshake = probed(late, fate).handshake();
        let (reading, judgement) = both(&handshake);
        assert_eq!(judgement.verdict.label(), label, "{reading:?}");
        // The probe's wait without the round trip that the window cost in any case.
        let beyond = 4.0 + 2.0 * 20.0;
        let named = judgement.parts.iter().filter(|p| p.owner != Owner::Protocol).map(|p| p.excess.millis()).sum::<f64>();
        assert!((named - beyond).abs() < 5.0, "{label}: {named}");
    }
}

#[test]
fn from_one_end_an_overdue_acknowledgement_is_not_the_protocols() {
    let handshake = probed(0, LOST).handshake();
    let judgement = edge(&handshake).1;
    assert_eq!(judgement.verdict.label(), "inconclusive");
    assert_eq!(judgement.candidates, Owner::Client | Owner::Path | Owner::Loss);
}

/// ServerHello leaves by itself, Nagle's algorithm holds the rest, the client's kernel puts its acknowledgement off by so much; the timer
/// runs out a round trip and 200 ms behind ServerHello.
fn put_off(by: i64) -> Talk {
    let mut talk = Talk::new();
    let flight_at = heard(&mut talk) + MS;
    talk.data(S, flight_at, &server_hello([1; 32], &TLS13), OK);
    talk.ack(C, flight_at + HALF + by, OK);
    let probe_at = flight_at + 2 * HALF + 200 * MS;
    talk.data(S, probe_at, &[record(20, &[1]), record(23, &[0; 900])].concat(), OK);
    let came = probe_at + HALF;
    finishes(&mut talk, came);
    talk
}

#[test]
fn what_a_kernel_may_put_off_is_nobodys_stall() {
    for (by, label) in [(205 * MS, "protocol/nagle"), (600 * MS, "client")] {
        let (reading, judgement) = both(&put_off(by).handshake());
        assert_eq!(judgement.verdict.label(), label, "{reading:?}");
    }
}

/// The client writes ChangeCipherSpec, which comes; the edge's acknowledgement has this fate. The client repeats it, and with the
/// acknowledgement of that (or the first, if it comes sooner) goes Finished.
fn repeated(fate: Fate) -> Talk {
    let mut talk = Talk::new();
    let said_at = flown(&mut talk, &flight13()) + MS;
    let change = record(20, &[1]);
    let end = talk.data(C, said_at, &change, OK);
    talk.ack(S, said_at + HALF + 20_000, fate);
    let again_at = said_at + 2 * HALF + 200 * MS;
    talk.again(C, again_at, end - change.len() as i64, &change, OK);
    talk.ack(S, again_at + HALF + 20_000, OK);
    let heard_at = if fate.lost { again_at + 2 * HALF + 20_000 } else { said_at + 2 * HALF + fate.held + 20_000 };
    talk.data(C, heard_at + 10_000, &record(23, &[0; 53]), OK);
    talk.ack(S, heard_at + HALF + 30_000, OK);
    talk
}

#[test]
fn what_came_and_was_repeated_was_not_lost_its_acknowledgement_was() {
    let late = Fate { held: 215 * MS, ..OK };
    for (fate, label) in [(LOST, "loss/back"), (late, "path/delay")] {
        let handshake = repeated(fate).handshake();
        let (reading, judgement) = both(&handshake);
        assert_eq!(judgement.verdict.label(), label, "{reading:?}");
        // From the edge alone: it acknowledged, and cannot know whether that came.
        let edge = edge(&handshake).1;
        assert_eq!(edge.verdict.label(), "inconclusive", "{label}");
        assert_eq!(edge.candidates, Owner::Client | Owner::Path | Owner::Loss, "{label}");
    }
}

#[test]
fn an_echo_tells_whether_an_acknowledgement_was_heard() {
    for heard in [false, true] {
        let mut talk = Talk::new();
        let flight_at = heard_and_flown(&mut talk);
        let said_at = flight_at + HALF + MS;
        talk.data_behind(C, said_at, flight_at, &record(20, &[1]));
        let told_at = said_at + HALF + 20_000;
        talk.ack(S, told_at, if heard { OK } else { LOST });
        let rest_at = said_at + 2 * HALF + 200 * MS;
        talk.data_behind(C, rest_at, if heard { told_at } else { flight_at }, &record(23, &[0; 53]));
        talk.ack(S, rest_at + HALF + 20_000, OK);
        let judgement = edge(&talk.handshake()).1;
        if heard {
            assert_eq!(judgement.verdict.label(), "client", "its program wrote the rest late");
        } else {
            assert_eq!(judgement.verdict.label(), "inconclusive");
            assert_eq!(judgement.candidates, Owner::Client | Owner::Path | Owner::Loss);
        }
    }
}

/// A flight that the client has acknowledged: when it left.
fn heard_and_flown(talk: &mut Talk) -> i64 {
    flown(talk, &flight13()) - HALF
}

#[test]
fn an_edge_that_only_repeats_its_syn_ack_may_have_a_full_queue() {
    let candidates = |full: bool| {
        let mut talk = Talk::new();
        let said_at = talk.connect(1_000 * MS) + MS;
        let hello = client_hello();
        talk.data(C, said_at, &hello, if full { OK } else { LOST });
        for again in [250, 750, 1_750] {
            talk.again(C, said_at + again * MS, 0, &hello, if full { OK } else { LOST });
        }
        talk.syn_ack_again(said_at + 1_000 * MS);
        talk.ack(C, said_at + 1_000 * MS + HALF + 20_000, OK);
        talk.fin(C, said_at + 3_000 * MS);
        let seen = talk.at_client();
        judged(&seen, walk::read(&seen).expect("its SYN was captured")).1.candidates
    };
    for full in [true, false] {
        let candidates = candidates(full);
        assert!(candidates.contains(Owner::Edge) && candidates.contains(Owner::Loss), "{full}: {candidates:?}");
    }
}

/// The path holds the ten segments; the probe comes with them, and the rest once they are acknowledged.
fn held_back(held: i64) -> Talk {
    let mut talk = Talk::new();
    let flight_at = heard(&mut talk) + MS;
    let hello = [server_hello([1; 32], &TLS13), record(20, &[1])].concat();
    let flight = [hello, record(23, &vec![0; 11 * FULL])].concat();
    let mut pieces = flight.chunks(FULL);
    let late = Fate { held, ..OK };
    for (n, piece) in pieces.by_ref().take(10).enumerate() {
        talk.data(S, flight_at + n as i64 * 1_000, piece, late);
    }
    let probe_at = flight_at + 9_000 + 4 * HALF + 4 * MS;
    let came = flight_at + 9_000 + HALF + held + 10_000;
    let probe_held = came + 20_000 - probe_at - HALF;
    talk.data(S, probe_at, pieces.next().expect("there is more"), Fate { held: probe_held, ..OK });
    talk.ack(C, came + 30_000, OK);
    let rest_at = came + 30_000 + HALF + 10_000;
    for (n, piece) in pieces.enumerate() {
        talk.data(S, rest_at + n as i64 * 1_000, piece, OK);
    }
    let all = rest_at + 2_000 + HALF;
    talk.ack(C, all, OK);
    talk.data(C, all + MS, &finished13(), OK);
    talk.ack(S, all + MS + HALF + 20_000, OK);
    talk
}

#[test]
fn a_probe_that_comes_with_what_the_path_held_is_no_pause_of_the_edges() {
    let talk = held_back(200 * MS);
    let of_both = both(&talk.handshake()).1.verdict.label();
    assert!(of_both.starts_with("path"), "{of_both}");
    let seen = talk.at_client();
    let reading = walk::read(&seen).expect("the client's end shows a SYN");
    let judgement = judged(&seen, reading).1;
    assert_eq!(judgement.verdict.label(), "inconclusive");
    assert!(judgement.candidates.is_superset(Owner::Path | Owner::Edge), "{:?}", judgement.candidates);
}

#[test]
fn what_was_lost_and_therefore_not_acknowledged_is_a_loss() {
    // ChangeCipherSpec is lost; Nagle's algorithm holds Finished until a loss probe takes it along, which is lost, too.
    let mut talk = Talk::new();
    let came = flown(&mut talk, &flight13());
    let start = client_hello().len() as i64;
    talk.data(C, came + MS, &record(20, &[1]), LOST);
    let probe_at = came + MS + 4 * HALF + 60 * MS;
    talk.data(C, probe_at, &record(23, &[0; 53]), LOST);
    let again_at = probe_at + 400 * MS;
    talk.again(C, again_at, start, &finished13(), OK);
    talk.ack(S, again_at + HALF + 20_000, OK);
    assert_eq!(both(&talk.handshake()).1.verdict.label(), "loss/out");
}

#[test]
fn who_lost_the_flight_did_not_keep_its_acknowledgement() {
    // The first segment and a loss probe with new data are lost; the second comes, and both come again, one by one.
    let mut talk = Talk::new();
    let flight_at = heard(&mut talk) + MS;
    let flight = [server_hello([1; 32], &TLS13), record(20, &[1]), record(23, &vec![0; 2 * FULL])].concat();
    let pieces: Vec<&[u8]> = flight.chunks(FULL).collect();
    let [first, second, rest] = pieces[..] else { panic!("three pieces") };
    talk.data(S, flight_at, first, LOST);
    let last_at = talk.data(S, flight_at + 1_000, second, LOST);
    let probe_at = flight_at + 4 * HALF + 60 * MS;
    talk.data(S, probe_at, rest, LOST);
    let again_at = probe_at + 200 * MS;
    talk.again(S, again_at, 0, first, OK);
    talk.having(C, first.len() as i64, |talk| talk.ack(C, again_at + HALF + 10_000, OK));
    let next_at = again_at + 2 * HALF + 20_000;
    talk.again(S, next_at, first.len() as i64, second, OK);
    talk.again(S, next_at + 1_000, last_at, rest, OK);
    let came = next_at + 1_000 + HALF;
    finishes(&mut talk, came);
    let label = both(&talk.handshake()).1.verdict.label();
    assert_eq!(label, "loss/back");
}
