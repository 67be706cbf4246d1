//! Whose time the arcs of a walk are, from a client's capture made by hand.

use crate::clock::{Client, Span};
use crate::conversation::handshake::Handshake;
use crate::conversation::walk::read;
use crate::judging::ledger::{Entry, Owner, Phase};
use crate::judging::verdict::Reading;
use crate::tcp::by_hand::{C, Packet, S, ack, data, syn, view};
use crate::tls::{Dialogue, Extent, Version};

/// ClientHello of 500 bytes, a flight of `flight`, Finished of 80, as the client's capture has them.
fn handshake(packets: &[Packet], flight: i64) -> Handshake {
    let extent = |start, end| Some(Extent { start, end });
    let mut handshake = Handshake::of(Some(view::<Client>(packets)), None);
    handshake.dialogue = Box::new(Dialogue {
        version: Some(Version::Tls13),
        client_hello: extent(0, 500),
        server_hello: extent(0, 100),
        server_flight: extent(0, flight),
        client_finished: extent(500, 580),
        ..Dialogue::default()
    });
    handshake
}

fn reading(packets: &[Packet], flight: i64) -> Reading {
    read(&handshake(packets, flight)).expect("it begins with SYN")
}

fn rounds(reading: &Reading) -> impl Iterator<Item = &Entry> {
    reading.ledger.entries.iter().filter(|e| e.round_trip)
}

/// 40 ms there and back; whatever answers SYN has this TTL, and ClientHello is acknowledged `late`.
fn answered(ttl: u8, late: f64) -> Vec<Packet> {
    vec![
        syn(C, 0.0),
        syn(S, 40.0).ttl(ttl),
        ack(C, 40.1, 0, 0),
        data(C, 41.0, 0, 500),
        ack(S, 81.0 + late, 0, 500).ttl(52),
        data(S, 82.0 + late, 0, 900).acks(500).ttl(52),
        data(C, 83.0 + late, 500, 80).acks(900),
        ack(S, 123.0 + late, 900, 580).ttl(52),
    ]
}

#[test]
fn a_round_trip_is_measured_by_a_prompt_answer_of_the_same_host() {
    let measured = |ttl, late| -> Vec<(Phase, bool)> {
        rounds(&reading(&answered(ttl, late), 900)).map(|e| (e.phase, !e.filled_in)).collect()
    };
    let [connect, flight, finish] = [Phase::Connect, Phase::ServerFlight, Phase::Finish];
    assert_eq!(measured(52, 0.0), [(connect, true), (flight, true), (finish, true)]);
    assert_eq!(measured(52, 31.0), [(connect, true), (flight, false), (finish, true)], "put off, or late");
    assert_eq!(measured(39, 0.0), [(connect, false), (flight, true), (finish, true)], "a balancer answers SYN");
}

#[test]
fn slow_start_holds_in_each_later_round() {
    // One segment, two, two: each let go by the acknowledgements of those before, 37 ms behind them where SYN took 42.
    let full = 1_448;
    let segment = |at: f64, n: i32| data(S, at, n * full, full as u32).acks(500).stamped(1_000 + at as u32, 0);
    let packets = [
        syn(C, 0.0),
        syn(S, 42.4).stamped(1_042, 0),
        ack(C, 42.4, 0, 0),
        data(C, 44.4, 0, 500),
        ack(S, 89.3, 0, 500).stamped(1_089, 0),
        segment(90.5, 0),
        ack(C, 90.6, 500, full),
        segment(130.8, 1),
        segment(130.8, 2),
        ack(C, 130.9, 500, 2 * full),
        ack(C, 130.9, 500, 3 * full),
        segment(168.1, 3),
        data(S, 168.1, 4 * full, 1_115).acks(500).stamped(1_168, 0),
        data(C, 170.0, 500, 80).acks(4 * full + 1_115),
        ack(S, 210.8, 4 * full + 1_115, 580).stamped(1_210, 0),
    ];
    let reading = reading(&packets, i64::from(4 * full + 1_115));
    let edge = reading.ledger.entries.iter().filter(|e| e.owner == Owner::Edge).map(|e| e.span);
    assert!(edge.sum::<Span>() < Span::from_millis(12), "{:#?}", reading.ledger);
}

#[test]
fn what_is_due_takes_a_round_trip_and_is_waited_for_as_long_as_the_capture_goes_on() {
    // ClientHello is not even acknowledged when the capture ends.
    let waited = |watched: f64| {
        let mut handshake = handshake(&answered(52, 0.0)[..4], 900);
        *handshake.dialogue = Dialogue { client_hello: handshake.dialogue.client_hello, ..Dialogue::default() };
        handshake.watched_until = Some((watched * 1e6) as i64);
        let reading = read(&handshake).expect("it begins with SYN");
        let open = reading.ledger.entries.iter().filter(|e| e.candidates.contains(Owner::Loss));
        open.map(|e| e.span).sum::<Span>()
    };
    assert_eq!(waited(70.0), Span::ZERO);
    assert_eq!(waited(299.0), Span::from_millis(218));
}

#[test]
fn a_client_that_lacks_a_part_of_the_flight_waits_for_the_edge() {
    // The second segment passes the capture; FIN does not acknowledge it.
    let packets = [
        &answered(52, 0.0)[..6],
        &[ack(C, 83.0, 500, 900), data(S, 400.0, 900, 600).acks(500).ttl(52), ack(C, 1_400.0, 500, 900).fin()],
    ]
    .concat();
    let reading = reading(&packets, 1_500);
    let last = reading.ledger.entries.last().expect("it waited");
    assert!(last.candidates.contains(Owner::Edge) && last.span > Span::from_millis(1_200), "{last:?}");
    assert!(!reading.ledger.entries.iter().any(|e| e.phase == Phase::ClientFinished), "{:?}", reading.ledger);
}

#[test]
fn an_edge_that_repeats_what_was_acknowledged_may_not_have_heard_it() {
    let waited = |again: bool| {
        let stamped = |p: Packet| {
            let stamp = 1_000 + p.at as u32;
            p.stamped(stamp, 0)
        };
        let mut packets = vec![
            syn(C, 0.0),
            stamped(syn(S, 40.0)),
            ack(C, 40.1, 0, 0),
            data(C, 41.0, 0, 500),
            stamped(ack(S, 81.0, 0, 500)),
            stamped(data(S, 82.0, 0, 900).acks(500)),
            ack(C, 82.1, 500, 900),
            stamped(data(S, 1_000.0, 900, 600).acks(500)),
            ack(C, 1_000.1, 500, 1_500),
            data(C, 1_001.0, 500, 80).acks(1_500),
            stamped(ack(S, 1_041.0, 1_500, 580)),
        ];
        if again {
            packets.insert(7, stamped(data(S, 400.0, 0, 900).acks(500)));
        }
        // None of its packets is missing.
        for (id, packet) in (1..).zip(packets.iter_mut().filter(|p| p.from == S)) {
            packet.id = Some(id);
        }
        let reading = reading(&packets, 1_500);
        let longest = reading.ledger.entries.iter().max_by_key(|e| e.span).expect("it waited").clone();
        assert!(longest.span > Span::from_millis(900), "{longest:?}");
        (longest.owner, longest.candidates)
    };
    assert_eq!(waited(false).0, Owner::Edge);
    assert_eq!(waited(true), (Owner::Unattributed, Owner::Edge | Owner::Loss | Owner::Path));
}
