//! Judged trials → the table: by case, by class, and the rates that count.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use analysis::clock::Span;
use sim::cases::{Grade, NAMES};

use crate::judge::Judged;

/// What of the fault matrix is not played, or only in part.
pub const NOT_PLAYED: &str = "\
Played in part: 51 (a run's verdict is no handshake's: here its lone handshake; runs are held by `scenarios/` and the tests of \
`analysis/src/judging/run.rs`), 53 (the proxy's own connection onwards is not there), 60 (the SYN proxy passes timestamps on), 69 (both \
clocks are right to half a millisecond), 70 (Ethernet frames; cooked headers and tags are tested in `explain/tests/link_types.rs`), 73 \
(BBR's pacing, not its probing), 81 (no DNS64), 83 (jitter, single packets up to 3 ms late, a pause up to 4 ms; no rare losses).";

/// A share with its 95 % Wilson interval (Wilson 1927).
fn rate(k: usize, n: usize) -> String {
    if n == 0 {
        return "–".into();
    }
    let (k, n, z) = (k as f64, n as f64, 1.96_f64);
    let p = k / n;
    let centre = (p + z * z / (2.0 * n)) / (1.0 + z * z / n);
    let half = z / (1.0 + z * z / n) * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    let bound = |x: f64| 100.0 * x.clamp(0.0, 1.0);
    format!("{:.2} % ({:.2}–{:.2}, n = {n})", 100.0 * p, bound(centre - half), bound(centre + half))
}

/// The class of what was said.
fn said(judged: &Judged) -> String {
    let label = judged.label();
    match label.split_once(" + ") {
        Some(_) => "mixed".into(),
        None => label.split('/').next().unwrap_or_default().to_owned(),
    }
}

/// Renders everything as Markdown.
pub fn render(trials: &[Judged]) -> String {
    let mut out = format!("{NOT_PLAYED}\n\n");
    for (grade, name) in
        [(Grade::BothAndHost, "Both ends and host"), (Grade::Client, "Client only"), (Grade::Server, "Server only")]
    {
        let of: Vec<&Judged> = trials.iter().filter(|t| t.setup.grade == grade).collect();
        if of.is_empty() {
            continue;
        }
        let _ = writeln!(out, "## {name}: {} trials\n", of.len());
        rates(&mut out, grade, &of);
        by_case(&mut out, &of);
        confusion(&mut out, &of);
    }
    out
}

fn rates(out: &mut String, grade: Grade, of: &[&Judged]) {
    let wrong = |t: &&&Judged| !t.right() && !t.open();
    let count = |keep: &dyn Fn(&&&Judged) -> bool| of.iter().filter(keep).count();
    let mut line = |what: &str, k: usize, n: usize| {
        let _ = writeln!(out, "- {what}: {}", rate(k, n));
    };
    let knowable = |t: &&&Judged| !matches!(t.expected.class, "unknowable" | "either");
    match grade {
        Grade::BothAndHost => {
            let single = |t: &&&Judged| knowable(t) && !matches!(t.expected.class, "mixed" | "healthy");
            line("single fault, right", count(&|t| single(t) && t.right()), count(&single));
            line("confident and wrong", count(&|t| wrong(t)), of.len());
        }
        Grade::Client | Grade::Server => {
            for (name, full) in [("with the far end's timestamps and IP identification", true), ("without one of them", false)] {
                let group = |t: &&&Judged| (t.offered == (true, true)) == full;
                let confident = |t: &&&Judged| group(t) && !t.open();
                line(&format!("{name}: precision"), count(&|t| confident(t) && t.right()), count(&confident));
                let asked = |t: &&&Judged| group(t) && knowable(t);
                line(&format!("{name}: coverage of what can be known"), count(&|t| asked(t) && !t.open()), count(&asked));
                let unknowable = |t: &&&Judged| group(t) && t.expected.class == "unknowable";
                let said_so = |t: &&&Judged| unknowable(t) && t.open();
                line(&format!("{name}: inconclusive on what cannot be known"), count(&said_so), count(&unknowable));
            }
        }
    }
    let mixed = |t: &&&Judged| t.expected.class == "mixed";
    line("mixed, both named", count(&|t| mixed(t) && t.right()), count(&mixed));
    let healthy = |t: &&&Judged| t.expected.class == "healthy";
    line("healthy blamed", count(&|t| healthy(t) && wrong(t)), count(&healthy));
    let attributed: Vec<(Span, Span, Span)> = of.iter().filter_map(|t| t.attributed()).collect();
    let mut errors: Vec<Span> = attributed.iter().map(|(given, truth, _)| (*given - *truth).max(*truth - *given)).collect();
    errors.sort_unstable();
    if let Some(last) = errors.len().checked_sub(1) {
        let at = |q: f64| errors[((errors.len() as f64 * q) as usize).min(last)].millis();
        let _ = writeln!(out, "- attribution error: median {:.2} ms, p95 {:.2} ms (n = {})", at(0.5), at(0.95), errors.len());
        let inside = attributed.iter().filter(|(given, truth, error)| (*given - *truth).max(*truth - *given) <= *error).count();
        let _ = writeln!(out, "- the stated error contains the truth: {}", rate(inside, attributed.len()));
    }
    out.push('\n');
}

