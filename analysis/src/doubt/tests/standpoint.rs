//! Where an observer stands.

use super::handshake;
use crate::clock::Unplaced;
use crate::doubt::standpoint::{Standpoint, standpoint};
use crate::tcp::by_hand::{C, Packet, S, ack, data, syn, view};

fn of(packets: &[Packet]) -> Standpoint {
    standpoint(&view::<Unplaced>(packets))
}

#[test]
fn near_one_end_its_kernel_answers_at_once() {
    assert_eq!(of(&handshake(40.0)), Standpoint::Client);
}

#[test]
fn what_a_program_says_is_no_measure_of_its_way() {
    // The acknowledgement was lost; ClientHello, when its program came to it, is the first that shows the client alive.
    let hello = |wait: f64| {
        let packets = [syn(C, 0.0), syn(S, 126.0), data(C, 126.0 + wait, 0, 100), ack(S, 252.0 + wait, 0, 100)];
        packets.map(|p| if p.from == C { p.ttl(127) } else { p.ttl(53) }).to_vec()
    };
    assert_eq!(of(&hello(3_305.0)), Standpoint::Between);
    assert_eq!(of(&hello(2.0)), Standpoint::Client, "at most so far away");
}

#[test]
fn nobody_stands_at_an_end_that_is_far_away() {
    let legs = |client: f64, server: f64, ttl: [u8; 2]| {
        let packets = [syn(C, 0.0), syn(S, server), ack(C, server + client, 0, 0), data(C, server + client, 0, 100)];
        packets.map(|p| if p.from == C { p.ttl(ttl[0]) } else { p.ttl(ttl[1]) }).to_vec()
    };
    assert_eq!(of(&legs(400.0, 21.0, [127, 53])), Standpoint::Between);
    assert_eq!(of(&legs(400.0, 19.0, [127, 53])), Standpoint::Edge);
    assert_eq!(of(&legs(400.0, 21.0, [53, 64])), Standpoint::Edge, "its packets still have the TTL that they were sent with");
}
