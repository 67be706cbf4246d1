//! The run in a terminal: matrix, one sentence per cell, footing, verdict.

use std::fmt::Write;

use analysis::clock::Span;
use analysis::doubt::one_way::OneWay;
use analysis::judging::run::{CellVerdict, Role, RunVerdict, Scope};
use analysis::judging::verdict::Verdict;
use analysis::judging::vocabulary::in_words;
use anstyle::{AnsiColor, Style};
use records::handshake::HandshakeRecord;
use records::run::{Best, ClientsFailed, Footing, RunRecord, Starts};
use settings::words::{plural, visible, visible_lines};

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

/// Renders a run; styles are ANSI, for the caller to strip where nobody sees colours.
pub fn render(run: &RunRecord, handshakes: &[HandshakeRecord]) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "\n{BOLD}{}{BOLD:#}  {}", visible(&run.scenario), visible_lines(&run.description));
    if let Some(void) = &run.footing.void {
        let bad = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
        let _ = writeln!(out, "\n{bad}VOID{bad:#}: {void}");
    }
    let verdict = run.verdict();
    matrix(&mut out, verdict);
    for (cell, sentence) in verdict.cells.iter().zip(&run.sentences) {
        let _ = writeln!(out, "  {BOLD}{} → {}{BOLD:#}: {}", cell.vantage, cell.target, words(&cell.verdict));
        let _ = writeln!(out, "    {sentence}{}", control(cell, verdict));
        for ClientsFailed { n, why, .. } in failed(run, cell) {
            let _ = writeln!(out, "    {} failed: {}", plural(*n, "client"), visible(why));
        }
    }
    let (whose, grades) = (ends(&run.best), grades(handshakes));
    let _ = writeln!(out, "\n  {BOLD}{whose}{BOLD:#} (grade: {grades}): {}{}", words(&verdict.verdict), scope(&verdict.scope));
    if let Some(edge) = &run.edge_only {
        let _ = writeln!(out, "  {BOLD}From the edge alone{BOLD:#}: {}", words(&edge.verdict));
    }
    if let Some(sentence) = edge_sentence(run) {
        let _ = writeln!(out, "    {sentence}");
    }
    if let Some(untold) = untold(run) {
        let _ = writeln!(out, "  {untold}");
    }
    one_way(&mut out, run, handshakes);
    footing(&mut out, run);
    for e in &run.expectations {
        let style = Style::new().fg_color(Some(if e.held { AnsiColor::Green } else { AnsiColor::Red }.into()));
        let held = if e.held { "held" } else { "FAILED" };
        let _ = writeln!(out, "  {style}{held}{style:#}: {} expected {}, seen {}", e.evidence, e.expected.join(" or "), e.seen);
    }
    out
}

/// Why clients of a cell failed.
pub(crate) fn failed<'a>(run: &'a RunRecord, cell: &'a CellVerdict) -> impl Iterator<Item = &'a ClientsFailed> {
    run.failed.iter().filter(|failed| failed.vantage == cell.vantage && failed.target == cell.target)
}

/// Whose ends a verdict stands on.
pub(crate) fn ends(best: &Best) -> &'static str {
    match best {
        Best::BothEnds(_) => "From both ends",
        Best::ClientOnly(_) => "From the client's end alone",
    }
}

/// The grades of a run's evidence, each once, the commonest first.
pub(crate) fn grades(handshakes: &[HandshakeRecord]) -> String {
    let mut counted: Vec<(String, usize)> = Vec::new();
    for grade in handshakes.iter().filter_map(HandshakeRecord::judged).map(|judged| judged.reading.grade.to_string()) {
        match counted.iter_mut().find(|(known, _)| *known == grade) {
            Some((_, n)) => *n += 1,
            None => counted.push((grade, 1)),
        }
    }
    counted.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    let names: Vec<String> = counted.into_iter().map(|(grade, _)| grade).collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

/// What a run without a control cannot tell apart.
pub(crate) fn untold(run: &RunRecord) -> Option<&'static str> {
    let verdict = run.verdict();
    let compared = verdict.cells.iter().any(|cell| cell.role == Role::Control && !cell.is_accused_too);
    (!compared && matches!(run.best, Best::ClientOnly(_))).then_some(
        "Without a control, what is slow here whatever the target cannot be told from what is slow there from wherever: add --control URL.",
    )
}

