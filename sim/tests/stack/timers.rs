//! When what nobody answers is sent again (RFC 6298, RFC 8985).

use whostalled_sim::MS;
use whostalled_sim::frame::End;
use whostalled_sim::habit::{Habit, LINUX, MACOS, WINDOWS};

use crate::link::Link;

#[test]
fn syn_is_repeated_after_1_2_and_4_seconds() {
    for habit in [LINUX, WINDOWS, MACOS] {
        let mut link = Link::new(habit, |p| p.from == End::Client);
        link.connect();
        link.run(10_000 * MS);
        let at: Vec<i64> = link.left.iter().map(|(at, _)| at / MS).collect();
        assert_eq!(at, [0, 1_000, 3_000, 7_000], "{}", habit.name);
        assert!(link.left.iter().all(|(_, p)| p.syn && p.ack.is_none()));
    }
}

#[test]
fn syn_ack_is_repeated_by_its_own_timer_and_for_each_syn() {
    let mut link = Link::new(LINUX, |p| p.from == End::Server);
    link.connect();
    link.run(2_500 * MS);
    let of_server: Vec<i64> = link.left.iter().filter(|(_, p)| p.from == End::Server).map(|(at, _)| at / MS).collect();
    // For the SYNs that come at 20 and 1,020 ms, and when its timer of a second is over.
    assert_eq!(of_server, [20, 1_020, 1_020]);
}

#[test]
fn data_are_repeated_by_rfc_6298_and_by_a_loss_probe() {
    // The round trip is 40 ms, its variance half of that. Linux: 40 + max(4 × 20, 200) = 240; the probe is due at 2 × 40 + 200, and
    // no later than the timer; after it the timer runs anew, and doubles. macOS has no probe, 230 instead of 200; Windows 300.
    let cases: [(Habit, [i64; 5]); 3] =
        [(LINUX, [0, 240, 480, 960, 1_920]), (WINDOWS, [0, 340, 680, 1_360, 2_720]), (MACOS, [0, 270, 810, 1_890, 4_050])];
    for (habit, after) in cases {
        let mut link = Link::connected(habit, |p| p.from == End::Client && !p.payload.is_empty());
        link.write(End::Client, 500);
        link.run(4_500 * MS);
        let left = link.departures(End::Client, 0);
        assert_eq!(left[..5], after.map(|after| 100 + after), "{}", habit.name);
    }
}

#[test]
fn with_more_under_way_the_probe_comes_after_two_round_trips() {
    // 2 × 40 ms and a few for a delayed acknowledgement; it repeats the last segment.
    let mut link = Link::connected(LINUX, |p| p.from == End::Client && !p.payload.is_empty());
    link.write(End::Client, 2 * 1_448);
    link.run(200 * MS);
    assert_eq!(link.departures(End::Client, 1_448), [100, 184]);
    assert_eq!(link.departures(End::Client, 0), [100]);
}

#[test]
fn what_is_acknowledged_is_not_repeated() {
    let mut link = Link::connected(LINUX, |_| false);
    link.write(End::Client, 500);
    link.run(9_000 * MS);
    assert_eq!(link.departures(End::Client, 0), [100]);
    assert!(link.ends[0].all_acknowledged());
}

#[test]
fn the_copy_number_counts_repetitions() {
    let mut link = Link::connected(LINUX, |p| !p.payload.is_empty() && p.copy < 2);
    link.write(End::Server, 500);
    link.run(9_000 * MS);
    let copies: Vec<u32> = link.left.iter().filter(|(_, p)| !p.payload.is_empty()).map(|(_, p)| p.copy).collect();
    assert_eq!(copies, [0, 1, 2]);
    assert_eq!(link.ends[0].received().len(), 500);
}
