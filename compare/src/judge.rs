//! From blocks to what is said of each part: slower, faster, the same, or open.
//!
//! In: what both took in each part, block by block. Out: [`Difference`]s, and whether more blocks can change anything.
//!
//! The first blocks only tell which parts there are and how long they take; what seldom occurs is kept, phase by phase, as nobody's, so
//! that parts add up. Then each part's differences are a confidence sequence ([`evidence`](crate::evidence)); all of them together miss
//! with a chance of [`FIRST`] at most. A part that looks slower is measured once more from the beginning, and is slower only if that says
//! so too ([`AGAIN`]): chance alone comes to an alarm in one comparison of several hundred, whenever one stops. Beside the median, what
//! happens to some handshakes only: in which of the two more take longer than nearly all of the base's did ([`TAILS`]).

use std::cmp::Ordering;
use std::collections::BTreeMap;

use analysis::judging::ledger::{Owner, Phase};
use records::compared::{Block, Difference, Found, Part, Tail};

use crate::evidence::{Alpha, Differences, needed};
use crate::shares::Coins;

/// How often the first series of any part may be wrong.
pub const FIRST: f64 = 0.05;
/// How often its confirmation may be.
pub const AGAIN: f64 = 0.03;
/// How often the tails of all parts together may be called longer where they are not.
pub const TAILS: f64 = 0.0025;
/// Blocks that only tell what there is.
pub const CALIBRATION: usize = 4;
/// Blocks before anything is called the same: what happens to one handshake of twenty is then hardly ever unseen.
pub const LEAST: usize = 48;
/// So many times that is long, too: pauses of the machine's own are mostly of the shorter kind, and hide there what is rare and longer.
const LONG: [f64; 3] = [1.0, 4.0, 16.0];
/// Blocks after which a longer tail is all that is said.
const ENOUGH: usize = 4 * LEAST;
/// Of a tail, a chance that is no reason to look further: there are many parts, and some look odd at any moment.
const LIKELY: f64 = 0.04;
/// What nearly all of the base's handshakes stay below.
const NEARLY_ALL: f64 = 0.95;

/// What is worth a word.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Sizes {
    /// A part that takes this much longer is to be found, in milliseconds, …
    pub notice_ms: f64,
    /// … or this share of what it takes, whichever is less.
    pub notice_share: f64,
    /// But no less than this, in milliseconds.
    pub least_ms: f64,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { notice_ms: 1.0, notice_share: 0.1, least_ms: 0.5 }
    }
}

impl Sizes {
    /// What is to be noticed in a part that takes so long, in milliseconds.
    fn noticed(&self, base_ms: f64) -> f64 {
        self.notice_ms.min(base_ms * self.notice_share).max(self.least_ms)
    }
}

/// What four handshakes took: the base's two, and the candidate's; in milliseconds by part.
#[derive(Clone, Default, Debug)]
pub struct Measured {
    /// The base's.
    pub base: [BTreeMap<Part, f64>; 2],
    /// The candidate's.
    pub candidate: [BTreeMap<Part, f64>; 2],
}

/// One part, judged.
struct Judged {
    part: Part,
    base_ms: f64,
    noticed_ms: f64,
    first: Differences,
    again: Option<Differences>,
    /// What the base's handshakes took, one by one.
    of_base: Differences,
    /// Of what is long, for each of [`LONG`].
    tails: [(Coins, Tail); LONG.len()],
}

/// Judges blocks as they come.
pub struct Judge {
    sizes: Sizes,
    calibration: Vec<Measured>,
    parts: Vec<Judged>,
    blocks: Vec<Block>,
}

impl Judge {
    /// Of nothing yet.
    pub fn new(sizes: Sizes) -> Self {
        Self { sizes, calibration: Vec::new(), parts: Vec::new(), blocks: Vec::new() }
    }

    /// Takes one block.
    pub fn push(&mut self, measured: Measured) {
        if self.calibration.len() < CALIBRATION {
            self.calibration.push(measured);
            if self.calibration.len() == CALIBRATION {
                self.parts = parts(&self.calibration, self.sizes);
            }
            return;
        }
        let usual: Vec<Part> = self.parts.iter().map(|judged| judged.part).collect();
        let [base, candidate] = [&measured.base, &measured.candidate].map(|of| of.each_ref().map(|times| folded(times, &usual)));
        let mut block = Block { base_ms: Vec::new(), candidate_ms: Vec::new() };
        let count = self.parts.len();
        for judged in &mut self.parts {
            // Whoever has no time in a part of a handshake that was whole spent none there.
            let each = |of: &[BTreeMap<Part, f64>; 2]| of.each_ref().map(|times| times.get(&judged.part).copied().unwrap_or(0.0));
            let (base, candidate) = (each(&base), each(&candidate));
            let [of_base, of_candidate] = [base, candidate].map(|of| of.iter().sum::<f64>() / of.len() as f64);
            block.base_ms.push(of_base);
            block.candidate_ms.push(of_candidate);
            judged.push(of_candidate - of_base, count);
            judged.push_tail(&base, &candidate);
        }
        self.blocks.push(block);
    }

