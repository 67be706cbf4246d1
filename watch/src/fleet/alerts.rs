//! The alerts of a fleet: of checks, of probers, of agents that are not heard of, of vantages whose own access is bad.
//!
//! In: the matrix, once a second. Out: events. An alert of a check has the fleet's name for its vantage, so that several controllers that
//! judge the same rounds say the same; who sees it is in it as text.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use alerting::clock::UnixSeconds;
use alerting::event::{ACCESS, AGENT, AGENTS, OURS, PROBER};
use alerting::states::{Active, Blame, State};
use alerting::{Culprit, Event, Family};
use tracing::warn;

use super::compare::{Row, Said, judge, own_faults};
use super::controller::{ALERT, CELL, Controller, OF_PROBER, cell_name, locked};
use super::matrix::{Found, Matrix, Of, Standing, Word, late_after};
use super::metrics::{ByCell, ByWord};
use crate::checks::{CheckFile, Plan};
use crate::engine::{PROBER_RULE, UNWRITTEN};
use crate::metrics::ByCheck;

/// Fewer vantages that see a fault for so long are a fault of their own: some get well later than others.
const SETTLED: Duration = Duration::from_secs(300);

/// Why alerts of an agent end with it.
const FORGOTTEN: &str = "no longer heard of";
/// Why alerts of a fleet end that had another name.
const RENAMED: &str = "the fleet has another name now";

/// What is said of something that may have an alert.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Finding {
    /// It is bad. `tells`: enough of it to alert somebody was bad outside of maintenance, too; `wholly`: all of it was.
    Bad { blame: Blame, seen_from: Vec<String>, since: UnixSeconds, rounds: u32, bad: u32, tells: bool, wholly: bool },
    /// Not known: an alert that is on stays.
    Unknown,
    /// It is good.
    Good,
}

impl Controller {
    /// Puts back what the store has.
    pub(super) fn recall(&mut self, heard: BTreeMap<String, UnixSeconds>, states: Vec<(String, State)>) {
        let matrix = Arc::clone(&self.matrix);
        let mut matrix = locked(&matrix);
        for (vantage, at) in heard {
            matrix.vantages.entry(vantage).or_default().heard = at;
        }
        for (name, state) in states {
            if let Some((check, vantage)) = name.strip_prefix(CELL).and_then(|cell| cell.rsplit_once('@')) {
                matrix.checks.entry(check.to_owned()).or_default().entry(vantage.to_owned()).or_default().state = state;
            } else if let Some(vantage) = name.strip_prefix(OF_PROBER) {
                matrix.vantages.entry(vantage.to_owned()).or_default().prober = state;
            } else if let Some((check, vantage)) = name.strip_prefix(ALERT).and_then(|of| of.rsplit_once('@')) {
                let Some(active) = state.active else { continue };
                let of = Of { check: check.to_owned(), vantage: vantage.to_owned() };
                if active.told {
                    self.status.alerts.note(&self.event(&of, &active, &[], None));
                }
                matrix.standing.insert(of, Standing { active, seen_from: Vec::new(), shrank: None });
            }
        }
        for (vantage, of) in &matrix.vantages {
            if let Some(active) = of.prober.active.as_ref().filter(|active| active.told) {
                let of = Of { check: PROBER.into(), vantage: vantage.clone() };
                self.status.alerts.note(&self.event(&of, active, &[], None));
            }
        }
    }

