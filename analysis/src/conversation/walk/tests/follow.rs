//! A walk never goes forward, and its arcs lie end to end.

use proptest::prelude::*;

use super::super::arcs::{What, Work};
use super::super::follow::{Point, Walk};
use super::super::tcp::far::far;
use super::super::tcp::limits::Sender;
use super::super::tcp::pairing::pair;
use super::super::tcp::tape::Tape;
use super::super::transport::{Endpoint, Rule, Ways};
use crate::clock::Unplaced;
use crate::judging::ledger::Phase;
use crate::tcp::by_hand::{C, Packet, S, ack, data, nanos, syn, view};
use crate::tcp::flow::Side;

/// One way.
const WAY: f64 = 20.0;

/// Both ends' captures.
#[derive(Clone, Debug, Default)]
struct Taps {
    client: Vec<Packet>,
    edge: Vec<Packet>,
    /// How far the edge's clock runs ahead.
    ahead: f64,
}

impl Taps {
    /// SYN to the acknowledgement of SYN-ACK.
    fn connected(ahead: f64) -> Self {
        let mut taps = Self { ahead, ..Self::default() };
        taps.pass(syn(C, 0.0), 0.0);
        taps.pass(syn(S, 20.1), 0.0);
        taps.pass(ack(C, 40.2, 0, 0), 0.0);
        taps
    }

    fn leave(&mut self, packet: Packet) {
        let ahead = self.ahead;
        if packet.from == C { self.client.push(packet) } else { self.edge.push(packet.later(ahead)) }
    }

    /// It takes so much longer.
    fn pass(&mut self, packet: Packet, longer: f64) {
        self.leave(packet.clone());
        let (ahead, packet) = (self.ahead, packet.later(WAY + longer));
        if packet.from == C { self.edge.push(packet.later(ahead)) } else { self.client.push(packet) }
    }

    fn sort(&mut self) {
        self.client.sort_by(|a, b| a.at.total_cmp(&b.at));
        self.edge.sort_by(|a, b| a.at.total_cmp(&b.at));
    }
}

/// The arcs from the last news at `end`: what, whose, and milliseconds.
fn walked(mut taps: Taps, end: Side) -> Vec<(What, Side, f64)> {
    taps.sort();
    let (mut client, mut edge) = (super::tape(C, &taps.client), super::tape(S, &taps.edge));
    let ways = pair(&mut client, &mut edge);
    let tape = if end == C { &client } else { &edge };
    let last = tape.news_before(tape.events.len()).expect("something came");
    let ends = [sending(client, None), sending(edge, None)];
    let mut walk = walk(&ends, ways, None);
    walk.follow(Point::Arrived { end, i: last });
    check(&walk, end, last);
    walk.arcs.iter().map(|a| (a.what, a.side, (a.span() as f64 / 1e5).round() / 10.0)).collect()
}

/// As a walk takes it: with what is known of its end as a sender.
fn sending(mut tape: Tape, far: Option<Side>) -> Tape {
    let slack = if far == Some(tape.end) { 7_000_000 } else { 0 };
    tape.sender = Sender { nodelay: false, round_trip: nanos(2.0 * WAY), slack };
    tape
}

fn walk<E: Endpoint>([client, edge]: &[E; 2], ways: Ways, far: Option<Side>) -> Walk<'_, E> {
    let phase_of: &dyn Fn(Side, i64) -> Phase = &|_, _| Phase::ServerFlight;
    Walk {
        ends: [client, edge],
        ways,
        round_trip: nanos(2.0 * WAY),
        far,
        phase_of,
        answers_upto: &|_, _| None,
        arcs: Vec::new(),
        unseen: None,
    }
}

/// Each arc ends where the one behind it began, on the same clock; none goes forward; at neither end does the walk come back to later.
fn check<E: Endpoint>(walk: &Walk<'_, E>, mut end: Side, last: usize) -> (Side, i64) {
    let mut at = walk.ends[end as usize].packet(last).at;
    let mut reached = [i64::MAX; 2];
    reached[end as usize] = at;
    for arc in &walk.arcs {
        assert_eq!(arc.to, at, "{arc:?} ends where the one behind it begins: {:#?}", walk.arcs);
        if arc.what == What::Way {
            assert_eq!(arc.side, end.peer(), "a way comes from the other end");
            end = arc.side;
        } else {
            assert_eq!(arc.side, end, "{arc:?} is at the end that the walk has reached");
            assert!(arc.from <= arc.to, "{arc:?} goes forward");
        }
        at = arc.from;
        assert!(at <= reached[end as usize], "{arc:?} comes back to later: {:#?}", walk.arcs);
        reached[end as usize] = at;
    }
    (end, at)
}

