//! Vantage × check: what is known of each, and of each vantage. Time is an argument: this machine's wall clock, in seconds.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use agent::Wellbeing;
use alerting::clock::UnixSeconds;
use alerting::states::{Active, State};
use analysis::clock::Span;

use super::compare::{Is, Row};
use crate::checks::{CheckFile, Plan};
use crate::status::RoundSummary;

/// Rounds of each cell that are shown.
const SHOWN: usize = 10;

/// All that a controller knows now.
pub(crate) struct Matrix {
    /// The check file.
    pub(crate) file: Arc<CheckFile>,
    /// By the check's name.
    pub(crate) plans: HashMap<String, Plan>,
    /// Silence before this was ours, not the agents'.
    pub(crate) since: UnixSeconds,
    /// When it was last judged.
    pub(crate) now: UnixSeconds,
    /// Agents, by name.
    pub(crate) vantages: BTreeMap<String, Vantage>,
    /// Cells, by check (with its address, where each is probed) and vantage.
    pub(crate) checks: BTreeMap<String, BTreeMap<String, Cell>>,
    /// Since when lookups of a name find addresses without a break, by check and vantage.
    pub(crate) found: BTreeMap<Of, Found>,
    /// Alerts that are on, by what they are of.
    pub(crate) standing: BTreeMap<Of, Standing>,
}

/// What an alert is of: a check (or what stands for one) and the vantage in its label.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Of {
    pub(crate) check: String,
    pub(crate) vantage: String,
}

/// Lookups of a name from a vantage that found addresses.
#[derive(Clone, Copy)]
pub(crate) struct Found {
    /// The first behind the last break.
    pub(crate) since: UnixSeconds,
    /// The last one.
    pub(crate) last: UnixSeconds,
}

/// An alert that is on.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Standing {
    pub(crate) active: Active,
    /// Who sees it.
    pub(crate) seen_from: Vec<String>,
    /// When fewer saw it than before; absent: more do, or none was lost yet.
    pub(crate) shrank: Option<UnixSeconds>,
}

/// An agent.
#[derive(Default)]
pub(crate) struct Vantage {
    /// When it was last heard.
    pub(crate) heard: UnixSeconds,
    /// How it fares, as last said.
    pub(crate) wellbeing: Wellbeing,
    /// Its clock is ahead of ours by so much, the time on the way included.
    pub(crate) ahead: Span,
    /// Whether its prober may judge others.
    pub(crate) prober: State,
}

/// One vantage and one check.
#[derive(Default)]
pub(crate) struct Cell {
    pub(crate) state: State,
    /// When its last round was.
    pub(crate) last: UnixSeconds,
    /// Whether any round of it was judged since we began.
    pub(crate) judged: bool,
    /// Its last rounds, latest first.
    pub(crate) recent: VecDeque<RoundSummary>,
}

impl Cell {
    /// Notes a round for whoever looks.
    pub(crate) fn show(&mut self, round: RoundSummary) {
        self.recent.push_front(round);
        self.recent.truncate(SHOWN);
    }
}

/// What is said of a cell, in a word.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Word {
    Good,
    Bad,
    /// The prober is too sick to judge.
    Gated,
    /// Its agent is not heard of, or says nothing of this check.
    Unheard,
    /// Nothing was judged yet.
    New,
}

impl Word {
    pub(crate) const ALL: [Word; 5] = [Word::Good, Word::Bad, Word::Gated, Word::Unheard, Word::New];

    pub(crate) const fn label(self) -> &'static str {
        match self {
            Word::Good => "good",
            Word::Bad => "bad",
            Word::Gated => "gated",
            Word::Unheard => "unheard",
            Word::New => "new",
        }
    }
}

/// How old a cell's last round may be before the cell is not known.
pub(super) fn patience(plan: &Plan, file: &CheckFile) -> Duration {
    file.fleet.silent_after.0.max(3 * plan.interval.0.max(file.fleet.report.0))
}

/// How old a round may be and still change a state: what comes later than that is history.
pub(crate) fn late_after(plan: &Plan, file: &CheckFile) -> Duration {
    patience(plan, file).max(2 * plan.fire.n * plan.interval.0)
}

impl Matrix {
    /// Nothing is known yet.
    pub(crate) fn new(file: Arc<CheckFile>, now: UnixSeconds) -> Self {
        let (vantages, checks, found, standing) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let plans = HashMap::new();
        let mut matrix = Self { plans, since: now, now, vantages, checks, found, standing, file: Arc::clone(&file) };
        matrix.change(file);
        matrix
    }

    /// Another check file.
    pub(crate) fn change(&mut self, file: Arc<CheckFile>) {
        // The file was read: its plans are sound.
        let plans = file.plans().unwrap_or_default().into_iter();
        self.plans = plans.map(|plan| (plan.check.name.clone(), plan)).collect();
        self.file = file;
    }

    /// The check that a round is of, with its defaults.
    pub(crate) fn plan(&self, round: &str) -> Option<&Plan> {
        self.plans.get(&self.file.check_of(round)?.name)
    }

    /// Whether an agent is heard of. Nobody's silence counts before `since`.
    pub(crate) fn is_heard(&self, vantage: &Vantage) -> bool {
        self.now.since(vantage.heard.max(self.since)) <= self.file.fleet.silent_after.0
    }

