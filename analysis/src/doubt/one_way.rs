//! How long the way out and the way back took, each by itself, where somebody compared the two ends' clocks.
//!
//! In: both ends' packets, and between what bounds the edge's clock is ahead of the client's (an exchange of times, as Cristian's of 1989 or
//! NTP's: the answer was read somewhere between question and answer). Out: an interval for the least time of each direction.
//!
//! For a packet seen at both ends, `edge's time − client's time` is the clocks' difference plus the way out, or minus the way back. The
//! bounds of the difference thus bound each way; and no way is shorter than nothing, nor longer than both together. Where the packets
//! leave no room between the bounds, the exchange or a clock is wrong, and nothing is said.

use serde::{Deserialize, Serialize};

use crate::clock::{Client, Edge, Span};
use crate::doubt::offset::crossings;
use crate::tcp::flow::{Side, View};

/// No clock drifts from another by more (RFC 5905 holds a clock to this), in parts per million.
pub const MOST_DRIFT_PPM: i64 = 500;
/// Stamps are taken where a packet passes a driver, not where it enters the wire.
const STAMPED_WITHIN: Span = Span::from_nanos(50_000);

/// Between what bounds one clock is ahead of another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// By so much at least; negative: behind.
    pub least: Span,
    /// By so much at most.
    pub most: Span,
}

impl Bounds {
    /// Of a comparison: ahead by `by`, which may be off by `error` either way.
    pub fn around(by: Span, error: Span) -> Self {
        Self { least: by - error, most: by + error }
    }

    /// What holds from one comparison to the next, `apart` later: clocks drift from each other, by [`MOST_DRIFT_PPM`] at most. Absent if
    /// they differ by more: one of them was set meanwhile.
    pub fn through(self, later: Self, apart: Span) -> Option<Self> {
        let drift = drift(apart);
        let met = later.least <= self.most + drift && later.most >= self.least - drift;
        met.then(|| Self { least: self.least.min(later.least), most: self.most.max(later.most) })
    }

    /// How far `other` is ahead of a clock that is itself ahead by `self`, both of a third.
    #[must_use]
    pub fn to(self, other: Self) -> Self {
        Self { least: other.least - self.most, most: other.most - self.least }
    }
}

fn drift(over: Span) -> Span {
    Span::from_nanos(over.nanos() / 1_000_000 * MOST_DRIFT_PPM)
}

/// The least time of each way in one handshake: between two bounds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OneWay {
    /// From the client to the edge.
    pub out: [Span; 2],
    /// From the edge to the client.
    pub back: [Span; 2],
}

/// The ways of one handshake, the edge's clock being ahead of the client's by `ahead` while it ran. Absent without a packet of each
/// direction that both ends saw, and where packets and clocks contradict each other.
pub fn one_way(client: &View<Client>, edge: &View<Edge>, ahead: Bounds) -> Option<OneWay> {
    let crossings = crossings(client, edge);
    let of = |side| crossings.iter().filter(move |c| c.from == side).map(|c| c.difference);
    let (out, back) = (of(Side::Client).min()?, of(Side::Server).max()?);
    let length = client.packets.last()?.at - client.packets.first()?.at;
    let slack = drift(length) + STAMPED_WITHIN;
    let both = (out - back).at_least_zero() + slack;
    let between = |least: Span, most: Span| {
        let bounds = [least.at_least_zero(), most.min(both)];
        (bounds[0] <= bounds[1]).then_some(bounds)
    };
    Some(OneWay {
        out: between(out - ahead.most - slack, out - ahead.least + slack)?,
        back: between(ahead.least - back - slack, ahead.most - back + slack)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(ms: i64) -> Span {
        Span::from_millis(ms)
    }

    #[test]
    fn two_comparisons_bound_what_lies_between_unless_a_clock_was_set() {
        let (before, after) = (Bounds::around(span(1_000), span(2)), Bounds::around(span(1_003), span(1)));
        let all = Bounds { least: span(998), most: span(1_004) };
        assert_eq!(before.through(after, span(1)), Some(all));
        let drifted = Bounds::around(span(1_006), span(1));
        assert_eq!(before.through(drifted, span(100)), None, "3 ms between them in 100 ms");
        assert!(before.through(drifted, span(10_000)).is_some(), "in 10 s they may drift by 5 ms");
        assert_eq!(before.through(Bounds::around(span(1_300), span(1)), span(10_000)), None);
    }

    #[test]
    fn two_clocks_are_compared_by_a_third() {
        let (client, edge) = (Bounds::around(span(100), span(1)), Bounds::around(span(-20), span(2)));
        assert_eq!(client.to(edge), Bounds::around(span(-120), span(3)));
    }
}