    /// Judges all checks and all agents.
    pub(super) fn evaluate(&mut self, now: UnixSeconds) {
        let matrix = Arc::clone(&self.matrix);
        let mut matrix = locked(&matrix);
        matrix.now = now;
        self.forget(&mut matrix, now);
        self.forget_addresses(&mut matrix, now);
        self.agents(&mut matrix, now);
        let checks: Vec<(String, Plan)> =
            matrix.checks.keys().filter_map(|name| Some((name.clone(), matrix.plan(name)?.clone()))).collect();
        let mut findings: Vec<(Of, Finding)> = Vec::new();
        {
            let row = |(name, plan): &(String, Plan)| matrix.row(name, plan);
            let rows: BTreeMap<&str, Row<'_>> = checks.iter().map(|check| (check.0.as_str(), row(check))).collect();
            let own = own_faults(&rows);
            let names: BTreeSet<&str> = own.keys().map(String::as_str).collect();
            for (name, plan) in &checks {
                let Some(row) = rows.get(name.as_str()) else { continue };
                let said = judge(row, &names);
                self.show(&matrix, name, plan, &said);
                let of = Of { check: name.clone(), vantage: self.config.fleet.name.clone() };
                findings.push((of, of_check(&matrix, name, plan.from.k as usize, said)));
            }
            for vantage in matrix.vantages.keys() {
                let of = Of { check: ACCESS.into(), vantage: vantage.clone() };
                let finding = match own.get(vantage) {
                    Some(blame) => of_access(&matrix, vantage, blame.clone(), now),
                    None if is_known(&matrix, vantage, &rows) => Finding::Good,
                    None => Finding::Unknown,
                };
                findings.push((of, finding));
            }
        }
        for (of, finding) in findings {
            self.stand(&mut matrix, of, finding, now);
        }
        let astray = self.astray(&matrix);
        self.status.trouble("agents", astray);
    }

    /// Who is heard of.
    fn agents(&mut self, matrix: &mut Matrix, now: UnixSeconds) {
        let names: Vec<String> = matrix.vantages.keys().cloned().collect();
        let silent: BTreeSet<String> =
            matrix.vantages.iter().filter(|(_, vantage)| !matrix.is_heard(vantage)).map(|(name, _)| name.clone()).collect();
        let patient = now.since(matrix.since) <= self.config.fleet.silent_after.0;
        let all = Of { check: AGENTS.into(), vantage: self.config.fleet.name.clone() };
        let nobody = if names.is_empty() { !patient } else { names.len() > 1 && silent.len() == names.len() };
        if nobody {
            let last = matrix.vantages.values().map(|vantage| vantage.heard).max();
            let sentence = match last {
                Some(last) => format!("None of {} agents has been heard of since {last}: what they check is not known. Look at the broker first.", names.len()),
                None => "No agent has been heard of since this controller began. Look at the broker, and at agents started with --watch.".into(),
            };
            let blame = unheard(sentence);
            return self.stand(matrix, all, silence(blame, last.unwrap_or(matrix.since)), now);
        }
        if matrix.standing.contains_key(&all) {
            // They come back one by one: each has its time.
            matrix.since = now;
            return self.stand(matrix, all, Finding::Good, now);
        }
        for name in names {
            let finding = if silent.contains(&name) {
                let heard = matrix.vantages[&name].heard;
                let sentence = format!(
                    "The agent {name} has not been heard of since {heard}: its host, its way to the broker, or the program."
                );
                silence(unheard(sentence), heard)
            } else {
                Finding::Good
            };
            self.stand(matrix, Of { check: AGENT.into(), vantage: name }, finding, now);
        }
    }

    /// Rounds of an agent's own prober: healthy, or why not.
    pub(super) fn prober(&mut self, matrix: &mut Matrix, agent: &str, rounds: u32, found: Option<Blame>, at: UnixSeconds) {
        let resting = self.rests(PROBER, at);
        let Some(vantage) = matrix.vantages.get_mut(agent) else { return };
        let was_quiet = vantage.prober.quiet();
        let mut last = None;
        for _ in 0..rounds {
            last = vantage.prober.round(at, found.clone(), PROBER_RULE, resting).or(last);
        }
        let (quiet, active) = (vantage.prober.quiet(), vantage.prober.active.clone());
        if !(was_quiet && quiet) {
            self.journal.touch(&format!("{OF_PROBER}{agent}"));
        }
        let of = Of { check: PROBER.into(), vantage: agent.to_owned() };
        if let Some(active) = &active {
            let event = self.event(&of, active, &[], None);
            self.journal.incident(&event, active);
        }
        if let Some(transition) = last {
            let before = transition.before().cloned();
            let (active, ended) = transition.into_parts();
            self.say(&of, &active, &[], ended, true, before);
        }
    }