    /// Whether no further block is needed: something is slower, or nothing is open and enough was seen.
    pub fn is_clear(&self) -> bool {
        self.is_slower() || (self.blocks.len() >= LEAST && self.open() == 0)
    }

    /// Whether something is slower, and how: where a tail is longer, the median may be so, too, which says more.
    pub fn is_slower(&self) -> bool {
        let count = self.parts.len();
        let of_median = |judged: &Judged| judged.median(count) != Found::Open || self.blocks.len() >= ENOUGH;
        self.parts.iter().any(|judged| match judged.found(count) {
            Found::Slower => true,
            Found::SlowerAtTimes => of_median(judged),
            _ => false,
        })
    }

    /// How many parts are open.
    pub fn open(&self) -> usize {
        self.parts.iter().filter(|judged| judged.found(self.parts.len()) == Found::Open).count()
    }

    /// How many blocks count.
    pub fn seen(&self) -> usize {
        self.blocks.len()
    }

    /// What is known of each part, and every block, in the same order: what got worse first, then what is open; what differs more before
    /// what differs less. Parts that never took any time are left out.
    pub fn found(&self) -> (Vec<Difference>, Vec<Block>) {
        let differences: Vec<Difference> = self.parts.iter().map(|judged| judged.difference(self.parts.len())).collect();
        let took = |i: &usize| self.blocks.iter().any(|block| block.base_ms[*i] > 0.0 || block.candidate_ms[*i] > 0.0);
        let is_usual = |i: &usize| differences[*i].part.owner != Owner::Unattributed;
        let mut order: Vec<usize> = (0..differences.len()).filter(|i| is_usual(i) || took(i)).collect();
        let key = |i: &usize| (rank(differences[*i].found), differences[*i].median_ms);
        order.sort_by(|a, b| {
            key(a).0.cmp(&key(b).0).then_with(|| match key(a).0 {
                // What is not slower stays in the order of the handshake.
                4.. => Ordering::Equal,
                _ => key(b).1.total_cmp(&key(a).1),
            })
        });
        let of = |all: &[f64]| order.iter().map(|i| all[*i]).collect();
        let blocks = self.blocks.iter().map(|b| Block { base_ms: of(&b.base_ms), candidate_ms: of(&b.candidate_ms) });
        (order.iter().map(|i| differences[*i].clone()).collect(), blocks.collect())
    }
}

/// What one wants to read first.
fn rank(found: Found) -> u8 {
    match found {
        Found::Slower => 0,
        Found::SlowerAtTimes => 1,
        Found::Open => 2,
        Found::NotConfirmed => 3,
        Found::Faster => 4,
        Found::Same => 5,
    }
}

/// What is nobody's, or seldom somebody's, in a phase.
fn rest(phase: Phase) -> Part {
    Part { phase, owner: Owner::Unattributed }
}

/// The same times by the parts that are usual, and what is left of each phase.
fn folded(times: &BTreeMap<Part, f64>, usual: &[Part]) -> BTreeMap<Part, f64> {
    let mut all = BTreeMap::new();
    for (part, ms) in times {
        let part = if usual.contains(part) { *part } else { rest(part.phase) };
        *all.entry(part).or_insert(0.0) += ms;
    }
    all
}

impl Judged {
    /// Less is no difference.
    fn ignored_ms(&self) -> f64 {
        self.noticed_ms / 4.0
    }

    fn push(&mut self, difference: f64, parts: usize) {
        match &mut self.again {
            Some(again) => again.push(difference),
            None => {
                self.first.push(difference);
                if self.first.interval(first(parts)).is_some_and(|[least, _]| least > self.ignored_ms()) {
                    self.again = Some(Differences::default());
                }
            }
        }
    }

    /// Takes what each took; what is long is known before.
    fn push_tail(&mut self, base: &[f64], candidate: &[f64]) {
        let usual = self.of_base.quantile(NEARLY_ALL).unwrap_or(f64::INFINITY) + self.noticed_ms;
        for ((coins, tail), times) in self.tails.iter_mut().zip(LONG) {
            let above_ms = usual * times;
            let [of_base, of_candidate] = [base, candidate].map(|of| of.iter().filter(|ms| **ms > above_ms).count() as u64);
            coins.push(of_candidate.cmp(&of_base));
            let handshakes = tail.handshakes + base.len() as u64;
            *tail = Tail { above_ms, handshakes, base: tail.base + of_base, candidate: tail.candidate + of_candidate };
        }
        base.iter().for_each(|ms| self.of_base.push(*ms));
    }

