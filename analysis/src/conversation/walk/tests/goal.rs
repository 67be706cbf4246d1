//! Where a walk begins, by version and by what was captured.

use super::super::follow::Point;
use super::super::goal::{Goal, Stopped, goal};
use super::super::tcp::pairing::pair;
use super::super::tcp::tape::{SYN, Tape};
use super::super::transport::Endpoint;
use super::tape;
use crate::tcp::by_hand::{C, Packet, S, ack, data, syn};
use crate::tcp::flow::Side;
use crate::tls::{Dialogue, Extent, Version};

/// ClientHello of 500 bytes, a flight of 900, Finished of 80, an answer of 300: at both ends, the edge 20 ms away.
fn packets() -> Vec<Packet> {
    vec![
        syn(C, 0.0),
        syn(S, 20.1),
        ack(C, 40.2, 0, 0),
        data(C, 41.0, 0, 500),
        data(S, 62.0, 0, 900).acks(500),
        data(C, 83.0, 500, 80).acks(900),
        data(S, 104.0, 900, 300).acks(580),
        ack(C, 124.1, 580, 1_200),
    ]
}

/// Both tapes, without what `missed` names at one of them: the packet, and the end whose capture missed it.
fn tapes(missed: &[(usize, Side)]) -> (Tape, Tape) {
    tapes_of(&packets(), missed)
}

fn tapes_of(packets: &[Packet], missed: &[(usize, Side)]) -> (Tape, Tape) {
    let at = |end: Side| {
        let seen = packets.iter().cloned().enumerate().filter(|(i, _)| !missed.contains(&(*i, end)));
        let mut seen: Vec<Packet> = seen.map(|(_, p)| if p.from == end { p } else { p.later(20.0) }).collect();
        seen.sort_by(|a, b| a.at.total_cmp(&b.at));
        seen
    };
    let (mut client, mut edge) = (tape(C, &at(C)), tape(S, &at(S)));
    pair(&mut client, &mut edge);
    (client, edge)
}

fn dialogue(version: Version, resumed: bool, client_certificate: bool) -> Dialogue {
    let extent = |start, end| Some(Extent { start, end });
    Dialogue {
        version: Some(version),
        resumed,
        client_certificate,
        client_hello: extent(0, 500),
        server_flight: extent(0, 900),
        client_finished: extent(500, 580),
        server_finished: extent(900, 1_200).filter(|_| version == Version::Tls12),
        ..Dialogue::default()
    }
}

/// At which end the walk begins, and what it begins with: the first byte there, and whether it came or only left.
fn begins(d: &Dialogue, (client, edge): &(Tape, Tape)) -> (Side, i64, bool) {
    match goal(d, [client, edge], false) {
        Goal::Reached(Point::Arrived { end, i }) => (end, [client, edge][end as usize].events[i].range().0, true),
        Goal::Reached(Point::Left { end, i }) => (end, [client, edge][end as usize].events[i].range().0, false),
        other => panic!("{other:?}"),
    }
}

#[test]
fn where_the_client_speaks_last_its_finished_comes_to_the_edge() {
    assert_eq!(begins(&dialogue(Version::Tls13, false, false), &tapes(&[])), (S, 500, true));
    assert_eq!(begins(&dialogue(Version::Tls12, true, false), &tapes(&[])), (S, 500, true));
    // Missed there, and acknowledged: it came.
    assert_eq!(begins(&dialogue(Version::Tls13, false, false), &tapes(&[(5, S), (6, S)])), (C, 500, false));
}

#[test]
fn where_the_server_speaks_last_its_finished_comes_to_the_client() {
    assert_eq!(begins(&dialogue(Version::Tls12, false, false), &tapes(&[])), (C, 900, true));
    assert_eq!(begins(&dialogue(Version::Tls12, false, true), &tapes(&[])), (C, 900, true));
}

#[test]
fn behind_a_certificate_of_the_clients_the_servers_answer_is_waited_for() {
    let d = dialogue(Version::Tls13, false, true);
    assert_eq!(begins(&d, &tapes(&[])), (C, 900, true));
    // The client's capture ended before it came.
    assert_eq!(begins(&d, &tapes(&[(6, C)])), (S, 900, false));
    // It was never sent, as far as anybody saw.
    assert_eq!(begins(&d, &tapes(&[(6, C), (6, S)])), (S, 500, true));
}

/// Finished, then a request so long behind it, which the server answers.
#[test]
fn the_answer_to_a_later_request_is_no_look_at_a_certificate() {
    let begun = |behind: f64| {
        let mut packets = packets();
        packets.truncate(6);
        let asked = 83.0 + behind;
        packets.extend([data(C, asked, 580, 100).acks(900), data(S, asked + 22.0, 900, 300).acks(680)]);
        begins(&dialogue(Version::Tls13, false, true), &tapes_of(&packets, &[]))
    };
    assert_eq!(begun(0.5), (C, 900, true), "it had not waited for anything");
    assert_eq!((begun(40.0), begun(5_000.0)), ((S, 500, true), (S, 500, true)));
}

