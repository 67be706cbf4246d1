//! Which bytes of a stream have passed, told by ranges in any order; and whether they passed in order, as they nearly always do.

use smallvec::SmallVec;

use crate::tcp::flow::Side;

/// How far a stream's bytes have passed without a hole from offset 0.
#[derive(Default, Debug)]
pub(crate) struct Covered {
    pub(crate) prefix: i64,
    /// Ranges beyond it, in no order.
    beyond: SmallVec<[(i64, i64); 4]>,
}

impl Covered {
    /// Takes the range `[start, end)`.
    #[inline]
    pub(crate) fn add(&mut self, start: i64, end: i64) {
        if start > self.prefix {
            self.beyond.push((start, end));
            return;
        }
        if end > self.prefix {
            self.prefix = end;
            while let Some(at) = self.beyond.iter().position(|(start, _)| *start <= self.prefix) {
                self.prefix = self.beyond.swap_remove(at).1.max(self.prefix);
            }
        }
    }
}

/// Pieces of a stream, for who asks of many ranges whether one of the pieces holds them.
pub(crate) struct Pieces(Vec<(i64, i64)>);

impl FromIterator<(i64, i64)> for Pieces {
    fn from_iter<I: IntoIterator<Item = (i64, i64)>>(pieces: I) -> Self {
        let mut pieces: Vec<(i64, i64)> = pieces.into_iter().collect();
        pieces.sort_unstable();
        // Each with the furthest end of all that begin no later.
        let mut furthest = i64::MIN;
        for (_, end) in &mut pieces {
            furthest = furthest.max(*end);
            *end = furthest;
        }
        Self(pieces)
    }
}

impl Pieces {
    /// Whether one of them holds all of the range `[start, end)`.
    pub(crate) fn hold(&self, start: i64, end: i64) -> bool {
        let begun = self.0.partition_point(|(at, _)| *at <= start);
        begun > 0 && self.0[begun - 1].1 >= end
    }
}

/// How far both directions of a connection have passed.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Passed {
    /// By side; FIN takes one number.
    reached: [i64; 2],
    gap: bool,
    again: bool,
}

impl Passed {
    /// Takes a packet of `from` that carries `len` bytes from `start` on, and perhaps FIN, and acknowledges up to `ack`.
    #[inline]
    pub(crate) fn add(&mut self, from: Side, start: i64, len: i64, fin: bool, ack: Option<i64>) {
        let peer = self.reached[from.peer() as usize];
        let own = &mut self.reached[from as usize];
        self.gap |= (start > *own) | ack.is_some_and(|ack| ack > peer);
        self.again |= (len > 0) & (start < *own);
        *own = (start + len + i64::from(fin)).max(*own);
    }

    /// Whether every byte passed behind the one before it, and none was acknowledged that had not passed.
    #[inline]
    pub(crate) fn in_order(self) -> bool {
        !self.gap
    }

    /// Whether a byte may have passed that had passed before; where all passed in order, whether one did.
    #[inline]
    pub(crate) fn may_repeat(self) -> bool {
        self.again
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// In whatever order ranges come, the prefix ends at the first byte that none of them has.
        #[test]
        fn the_prefix_ends_at_the_first_hole(ranges in prop::collection::vec((-2i64..40, 0i64..9), 0..30)) {
            let mut covered = Covered::default();
            ranges.iter().for_each(|(start, len)| covered.add(*start, start + len));
            let hole = (0..).find(|byte| !ranges.iter().any(|(start, len)| start <= byte && *byte < start + len));
            prop_assert_eq!(Some(covered.prefix), hole);
        }

        #[test]
        fn a_range_is_held_by_one_piece_or_by_none(
            pieces in prop::collection::vec((-2i64..40, 1i64..9), 0..30),
            (start, len) in (-4i64..42, 1i64..9),
        ) {
            let pieces: Vec<(i64, i64)> = pieces.into_iter().map(|(start, len)| (start, start + len)).collect();
            let held = pieces.iter().any(|(left, right)| *left <= start && start + len <= *right);
            prop_assert_eq!(pieces.into_iter().collect::<Pieces>().hold(start, start + len), held);
        }
    }
}
