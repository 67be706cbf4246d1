//! The table of outcomes, by class, with intervals.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::outcome::Outcome;
use super::{MODES, Row};

/// Classes by the first letter of a case's name.
const CLASSES: [(char, &str); 8] = [
    ('h', "healthy"),
    ('c', "client app"),
    ('k', "client host"),
    ('p', "path"),
    ('s', "edge"),
    ('e', "ends badly"),
    ('m', "mixed"),
    ('x', "capture troubles"),
];

/// Writes it; with `list` every handshake that is not right as well.
///
/// # Errors
/// If nobody reads any more.
pub(crate) fn write(out: &mut impl Write, rows: &[Row], list: bool) -> io::Result<()> {
    let cases: std::collections::BTreeSet<&str> = rows.iter().map(|r| r.case.as_str()).collect();
    writeln!(out, "{} cases, {} handshakes graded in each mode", cases.len(), rows.len() / MODES.len())?;
    for mode in MODES {
        let of: Vec<&Row> = rows.iter().filter(|r| r.mode == mode).collect();
        writeln!(out, "\n{mode:30}      n  right   half   open missed  wrong   right % (95 % interval)   wrong %")?;
        line(out, "affected", &pick(&of, |r| r.affected))?;
        line(out, "not affected", &pick(&of, |r| !r.affected))?;
        line(out, "all", &of)?;
        for (letter, name) in CLASSES {
            for (what, hit) in [("affected", true), ("others", false)] {
                let part = pick(&of, |r| r.case.starts_with(letter) && r.affected == hit);
                if !part.is_empty() {
                    line(out, &format!("  {name}, {what}"), &part)?;
                }
            }
        }
        let pairs = pick(&of, |r| must_be_pair(&r.expected));
        if !pairs.is_empty() {
            line(out, "  two must be named", &pairs)?;
        }
    }
    let mut off: Vec<f64> = rows.iter().filter_map(|r| r.time).map(|(injected, found)| (injected - found).abs()).collect();
    off.sort_by(f64::total_cmp);
    if let (Some(median), Some(late), Some(most)) = (at(&off, 0.5), at(&off, 0.95), off.last()) {
        writeln!(
            out,
            "\ntime found against time injected, n {}: median {median:.2} ms, p95 {late:.2} ms, most {most:.2} ms",
            off.len()
        )?;
    }
    if list {
        writeln!(out)?;
        for r in rows.iter().filter(|r| r.outcome != Outcome::Right) {
            writeln!(
                out,
                "{:6} {:6} {:48} {:2} :{:<5} {:8} said {:26} expected {}",
                r.mode,
                r.outcome.word(),
                r.case,
                r.handshake,
                r.port,
                if r.affected { "affected" } else { "-" },
                r.label,
                r.expected.iter().take(4).cloned().collect::<Vec<_>>().join(",")
            )?;
        }
    }
    Ok(())
}

fn pick<'a>(rows: &[&'a Row], test: impl Fn(&Row) -> bool) -> Vec<&'a Row> {
    rows.iter().copied().filter(|r| test(r)).collect()
}

fn must_be_pair(expected: &[String]) -> bool {
    expected.iter().any(|w| w.contains('+')) && expected.iter().all(|w| w.contains('+') || w == "mixed")
}

fn at(sorted: &[f64], quantile: f64) -> Option<f64> {
    sorted.get(((sorted.len() as f64 * quantile) as usize).min(sorted.len().saturating_sub(1))).copied()
}

fn line(out: &mut impl Write, name: &str, rows: &[&Row]) -> io::Result<()> {
    let count = |o: Outcome| rows.iter().filter(|r| r.outcome == o).count();
    let counts: String = Outcome::ALL.iter().map(|o| format!("{:7}", count(*o))).collect();
    let n = rows.len();
    let share = |k: usize| if n == 0 { 0.0 } else { 100.0 * k as f64 / n as f64 };
    let (low, high) = wilson(count(Outcome::Right), n);
    writeln!(
        out,
        "  {name:28} {n:6}{counts}   {:6.2} ({:6.2} to {:6.2})     {:6.2}",
        share(count(Outcome::Right)),
        low * 100.0,
        high * 100.0,
        share(count(Outcome::Wrong))
    )
}

/// Wilson's interval for `k` of `n` at 95 %.
fn wilson(k: usize, n: usize) -> (f64, f64) {
    if n == 0 {
        return (0.0, 1.0);
    }
    let (n, z) = (n as f64, 1.96_f64);
    let p = k as f64 / n;
    let scale = 1.0 + z * z / n;
    let middle = (p + z * z / (2.0 * n)) / scale;
    let half = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt() / scale;
    ((middle - half).max(0.0), (middle + half).min(1.0))
}

/// A row for machines.
pub(crate) fn json(r: &Row) -> Value {
    json!({
        "case": r.case, "handshake": r.handshake, "port": r.port, "mode": r.mode, "affected": r.affected,
        "outcome": r.outcome.word(), "said": r.label, "expected": r.expected, "time_ms": r.time.map(|(a, b)| [a, b]),
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn wilson_of_all_right_is_below_one() {
        let (low, high) = super::wilson(600, 600);
        assert!((0.993..0.995).contains(&low) && high > 0.999_999, "{low} {high}");
    }
}