fn by_case(out: &mut String, of: &[&Judged]) {
    let _ = writeln!(out, "| # | case | n | right | inconclusive | wrong | said instead |\n|---|---|---|---|---|---|---|");
    for (number, name) in (1..).zip(NAMES) {
        let trials: Vec<&&Judged> = of.iter().filter(|t| t.setup.case == number).collect();
        if trials.is_empty() {
            continue;
        }
        let right = trials.iter().filter(|t| t.right()).count();
        let open = trials.iter().filter(|t| !t.right() && t.open()).count();
        let mut instead: BTreeMap<String, usize> = BTreeMap::new();
        for t in trials.iter().filter(|t| !t.right() && !t.open()) {
            *instead.entry(t.label()).or_default() += 1;
        }
        let instead: Vec<String> = instead.into_iter().map(|(label, n)| format!("{label} ×{n}")).collect();
        let wrong = trials.len() - right - open;
        let _ = writeln!(out, "| {number} | {name} | {} | {right} | {open} | {wrong} | {} |", trials.len(), instead.join(", "));
    }
    out.push('\n');
}

fn confusion(out: &mut String, of: &[&Judged]) {
    let rows: BTreeSet<&str> = of.iter().map(|t| t.expected.class).collect();
    let columns: BTreeSet<String> = of.iter().map(|t| said(t)).collect();
    let head: Vec<&str> = columns.iter().map(String::as_str).collect();
    let _ = writeln!(out, "| injected \\ said | {} | recall |", head.join(" | "));
    let _ = writeln!(out, "|---|{}", "---|".repeat(head.len() + 1));
    for row in rows {
        let trials: Vec<&&Judged> = of.iter().filter(|t| t.expected.class == row).collect();
        let cells: Vec<String> = columns.iter().map(|c| trials.iter().filter(|t| said(t) == *c).count().to_string()).collect();
        let right = trials.iter().filter(|t| t.right()).count();
        let recall = 100.0 * right as f64 / trials.len() as f64;
        let _ = writeln!(out, "| {row} | {} | {recall:.1} % |", cells.join(" | "));
    }
    let precision: Vec<String> = columns
        .iter()
        .map(|c| {
            let said_so: Vec<&&Judged> = of.iter().filter(|t| said(t) == *c).collect();
            let right = said_so.iter().filter(|t| t.right()).count();
            format!("{:.1} %", 100.0 * right as f64 / said_so.len() as f64)
        })
        .collect();
    let _ = writeln!(out, "| precision | {} | |\n", precision.join(" | "));
}
