//! Each rule for senders, and beside it what only just misses it.
//!
//! The tapes are a server's that answers what came at 41 ms, on a round trip of 40 ms; a full segment holds 1,460 bytes.

use super::super::tcp::limits::{Sender, freed};
use super::super::tcp::tape::Known;
use super::super::transport::{Freed, Rule};
use super::tape;
use crate::tcp::by_hand::{C, Packet, S, ack, data, syn};

const FULL: u32 = 1_460;
const PLAIN: Sender = Sender { nodelay: false, round_trip: 40_000_000, slack: 0 };
const NODELAY: Sender = Sender { nodelay: true, ..PLAIN };
/// As a far end's departures are known.
const FAR: Sender = Sender { slack: 7_000_000, ..PLAIN };

/// SYN to ClientHello; the news that the server's turn answers is the last of them.
fn begun() -> Vec<Packet> {
    vec![syn(C, 0.0), syn(S, 0.1), ack(C, 40.0, 0, 0), data(C, 41.0, 0, 500)]
}

/// What let the last of `more` go, the turn having begun with ClientHello: the rule, and the place of the news in `more`.
fn last(sender: Sender, more: &[Packet]) -> Option<(Rule, usize)> {
    let packets = [&begun()[..], more].concat();
    match freed(&tape(S, &packets), packets.len() - 1, 3, sender) {
        Freed::By { news, rule } => Some((rule, news - 4)),
        Freed::Timer(_) | Freed::Program => None,
    }
}

fn full(at: f64, nth: i32) -> Packet {
    data(S, at, nth * FULL as i32, FULL).acks(500)
}

/// So many full segments, microseconds apart.
fn fulls(at: f64, many: i32) -> Vec<Packet> {
    (0..many).map(|nth| full(at + f64::from(nth) / 1_000.0, nth)).collect()
}

#[test]
fn what_follows_without_news_is_the_programs() {
    assert_eq!(last(PLAIN, &[full(42.0, 0), full(42.1, 1)]), None);
    assert_eq!(last(PLAIN, &[full(42.0, 0), full(90.0, 1)]), None);
    // What was acknowledged before, and is acknowledged again, is no news.
    assert_eq!(last(PLAIN, &[full(42.0, 0), data(S, 82.1, 1_460, 100).acks(500)]), None);
}

#[test]
fn a_small_segment_waits_for_the_last_small_one_alone() {
    let small = data(S, 42.01, 1_460, 300).acks(500);
    let waited =
        |told: f64, at: f64| vec![full(42.0, 0), small.clone(), ack(C, told, 500, 1_760), data(S, at, 1_760, 200).acks(500)];
    assert_eq!(last(PLAIN, &waited(82.05, 82.1)), Some((Rule::Nagle, 2)));
    assert_eq!(last(NODELAY, &waited(82.05, 82.3)), None, "its socket does not wait");
    assert_eq!(last(PLAIN, &waited(82.05, 83.6)), None, "what was held leaves at once");
    assert_eq!(last(FAR, &waited(82.05, 83.6)), Some((Rule::Nagle, 2)), "seen from the other end, at once is some ms");
    // Full segments do not wait.
    let big = [full(42.0, 0), small.clone(), ack(C, 82.05, 500, 1_760), data(S, 82.3, 1_760, FULL).acks(500)];
    assert_eq!(last(PLAIN, &big), None);
    // The first acknowledgement of the small one counts, whatever came before and behind it.
    let several =
        [full(42.0, 0), small.clone(), ack(C, 82.0, 500, 1_460), ack(C, 83.0, 500, 1_760), data(S, 83.1, 1_760, 200).acks(500)];
    assert_eq!(last(PLAIN, &several), Some((Rule::Nagle, 3)));
}

#[test]
fn by_minshalls_rule_data_that_are_not_small_hold_nothing() {
    // The small one was acknowledged before the full one left: only what was sent behind it is acknowledged now.
    let acknowledged = [
        data(S, 42.0, 0, 300),
        ack(C, 60.0, 500, 300),
        data(S, 61.0, 300, FULL),
        ack(C, 100.0, 500, 1_760),
        data(S, 100.1, 1_760, 200),
    ];
    assert_eq!(
        last(NODELAY, &acknowledged),
        Some((Rule::CongestionWindow, 3)),
        "a full one before it: its window may have been so small"
    );
    // Nagle's own rule, which some stacks have, would have waited for it.
    assert_eq!(last(PLAIN, &acknowledged), Some((Rule::Nagle, 3)));
}

