//! What is usual, learned from other handshakes: a distribution, not a minimum.
//!
//! In: quantities of sibling handshakes, healthy or not (nobody knows before judging). Out: location and spread of each ([`Normal`]).
//! Half of the siblings may be slow: the median and the median absolute deviation (MAD; 1.4826 × MAD estimates a standard deviation)
//! do not move for them. Where siblings disagree more than ordinary work does, a low quantile with a wide spread is taken; and what no
//! ordinary work takes is no measure of it.

use smallvec::SmallVec;

use crate::clock::Span;
use crate::judging::baseline::Normal;
use crate::judging::policy::{DISAGREE, DISAGREE_PERCENT, ENOUGH, LEAST_SPREAD, MOST_SPREAD, MOST_WORK, ORDINARY_WORK};

/// Quantities remembered: the latest.
const MOST: usize = 64;

/// A quantity and its place in the order of time, in one number: they are many, and are put in order by size.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Sample(i64);

impl Sample {
    /// Bits of a place.
    const PLACE: u32 = 8;

    fn new(span: Span, place: u8) -> Self {
        // 208 days fill what is left.
        let most = i64::MAX >> Self::PLACE;
        Self(span.nanos().clamp(-most, most) << Self::PLACE | i64::from(place))
    }

    fn nanos(self) -> i64 {
        self.0 >> Self::PLACE
    }

    fn place(self) -> u8 {
        self.0 as u8
    }
}

/// The latest quantities of one kind, the least first: every handshake asks for the middle of them.
#[derive(Clone, Default, Debug)]
pub struct Samples {
    sorted: SmallVec<[Sample; 2]>,
    /// The place of the oldest, once there are [`MOST`].
    oldest: u8,
}

impl Samples {
    /// Takes one more.
    pub fn push(&mut self, span: Span) {
        let place = if self.sorted.len() < MOST {
            self.sorted.len() as u8
        } else {
            let place = self.oldest;
            self.oldest = (self.oldest + 1) % MOST as u8;
            if let Some(oldest) = self.sorted.iter().position(|known| known.place() == place) {
                self.sorted.remove(oldest);
            }
            place
        };
        let sample = Sample::new(span, place);
        self.sorted.insert(self.sorted.partition_point(|known| *known < sample), sample);
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// All of them.
    pub fn all(&self) -> Siblings<'_> {
        Siblings { of: self, without: None }
    }

    /// All but one of this size: a handshake is no sibling of itself.
    pub fn without(&self, span: Span) -> Siblings<'_> {
        let least = Sample::new(span, 0);
        let own = self.sorted.partition_point(|known| *known < least);
        let is_there = self.sorted.get(own).is_some_and(|known| known.nanos() == least.nanos());
        Siblings { of: self, without: is_there.then_some(own) }
    }
}

/// What a handshake is compared with.
#[derive(Clone, Copy, Debug)]
pub struct Siblings<'a> {
    of: &'a Samples,
    /// The place, in their order, of one that does not count.
    without: Option<usize>,
}