    /// What is said of a cell.
    pub(crate) fn word(&self, vantage: &str, cell: &Cell, plan: &Plan) -> Word {
        let Some(of) = self.vantages.get(vantage) else { return Word::Unheard };
        match () {
            () if !self.is_heard(of) => Word::Unheard,
            () if of.prober.active.is_some() => Word::Gated,
            () if !cell.judged && cell.state.active.is_none() => Word::New,
            () if self.now.since(cell.last.max(self.since)) > patience(plan, &self.file) => Word::Unheard,
            () if cell.state.active.is_some() => Word::Bad,
            () => Word::Good,
        }
    }

    /// What the vantages that count say of a check.
    pub(crate) fn row(&self, check: &str, plan: &Plan) -> Row<'_> {
        let Some(cells) = self.checks.get(check) else { return Row::new() };
        let counts = |vantage: &str| match &plan.from.of {
            None => true,
            Some(group) => self.vantages.get(vantage).is_some_and(|of| of.wellbeing.groups.contains(group)),
        };
        let is = |vantage: &str, cell: &Cell| match (self.word(vantage, cell, plan), &cell.state.active) {
            (Word::Good, _) => Is::Good,
            (Word::Bad, Some(active)) => Is::Bad(active.blame.clone()),
            (Word::Bad | Word::Gated | Word::Unheard | Word::New, active) => Is::Unknown { was_bad: active.is_some() },
        };
        cells.iter().filter(|(vantage, _)| counts(vantage)).map(|(vantage, cell)| (vantage.as_str(), is(vantage, cell))).collect()
    }

    /// An agent is no part of the fleet any more; its cells, by check.
    pub(crate) fn forget(&mut self, vantage: &str) -> Vec<String> {
        self.vantages.remove(vantage);
        let mut gone = Vec::new();
        for (check, cells) in &mut self.checks {
            if cells.remove(vantage).is_some() {
                gone.push(check.clone());
            }
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use alerting::states::Blame;
    use alerting::{Culprit, Family};

    use super::*;

    const FILE: &str = "[fleet]\nsilent_after = \"60s\"\nreport = \"10s\"\n[[check]]\nname = \"login\"\ntarget = \"a.test:443\"\n\
                        interval = \"10s\"\nfrom = { k = 1, of = \"eu\" }\n";

    fn at(second: i64) -> UnixSeconds {
        UnixSeconds::from_secs(second)
    }

    fn active() -> Option<Active> {
        let blame = Blame {
            culprit: Culprit::Path,
            family: Family::Slow,
            phase: "connect".into(),
            words: String::new(),
            ms: 80.0,
            sentence: String::new(),
            pattern: None,
        };
        Some(Active { since: at(900), blame, told: true, rounds: 3, bad: 3 })
    }

    /// One agent, `fra`, that was heard at 1,000 s and has one cell.
    fn matrix(change: impl FnOnce(&mut Vantage, &mut Cell)) -> Matrix {
        let mut vantage = Vantage { heard: at(1_000), ..Vantage::default() };
        vantage.wellbeing.groups = vec!["eu".into()];
        let mut cell = Cell { last: at(1_000), judged: true, ..Cell::default() };
        change(&mut vantage, &mut cell);
        let mut matrix = Matrix::new(Arc::new(CheckFile::parse(FILE).expect("it is sound")), at(0));
        matrix.vantages.insert("fra".into(), vantage);
        matrix.checks.insert("login".into(), BTreeMap::from([("fra".into(), cell)]));
        matrix
    }

    fn word(mut matrix: Matrix, since: i64, now: i64) -> Word {
        (matrix.since, matrix.now) = (at(since), at(now));
        matrix.word("fra", &matrix.checks["login"]["fra"], &matrix.plans["login"])
    }

    #[test]
    fn silence_is_neither_good_nor_bad() {
        assert_eq!(word(matrix(|_, _| {}), 0, 1_060), Word::Good);
        assert_eq!(word(matrix(|_, _| {}), 0, 1_061), Word::Unheard);
        assert_eq!(word(matrix(|_, cell| cell.state.active = active()), 0, 1_061), Word::Unheard);
        assert_eq!(word(matrix(|_, cell| cell.state.active = active()), 0, 1_001), Word::Bad);
        assert_eq!(word(matrix(|_, _| {}), 1_050, 1_100), Word::Good, "we were away, not the agent");
    }

    #[test]
    fn an_agent_that_lives_but_says_nothing_of_a_check_is_not_heard_of_it() {
        assert_eq!(word(matrix(|vantage, cell| (vantage.heard, cell.last) = (at(2_000), at(1_000))), 0, 2_000), Word::Unheard);
        assert_eq!(word(matrix(|_, cell| cell.judged = false), 0, 1_000), Word::New);
        assert_eq!(word(matrix(|vantage, _| vantage.prober.active = active()), 0, 1_000), Word::Gated);
    }

    #[test]
    fn only_vantages_of_the_group_count() {
        let row = |matrix: &Matrix| matrix.row("login", &matrix.plans["login"]).len();
        assert_eq!(row(&matrix(|_, _| {})), 1);
        assert_eq!(row(&matrix(|vantage, _| vantage.wellbeing.groups = vec!["us".into()])), 0);
    }
}