#[test]
fn by_nagles_own_rule_a_small_segment_waits_for_all() {
    let waited = |first: f64, acked: i32, told: f64, at: f64, len: u32| {
        vec![full(first, 0), ack(C, told, 500, acked), data(S, at, 1_460, len).acks(500)]
    };
    assert_eq!(last(PLAIN, &waited(42.0, 1_460, 82.05, 82.1, 200)), Some((Rule::Nagle, 1)));
    let window = Some((Rule::CongestionWindow, 1));
    assert_eq!(last(PLAIN, &waited(42.0, 1_459, 82.05, 82.1, 200)), window, "not all is acknowledged: a window of one");
    assert_eq!(last(PLAIN, &waited(42.0, 1_460, 82.05, 84.1, 200)), None, "not at once");
    assert_eq!(last(PLAIN, &waited(80.2, 1_460, 82.05, 82.1, 200)), None, "a wait of 1.9 ms is chance");
    assert_eq!(last(PLAIN, &waited(80.0, 1_460, 82.05, 82.1, 200)), Some((Rule::Nagle, 1)), "a wait of 2.1 ms is not");
    assert_eq!(last(PLAIN, &waited(42.0, 1_460, 82.05, 82.1, FULL)), window, "it is not small");
    assert_eq!(last(NODELAY, &waited(42.0, 1_460, 82.05, 82.1, 200)), window);
    let far = waited(42.0, 1_460, 82.05, 82.1, 200);
    assert_eq!(last(FAR, &far), Some((Rule::Nagle, 1)), "its timestamps tell when it left");
    assert_eq!(last(FAR, &waited(42.0, 1_460, 75.0, 84.0, 200)), None, "9 ms behind the news is not at once");
    assert_eq!(last(FAR, &waited(67.0, 1_460, 82.05, 82.1, 200)), None, "15 ms may be chance where 7 are not known");
    let packets = [&begun()[..], &far].concat();
    let mut guessed = tape(S, &packets);
    guessed.events.iter_mut().for_each(|e| e.known = Known::Guessed);
    let by_window = Freed::By { news: 5, rule: Rule::CongestionWindow };
    assert_eq!(freed(&guessed, packets.len() - 1, 3, FAR), by_window, "without them it may have been a window");
}

#[test]
fn a_full_window_is_opened_by_the_first_news() {
    let window = |segments: i32, at: f64| {
        let acks = [ack(C, 82.0, 500, 1_460), ack(C, 82.3, 500, 4_380)];
        [&fulls(42.0, segments)[..], &acks, &[full(at, segments)]].concat()
    };
    assert_eq!(last(PLAIN, &window(10, 82.4)), Some((Rule::CongestionWindow, 10)));
    assert_eq!(last(PLAIN, &window(8, 82.4)), Some((Rule::CongestionWindow, 8)));
    assert_eq!(last(PLAIN, &window(7, 83.6)), None, "seven segments fill no initial window");
    assert_eq!(last(PLAIN, &window(7, 83.4)), Some((Rule::CongestionWindow, 7)), "but what goes on at once had waited");
    // Paced over a round trip and a quarter, and the timers' slack.
    assert_eq!(last(PLAIN, &window(10, 82.0 + 59.9)), Some((Rule::CongestionWindow, 10)));
    assert_eq!(last(PLAIN, &window(10, 82.0 + 60.1)), None);
    // Nothing is under way any more, and it takes its time: from then on it is its program's.
    let all = |at: f64| [&fulls(42.0, 10)[..], &[ack(C, 82.0, 500, 1_460), ack(C, 83.0, 500, 14_600), full(at, 10)]].concat();
    assert_eq!(last(PLAIN, &all(92.9)), Some((Rule::CongestionWindow, 10)), "paced, perhaps");
    assert_eq!(
        (last(PLAIN, &all(93.1)), last(PLAIN, &all(600.0))),
        (Some((Rule::CongestionWindow, 11)), Some((Rule::CongestionWindow, 11)))
    );
    // What was acknowledged before it left is under way no more.
    let early = [&fulls(42.0, 4)[..], &[ack(C, 43.0, 500, 5_840)], &(4..10).map(|n| full(44.0, n)).collect::<Vec<_>>()].concat();
    let early = [&early[..], &[ack(C, 84.0, 500, 7_300), full(85.6, 10)]].concat();
    assert_eq!(last(PLAIN, &early), None);
}

