//! When each check's next round is due: an open loop.
//!
//! Pure: time is an argument, in nanoseconds since the epoch. Rounds of a check lie at fixed times, whatever earlier rounds did (no
//! coordinated omission): one that begins late counts its lateness, one whose time has wholly passed counts as missed.
//! Checks are spread over their intervals by their names, so that a reload moves nobody.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// A round that is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Due {
    /// Which check.
    pub check: usize,
    /// When it should have begun.
    pub scheduled: i64,
    /// Rounds of the same check before it whose time passed without one.
    pub missed: u64,
}

/// The schedule of some checks.
#[derive(Debug, Default)]
pub struct Schedule {
    intervals: Vec<i64>,
    heap: BinaryHeap<Reverse<(i64, usize)>>,
}

impl Schedule {
    /// Checks by name and interval in nanoseconds.
    pub fn new<'a>(checks: impl IntoIterator<Item = (&'a str, i64)>, now: i64) -> Self {
        let mut schedule = Self::default();
        for (check, (name, interval)) in checks.into_iter().enumerate() {
            let interval = interval.max(1);
            let mut hasher = DefaultHasher::new();
            name.hash(&mut hasher);
            let offset = (hasher.finish() % interval.unsigned_abs()) as i64;
            let next = now - (now - offset).rem_euclid(interval) + interval;
            schedule.intervals.push(interval);
            schedule.heap.push(Reverse((next, check)));
        }
        schedule
    }

    /// When the next round is due.
    pub fn next(&self) -> Option<i64> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// The next round that is due at `now`, if any.
    pub fn pop(&mut self, now: i64) -> Option<Due> {
        let Reverse((due, check)) = *self.heap.peek().filter(|Reverse((at, _))| *at <= now)?;
        self.heap.pop();
        let interval = self.intervals[check];
        let missed = (now - due) / interval;
        let scheduled = due + missed * interval;
        self.heap.push(Reverse((scheduled + interval, check)));
        Some(Due { check, scheduled, missed: missed.unsigned_abs() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const S: i64 = 1_000_000_000;

    proptest! {
        /// Whatever delays there are, every scheduled time is either begun or counted as missed, once.
        #[test]
        fn no_round_is_omitted(interval in 1i64..60, naps in prop::collection::vec(0i64..200, 1..60), start in 0i64..1_000_000) {
            let mut schedule = Schedule::new([("a", interval * S)], start * S);
            let first = schedule.next().expect("there is a check");
            prop_assert!(first > start * S && first <= (start + interval) * S);
            let (mut now, mut seen, mut last) = (start * S, 0, None);
            for nap in naps {
                now += nap * S;
                while let Some(due) = schedule.pop(now) {
                    prop_assert!(due.scheduled <= now && now - due.scheduled < interval * S);
                    seen += 1 + due.missed;
                    prop_assert!(last.is_none_or(|l| due.scheduled > l));
                    last = Some(due.scheduled);
                }
            }
            let passed = if now >= first { (now - first) / (interval * S) + 1 } else { 0 };
            prop_assert_eq!(seen, passed.unsigned_abs());
        }
    }

    #[test]
    fn many_checks_are_spread_and_a_reload_moves_nobody() {
        let names: Vec<String> = (0..1_000).map(|i| format!("check {i}")).collect();
        let of = |n: usize| Schedule::new(names[..n].iter().map(|s| (s.as_str(), 60 * S)), 5 * S);
        let mut schedule = of(1_000);
        let mut per_second = vec![0; 60];
        for _ in 0..1_000 {
            let at = schedule.next().expect("there are checks");
            let due = schedule.pop(at).expect("it is due");
            per_second[(due.scheduled / S % 60) as usize] += 1;
        }
        assert!(per_second.iter().all(|n| (2..=40).contains(n)), "{per_second:?}");
        let (mut few, mut many) = (of(10), of(1_000));
        let first = few.pop(i64::MAX / 2).expect("it is due");
        let same =
            std::iter::from_fn(|| many.pop(i64::MAX / 2)).take(1_000).find(|d| d.check == first.check).expect("it is there");
        assert_eq!(first.scheduled, same.scheduled);
    }
}
