//! What a client's capture tells of the server's end, 40 ms there and back.

use super::super::tcp::far::{Far, far, put_off};
use super::super::tcp::tape::{Event, Known, Tape};
use super::super::transport::Endpoint;
use crate::clock::Unplaced;
use crate::tcp::by_hand::{C, Packet, S, ack, data, nanos, syn, view};

/// SYN, SYN-ACK and its acknowledgement.
fn begun() -> Vec<Packet> {
    vec![syn(C, 0.0), syn(S, 40.0), ack(C, 40.1, 0, 0)]
}

fn read(packets: &[Packet]) -> (Tape, Far) {
    let view = view::<Unplaced>(packets);
    let mut near = Tape::captured(C, &view, [None; 2]);
    let far = far(&mut near, &view);
    (near, far)
}

/// The far end's own sight of the client's packet `i`; absent if it says nothing of it.
fn there((near, far): &(Tape, Far), i: usize) -> Option<Event> {
    near.events[i].other.map(|k| far.tape.events[k as usize])
}

/// When, in milliseconds, and how that is known.
fn when(read: &(Tape, Far), i: usize) -> (f64, Known) {
    let event = there(read, i).expect("it is known there");
    (event.at() as f64 / 1e6, event.known)
}

fn hello(at: f64) -> Packet {
    data(C, at, 0, 500)
}

#[test]
fn timestamps_tell_when_something_left() {
    let told = |at: f64, stamp: u32| {
        let stamped = begun().into_iter().map(|p| if p.from == S { p.stamped(1_000, 0) } else { p });
        let mut packets: Vec<Packet> = stamped.collect();
        packets.extend([hello(41.0), data(S, at, 0, 900).acks(500).stamped(stamp, 0)]);
        when(&read(&packets), 4)
    };
    // Its clock shows 1,000 for what came at 40 ms.
    assert_eq!(told(82.0, 1_042), (82.0, Known::Told));
    assert_eq!(told(400.0, 1_060), (100.0, Known::Told), "it left at 60 of its ms, and came at 400 of ours");
    assert_eq!(told(400.0, 1_360), (400.0, Known::Told), "it left late");
    assert_eq!(told(84.0, 1_042), (84.0, Known::Told), "2 ms are jitter");
    // Slack is a tick, 2 ms of jitter, and 2 % for a clock that runs otherwise.
    assert_eq!(told(86.0, 1_042), (82.0, Known::Told), "4 ms are not");
    assert_eq!(told(540.0, 1_490), (540.0, Known::Told), "10 ms in half a second may be its clock");
}

/// A ClientHello of two segments, of which the path held one for 30 ms.
#[test]
fn what_filled_a_hole_came_when_it_is_acknowledged() {
    let hello = [data(C, 41.0, 0, 1_460), data(C, 41.01, 1_460, 700)];
    let answered = |answers: &[Packet]| {
        let read = read(&[&begun()[..], &hello, answers].concat());
        [when(&read, 3), when(&read, 4)]
    };
    let filled = [ack(S, 81.1, 0, 0).sacks(1_460, 2_160), ack(S, 111.0, 0, 2_160)];
    assert_eq!(answered(&filled), [(111.0, Known::Told), (81.1, Known::Told)]);
    // The second: its kernel may have put off the acknowledgement. It came no sooner than the first.
    assert_eq!(answered(&[ack(S, 81.3, 0, 1_460), ack(S, 111.0, 0, 2_160)]), [(81.3, Known::Told), (81.3, Known::Guessed)]);
}

#[test]
fn what_is_acknowledged_had_come_though_that_acknowledgement_was_overtaken() {
    let stamped = |p: Packet, stamp| p.stamped(stamp, 0);
    let begun = begun().into_iter().map(|p| if p.from == S { stamped(p, 1_000) } else { p });
    let hello = [data(C, 41.0, 0, 1_460), data(C, 41.01, 1_460, 700)];
    let answers = [
        stamped(ack(S, 82.2, 0, 0).sacks(1_460, 2_160), 1_041),
        stamped(ack(S, 112.0, 0, 2_160), 1_071),
        stamped(data(S, 112.5, 0, 900).acks(2_160), 1_072),
        stamped(ack(S, 120.0, 0, 2_160), 1_071),
    ];
    let read = read(&begun.chain(hello).chain(answers).collect::<Vec<_>>());
    assert_eq!([when(&read, 3), when(&read, 4)], [(111.0, Known::Told), (82.2, Known::Told)]);
}

#[test]
fn without_timestamps_a_departure_is_guessed() {
    let packets = [&begun()[..], &[hello(41.0), data(S, 400.0, 0, 900).acks(500)]].concat();
    assert_eq!(when(&read(&packets), 4), (400.0, Known::Guessed));
}

