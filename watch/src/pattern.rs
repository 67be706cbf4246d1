//! What the last rounds of a check show together: failures that no `k` of `n` notices, because they are few, and that have an order. Pure.
//!
//! In: how each round went, and which backend answered. Out: the pattern in which the latest failure stands, in words. Only failures count:
//! slow rounds vary by themselves.

use std::collections::{BTreeSet, VecDeque};

use alerting::{Pattern, PatternKind};

/// Rounds that are looked at.
const WINDOW: usize = 40;
/// A backend is bad when so many rounds of it in a row failed, and as many of others were well since.
const OF_BACKEND: usize = 3;
/// Every n-th round fails: n at most.
const LONGEST_PERIOD: usize = 8;
/// So many periods in a row, exactly: by chance that happens to no check that is worth having.
const PERIODS: usize = 4;
/// Times that an edge went and came back.
const SPELLS: usize = 3;
/// Rounds of a spell, in the mean: shorter ones are single connections.
const OF_SPELL: f64 = 1.5;
/// A share of the rounds: so many …
const SHARE: usize = 4;
/// … of so many last ones. With failures that are independent at 1 %, 4.5 of 100,000 windows have them.
const OF_SHARE: usize = 20;

/// What was wrong with a round.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    /// The edge refused the connection, or ended it without a word.
    Broke {
        /// Nobody listened.
        refused: bool,
    },
    /// It failed otherwise.
    Failed,
    /// It was slow: no failure.
    Slow,
}

#[derive(Clone, Debug)]
struct Round {
    bad: Option<How>,
    backend: Option<String>,
    again: bool,
}

impl Round {
    fn failed(&self) -> bool {
        self.bad.is_some_and(|how| how != How::Slow)
    }
}

/// The last rounds of a check, oldest first.
#[derive(Clone, Default, Debug)]
pub struct Recent(VecDeque<Round>);

/// A pattern, and what it is in words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// Which; absent: something that is said, and alerts nobody by itself.
    pub pattern: Option<Pattern>,
    /// A sentence.
    pub sentence: String,
}

impl Recent {
    /// Adds a round; `again`: it called a second time, to learn why it was turned away.
    pub fn note(&mut self, bad: Option<How>, backend: Option<String>, again: bool) {
        self.0.push_back(Round { bad, backend, again });
        if self.0.len() > WINDOW {
            self.0.pop_front();
        }
    }

    /// The pattern that the latest round, which failed, stands in: the one that tells most.
    ///
    /// ```
    /// use alerting::PatternKind;
    /// use whostalled_watch::pattern::{How, Recent};
    ///
    /// let mut recent = Recent::default();
    /// for round in 1..=16 {
    ///     recent.note((round % 4 == 0).then_some(How::Failed), None, false);
    /// }
    /// let pattern = recent.pattern().and_then(|found| found.pattern);
    /// assert_eq!(pattern.map(|pattern| (pattern.kind, pattern.gap)), Some((PatternKind::EveryNth, 4)));
    /// ```
    pub fn pattern(&self) -> Option<Found> {
        self.0.back().filter(|r| r.failed())?;
        self.of_backend().or_else(|| self.every_nth()).or_else(|| self.spells()).or_else(|| self.share())
    }

    /// That the latest round, which was slow, was answered by another site than rounds that were as usual.
    pub fn elsewhere(&self) -> Option<Found> {
        let site = self.0.back()?.backend.as_deref()?;
        let usual: BTreeSet<&str> = self.0.iter().filter(|r| r.bad.is_none()).filter_map(|r| r.backend.as_deref()).collect();
        if usual.is_empty() || usual.contains(site) {
            return None;
        }
        let usual: Vec<&str> = usual.into_iter().collect();
        let sentence = format!("It was answered by {site}, and by {} when all was well: another site.", usual.join(", "));
        Some(Found { pattern: None, sentence })
    }

