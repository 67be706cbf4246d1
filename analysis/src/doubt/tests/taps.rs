//! Copies of several places of capture, and repetitions, which are none.

use proptest::prelude::*;

use super::handshake;
use crate::clock::Unplaced;
use crate::doubt::taps::{Taps, part};
use crate::tcp::by_hand::{C, Packet, S, data, view};
use crate::tcp::flow::{Side, View};

const WAY: f64 = 20.0;

fn parted(packets: &[Packet]) -> Taps<Unplaced> {
    part(Box::new(view(packets)))
}

fn one(packets: &[Packet]) -> Box<View<Unplaced>> {
    match parted(packets) {
        Taps::One(view) => view,
        Taps::Two(_) => panic!("there is one place"),
    }
}

/// Both ends' captures of a handshake in one file in the order of time, the edge's clock so much ahead, on a path that takes `hops`
/// from TTLs; the packets that `lost` names never came. With each packet whether it is the client's.
fn merged(ahead: f64, hops: u8, lost: &[usize]) -> (Vec<Packet>, Vec<bool>) {
    let mut all: Vec<(Packet, bool)> = Vec::new();
    for (i, packet) in handshake(2.0 * WAY).into_iter().enumerate() {
        let far = |p: Packet| p.ttl(64 - hops);
        let (sign, sent) = if packet.from == C { (1.0, packet.clone()) } else { (-1.0, far(packet.clone())) };
        let there = Packet { at: packet.at + sign * WAY + ahead, ..packet.clone() };
        let there = if packet.from == C { far(there) } else { there };
        // The handshake is as the client sees it.
        let [missed_by_client, missed_by_edge] = [S, C].map(|side| packet.from == side && lost.contains(&i));
        all.extend((!missed_by_client).then_some((sent, true)));
        all.extend((!missed_by_edge).then_some((there, false)));
    }
    all.sort_by(|a, b| a.0.at.total_cmp(&b.0.at));
    all.into_iter().unzip()
}

/// Whether each packet went to the view of the end that captured it.
fn right((packets, of_client): &(Vec<Packet>, Vec<bool>)) -> bool {
    let Taps::Two(views) = parted(packets) else { return false };
    let [client, edge] = views.map(|view| view.packets.iter().map(|p| p.packet).collect::<Vec<_>>());
    let numbers = |wanted: bool| (1..).zip(of_client).filter(|(_, c)| **c == wanted).map(|(n, _)| n).collect::<Vec<u64>>();
    client == numbers(true) && edge == numbers(false)
}

#[test]
fn copies_at_several_interfaces_of_one_host_are_dropped() {
    let twice: Vec<Packet> = handshake(40.0).into_iter().flat_map(|p| [p.clone(), p.later(0.02)]).collect();
    let kept = one(&twice);
    assert_eq!(kept.packets.iter().map(|p| p.packet).collect::<Vec<_>>(), [1, 3, 5, 7, 9, 11, 13, 15, 17, 19]);
    let thrice: Vec<Packet> =
        handshake(40.0).into_iter().flat_map(|p| [p.clone(), p.clone().later(0.02), p.later(0.05)]).collect();
    assert_eq!(one(&thrice).packets.len(), 10);
}

#[test]
fn copies_of_some_packets_alone_are_no_second_place() {
    // Seven of ten must lie there twice.
    let some = |many: usize| {
        let packets = handshake(40.0).into_iter().enumerate();
        packets.flat_map(|(i, p)| if i < many { vec![p.clone(), p.later(0.02)] } else { vec![p] }).collect::<Vec<_>>()
    };
    assert_eq!(one(&some(6)).packets.len(), 16);
    assert_eq!(one(&some(7)).packets.len(), 10);
}

#[test]
fn a_repetition_is_no_copy() {
    let again = |change: fn(Packet) -> Packet| {
        let twice = handshake(40.0).into_iter().flat_map(|p| [p.clone(), change(p.later(0.2))]);
        one(&twice.collect::<Vec<_>>()).packets.len()
    };
    assert_eq!(again(|p| p), 10);
    assert_eq!(again(|p| Packet { id: p.id.map(|id| id + 500), ..p }), 20, "another identification");
    assert_eq!(again(|p| p.stamped(9, 9)), 20, "another timestamp");
    assert_eq!(again(|p| p.window(77)), 20, "another window");
    // Nothing tells them apart, but it is one of many.
    let mut plain: Vec<Packet> = handshake(40.0).into_iter().map(|p| Packet { id: None, ..p }).collect();
    plain.insert(9, data(C, 284.0, 500, 80).acks(2_300));
    assert_eq!(one(&plain).packets.len(), 11);
}

#[test]
fn both_ends_in_one_file_are_parted_whichever_clock_is_ahead() {
    for ahead in [0.0, 7.0, -7.0, 25.0, -25.0, 3_000.0, -3_000.0] {
        assert!(right(&merged(ahead, 9, &[])), "by TTL, {ahead}");
        assert!(right(&merged(ahead, 9, &[3])), "ClientHello was lost, {ahead}");
        assert!(right(&merged(ahead, 9, &[5, 8])), "part of the flight, and Finished, {ahead}");
    }
    for ahead in [0.0, 7.0, -7.0, 25.0, 3_000.0] {
        assert!(right(&merged(ahead, 0, &[])), "by the order of answers, {ahead}");
    }
}

#[test]
fn two_places_a_way_apart_are_not_one_host() {
    let apart = |gap: f64| {
        let twice = handshake(40.0).into_iter().flat_map(|p| match p.from {
            Side::Client => [p.clone(), p.later(gap)],
            Side::Server => [p.clone().later(-gap), p],
        });
        let mut twice: Vec<Packet> = twice.collect();
        twice.sort_by(|a, b| a.at.total_cmp(&b.at));
        matches!(parted(&twice), Taps::Two(_))
    };
    assert!(!apart(0.39));
    assert!(apart(0.41));
}

proptest! {
    #[test]
    fn ttls_part_both_ends_whatever_was_lost(ahead in -5_000.0..5_000.0_f64, hops in 1_u8..30, lost in prop::collection::vec(3_usize..10, 0..3)) {
        prop_assert!(right(&merged(ahead, hops, &lost)));
    }
}
