//! Nothing passes any more: no black hole for big packets, though it was big ones that were sent.

use super::*;
use whostalled_analysis::tcp::flow::Side;

/// What a client or an edge says of its own when nobody acknowledges what it said.
#[derive(Clone, Copy)]
enum Small {
    Nothing,
    /// It gives up, and says so twice.
    Fin {
        lost: bool,
    },
    /// It acknowledges what its peer says meanwhile.
    Ack {
        lost: bool,
    },
}

/// Data of `side` that never come, small packets of its own behind them.
fn cut(talk: &mut Talk, side: Side, at: i64, data: &[u8], small: Small) {
    let start = talk.sent(side);
    talk.data(side, at, data, LOST);
    for again in [240, 700, 1_600, 3_400] {
        talk.again(side, at + again * MS, start, data, LOST);
    }
    match small {
        Small::Nothing => {}
        Small::Fin { lost: true } => [5_000, 5_240].iter().for_each(|after| talk.fin_lost(side, at + after * MS)),
        Small::Fin { lost: false } => {
            talk.fin(side, at + 5_000 * MS);
            talk.tell(side.peer(), at + 5_000 * MS + HALF, start, &[], OK);
        }
        Small::Ack { lost } => {
            for after in [1_000, 2_000] {
                talk.tell(side.peer(), at + after * MS, start, &[], OK);
                let fate = if lost { LOST } else { OK };
                talk.ack(side, at + after * MS + HALF, fate);
            }
        }
    }
}

/// The client's ClientHello, of `more` bytes than usual, never comes.
fn hello(more: u16, small: Small) -> Handshake {
    let mut talk = Talk::new();
    let hello_at = talk.connect(1_000 * MS) + MS;
    cut(&mut talk, C, hello_at, &long_client_hello(more), small);
    talk.handshake()
}

/// The edge's flight never comes, but for its first bytes.
fn flight(small: Small) -> Handshake {
    let mut talk = Talk::new();
    let flight_at = heard(&mut talk) + MS;
    talk.data(S, flight_at, &server_hello([1; 32], &TLS13), OK);
    talk.ack(C, flight_at + HALF + 10_000, OK);
    cut(&mut talk, S, flight_at + 2 * HALF, &record(23, &[0; 1_300]), small);
    talk.handshake()
}

#[test]
fn where_small_packets_vanish_as_well_it_is_no_black_hole() {
    for small in [Small::Fin { lost: true }, Small::Ack { lost: true }] {
        assert_eq!(both(&hello(560, small)).1.verdict.label(), both(&hello(1, small)).1.verdict.label());
        assert_eq!(both(&hello(560, small)).1.verdict.label(), "loss/out");
        assert_eq!(both(&flight(small)).1.verdict.label(), "loss/back");
    }
}

#[test]
fn where_small_ones_pass_it_is() {
    assert_eq!(both(&hello(560, Small::Nothing)).1.verdict.label(), "path/mtu_blackhole", "SYN and ACK did");
    for small in [Small::Fin { lost: false }, Small::Ack { lost: false }] {
        assert_eq!(both(&hello(560, small)).1.verdict.label(), "path/mtu_blackhole");
        assert_eq!(both(&flight(small)).1.verdict.label(), "path/mtu_blackhole");
    }
}

#[test]
fn nor_does_one_end_take_it_for_one() {
    let black_hole = "path/mtu_blackhole";
    assert_ne!(edge(&flight(Small::Fin { lost: true })).1.verdict.label(), black_hole);
    for small in [Small::Nothing, Small::Fin { lost: false }] {
        assert_eq!(edge(&flight(small)).1.verdict.label(), black_hole);
    }
}

#[test]
fn what_was_under_way_when_the_capture_ended_did_not_vanish() {
    let mut talk = Talk::new();
    let hello_at = talk.connect(1_000 * MS) + MS;
    let again_at = comes_in_pieces(&mut talk, hello_at);
    talk.ack(S, again_at + HALF + 10_000, OK);
    talk.data(S, again_at + HALF + MS, &flight13(), OK);
    let came = again_at + 2 * HALF + MS;
    talk.data(C, came + MS, &finished13(), OK);
    talk.data(S, came + MS + HALF, &record(23, &[0; 90]), OK);
    talk.ack(C, came + MS + 2 * HALF + 10_000, LOST);
    assert_eq!(both(&talk.handshake()).1.verdict.label(), "path/mtu_blackhole");
}