#[test]
fn a_small_window_stops_behind_full_segments() {
    // Two segments a round trip: an initial window of RFC 2581, or less.
    let two =
        |len: u32, at: f64| vec![full(42.0, 0), data(S, 42.01, 1_460, len).acks(500), ack(C, 82.0, 500, 1_460), full(at, 2)];
    assert_eq!(last(PLAIN, &two(FULL, 82.1)), Some((Rule::CongestionWindow, 2)));
    assert_eq!(last(PLAIN, &two(FULL, 83.6)), None, "what had waited leaves at once");
    assert_eq!(last(PLAIN, &two(FULL - 1, 82.3)), None, "a program that writes by pieces ends them anywhere");
    assert_eq!(last(PLAIN, &two(2 * FULL, 82.1)), Some((Rule::CongestionWindow, 2)), "not cut yet");
    assert_eq!(last(PLAIN, &two(2 * FULL - 300, 82.3)), None);
    assert_eq!(last(FAR, &two(FULL, 90.0)), Some((Rule::CongestionWindow, 2)), "seen from the other end, at once is some ms");
}

#[test]
fn what_is_overdue_is_taken_along_by_a_probe() {
    let behind = |first: u32, len: u32, at: f64| {
        let packets = [&begun()[..], &[data(S, 42.0, 0, first).acks(500), data(S, at, first as i32, len).acks(500)]].concat();
        move |sender| freed(&tape(S, &packets), 5, 3, sender)
    };
    assert_eq!(behind(2 * FULL, 300, 122.0)(PLAIN), Freed::Timer(Rule::CongestionWindow));
    assert_eq!(behind(2 * FULL, 300, 121.9)(PLAIN), Freed::Program, "no timer runs out within two round trips");
    assert_eq!(behind(FULL, 300, 272.1)(PLAIN), Freed::Timer(Rule::CongestionWindow));
    assert_eq!(behind(FULL, 300, 271.9)(PLAIN), Freed::Program, "one segment's acknowledgement may be put off");
    assert_eq!(behind(90, 6, 342.0)(PLAIN), Freed::Timer(Rule::Nagle));
    assert_eq!(behind(90, 6, 342.0)(NODELAY), Freed::Program, "its socket holds nothing");
    assert_eq!(behind(90, FULL, 342.0)(PLAIN), Freed::Program, "a full one is not held");
    assert_eq!(behind(2 * FULL, 300, 120.5)(FAR), Freed::Timer(Rule::CongestionWindow), "two readings are off by a tick each");
    assert_eq!(behind(2 * FULL, 300, 119.5)(FAR), Freed::Program);
    let guessed = |known: Known| {
        let packets = [&begun()[..], &[data(S, 42.0, 0, 2 * FULL).acks(500), data(S, 142.0, 2_920, 300).acks(500)]].concat();
        let mut tape = tape(S, &packets);
        tape.events[5].known = known;
        freed(&tape, 5, 3, FAR)
    };
    assert_eq!(guessed(Known::Told), Freed::Timer(Rule::CongestionWindow));
    assert_eq!(guessed(Known::Guessed), Freed::Program, "from the other end only timestamps tell when it left");
    // What was acknowledged is not overdue.
    let acknowledged = [full(42.0, 0), ack(C, 82.0, 500, 1_460), full(82.05, 1), full(182.0, 2)];
    assert_eq!(last(PLAIN, &acknowledged[..]), None);
}