impl Siblings<'_> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.of.sorted.len() - usize::from(self.without.is_some())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The one with `n` below it.
    fn nth(&self, n: usize) -> i64 {
        let n = n + usize::from(self.without.is_some_and(|without| without <= n));
        self.of.sorted[n].nanos()
    }

    /// A round trip of a path: what half of the handshakes took no longer than; absent without any.
    pub fn path(&self) -> Option<Normal> {
        let location = self.median()?;
        Some(Normal { location: Span::from_nanos(location), spread: self.spread(location).min(MOST_SPREAD) })
    }

    /// An end's own work; absent with too few.
    pub fn work(&self) -> Option<Normal> {
        if self.len() < ENOUGH {
            return None;
        }
        let middle = self.median()?;
        let wide = self.spread(middle);
        let location = Span::from_nanos(middle);
        Some(match () {
            () if location > MOST_WORK => ORDINARY_WORK,
            () if wide > location.percent(DISAGREE_PERCENT).max(DISAGREE) => {
                Normal { location: Span::from_nanos(self.nth(self.len() / 4)), spread: wide.min(MOST_SPREAD) }
            }
            () => Normal { location, spread: wide },
        })
    }

    /// The middle one, or between the middle two.
    fn median(&self) -> Option<i64> {
        let (n, middle) = (self.len(), self.len() / 2);
        (n > 0)
            .then(|| if n.is_multiple_of(2) { i64::midpoint(self.nth(middle - 1), self.nth(middle)) } else { self.nth(middle) })
    }

    /// How far they lie from where they are, which is their median.
    fn spread(&self, location: i64) -> Span {
        let (n, middle) = (self.len(), self.len() / 2);
        // Distances grow from the middle outwards, on each side: the least of both, without putting them in one order.
        let down = |i: usize| location - self.nth(middle - 1 - i);
        let up = |i: usize| self.nth(middle + i) - location;
        let wanted = (middle + 1).min(n);
        let (mut from_below, mut most) = (wanted.saturating_sub(n - middle), wanted.min(middle));
        while from_below < most {
            let half = usize::midpoint(from_below, most);
            if down(half) < up(wanted - half - 1) { from_below = half + 1 } else { most = half }
        }
        let from_above = wanted - from_below;
        let mut farthest = [-1; 2];
        let last = |taken: usize| taken.saturating_sub(2)..taken;
        for distance in last(from_below).map(down).chain(last(from_above).map(up)) {
            let [second, first] = farthest;
            farthest = if distance > first { [first, distance] } else { [second.max(distance), first] };
        }
        let [before, middling] = farthest.map(|distance| distance.max(0));
        let mad = if n.is_multiple_of(2) { i64::midpoint(before, middling) } else { middling };
        // Of a few siblings it is taken for more than it looks.
        let few = mad * 3 / n.max(1) as i64;
        Span::from_nanos(mad + mad / 2 + few).max(LEAST_SPREAD)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn samples(ms: &[i64]) -> Samples {
        let mut samples = Samples::default();
        ms.iter().for_each(|ms| samples.push(Span::from_millis(*ms)));
        samples
    }

    #[test]
    fn slow_siblings_do_not_move_what_is_usual() {
        let work = samples(&[2, 3, 2, 400, 3, 2, 350]).all().work().expect("seven siblings");
        assert!(work.location <= Span::from_millis(3) && work.spread <= Span::from_millis(2), "{work:?}");
    }

    #[test]
    fn what_no_ordinary_work_takes_is_no_measure_of_it() {
        assert_eq!(samples(&[400, 500, 600]).all().work(), Some(ORDINARY_WORK));
        assert_eq!(samples(&[1, 1]).all().work(), None);
    }

    #[test]
    fn siblings_that_disagree_give_a_low_quantile_and_a_wide_spread() {
        let work = samples(&[1, 1, 14, 20, 2, 18]).all().work().expect("six siblings");
        assert!(work.location <= Span::from_millis(2) && work.spread >= Span::from_millis(3), "{work:?}");
    }

    #[test]
    fn only_the_latest_count() {
        let mut many = samples(&[9; 64]);
        (0..64).for_each(|_| many.push(Span::from_millis(5)));
        assert_eq!(many.all().path().map(|n| n.location), Some(Span::from_millis(5)));
    }

    #[test]
    fn a_handshake_is_no_sibling_of_itself() {
        let all = samples(&[40, 90, 41]);
        let others = all.without(Span::from_millis(90));
        assert_eq!((others.len(), others.path().map(|n| n.location)), (2, Some(Span::from_micros(40_500))));
        assert_eq!(samples(&[40, 40]).without(Span::from_millis(40)).len(), 1);
        assert_eq!(samples(&[40]).without(Span::from_millis(41)).len(), 1);
    }

    /// Put in order anew each time.
    fn by_sorting(latest: &[i64]) -> Option<(i64, i64)> {
        let middle = |mut values: Vec<i64>| {
            values.sort_unstable();
            let n = values.len();
            (n > 0).then(|| if n.is_multiple_of(2) { i64::midpoint(values[n / 2 - 1], values[n / 2]) } else { values[n / 2] })
        };
        let median = middle(latest.to_vec())?;
        Some((median, middle(latest.iter().map(|x| (x - median).abs()).collect())?))
    }

    proptest! {
        #[test]
        fn the_order_is_kept_whatever_comes_and_goes(spans in prop::collection::vec(0_i64..40_000_000, 1..200), own in 0..200_usize) {
            let mut samples = Samples::default();
            spans.iter().for_each(|ns| samples.push(Span::from_nanos(*ns)));
            let latest = &spans[spans.len().saturating_sub(MOST)..];
            let own = own % latest.len();
            let others: Vec<i64> = latest.iter().enumerate().filter(|(i, _)| *i != own).map(|(_, ns)| *ns).collect();
            for (siblings, held_to) in [(samples.all(), latest), (samples.without(Span::from_nanos(latest[own])), &others)] {
                let spread = |mad: i64| Span::from_nanos(mad + mad / 2 + mad * 3 / held_to.len() as i64).max(LEAST_SPREAD);
                let found = siblings.median().map(|median| (median, siblings.spread(median)));
                prop_assert_eq!(found, by_sorting(held_to).map(|(median, mad)| (median, spread(mad))));
            }
        }
    }

    #[test]
    fn work_is_told_by_three_and_a_path_by_one() {
        assert_eq!(samples(&[]).all().path(), None);
        assert_eq!(samples(&[40]).all().path().map(|n| n.location), Some(Span::from_millis(40)));
        assert_eq!(
            (samples(&[3, 3]).all().work(), samples(&[3, 3, 3]).all().work().map(|n| n.location)),
            (None, Some(Span::from_millis(3)))
        );
    }

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        assert_eq!(samples(&[10, 40, 20, 30]).all().path().map(|n| n.location), Some(Span::from_millis(25)));
        assert_eq!(samples(&[30, 10, 20]).all().path().map(|n| n.location), Some(Span::from_millis(20)));
    }

    #[test]
    fn nothing_varies_by_less_than_a_scheduler_does_and_a_path_hides_no_fault() {
        assert_eq!(samples(&[40; 9]).all().path().map(|n| n.spread), Some(LEAST_SPREAD));
        assert_eq!(samples(&[40, 90, 10, 60, 20]).all().path().map(|n| n.spread), Some(MOST_SPREAD));
    }

    #[test]
    fn of_few_siblings_the_spread_is_taken_for_more() {
        let spread = |ms: &[i64]| samples(ms).all().work().map(|n| n.spread);
        // The median distance from the median is 2 ms: half as much again, and more of it the fewer they are.
        assert_eq!(spread(&[10, 8, 12]), Some(Span::from_millis(5)));
        assert_eq!(spread(&[10, 8, 12, 8, 12, 8, 12, 8, 12, 10, 8, 12]), Some(Span::from_micros(3_500)));
    }

    #[test]
    fn ordinary_work_ends_at_25_ms() {
        assert_eq!(samples(&[25; 5]).all().work().map(|n| n.location), Some(Span::from_millis(25)));
        assert_eq!(samples(&[26; 5]).all().work(), Some(ORDINARY_WORK));
        assert_eq!((ORDINARY_WORK.location, ORDINARY_WORK.spread), (Span::from_millis(12), Span::from_millis(3)));
    }

    #[test]
    fn siblings_that_agree_within_a_third_agree() {
        // 20 ms that vary by 5: the middle. By 7.5: the lower quarter, and no more than 6.
        let even = samples(&[20, 18, 22, 18, 22, 18, 22]).all().work().expect("seven siblings");
        assert_eq!(even.location, Span::from_millis(20));
        let uneven = samples(&[20, 14, 26, 14, 26, 14, 26]).all().work().expect("seven siblings");
        assert_eq!((uneven.location, uneven.spread), (Span::from_millis(14), MOST_SPREAD));
    }
}
