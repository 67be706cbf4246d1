//! Whether a packet of the far end is missing, by its IP identification.
//!
//! In: the view of one observer. Out: how many of the other end's packets never came just before one that did. Linux counts each
//! connection's packets by themselves; where a stack counts its whole host's, or none, nothing is known.

use crate::clock::Domain;
use crate::tcp::flow::{Seen, Side, View};

/// The TTL at which stacks start that count the packets of each connection by itself.
const PER_CONNECTION_TTL: u8 = 64;

/// What a segment over Ethernet carries at most, and what timestamps take of it.
const MOST_SEGMENT: i64 = 1_460;
const TIMESTAMPS: i64 = 12;

/// The far end of a view.
pub(crate) struct FarSide<'a, D> {
    pub view: &'a View<D>,
    pub side: Side,
}

impl<D: Domain> FarSide<'_, D> {
    /// How many of the far end's packets between two of these numbers never came; as [`Self::missing_between`].
    pub fn lost_between(&self, since: u64, packet: u64) -> Option<u16> {
        let find = |number| self.view.sent_by(self.side).find(|p| p.packet == number);
        self.missing_between(find(since)?, find(packet)?)
    }

    /// Whether its identification goes up by one with each packet that came.
    pub fn counts(&self) -> bool {
        let ids = || self.view.sent_by(self.side).filter(|p| !p.flags.syn() && !p.flags.rst()).map(Seen::ip_id);
        let steps = || ids().zip(ids().skip(1)).map(|(a, b)| Some(b?.wrapping_sub(a?)));
        steps().next().is_some() && steps().all(|step| step == Some(1))
    }

    /// How many of the far end's packets between two seen ones never came, by its IP identification; absent
    /// if it does not count this connection's packets. Stacks that start at TTL 64 do, or none at all; those that start higher count
    /// the host's packets, and what its other connections send looks like loss.
    fn missing_between(&self, before: &Seen<D>, next: &Seen<D>) -> Option<u16> {
        if next.ttl > PER_CONNECTION_TTL {
            return None;
        }
        let step = |a: &Seen<D>, b: &Seen<D>| Some(b.ip_id()?.wrapping_sub(a.ip_id()?));
        let sent: Vec<&Seen<D>> = self.view.sent_by(self.side).filter(|p| !p.flags.syn()).collect();
        // Proof that it counts: other neighbours step by exactly one packet.
        let (mut ones, mut others) = (0, 0);
        for pair in sent.windows(2).filter(|pair| pair[1].packet != next.packet) {
            match step(pair[0], pair[1])? {
                1 => ones += 1,
                2..=8 => {}
                _ => others += 1,
            }
        }
        let counts = ones > others;
        // A frame that was not cut yet, or merged again, stands for as many packets as its bytes take.
        let full = self.view.mss().unwrap_or(MOST_SEGMENT) - if next.tsval().is_some() { TIMESTAMPS } else { 0 };
        let packets = |p: &Seen<D>| (p.len() + full.max(1) - 1) / full.max(1);
        // What comes behind it although it left before was overtaken, not lost.
        let overtaken = |p: &&&Seen<D>| {
            let place = |p: &Seen<D>| p.ip_id().zip(before.ip_id()).map(|(id, from)| id.wrapping_sub(from));
            p.packet > next.packet && place(p).is_some_and(|at| at > 0 && Some(at) < place(next))
        };
        let late = sent.iter().filter(overtaken).count() as i64;
        let passed = sent.iter().filter(|p| p.packet >= before.packet && p.packet < next.packet);
        let seen: i64 = late + passed.map(|p| packets(p).max(1)).sum::<i64>();
        let step = step(before, next)?;
        (counts && (1..=64).contains(&step)).then(|| step.saturating_sub(u16::try_from(seen).unwrap_or(u16::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Unplaced;
    use crate::tcp::by_hand::{C, S, ack, syn, view};

    #[test]
    fn it_counts_if_it_goes_up_by_one_with_each_packet() {
        let counts = |ids: &[u16]| {
            let packets = ids.iter().zip(1_u8..).map(|(id, n)| ack(S, f64::from(n), 0, 0).id(*id));
            let packets: Vec<_> = [syn(C, 0.0)].into_iter().chain(packets).collect();
            FarSide { view: &view::<Unplaced>(&packets), side: S }.counts()
        };
        assert!(counts(&[7, 8, 9]) && counts(&[u16::MAX, 0]));
        assert!(!counts(&[7, 8, 10]) && !counts(&[0, 0, 0]));
        assert!(!counts(&[7]), "one tells nothing");
    }

    #[test]
    fn a_number_that_counts_more_than_this_connection_proves_no_loss() {
        let lost = |ids: &[u16]| {
            let packets = ids.iter().zip(1_u8..).map(|(id, n)| ack(S, f64::from(n), 0, 0).id(*id));
            let packets: Vec<_> = [syn(C, 0.0)].into_iter().chain(packets).collect();
            let last = packets.len() as u64;
            FarSide { view: &view::<Unplaced>(&packets), side: S }.lost_between(last - 1, last)
        };
        assert_eq!(lost(&[10, 11, 12, 17]), Some(4), "it counts: four never came");
        assert_eq!(lost(&[10, 500, 1_000, 1_005]), None, "the host's other connections use the numbers between");
    }
}
