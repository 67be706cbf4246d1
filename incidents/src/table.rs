//! Outcomes as a table of Markdown, which reads well in a terminal too. Pure.

use std::collections::BTreeMap;

use crate::judge::{Found, Outcome};

/// What came of incidents, each played once or more: a row for each alert that had to come.
pub fn incidents(outcomes: &[Outcome]) -> String {
    let mut text = String::from(
        "| incident | seen from | alert | played | found, named right | rounds until alerted | until named (allowed) | false alarms |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for (name, plays) in by_name(outcomes) {
        let alarms: usize = plays.iter().map(|outcome| outcome.false_alarms.len()).sum();
        let alerts = plays.first().map_or(0, |outcome| outcome.found.len());
        for n in 0..alerts {
            let found: Vec<&Found> = plays.iter().filter_map(|outcome| outcome.found.get(n)).collect();
            let Some(first) = found.first() else { continue };
            let right = found.iter().filter(|f| f.wrong.is_empty()).count();
            text += &format!(
                "| {name} | {} | {}: {} | {} | {right} | {} | {} ({}) | {alarms} |\n",
                first.at,
                first.check,
                first.culprit,
                plays.len(),
                range(found.iter().filter_map(|f| f.alerted)),
                range(found.iter().filter_map(|f| f.took)),
                first.within
            );
        }
    }
    text
}

/// What came of rounds without a fault.
pub fn healthy(outcomes: &[Outcome]) -> String {
    let mut text = String::from("| incident, its fault off | rounds | alerts |\n|---|---|---|\n");
    for (name, plays) in by_name(outcomes) {
        let rounds: u32 = plays.iter().map(|outcome| outcome.rounds).sum();
        let alarms: usize = plays.iter().map(|outcome| outcome.false_alarms.len()).sum();
        text += &format!("| {name} | {rounds} | {alarms} |\n");
    }
    text
}

/// What was wrong, a line each.
pub fn wrong(outcomes: &[Outcome]) -> String {
    let mut text = String::new();
    for outcome in outcomes {
        for found in &outcome.found {
            found.wrong.iter().for_each(|what| text += &format!("{}: {} from {}: {what}\n", outcome.name, found.check, found.at));
        }
        for alarm in &outcome.false_alarms {
            text += &format!(
                "{}: false alarm of {} from {} in round {}: {}\n",
                outcome.name, alarm.about, alarm.at, alarm.round, alarm.said
            );
        }
    }
    text
}

fn by_name(outcomes: &[Outcome]) -> Vec<(&str, Vec<&Outcome>)> {
    let mut order = Vec::new();
    let mut plays: BTreeMap<&str, Vec<&Outcome>> = BTreeMap::new();
    for outcome in outcomes {
        if !plays.contains_key(outcome.name.as_str()) {
            order.push(outcome.name.as_str());
        }
        plays.entry(&outcome.name).or_default().push(outcome);
    }
    order.into_iter().filter_map(|name| Some((name, plays.remove(name)?))).collect()
}

/// From the least to the most.
fn range(rounds: impl Iterator<Item = u32> + Clone) -> String {
    match (rounds.clone().min(), rounds.max()) {
        (Some(least), Some(most)) if least == most => least.to_string(),
        (Some(least), Some(most)) => format!("{least} to {most}"),
        _ => "never".into(),
    }
}
