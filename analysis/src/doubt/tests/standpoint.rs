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
fn a_repeated_syn_that_crosses_the_answer_to_the_first_measures_nothing() {
    let crossed = |echo: u32| {
        let packets = [
            syn(C, 0.0).stamped(100, 0),
            syn(C, 1_009.0).stamped(1_109, 0),
            syn(S, 1_009.08).stamped(7, echo).ttl(55),
            ack(C, 1_009.12, 0, 0).stamped(1_109, 7),
        ];
        of(&packets)
    };
    assert_eq!(crossed(100), Standpoint::Client);
    assert_eq!(crossed(1_109), Standpoint::Both, "it answers the second, at once");
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
    assert_eq!(between(400.0, 21.0, [127, 53]), Standpoint::Between);
    assert_eq!(between(400.0, 19.0, [127, 53]), Standpoint::Edge);
    assert_eq!(between(400.0, 21.0, [53, 64]), Standpoint::Edge, "its packets still have the TTL that they were sent with");
}

/// A handshake of which the legs to the client and to the server take so long, and whose packets have these TTLs.
fn between(client: f64, server: f64, ttl: [u8; 2]) -> Standpoint {
    let packets = [syn(C, 0.0), syn(S, server), ack(C, server + client, 0, 0), data(C, server + client, 0, 100)];
    of(&packets.map(|p| if p.from == C { p.ttl(ttl[0]) } else { p.ttl(ttl[1]) }))
}

#[test]
fn an_observer_a_third_of_the_way_from_an_end_is_not_there() {
    assert_eq!(between(10.0, 30.0, [60, 60]), Standpoint::Between);
    assert_eq!(between(1.0, 30.0, [60, 60]), Standpoint::Client);
    assert_eq!(between(30.0, 1.0, [60, 60]), Standpoint::Edge);
}

#[test]
fn a_hop_away_a_ttl_is_no_longer_what_was_sent() {
    assert_eq!(between(2.0, 2.1, [64, 63]), Standpoint::Client);
    assert_eq!(between(2.0, 2.1, [127, 128]), Standpoint::Edge);
    assert_eq!(between(25.0, 25.1, [64, 63]), Standpoint::Between, "no kernel of an end takes so long");
}

#[test]
fn a_server_that_is_slow_to_answer_syn_is_not_far_away() {
    assert_eq!(between(1.0, 40.0, [53, 64]), Standpoint::Unknown, "its packets have passed no router");
    assert_eq!(between(40.0, 1.0, [64, 53]), Standpoint::Unknown);
}