    /// An alert begins, changes, goes on or ends.
    fn stand(&mut self, matrix: &mut Matrix, of: Of, finding: Finding, now: UnixSeconds) {
        let resting = self.rests(&of.check, now);
        let firing = ByCell { check: of.check.clone(), vantage: of.vantage.clone() };
        match finding {
            Finding::Unknown => {}
            Finding::Good => {
                let Some(Standing { active, seen_from, .. }) = matrix.standing.remove(&of) else { return };
                self.metrics.firing.get_or_create(&firing).set(0);
                self.journal.retire(format!("{ALERT}{}", cell_name(&of.check, &of.vantage)));
                let told = active.told;
                self.say(&of, &active, &seen_from, Some(now), told, None);
            }
            Finding::Bad { blame, seen_from, since, rounds, bad, tells, wholly } => {
                let quiet = resting || !tells;
                self.metrics.firing.get_or_create(&firing).set(1);
                let shrank = matrix.standing.get(&of).and_then(|before| shrank(before, &seen_from, now));
                // While vantages get well one after another, those that are left are not a fault of another kind.
                let blame = match matrix.standing.get(&of) {
                    Some(before) if shrank.is_some_and(|at| now.since(at) < SETTLED) => before.active.blame.clone(),
                    _ => blame,
                };
                let next = |told, since| Active { since, blame: blame.clone(), told, rounds, bad };
                // Receivers whose labels have the culprit are to hear that the alert of before is over.
                let mut before = None;
                let (active, news) = match matrix.standing.get(&of) {
                    None => (next(!quiet, since), !quiet),
                    Some(Standing { active, .. }) if !active.told && !quiet => (next(true, active.since), true),
                    // It does not become another while nobody is alerted, nor by what was bad then alone.
                    Some(Standing { active, .. }) if active.told && (resting || !wholly) && !active.blame.same_alert(&blame) => {
                        (active.clone(), false)
                    }
                    Some(Standing { active, .. }) => {
                        let changed = active.told && !active.blame.same_alert(&blame);
                        before = changed.then(|| active.blame.clone());
                        (next(active.told, active.since), changed)
                    }
                };
                let standing = Standing { active, seen_from, shrank };
                if matrix.standing.get(&of) == Some(&standing) {
                    return;
                }
                self.journal.touch(&format!("{ALERT}{}", cell_name(&of.check, &of.vantage)));
                self.say(&of, &standing.active, &standing.seen_from, None, news, before);
                matrix.standing.insert(of, standing);
            }
        }
    }

    /// What is now said of an alert; receivers hear it if it is news, and Alertmanager the next time it is told again.
    fn say(
        &mut self,
        of: &Of,
        active: &Active,
        seen_from: &[String],
        ended: Option<UnixSeconds>,
        news: bool,
        before: Option<Blame>,
    ) {
        let event = Event { before, ..self.event(of, active, seen_from, ended) };
        self.journal.incident(&event, active);
        if news {
            let word = match (ended, &event.before) {
                (Some(_), _) => "resolved",
                (None, Some(_)) => "changed",
                (None, None) => "firing",
            };
            let Blame { culprit, family, sentence, .. } = &active.blame;
            warn!(check = event.key, state = word, family = family.label(), culprit = culprit.label(), "{sentence}");
            self.journal.tell(&self.config.receivers, &event);
        } else if active.told {
            self.status.alerts.note(&event);
        }
    }