#[test]
fn what_never_came_is_where_it_stopped() {
    let d = Dialogue { client_finished: None, ..dialogue(Version::Tls13, false, false) };
    let stopped = |missed: &[(usize, Side)]| {
        let (client, edge) = tapes(missed);
        match goal(&d, [&client, &edge], false) {
            Goal::Stopped(Stopped::Vanished { end, i }) => (end, [&client, &edge][end as usize].events[i].range().0, false),
            Goal::Stopped(Stopped::Silent { end, i }) => (end, [&client, &edge][end as usize].events[i].range().0, true),
            other => panic!("{other:?}"),
        }
    };
    let never = |from: usize| (from..8).flat_map(|i| [(i, C), (i, S)]).collect::<Vec<_>>();
    // ClientHello came, and nothing left behind it; the flight came, and nothing left behind that.
    assert_eq!(stopped(&never(4)), (S, 0, true));
    assert_eq!(stopped(&never(5)), (C, 0, true));
    // ClientHello left and never came; the flight.
    assert_eq!(stopped(&[vec![(3, S)], never(4)].concat()), (C, 0, false));
    assert_eq!(stopped(&[vec![(4, C)], never(5)].concat()), (S, 0, false));
    assert_eq!(stopped(&[(0, S)].into_iter().chain(never(1)).collect::<Vec<_>>()), (C, SYN, false));
}

#[test]
fn what_was_answered_came_though_nothing_says_so() {
    // ClientHello in two pieces, of which the edge's capture missed the first; the edge's flight never comes to the client.
    let packets = [
        syn(C, 0.0),
        syn(S, 20.1),
        ack(C, 40.2, 0, 0),
        data(C, 41.0, 0, 300),
        data(C, 41.1, 300, 200),
        data(S, 62.0, 0, 900).acks(500),
    ];
    let (client, edge) = tapes_of(&packets, &[(3, C), (3, S), (5, C)]);
    let d = Dialogue { client_finished: None, server_flight: None, ..dialogue(Version::Tls13, false, false) };
    let Goal::Stopped(Stopped::Vanished { end, i }) = goal(&d, [&client, &edge], false) else { panic!("something never came") };
    assert_eq!((end, [&client, &edge][end as usize].events[i].range().0), (S, 0), "it is the flight");
}

#[test]
fn before_the_flight_is_whole_the_client_has_nothing_to_say() {
    let half = Dialogue { client_finished: None, ..dialogue(Version::Tls13, false, false) };
    let half = Dialogue { server_hello: Some(Extent { start: 0, end: 90 }), server_flight: None, ..half };
    let never = (5..8).flat_map(|i| [(i, C), (i, S)]).collect::<Vec<_>>();
    let (client, edge) = tapes(&never);
    let Goal::Stopped(Stopped::Silent { end: S, i }) = goal(&half, [&client, &edge], false) else { panic!("the edge is due") };
    assert_eq!(edge.events[i].range().0, 0, "ClientHello was the last that came to it");
}

#[test]
fn what_is_acknowledged_came_though_the_capture_missed_it() {
    let packets = [
        syn(C, 0.0),
        syn(S, 40.0),
        ack(C, 40.1, 0, 0),
        ack(C, 80.0, 0, 900),
        data(S, 81.0, 900, 300).acks(0),
        data(S, 82.0, 1_500, 300).acks(0),
    ];
    let tape = tape(C, &packets);
    assert_eq!(tape.completing(1_200), Some(4), "there is no hole before it");
    assert_eq!(tape.completing(1_800), None, "there is one before the last");
}

#[test]
fn an_acknowledgement_behind_a_hole_proves_what_was_lost() {
    let d = Dialogue { client_hello: None, client_finished: None, server_flight: None, ..Dialogue::default() };
    // The client's FIN has its place behind 517 bytes that never came to the edge.
    let packets = [syn(C, 0.0), syn(S, 0.1), ack(C, 40.0, 0, 0), data(C, 9_000.0, 517, 0).fin()];
    let edge = tape(S, &packets);
    let mut client = tape(C, &[syn(C, -20.0), syn(S, 20.1), ack(C, 20.2, 0, 0), data(C, 8_980.0, 517, 0).fin()]);
    let mut edge = edge;
    pair(&mut client, &mut edge);
    let Goal::Stopped(Stopped::Vanished { end: C, .. }) = goal(&d, [&client, &edge], false) else { panic!("it was lost") };
}
