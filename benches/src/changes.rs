//! Where a series changed.
//!
//! Times are noisy: E-divisive (Matteson and James, "A Nonparametric Approach for Multiple Change Point Analysis of Multivariate Data", 2014)
//! looks for the split whose two sides differ most, by the energy statistic with exponent 1, asks by permutation whether chance would do as
//! much, and goes on in both sides. It assumes no distribution, and one wild value is no change. Counts are exact: a step beyond the
//! tolerance is a change, without statistics.

/// How values of a series come about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sort {
    /// Counted: they repeat but for what threads and the C library do.
    Counted,
    /// Timed, on a machine that does other things, too.
    Timed,
}

/// A place where a series changed.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Change {
    /// The first value of the new level.
    pub at: usize,
    /// The median of the level before, in the series' unit.
    pub before: f64,
    /// The median from then on, up to the next change.
    pub after: f64,
}

impl Change {
    /// The new level in parts of the old one: 1.1 is a tenth dearer.
    pub fn ratio(&self) -> f64 {
        self.after / self.before
    }
}

/// Counts repeat within this, as parts of the value.
const REPEATS: f64 = 0.01;
/// Fewer values make no level of times.
const LEAST: usize = 4;
/// Chance does as much in at most this part of the permutations.
const SIGNIFICANT: f64 = 0.01;
const PERMUTATIONS: usize = 999;

/// The changes of a series, in its order.
///
/// ```
/// use whostalled_benches::changes::{Sort, changes};
/// let found = changes(Sort::Counted, &[100.0, 100.2, 92.0, 92.1]);
/// assert_eq!(found.len(), 1);
/// assert_eq!((found[0].at, found[0].before, found[0].after), (2, 100.1, 92.05));
/// ```
pub fn changes(sort: Sort, values: &[f64]) -> Vec<Change> {
    let mut starts = match sort {
        Sort::Counted => steps(values),
        Sort::Timed => divided(values),
    };
    starts.sort_unstable();
    let ends = starts.iter().copied().skip(1).chain([values.len()]);
    let befores = [0].into_iter().chain(starts.iter().copied());
    let levels = befores.zip(starts.iter().copied()).zip(ends);
    levels.map(|((from, at), to)| Change { at, before: median(&values[from..at]), after: median(&values[at..to]) }).collect()
}

/// Where a value is beyond the tolerance from the first of its level.
fn steps(values: &[f64]) -> Vec<usize> {
    let mut level = values.first().copied();
    let mut found = Vec::new();
    for (at, value) in values.iter().enumerate() {
        if level.is_some_and(|level| (value / level - 1.0).abs() > REPEATS) {
            found.push(at);
            level = Some(*value);
        }
    }
    found
}

/// The starts of new levels by E-divisive, in no order.
fn divided(values: &[f64]) -> Vec<usize> {
    // The same series has the same changes each time.
    let mut random = fastrand::Rng::with_seed(1);
    let mut found = Vec::new();
    divide(values, 0, &mut random, &mut found);
    found
}

/// Splits values that begin at `start` as long as chance would hardly do it, each side by itself.
fn divide(values: &[f64], start: usize, random: &mut fastrand::Rng, found: &mut Vec<usize>) {
    let Some((at, most)) = best_split(values) else { return };
    let mut shuffled = values.to_vec();
    let as_much = (0..PERMUTATIONS).filter(|_| {
        random.shuffle(&mut shuffled);
        best_split(&shuffled).is_some_and(|(_, chance)| chance >= most)
    });
    if (as_much.count() + 1) as f64 / (PERMUTATIONS + 1) as f64 <= SIGNIFICANT {
        found.push(start + at);
        divide(&values[..at], start, random, found);
        divide(&values[at..], start + at, random, found);
    }
}

