//! What an agent reports: bad and gated rounds whole, healthy ones as their number, their times and the slowest of them.
//!
//! In: [`Judged`] rounds, in order. Out: reports that say the same of each check in the same order.

use alerting::states::Blame;
use alerting::{Culprit, Family, Pattern};
use serde::{Deserialize, Serialize};

use crate::judging::Judged;
use crate::store::{RoundRecord, Times};
use crate::trends::Trends;

/// Entries of one report: it has to fit into a message, and a round is a kilobyte.
pub(crate) const MOST_ENTRIES: usize = 100;
/// Rounds of one report, whose times are in it: some hundred kilobytes.
const MOST_ROUNDS: usize = 5_000;

/// A report.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Rounds, in the order in which each check's ended.
    pub(crate) entries: Vec<Entry>,
    /// What healthy and bad rounds took.
    pub(crate) times: Vec<Times>,
    /// Rounds whose time passed without one.
    #[serde(default)]
    pub(crate) missed: u64,
}

/// Rounds of one check.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Entry {
    /// Healthy ones, one after another.
    Good {
        /// So many.
        rounds: u32,
        /// The slowest of them.
        slowest: Box<RoundRecord>,
    },
    /// A bad one: the record says who and why.
    Bad {
        /// The round.
        record: Box<RoundRecord>,
        /// What kind of trouble it is.
        #[serde(default)]
        family: Family,
        /// Which phase most of it was in, or the reason of the failure.
        phase: String,
        /// The same in words for people.
        #[serde(default)]
        words: String,
        /// How much beyond the baseline, in milliseconds.
        ms: f64,
        /// What it shows together with rounds before it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pattern: Option<Pattern>,
    },
    /// One that may not count.
    Gated {
        /// The round.
        record: Box<RoundRecord>,
        /// What is wrong with the prober; absent: a failure that is its own.
        prober: Option<Blame>,
    },
}

impl Entry {
    /// The round, or the one that stands for them.
    pub(crate) fn record(&self) -> &RoundRecord {
        match self {
            Entry::Good { slowest, .. } => slowest,
            Entry::Bad { record, .. } | Entry::Gated { record, .. } => record,
        }
    }

    /// Whom a bad round blames.
    pub(crate) fn blame(&self) -> Option<Blame> {
        let Entry::Bad { record, family, phase, words, ms, pattern } = self else { return None };
        let culprit = record.culprit.unwrap_or(Culprit::Inconclusive);
        let (phase, words, sentence) = (phase.clone(), words.clone(), record.sentence.clone());
        Some(Blame { culprit, family: *family, phase, words, ms: *ms, sentence, pattern: *pattern })
    }
}

/// The report that is being made.
#[derive(Default)]
pub(crate) struct Draft {
    entries: Vec<Entry>,
    times: Trends,
    rounds: usize,
}

impl Draft {
    /// Adds a round.
    pub(crate) fn add(&mut self, judged: Judged) {
        let Judged { record, found, gated, prober, .. } = judged;
        self.round(record, found, gated, prober);
    }

    fn round(&mut self, record: RoundRecord, found: Option<Blame>, gated: bool, prober: Option<Blame>) {
        self.times.note(&record);
        self.rounds += 1;
        let record = Box::new(record);
        if gated {
            return self.entries.push(Entry::Gated { record, prober });
        }
        if let Some(Blame { family, phase, words, ms, pattern, .. }) = found {
            return self.entries.push(Entry::Bad { record, family, phase, words, ms, pattern });
        }
        let last = self.entries.iter_mut().rev().find(|entry| entry.record().name == record.name);
        match last {
            Some(Entry::Good { rounds, slowest }) => {
                *rounds += 1;
                if record.total_ms > slowest.total_ms {
                    *slowest = record;
                }
            }
            _ => self.entries.push(Entry::Good { rounds: 1, slowest: record }),
        }
    }

