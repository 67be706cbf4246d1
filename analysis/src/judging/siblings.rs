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

/// As many, to be put in order.
type Few = SmallVec<[i64; MOST]>;

/// The latest quantities of one kind.
#[derive(Clone, Default, Debug)]
pub struct Samples {
    latest: SmallVec<[i64; 4]>,
    next: u8,
}

impl Samples {
    /// Takes one more.
    pub fn push(&mut self, span: Span) {
        if self.latest.len() < MOST {
            self.latest.push(span.nanos());
        } else {
            self.latest[usize::from(self.next)] = span.nanos();
            self.next = (self.next + 1) % MOST as u8;
        }
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.latest.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.latest.is_empty()
    }

    /// The same without one of this size: a handshake is no sibling of itself.
    #[must_use]
    pub fn without(&self, span: Span) -> Self {
        let mut others = self.clone();
        if let Some(own) = others.latest.iter().position(|known| *known == span.nanos()) {
            others.latest.swap_remove(own);
        }
        others
    }

    fn all(&self) -> Few {
        self.latest.iter().copied().collect()
    }

    /// A round trip of a path: what half of the handshakes took no longer than; absent without any.
    pub fn path(&self) -> Option<Normal> {
        let location = median(&mut self.all())?;
        Some(Normal { location: Span::from_nanos(location), spread: self.spread(location).min(MOST_SPREAD) })
    }

    /// An end's own work; absent with too few.
    pub fn work(&self) -> Option<Normal> {
        let mut all = self.all();
        if all.len() < ENOUGH {
            return None;
        }
        let middle = median(&mut all)?;
        let wide = self.spread(middle);
        let location = Span::from_nanos(middle);
        Some(match () {
            () if location > MOST_WORK => ORDINARY_WORK,
            () if wide > location.percent(DISAGREE_PERCENT).max(DISAGREE) => {
                let quarter = all.len() / 4;
                let (_, low, _) = all.select_nth_unstable(quarter);
                Normal { location: Span::from_nanos(*low), spread: wide.min(MOST_SPREAD) }
            }
            () => Normal { location, spread: wide },
        })
    }

    /// How far they lie from where they are.
    fn spread(&self, location: i64) -> Span {
        let mut off: Few = self.latest.iter().map(|x| (x - location).abs()).collect();
        let mad = median(&mut off).unwrap_or(0);
        // Of a few siblings it is taken for more than it looks.
        let few = mad * 3 / off.len().max(1) as i64;
        Span::from_nanos(mad + mad / 2 + few).max(LEAST_SPREAD)
    }
}

/// The middle one, or between the middle two; without sorting the others, which every handshake would have to wait for.
fn median(values: &mut [i64]) -> Option<i64> {
    let middle = values.len() / 2;
    let even = values.len().is_multiple_of(2);
    if values.is_empty() {
        return None;
    }
    let (below, upper, _) = values.select_nth_unstable(middle);
    let lower = if even { below.iter().max().copied().unwrap_or(*upper) } else { *upper };
    Some(i64::midpoint(lower, *upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(ms: &[i64]) -> Samples {
        let mut samples = Samples::default();
        ms.iter().for_each(|ms| samples.push(Span::from_millis(*ms)));
        samples
    }

    #[test]
    fn slow_siblings_do_not_move_what_is_usual() {
        let work = samples(&[2, 3, 2, 400, 3, 2, 350]).work().expect("seven siblings");
        assert!(work.location <= Span::from_millis(3) && work.spread <= Span::from_millis(2), "{work:?}");
    }

    #[test]
    fn what_no_ordinary_work_takes_is_no_measure_of_it() {
        assert_eq!(samples(&[400, 500, 600]).work(), Some(ORDINARY_WORK));
        assert_eq!(samples(&[1, 1]).work(), None);
    }

    #[test]
    fn siblings_that_disagree_give_a_low_quantile_and_a_wide_spread() {
        let work = samples(&[1, 1, 14, 20, 2, 18]).work().expect("six siblings");
        assert!(work.location <= Span::from_millis(2) && work.spread >= Span::from_millis(3), "{work:?}");
    }

    #[test]
    fn only_the_latest_count() {
        let mut many = samples(&[9; 64]);
        (0..64).for_each(|_| many.push(Span::from_millis(5)));
        assert_eq!(many.path().map(|n| n.location), Some(Span::from_millis(5)));
    }

    #[test]
    fn a_handshake_is_no_sibling_of_itself() {
        let others = samples(&[40, 90, 41]).without(Span::from_millis(90));
        assert_eq!((others.len(), others.path().map(|n| n.location)), (2, Some(Span::from_micros(40_500))));
        assert_eq!(samples(&[40, 40]).without(Span::from_millis(40)).len(), 1);
        assert_eq!(samples(&[40]).without(Span::from_millis(41)).len(), 1);
    }

    #[test]
    fn work_is_told_by_three_and_a_path_by_one() {
        assert_eq!(samples(&[]).path(), None);
        assert_eq!(samples(&[40]).path().map(|n| n.location), Some(Span::from_millis(40)));
        assert_eq!((samples(&[3, 3]).work(), samples(&[3, 3, 3]).work().map(|n| n.location)), (None, Some(Span::from_millis(3))));
    }

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        assert_eq!(samples(&[10, 40, 20, 30]).path().map(|n| n.location), Some(Span::from_millis(25)));
        assert_eq!(samples(&[30, 10, 20]).path().map(|n| n.location), Some(Span::from_millis(20)));
    }

    #[test]
    fn nothing_varies_by_less_than_a_scheduler_does_and_a_path_hides_no_fault() {
        assert_eq!(samples(&[40; 9]).path().map(|n| n.spread), Some(LEAST_SPREAD));
        assert_eq!(samples(&[40, 90, 10, 60, 20]).path().map(|n| n.spread), Some(MOST_SPREAD));
    }

    #[test]
    fn of_few_siblings_the_spread_is_taken_for_more() {
        let spread = |ms: &[i64]| samples(ms).work().map(|n| n.spread);
        // The median distance from the median is 2 ms: half as much again, and more of it the fewer they are.
        assert_eq!(spread(&[10, 8, 12]), Some(Span::from_millis(5)));
        assert_eq!(spread(&[10, 8, 12, 8, 12, 8, 12, 8, 12, 10, 8, 12]), Some(Span::from_micros(3_500)));
    }

    #[test]
    fn ordinary_work_ends_at_25_ms() {
        assert_eq!(samples(&[25; 5]).work().map(|n| n.location), Some(Span::from_millis(25)));
        assert_eq!(samples(&[26; 5]).work(), Some(ORDINARY_WORK));
        assert_eq!((ORDINARY_WORK.location, ORDINARY_WORK.spread), (Span::from_millis(12), Span::from_millis(3)));
    }

    #[test]
    fn siblings_that_agree_within_a_third_agree() {
        // 20 ms that vary by 5: the middle. By 7.5: the lower quarter, and no more than 6.
        let even = samples(&[20, 18, 22, 18, 22, 18, 22]).work().expect("seven siblings");
        assert_eq!(even.location, Span::from_millis(20));
        let uneven = samples(&[20, 14, 26, 14, 26, 14, 26]).work().expect("seven siblings");
        assert_eq!((uneven.location, uneven.spread), (Span::from_millis(14), MOST_SPREAD));
    }
}