    fn event(&self, of: &Of, active: &Active, seen_from: &[String], ended: Option<UnixSeconds>) -> Event {
        let check = self.config.check_of(&of.check);
        Event {
            key: cell_name(&of.check, &of.vantage),
            check: of.check.clone(),
            vantage: of.vantage.clone(),
            seen_from: seen_from.to_vec(),
            target: check.map_or_else(|| of.vantage.clone(), |check| check.target.clone()),
            resolved: ended.is_some(),
            since: active.since,
            ended,
            blame: active.blame.clone(),
            before: None,
            unwatched: None,
            labels: check.map(|check| check.labels.clone()).unwrap_or_default(),
            link: Some(self.config.link(&of.check)),
        }
    }

    /// Whether it is in maintenance.
    pub(super) fn rests(&self, check: &str, at: UnixSeconds) -> bool {
        let named = self.config.check_of(check).map_or(check, |found| &found.name);
        self.config.maintenance.iter().any(|window| window.covers(check, at) || window.covers(named, at))
    }

    /// An alert ends because nobody looks any more.
    fn end(&mut self, matrix: &mut Matrix, of: &Of, why: &str, now: UnixSeconds) {
        let Some(Standing { active, seen_from, .. }) = matrix.standing.remove(of) else { return };
        self.metrics.firing.remove(&ByCell { check: of.check.clone(), vantage: of.vantage.clone() });
        self.journal.retire(format!("{ALERT}{}", cell_name(&of.check, &of.vantage)));
        self.over(of, &active, &seen_from, why, now);
    }

    /// What is said of an alert that ends so.
    fn over(&mut self, of: &Of, active: &Active, seen_from: &[String], why: &str, now: UnixSeconds) {
        let event = Event { unwatched: Some(why.to_owned()), ..self.event(of, active, seen_from, Some(now)) };
        self.journal.incident(&event, active);
        if active.told {
            self.journal.tell(&self.config.receivers, &event);
        }
    }

    /// Receivers of now that were not there before hear of all that is on.
    pub(super) fn introduce(&mut self, before: &[String]) {
        let on: Vec<Event> = self.status.alerts.change(|now| now.firing.values().cloned().collect());
        self.journal.introduce(before, &self.config.receivers, &on);
    }

    /// Cells of addresses that lookups do not give any more, where others of the name are probed. While none of them is (nobody was heard,
    /// or no lookup worked), no lookup was without them.
    fn forget_addresses(&mut self, matrix: &mut Matrix, now: UnixSeconds) {
        let before = std::mem::take(&mut matrix.found);
        let mut found: BTreeMap<Of, Found> = BTreeMap::new();
        let of_name = |name: &str| matrix.plan(name).filter(|plan| plan.check.name != name);
        let cells = || matrix.checks.iter().filter_map(|(name, cells)| Some((name, of_name(name)?, cells)));
        let of = |plan: &Plan, vantage: &str| Of { check: plan.check.name.clone(), vantage: vantage.to_owned() };
        for (_, plan, cells) in cells() {
            for (vantage, cell) in cells {
                let of = of(plan, vantage);
                let unbroken = before.get(&of).filter(|was| cell.last.since(was.last) <= late_after(plan, &self.config));
                let since = unbroken.map_or(cell.last, |was| was.since);
                let known = found.entry(of).or_insert(Found { since, last: cell.last });
                if cell.last > known.last {
                    *known = Found { since, last: cell.last };
                }
            }
        }
        let mut gone: Vec<(String, String, String)> = Vec::new();
        for (name, plan, cells) in cells() {
            for (vantage, cell) in cells {
                let Some(Found { since, last }) = found.get(&of(plan, vantage)) else { continue };
                if last.since(cell.last.max(*since)) > late_after(plan, &self.config) {
                    gone.push((name.clone(), vantage.clone(), format!("no longer an address of {}", plan.host)));
                }
            }
        }
        matrix.found = found;
        for (name, vantage, why) in gone {
            let Some(cells) = matrix.checks.get_mut(&name) else { continue };
            cells.remove(&vantage);
            let left = !cells.is_empty();
            self.journal.retire(format!("{CELL}{}", cell_name(&name, &vantage)));
            self.metrics.forget_cell(&name, &vantage);
            if !left {
                self.retire_check(matrix, &name, &why, now);
            }
        }
    }

