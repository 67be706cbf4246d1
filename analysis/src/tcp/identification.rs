//! Whether a packet of the far end is missing, by its IP identification.
//!
//! In: the view of one observer. Out: how many of the other end's packets never came just before one that did. Linux counts each
//! connection's packets by themselves; where a stack counts its whole host's, or none, nothing is known.

use crate::clock::{Domain, Span};
use crate::tcp::flow::{Seen, Side, View};

/// The TTL at which stacks start that count the packets of each connection by itself.
const PER_CONNECTION_TTL: u8 = 64;

/// The far end of a view.
pub(crate) struct FarSide<'a, D> {
    pub view: &'a View<D>,
    pub side: Side,
}

impl<D: Domain> FarSide<'_, D> {
    /// How many of the far end's packets just before one of them never came; as [`Self::missing_between`].
    pub fn lost_before(&self, packet: u64) -> Option<u16> {
        let next = self.view.sent_by(self.side).find(|p| p.packet == packet)?;
        let before = self.view.sent_by(self.side).rfind(|p| p.packet < packet && next.at - p.at > Span::from_millis(1))?;
        self.missing_between(before, next)
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
        let seen = sent.iter().filter(|p| p.packet > before.packet && p.packet <= next.packet).count();
        let step = step(before, next)?;
        (counts && (1..=64).contains(&step)).then(|| step.saturating_sub(seen as u16))
    }
}