#[test]
fn a_plain_exchange_is_ways_and_work() {
    let mut taps = Taps::connected(3_000.0);
    taps.pass(data(C, 41.0, 0, 500), 0.0);
    taps.pass(data(S, 66.0, 0, 900).acks(500), 0.0);
    let arcs = walked(taps, C);
    let head = What::Work(Work::Head);
    let expected = [
        (What::Way, S, -2_980.0),
        (head, S, 5.0),
        (What::Way, C, 3_020.0),
        (head, C, 0.9),
        (What::Way, S, -2_980.0),
        (head, S, 0.1),
        (What::Way, C, 3_020.0),
    ];
    assert_eq!(arcs, expected);
}

#[test]
fn a_lost_copy_costs_the_time_until_the_one_that_came() {
    let mut taps = Taps::connected(0.0);
    taps.leave(data(C, 41.0, 0, 500).id(1));
    taps.pass(data(C, 291.0, 0, 500).id(2), 0.0);
    assert_eq!(walked(taps, S)[..2], [(What::Way, C, 20.0), (What::Lost, C, 250.0)]);
    // The first came after all, behind its repetition: it was overtaken.
    let mut taps = Taps::connected(0.0);
    taps.pass(data(C, 41.0, 0, 500).id(1), 400.0);
    taps.pass(data(C, 291.0, 0, 500).id(2), 0.0);
    assert_eq!(walked(taps, S)[..2], [(What::Way, C, 20.0), (What::Overtaken, C, 250.0)]);
    // A repetition that nobody needed costs nothing.
    let mut taps = Taps::connected(0.0);
    taps.pass(data(C, 41.0, 0, 500).id(1), 255.0);
    taps.pass(data(C, 291.0, 0, 500).id(2), 30.0);
    assert_eq!(walked(taps, S)[0], (What::Way, C, 275.0));
}

#[test]
fn a_segment_that_filled_a_hole_is_what_was_waited_for() {
    let mut taps = Taps::connected(0.0);
    taps.pass(data(C, 41.0, 0, 500), 0.0);
    taps.leave(data(S, 62.0, 0, 1_460).acks(500).id(1));
    taps.pass(data(S, 62.1, 1_460, 900).acks(500).id(2), 0.0);
    taps.pass(data(S, 292.0, 0, 1_460).acks(500).id(3), 0.0);
    assert_eq!(walked(taps, C)[..3], [(What::Way, S, 20.0), (What::Lost, S, 230.0), (What::Work(Work::Head), S, 1.0)]);
}

#[test]
fn what_nagle_held_is_a_limit_a_way_and_a_hold() {
    let mut taps = Taps::connected(0.0);
    taps.pass(data(S, 42.0, 0, 900), 0.0);
    taps.pass(data(C, 62.5, 0, 6).acks(900), 0.0);
    taps.pass(ack(S, 122.5, 900, 6), 0.0);
    taps.pass(data(C, 142.6, 6, 58).acks(900), 0.0);
    let arcs = walked(taps, S);
    let expected = [
        (What::Way, C, 20.0),
        (What::Limit(Rule::Nagle), C, 0.1),
        (What::Way, S, 20.0),
        (What::Hold(Rule::Nagle), S, 40.0),
        (What::Way, C, 20.0),
        (What::Work(Work::Head), C, 0.5),
    ];
    assert_eq!(arcs[..6], expected);
}

#[test]
fn a_pause_within_a_turn_is_the_programs_if_it_is_long() {
    let flight = |pause: f64| {
        let mut taps = Taps::connected(0.0);
        taps.pass(data(C, 41.0, 0, 500), 0.0);
        taps.pass(data(S, 62.0, 0, 900).acks(500), 0.0);
        taps.pass(data(S, 62.0 + pause, 900, 900).acks(500), 0.0);
        walked(taps, C)
    };
    let (head, tail) = (What::Work(Work::Head), What::Work(Work::Tail));
    assert_eq!(flight(15.0)[1..3], [(tail, S, 15.0), (head, S, 1.0)]);
    assert_eq!(flight(229.0)[1..3], [(tail, S, 229.0), (head, S, 1.0)]);
    // So long without an acknowledgement, it was a timer's that takes small segments along.
    assert_eq!(flight(231.0)[1..3], [(What::Overdue(Rule::Nagle), S, 231.0), (head, S, 1.0)]);
}

