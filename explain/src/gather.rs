//! Findings → a report: sums by verdict, the slowest in full. Memory does not grow with the number of handshakes.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;

use analysis::clock::Span;
use analysis::judging::ledger::{Kind, Missing, Owner};
use analysis::judging::verdict::Verdict;
use hdrhistogram::Histogram;
use records::FORMAT;
use records::explained::{ExplainReport, ExplainedRecord, NOT_JUDGED, Share};

use crate::evidence::Selection;
use crate::filter::Filter;
use crate::judging::{Finding, NotJudged, Opinion};
use crate::record::record;
use crate::{Outcome, Sink};

/// Somebody who wants each admitted handshake as it comes.
pub type Each<'a> = dyn FnMut(&ExplainedRecord) -> ControlFlow<()> + 'a;

/// Gathers what a report needs.
pub struct Gather<'a> {
    filter: Filter,
    most: usize,
    each: Option<&'a mut Each<'a>>,
    progress: &'a mut dyn FnMut(u64),
    selection: Option<Selection>,
    shares: Vec<(Line, String, Sum)>,
    selected: u64,
    /// The slowest first; of several that took as long, the one that was judged first. Many may be asked for.
    slowest: BTreeMap<(Reverse<Span>, u64), Box<ExplainedRecord>>,
}

/// Handshakes with the same verdict.
pub(crate) struct Sum {
    totals: Histogram<u32>,
    n: u64,
    excess: Span,
}

impl Default for Sum {
    fn default() -> Self {
        // Microseconds up to an hour; what is longer counts as an hour.
        let totals = Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("these bounds are valid");
        Self { totals, n: 0, excess: Span::ZERO }
    }
}

impl<'a> Gather<'a> {
    /// Keeps the `most` slowest that `filter` admits.
    pub fn new(filter: Filter, most: usize, progress: &'a mut dyn FnMut(u64)) -> Self {
        Self { filter, most, each: None, progress, selection: None, shares: Vec::new(), selected: 0, slowest: BTreeMap::new() }
    }

    /// Also hands every admitted handshake to `each`, in the order in which they are judged.
    #[must_use]
    pub fn for_each(self, each: &'a mut Each<'a>) -> Self {
        Self { each: Some(each), ..self }
    }

    /// Also remembers which packets the admitted handshakes have, for [`crate::evidence::write`].
    #[must_use]
    pub fn selecting_packets(self) -> Self {
        Self { selection: Some(Selection::default()), ..self }
    }

    /// The report, and the packets remembered.
    pub fn finish(self, outcome: Outcome) -> (ExplainReport, Option<Selection>) {
        let summary = summary(self.shares.into_iter().map(|(_, words, sum)| sum.share(words)));
        let report = ExplainReport {
            format: FORMAT,
            captures: outcome.captures,
            files: outcome.files.iter().map(|f| f.display().to_string()).collect(),
            counts: outcome.counts,
            handshakes: outcome.handshakes,
            selected: self.selected,
            summary,
            warnings: outcome.warnings,
            slowest: self.slowest.into_values().map(|record| *record).collect(),
        };
        (report, self.selection)
    }

    fn slow_enough(&self, total: Span) -> bool {
        self.slowest.len() < self.most || self.least().is_some_and(|least| least < total)
    }

    /// How long the quickest of the slowest took.
    fn least(&self) -> Option<Span> {
        self.slowest.last_key_value().map(|((Reverse(least), _), _)| *least)
    }
}

/// Lines of a summary in their order.
pub(crate) fn summary(shares: impl Iterator<Item = Share>) -> Vec<Share> {
    let mut summary: Vec<Share> = shares.collect();
    summary.sort_by(|a, b| b.excess_ms.total_cmp(&a.excess_ms).then(b.n.cmp(&a.n)).then(a.verdict.cmp(&b.verdict)));
    summary
}

