//! What passed the client's capture and had not come to the client yet.

use super::super::reached::under_way;
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
    // One segment may be acknowledged late, and with the answer.
    let one = [begun(2.0), vec![data(S, 86.0, 0, 900).acks(500), data(C, 200.0, 500, 80).acks(900)]].concat();
    assert_eq!(told(&one, 4, 5), None);
    // Several in one piece, merged before they were captured.
    let merged = [begun(2.0), vec![data(S, 86.0, 0, 2_900).acks(500), data(C, 200.0, 500, 80).acks(2_900)]].concat();
    assert_eq!(told(&merged, 4, 5), Some((200.0, Owner::Client | Owner::Path)));
}