#[test]
fn a_repair_is_opened_by_the_last_news() {
    let repeated = |at: f64| {
        vec![
            full(42.0, 0),
            full(42.01, 1),
            ack(C, 82.0, 500, 0).sacks(1_460, 2_920),
            full(82.1, 0),
            ack(C, 122.0, 500, 2_920),
            full(at, 2),
        ]
    };
    assert_eq!(last(PLAIN, &repeated(122.1)), Some((Rule::Repair, 4)));
    assert_eq!(last(PLAIN, &repeated(131.9)), Some((Rule::Repair, 4)));
    assert_eq!(last(PLAIN, &repeated(132.1)), None, "later than that, the program had not written yet");
    assert_eq!(last(FAR, &repeated(138.9)), Some((Rule::Repair, 4)));
    // What had come already, D-SACK tells: nothing was lost, and the window is what held the rest.
    let ten = |told: Packet| {
        let under_way: Vec<Packet> = (0..10).map(|n| full(42.0 + f64::from(n) / 1_000.0, n)).collect();
        [&under_way[..], &[full(300.0, 0), ack(C, 400.0, 500, 1_460), full(400.05, 10), told]].concat()
    };
    let of_tenth = |told: Packet| {
        let packets = [&begun()[..], &ten(told)].concat();
        freed(&tape(S, &packets), packets.len() - 2, 3, PLAIN)
    };
    let came_twice = of_tenth(ack(C, 401.0, 500, 14_600).sacks(0, 1_460));
    assert!(matches!(came_twice, Freed::By { rule: Rule::CongestionWindow, .. }), "{came_twice:?}");
    let came_once = of_tenth(ack(C, 401.0, 500, 14_600));
    assert!(matches!(came_once, Freed::By { rule: Rule::Repair, .. }), "{came_once:?}");
    // A hole is enough, though nothing was sent again yet.
    let hole = |left: i32| vec![full(42.0, 0), full(42.01, 1), ack(C, 82.0, 500, 0).sacks(left, 2_920), full(82.1, 2)];
    assert_eq!(last(PLAIN, &hole(1_460)), Some((Rule::Repair, 2)));
    assert_eq!(last(FAR, &hole(1_460)), None, "from the other end a hole may be packets that changed places");
    // D-SACK lies below the acknowledgement: no hole.
    let twice = [full(42.0, 0), full(42.01, 1), ack(C, 82.0, 500, 2_920).sacks(0, 1_460), full(83.6, 2)];
    assert_eq!(last(PLAIN, &twice), None);
}

#[test]
fn a_receive_window_holds_what_goes_beyond_it() {
    let opened = |field: u16, at: f64| {
        let mut packets = vec![full(42.0, 0), ack(C, 82.0, 500, 1_460).window(field), full(at, 1)];
        packets.insert(0, ack(C, 41.5, 500, 0).window(2_000));
        packets
    };
    assert_eq!(last(PLAIN, &opened(1_460, 82.1)), Some((Rule::ReceiveWindow, 2)));
    assert_eq!(last(PLAIN, &opened(1_459, 83.6)), None, "it is not open as far as that");
    assert_eq!(last(PLAIN, &opened(1_460, 91.9)), Some((Rule::ReceiveWindow, 2)));
    assert_eq!(last(PLAIN, &opened(1_460, 92.1)), None, "later than that, the program had not written yet");
    // Up to its edge a window holds nothing.
    let within = [ack(C, 41.5, 500, 0).window(2_920), full(42.0, 0), ack(C, 82.0, 500, 1_460), full(83.6, 1)];
    assert_eq!(last(PLAIN, &within), None);
    // The newest counts, though an older one reached further.
    let back = [ack(C, 41.4, 500, 0), ack(C, 41.5, 500, 0).window(2_000), full(42.0, 0), ack(C, 82.0, 500, 1_460), full(82.1, 1)];
    assert_eq!(last(PLAIN, &back), Some((Rule::ReceiveWindow, 3)));
}

#[test]
fn without_the_syns_a_window_is_not_known() {
    let packets = [
        data(C, 41.0, 0, 500),
        ack(C, 41.5, 500, 0).window(2_000),
        data(S, 42.0, 0, FULL).acks(500),
        ack(C, 82.0, 500, 1_460),
        data(S, 83.6, 1_460, FULL).acks(500),
    ];
    assert_eq!(freed(&tape(S, &packets), 4, 0, PLAIN), Freed::Program);
}

