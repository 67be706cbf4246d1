//! Packets that two interfaces show: a bridge and its port, a bond and its members. What both show counts once.
//!
//! Pure: packets in; out, whether another interface showed the same a moment ago. The way there and the way back may lie over different
//! interfaces, and a packet that is sent again may take another: only what comes at nearly the same time is a copy.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use analysis::clock::{Instant, Span};
use capture::clock::Monotonic;
use capture::ends::FlowName;
use capture::seen::Seen;
use foldhash::fast::RandomState;
use lru::LruCache;

/// Packets remembered.
const MOST: usize = 8_192;
/// From one interface of a host to the next a packet takes no longer; before it is sent again, more time passes.
const SAME: Span = Span::from_millis(5);

/// What two copies have in common.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Face {
    flow: FlowName,
    from_client: bool,
    flags: u8,
    numbers: [u32; 3],
}

/// The last packets.
pub struct Copies {
    last: LruCache<Face, (u32, Instant<Monotonic>), RandomState>,
    pairs: BTreeSet<(u32, u32)>,
}

impl Default for Copies {
    fn default() -> Self {
        let most = NonZeroUsize::new(MOST).unwrap_or(NonZeroUsize::MIN);
        Self { last: LruCache::with_hasher(most, RandomState::default()), pairs: BTreeSet::new() }
    }
}

impl Copies {
    /// Whether another interface showed this packet already.
    pub fn is_copy(&mut self, seen: &Seen<'_>) -> bool {
        let &Seen { flow, from_client, flags, seq, ack, payload_len, ref frame, .. } = seen;
        let face = Face { flow, from_client, flags: flags.0, numbers: [seq, ack, payload_len] };
        if let Some((interface, at)) = self.last.get(&face).copied()
            && interface != frame.interface
            && (frame.at - at).nanos().abs() < SAME.nanos()
        {
            self.pairs.insert((interface.min(frame.interface), interface.max(frame.interface)));
            return true;
        }
        self.last.put(face, (frame.interface, frame.at));
        false
    }

    /// Interfaces that showed the same.
    pub fn pairs(&self) -> impl Iterator<Item = (u32, u32)> {
        self.pairs.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use analysis::wire::packet::{Flags, LinkType};
    use capture::ends::End;
    use capture::seen::Frame;
    use std::net::SocketAddr;

    fn is_copy(copies: &mut Copies, micros: i64, interface: u32, seq: u32) -> bool {
        let [client, server] =
            ["192.0.2.7:40000", "192.0.2.1:443"].map(|end| End::from(end.parse::<SocketAddr>().expect("an end")));
        let at = Instant::from_nanos(micros * 1_000);
        copies.is_copy(&Seen {
            frame: Frame { at, wire_len: 60, interface, outgoing: false, link: LinkType::Ethernet, bytes: &[] },
            flow: FlowName::of(client, server),
            client,
            server,
            from_client: true,
            flags: Flags(16),
            seq,
            ack: 1,
            payload_len: 0,
            payload: &[],
        })
    }

    #[test]
    fn what_two_interfaces_show_at_once_counts_once_and_what_is_repeated_counts() {
        let mut copies = Copies::default();
        // Each of two acknowledgements that look alike is shown by both.
        let shown = [(0, 1), (20, 0), (900, 1), (930, 0)].map(|(at, interface)| is_copy(&mut copies, at, interface, 7));
        assert_eq!(shown, [false, true, false, true]);
        assert!(!is_copy(&mut copies, 2_000, 0, 8), "another packet");
        assert!(!is_copy(&mut copies, 202_000, 1, 8), "sent again by another way");
        assert_eq!(copies.pairs().collect::<Vec<_>>(), [(0, 1)]);
    }
}