fn matrix(out: &mut String, run: &RunVerdict) {
    let vantages = vantages(run);
    let mut targets: Vec<(&str, Role)> = run.cells.iter().map(|c| (c.target.as_str(), c.role)).collect();
    targets.sort_unstable();
    targets.dedup();
    targets.sort_by_key(|(_, role)| *role);
    let head = |(name, role): &(&str, Role)| format!("{name}{}", role_note(name, *role));
    let cell = |v: &str, t: &str| run.cells.iter().find(|c| c.vantage == v && c.target == t);
    let text = |c: &CellVerdict| format!("{} ({} of {} {})", c.verdict.label(), c.slow, c.n, how(&c.verdict));
    let width = |t: &(&str, Role)| {
        let cells = vantages.iter().filter_map(|v| cell(v, t.0)).map(|c| text(c).len());
        cells.chain([head(t).len()]).max().unwrap_or(0)
    };
    let first = vantages.iter().map(|v| v.len()).max().unwrap_or(0);
    let _ = write!(out, "\n  {:first$}", "");
    for t in &targets {
        let _ = write!(out, "  {DIM}{:w$}{DIM:#}", head(t), w = width(t));
    }
    out.push('\n');
    for v in &vantages {
        let _ = write!(out, "  {v:first$}");
        for t in &targets {
            let style = cell(v, t.0).map_or(DIM, |c| colour(&c.verdict));
            let shown = cell(v, t.0).map_or(String::new(), text);
            let _ = write!(out, "  {style}{shown:w$}{style:#}", w = width(t));
        }
        out.push('\n');
    }
    out.push('\n');
}

/// What the handshakes of a cell are that are not healthy.
pub(crate) fn how(verdict: &Verdict) -> &'static str {
    if matches!(verdict, Verdict::Aborted { .. }) { "failed" } else { "slow" }
}

/// The vantages of a run, each once, in the order of the matrix.
pub(crate) fn vantages(run: &RunVerdict) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for cell in &run.cells {
        if !names.contains(&cell.vantage.as_str()) {
            names.push(&cell.vantage);
        }
    }
    names
}

/// Marks a control whose name does not say so.
pub(crate) fn role_note(name: &str, role: Role) -> &'static str {
    if role == Role::Control && !name.contains("control") { " (control)" } else { "" }
}

fn colour(verdict: &Verdict) -> Style {
    let colour = match verdict {
        Verdict::Healthy => AnsiColor::Green,
        Verdict::Inconclusive { .. } => AnsiColor::Yellow,
        _ => AnsiColor::Red,
    };
    Style::new().fg_color(Some(colour.into()))
}

/// "client host, waiting for a CPU (512 ms ± 4 ms)".
pub fn words(verdict: &Verdict) -> String {
    let one = |c: &analysis::judging::verdict::Culprit| format!("{} ({} ± {})", in_words(&c.label()), c.excess, c.error);
    match verdict {
        Verdict::Healthy => "healthy".into(),
        Verdict::Culprit { primary, second: None } => one(primary),
        Verdict::Culprit { primary, second: Some(second) } => format!("mixed: {} and {}", one(primary), one(second)),
        Verdict::Inconclusive { candidates, missing, excess } => {
            let who: Vec<_> = candidates.iter().map(|o| o.words()).collect();
            let what: Vec<_> = missing.iter().map(|m| m.to_string()).collect();
            let tell = if what.is_empty() { String::new() } else { format!("; to tell: {}", what.join("; ")) };
            if who.is_empty() {
                return format!("inconclusive: nothing to judge was seen{tell}");
            }
            // Where it is no question of time, there is none.
            let time = if *excess == Span::ZERO { "it".to_owned() } else { excess.to_string() };
            format!("inconclusive: {time} could be {}{tell}", who.join(" or "))
        }
        Verdict::Aborted { .. } => in_words(&verdict.label()),
    }
}

/// How the same vantage fared against its controls.
fn control(cell: &CellVerdict, run: &RunVerdict) -> String {
    if cell.role == Role::Control {
        return String::new();
    }
    let controls = || run.cells.iter().filter(|c| c.vantage == cell.vantage && c.role == Role::Control);
    let Some(control) = controls().find(|control| !control.is_accused_too) else {
        let same = controls().next().map(|control| format!(" {} is a target's server, too:", control.target));
        return format!("{} No control to compare with.", same.unwrap_or_default());
    };
    let shift = cell.against_control.map_or(String::new(), |s| {
        format!(" (shift {} , {}, n = {} and {})", s.shift, probability(s.p), s.n, s.m).replace(" ,", ",")
    });
    if control.verdict.label() == cell.verdict.label() {
        format!(" The same against {}{shift}.", control.target)
    } else {
        format!(" Against {}: {}{shift}.", control.target, control.verdict.label())
    }
}

/// A probability under the null hypothesis, never as 0.
pub fn probability(p: f64) -> String {
    if p < 0.001 {
        "p < 0.001".into()
    } else if p < 0.1 {
        format!("p = {p:.3}")
    } else {
        format!("p = {p:.2}")
    }
}

/// Where in the matrix, in words.
pub fn scope(scope: &Scope) -> String {
    match scope {
        Scope::Nowhere => String::new(),
        Scope::Vantage { vantage } => format!("; {vantage} is slow whatever the target"),
        Scope::Target { target } => format!("; {target} is slow from wherever it was tried, the rest is not"),
        Scope::Pairs { pairs } => format!("; only {}", pairs.join(", ")),
        Scope::NothingToCompare => "; one vantage, one target: nothing to compare with".into(),
    }
}