#[test]
fn a_window_is_scaled_as_both_ends_offered() {
    let scaled = |both: bool| {
        let scale = |p: Packet, scale| Packet { scale: Some(scale), ..p };
        let mut packets = begun();
        packets[0] = scale(packets[0].clone(), 2);
        if both {
            packets[1] = scale(packets[1].clone(), 7);
        }
        let more = [ack(C, 41.5, 500, 0).window(500), full(42.0, 0), ack(C, 82.0, 500, 1_460).window(1_460), full(82.1, 1)];
        let packets = [packets, more.to_vec()].concat();
        freed(&tape(S, &packets), 7, 3, PLAIN)
    };
    // 500 << 2 holds the second segment; 500 alone as well, and so the first.
    assert_eq!(scaled(true), Freed::By { news: 6, rule: Rule::ReceiveWindow });
    assert_eq!(scaled(false), Freed::By { news: 6, rule: Rule::ReceiveWindow });
    let mut wide = begun();
    wide[0].scale = Some(3);
    wide[1].scale = Some(0);
    let more = [ack(C, 41.5, 500, 0).window(500), full(42.0, 0), ack(C, 82.0, 500, 1_460).window(1_460), full(83.6, 1)];
    assert_eq!(freed(&tape(S, &[wide, more.to_vec()].concat()), 7, 3, PLAIN), Freed::Program, "500 << 3 is room for two");
}

#[test]
fn the_first_of_a_turn_waits_for_what_an_earlier_turn_left_unacknowledged() {
    // A client's: ClientHello, the flight that does not acknowledge it, its acknowledgement, Finished.
    let client = |flight_acks: i32, at: f64| {
        let packets = [
            syn(C, 0.0),
            syn(S, 40.0),
            data(C, 41.0, 0, 500),
            data(S, 81.0, 0, FULL).acks(flight_acks),
            ack(S, 90.0, 1_460, 500),
            data(C, at, 500, 80).acks(1_460),
        ];
        move |sender| freed(&tape(C, &packets), 5, 3, sender)
    };
    assert_eq!(client(0, 90.1)(PLAIN), Freed::By { news: 4, rule: Rule::Nagle });
    assert_eq!(client(0, 90.1)(NODELAY), Freed::Program);
    assert_eq!(client(0, 90.1)(FAR), Freed::Program);
    assert_eq!(client(0, 91.6)(PLAIN), Freed::Program, "not at once");
    assert_eq!(client(500, 90.1)(PLAIN), Freed::Program, "the flight acknowledged it");
}

#[test]
fn the_first_of_a_turn_waits_for_a_window_that_an_earlier_turn_filled() {
    // Four full segments are under way when the client says something that needs no answer (a middlebox's ChangeCipherSpec).
    let said = |under_way: Vec<Packet>, next: i32, acked: i32, at: f64| {
        let said = data(C, 42.5, 500, 6);
        let news = ack(C, 82.0, 506, acked);
        let packets = [&begun()[..], &under_way, &[said, news, data(S, at, next, FULL).acks(506)]].concat();
        let since = 4 + under_way.len();
        match freed(&tape(S, &packets), packets.len() - 1, since, PLAIN) {
            Freed::By { news, rule } => Some((rule, news - since)),
            Freed::Timer(_) | Freed::Program => None,
        }
    };
    assert_eq!(said(fulls(42.0, 4), 5_840, 2_920, 82.06), Some((Rule::CongestionWindow, 1)));
    assert_eq!(said(fulls(42.0, 4), 5_840, 2_920, 82.3), None, "not in the same interrupt");
    assert_eq!(said(fulls(42.0, 4), 5_840, 0, 82.06), None, "nothing was acknowledged");
    let ended = [&fulls(42.0, 3)[..], &[data(S, 42.004, 3 * FULL as i32, 700).acks(500)]].concat();
    assert_eq!(said(ended, 5_080, 2_920, 82.06), None, "the program had said all it had");
}

#[test]
fn behind_a_long_silence_what_told_nothing_may_have_told_something_there() {
    // Seen from the client: the server's flight comes just when an acknowledgement that says nothing new must have come to it.
    let silent = |told: f64, at: f64, news: i32| {
        let packets = [&begun()[..], &[ack(C, told, 500, news), data(S, at, 0, 400).acks(500)]].concat();
        move |sender| freed(&tape(S, &packets), 5, 3, sender)
    };
    assert_eq!(silent(100.0, 102.0, 0)(FAR), Freed::By { news: 4, rule: Rule::ReceiveWindow });
    assert_eq!(silent(100.0, 102.0, 0)(PLAIN), Freed::Program, "where it was captured, nothing is hidden");
    assert_eq!(silent(100.0, 107.1, 0)(FAR), Freed::Program, "too late for it");
    assert_eq!(silent(89.0, 90.9, 0)(FAR), Freed::Program, "49.9 ms are no long silence");
    assert_eq!(silent(89.0, 91.0, 0)(FAR), Freed::By { news: 4, rule: Rule::ReceiveWindow });
}

