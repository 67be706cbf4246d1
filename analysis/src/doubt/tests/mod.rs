//! Doubts, on packets made by hand.

mod offset;
mod order;
mod standpoint;
mod taps;

use crate::tcp::by_hand::{C, Packet, S, ack, data, syn};

/// A handshake as its client sees it, the server `rtt` away.
fn handshake(rtt: f64) -> Vec<Packet> {
    vec![
        syn(C, 0.0).id(100),
        syn(S, rtt).id(0),
        ack(C, rtt + 0.1, 0, 0).id(101),
        data(C, rtt + 1.0, 0, 500).id(102),
        ack(S, 2.0 * rtt + 1.0, 0, 500).id(1),
        data(S, 2.0 * rtt + 2.0, 0, 1_400).acks(500).id(2),
        data(S, 2.0 * rtt + 2.01, 1_400, 900).acks(500).id(3),
        ack(C, 2.0 * rtt + 2.1, 500, 2_300).id(103),
        data(C, 2.0 * rtt + 4.0, 500, 80).acks(2_300).id(104),
        ack(S, 3.0 * rtt + 4.0, 2_300, 580).id(4),
    ]
}