#[test]
fn each_long_pause_is_a_stretch_of_its_own() {
    let flight = |pause: f64| {
        let mut taps = Taps::connected(0.0);
        taps.pass(data(C, 41.0, 0, 500), 0.0);
        for piece in 0..3 {
            taps.pass(data(S, 62.0 + pause * f64::from(piece), 900 * piece, 900).acks(500), 0.0);
        }
        walked(taps, C)
    };
    let (head, tail) = (What::Work(Work::Head), What::Work(Work::Tail));
    assert_eq!(flight(85.0)[1..4], [(tail, S, 85.0), (tail, S, 85.0), (head, S, 1.0)]);
    // Half a round trip is no pause.
    assert_eq!(flight(20.0)[1..3], [(tail, S, 40.0), (head, S, 1.0)]);
    assert_eq!(flight(20.1)[1..4], [(tail, S, 20.1), (tail, S, 20.1), (head, S, 1.0)]);
}

#[test]
fn news_that_came_with_data_left_when_those_were_written() {
    let mut taps = Taps::connected(0.0);
    taps.pass(data(C, 41.0, 0, 500).id(1), 0.0);
    taps.pass(data(S, 62.0, 0, 300).acks(500), 0.0);
    // ClientHello again, which acknowledges the first piece of the flight.
    taps.pass(data(C, 90.0, 0, 500).acks(300).id(2), 0.0);
    taps.pass(data(S, 110.1, 300, 200).acks(500), 0.0);
    let head = What::Work(Work::Head);
    let expected = [
        (What::Way, S, 20.0),
        (What::Limit(Rule::Nagle), S, 0.1),
        (What::Way, C, 20.0),
        (head, C, 8.0),
        (What::Way, S, 20.0),
        (head, S, 1.0),
    ];
    assert_eq!(walked(taps, C)[..6], expected);
}

/// A client that reads at 440 ms what filled its buffer of 2,920 bytes, having told its window of `rest` at 82.2 ms.
fn read_late(rest: u16) -> Taps {
    let mut taps = Taps::connected(0.0);
    let told = 2_920 - i32::from(rest);
    taps.pass(data(C, 41.0, 0, 500).window(2_920), 0.0);
    taps.pass(data(S, 62.0, 0, 1_460).acks(500), 0.0);
    taps.pass(data(S, 62.1, 1_460, 1_460 - u32::from(rest)).acks(500), 0.0);
    taps.pass(ack(C, 82.2, 500, told).window(rest), 0.0);
    if rest > 0 {
        taps.pass(data(S, 102.3, told, u32::from(rest)).acks(500), 0.0);
        taps.pass(ack(C, 162.3, 500, 2_920).window(0), 0.0);
    }
    // Its answer to a probe of the window.
    taps.pass(ack(S, 400.0, 2_919, 500), 0.0);
    taps.pass(ack(C, 420.1, 500, 2_920).window(0), 0.0);
    taps.pass(ack(C, 440.0, 500, 2_920).window(2_920), 0.0);
    taps.pass(data(S, 460.1, 2_920, 1_460).acks(500), 0.0);
    taps.pass(ack(C, 480.2, 500, 4_380), 0.0);
    taps
}

#[test]
fn a_window_is_shut_since_no_whole_segment_fits() {
    for rest in [0, 24, 1_459] {
        let expected = [
            (What::Way, S, 20.0),
            (What::Limit(Rule::ReceiveWindow), S, 0.1),
            (What::Way, C, 20.0),
            (What::Work(Work::Unread), C, 357.8),
            (What::Hold(Rule::ReceiveWindow), C, 0.1),
        ];
        assert_eq!(walked(read_late(rest), C)[..5], expected, "{rest} bytes fitted");
    }
}

/// Both tapes where one end was captured, and the ways between them.
fn one_end(end: Side, packets: &[Packet]) -> ([Tape; 2], Ways) {
    let view = view::<Unplaced>(packets);
    let mut near = Tape::captured(end, &view, [None; 2]);
    let there = far(&mut near, &view);
    let trip = Some(there.round_trip);
    let (towards, from) = if end == C { (trip, Some(0)) } else { (Some(0), trip) };
    let tapes = if end == C { [near, there.tape] } else { [there.tape, near] };
    (tapes, Ways { least: [towards, from], usual: [towards, from] })
}

