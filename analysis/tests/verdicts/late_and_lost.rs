//! A client that is late, and of whose late words the first copy is lost besides: what the edge's capture alone can say of that.

use super::*;

/// The client waits `late` before its Finished, which is lost and sent again `repeated` later; its request left with the first copy (`asks`),
/// so that the edge's duplicate acknowledgement asks for the repetition.
fn edge_alone(late: i64, repeated: i64, asks: bool) -> Judgement {
    let mut talk = Talk::new();
    let came = flown(&mut talk, &flight13());
    let said_at = came + MS + late;
    let start = client_hello().len() as i64;
    talk.data(C, said_at, &finished13(), LOST);
    if asks {
        talk.data(C, said_at + 100_000, &record(23, &[0; 90]), OK);
    }
    talk.again(C, said_at + repeated, start, &finished13(), OK);
    talk.ack(S, said_at + repeated + HALF + 20_000, OK);
    let answer_at = said_at + repeated + HALF + MS;
    talk.data(S, answer_at, &record(23, &[0; 300]), OK);
    talk.ack(C, answer_at + HALF + 20_000, OK);
    let seen = talk.handshake().edge_side_only();
    let reading = walk::read(&seen).expect("its SYN was captured");
    judged(&seen, reading).1
}

#[test]
fn a_loss_alone_is_a_loss() {
    assert_eq!(edge_alone(0, 250 * MS, false).verdict.label(), "loss/out");
    assert_eq!(edge_alone(0, 70 * MS, true).verdict.label(), "loss/out");
}

#[test]
fn no_timer_waits_as_long_as_the_client_did() {
    for (late, repeated, asks) in [(600, 250, false), (2_000, 250, false), (500, 70, true), (250, 70, true)] {
        let judgement = edge_alone(late * MS, repeated * MS, asks);
        let label = judgement.verdict.label();
        let rightly_open = label == "inconclusive" && judgement.candidates.contains(Owner::Client);
        assert!(rightly_open || label.starts_with("client"), "{late} ms late: {label} {:?}", judgement.candidates);
    }
}

#[test]
fn a_timer_is_as_long_as_the_round_trips_were() {
    // A radio that wakes up: the SYN-ACK came 260 ms late. The loss probe takes Finished along when two of the round trips that it knows
    // have passed, and ChangeCipherSpec, which was lost, comes again when SACK asks for it.
    let mut talk = Talk::new();
    let hello_at = talk.connect_late(1_000 * MS, 260 * MS) + MS;
    talk.data(C, hello_at, &client_hello(), OK);
    talk.ack(S, hello_at + HALF, OK);
    let flight = flight13();
    talk.data(S, hello_at + HALF + MS, &flight, OK);
    let came = hello_at + 2 * HALF + MS;
    talk.ack(C, came + 10_000, OK);
    let change = record(20, &[1]);
    let end = talk.data(C, came + MS, &change, LOST);
    let probe_at = came + 735 * MS;
    talk.data(C, probe_at, &record(23, &[0; 53]), OK);
    let again_at = probe_at + 2 * HALF + 30_000;
    talk.again(C, again_at, end - change.len() as i64, &change, OK);
    talk.ack(S, again_at + HALF + 20_000, OK);
    let seen = talk.handshake();
    assert!(both(&seen).1.verdict.label().starts_with("loss/out"));
    let (_, judgement) = edge(&seen);
    let label = judgement.verdict.label();
    assert!(!label.starts_with("client") && !label.starts_with("edge"), "{label}");
}

/// The client's ChangeCipherSpec, which it sends when half of the flight has come, has this fate; it acknowledges the rest of the flight, and
/// its Finished leaves `late` behind that.
fn finished_behind(change: Fate, late: i64) -> Judgement {
    let mut talk = Talk::new();
    let flight = [flight13(), record(23, &[0; 600])].concat();
    let (half, rest) = flight.split_at(900);
    let begun = flown(&mut talk, half);
    let record_of_change = record(20, &[1]);
    let end = talk.data(C, begun + MS, &record_of_change, change);
    if !change.lost {
        talk.ack(S, begun + MS + HALF + 10_000, OK);
    }
    let rest_at = begun + 3 * MS + HALF;
    let heard = if change.lost { end - record_of_change.len() as i64 } else { end };
    talk.having(S, heard, |talk| talk.data(S, rest_at, rest, OK));
    let came = rest_at + HALF;
    talk.ack(C, came + 10_000, OK);
    let said_at = came + late;
    talk.data(C, said_at, &record(23, &[0; 53]), OK);
    let mut done = said_at;
    if change.lost {
        done = said_at + 2 * HALF + 30_000;
        talk.again(C, done, end - record_of_change.len() as i64, &record_of_change, OK);
    }
    talk.ack(S, done + HALF + 20_000, OK);
    let seen = talk.handshake().edge_side_only();
    let reading = walk::read(&seen).expect("its SYN was captured");
    judged(&seen, reading).1
}

#[test]
fn what_nagle_holds_behind_something_lost_leaves_by_a_timer() {
    let judgement = finished_behind(LOST, 200 * MS);
    assert_eq!(judgement.verdict.label(), "inconclusive");
    assert!(judgement.candidates.is_superset(Owner::Client | Owner::Loss), "{:?}", judgement.candidates);
    assert_eq!(finished_behind(OK, 200 * MS).verdict.label(), "client", "what came holds nothing");
    assert!(finished_behind(LOST, 2_000 * MS).verdict.label().starts_with("client"), "no timer is so long");
}
