//! What a capture missed or had in another order: bytes that somebody acknowledged and that never passed it, or passed behind others.

use crate::clock::Domain;
use crate::tcp::covered::Covered;
use crate::tcp::flow::{MAX_PACKETS, Seen, Side, View};

impl<D: Domain> View<D> {
    /// Whether a side acknowledges bytes of its peer that this observer never saw: the capture, not the
    /// network, lost them (docs/method.md, "Loss").
    pub fn capture_gap(&self) -> bool {
        // Nobody answers a SYN that did not come, nor acknowledges a SYN-ACK.
        let [of_client, of_server] = [Side::Client, Side::Server].map(|side| self.syns(side).next().is_some());
        if of_client != of_server && self.sent_by(Side::Client).any(|p| !p.flags.syn() && !p.flags.rst() && p.ack().is_some()) {
            return true;
        }
        !self.passed.in_order() && self.acknowledges_unseen()
    }

    /// Whether a byte was acknowledged before it had passed.
    pub(super) fn acknowledges_unseen(&self) -> bool {
        let (mut of_client, mut of_server) = (Covered::default(), Covered::default());
        let mut begun = [false; 2];
        self.packets.len() < MAX_PACKETS
            && self.packets.iter().any(|p| {
                let (own, peer) = match p.from {
                    Side::Client => (&mut of_client, &of_server),
                    Side::Server => (&mut of_server, &of_client),
                };
                own.add(p.start(), p.end());
                // What acknowledges before SYN-ACK speaks of an earlier connection (RFC 5961, section 4).
                begun[p.from as usize] |= p.flags.syn();
                let earlier = p.from == Side::Server && begun == [true, false];
                // FIN takes one number that is no byte of the stream.
                !earlier && p.ack().is_some_and(|ack| ack > peer.prefix + 1)
            })
    }

    pub(super) fn completed_out_of_order(&self, side: Side, end: i64) -> Option<&Seen<D>> {
        let mut covered = Covered::default();
        for packet in &self.packets {
            if packet.from != side {
                let acknowledged = packet.ack().filter(|_| !packet.flags.rst()).unwrap_or(0);
                if acknowledged >= end {
                    return self.first_copy(side, end).filter(|p| p.packet < packet.packet);
                }
                covered.add(0, acknowledged);
            } else if !packet.is_empty() {
                covered.add(packet.start(), packet.end());
                if covered.prefix >= end {
                    return Some(packet);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use crate::clock::Unplaced;
    use crate::tcp::by_hand::{C, Packet, S, ack, data, syn, view};

    #[test]
    fn what_acknowledges_before_syn_ack_speaks_of_an_earlier_connection() {
        let gap = |packets: &[Packet]| view::<Unplaced>(packets).capture_gap();
        // The edge still holds an old connection, and answers SYN with that (RFC 5961, section 4).
        let challenged = [
            syn(C, 0.0),
            ack(S, 40.0, 900_000, 700_000),
            syn(C, 1_000.0),
            syn(S, 1_040.0),
            ack(C, 1_040.1, 0, 0),
            data(C, 1_041.0, 0, 500),
            ack(S, 1_081.0, 0, 500),
        ];
        assert!(!gap(&challenged));
        let mut missed = challenged.to_vec();
        missed.push(ack(S, 1_090.0, 0, 900));
        assert!(gap(&missed), "behind SYN-ACK it proves what the capture missed");
    }
}