#[test]
fn nothing_left_sooner_than_what_lies_before_it_in_the_stream() {
    let mut packets: Vec<Packet> = begun().into_iter().map(|p| if p.from == S { p.stamped(1_000, 0) } else { p }).collect();
    packets.extend([
        hello(41.0),
        data(S, 300.0, 0, 900).acks(500).stamped(1_260, 0),
        data(S, 301.0, 900, 900).acks(500).stamped(1_100, 0),
    ]);
    assert_eq!(when(&read(&packets), 5), (300.0, Known::Told));
}

/// Two copies of ClientHello, stamped if asked for, and these answers: which copy came.
fn copy_that_came(stamped: bool, answers: &[Packet]) -> Option<usize> {
    let stamp = |p: Packet, value| if stamped { p.stamped(value, 0) } else { p };
    let copies = [stamp(hello(41.0), 41), stamp(hello(291.0), 291)];
    let read = read(&[&begun()[..], &copies, answers].concat());
    let found: Vec<usize> = [3, 4].into_iter().filter(|i| there(&read, *i).is_some()).collect();
    assert!(found.len() <= 1, "only one copy brings anything");
    found.first().copied()
}

#[test]
fn the_echoed_timestamp_tells_which_copy_came() {
    let answer = |echo| [data(S, 332.0, 0, 900).acks(500).stamped(1_000, echo)];
    assert_eq!(copy_that_came(true, &answer(291)), Some(4));
    assert_eq!(copy_that_came(true, &answer(41)), Some(3));
    // An echo of something else tells nothing: the last that was sent long enough before.
    assert_eq!(copy_that_came(true, &answer(7)), Some(4));
}

#[test]
fn what_is_echoed_behind_a_hole_is_of_what_came_before_it() {
    // Two segments in one frame are lost; the second comes as a probe. What the SACK echoes is as old as the frame (RFC 7323, 4.3).
    let packets = [
        &begun()[..],
        &[
            data(C, 41.0, 0, 2_900).stamped(41, 0),
            data(C, 121.0, 1_450, 1_450).stamped(121, 0),
            ack(S, 161.0, 0, 0).sacks(1_450, 2_900).stamped(1_161, 41),
            data(C, 161.1, 0, 1_450).stamped(161, 0),
            ack(S, 201.1, 0, 2_900).stamped(1_201, 161),
        ],
    ]
    .concat();
    let read = read(&packets);
    assert!(there(&read, 3).is_none(), "the frame never came");
    assert_eq!((when(&read, 4).0, when(&read, 6).0), (161.0, 201.1));
}

#[test]
fn d_sack_soon_behind_the_acknowledgement_tells_that_the_first_copy_came() {
    let told = |at: f64| [ack(S, 331.5, 0, 500), ack(S, at, 0, 500).sacks(0, 500)];
    assert_eq!(copy_that_came(false, &[ack(S, 331.5, 0, 500)]), Some(4));
    assert_eq!(copy_that_came(false, &told(332.0)), Some(3));
    assert_eq!(copy_that_came(false, &told(336.0)), Some(3));
    assert_eq!(copy_that_came(false, &told(337.0)), Some(4), "much later it tells of another repetition");
    // A block above the acknowledgement says that something is missing, not that it came twice.
    assert_eq!(copy_that_came(false, &[ack(S, 331.5, 0, 500), ack(S, 332.0, 0, 500).sacks(600, 700)]), Some(4));
}

#[test]
fn an_answer_sooner_than_half_the_quickest_round_trip_is_for_the_first_copy() {
    // SYN took 40 ms.
    assert_eq!(copy_that_came(false, &[ack(S, 310.0, 0, 500)]), Some(3));
    assert_eq!(copy_that_came(false, &[ack(S, 312.0, 0, 500)]), Some(4));
    assert_eq!(copy_that_came(false, &[]), None);
}

#[test]
fn a_prompt_acknowledgement_tells_when_something_came() {
    let came = |answer: Packet| when(&read(&[&begun()[..], &[hello(41.0), answer]].concat()), 3);
    assert_eq!(came(ack(S, 81.0, 0, 500)), (81.0, Known::Told));
    // A round trip, a tenth and 2 ms.
    assert_eq!(came(ack(S, 85.0, 0, 500)), (85.0, Known::Told));
    // Put off by its kernel: it came when it usually would have.
    assert_eq!(came(ack(S, 111.0, 0, 500)), (81.0, Known::Guessed));
    assert_eq!(came(ack(S, 130.9, 0, 500)), (81.0, Known::Guessed));
    // Linux puts nothing off for so long: it came late.
    assert_eq!(came(ack(S, 131.1, 0, 500)), (131.1, Known::Guessed));
    // Others do.
    assert_eq!(came(ack(S, 131.1, 0, 500).ttl(120)), (81.0, Known::Guessed));
    assert_eq!(came(ack(S, 292.0, 0, 500).ttl(120)), (292.0, Known::Guessed));
    // An answer of the program's: its kernel would have acknowledged by itself before long.
    assert_eq!(came(data(S, 111.0, 0, 900).acks(500)), (81.0, Known::Guessed));
    assert_eq!(came(data(S, 200.0, 0, 900).acks(500)), (150.0, Known::Guessed));
}