/// The split with the greatest divergence, `nm/(n+m)` times the energy distance of its sides, and that; absent if a side would be too short.
fn best_split(values: &[f64]) -> Option<(usize, f64)> {
    let n = values.len();
    let apart = |x: f64, y: f64| (x - y).abs();
    // Sums of distances within the left side, within the right one, and across, kept up as values change sides.
    let (mut left, mut across) = (0.0, 0.0);
    let mut right: f64 = (0..n).map(|i| values[i + 1..].iter().map(|y| apart(values[i], *y)).sum::<f64>()).sum();
    let mut best: Option<(usize, f64)> = None;
    for at in 1..n {
        let moved = values[at - 1];
        let to_left: f64 = values[..at - 1].iter().map(|x| apart(*x, moved)).sum();
        let to_right: f64 = values[at..].iter().map(|y| apart(moved, *y)).sum();
        left += to_left;
        right -= to_right;
        across += to_right - to_left;
        if at < LEAST || n - at < LEAST {
            continue;
        }
        let (m, k) = (at as f64, (n - at) as f64);
        let pairs = |size: f64| size * (size - 1.0) / 2.0;
        let energy = 2.0 * across / (m * k) - left / pairs(m) - right / pairs(k);
        let divergence = m * k / (m + k) * energy;
        if best.is_none_or(|(_, most)| divergence > most) {
            best = Some((at, divergence));
        }
    }
    best
}

/// The middle value; of an even number the mean of the middle two; NaN of none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.len() / 2, sorted.len() % 2) {
        (0, 0) => f64::NAN,
        (middle, 0) => f64::midpoint(sorted[middle - 1], sorted[middle]),
        (middle, _) => sorted[middle],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A level with noise: mostly a few per cent, now and then a spell of half as much again, as a shared machine has them.
    fn noisy(random: &mut fastrand::Rng, level: f64, n: usize) -> Vec<f64> {
        let value = |random: &mut fastrand::Rng| match random.f64() {
            spell if spell < 0.1 => level * (1.2 + 0.3 * random.f64()),
            _ => level * (1.0 + 0.04 * (random.f64() - 0.5)),
        };
        (0..n).map(|_| value(random)).collect()
    }

    #[test]
    fn a_level_that_rises_and_falls_is_found_where_it_did() {
        let mut random = fastrand::Rng::with_seed(7);
        let right = |change: &Change, at: usize, ratio: f64| {
            // Spells beside the border may hide it for some commits.
            change.at.abs_diff(at) <= 3 && (change.ratio() / ratio - 1.0).abs() < 0.03
        };
        let found = (0..50).filter(|_| {
            let levels = [noisy(&mut random, 100.0, 14), noisy(&mut random, 115.0, 12), noisy(&mut random, 90.0, 10)];
            let found = changes(Sort::Timed, &levels.concat());
            found.len() == 2 && right(&found[0], 14, 1.15) && right(&found[1], 26, 90.0 / 115.0)
        });
        // Such spells hide some; without them all would be found.
        let found = found.count();
        assert!(found >= 40, "{found} of 50");
    }

    #[test]
    fn noise_alone_is_seldom_a_change() {
        let mut random = fastrand::Rng::with_seed(3);
        let alarms = (0..200).filter(|_| !changes(Sort::Timed, &noisy(&mut random, 100.0, 30)).is_empty()).count();
        // One in a hundred is meant; of 200, eight or more would be a chance of one in a thousand.
        assert!(alarms < 8, "{alarms} of 200");
    }

    #[test]
    fn one_wild_value_and_too_few_are_no_change() {
        let wild = [10.0, 10.1, 9.9, 10.0, 30.0, 10.0, 10.1, 9.9, 10.0, 10.1];
        assert_eq!(changes(Sort::Timed, &wild), []);
        assert_eq!(changes(Sort::Timed, &[10.0, 10.0, 20.0, 20.0]), []);
        assert_eq!(changes(Sort::Timed, &[]), []);
        assert_eq!(changes(Sort::Counted, &[]), []);
    }

    #[test]
    fn a_count_that_creeps_is_a_change_as_soon_as_it_left_its_level() {
        let found = changes(Sort::Counted, &[1000.0, 1006.0, 1012.0, 1013.0]);
        assert_eq!(found.iter().map(|c| c.at).collect::<Vec<_>>(), [2], "{found:?}");
        assert_eq!(changes(Sort::Counted, &[1000.0, 1009.0, 995.0]), []);
    }
}
