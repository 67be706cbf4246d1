//! An acknowledgement that was lost or late, though what it was for had come: a small segment waits for it by Nagle's algorithm, and the
//! repetition that brings another one was not needed.

use super::*;
use whostalled_analysis::tcp::flow::Side;

/// What became of the first acknowledgement.
#[derive(Clone, Copy, PartialEq, Debug)]
enum First {
    Lost,
    /// It comes so many ms late.
    Held(i64),
    /// The receiver gives it so many ms late.
    Given(i64),
}

/// The client says ChangeCipherSpec and, once that is acknowledged, Finished; the repetition is acknowledged at once.
fn client(first: First) -> Handshake {
    let mut talk = Talk::new();
    let said_at = flown(&mut talk, &flight13()) + MS;
    let rest_at = small(&mut talk, C, said_at, &record(20, &[1]), first);
    talk.data(C, rest_at, &record(23, &[0; 53]), OK);
    talk.ack(S, rest_at + HALF + 20_000, OK);
    talk.handshake()
}

/// The edge says ServerHello and, once that is acknowledged, the rest of its flight.
fn edge_of(first: First) -> Handshake {
    let mut talk = Talk::new();
    let said_at = heard(&mut talk) + MS;
    let rest_at = small(&mut talk, S, said_at, &server_hello([1; 32], &TLS13), first);
    talk.data(S, rest_at, &[record(20, &[1]), record(23, &[0; 700])].concat(), OK);
    talk.ack(C, rest_at + HALF + 20_000, OK);
    talk.data(C, rest_at + HALF + MS, &finished13(), OK);
    talk.ack(S, rest_at + 2 * HALF + 2 * MS, OK);
    talk.handshake()
}

/// A small segment, and when what follows it leaves.
fn small(talk: &mut Talk, side: Side, at: i64, bytes: &[u8], first: First) -> i64 {
    let start = talk.sent(side);
    let end = talk.data(side, at, bytes, OK);
    let given = at + HALF + 20_000;
    match first {
        First::Lost => talk.ack(side.peer(), given, LOST),
        First::Held(late) => talk.ack(side.peer(), given, Fate { held: late * MS, ..OK }),
        First::Given(late) if late < 245 => talk.ack(side.peer(), given + late * MS, OK),
        First::Given(_) => {}
    }
    let again_at = at + 245 * MS;
    talk.again(side, again_at, start, bytes, OK);
    talk.tell(side.peer(), again_at + HALF + 20_000, end, &[(start, end)], OK);
    again_at + 2 * HALF + 50_000
}

fn of_ledger(reading: &Reading, owner: Owner, kind: Kind) -> f64 {
    reading.ledger.entries.iter().filter(|e| (e.owner, e.kind) == (owner, Some(kind))).map(|e| e.span.millis()).sum()
}

#[test]
fn the_acknowledgement_was_lost_not_what_it_was_for() {
    let (of_client, of_edge) = (client(First::Lost), edge_of(First::Lost));
    assert_eq!(both(&of_client).1.verdict.label(), "loss/back");
    assert_eq!(both(&of_edge).1.verdict.label(), "loss/out");
    for reading in [both(&of_client).0, both(&of_edge).0] {
        let lost = of_ledger(&reading, Owner::Loss, Kind::Out) + of_ledger(&reading, Owner::Loss, Kind::Back);
        assert!((lost - 245.0).abs() < 2.0, "{lost}: {reading:?}");
    }
}

#[test]
fn or_late_on_its_way() {
    for late in [400, 800] {
        assert_eq!(both(&client(First::Held(late))).1.verdict.label(), "path/delay");
        assert_eq!(both(&edge_of(First::Held(late))).1.verdict.label(), "path/delay");
    }
}

#[test]
fn or_not_given_before_the_repetition_came() {
    for handshake in [client(First::Given(1_000)), edge_of(First::Given(1_000))] {
        let label = both(&handshake).1.verdict.label();
        assert!(!label.starts_with("loss") && !label.starts_with("path"), "{label}");
    }
}

#[test]
fn what_came_twice_before_its_receivers_eyes_was_not_lost_on_the_way_to_it() {
    for first in [First::Lost, First::Held(400)] {
        let judgement = edge(&client(first)).1;
        assert_eq!(judgement.verdict.label(), "inconclusive", "{first:?}");
        // Its program may have paused as long.
        assert_eq!(judgement.candidates, Owner::Loss | Owner::Path | Owner::Client, "{first:?}");
    }
}