    /// A check is judged no more.
    fn retire_check(&mut self, matrix: &mut Matrix, name: &str, why: &str, now: UnixSeconds) {
        for vantage in matrix.checks.remove(name).into_iter().flat_map(BTreeMap::into_keys) {
            self.journal.retire(format!("{CELL}{}", cell_name(name, &vantage)));
            self.metrics.forget_cell(name, &vantage);
        }
        for word in Word::ALL {
            self.metrics.vantages.remove(&ByWord { check: name.to_owned(), state: word.label() });
        }
        self.metrics.known.remove(&ByCheck { check: name.to_owned() });
        let standing: Vec<Of> = matrix.standing.keys().filter(|of| of.check == name).cloned().collect();
        standing.into_iter().for_each(|of| self.end(matrix, &of, why, now));
        self.metrics.firing.remove(&ByCell { check: name.to_owned(), vantage: self.config.fleet.name.clone() });
    }

    /// Ends what belongs to checks that are no more: nobody's rounds would.
    pub(super) fn retire(&mut self, next: &CheckFile) {
        let matrix = Arc::clone(&self.matrix);
        let mut matrix = locked(&matrix);
        let now = self.now();
        let gone: Vec<String> = matrix.checks.keys().filter(|name| next.check_of(name).is_none()).cloned().collect();
        for name in gone {
            self.retire_check(&mut matrix, &name, UNWRITTEN, now);
        }
        // And what is on without a round since the start, or under another name of the fleet.
        let of_none = |of: &&Of| {
            !OURS.contains(&of.check.as_str()) && (next.check_of(&of.check).is_none() || of.vantage != next.fleet.name)
        };
        let standing: Vec<Of> = matrix.standing.keys().filter(of_none).cloned().collect();
        for of in standing {
            let why = if next.check_of(&of.check).is_none() { UNWRITTEN } else { RENAMED };
            self.end(&mut matrix, &of, why, now);
        }
    }

    /// Agents that have been silent for long are no part of the fleet any more.
    fn forget(&mut self, matrix: &mut Matrix, now: UnixSeconds) {
        let long = self.config.fleet.forget_after.0;
        let gone: Vec<String> =
            matrix.vantages.iter().filter(|(_, vantage)| now.since(vantage.heard) > long).map(|(name, _)| name.clone()).collect();
        for vantage in gone {
            let prober = matrix.vantages.get(&vantage).and_then(|of| of.prober.active.clone());
            for check in matrix.forget(&vantage) {
                self.journal.retire(format!("{CELL}{}", cell_name(&check, &vantage)));
                self.metrics.forget_cell(&check, &vantage);
                if matrix.checks.get(&check).is_some_and(BTreeMap::is_empty) {
                    self.retire_check(matrix, &check, FORGOTTEN, now); // nobody is left who could say that it is over
                }
            }
            for check in [AGENT, ACCESS] {
                self.metrics.firing.remove(&ByCell { check: check.into(), vantage: vantage.clone() });
            }
            self.metrics.forget_agent(&vantage);
            self.journal.retire(format!("{OF_PROBER}{vantage}"));
            let standing: Vec<Of> = matrix.standing.keys().filter(|of| of.vantage == vantage).cloned().collect();
            standing.into_iter().for_each(|of| self.end(matrix, &of, FORGOTTEN, now));
            if let Some(active) = prober {
                self.over(&Of { check: PROBER.into(), vantage }, &active, &[], FORGOTTEN, now);
            }
        }
    }