#[test]
fn from_either_end_a_window_that_is_shut_is_its_readers() {
    let unread = |end: Side| {
        let mut taps = read_late(24);
        taps.sort();
        let packets = if end == C { &taps.client } else { &taps.edge };
        let (ends, ways) = one_end(end, packets);
        let ends = ends.map(|tape| if tape.end == end { tape } else { sending(tape, Some(end.peer())) });
        let mut walk = walk(&ends, ways, Some(end.peer()));
        let last = ends[0].news_before(ends[0].events.len()).expect("something came");
        walk.follow(Point::Arrived { end: C, i: last });
        walk.arcs.iter().find(|a| a.what == What::Work(Work::Unread)).map(|a| (a.side, a.span() / 1_000_000))
    };
    assert_eq!((unread(C), unread(S)), (Some((C, 357)), Some((C, 357))));
}

#[test]
fn from_one_end_a_hole_tells_what_was_lost_there() {
    assert_eq!(hole_filled(312.0, 1_272)[..2], [(What::Way, S, 0), (What::Lost, S, 2_299)]);
    let overtaken = hole_filled(82.9, 1_042);
    assert!(overtaken.iter().all(|(what, ..)| *what != What::Lost), "packets that changed places: {overtaken:?}");
}

/// The arcs of a walk from a segment that filled a hole at that time, stamped so, in tenths of a millisecond.
fn hole_filled(at: f64, stamp: u32) -> Vec<(What, Side, i64)> {
    let packets = [
        syn(C, 0.0),
        syn(S, 40.0).stamped(1_000, 0),
        ack(C, 40.1, 0, 0),
        data(C, 41.0, 0, 500),
        data(S, 82.1, 1_460, 900).acks(500).stamped(1_042, 0),
        data(S, at, 0, 1_460).acks(500).stamped(stamp, 0),
    ];
    let view = view::<Unplaced>(&packets);
    let mut near = Tape::captured(C, &view, [None; 2]);
    let there = far(&mut near, &view);
    let ways = Ways { least: [Some(there.round_trip), Some(0)], usual: [Some(there.round_trip), Some(0)] };
    let ends = [near, sending(there.tape, Some(S))];
    let mut walk = walk(&ends, ways, Some(S));
    walk.follow(Point::Arrived { end: C, i: 5 });
    check(&walk, C, 5);
    walk.arcs.iter().map(|a| (a.what, a.side, a.span() / 100_000)).collect()
}

#[test]
fn a_server_that_speaks_first_waits_for_the_acknowledgement_of_syn_ack() {
    let mut taps = Taps::connected(0.0);
    taps.pass(data(S, 63.2, 0, 90), 0.0);
    let head = What::Work(Work::Head);
    let expected =
        [(What::Way, S, 20.0), (head, S, 3.0), (What::Way, C, 20.0), (head, C, 0.1), (What::Way, S, 20.0), (head, S, 0.1)];
    assert_eq!(walked(taps, C)[..6], expected);
}

#[test]
fn a_departure_that_its_capture_missed_is_put_where_it_usually_is() {
    let mut taps = Taps::connected(0.0);
    taps.pass(data(C, 41.0, 0, 500), 0.0);
    taps.pass(data(S, 66.0, 0, 900).acks(500), 0.0);
    taps.edge.pop();
    taps.edge.retain(|p| p.from == C || p.len == 0);
    let head = What::Work(Work::Head);
    assert_eq!(walked(taps, C)[..3], [(What::Way, S, 20.0), (head, S, 5.0), (What::Way, C, 20.0)]);
}

/// One packet of a conversation made by chance.
#[derive(Clone, Debug)]
struct Step {
    by_client: bool,
    gap: f64,
    len: u32,
    /// Sent again instead: the last but so many.
    again: Option<usize>,
    lost: bool,
    longer: f64,
    missed: [bool; 2],
}

fn steps(missed: f64) -> impl Strategy<Value = Vec<Step>> {
    let fate = (prop::bool::weighted(0.15), prop_oneof![6 => Just(0.0), 1 => 0.0..5.0_f64, 1 => 0.0..300.0_f64]);
    let missed = [prop::bool::weighted(missed), prop::bool::weighted(missed)];
    let len = prop_oneof![Just(0_u32), 1_u32..200, Just(1_460), 1_000_u32..4_000];
    let gap = prop_oneof![0.001..1.0_f64, 1.0..60.0_f64, 100.0..400.0_f64];
    let step = (any::<bool>(), gap, len, prop::option::weighted(0.15, 0_usize..4), fate, missed);
    let step = step.prop_map(|(by_client, gap, len, again, (lost, longer), missed)| Step {
        by_client,
        gap,
        len,
        again,
        lost,
        longer,
        missed,
    });
    prop::collection::vec(step, 1..40)
}