    fn of_backend(&self) -> Option<Found> {
        let bad = self.0.back()?.backend.as_deref()?;
        let of_it = || self.0.iter().enumerate().filter(|(_, r)| r.backend.as_deref() == Some(bad));
        let failing: Vec<usize> = of_it().rev().take_while(|(_, r)| r.failed()).map(|(at, _)| at).collect();
        let first = *failing.last()?;
        let others = self.0.range(first..).filter(|r| r.backend.as_deref().is_some_and(|b| b != bad));
        let (well, all) = others.fold((0, 0), |(well, all), r| (well + usize::from(!r.failed()), all + 1));
        // Others that fail too are no others.
        if failing.len() < OF_BACKEND || well < OF_BACKEND || well * 2 < all {
            return None;
        }
        let sentence = format!(
            "Each of the last {} rounds that backend {bad} answered failed; of those that others answered {well} of {all} were well.",
            failing.len()
        );
        Some(found(PatternKind::Backend, (self.0.len() - first).div_ceil(failing.len()), sentence))
    }

    fn every_nth(&self) -> Option<Found> {
        let every = |n: &usize| {
            let needed = n * PERIODS;
            let last = self.0.iter().rev().take(needed).enumerate();
            self.0.len() >= needed && last.into_iter().all(|(back, r)| r.failed() == (back % n == 0))
        };
        let n = (2..=LONGEST_PERIOD).find(every)?;
        let ordinal = match n {
            2 => "second".to_owned(),
            3 => "third".to_owned(),
            n => format!("{n}th"),
        };
        // Whoever hands connections round in turns has had one more for each that failed.
        let again = self.0.iter().rev().step_by(n).take(PERIODS).all(|r| r.again);
        let (instances, why) = if again { (n + 1, " (a round that fails calls twice, to learn why)") } else { (n, "") };
        let said = format!("Every {ordinal} round fails, {PERIODS} times in a row, and no other");
        Some(found(PatternKind::EveryNth, n, format!("{said}: as if one of {instances} instances were broken{why}.")))
    }

    /// Runs of failures, each with its rounds; what goes on at the window's begin counts too.
    fn runs(rounds: impl Iterator<Item = bool>) -> (usize, usize) {
        let (mut runs, mut failed, mut before) = (0, 0, false);
        for now in rounds {
            failed += usize::from(now);
            runs += usize::from(now && !before);
            before = now;
        }
        (runs, failed)
    }

    fn spells(&self) -> Option<Found> {
        let (mut refused, mut reset, mut otherwise) = (0, 0, 0);
        for round in &self.0 {
            match round.bad {
                Some(How::Broke { refused: true }) => refused += 1,
                Some(How::Broke { refused: false }) => reset += 1,
                Some(How::Failed) => otherwise += 1,
                Some(How::Slow) | None => {}
            }
        }
        let (spells, failed) = Self::runs(self.0.iter().map(|r| r.failed()));
        if spells < SPELLS || refused == 0 || otherwise * 4 > failed || (failed as f64) < OF_SPELL * spells as f64 {
            return None;
        }
        let sentence = format!(
            "Connections fail in {spells} spells and are well between ({refused} refused, {reset} reset or closed, of the last {}): the edge's program ends and comes back.",
            self.0.len()
        );
        Some(found(PatternKind::Spells, self.longest_calm() + 1, sentence))
    }

    /// The most rounds in a row that were well between two that failed.
    fn longest_calm(&self) -> usize {
        let failed: Vec<usize> = self.0.iter().enumerate().filter(|(_, r)| r.failed()).map(|(at, _)| at).collect();
        failed.windows(2).map(|pair| pair[1] - pair[0] - 1).max().unwrap_or(0)
    }

    fn share(&self) -> Option<Found> {
        let last = || self.0.iter().rev().take(OF_SHARE).map(|r| r.failed());
        let (spells, failed) = Self::runs(last());
        // One outage is no share.
        if failed < SHARE || spells < SPELLS {
            return None;
        }
        let of = self.0.len().min(OF_SHARE);
        Some(found(
            PatternKind::Share,
            of.div_ceil(failed),
            format!("{failed} of the last {of} rounds failed, with good ones between."),
        ))
    }
}

