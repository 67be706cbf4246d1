//! The median of differences, known well enough to look at it after each one: a confidence sequence.
//!
//! In: differences, one by one. Out: an interval that holds their median at *every* moment at once with a given confidence, so that
//! whoever watches may stop when they like what they see.
//!
//! If `m` is the median, each difference lies above it as a fair coin falls, whatever its distribution and however that changes. Who bets
//! on the coin with the stakes of Krichevsky and Trofimov (1981) has, after `n` throws of which `k` lay above, the fortune
//! `2ⁿ · B(k + ½, n − k + ½) / B(½, ½)`; with a fair coin it is a martingale, and comes to `1 / α` with probability `α` at most, ever
//! (Ville's inequality). All `m` for which it has not are the interval (Robbins 1970; Howard and Ramdas 2022, "Sequential estimation of
//! quantiles"). Both its ends are differences that were seen.

/// How sure: the chance that the interval ever misses the median.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Alpha(pub f64);

/// Differences, in order of size.
#[derive(Clone, Default, Debug)]
pub struct Differences {
    sorted: Vec<f64>,
}

impl Differences {
    /// Takes one more.
    pub fn push(&mut self, difference: f64) {
        let place = self.sorted.partition_point(|known| *known <= difference);
        self.sorted.insert(place, difference);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// The median of what was seen; absent without any.
    pub fn median(&self) -> Option<f64> {
        let middle = self.sorted.len() / 2;
        let upper = *self.sorted.get(middle)?;
        Some(if self.sorted.len().is_multiple_of(2) { f64::midpoint(self.sorted[middle - 1], upper) } else { upper })
    }

    /// What so large a share of them does not exceed; absent without any.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let last = self.sorted.len().checked_sub(1)?;
        self.sorted.get(((self.sorted.len() as f64 * share) as usize).min(last)).copied()
    }

    /// No less and no more than the median of what they come from; absent while nothing can be excluded.
    pub fn interval(&self, alpha: Alpha) -> Option<[f64; 2]> {
        let n = self.sorted.len();
        let few = too_few(n, alpha)?;
        Some([self.sorted[few], self.sorted[n - 1 - few]])
    }
}

/// The most of `n` differences on one side of a point that are too few for a median there.
fn too_few(n: usize, alpha: Alpha) -> Option<usize> {
    let enough = -alpha.0.ln();
    // The logarithm of the fortune with all on one side: 2ⁿ · ∏ (i - ½) / i.
    let all = (1..=n).map(|i| (2.0 - 1.0 / i as f64).ln()).sum();
    // It falls from there to the middle.
    let step = |fortune: f64, k: usize| fortune + ((k as f64 + 0.5) / (n as f64 - k as f64 - 0.5)).ln();
    let fortunes = (0..n / 2).scan(all, |fortune, k| Some(std::mem::replace(fortune, step(*fortune, k))));
    fortunes.take_while(|fortune| *fortune >= enough).enumerate().last().map(|(k, _)| k)
}

/// About how many differences it takes, of the kind of these, until the interval ends `within` of their median; absent while there is no
/// interval.
pub fn needed(differences: &Differences, alpha: Alpha, within: f64) -> Option<u64> {
    let ([least, most], median) = (differences.interval(alpha)?, differences.median()?);
    let width = (most - median).max(median - least);
    let times = (width / within.max(f64::MIN_POSITIVE)).max(1.0);
    // It shrinks with the square root of their number, and a logarithm that is left out.
    Some((differences.len() as f64 * times * times).min(1e9).ceil() as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: impl IntoIterator<Item = f64>) -> Differences {
        let mut differences = Differences::default();
        values.into_iter().for_each(|value| differences.push(value));
        differences
    }

    #[test]
    fn a_few_tell_nothing_and_more_tell_more() {
        let alpha = Alpha(0.01);
        let width = |n: u32| of((0..n).map(f64::from)).interval(alpha).map(|[least, most]| (most - least) / f64::from(n));
        assert_eq!(width(5), None);
        let widths = [20, 80, 320].map(|n| width(n).expect("they are enough"));
        assert!(widths[0] > widths[1] && widths[1] > widths[2] && widths[2] < 0.3, "{widths:?}");
    }

    #[test]
    fn a_fair_coin_seldom_looks_unfair_however_long_one_looks() {
        // 1,000 series of 200, looked at after each: the interval may miss 0 in 5 % of them at most.
        let mut random = fastrand::Rng::with_seed(7);
        let missed = (0..1_000).filter(|_| {
            let mut differences = Differences::default();
            (0..200).any(|_| {
                // Heavy tails, and a scale that wanders.
                let x = random.f64() - 0.5;
                differences.push(x / (0.02 + random.f64()).powi(3));
                differences.interval(Alpha(0.05)).is_some_and(|[least, most]| least > 0.0 || most < 0.0)
            })
        });
        let missed = missed.count();
        assert!((1..=50).contains(&missed), "{missed}");
    }

    #[test]
    fn a_shift_is_found_and_its_size_is_in_the_interval() {
        let mut random = fastrand::Rng::with_seed(11);
        let differences = of((0..120).map(|_| 5.0 + (random.f64() - 0.5) * 4.0));
        let [least, most] = differences.interval(Alpha(0.001)).expect("they are enough");
        assert!(least > 3.5 && least < 5.0 && most > 5.0 && most < 6.5, "{least} {most}");
        let few = needed(&differences, Alpha(0.001), 2.0).expect("there is an interval");
        let many = needed(&differences, Alpha(0.001), 0.1).expect("there is an interval");
        assert!(few <= 120 && many > 400, "{few} {many}");
    }

    #[test]
    fn half_of_them_may_be_anything() {
        // Every second one is noise of a hundred times the size, to either side.
        let mut random = fastrand::Rng::with_seed(3);
        let noisy = |i: u32, random: &mut fastrand::Rng| (random.f64() - 0.5) * if i.is_multiple_of(2) { 0.5 } else { 100.0 };
        let differences = of((0..400).map(|i| 2.0 + noisy(i, &mut random)));
        let [least, _] = differences.interval(Alpha(0.001)).expect("they are enough");
        assert!(least > 0.0, "{least}");
    }

    proptest! {
        #[test]
        fn order_does_not_matter_and_ends_are_what_was_seen(mut values in prop::collection::vec(-1e6_f64..1e6, 0..80)) {
            let differences = of(values.iter().copied());
            values.reverse();
            prop_assert_eq!(of(values.iter().copied()).interval(Alpha(0.05)), differences.interval(Alpha(0.05)));
            if let Some([least, most]) = differences.interval(Alpha(0.05)) {
                let median = differences.median().expect("there are some");
                prop_assert!(least <= median && median <= most && values.contains(&least) && values.contains(&most));
            }
        }
    }
}
