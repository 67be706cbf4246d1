//! Connections of thousands of packets, as nobody but an attacker sends them: what they cost.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use super::*;

/// What a test is about: how a client and an edge of `n` small pieces go on behind ServerHello.
type Shape = fn(&mut Talk, i64, usize);

const PIECE: [u8; 25] = [0xff; 25];
/// Something that was never sent.
const ELSEWHERE: i64 = 10_000_000;

/// Small pieces that nobody acknowledges; SACK blocks of something else come back.
fn sacked_elsewhere(talk: &mut Talk, mut at: i64, n: usize) {
    let told = talk.sent(C);
    for k in 0..n as i64 {
        talk.data(C, at, &PIECE, OK);
        talk.tell(S, at + MS / 5, told, &[(ELSEWHERE + 10 * k, ELSEWHERE + 10 * k + 5)], OK);
        at += MS / 2;
    }
}

/// Each piece is sent twice, and acknowledged with what says that it came twice.
fn twice(talk: &mut Talk, mut at: i64, n: usize) {
    for _ in 0..n / 2 {
        let start = talk.sent(C);
        talk.data(C, at, &PIECE, OK);
        talk.again(C, at + MS / 10, start, &PIECE, OK);
        talk.tell(S, at + HALF, start + 25, &[(start, start + 25)], OK);
        at += MS / 2;
    }
}

/// All pieces are sent, and then all of them again; what came of them is told at last, from the end.
fn all_again(talk: &mut Talk, mut at: i64, n: usize) {
    let told = talk.sent(C);
    for _ in 0..n / 2 {
        talk.data(C, at, &PIECE, LOST);
        at += MS / 10;
    }
    let end = talk.sent(C);
    for start in (told..end).step_by(25) {
        talk.again(C, at, start, &PIECE, OK);
        at += MS / 10;
    }
    for k in 1..=n as i64 / 2 {
        talk.tell(S, at + HALF, told, &[(end - 25 * k, end)], OK);
        at += MS / 10;
    }
}

/// Turns of a piece each, of both ends; the client's first copies are lost.
fn turns(talk: &mut Talk, mut at: i64, n: usize) {
    for k in 0..n / 3 {
        let start = talk.sent(C);
        let piece = vec![0xff; 25 + 700 * (k % 2)];
        talk.data(C, at, &piece, LOST);
        talk.again(C, at + 250 * MS, start, &piece, OK);
        at += 251 * MS + HALF;
        talk.data(S, at, &PIECE, OK);
        at += MS + HALF;
    }
}

/// The edge's pieces come behind a hole.
fn holes(talk: &mut Talk, mut at: i64, n: usize) {
    let told = talk.sent(S);
    for k in 0..n {
        talk.data(S, at, &PIECE, if k % 2 == 0 { LOST } else { OK });
        talk.tell(C, at + HALF, told, &[(talk.sent(S) - 25, talk.sent(S))], OK);
        at += MS / 2;
    }
}

/// What this thread had of a CPU, whatever else ran.
fn used() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("this thread has a clock").into()
}

/// How much CPU the reading of a connection of `n` pieces takes, as seen from the client's end, from the edge's, and from both.
fn cost(shape: Shape, n: usize) -> [f64; 3] {
    let mut talk = Talk::new();
    let at = flown(&mut talk, &server_hello([1; 32], &TLS13)) + MS;
    shape(&mut talk, at, n);
    let all = talk.handshake();
    [talk.at_client(), all.edge_side_only(), all].map(|handshake| {
        let once = || {
            let begun = used();
            assert!(walk::read(&handshake).is_some(), "its SYN was captured");
            (used() - begun).as_secs_f64()
        };
        (0..3).map(|_| once()).fold(f64::MAX, f64::min)
    })
}

#[test]
fn a_connection_of_thousands_of_packets_costs_no_more_than_its_square() {
    for (name, shape) in
        [("elsewhere", sacked_elsewhere as Shape), ("twice", twice), ("all again", all_again), ("turns", turns), ("holes", holes)]
    {
        // Four times as many: 16 times as much at the square, 64 at the cube.
        let (few, many) = (cost(shape, 240), cost(shape, 960));
        let times = [0, 1, 2].map(|i| many[i] / few[i]);
        assert!(times.iter().all(|t| *t < 32.0), "{name}: {times:.1?}, {few:?} {many:?}");
    }
}
