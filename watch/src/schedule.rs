//! When each check's next round is due: an open loop.
//!
//! Pure: time is an argument. Rounds of a check lie at fixed times, whatever earlier rounds did (no
//! coordinated omission): one that begins late counts its lateness, one whose time has wholly passed counts as missed.
//! Checks are spread over their intervals by their names, so that a reload moves nobody.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::{DefaultHasher, Hash, Hasher};

use analysis::clock::{Client, Instant, Span};

/// A round that is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Due {
    /// Which check.
    pub check: usize,
    /// When it should have begun.
    pub scheduled: Instant<Client>,
    /// Rounds of the same check before it whose time passed without one.
    pub missed: u64,
}

/// The schedule of some checks.
#[derive(Debug, Default)]
pub struct Schedule {
    intervals: Vec<Span>,
    heap: BinaryHeap<Reverse<(Instant<Client>, usize)>>,
}

impl Schedule {
    /// Checks by name and interval.
    pub fn new<'a>(checks: impl IntoIterator<Item = (&'a str, Span)>, now: Instant<Client>) -> Self {
        let mut schedule = Self::default();
        for (check, (name, interval)) in checks.into_iter().enumerate() {
            let interval = interval.max(Span::from_nanos(1));
            let mut hasher = DefaultHasher::new();
            name.hash(&mut hasher);
            let offset = (hasher.finish() % interval.nanos().unsigned_abs()) as i64;
            let into_interval = Span::from_nanos((now.nanos() - offset).rem_euclid(interval.nanos()));
            schedule.intervals.push(interval);
            schedule.heap.push(Reverse((now - into_interval + interval, check)));
        }
        schedule
    }

    /// When the next round is due.
    pub fn next(&self) -> Option<Instant<Client>> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// The next round that is due at `now`, if any.
    pub fn pop(&mut self, now: Instant<Client>) -> Option<Due> {
        let Reverse((due, check)) = *self.heap.peek().filter(|Reverse((at, _))| *at <= now)?;
        self.heap.pop();
        let interval = self.intervals[check];
        let missed = (now - due).nanos() / interval.nanos();
        let scheduled = due + interval * missed;
        self.heap.push(Reverse((scheduled + interval, check)));
        Some(Due { check, scheduled, missed: missed.unsigned_abs() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const S: Span = Span::from_millis(1_000);

    fn at(seconds: i64) -> Instant<Client> {
        Instant::from_nanos(0) + S * seconds
    }

    proptest! {
        /// Whatever delays there are, every scheduled time is either begun or counted as missed, once.
        #[test]
        fn no_round_is_omitted(interval in 1i64..60, naps in prop::collection::vec(0i64..200, 1..60), start in 0i64..1_000_000) {
            let mut schedule = Schedule::new([("a", S * interval)], at(start));
            let first = schedule.next().expect("there is a check");
            prop_assert!(first > at(start) && first <= at(start + interval));
            let (mut now, mut seen, mut last) = (at(start), 0, None);
            for nap in naps {
                now = now + S * nap;
                while let Some(due) = schedule.pop(now) {
                    prop_assert!(due.scheduled <= now && now - due.scheduled < S * interval);
                    seen += 1 + due.missed;
                    prop_assert!(last.is_none_or(|l| due.scheduled > l));
                    last = Some(due.scheduled);
                }
            }
            let passed = if now >= first { (now - first).nanos() / (S * interval).nanos() + 1 } else { 0 };
            prop_assert_eq!(seen, passed.unsigned_abs());
        }
    }

    #[test]
    fn many_checks_are_spread_and_a_reload_moves_nobody() {
        let names: Vec<String> = (0..1_000).map(|i| format!("check {i}")).collect();
        let of = |n: usize| Schedule::new(names[..n].iter().map(|s| (s.as_str(), S * 60)), at(5));
        let mut schedule = of(1_000);
        let mut per_second = vec![0; 60];
        for _ in 0..1_000 {
            let at = schedule.next().expect("there are checks");
            let due = schedule.pop(at).expect("it is due");
            per_second[(due.scheduled.nanos() / S.nanos() % 60) as usize] += 1;
        }
        assert!(per_second.iter().all(|n| (2..=40).contains(n)), "{per_second:?}");
        let (mut few, mut many) = (of(10), of(1_000));
        let far = Instant::from_nanos(i64::MAX / 2);
        let first = few.pop(far).expect("it is due");
        let same = std::iter::from_fn(|| many.pop(far)).take(1_000).find(|d| d.check == first.check).expect("it is there");
        assert_eq!(first.scheduled, same.scheduled);
    }
}