fn found(kind: PatternKind, gap: usize, sentence: String) -> Found {
    Found { pattern: Some(Pattern { kind, gap: u32::try_from(gap).unwrap_or(u32::MAX) }), sentence }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `.` well, `x` failed, `r` refused, `b` broken off, `a` the same and called again; digits and capital digits are backends: `1` well, `!` is backend 1 that failed.
    fn recent(rounds: &str) -> Recent {
        let mut recent = Recent::default();
        for c in rounds.chars() {
            let (bad, backend) = match c {
                's' => (Some(How::Slow), Some("3")),
                'x' => (Some(How::Failed), None),
                'r' => (Some(How::Broke { refused: true }), None),
                'a' | 'b' => (Some(How::Broke { refused: false }), None),
                '!' => (Some(How::Failed), Some("1")),
                '@' => (Some(How::Failed), Some("2")),
                c if c.is_ascii_digit() => (None, Some(if c == '1' { "1" } else { "2" })),
                _ => (None, None),
            };
            recent.note(bad, backend.map(str::to_owned), c == 'a');
        }
        recent
    }

    fn kind(rounds: &str) -> Option<PatternKind> {
        recent(rounds).pattern().and_then(|found| found.pattern).map(|pattern| pattern.kind)
    }

    #[test]
    fn a_backend_of_which_all_fails_is_named_and_others_are_cleared() {
        let found = recent("2212!222!22!").pattern().expect("backend 1 is broken");
        assert_eq!(found.pattern, Some(Pattern { kind: PatternKind::Backend, gap: 3 }));
        assert!(
            found.sentence.contains("backend 1 answered failed") && found.sentence.contains("5 of 5 were well"),
            "{}",
            found.sentence
        );
        assert_eq!(kind("!22!1!"), None, "it was well in between");
        assert_eq!(kind("!2!@!@@!"), None, "they fail alike");
        assert_eq!(kind("!222!"), None, "two are few");
    }

    #[test]
    fn every_nth_needs_four_periods_without_exception() {
        let found = recent("...x...x...x...x").pattern().expect("every fourth");
        assert_eq!(found.pattern, Some(Pattern { kind: PatternKind::EveryNth, gap: 4 }));
        assert!(found.sentence.starts_with("Every 4th round fails"), "{}", found.sentence);
        assert_eq!(kind(".x.x.x.x"), Some(PatternKind::EveryNth));
        let instances = |rounds: &str| recent(rounds).pattern().map(|found| found.sentence).unwrap_or_default();
        assert!(instances("...b...b...b...b").contains("one of 4 instances"));
        assert!(instances("...a...a...a...a").contains("one of 5 instances"), "each failure took two connections");
        assert!(instances("...b...a...a...a").contains("one of 4 instances"), "not each");
        assert_eq!(kind("...x..xx...x"), Some(PatternKind::Share), "one came early");
        assert_eq!(kind("....x...x...x"), None, "three periods");
    }

    #[test]
    fn an_edge_that_dies_and_returns_is_told_from_single_failures() {
        let found = recent("rrb...rr....brr").pattern().expect("three spells");
        assert_eq!(
            found.pattern,
            Some(Pattern { kind: PatternKind::Spells, gap: 5 }),
            "four good rounds at most between two spells"
        );
        assert_eq!(kind("xx...xxx...xx"), Some(PatternKind::Share), "nothing was refused");
        assert_eq!(kind("..rrrrrrrrrr"), None, "one outage");
    }

    #[test]
    fn another_site_is_one_that_answered_no_round_that_was_well() {
        let said = recent("1212s").elsewhere().expect("3 is another");
        assert_eq!(said.sentence, "It was answered by 3, and by 1, 2 when all was well: another site.");
        assert_eq!(recent("1212s").pattern(), None, "slow is no failure");
        assert_eq!((recent("121").elsewhere(), recent("ss").elsewhere(), recent("..s").elsewhere()), (None, None, None));
    }

    #[test]
    fn a_share_needs_four_of_twenty_in_three_places() {
        assert_eq!(kind("x....x..x......x"), Some(PatternKind::Share));
        assert_eq!(kind("xxxx"), None);
        assert_eq!(kind("x.......................x..x"), None);
    }

    proptest! {
        #[test]
        fn a_round_that_is_well_has_none_and_gaps_are_no_longer_than_the_window(rounds in "[.xrb12!@]{0,60}") {
            if let Some(pattern) = recent(&rounds).pattern().and_then(|found| found.pattern) {
                prop_assert!(pattern.gap >= 1 && pattern.gap as usize <= WINDOW);
            }
            prop_assert_eq!(kind(&format!("{rounds}.")), None);
        }
    }
}