impl Sum {
    /// Counts one: how long it took and how much of that was lost, if it was judged.
    pub(crate) fn add(&mut self, judged: Option<(Span, Span)>) {
        self.n += 1;
        if let Some((total, lost)) = judged {
            self.totals.saturating_record((total.nanos() / 1_000).unsigned_abs());
            self.excess += lost;
        }
    }

    pub(crate) fn share(self, verdict: String) -> Share {
        let ms = |micros: u64| micros as f64 / 1e3;
        let judged = !self.totals.is_empty();
        Share {
            verdict,
            n: self.n,
            p50_ms: judged.then(|| ms(self.totals.value_at_quantile(0.5))),
            max_ms: judged.then(|| ms(self.totals.max())),
            excess_ms: self.excess.millis(),
        }
    }
}

impl Sink for Gather<'_> {
    fn counts_only(&self) -> Option<Span> {
        let asked_for = self.each.is_some() || self.selection.is_some() || self.slowest.len() < self.most;
        if asked_for { None } else { self.least() }
    }

    fn finding(&mut self, finding: Finding, files: &[PathBuf]) -> ControlFlow<()> {
        if !self.filter.admits(&finding) {
            return ControlFlow::Continue(());
        }
        self.selected += 1;
        let line = finding.judged.as_ref().map_or_else(|why| Line::NotJudged(*why), Line::of);
        let place = self.shares.iter().position(|(known, ..)| *known == line).unwrap_or_else(|| {
            self.shares.push((line, words(&finding.judged), Sum::default()));
            self.shares.len() - 1
        });
        let total = finding.judged.as_ref().map_or(Span::ZERO, |j| j.reading.ledger.total);
        let lost = |opinion: &Opinion| if long_path(opinion) { Span::ZERO } else { opinion.judgement.excess };
        self.shares[place].2.add(finding.judged.as_ref().ok().map(|opinion| (total, lost(opinion))));
        if let Some(selection) = &mut self.selection {
            selection.add(&finding);
        }
        let keep = self.slow_enough(total);
        if !keep && self.each.is_none() {
            return ControlFlow::Continue(());
        }
        let record = record(&finding, files);
        if let Some(each) = &mut self.each {
            each(&record)?;
        }
        if keep {
            self.slowest.insert((Reverse(total), self.selected), Box::new(record));
            if self.slowest.len() > self.most {
                self.slowest.pop_last();
            }
        }
        ControlFlow::Continue(())
    }

    fn progress(&mut self, packets: u64) {
        (self.progress)(packets);
    }
}

/// A line of the summary; a handful of them, so that looking through them is quicker than any map of their words.
#[derive(PartialEq)]
enum Line {
    Healthy,
    Culprits([Option<(Owner, Option<Kind>)>; 2]),
    Inconclusive,
    LongPath,
    Aborted(Owner),
    NotJudged(NotJudged),
}

impl Line {
    /// The line in which a handshake is counted.
    fn of(opinion: &Opinion) -> Self {
        match &opinion.judgement.verdict {
            Verdict::Healthy => Line::Healthy,
            Verdict::Culprit { primary, second } => {
                Line::Culprits([Some(primary), second.as_ref()].map(|culprit| culprit.map(|c| (c.owner, c.kind))))
            }
            Verdict::Inconclusive { .. } if long_path(opinion) => Line::LongPath,
            Verdict::Inconclusive { .. } => Line::Inconclusive,
            Verdict::Aborted { by, .. } => Line::Aborted(*by),
        }
    }
}

/// What that line is called.
fn words(judged: &Result<Opinion, NotJudged>) -> String {
    match judged {
        Err(why) => format!("{NOT_JUDGED}: {why}"),
        Ok(opinion) if long_path(opinion) => {
            format!("{}: long path, nothing to compare with", opinion.judgement.verdict.label())
        }
        Ok(opinion) => opinion.judgement.verdict.label(),
    }
}

/// Whether all that is open is how long its path usually takes.
fn long_path(opinion: &Opinion) -> bool {
    opinion.judgement.missing == Missing::PathBaseline
}
