//! Was it caught? Pure.
//!
//! In: a plan and its course. Out: for each alert that had to come, when it came and went, and what was wrong with it; and all alerts that
//! nobody had asked for.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use watch::words::of_phase;

use crate::course::{Alert, Course};
use crate::file::{Expect, Plan, Turn};

/// What came of an incident.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// Its name.
    pub name: String,
    /// What it is.
    pub title: String,
    /// Rounds that were played.
    pub rounds: u32,
    /// When which fault was on: its name, first and last round.
    pub turns: Vec<(String, u32, u32)>,
    /// Of each alert that had to come.
    pub found: Vec<Found>,
    /// Alerts that nobody had asked for.
    pub false_alarms: Vec<FalseAlarm>,
}

/// What came of an alert that had to come.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Found {
    /// The fault.
    pub fault: String,
    /// From where.
    pub at: String,
    /// Of what.
    pub check: String,
    /// Whom it had to blame.
    pub culprit: String,
    /// An alert of this culprit and family came in so many rounds of the turn, that one included.
    pub alerted: Option<u32>,
    /// One with all that is expected came in so many.
    pub took: Option<u32>,
    /// So many were allowed.
    pub within: u32,
    /// The first round in which it was over again.
    pub over_in_round: Option<u32>,
    /// The evidence.
    pub sentence: String,
    /// What is wrong: not found, named otherwise, late, not over in time. Empty: all is well.
    pub wrong: Vec<String>,
}

/// An alert that nobody had asked for.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct FalseAlarm {
    /// From where.
    pub at: String,
    /// Of what.
    pub about: String,
    /// In which round first.
    pub round: u32,
    /// What it said.
    pub said: String,
}

impl Outcome {
    /// Whether all that had to come came in time, and nothing else.
    pub fn held(&self) -> bool {
        self.false_alarms.is_empty() && self.found.iter().all(|found| found.wrong.is_empty())
    }
}

/// Judges a course. `healthy`: no fault was on, so nothing had to come.
pub fn judge(name: &str, plan: &Plan, course: &Course, healthy: bool) -> Outcome {
    let turns: &[Turn] = if healthy { &[] } else { &plan.during };
    let expected = || plan.expect.iter().filter(|_| !healthy);
    Outcome {
        name: name.to_owned(),
        title: plan.title.clone(),
        rounds: course.rounds.len() as u32,
        turns: turns.iter().map(|t| (t.fault.clone(), t.from, t.to)).collect(),
        found: expected().flat_map(|e| turns.iter().filter(|t| t.fault == e.fault).map(|t| found(e, t, course))).collect(),
        false_alarms: false_alarms(&expected().collect::<Vec<_>>(), turns, course),
    }
}

/// Alerts at the place where one is expected, by round.
fn alerts<'a>(expect: &'a Expect, course: &'a Course) -> impl Iterator<Item = (u32, Option<&'a Alert>)> {
    course.rounds.iter().zip(1..).map(|(round, number)| {
        let said = round.said.get(&expect.at);
        (number, said.and_then(|said| said.alerts.iter().find(|alert| alert.about == expect.check)))
    })
}

fn fits(expect: &Expect, alert: &Alert) -> bool {
    same_trouble(expect, alert)
        && (expect.phase.is_empty() || expect.phase.contains(&alert.phase))
        && expect.pattern.is_none_or(|pattern| alert.pattern == Some(pattern))
        && expect.says.as_ref().is_none_or(|words| alert.sentence.contains(words))
}

fn same_trouble(expect: &Expect, alert: &Alert) -> bool {
    (expect.culprit, expect.family) == (alert.culprit, alert.family)
}

fn found(expect: &Expect, turn: &Turn, course: &Course) -> Found {
    let during = || alerts(expect, course).filter(|(number, _)| turn.covers(*number));
    let first = during().find_map(|(number, alert)| alert.filter(|a| fits(expect, a)).map(|alert| (number, alert)));
    let rounds_to = |number: u32| number - turn.from + 1;
    let took = first.map(|(number, _)| rounds_to(number));
    let alerted = during().find(|(_, alert)| alert.is_some_and(|a| same_trouble(expect, a))).map(|(number, _)| rounds_to(number));
    let over = alerts(expect, course).find(|(number, alert)| *number > turn.to && alert.is_none()).map(|(number, _)| number);
    let mut wrong = Vec::new();
    let otherwise = during().find_map(|(number, alert)| Some((number, alert.filter(|a| !same_trouble(expect, a))?)));
    if let Some((number, alert)) = otherwise {
        wrong.push(format!("named otherwise in round {number}: {}", words(alert)));
    }
    match took {
        None => {
            let last = during().filter_map(|(_, alert)| alert).last();
            wrong.push(
                last.map_or("not found".into(), |alert| format!("not found as expected; the last alert was {}", words(alert))),
            );
        }
        Some(took) if took > expect.within => wrong.push(format!("found after {took} rounds, not {}", expect.within)),
        Some(_) => {}
    }
    let patience = turn.to + expect.over_within;
    if over.is_none_or(|over| over > patience) && course.rounds.len() as u32 >= patience {
        wrong.push(format!("not over {} rounds after the turn", expect.over_within));
    }
    Found {
        fault: expect.fault.clone(),
        at: expect.at.clone(),
        check: expect.check.clone(),
        culprit: expect.culprit.label().to_owned(),
        alerted,
        took,
        within: expect.within,
        over_in_round: over,
        sentence: first.map(|(_, alert)| alert.sentence.clone()).unwrap_or_default(),
        wrong,
    }
}

