//! What happens in some handshakes and not in others: a failure, a round trip more, a pause. Does it happen more often with the candidate?
//!
//! In: for each block, with which of the two it happened more often. Out: whether that is more than chance, at whatever moment one looks.
//!
//! Who begins a block is drawn by chance. If the two do not differ, then in a block in which it happened to one more often than to the
//! other, it is a fair coin which of them that was: with an edge that varies by itself, that takes turns, that has a bad minute. Two
//! gamblers bet on that coin: one, with three quarters of the money, all he has on the candidate each time; the other as Krichevsky and
//! Trofimov (1981) would, and never on the base. Neither gains on the average if the candidate is not worse, and so their fortune comes to
//! `1 / α` with a chance of `α` at most, ever (Ville).

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use records::compared::{Change, Count, Counted, Failures, Times};

use crate::evidence::Alpha;

/// How often counts may cry wolf, all that are judged together.
pub const COUNTS: f64 = 0.0025;
/// How often failures may.
pub const FAILURES: f64 = 0.0025;
/// What the gambler has who bets all on the candidate.
const BOLD: f64 = 0.75;
/// A chance that is no reason to look further, …
pub const LIKELY: f64 = 0.25;
/// … and such a one after so many throws: a coin that is fair looks odd for long, too.
const LIKELY_OF_MANY: (u32, f64) = (8, 0.1);

/// A coin thrown in each block where the two differ.
#[derive(Clone, Debug)]
pub struct Coins {
    candidate: u32,
    base: u32,
    /// The logarithm of what the careful gambler has made of 1.
    careful: f64,
    /// The most that both ever had together.
    most: f64,
}

impl Default for Coins {
    fn default() -> Self {
        Self { candidate: 0, base: 0, careful: 0.0, most: 1.0 }
    }
}

impl Coins {
    /// Takes one block: whether it happened more often with the candidate.
    pub fn push(&mut self, candidate_to_base: Ordering) {
        let thrown = f64::from(self.candidate + self.base);
        let stake = ((f64::from(self.candidate) + 0.5) / (thrown + 1.0)).max(0.5);
        match candidate_to_base {
            Ordering::Equal => return,
            Ordering::Greater => {
                self.candidate += 1;
                self.careful += (2.0 * stake).ln();
            }
            Ordering::Less => {
                self.base += 1;
                self.careful += (2.0 * (1.0 - stake)).ln();
            }
        }
        let bold = if self.base == 0 { 2_f64.powf(f64::from(self.candidate)) } else { 0.0 };
        self.most = self.most.max(BOLD * bold + (1.0 - BOLD) * self.careful.exp());
    }

    /// Whether it happens more often with the candidate.
    pub fn is_more(&self, alpha: Alpha) -> bool {
        self.most * alpha.0 >= 1.0
    }

    /// Whether it may be so: chance alone would seldom look like this, less often than `likely`.
    pub fn may_be_more(&self, likely: f64) -> bool {
        let thrown = self.candidate + self.base;
        let (many, of_many) = LIKELY_OF_MANY;
        let likely = if thrown > many { likely.min(of_many) } else { likely };
        self.candidate > self.base && at_least(self.candidate, thrown) <= likely
    }
}

/// The chance that a fair coin falls on one side at least `k` times of `n`.
fn at_least(k: u32, n: u32) -> f64 {
    let mut chance = -f64::from(n) * std::f64::consts::LN_2;
    let mut sum = 0.0;
    for above in (k..=n).rev() {
        sum += chance.exp();
        chance += (f64::from(above) / f64::from(n - above + 1)).ln();
    }
    sum
}

/// One count, of both.
#[derive(Clone, Debug)]
pub struct Tally {
    what: Counted,
    values: [BTreeMap<u64, u64>; 2],
    coins: Coins,
}

impl Tally {
    /// Of nothing yet.
    pub fn new(what: Counted) -> Self {
        Self { what, values: Default::default(), coins: Coins::default() }
    }

    /// Takes what was counted in one block.
    pub fn push(&mut self, base: &[u64], candidate: &[u64]) {
        let cost = |values: &[u64]| values.iter().filter_map(|value| self.what.cost(*value)).sum::<i64>();
        self.coins.push(cost(candidate).cmp(&cost(base)));
        for (seen, values) in self.values.iter_mut().zip([base, candidate]) {
            values.iter().for_each(|value| *seen.entry(*value).or_insert(0) += 1);
        }
    }

    /// Whether more handshakes may show that it got worse.
    pub fn is_open(&self, judged: usize) -> bool {
        !self.coins.is_more(counts(judged)) && self.coins.may_be_more(LIKELY)
    }

    /// What it comes to.
    pub fn count(&self, judged: usize) -> Count {
        let change = match self.what.cost(0) {
            Some(_) if self.coins.is_more(counts(judged)) => Change::Worse,
            Some(_) if self.is_open(judged) => Change::Open,
            // Where a value varies by itself, a few handshakes need not show all of its values.
            _ if is_apart(&self.values) => Change::Different,
            _ => Change::Same,
        };
        let [base, candidate] = &self.values;
        told(self.what, times(base), times(candidate), change)
    }
}

