//! What passed the client's capture and had not come to the client yet.

use super::super::reached::{late_to_the_tap, under_way};
use super::tape;
use crate::judging::ledger::Owner;
use crate::tcp::by_hand::{C, Packet, S, ack, data, syn};

const FULL: u32 = 1_460;

/// Until when, in milliseconds, and who it may have been; `came` and `left` are places in the packets.
fn told(packets: &[Packet], came: usize, left: usize) -> Option<(f64, enumset::EnumSet<Owner>)> {
    let number = |place: usize| Some(place as u64 + 1);
    under_way(&tape(C, packets), number(came), number(left)).map(|u| (u.until as f64 / 1e6, u.owners))
}

/// A client whose kernel answers SYN-ACK after so long, up to its ClientHello.
fn begun(tap: f64) -> Vec<Packet> {
    vec![syn(C, 0.0), syn(S, 40.0), ack(C, 40.0 + tap, 0, 0), data(C, 46.0, 0, 500)]
}

#[test]
fn a_client_that_asks_again_has_no_answer_yet() {
    let asked = |again: f64, stamps: bool| {
        let stamp = |p: Packet, value, echo| if stamps { p.stamped(value, echo) } else { p };
        vec![
            stamp(syn(C, 0.0), 1, 0),
            stamp(syn(S, 40.0), 900, 1),
            stamp(syn(C, again), 2, 0),
            stamp(syn(S, again + 40.0), 950, 2),
            stamp(ack(C, again + 42.0, 0, 0), 3, 950),
            stamp(data(C, again + 50.0, 0, 500), 4, 950),
        ]
    };
    assert_eq!(told(&asked(1_000.0, true), 1, 5), Some((1_040.0, Owner::Loss.into())), "it took the second SYN-ACK");
    assert_eq!(told(&asked(1_000.0, false), 1, 5), Some((1_040.0, Owner::Loss | Owner::Path)));
    // It crossed the answer on the few milliseconds between them.
    assert_eq!(told(&asked(49.0, true), 1, 5), None);
    // The echo is of the first: that came, late.
    let mut late = asked(1_000.0, true);
    (late[4], late[5]) = (late[4].clone().stamped(3, 900), late[5].clone().stamped(4, 900));
    assert_eq!(told(&late, 1, 5), Some((1_040.0, Owner::Loss | Owner::Path)));
}

#[test]
fn what_an_earlier_word_did_not_acknowledge_counts_as_well() {
    // Two segments pass, the first is acknowledged; the third, a short one, passes a round trip later.
    let flight = |known: i32| {
        let full = FULL as i32;
        let mut packets = begun(2.0);
        packets.extend([data(S, 86.0, 0, FULL).acks(500), data(S, 86.1, full, FULL).acks(500), ack(C, 87.0, 500, known)]);
        packets.extend([data(S, 127.0, 2 * full, 300).acks(500), ack(C, 190.0, 500, 2 * full + 300)]);
        packets.push(data(C, 200.0, 500, 80).acks(2 * full + 300));
        told(&packets, 7, 9)
    };
    assert_eq!(flight(FULL as i32), Some((190.0, Owner::Client | Owner::Path)));
    assert_eq!(flight(2 * FULL as i32), None, "one short segment may wait");
}

#[test]
fn a_kernel_acknowledges_syn_ack_at_once() {
    let opened = |stamp: u32, hello: f64| {
        vec![
            syn(C, 0.0).stamped(1, 0),
            syn(S, 146.0).stamped(900, 1),
            ack(C, 171.0, 0, 0).stamped(172, 900),
            data(C, hello, 0, 500).stamped(stamp, 900),
        ]
    };
    assert_eq!(told(&opened(172, 171.3), 1, 3), Some((171.0, Owner::Client | Owner::Path)));
    assert_eq!(told(&opened(180, 179.3), 1, 3), None, "its program took its time");
    let own_host = vec![opened(172, 171.3)[0].clone(), opened(172, 171.3)[1].clone().later(24.0)];
    assert_eq!(told(&[own_host, opened(172, 171.3)[2..].to_vec()].concat(), 1, 3), None);
}

#[test]
fn a_client_that_says_nothing_had_no_more_than_it_acknowledged() {
    let full = FULL as i32;
    let mut packets = begun(8.0);
    packets.extend([data(S, 87.0, 0, FULL).acks(500), data(S, 87.2, full, 900).acks(500), ack(C, 170.0, 500, full + 900)]);
    let silent = under_way(&tape(C, &packets), Some(6), None).map(|u| (u.until as f64 / 1e6, u.told));
    assert_eq!(silent, Some((170.0, Some(7))));
}

#[test]
fn its_own_timestamps_tell_what_was_late_to_the_capture() {
    let late = |tap: f64, stamp: u32| {
        let stamped = begun(tap).into_iter().map(|p| if p.from == C { p.stamped(1, 0) } else { p });
        let mut packets: Vec<Packet> = stamped.collect();
        packets.extend([data(S, 86.0, 0, 900).acks(500), ack(C, 140.0, 500, 900).stamped(1_000, 0)]);
        packets.push(data(C, 466.0, 500, 80).acks(900).stamped(stamp, 0));
        late_to_the_tap(&tape(C, &packets), Some(6), Some(7), 1_000_000).map(|late| late / 1_000_000)
    };
    assert_eq!(late(2.0, 1_236), Some(90));
    assert_eq!(late(2.0, 1_320), None, "a tick and a fiftieth are its clock's");
    assert_eq!(late(0.5, 1_236), None, "captured where it left");
}

#[test]
fn a_kernel_acknowledges_two_segments_at_once() {
    let flight = |tap: f64, told: f64, second: u32| {
        let flight = [data(S, 86.0, 0, FULL).acks(500), data(S, 86.1, FULL as i32, second).acks(500)];
        let end = (FULL + second) as i32;
        [begun(tap), flight.to_vec(), vec![ack(C, told, 500, end), data(C, 200.0, 500, 80).acks(end)]].concat()
    };
    let either = Some((190.0, Owner::Client | Owner::Path));
    assert_eq!(told(&flight(2.0, 190.0, 300), 5, 7), either);
    assert_eq!(told(&flight(0.9, 190.0, 300), 5, 7), None, "the capture is on its own host: it stood still");
    assert_eq!(told(&flight(2.0, 96.0, 300), 5, 7), None, "10 ms are none");
    // One segment is acknowledged in half a second at the latest, or with the answer.
    let alone = |late: f64| {
        let told_late = [ack(C, 86.0 + late, 500, 900), data(C, 86.3 + late, 500, 80).acks(900)];
        told(&[begun(2.0), vec![data(S, 86.0, 0, 900).acks(500)], told_late.to_vec()].concat(), 4, 6)
    };
    assert_eq!(alone(400.0), None);
    assert_eq!(alone(681.0), Some((767.0, Owner::Client | Owner::Path)));
    let one = [begun(2.0), vec![data(S, 86.0, 0, 900).acks(500), data(C, 200.0, 500, 80).acks(900)]].concat();
    assert_eq!(told(&one, 4, 5), None);
    // Several in one piece, merged before they were captured.
    let merged = [begun(2.0), vec![data(S, 86.0, 0, 2_900).acks(500), data(C, 200.0, 500, 80).acks(2_900)]].concat();
    assert_eq!(told(&merged, 4, 5), Some((200.0, Owner::Client | Owner::Path)));
}