    /// The series that speaks now, and how sure it is to be.
    fn series(&self, parts: usize) -> (&Differences, Alpha) {
        self.again.as_ref().map_or((&self.first, first(parts)), |again| (again, Alpha(AGAIN)))
    }

    fn found(&self, parts: usize) -> Found {
        match self.median(parts) {
            Found::Slower => Found::Slower,
            _ if self.longer(parts).is_some() => Found::SlowerAtTimes,
            _ if self.tails.iter().any(|(coins, _)| coins.may_be_more(LIKELY)) => Found::Open,
            of_median => of_median,
        }
    }

    /// The longest tail that has more of the candidate's handshakes than of the base's.
    fn longer(&self, parts: usize) -> Option<Tail> {
        let alpha = Alpha(TAILS / (parts.max(1) * LONG.len()) as f64);
        self.tails.iter().rev().find(|(coins, _)| coins.is_more(alpha)).map(|(_, tail)| *tail)
    }

    /// What is found of the median alone.
    fn median(&self, parts: usize) -> Found {
        let (series, alpha) = self.series(parts);
        match series.interval(alpha) {
            Some([least, _]) if self.again.is_some() && least > self.ignored_ms() => Found::Slower,
            Some([_, most]) if self.again.is_some() && most < self.noticed_ms => Found::NotConfirmed,
            Some([_, most]) if most < -self.ignored_ms() => Found::Faster,
            Some([_, most]) if most < self.noticed_ms => Found::Same,
            _ => Found::Open,
        }
    }

    fn difference(&self, parts: usize) -> Difference {
        let (series, alpha) = self.series(parts);
        let found = self.found(parts);
        let interval = series.interval(alpha);
        // While the confirmation has hardly begun, the first series tells how much.
        let shown = if interval.is_some() { series } else { &self.first };
        let median = shown.median().unwrap_or(0.0);
        let room = (self.noticed_ms - median).abs().max(self.ignored_ms());
        let more = needed(shown, alpha, room).map(|all| all.saturating_sub(shown.len() as u64));
        Difference {
            part: self.part,
            base_ms: self.base_ms,
            median_ms: median,
            least_ms: interval.map(|[least, _]| least),
            most_ms: interval.map(|[_, most]| most),
            ignored_ms: self.ignored_ms(),
            noticed_ms: self.noticed_ms,
            found,
            more_blocks: more.filter(|more| found == Found::Open && *more > 0),
            tail: self.longer(parts).or_else(|| self.tails.first().map(|(_, tail)| *tail)).filter(|t| t.base + t.candidate > 0),
        }
    }
}

fn first(parts: usize) -> Alpha {
    Alpha(FIRST / parts.max(1) as f64)
}

/// The parts that most handshakes of either have, and what is left of each phase, with the base's median.
fn parts(calibration: &[Measured], sizes: Sizes) -> Vec<Judged> {
    let of_base: Vec<_> = calibration.iter().flat_map(|m| &m.base).collect();
    let of_candidate: Vec<_> = calibration.iter().flat_map(|m| &m.candidate).collect();
    let mut all: Vec<Part> = of_base.iter().chain(&of_candidate).flat_map(|times| times.keys().copied()).collect();
    all.sort_unstable();
    all.dedup();
    let usual =
        |of: &[&BTreeMap<Part, f64>], part: &Part| of.iter().filter(|times| times.contains_key(part)).count() * 2 > of.len();
    all.retain(|part| part.owner != Owner::Unattributed && (usual(&of_base, part) || usual(&of_candidate, part)));
    let mut parts: Vec<Part> = all.iter().copied().chain(Phase::ALL.iter().map(|phase| rest(*phase))).collect();
    parts.sort_unstable();
    let judged = |part: &Part| {
        let mut times = Differences::default();
        of_base.iter().for_each(|of| times.push(folded(of, &all).get(part).copied().unwrap_or(0.0)));
        let base_ms = times.median().unwrap_or(0.0);
        Judged {
            part: *part,
            base_ms,
            noticed_ms: sizes.noticed(base_ms),
            first: Differences::default(),
            again: None,
            of_base: times,
            tails: LONG.map(|_| (Coins::default(), Tail { above_ms: 0.0, handshakes: 0, base: 0, candidate: 0 })),
        }
    };
    parts.iter().map(judged).collect()
}

#[cfg(test)]
mod tests;