#[test]
fn what_fits_into_a_small_window_waits_for_the_persist_timer() {
    // Its scale was stripped on the way: room for 500 bytes, where there is a flight of 1,300.
    let piece = |len: u32, at: f64, more: bool| {
        let mut packets = begun();
        packets.extend([ack(C, 41.5, 500, 0).window(500), data(S, at, 0, len).acks(500)]);
        if more {
            packets.push(data(S, at + 300.0, len as i32, 300).acks(500));
        }
        freed(&tape(S, &packets), 5, 3, PLAIN)
    };
    assert_eq!(piece(500, 262.0, true), Freed::Timer(Rule::ReceiveWindow));
    assert_eq!(piece(500, 262.0, false), Freed::Program, "all that it had to say fitted");
    assert_eq!(piece(499, 262.0, true), Freed::Program, "there was room for more");
    assert_eq!(piece(500, 230.0, true), Freed::Program, "no persist timer runs out so soon");
    // Seen from the other end.
    let there = |known| {
        let more = [ack(C, 41.5, 500, 0).window(500), data(S, 262.0, 0, 500).acks(500), data(S, 562.0, 500, 300).acks(500)];
        let mut tape = tape(S, &[&begun()[..], &more].concat());
        tape.events[5].known = known;
        freed(&tape, 5, 3, FAR)
    };
    assert_eq!(there(Known::Told), Freed::Timer(Rule::ReceiveWindow));
    assert_eq!(there(Known::Guessed), Freed::Program, "the way may have held it");
}

#[test]
fn what_leaves_in_the_interrupt_of_news_had_waited_for_them() {
    // Neither full segments nor small ones alone: a window counted in bytes (RFC 3390).
    let after = |first: f64, at: f64| {
        let pieces = [full(first, 0), data(S, first + 0.01, 1_460, 1_267).acks(500)];
        [&pieces[..], &[ack(C, 82.0, 500, 1_460), data(S, at, 2_727, 611).acks(500)]].concat()
    };
    assert_eq!(last(NODELAY, &after(42.0, 82.2)), Some((Rule::CongestionWindow, 2)));
    assert_eq!(last(NODELAY, &after(42.0, 82.3)), None, "a program may have");
    assert_eq!(last(NODELAY, &after(73.0, 82.2)), None, "9 ms are chance");
    assert_eq!(last(FAR, &after(42.0, 82.2)), None, "nobody knows so exactly from the other end");
}

#[test]
fn one_long_segment_alone_is_not_full_where_the_ends_said_what_they_take() {
    // A small segment, then 1,300 bytes at once with its acknowledgement: small as well, if segments of 1,448 fit.
    let held = |mss: Option<u16>, stamped: bool, more: bool| {
        let mut packets = begun();
        packets.iter_mut().take(2).for_each(|p| p.mss = mss);
        packets.extend([data(S, 42.0, 0, 6).acks(500), ack(C, 82.0, 500, 6), data(S, 82.1, 6, 1_300).acks(500)]);
        if more {
            packets.push(data(S, 82.2, 1_306, 1_300).acks(500));
        }
        let packets: Vec<Packet> = packets.into_iter().map(|p| if stamped { p.stamped(1, 1) } else { p }).collect();
        let tape = tape(S, &packets);
        (tape.full(), freed(&tape, 6, 3, PLAIN) == Freed::By { news: 5, rule: Rule::Nagle })
    };
    assert_eq!(held(Some(1_460), true, false), (1_448, true));
    assert_eq!(held(Some(1_460), false, false), (1_460, true));
    assert_eq!(held(Some(1_312), true, false), (1_300, false), "that is all they take");
    assert_eq!(held(Some(1_460), true, true), (1_300, false), "two of one length: the way takes no more");
    assert_eq!(held(None, false, false), (1_300, false), "nobody said");
    assert_eq!(held(Some(0), true, false).0, 536 - 12, "as if nothing was said");
    assert_eq!(held(Some(12), true, false).0, 48 - 12, "nobody sends less");
}
