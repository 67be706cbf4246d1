//! Which bytes of a stream have passed, told by ranges in any order.

use smallvec::SmallVec;

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
    }
}
