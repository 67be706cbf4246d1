//! From blocks to what is said of each part: slower, faster, the same, or open.
//!
//! In: what both took in each part, block by block. Out: [`Difference`]s, and whether more blocks can change anything.
//!
//! The first blocks only tell which parts there are and how long they take. Then each part's differences are a confidence sequence
//! ([`evidence`](crate::evidence)); all of them together miss with a chance of [`FIRST`] at most. A part that looks slower is measured
//! once more from the beginning, and is slower only if that says so too ([`AGAIN`]): chance alone comes to an alarm in one comparison of
//! several hundred, whenever one stops.

use std::collections::BTreeMap;

use records::compared::{Block, Difference, Found, Part};

use crate::evidence::{Alpha, Differences, needed};

/// How often the first series of any part may be wrong.
pub const FIRST: f64 = 0.05;
/// How often its confirmation may be.
pub const AGAIN: f64 = 0.05;
/// Blocks that only tell what there is.
pub const CALIBRATION: usize = 4;

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
        let mean = |of: &[BTreeMap<Part, f64>; 2], part: Part| {
            // Whoever has no time in a part of a handshake that was whole spent none there.
            of.iter().map(|times| times.get(&part).copied().unwrap_or(0.0)).sum::<f64>() / of.len() as f64
        };
        let mut block = Block { base_ms: Vec::new(), candidate_ms: Vec::new() };
        let count = self.parts.len();
        for judged in &mut self.parts {
            let (base, candidate) = (mean(&measured.base, judged.part), mean(&measured.candidate, judged.part));
            block.base_ms.push(base);
            block.candidate_ms.push(candidate);
            judged.push(candidate - base, count);
        }
        self.blocks.push(block);
    }

    /// Whether no further block is needed: something is slower, or nothing is open.
    pub fn is_clear(&self) -> bool {
        let found = |judged: &Judged| judged.found(self.parts.len());
        let clear = self.parts.iter().any(|j| found(j) == Found::Slower) || self.parts.iter().all(|j| found(j) != Found::Open);
        self.calibration.len() == CALIBRATION && clear
    }

    /// Blocks that count.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// What is known of each part; what is slower first, what takes long before what does not.
    pub fn differences(&self) -> Vec<Difference> {
        self.parts.iter().map(|judged| judged.difference(self.parts.len())).collect()
    }
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

    /// The series that speaks now, and how sure it is to be.
    fn series(&self, parts: usize) -> (&Differences, Alpha) {
        self.again.as_ref().map_or((&self.first, first(parts)), |again| (again, Alpha(AGAIN)))
    }

    fn found(&self, parts: usize) -> Found {
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
            more_blocks: more.filter(|_| found == Found::Open),
        }
    }
}

fn first(parts: usize) -> Alpha {
    Alpha(FIRST / parts.max(1) as f64)
}

/// The parts that most handshakes of either have, with the base's median.
fn parts(calibration: &[Measured], sizes: Sizes) -> Vec<Judged> {
    let of_base: Vec<_> = calibration.iter().flat_map(|m| &m.base).collect();
    let of_candidate: Vec<_> = calibration.iter().flat_map(|m| &m.candidate).collect();
    let mut all: Vec<Part> = of_base.iter().chain(&of_candidate).flat_map(|times| times.keys().copied()).collect();
    all.sort_unstable();
    all.dedup();
    let usual =
        |of: &[&BTreeMap<Part, f64>], part: &Part| of.iter().filter(|times| times.contains_key(part)).count() * 2 > of.len();
    let judged = |part: Part| {
        let mut times = Differences::default();
        of_base.iter().for_each(|of| times.push(of.get(&part).copied().unwrap_or(0.0)));
        let base_ms = times.median().unwrap_or(0.0);
        Judged { part, base_ms, noticed_ms: sizes.noticed(base_ms), first: Differences::default(), again: None }
    };
    all.into_iter().filter(|part| usual(&of_base, part) || usual(&of_candidate, part)).map(judged).collect()
}

#[cfg(test)]
mod tests;