    fn show(&self, matrix: &Matrix, name: &str, plan: &Plan, said: &Said) {
        let known = said.bad.len() + said.good >= plan.from.k as usize;
        self.metrics.known.get_or_create(&ByCheck { check: name.to_owned() }).set(i64::from(known));
        let mut counts: BTreeMap<Word, i64> = Word::ALL.into_iter().map(|word| (word, 0)).collect();
        for (vantage, cell) in matrix.checks.get(name).into_iter().flatten() {
            let word = matrix.word(vantage, cell, plan);
            *counts.entry(word).or_default() += 1;
            let label = ByCell { check: name.to_owned(), vantage: vantage.clone() };
            match word {
                Word::Good | Word::Bad => {
                    self.metrics.bad.get_or_create(&label).set(i64::from(word == Word::Bad));
                }
                Word::Gated | Word::Unheard | Word::New => {
                    self.metrics.bad.remove(&label);
                }
            }
        }
        for (word, count) in counts {
            self.metrics.vantages.get_or_create(&ByWord { check: name.to_owned(), state: word.label() }).set(count);
        }
    }
}

/// When it was that fewer saw an alert than before, if nobody has come to it since.
fn shrank(before: &Standing, seen_from: &[String], now: UnixSeconds) -> Option<UnixSeconds> {
    if seen_from.iter().any(|vantage| !before.seen_from.contains(vantage)) {
        return None;
    }
    if seen_from.len() < before.seen_from.len() { Some(now) } else { before.shrank }
}

/// Whether any cell of a vantage is known.
fn is_known(matrix: &Matrix, vantage: &str, rows: &BTreeMap<&str, Row<'_>>) -> bool {
    use super::compare::Is;
    let says = |row: &Row<'_>| row.iter().any(|(name, is)| *name == vantage && !matches!(is, Is::Unknown { .. }));
    !matrix.standing.contains_key(&Of { check: ACCESS.into(), vantage: vantage.to_owned() }) || rows.values().any(says)
}

fn of_check(matrix: &Matrix, name: &str, k: usize, said: Said) -> Finding {
    let Said { bad, were_bad, blame, good, .. } = said;
    match blame {
        Some(blame) if bad.len() >= k => {
            let actives = || bad.iter().filter_map(|vantage| matrix.checks.get(name)?.get(vantage)?.state.active.as_ref());
            let since = actives().map(|active| active.since).min().unwrap_or_default();
            let (rounds, of_them) = actives().fold((0, 0), |(all, bad), active| (all + active.rounds, bad + active.bad));
            let told = actives().filter(|active| active.told).count();
            let (tells, wholly) = (told >= k, told == bad.len());
            Finding::Bad { blame, seen_from: bad, since, rounds, bad: of_them, tells, wholly }
        }
        // Who saw it and is silent now may see it still.
        _ if bad.len() + were_bad >= k => Finding::Unknown,
        _ if bad.len() + good < k => Finding::Unknown,
        _ => Finding::Good,
    }
}

fn of_access(matrix: &Matrix, vantage: &str, blame: Blame, now: UnixSeconds) -> Finding {
    let actives = || matrix.checks.values().filter_map(|cells| cells.get(vantage)?.state.active.as_ref());
    let since = actives().map(|active| active.since).min().unwrap_or(now);
    let (rounds, bad) = actives().fold((0, 0), |(all, bad), active| (all + active.rounds, bad + active.bad));
    let (tells, wholly) = (actives().any(|active| active.told), actives().all(|active| active.told));
    Finding::Bad { blame, seen_from: Vec::new(), since, rounds, bad, tells, wholly }
}

/// Nothing was heard of somebody since then.
fn silence(blame: Blame, since: UnixSeconds) -> Finding {
    Finding::Bad { blame, seen_from: Vec::new(), since, rounds: 1, bad: 1, tells: true, wholly: true }
}

/// Nothing is heard of somebody.
fn unheard(sentence: String) -> Blame {
    let (family, phase, words) = (Family::Prober, "silent".into(), "not heard of".into());
    Blame { culprit: Culprit::Prober, family, phase, words, ms: 0.0, sentence, pattern: None }
}
