//! How what comes is acknowledged: at once, put off, with holes, twice.

use whostalled_sim::MS;
use whostalled_sim::frame::End;
use whostalled_sim::habit::{Habit, LINUX, MACOS, WINDOWS};

use crate::link::{FULL, Link};

#[test]
fn an_acknowledgement_is_put_off_as_the_stack_does() {
    // The first of a young connection; later ones, when the quick ones are used up.
    let cases = [(LINUX, 0, 40), (WINDOWS, 40, 40), (MACOS, 0, 100)];
    for (habit, young, old) in cases {
        let mut link = Link::connected(habit, |_| false);
        link.write(End::Server, 100);
        link.run(400 * MS);
        assert_eq!(link.acks(End::Client), [(120 + young, 100)], "{}", habit.name);
        let mut worn = Link::connected(Habit { quick_acks: 0, ..habit }, |_| false);
        worn.write(End::Server, 100);
        worn.run(400 * MS);
        assert_eq!(worn.acks(End::Client), [(120 + old, 100)], "{}", habit.name);
    }
}

#[test]
fn quick_acknowledgements_are_used_up() {
    let mut link = Link::connected(Habit { quick_acks: 2, ..LINUX }, |_| false);
    for n in 1..4 {
        link.write(End::Server, 100);
        link.run((100 + 100 * n) * MS);
    }
    assert_eq!(link.acks(End::Client), [(120, 100), (220, 200), (360, 300)]);
}

#[test]
fn every_second_segment_is_acknowledged_at_once() {
    let mut link = Link::connected(WINDOWS, |_| false);
    link.write(End::Server, 2 * (FULL + 12));
    link.run(400 * MS);
    assert_eq!(link.acks(End::Client), [(120, 2 * (FULL + 12))]);
}

#[test]
fn data_of_its_own_carry_the_acknowledgement() {
    let mut link = Link::connected(WINDOWS, |_| false);
    link.write(End::Server, 100);
    link.run(130 * MS);
    link.write(End::Client, 50);
    link.run(150 * MS);
    assert_eq!(link.acks(End::Client), []);
    assert_eq!(link.data(End::Client), [(130, 0, 50)]);
}

#[test]
fn a_hole_is_told_by_sack_and_filled_after_three_tellings_of_it() {
    let mut link = Link::connected(LINUX, |p| p.start == FULL && p.copy == 0 && !p.payload.is_empty());
    link.write(End::Server, 6 * FULL);
    link.run(400 * MS);
    let told: Vec<_> = link.left.iter().filter(|(_, p)| p.from == End::Client && !p.sack.is_empty()).collect();
    let blocks: Vec<(usize, usize)> = told.iter().map(|(_, p)| p.sack[0]).collect();
    assert_eq!(blocks, [3, 4, 5, 6].map(|n| (2 * FULL, n * FULL)));
    assert!(told.iter().all(|(at, p)| *at == 120 * MS && p.ack == Some(FULL)));
    // No timer: the hole is filled a round trip after it was sent.
    assert_eq!(link.departures(End::Server, FULL), [100, 140]);
    assert_eq!(link.ends[0].received().len(), 6 * FULL);
    assert_eq!(link.data(End::Server).len(), 7, "nothing else was sent again");
}

#[test]
fn with_one_segment_behind_it_a_hole_is_filled_a_quarter_of_a_round_trip_later() {
    // RACK (RFC 8985, section 6.2): it may have changed places.
    let mut link = Link::connected(LINUX, |p| p.start == 0 && p.copy == 0 && !p.payload.is_empty());
    link.write(End::Server, 2 * FULL);
    link.run(400 * MS);
    assert_eq!(link.departures(End::Server, 0)[..2], [100, 150]);
}

#[test]
fn what_comes_twice_is_told_by_d_sack() {
    // The acknowledgements of the first copy are lost.
    let mut link = Link::connected(LINUX, |p| p.from == End::Client && p.copy == 0 && p.ack == Some(500) && p.sack.is_empty());
    link.write(End::Server, 500);
    link.run(500 * MS);
    let (_, told) = link.left.iter().find(|(_, p)| p.from == End::Client && !p.sack.is_empty()).expect("it is told");
    assert_eq!((told.ack, &told.sack[..]), (Some(500), &[(0, 500)][..]));
    assert_eq!(link.departures(End::Server, 0), [100, 340]);
}

#[test]
fn timestamps_echo_what_came_last() {
    let mut link = Link::connected(LINUX, |_| false);
    link.write(End::Server, 100);
    link.run(400 * MS);
    let stamp = |from: End| link.left.iter().find(|(_, p)| p.from == from).and_then(|(_, p)| p.timestamps);
    assert_eq!(stamp(End::Server).map(|(value, _)| value), Some(100), "a millisecond a tick");
    assert_eq!(stamp(End::Client), Some((120, 100)));
    assert!(Link::connected(WINDOWS, |_| false).left.iter().all(|(_, p)| p.timestamps.is_none()));
}
