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