fn edge_sentence(run: &RunRecord) -> Option<&String> {
    let cells = run.edge_only.iter().flat_map(|edge| &edge.cells).zip(&run.edge_sentences);
    cells.filter(|(c, _)| c.role == Role::Edge && c.verdict != Verdict::Healthy).map(|(_, s)| s).next()
}

/// Each way of each cell by itself, where two hosts' clocks were compared; in the lab there is one clock, and the paths are stated.
fn one_way(out: &mut String, run: &RunRecord, handshakes: &[HandshakeRecord]) {
    if run.footing.wire_forwarded > 0 {
        return;
    }
    for (vantage, target, OneWay { out: there, back }) in narrowest(handshakes) {
        let ms = |bounds: [Span; 2]| format!("{:.1} to {:.1} ms", bounds[0].millis(), bounds[1].millis());
        let (vantage, target) = (visible(vantage), visible(target));
        let _ = writeln!(out, "  {DIM}{vantage} → {target}: the way out took {}, the way back {}{DIM:#}", ms(there), ms(back));
    }
}

/// Of each cell, the handshake that tells its ways most exactly.
fn narrowest(handshakes: &[HandshakeRecord]) -> Vec<(&str, &str, OneWay)> {
    let width = |ways: OneWay| ways.out[1] - ways.out[0] + (ways.back[1] - ways.back[0]);
    let mut cells: Vec<(&str, &str, OneWay)> = Vec::new();
    for handshake in handshakes {
        let Some(ways) = handshake.one_way else { continue };
        match cells.iter_mut().find(|(vantage, target, _)| *vantage == handshake.vantage && *target == handshake.target) {
            Some((_, _, known)) if width(ways) < width(*known) => *known = ways,
            Some(_) => {}
            None => cells.push((&handshake.vantage, &handshake.target, ways)),
        }
    }
    cells
}

/// "40 starts together: 0.1 ms late (median), 0.9 ms (99th percentile), 1.2 ms (worst)".
pub(crate) fn together(starts: &Starts) -> String {
    let p99 = starts.p99_ms.map_or(String::new(), |ms| format!(", {ms:.1} ms (99th percentile)"));
    // One clock is not compared with itself.
    let error = starts
        .clock_error_ms
        .filter(|ms| *ms > 0.0)
        .map_or(String::new(), |ms| format!("; clocks compared to within {ms:.1} ms"));
    let Starts { n, p50_ms, worst_ms, .. } = starts;
    format!("{n} starts together: {p50_ms:.1} ms late (median){p99}, {worst_ms:.1} ms (worst){error}")
}

fn footing(out: &mut String, run: &RunRecord) {
    let f = &run.footing;
    let _ = writeln!(
        out,
        "  {DIM}footing: {} packets captured, {} lost{}; {} of {} clients timed out; hypervisor took {:.0} ms{DIM:#}",
        f.captured,
        f.capture_lost,
        wire(f),
        f.clients_timed_out,
        f.clients,
        f.stolen_ms
    );
    if let Some(starts) = &f.starts {
        let _ = writeln!(out, "  {DIM}{}{DIM:#}", together(starts));
    }
    for what in &f.gave_up {
        let _ = writeln!(out, "  {DIM}did without: {}{DIM:#}", visible(what));
    }
    for what in &f.missing {
        let style = Style::new().fg_color(Some(AnsiColor::Red.into()));
        let _ = writeln!(out, "  {style}missing{style:#}: {}", visible(what));
    }
}

/// The lab's wire; real networks have none.
fn wire(f: &Footing) -> String {
    if f.wire_forwarded == 0 {
        return String::new();
    }
    format!(
        "; wire: {} forwarded, {} late (worst {:.1} ms){}",
        f.wire_forwarded,
        f.wire_late,
        f.wire_worst_ms,
        if f.wire_real_time { "" } else { ", without real-time priority" }
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_no_question_of_time_has_none() {
        use analysis::clock::Span;
        use analysis::judging::verdict::Verdict;
        use analysis::judging::vocabulary::{Missing, Owner};

        let open = |missing: Option<Missing>, excess| Verdict::Inconclusive {
            candidates: Owner::ClientHost | Owner::Path,
            missing: missing.into_iter().collect(),
            excess,
        };
        assert_eq!(super::words(&open(None, Span::ZERO)), "inconclusive: it could be client host or path");
        let timed = super::words(&open(Some(Missing::EdgeCapture), Span::from_millis(20)));
        assert!(timed.starts_with("inconclusive: 20.0 ms could be client host or path; to tell: "), "{timed}");
    }

    #[test]
    fn no_probability_is_said_to_be_zero() {
        let said = [0.0, 0.0004, 0.004, 0.049, 0.25].map(super::probability);
        assert_eq!(said, ["p < 0.001", "p < 0.001", "p = 0.004", "p = 0.049", "p = 0.25"]);
    }
}
