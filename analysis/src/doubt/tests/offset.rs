//! A clock that was set, told from a way that grew.

use super::handshake;
use crate::clock::{Client, Edge, Span};
use crate::doubt::offset::{crossings, host_step, lacks_time, own_step, step_between};
use crate::tcp::by_hand::{C, Packet, S, nanos, view};
use crate::tcp::flow::Side;

/// A handshake as its client sees it, each side's packets stamped by its own clock when they left.
fn stamped() -> Vec<Packet> {
    stamped_over(40.0)
}

fn stamped_over(rtt: f64) -> Vec<Packet> {
    let left = |p: &Packet| p.at - if p.from == S { rtt / 2.0 } else { 0.0 };
    let stamp = |p: Packet| {
        let value = left(&p) as u32 + if p.from == S { 70_000 } else { 5_000 };
        p.stamped(value, 0)
    };
    handshake(rtt).into_iter().map(stamp).collect()
}

/// What the capture's clock shows if all packets of `sides` from place `from` on are stamped so much later.
fn moved(from: usize, by: f64, sides: &[Side]) -> Vec<Packet> {
    let late = |(i, p): (usize, Packet)| if i >= from && sides.contains(&p.from) { p.later(by) } else { p };
    stamped().into_iter().enumerate().map(late).collect()
}

fn own(packets: &[Packet]) -> Option<(usize, Span)> {
    own_step(&view::<Client>(packets)).map(|step| (step.from, step.by))
}

#[test]
fn both_sides_timestamps_tell_of_a_clock_that_was_set() {
    assert_eq!(own(&stamped()), None);
    for by in [300.0, -300.0] {
        let (from, told) = own(&moved(5, by, &[C, S])).expect("it was set");
        assert_eq!(from, 5);
        assert!((told.nanos() - nanos(by)).abs() < nanos(3.0), "{told}");
    }
    assert_eq!(own(&moved(5, 20.0, &[C, S])), None, "less than a daemon sets at once");
}

#[test]
fn what_moves_one_side_alone_was_the_way() {
    assert_eq!(own(&moved(5, 300.0, &[S])), None);
    assert_eq!(own(&moved(7, 300.0, &[C])), None);
}

/// Two seconds that the client's own timestamps do not count.
#[test]
fn a_leap_that_the_peers_timestamps_count_is_no_set_clock() {
    let told = |packets: &[Packet]| host_step(&view::<Client>(packets), C).map(|step| step.by);
    let leapt = |packet: Packet| Packet { stamps: packet.stamps.filter(|_| packet.from == C), ..packet };
    let alone: Vec<Packet> = moved(7, 2_000.0, &[C, S]).into_iter().map(leapt).collect();
    let by = told(&alone).expect("nobody says otherwise");
    assert!((by.nanos() - nanos(2_000.0)).abs() < nanos(3.0), "{by}");
    // The server's count them: the client stood still.
    let counted = |p: Packet| match (p.from, p.stamps, p.at > 2_000.0) {
        (S, Some((value, echo)), true) => p.stamped(value + 2_000, echo),
        _ => p,
    };
    let slept: Vec<Packet> = moved(7, 2_000.0, &[C, S]).into_iter().map(counted).collect();
    assert_eq!(told(&slept), None);
    // Neither does what the server never said behind it.
    let cut: Vec<Packet> = moved(7, 2_000.0, &[C, S]).into_iter().filter(|p| p.from == C || p.at < 2_000.0).collect();
    assert!(told(&cut).is_some());
}

#[test]
fn between_two_captures_a_set_clock_moves_both_directions_alike() {
    let there = |p: &Packet| p.at + if p.from == C { 20.0 } else { -20.0 } + 900.0;
    let step = |from: usize, out: f64, back: f64| {
        let client = view::<Client>(&stamped());
        let edge = stamped().into_iter().enumerate().map(|(i, p)| {
            let by = if i < from {
                0.0
            } else if p.from == C {
                out
            } else {
                back
            };
            Packet { at: there(&p) + by, ..p }
        });
        let edge = view::<Edge>(&edge.collect::<Vec<_>>());
        step_between(&crossings(&client, &edge), None).map(|step| (step.from, step.by))
    };
    assert_eq!(step(5, 300.0, 300.0), Some((5, Span::from_millis(300))));
    assert_eq!(step(5, -300.0, -300.0), Some((5, Span::from_millis(-300))));
    assert_eq!(step(5, 9.0, 9.0), None, "less than matters");
    // A longer way out makes the edge's clock show more, a longer way back less.
    assert_eq!(step(5, 300.0, 0.0), None);
    assert_eq!(step(5, 300.0, -300.0), None);
}

#[test]
fn a_mirror_stamps_when_it_passes_packets_on() {
    let lacks = |packets: &[Packet]| lacks_time(&view::<Client>(packets));
    assert!(!lacks(&stamped()));
    // All within a millisecond, then one that waited: both ends' own clocks went on meanwhile.
    let place = |i: usize| if i < 9 { i as f64 / 10.0 } else { 1_000.0 + i as f64 };
    let mirrored: Vec<Packet> = stamped_over(160.0).into_iter().enumerate().map(|(i, p)| Packet { at: place(i), ..p }).collect();
    assert!(lacks(&mirrored));
    // A way that held one direction and let it go together.
    let held = |p: Packet| if p.from == S { Packet { at: p.at.max(400.0), ..p } } else { p };
    let mut held: Vec<Packet> = stamped().into_iter().map(held).collect();
    held.sort_by(|a, b| a.at.total_cmp(&b.at));
    assert!(!lacks(&held));
    // Stamps of another unit.
    let finer = |p: Packet| Packet { stamps: p.stamps.map(|(value, echo)| (value.wrapping_mul(1_000), echo)), ..p };
    assert!(!lacks(&stamped().into_iter().map(finer).collect::<Vec<_>>()));
}
