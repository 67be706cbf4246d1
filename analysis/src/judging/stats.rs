//! Two small samples compared: how far apart, and could it be chance?
//!
//! Latencies have heavy tails and runs are short, so: Hodges–Lehmann shift (Hodges & Lehmann 1963) and the
//! exact two-sided Mann–Whitney test (Mann & Whitney 1947); the normal approximation only for large samples.

use serde::{Deserialize, Serialize};

use crate::clock::Span;

/// Beyond this many pairs the exact distribution is not worth its cost.
const EXACT_PAIRS: usize = 2_500;

/// `a` against `b`.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Shift {
    /// Hodges–Lehmann estimate of how much longer `a` is.
    pub shift: Span,
    /// Two-sided Mann–Whitney p-value.
    pub p: f64,
    /// Size of `a`.
    pub n: usize,
    /// Size of `b`.
    pub m: usize,
}

/// Compares two samples; absent if either is empty.
pub fn compare(a: &[Span], b: &[Span]) -> Option<Shift> {
    let mut differences: Vec<Span> = a.iter().flat_map(|x| b.iter().map(move |y| *x - *y)).collect();
    differences.sort_unstable();
    let shift = median(&differences)?;
    // U counts the pairs in which a is longer; ties count half, so it is kept doubled.
    let doubled: usize = differences.iter().map(|d| 1 + d.nanos().signum()).sum::<i64>() as usize;
    let extreme = doubled.min(2 * differences.len() - doubled) / 2;
    Some(Shift { shift, p: (2.0 * tail(extreme, a.len(), b.len())).min(1.0), n: a.len(), m: b.len() })
}

/// The middle of a sorted slice.
pub fn median(sorted: &[Span]) -> Option<Span> {
    let mid = sorted.len() / 2;
    let upper = *sorted.get(mid)?;
    Some(if sorted.len() % 2 == 1 { upper } else { Span::from_nanos((sorted[mid - 1].nanos() + upper.nanos()) / 2) })
}

/// P(U ≤ u) when both samples come from one distribution.
fn tail(u: usize, n: usize, m: usize) -> f64 {
    if n * m > EXACT_PAIRS {
        let mean = (n * m) as f64 / 2.0;
        let sd = ((n * m * (n + m + 1)) as f64 / 12.0).sqrt();
        return normal_cdf((u as f64 + 0.5 - mean) / sd);
    }
    // count[j][k]: arrangements of i a's and j b's with U = k, built up one a at a time.
    let mut count = vec![vec![0.0f64; n * m + 1]; m + 1];
    for row in &mut count {
        row[0] = 1.0;
    }
    for _ in 0..n {
        for j in 1..=m {
            // Downwards: `count[j][k - j]` must still be that of one a less.
            for k in (0..=n * m).rev() {
                let with = if k >= j { count[j][k - j] } else { 0.0 };
                count[j][k] = count[j - 1][k] + with;
            }
        }
    }
    let all: f64 = count[m].iter().sum();
    count[m][..=u.min(n * m)].iter().sum::<f64>() / all
}

/// Abramowitz & Stegun 26.2.17; error below 7.5e-8.
fn normal_cdf(z: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * z.abs());
    let poly = t * (0.319_381_530 + t * (-0.356_563_782 + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    let upper = (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt() * poly;
    if z > 0.0 { 1.0 - upper } else { upper }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(values: &[i64]) -> Vec<Span> {
        values.iter().map(|v| Span::from_millis(*v)).collect()
    }

    #[test]
    fn exact_p_of_complete_separation() {
        // All of 4 above all of 4: 2 / C(8,4).
        let shift = compare(&ms(&[101, 102, 103, 104]), &ms(&[1, 2, 3, 4])).expect("both samples have values");
        assert_eq!(shift.shift, Span::from_millis(100));
        assert!((shift.p - 2.0 / 70.0).abs() < 1e-12, "{}", shift.p);
    }

    #[test]
    fn like_samples_do_not_differ() {
        let shift = compare(&ms(&[1, 3, 5, 7]), &ms(&[2, 4, 6, 8])).expect("both samples have values");
        assert!(shift.p > 0.5);
    }
}