fn words(alert: &Alert) -> String {
    let pattern = alert.pattern.map_or(String::new(), |pattern| format!(", {}", pattern.label()));
    format!("{} {} ({}{pattern}): {}", alert.culprit, alert.family.label(), of_phase(&alert.phase), alert.sentence)
}

fn false_alarms(expected: &[&Expect], turns: &[Turn], course: &Course) -> Vec<FalseAlarm> {
    let asked_for = |at: &str, about: &str, number: u32| {
        let here = expected.iter().filter(|e| e.at == at && e.check == about);
        here.flat_map(|e| turns.iter().filter(|t| t.fault == e.fault).map(move |t| t.from..=t.to + e.over_within))
            .any(|rounds| rounds.contains(&number))
    };
    let mut known = BTreeSet::new();
    let mut alarms = Vec::new();
    for (round, number) in course.rounds.iter().zip(1..) {
        for (at, said) in &round.said {
            for alert in said.alerts.iter().filter(|alert| !asked_for(at, &alert.about, number)) {
                if known.insert((at.clone(), alert.about.clone())) {
                    alarms.push(FalseAlarm { at: at.clone(), about: alert.about.clone(), round: number, said: words(alert) });
                }
            }
        }
    }
    alarms
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use alerting::{Culprit, Family};

    use super::*;
    use crate::course::{Round, Said};
    use crate::table;

    fn plan() -> Plan {
        let expect = Expect {
            fault: "f".into(),
            at: "a".into(),
            check: "edge".into(),
            culprit: Culprit::Edge,
            family: Family::Slow,
            phase: Vec::new(),
            pattern: None,
            says: None,
            within: 3,
            over_within: 2,
        };
        Plan {
            title: "t".into(),
            rounds: 12,
            pace: settings::Time::millis(1),
            during: vec![Turn { fault: "f".into(), from: 4, to: 8 }],
            expect: vec![expect],
        }
    }

    /// A letter a round: `.` no alert, `e` one that blames the edge, `p` one that blames the path.
    fn course(letters: &str, at: &str) -> Course {
        let alert = |c| Alert {
            about: "edge".into(),
            culprit: if c == 'e' { Culprit::Edge } else { Culprit::Path },
            family: Family::Slow,
            phase: "server_flight".into(),
            pattern: None,
            sentence: "Slow.".into(),
        };
        let said = |c: char| Said { probed: Vec::new(), alerts: (c != '.').then(|| alert(c)).into_iter().collect() };
        let round = |c| Round { on: Vec::new(), said: BTreeMap::from([(at.to_owned(), said(c))]) };
        Course { rounds: letters.chars().map(round).collect() }
    }

    fn outcome(letters: &str) -> Outcome {
        judge("x", &plan(), &course(letters, "a"), false)
    }

    #[test]
    fn found_in_time_and_over_in_time_is_held() {
        let outcome = outcome(".....eeee...");
        assert!(outcome.held(), "{outcome:?}");
        let found = &outcome.found[0];
        assert_eq!((found.alerted, found.took, found.over_in_round), (Some(3), Some(3), Some(10)));
    }

    #[test]
    fn an_alert_may_come_before_it_says_all_that_is_expected() {
        let mut plan = plan();
        plan.expect[0].says = Some("worse".into());
        let mut course = course(".....eeee...", "a");
        for round in &mut course.rounds[7..9] {
            round.said.get_mut("a").expect("it is there").alerts[0].sentence = "It is worse.".into();
        }
        plan.expect[0].within = 5;
        let outcome = judge("x", &plan, &course, false);
        assert_eq!((outcome.found[0].alerted, outcome.found[0].took, outcome.held()), (Some(3), Some(5), true));
    }

    #[test]
    fn late_missed_named_otherwise_or_never_over_is_not() {
        for (letters, said) in [
            ("......eee...", "found after 4 rounds"),
            ("............", "not found"),
            ("....pppp....", "named otherwise in round 5"),
            ("....peeee...", "named otherwise in round 5"),
            ("....eeeeeeee", "not over 2 rounds after"),
        ] {
            let wrong = outcome(letters).found[0].wrong.join("; ");
            assert!(wrong.contains(said), "{letters}: {wrong}");
        }
    }

    #[test]
    fn what_nobody_asked_for_is_a_false_alarm() {
        assert_eq!(outcome("e...eeeee...").false_alarms.len(), 1, "before the turn");
        assert_eq!(outcome("....eeeee..e").false_alarms.len(), 1, "long after it");
        let elsewhere = judge("x", &plan(), &course("....eeeee...", "b"), false);
        assert_eq!((elsewhere.false_alarms.len(), elsewhere.false_alarms[0].round), (1, 5));
        let healthy = judge("x", &plan(), &course("....ee......", "a"), true);
        assert!(healthy.found.is_empty() && healthy.false_alarms.len() == 1 && !healthy.held());
        assert!(judge("x", &plan(), &course("............", "a"), true).held());
    }

    #[test]
    fn a_table_has_a_row_for_each_alert_and_counts_plays() {
        let plays = [outcome(".....eeee..."), outcome("....eeeee..."), outcome("............")];
        let row = "| x | a | edge: edge | 3 | 2 | 2 to 3 | 2 to 3 (3) | 0 |";
        assert!(table::incidents(&plays).contains(row), "{}", table::incidents(&plays));
        assert!(table::wrong(&plays).starts_with("x: edge from a: not found"), "{}", table::wrong(&plays));
        let healthy = judge("x", &plan(), &course("............", "a"), true);
        assert!(table::healthy(&[healthy]).ends_with("| x | 12 | 0 |\n"));
    }
}