    /// Whether anything in it is news: not healthy.
    pub(crate) fn is_news(&self) -> bool {
        self.entries.iter().any(|entry| !matches!(entry, Entry::Good { .. }))
    }

    /// Whether there is no room for more.
    pub(crate) fn is_full(&self) -> bool {
        self.entries.len() >= MOST_ENTRIES || self.rounds >= MOST_ROUNDS
    }

    /// The report, if there is anything in it; and whether it is news.
    pub(crate) fn take(&mut self, missed: u64) -> Option<(Report, bool)> {
        let news = self.is_news();
        let Draft { entries, mut times, .. } = std::mem::take(self);
        let mut times = times.take();
        for ms in times.iter_mut().flat_map(|times| &mut times.ms) {
            // Microseconds: more digits are noise, and most of the bytes.
            *ms = (*ms * 1e3).round() / 1e3;
        }
        (!entries.is_empty() || missed > 0).then_some((Report { entries, times, missed }, news))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use analysis::clock::Instant;

    use super::*;

    /// A round of a check that began so many seconds after the epoch.
    pub(crate) fn record(name: &str, at: i64, ms: f64, culprit: Option<Culprit>) -> RoundRecord {
        RoundRecord {
            name: name.into(),
            address: None,
            scheduled: Instant::from_nanos(at * 1_000_000_000),
            started: Instant::from_nanos(at * 1_000_000_000),
            total_ms: ms,
            success: true,
            reason: None,
            local: None,
            verdict: "healthy".into(),
            target_verdict: "healthy".into(),
            target_culprit: culprit,
            culprit,
            sick: None,
            rtt_ms: Some(20.0),
            grade: "socket + host".into(),
            sentence: "As usual.".into(),
            parts: vec![("connect".into(), "path".into(), ms)],
            certificate_end: None,
        }
    }

    fn add(draft: &mut Draft, name: &str, ms: f64, culprit: Option<Culprit>, gated: bool) {
        let found = culprit.map(|culprit| Blame {
            culprit,
            family: Family::Slow,
            phase: "connect".into(),
            words: String::new(),
            ms,
            sentence: "Slow.".into(),
            pattern: None,
        });
        draft.round(record(name, 1, ms, culprit), found, gated, None);
    }

    #[test]
    fn healthy_rounds_are_one_entry_until_another_kind_comes_between() {
        let mut draft = Draft::default();
        assert_eq!(draft.take(0), None);
        for (name, ms) in [("a", 10.0), ("b", 11.0), ("a", 30.0), ("a", 20.0)] {
            add(&mut draft, name, ms, None, false);
        }
        assert!(!draft.is_news());
        add(&mut draft, "a", 200.0, Some(Culprit::Path), false);
        add(&mut draft, "b", 12.0, None, false);
        add(&mut draft, "a", 10.0, None, false);
        add(&mut draft, "a", 10.0, None, true);
        let (report, news) = draft.take(0).expect("there are rounds");
        let said: Vec<(String, f64)> = report
            .entries
            .iter()
            .map(|entry| {
                let kind = match entry {
                    Entry::Good { rounds, .. } => format!("{} good {rounds}", entry.record().name),
                    Entry::Bad { .. } => format!("{} bad", entry.record().name),
                    Entry::Gated { .. } => format!("{} gated", entry.record().name),
                };
                (kind, entry.record().total_ms)
            })
            .collect();
        let wanted = [("a good 3", 30.0), ("b good 2", 12.0), ("a bad", 200.0), ("a good 1", 10.0), ("a gated", 10.0)];
        assert_eq!(said, wanted.map(|(kind, ms)| (kind.to_owned(), ms)));
        assert!(news);
        let all: usize = report.times.iter().filter(|times| times.what == "total").map(|times| times.ms.len()).sum();
        assert_eq!(all, 8, "the times of all are there");
        assert_eq!(draft.take(0), None, "it is said once");
        assert_eq!(draft.take(3).map(|(report, _)| report.missed), Some(3));
    }
}