#[test]
fn what_acknowledges_less_left_before_it_came() {
    // Of two segments the second comes in time, the first 110 ms late: its timestamp says when the acknowledgement of what lies above
    // the hole left.
    let came = |stamp: Option<u32>| {
        let stamped = |p: Packet, ms: u32| if stamp.is_some() { p.stamped(1_000 + ms, 0) } else { p };
        let begun = begun().into_iter().map(|p| if p.from == S { stamped(p, 40) } else { p });
        let mut packets: Vec<Packet> = begun.collect();
        packets.extend([
            hello(41.0),
            data(C, 41.0, 500, 500),
            stamped(ack(S, 180.0, 0, 0).sacks(500, 1_000), stamp.unwrap_or(0)),
        ]);
        packets.push(stamped(data(S, 191.0, 0, 900).acks(1_000).ttl(120), 191));
        when(&read(&packets), 3)
    };
    assert_eq!(came(Some(180)), (180.0, Known::Guessed));
    assert_eq!(came(Some(81)), (81.0, Known::Guessed), "the acknowledgement itself came late");
    assert_eq!(came(None), (81.0, Known::Guessed), "nothing tells which of them was late");
}

#[test]
fn how_long_an_acknowledgement_is_put_off_depends_on_the_stack() {
    let (near, _) = read(&[syn(C, 0.0), syn(S, 40.0).ttl(64), ack(S, 50.0, 0, 0).ttl(65)]);
    assert_eq!((put_off(&near.events[1]), put_off(&near.events[2])), (nanos(50.0), nanos(210.0)));
}

#[test]
fn the_round_trip_is_the_shortest_that_the_far_end_can_have_answered_in() {
    let trip = |ttl: u8, answer: f64| {
        let answer = ack(S, 41.0 + answer, 0, 500).ttl(ttl);
        read(&[&begun()[..], &[hello(41.0), answer]].concat()).1.round_trip
    };
    for ttl in [64, 70] {
        assert_eq!(trip(ttl, 60.0), nanos(40.0));
        assert_eq!(trip(ttl, 30.0), nanos(30.0));
        assert_eq!(trip(ttl, 16.1), nanos(16.1));
    }
    assert_eq!(trip(70, 15.9), nanos(40.0), "what answers so soon from elsewhere stands on the way");
    assert_eq!(trip(64, 15.9), nanos(15.9), "SYN-ACK was late");
}

#[test]
fn what_of_ours_tells_nothing_there_is_left_out_and_acknowledgements_come_ahead() {
    let packets = [&begun()[..], &[hello(41.0), ack(C, 50.0, 500, 0)]].concat();
    let read = read(&packets);
    assert!(there(&read, 3).is_none(), "nobody acknowledged it");
    // 50 ms and a round trip, less 1.5 ms and a twentieth of it.
    assert_eq!(when(&read, 4), (86.5, Known::Guessed));
}

#[test]
fn nobody_acknowledges_what_has_not_come() {
    // By its timestamp the answer left before ClientHello can have come.
    let mut packets: Vec<Packet> = begun().into_iter().map(|p| if p.from == S { p.stamped(1_000, 0) } else { p }).collect();
    packets.extend([hello(141.0), data(S, 400.0, 0, 900).acks(500).stamped(1_060, 0)]);
    assert_eq!(when(&read(&packets), 4).0, 181.0);
}

#[test]
fn what_was_captured_in_one_piece_may_come_in_two() {
    // Two segments in one frame, both lost; the second is sent again as a probe, then the first.
    let packets = [
        &begun()[..],
        &[
            data(C, 41.0, 0, 2_900),
            data(C, 121.0, 1_450, 1_450),
            ack(S, 161.0, 0, 0).sacks(1_450, 2_900),
            data(C, 161.1, 0, 1_450),
            ack(S, 201.1, 0, 2_900),
        ],
    ]
    .concat();
    let read = read(&packets);
    assert!(there(&read, 3).is_none(), "the frame never came");
    assert_eq!((when(&read, 4).0, when(&read, 6).0), (161.0, 201.1));
    assert_eq!(read.1.tape.completing(2_900).map(|i| read.1.tape.events[i].at()), Some(nanos(201.1)));
}

#[test]
fn what_left_before_something_came_no_later_than_that() {
    // Something near answers the client's data in the edge's name, which is 165 ms away.
    let packets =
        [syn(C, 0.0), syn(S, 165.0), ack(C, 165.1, 0, 0), hello(171.6), ack(S, 172.0, 0, 500), data(S, 336.4, 0, 900).acks(500)];
    let read = read(&packets);
    assert_eq!(when(&read, 3).0, 172.0);
    assert!(when(&read, 2).0 <= 172.0, "{:?}", when(&read, 2));
}
