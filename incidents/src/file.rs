//! Incident files: a scenario, the checks that every vantage runs, the turns of faults, and what must be found.
//!
//! Unknown fields, misspelt names and impossible values are errors that name file, line and what was meant.

use std::borrow::Cow;
use std::collections::BTreeSet;

use alerting::event::PROBER;
use alerting::{Culprit, Family, PatternKind};
use repro::Scenario;
use repro::live_lab::can_turn;
use serde::Deserialize;
use settings::{Time, Wrong};
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};
use watch::checks::CheckFile;

use crate::Error;

/// Rounds of an incident, at most.
const MOST_ROUNDS: u32 = 10_000;
/// Tables that are a check file's.
const OF_CHECKS: [&str; 3] = ["check", "defaults", "gate"];
/// Keys that are an incident's own.
const OWN: [&str; 5] = ["title", "rounds", "pace", "during", "expect"];

/// An incident.
#[derive(Clone, Debug)]
pub struct Incident {
    /// Hosts, paths, faults.
    pub scenario: Scenario,
    /// What every vantage checks.
    pub checks: CheckFile,
    /// When faults are on, and what must be found.
    pub plan: Plan,
    /// As it is written: watchers read it again.
    pub text: String,
}

/// What of an incident is neither its lab nor its checks.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// What it is, in a few words.
    pub title: String,
    /// Rounds in all.
    pub rounds: u32,
    /// Time from one round's end to the next one's begin. Checks take it for their interval.
    #[serde(default = "pace")]
    pub pace: Time,
    /// Turns of faults; one without a turn is on all the time.
    pub during: Vec<Turn>,
    /// Alerts that must come; any other is a false alarm.
    pub expect: Vec<Expect>,
}

/// A fault's turn.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Turn {
    /// Which.
    pub fault: String,
    /// Its first round, from 1.
    pub from: u32,
    /// Its last.
    pub to: u32,
}

impl Turn {
    /// Whether it is on in a round.
    pub fn covers(&self, round: u32) -> bool {
        (self.from..=self.to).contains(&round)
    }
}

/// An alert that must come.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// The fault whose turn it is for.
    pub fault: String,
    /// From where.
    pub at: String,
    /// Of which check; `prober` for the prober's own.
    pub check: String,
    /// Whom it blames.
    pub culprit: Culprit,
    /// Of which family.
    pub family: Family,
    /// In which phase, or for which reason: one of these.
    #[serde(default)]
    pub phase: Vec<String>,
    /// With which pattern.
    pub pattern: Option<PatternKind>,
    /// Words that the evidence must have.
    pub says: Option<String>,
    /// Within how many rounds of the turn's begin.
    pub within: u32,
    /// Within how many rounds of the turn's end it is over.
    pub over_within: u32,
}

fn pace() -> Time {
    Time::millis(100)
}

impl Incident {
    /// Whether a text is an incident, not a scenario alone.
    pub fn is_one(text: &str) -> bool {
        DeTable::parse(text).is_ok_and(|root| root.get_ref().contains_key("during"))
    }

    /// Reads an incident from the text of `file`.
    ///
    /// # Errors
    /// Names file, line and what was meant.
    pub fn parse(file: &str, text: &str) -> Result<Self, Error> {
        let wrong = |what: &dyn std::fmt::Display| Error::File(format!("{file}: {}", what.to_string().trim_end()));
        let mut root = DeTable::parse(text).map_err(|e| wrong(&e))?;
        let of_checks = taken(&mut root, &OF_CHECKS);
        let own = taken(&mut root, &OWN);
        if !root.get_ref().contains_key("client") {
            // Its clients are the watchers' probers.
            let probe = DeValue::String(Cow::Borrowed("probe"));
            let client = DeTable::from_iter([(Spanned::new(0..0, Cow::Borrowed("kind")), Spanned::new(0..0, probe))]);
            root.get_mut().insert(Spanned::new(0..0, Cow::Borrowed("client")), Spanned::new(0..0, DeValue::Table(client)));
        }
        let scenario = Scenario::of_table(file, text, root)?;
        let checks = CheckFile::of_table(text, of_checks).map_err(|e| wrong(&e))?;
        let plan = Plan::deserialize(Deserializer::from(own)).map_err(|mut e| {
            e.set_input(Some(text));
            wrong(&e)
        })?;
        check(&plan, &scenario, &checks).map_err(|e| wrong(&e.said(text)))?;
        let turns = plan.during.iter().map(|turn| turn.fault.clone()).collect();
        can_turn(&scenario, &turns).map_err(|e| wrong(&e))?;
        Ok(Self { scenario, checks, plan, text: text.to_owned() })
    }

    /// Faults that have turns.
    pub fn turning(&self) -> BTreeSet<String> {
        self.plan.during.iter().map(|turn| turn.fault.clone()).collect()
    }
}

/// Takes keys out of a document's table, into one of their own.
fn taken<'a>(root: &mut Spanned<DeTable<'a>>, keys: &[&str]) -> Spanned<DeTable<'a>> {
    let span = root.span();
    let mut taken = DeTable::new();
    for key in keys {
        if let Some((key, value)) = root.get_mut().remove_entry(*key) {
            taken.insert(key, value);
        }
    }
    Spanned::new(span, taken)
}

fn check(plan: &Plan, scenario: &Scenario, checks: &CheckFile) -> Result<(), Wrong> {
    if !scenario.in_lab() {
        return Err(Wrong::at("vantage", "an incident is played in the lab: its vantages have no `kind`"));
    }
    if !(1..=MOST_ROUNDS).contains(&plan.rounds) {
        return Err(Wrong::at("rounds", format!("rounds = {}: from 1 to {MOST_ROUNDS}", plan.rounds)));
    }
    for (n, turn) in plan.during.iter().enumerate() {
        if !(1 <= turn.from && turn.from <= turn.to && turn.to <= plan.rounds) {
            let what = format!("rounds {} to {}: a turn lies within 1 and {}", turn.from, turn.to, plan.rounds);
            return Err(Wrong::at("from", what).within(n).within("during"));
        }
    }
    for (n, expect) in plan.expect.iter().enumerate() {
        let none = |key: &str, what: String| Err(Wrong::at(key, what).within(n).within("expect"));
        if !plan.during.iter().any(|turn| turn.fault == expect.fault) {
            return none("fault", format!("no [[during]] has the fault {:?}", expect.fault));
        }
        if !scenario.vantages.iter().any(|vantage| vantage.name == expect.at) {
            return none("at", format!("there is no vantage {:?}", expect.at));
        }
        if expect.check != PROBER && !checks.checks.iter().any(|check| check.name == expect.check) {
            return none("check", format!("there is no [[check]] {:?}; `{PROBER}` is the prober's own", expect.check));
        }
    }
    Ok(())
}