/// Plays them: what each end acknowledges is what has come to it.
fn played(steps: &[Step], ahead: f64) -> Taps {
    let mut taps = Taps::connected(ahead);
    let mut now = 45.0;
    let mut sent: [Vec<(f64, i32, u32)>; 2] = Default::default();
    let mut came: [Vec<(f64, i32, u32)>; 2] = Default::default();
    for (n, step) in (1_u16..).zip(steps) {
        now += step.gap;
        let side = if step.by_client { C } else { S };
        let (own, peer) = (side as usize, side.peer() as usize);
        let mut arrived: Vec<_> =
            came[peer].iter().filter(|(at, ..)| *at <= now).map(|(_, start, len)| (*start, *start + *len as i32)).collect();
        arrived.sort_unstable();
        let acknowledged =
            arrived.into_iter().fold(0, |reached, (start, end)| if start <= reached { reached.max(end) } else { reached });
        let next = sent[own].iter().map(|(_, start, len)| start + *len as i32).max().unwrap_or(0);
        let again = step.again.and_then(|back| sent[own].iter().rev().nth(back).map(|(_, start, len)| (*start, *len)));
        let (start, len) = again.unwrap_or((next, step.len));
        let packet = data(side, now, start, len).acks(acknowledged).id(n).stamped(now as u32, 0);
        sent[own].push((now, start, len));
        if !step.missed[0] {
            taps.leave(packet.clone());
        }
        if !step.lost {
            let at = now + WAY + step.longer;
            came[own].push((at, start, len));
            if !step.missed[1] {
                let packet = packet.later(WAY + step.longer + if side == C { ahead } else { 0.0 });
                if side == C { taps.edge.push(packet) } else { taps.client.push(packet) }
            }
        }
    }
    taps.sort();
    taps
}

/// Follows all that either end learnt; gives where and when each walk ended.
fn walk_all(tapes: [Tape; 2], ways: Ways, far: Option<Side>) -> Vec<(Side, i64)> {
    let tapes = tapes.map(|tape| sending(tape, far));
    let news = |end| {
        let tape: &Tape = &tapes[end as usize];
        (0..tape.events.len()).filter(|i| !tape.is_own(*i) && tape.events[*i].is_news()).map(move |i| (end, i))
    };
    let followed = |(end, i)| {
        let mut walk = walk(&tapes, ways, far);
        walk.follow(Point::Arrived { end, i });
        check(&walk, end, i)
    };
    news(C).chain(news(S)).map(followed).collect()
}

proptest! {
    /// Both ends, on clocks that differ: from any news back to SYN.
    #[test]
    fn between_both_ends_every_walk_leads_to_syn(steps in steps(0.0), ahead in -4_000.0..4_000.0_f64) {
        let taps = played(&steps, ahead);
        let (mut client, mut edge) = (super::tape(C, &taps.client), super::tape(S, &taps.edge));
        let ways = pair(&mut client, &mut edge);
        let ended = walk_all([client, edge], ways, None);
        prop_assert!(!ended.is_empty() && ended.iter().all(|ended| *ended == (C, 0)), "{ended:?}");
    }

    /// Though either capture missed packets.
    #[test]
    fn where_captures_missed_packets_no_walk_goes_forward(steps in steps(0.1), ahead in -4_000.0..4_000.0_f64) {
        let taps = played(&steps, ahead);
        let (mut client, mut edge) = (super::tape(C, &taps.client), super::tape(S, &taps.edge));
        let ways = pair(&mut client, &mut edge);
        walk_all([client, edge], ways, None);
    }

    /// With one end, whose capture may have missed packets.
    #[test]
    fn from_one_end_no_walk_goes_forward(steps in steps(0.05), at_client in any::<bool>()) {
        let taps = played(&steps, 0.0);
        let (end, packets) = if at_client { (C, &taps.client) } else { (S, &taps.edge) };
        let (tapes, ways) = one_end(end, packets);
        walk_all(tapes, ways, Some(end.peer()));
    }
}