/// Of what is judged, each gets the same share.
fn counts(judged: usize) -> Alpha {
    Alpha(COUNTS / judged.max(1) as f64)
}

/// Whether no value of one lies among those of the other.
fn is_apart([base, candidate]: &[BTreeMap<u64, u64>; 2]) -> bool {
    let ends = |values: &BTreeMap<u64, u64>| Some((*values.first_key_value()?.0, *values.last_key_value()?.0));
    ends(base).zip(ends(candidate)).is_some_and(|(base, candidate)| base.1 < candidate.0 || candidate.1 < base.0)
}

fn times(values: &BTreeMap<u64, u64>) -> Vec<Times> {
    values.iter().map(|(value, times)| Times { value: *value, times: *times }).collect()
}

fn told(what: Counted, base: Vec<Times>, candidate: Vec<Times>, change: Change) -> Count {
    let only = |values: &[Times]| if let [one] = values { Some(one.value) } else { None };
    Count { what, base: only(&base), candidate: only(&candidate), base_values: base, candidate_values: candidate, change }
}

/// Compares a count with a stored one: no blocks, but that all handshakes might have come in any order (Fisher's exact test).
pub fn with_stored(stored: Option<&Count>, what: Counted, candidate: &BTreeMap<u64, u64>, alpha: Alpha) -> Count {
    // The one that was stored is its candidate.
    let base: BTreeMap<u64, u64> =
        stored.into_iter().flat_map(|count| &count.candidate_values).map(|one| (one.value, one.times)).collect();
    let change = match more_often(what, &base, candidate) {
        _ if base.is_empty() => Change::NotInBase,
        Some(chance) if chance <= alpha.0 => Change::Worse,
        Some(chance) if chance <= LIKELY => Change::Open,
        _ if is_apart(&[base.clone(), candidate.clone()]) => Change::Different,
        _ => Change::Same,
    };
    told(what, times(&base), times(candidate), change)
}

/// The chance that what costs more came to the candidate as often as it did: more than the least of all costs that came, or than the next,
/// …; whichever says most, with each of them another chance to be wrong. Absent where nothing is judged, or nothing costs more.
fn more_often(what: Counted, base: &BTreeMap<u64, u64>, candidate: &BTreeMap<u64, u64>) -> Option<f64> {
    let costs: BTreeSet<i64> = base.keys().chain(candidate.keys()).map(|value| what.cost(*value)).collect::<Option<_>>()?;
    let below = costs.len().saturating_sub(1);
    let split = |values: &BTreeMap<u64, u64>, least: i64| {
        let more = values.iter().filter(|(value, _)| what.cost(**value).is_some_and(|cost| cost > least));
        (more.map(|(_, times)| times).sum(), values.values().sum())
    };
    let chances = costs.iter().take(below).map(|cost| fisher(split(base, *cost), split(candidate, *cost)));
    chances.min_by(f64::total_cmp).map(|least| least * below as f64)
}

/// The chance that so many or more of `more` fall to the candidate, if all handshakes are alike: (how many, of how many) each.
pub fn fisher((base, of_base): (u64, u64), (candidate, of_candidate): (u64, u64)) -> f64 {
    let factorials: Vec<f64> = std::iter::once(0.0)
        .chain((1..=of_base + of_candidate).scan(0.0, |sum, i| {
            *sum += (i as f64).ln();
            Some(*sum)
        }))
        .collect();
    let choose = |n: u64, k: u64| {
        let of = |n: u64| factorials.get(usize::try_from(n).unwrap_or(usize::MAX)).copied().unwrap_or(f64::INFINITY);
        of(n) - of(k) - of(n - k)
    };
    let more = base + candidate;
    let all = choose(of_base + of_candidate, more);
    let at = |k: u64| (choose(of_candidate, k) + choose(of_base, more - k) - all).exp();
    (candidate..=more.min(of_candidate)).filter(|k| more - k <= of_base).map(at).sum::<f64>().min(1.0)
}

/// Handshakes that fail, of both.
#[derive(Clone, Default, Debug)]
pub struct Failing {
    known: Failures,
    coins: Coins,
}

impl Failing {
    /// Takes one block: why each handshake failed that did, of so many with each.
    pub fn push(&mut self, of_each: u64, base: &[String], candidate: &[String]) {
        self.coins.push(candidate.len().cmp(&base.len()));
        let known = &mut self.known;
        known.of_base += of_each;
        known.of_candidate += of_each;
        known.base += base.len() as u64;
        known.candidate += candidate.len() as u64;
        let last = |of: &[String], before: &mut Option<String>| of.last().into_iter().for_each(|why| *before = Some(why.clone()));
        last(base, &mut known.base_why);
        last(candidate, &mut known.candidate_why);
    }

    /// Whether the candidate fails more often.
    pub fn is_more(&self) -> bool {
        self.coins.is_more(Alpha(FAILURES))
    }

    /// Whether more handshakes may show that it does.
    pub fn is_open(&self) -> bool {
        !self.is_more() && self.coins.may_be_more(LIKELY)
    }

    /// What is known.
    pub fn failures(&self) -> Failures {
        Failures { open: self.is_open(), ..self.known.clone() }
    }
}

#[cfg(test)]
mod tests;
