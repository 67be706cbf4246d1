//! The page of a controller: vantage × target, alerts that are on, agents. And the same as JSON.

use alerting::event::listed;
use analysis::clock::Span;
use maud::{Markup, html};
use serde_json::{Value, json};

use super::controller::cell_name;
use super::matrix::{Cell, Matrix, Of, Standing, Vantage, Word};
use crate::page::{Trend, class_of, escape_path, frame, legend, ms, refused, sparkline, tick};
use crate::status::Snapshot;

/// Vantages of the matrix: with more, those that find something bad or are not heard of are shown first.
const MOST_ROWS: usize = 200;
/// Checks of the matrix.
const MOST_COLUMNS: usize = 50;
/// A clock that is off by more is said to be.
const NOTEWORTHY: Span = Span::from_millis(2_000);

/// What is wrong now, from everywhere.
pub(crate) fn now(snapshot: &Snapshot, matrix: &Matrix) -> String {
    let columns: Vec<&String> = matrix.checks.keys().take(MOST_COLUMNS).collect();
    let mut rows: Vec<(&String, &Vantage)> = matrix.vantages.iter().collect();
    if rows.len() > MOST_ROWS {
        rows.sort_by_key(|(name, vantage)| {
            let bad = columns.iter().any(|check| word(matrix, check, name) == Some(Word::Bad));
            (!bad, matrix.is_heard(vantage))
        });
        rows.truncate(MOST_ROWS);
    }
    let sick = matrix.vantages.values().filter(|vantage| vantage.prober.active.is_some()).count();
    let on = matrix.standing.len() + sick;
    let body = html! {
        h1 { (matrix.vantages.len()) " vantages, " (matrix.checks.len()) " checks: "
            @if on == 0 { "nothing is wrong" } @else { (on) " alerts are on" } }
        @for (of, standing) in &matrix.standing { (alert(of, standing)) }
        (refused(&snapshot.alerts.refused))
        h2 { "Vantage × target" }
        @if matrix.checks.is_empty() { p { "No round has been reported yet." } }
        div style="overflow-x:auto" { table {
            tr { th { "vantage" } @for check in &columns { th { a href=(format!("/check/{}", escape_path(check))) { (check) } } } }
            @for (name, vantage) in &rows { (row(matrix, &columns, name, vantage)) }
        } }
        @if matrix.vantages.len() > rows.len() { p.soft { (rows.len()) " of " (matrix.vantages.len()) " vantages are shown, those in trouble first." } }
        (legend())
    };
    frame("now", snapshot, true, &body)
}

fn alert(of: &Of, Standing { active, seen_from, .. }: &Standing) -> Markup {
    html! {
        p.said { span.dot.(class_of(active.blame.culprit)) {} b { (of.check) " · " (active.blame.trouble()) } " since " (active.since)
            @if !seen_from.is_empty() { ", seen from " (listed(seen_from)) } @else { ", " (of.vantage) }
            ". " (active.blame.sentence) }
    }
}

fn row(matrix: &Matrix, columns: &[&String], name: &str, vantage: &Vantage) -> Markup {
    html! {
        tr {
            td { b { (name) } " " span.soft { (how(matrix, vantage)) } }
            @for check in columns { td { @if let Some(cell) = matrix.checks[*check].get(name) { (entry(matrix, check, name, cell)) } } }
        }
    }
}

/// How an agent fares, in a few words.
fn how(matrix: &Matrix, vantage: &Vantage) -> String {
    let Vantage { heard, wellbeing, ahead, prober } = vantage;
    let mut said = Vec::new();
    if !matrix.is_heard(vantage) {
        said.push(format!("not heard of since {heard}"));
    }
    if prober.active.is_some() {
        said.push("too sick to judge".into());
    }
    if wellbeing.waiting > 1 {
        said.push(format!("{} reports wait", wellbeing.waiting));
    }
    if ahead.abs() > NOTEWORTHY {
        let seconds = ahead.abs().nanos() / 1_000_000_000;
        said.push(format!("its clock is {seconds} s {}", if *ahead > Span::ZERO { "ahead" } else { "behind" }));
    }
    said.join(", ")
}

