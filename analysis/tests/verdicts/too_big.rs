//! ICMP "fragmentation needed": who was told that its packets are too big for the path, and whether it went on as before.

use super::*;
use whostalled_analysis::conversation::handshake::TooBig;
use whostalled_analysis::tcp::flow::Side;

/// What passes, and a segment that does not.
const MTU: u32 = 1_400;
const FULL: usize = 1_448;

/// The end of `side` is told at this moment.
fn tell(handshake: &mut Handshake, side: Side, at: i64) {
    let at = if side == S { at + SKEWED } else { at };
    handshake.too_big[side as usize].push(TooBig { at, packet: 1_000, most: MTU });
}

/// Two full segments.
fn full_flight() -> Vec<u8> {
    let hello = [server_hello([1; 32], &TLS13), record(20, &[1])].concat();
    let rest = vec![0; 2 * FULL - hello.len() - 5];
    [hello, record(23, &rest)].concat()
}

/// Full segments die on their way; they are sent again in pieces so long, after each of these waits, and come the last time; gives when.
fn lost_then_again(talk: &mut Talk, side: Side, begun: i64, bytes: &[u8], again: &[(i64, usize)]) -> i64 {
    for piece in bytes.chunks(FULL) {
        talk.data(side, begun, piece, LOST);
    }
    for (n, (wait, len)) in again.iter().enumerate() {
        let fate = if n + 1 == again.len() { OK } else { LOST };
        for (start, piece) in (0..).step_by(*len).zip(bytes.chunks(*len)) {
            talk.again(side, begun + wait, start, piece, fate);
        }
    }
    begun + again.last().map_or(0, |(wait, _)| *wait)
}

/// A full flight that dies on the way and of which the edge is told `told` later; it sends it again in pieces so long, after each of these
/// waits; only the last time all comes. Its last word is lost besides (`last`), and comes again 300 ms later.
fn flight(told: i64, again: &[(i64, usize)], last: bool) -> Handshake {
    let mut talk = Talk::new();
    let flight_at = heard(&mut talk) + MS;
    let flight = full_flight();
    let at = lost_then_again(&mut talk, S, flight_at, &flight, again);
    let mut came = at + HALF;
    if last {
        let word = record(23, &[0; 60]);
        let start = talk.sent(S);
        talk.ack(C, came + 10_000, OK);
        talk.data(S, came + HALF + MS, &word, LOST);
        talk.again(S, came + HALF + 301 * MS, start, &word, OK);
        came += 2 * HALF + 301 * MS;
    }
    finishes(&mut talk, came);
    let mut handshake = talk.handshake();
    tell(&mut handshake, S, flight_at + told);
    handshake
}

fn both_and_edge(handshake: &Handshake) -> [String; 2] {
    let (both, edge) = labels(handshake);
    [both, edge]
}

#[test]
fn who_goes_on_as_before_is_deaf() {
    let deaf = flight(2 * MS, &[(300 * MS, FULL), (900 * MS, FULL), (2_100 * MS, 1_200)], false);
    assert_eq!(both_and_edge(&deaf), ["edge_host/ignored_too_big"; 2]);
    let seen = deaf.edge_side_only();
    let (reading, judgement) = edge(&deaf);
    let said = explain(&seen, &reading, &judgement, &Citation::from);
    assert!(said.contains("sent packets as big as before"), "{said}");
}

#[test]
fn who_obeys_at_once_is_not() {
    for told in [2 * MS, 150 * MS] {
        let obeyed = flight(told, &[(told + MS / 20, 1_300)], false);
        for label in both_and_edge(&obeyed) {
            assert!(label == "path/mtu_blackhole" || told < 20 * MS && label == "healthy", "{told}: {label}");
        }
    }
}

#[test]
fn nor_who_was_told_late() {
    // Sent again as big before the word came, and not behind it.
    let obeyed = flight(350 * MS, &[(300 * MS, FULL), (350 * MS + MS / 20, 1_300)], false);
    assert_eq!(both_and_edge(&obeyed), ["path/mtu_blackhole"; 2]);
    // Nor in the moment in which it came.
    let obeyed = flight(350 * MS, &[(350 * MS + MS / 5, FULL), (355 * MS, 1_300)], false);
    assert_eq!(both_and_edge(&obeyed), ["path/mtu_blackhole"; 2]);
}

#[test]
fn what_an_offload_cuts_obeys_too() {
    // Captured before it was cut, what is sent again looks as big as all of it.
    let obeyed = flight(150 * MS, &[(150 * MS + MS / 20, 4_000)], false);
    for label in both_and_edge(&obeyed) {
        assert!(!label.starts_with("edge"), "{label}");
    }
}

#[test]
fn a_small_loss_behind_it_is_a_loss() {
    let obeyed = flight(2 * MS, &[(2 * MS + MS / 20, 1_300)], true);
    for label in both_and_edge(&obeyed) {
        assert!(label.starts_with("loss/back"), "{label}");
    }
}

/// The same of a ClientHello of more than a segment.
fn hello(told: i64, again: &[(i64, usize)]) -> Handshake {
    let mut talk = Talk::new();
    let hello_at = talk.connect(1_000 * MS) + MS;
    let hello = long_client_hello(1_300);
    let at = lost_then_again(&mut talk, C, hello_at, &hello, again);
    goes_on(&mut talk, at + HALF);
    let mut handshake = talk.handshake();
    tell(&mut handshake, C, hello_at + told);
    handshake
}

#[test]
fn a_client_is_told_as_well() {
    let deaf = hello(2 * MS, &[(300 * MS, FULL), (900 * MS, FULL), (2_100 * MS, 1_200)]);
    assert_eq!(both(&deaf).1.verdict.label(), "client_host/ignored_too_big");
    let obeyed = hello(150 * MS, &[(150 * MS + MS / 20, 1_200)]);
    assert_eq!(both(&obeyed).1.verdict.label(), "path/mtu_blackhole");
}

#[test]
fn what_is_lost_beside_a_black_hole_is_no_part_of_it() {
    // Nobody is told; SYN is lost besides.
    let mut talk = Talk::new();
    talk.opening_lost(0);
    let hello_at = talk.connect(1_000 * MS) + MS;
    let again_at = comes_in_pieces(&mut talk, hello_at);
    goes_on(&mut talk, again_at + HALF);
    let handshake = talk.handshake();
    for seen in [&handshake, &talk.at_client()] {
        let (reading, _) = both(seen);
        let lost =
            |kind: Kind| -> f64 { reading.ledger.entries.iter().filter(|e| e.kind == Some(kind)).map(|e| e.span.millis()).sum() };
        assert_eq!(lost(Kind::MtuBlackhole), 900.0, "{reading:?}");
    }
}
