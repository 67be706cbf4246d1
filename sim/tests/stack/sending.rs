//! What a sender lets go when: windows and Nagle's algorithm.

use whostalled_sim::MS;
use whostalled_sim::frame::End;
use whostalled_sim::habit::{LINUX, MACOS, WINDOWS};

use crate::link::{FULL, Link};

/// Windows offers no timestamps: its segments hold 12 bytes more.
const BARE: usize = FULL + 12;

#[test]
fn by_minshalls_rule_a_small_segment_waits_for_the_last_small_one() {
    let mut link = Link::connected(LINUX, |_| false);
    link.ends[1].nagle = true;
    link.write(End::Server, FULL + 300);
    link.write(End::Server, 200);
    link.run(300 * MS);
    // The small one behind a full one goes at once; the next when the small one is acknowledged, a round trip later.
    assert_eq!(link.data(End::Server), [(100, 0, FULL), (100, FULL, 300), (140, FULL + 300, 200)]);
}

#[test]
fn by_nagles_own_rule_it_waits_for_all() {
    for (habit, full) in [(WINDOWS, BARE), (MACOS, FULL)] {
        let mut link = Link::connected(habit, |_| false);
        link.ends[1].nagle = true;
        link.write(End::Server, full + 300);
        link.run(400 * MS);
        let put_off = if habit == WINDOWS { 40 } else { 0 }; // macOS acknowledges at once while young
        assert_eq!(link.data(End::Server), [(100, 0, full), (140 + put_off, full, 300)], "{}", habit.name);
    }
}

#[test]
fn without_nagle_nothing_waits() {
    for habit in [LINUX, WINDOWS] {
        let mut link = Link::connected(habit, |_| false);
        link.write(End::Server, 300);
        link.write(End::Server, 200);
        assert_eq!(link.data(End::Server), [(100, 0, 300), (100, 300, 200)]);
    }
}

#[test]
fn ten_segments_leave_at_once_and_two_more_for_each_that_is_acknowledged() {
    let mut link = Link::connected(LINUX, |_| false);
    link.write(End::Server, 25 * FULL);
    link.run(120 * MS);
    assert_eq!(link.data(End::Server).len(), 10);
    link.run(139 * MS);
    assert_eq!(link.data(End::Server).len(), 10);
    // Slow start (RFC 5681, section 3.1): ten more segments acknowledged, a window of twenty.
    link.run(141 * MS);
    assert_eq!(link.data(End::Server).len(), 25);
    assert!(link.data(End::Server)[10..].iter().all(|(at, ..)| *at == 140));
}

#[test]
fn no_more_is_sent_than_the_receiver_has_room_for() {
    let mut link = Link::new(LINUX, |_| false);
    link.ends[0].buffer = 4_096;
    link.reads = false;
    link.connect();
    link.run(100 * MS);
    link.left.clear();
    // The acknowledgement of SYN-ACK told the window; the field's grain is 128.
    link.write(End::Server, 9_000);
    link.run(139 * MS);
    let first: usize = link.data(End::Server).iter().map(|(.., len)| len).sum();
    assert_eq!(first, 2 * FULL, "a third segment does not fit");
    link.run(150 * MS);
    link.read(End::Client);
    link.run(171 * MS);
    let behind: Vec<(i64, usize, usize)> = link.data(End::Server).into_iter().filter(|(at, ..)| *at > 150).collect();
    assert_eq!(behind, [(170, 2 * FULL, FULL), (170, 3 * FULL, FULL)]);
}