fn word(matrix: &Matrix, check: &str, vantage: &str) -> Option<Word> {
    Some(matrix.word(vantage, matrix.checks.get(check)?.get(vantage)?, matrix.plan(check)?))
}

fn entry(matrix: &Matrix, check: &str, vantage: &str, cell: &Cell) -> Markup {
    let word = word(matrix, check, vantage).unwrap_or(Word::New);
    let (class, words) = match (word, &cell.state.active) {
        (Word::Good, _) => ("o-good", "as usual"),
        (Word::Bad, Some(active)) => (class_of(active.blame.culprit), active.blame.trouble()),
        (Word::Bad, None) => ("o-open", "bad"),
        (Word::Gated, _) => ("o-client", "its prober is too sick to judge"),
        (Word::Unheard, _) => ("o-none", "not heard of"),
        (Word::New, _) => ("o-none", "nothing judged yet"),
    };
    let title =
        cell.state.active.as_ref().map_or_else(|| words.to_owned(), |active| format!("{words}: {}", active.blame.sentence));
    html! {
        a href=(format!("/check/{}", escape_path(&cell_name(check, vantage)))) title=(title) {
            span.dot.(class) {} @if let Some(round) = cell.recent.front() { (ms(round.total_ms)) } @else { (word.label()) }
        }
    }
}

/// A check from everywhere; absent: `name` is no check, perhaps a cell.
pub(crate) fn check(snapshot: &Snapshot, matrix: &Matrix, name: &str, trends: &[(&str, Trend)]) -> Option<String> {
    let cells = matrix.checks.get(name)?;
    let plan = matrix.plan(name)?;
    let body = html! {
        h1 { (name) }
        p.soft { (plan.check.target) }
        @for (of, standing) in matrix.standing.iter().filter(|(of, _)| of.check == name) { (alert(of, standing)) }
        (legend())
        div.matrix { @for (vantage, cell) in cells.iter().take(MOST_ROWS) {
            div.card {
                (entry(matrix, name, vantage, cell)) " " b { (vantage) }
                @if let Some(active) = &cell.state.active { p.said { (active.blame.sentence) } }
                div.history { @for round in cell.recent.iter().rev() { (tick(round)) } }
            }
        } }
        h2 { "Two weeks, by hour, from everywhere" }
        div.trends { @for (what, trend) in trends { @if !trend.is_empty() { figure { figcaption { (what) } (sparkline(trend)) } } } }
    };
    Some(frame(name, snapshot, false, &body))
}

/// Whether `name` is a check or a cell.
pub(crate) fn is_known(matrix: &Matrix, name: &str) -> bool {
    let cell = || name.rsplit_once('@').and_then(|(check, vantage)| matrix.checks.get(check)?.get(vantage));
    matrix.checks.contains_key(name) || cell().is_some()
}

/// All of it.
pub(crate) fn json(snapshot: &Snapshot, matrix: &Matrix) -> Value {
    let alerts = matrix.standing.iter().map(|(of, Standing { active, seen_from, .. })| {
        json!({ "check": of.check, "vantage": of.vantage, "seen_from": seen_from, "alert": active })
    });
    let checks = matrix.checks.iter().map(|(name, cells)| {
        let vantages = cells.iter().map(|(vantage, cell)| {
            let state = word(matrix, name, vantage).map(Word::label);
            let last = cell.recent.front().map(|round| round.total_ms);
            json!({ "vantage": vantage, "state": state, "alert": cell.state.active, "last_ms": last })
        });
        json!({ "name": name, "target": matrix.plan(name).map(|plan| &plan.check.target), "vantages": vantages.collect::<Vec<_>>() })
    });
    let agents = matrix.vantages.iter().map(|(name, vantage)| {
        let heard = matrix.is_heard(vantage);
        json!({
            "name": name, "heard": vantage.heard, "is_heard": heard, "sick": vantage.prober.active.is_some(),
            "ahead_ms": vantage.ahead.nanos() / 1_000_000, "wellbeing": vantage.wellbeing,
        })
    });
    json!({
        "trouble": snapshot.alerts.trouble,
        "alerts": alerts.collect::<Vec<_>>(),
        "checks": checks.collect::<Vec<_>>(),
        "agents": agents.collect::<Vec<_>>(),
    })
}
