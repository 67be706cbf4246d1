//! Findings → a report: sums by verdict, the slowest in full. Memory does not grow with the number of handshakes.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;

use analysis::clock::Span;
use analysis::ledger::Missing;
use hdrhistogram::Histogram;
use report::explained::{ExplainReport, ExplainedRecord, NOT_JUDGED, Share};
use report::model::FORMAT;

use crate::evidence::Selection;
use crate::filter::Filter;
use crate::judging::{Finding, Opinion};
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
    shares: BTreeMap<String, Sum>,
    selected: u64,
    slowest: Vec<(Span, ExplainedRecord)>,
}

struct Sum {
    totals: Histogram<u64>,
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
        Self { filter, most, each: None, progress, selection: None, shares: BTreeMap::new(), selected: 0, slowest: Vec::new() }
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
        let mut summary: Vec<Share> = self.shares.into_iter().map(|(verdict, sum)| sum.share(verdict)).collect();
        summary.sort_by(|a, b| b.excess_ms.total_cmp(&a.excess_ms).then(b.n.cmp(&a.n)));
        let report = ExplainReport {
            format: FORMAT,
            captures: outcome.captures,
            files: outcome.files.iter().map(|f| f.display().to_string()).collect(),
            counts: outcome.counts,
            handshakes: outcome.handshakes,
            selected: self.selected,
            summary,
            warnings: outcome.warnings,
            slowest: self.slowest.into_iter().map(|(_, record)| record).collect(),
        };
        (report, self.selection)
    }

    fn slow_enough(&self, total: Span) -> bool {
        self.slowest.len() < self.most || self.slowest.last().is_some_and(|(least, _)| *least < total)
    }
}

impl Sum {
    fn share(self, verdict: String) -> Share {
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
    fn finding(&mut self, finding: Finding, files: &[PathBuf]) -> ControlFlow<()> {
        if !self.filter.admits(&finding) {
            return ControlFlow::Continue(());
        }
        self.selected += 1;
        let label = finding.judged.as_ref().map_or_else(|why| format!("{NOT_JUDGED}: {why}"), line);
        let sum = match self.shares.get_mut(&label) {
            Some(sum) => sum,
            None => self.shares.entry(label).or_default(),
        };
        sum.n += 1;
        let total = finding.judged.as_ref().map_or(Span::ZERO, |j| j.reading.ledger.total);
        if let Ok(opinion) = &finding.judged {
            let lost = if long_path(opinion) { Span::ZERO } else { opinion.judgement.excess };
            sum.totals.saturating_record((total.nanos() / 1_000).unsigned_abs());
            sum.excess += lost;
        }
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
            let place = self.slowest.partition_point(|(t, _)| *t >= total);
            self.slowest.insert(place, (total, record));
            self.slowest.truncate(self.most);
        }
        ControlFlow::Continue(())
    }

    fn progress(&mut self, packets: u64) {
        (self.progress)(packets);
    }
}

/// The line of the summary in which a handshake is counted.
fn line(opinion: &Opinion) -> String {
    let label = opinion.judgement.verdict.label();
    if long_path(opinion) { format!("{label}: long path, nothing to compare with") } else { label }
}

/// Whether all that is open is how long its path usually takes.
fn long_path(opinion: &Opinion) -> bool {
    opinion.judgement.missing[..] == [Missing::PathBaseline]
}
