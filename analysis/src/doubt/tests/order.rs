//! The order of a file, of time, and of causes.

use proptest::prelude::*;

use super::handshake;
use crate::clock::Unplaced;
use crate::doubt::order::{Mended, mend};
use crate::tcp::by_hand::{Packet, nanos, view};

const HOUR: f64 = 3_600_000.0;

/// What was done to them, and the numbers and times of the packets behind it.
fn mended(packets: &[Packet]) -> (Mended, Vec<u64>, Vec<i64>) {
    let mut view = view::<Unplaced>(packets);
    mend(&mut view);
    (view.mended, view.packets.iter().map(|p| p.packet).collect(), view.packets.iter().map(|p| p.at.nanos()).collect())
}

fn nothing_done(packets: &[Packet]) {
    let (done, numbers, times) = mended(packets);
    assert_eq!(done, Mended::default());
    assert_eq!(numbers, (1..=packets.len() as u64).collect::<Vec<_>>());
    assert_eq!(times, packets.iter().map(|p| nanos(p.at)).collect::<Vec<_>>());
}

#[test]
fn what_lies_in_order_is_left_alone() {
    nothing_done(&handshake(40.0));
}

#[test]
fn packets_that_were_written_late_are_put_where_they_belong() {
    let mut packets = handshake(40.0);
    packets.swap(1, 2);
    packets.swap(5, 8);
    let (done, numbers, times) = mended(&packets);
    assert_eq!(done, Mended { garbage: 0, sorted: true });
    assert_eq!(numbers, [1, 3, 2, 4, 5, 9, 7, 8, 6, 10]);
    assert!(times.is_sorted());
}

#[test]
fn a_clock_that_was_set_back_is_not_sorted_away() {
    // In the order of time, ClientHello or its answer would come before what let it go.
    for (from, by) in [(3, 100.0), (5, 60.0), (4, 100.0), (8, 100.0)] {
        let mut packets = handshake(40.0);
        packets[from..].iter_mut().for_each(|p| p.at -= by);
        nothing_done(&packets);
    }
}

#[test]
fn one_stamp_that_no_clock_gives_is_garbage() {
    for (place, stands_at) in [(0, 40.0), (1, 0.0), (5, 81.0), (9, 84.0)] {
        for garbage in [-500.0 * HOUR, HOUR * 30_000.0] {
            let mut packets = handshake(40.0);
            packets[place].at = garbage;
            let (done, numbers, times) = mended(&packets);
            assert_eq!(done, Mended { garbage: 1, sorted: false }, "place {place}");
            assert_eq!((numbers.len(), times[place]), (10, nanos(stands_at)), "it stands where its neighbour does");
        }
    }
}

#[test]
fn a_long_pause_is_no_garbage() {
    let mut packets = handshake(40.0);
    packets[5..].iter_mut().for_each(|p| p.at += 2.0 * HOUR);
    nothing_done(&packets);
    // Just below the limit, a lone stamp may be right.
    let mut packets = handshake(40.0);
    packets[9].at = packets[8].at + HOUR - 1.0;
    nothing_done(&packets);
    packets[9].at = packets[8].at + HOUR;
    assert_eq!(mended(&packets).0.garbage, 1);
}

proptest! {
    /// However several queues of a network card wrote it: the order of time, which is that of causes, is found again.
    #[test]
    fn a_shuffled_file_is_put_in_order(keys in prop::collection::vec(0.0..30.0_f64, 10)) {
        let plain = handshake(40.0);
        let mut packets: Vec<(f64, Packet)> = plain.iter().zip(keys).map(|(p, late)| (p.at + late, p.clone())).collect();
        packets.sort_by(|a, b| a.0.total_cmp(&b.0));
        let shuffled: Vec<Packet> = packets.into_iter().map(|(_, p)| p).collect();
        let (done, _, times) = mended(&shuffled);
        prop_assert_eq!(done.garbage, 0);
        prop_assert_eq!(times, plain.iter().map(|p| nanos(p.at)).collect::<Vec<_>>());
        prop_assert_eq!(done.sorted, !shuffled.is_sorted_by(|a, b| a.at <= b.at));
    }
}
