//! A comparison in a terminal.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use records::compared::{Change, Compared, Found, Outcome, Subject};
use settings::words::visible;

use super::{
    agreed_words, base_machine_words, change_words, cost_words, costs_heading, count_words, digits, failures_words, found_words,
    interval, is_judged, is_shown, method, number, sentence, signed, tail_words, wire_words,
};
use crate::explained_terminal::{BOLD, DIM};

const WORSE: Style = Style::new().bold().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Red)));
const GOOD: Style = Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Green)));
const OPEN: Style = Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Yellow)));

/// Renders it; styles are ANSI, for the caller to strip where nobody sees colours.
pub fn render(compared: &Compared) -> String {
    let mut out = String::new();
    for (word, subject) in [("base", &compared.base), ("candidate", &compared.candidate)] {
        let _ = writeln!(out, "  {DIM}{word:<9}{DIM:#} {}", subject_line(subject));
    }
    if !compared.counts.is_empty() {
        let _ = writeln!(out, "\n  {BOLD}Counts{BOLD:#}");
        for count in compared.counts.iter().filter(|count| is_shown(count)) {
            let style = match count.change {
                _ if !is_judged(count) => Style::new(),
                Change::Worse => WORSE,
                Change::Open | Change::NotInBase => OPEN,
                Change::Same | Change::Different => Style::new(),
            };
            let _ = writeln!(out, "    {style}{}{style:#}", [&count_words(count), change_words(count)].join("  ").trim_end());
        }
        let same = compared.counts.iter().filter(|count| !is_shown(count));
        let same: Vec<String> =
            same.map(|c| format!("{} {}", c.what.words(), number(c, c.candidate, &c.candidate_values))).collect();
        if !same.is_empty() {
            let _ = writeln!(out, "    {DIM}the same: {}{DIM:#}", same.join(", "));
        }
        for line in agreed_words(compared).into_iter().chain(base_machine_words(compared)) {
            let _ = writeln!(out, "    {}", visible(&line));
        }
    }
    if let Some(failures) = compared.failures.as_ref().filter(|failures| failures.any()) {
        let style = if compared.failed.is_some() { WORSE } else { OPEN };
        let _ = writeln!(out, "\n  {BOLD}Failures{BOLD:#}\n    {style}{}{style:#}", failures_words(failures));
        for (word, why) in [("candidate", &failures.candidate_why), ("base", &failures.base_why)] {
            if let Some(why) = why {
                let _ = writeln!(out, "    {DIM}{word}, last:{DIM:#} {}", visible(why));
            }
        }
    }
    if !compared.costs.is_empty() {
        let _ = writeln!(out, "\n  {BOLD}{}{BOLD:#} {DIM}(shown, not judged){DIM:#}", costs_heading(compared.kind));
        for cost in &compared.costs {
            let _ = writeln!(out, "    {}", visible(&cost_words(cost)));
        }
    }
    if let Some(wire) = &compared.on_wire {
        let (style, word) = if wire.is_worse() { (WORSE, "  worse") } else { (Style::new(), "") };
        let _ =
            writeln!(out, "\n  {BOLD}Round trips{BOLD:#} {DIM}(from SYN on, the quickest of several handshakes over it){DIM:#}");
        let _ = writeln!(out, "    {style}{}{word}{style:#}", wire_words(wire));
    }
    if !compared.differences.is_empty() {
        let _ = writeln!(out, "\n  {BOLD}Time by owner{BOLD:#} {DIM}(candidate less base, milliseconds){DIM:#}");
        let head = ["phase", "owner", "base", "difference", "between"];
        let wide = compared.differences.iter().map(|d| d.part.phase.words().len()).max().unwrap_or_default().max(26);
        let _ =
            writeln!(out, "    {DIM}{:<wide$} {:<22} {:>8} {:>11}  {:<18}{DIM:#}", head[0], head[1], head[2], head[3], head[4]);
        for d in &compared.differences {
            let style = tone(d.found);
            let (phase, owner) = (d.part.phase.words(), d.part.owner.words());
            let (base, median) = (digits(d.base_ms), signed(d.median_ms));
            let _ = writeln!(
                out,
                "    {phase:<wide$} {owner:<22} {base:>8} {median:>11}  {:<18} {style}{}{style:#}",
                interval(d),
                found_words(d.found)
            );
            if d.found == Found::SlowerAtTimes {
                let _ = writeln!(out, "      {style}{}{style:#}", tail_words(d));
            }
        }
        let _ = writeln!(out, "    {DIM}{}{DIM:#}", method(compared));
    }
    let style = match compared.outcome {
        Outcome::Regression => WORSE,
        Outcome::NoRegression => GOOD,
        Outcome::TooNoisy => OPEN,
    };
    let _ = writeln!(out, "\n  {style}{}{style:#}", visible(&sentence(compared)));
    out
}

fn subject_line(subject: &Subject) -> String {
    let agreed =
        if subject.agreed.is_empty() { String::new() } else { format!("  {DIM}{}{DIM:#}", visible(&subject.agreed.join(", "))) };
    format!("{}{agreed}", visible(&subject.name))
}

fn tone(found: Found) -> Style {
    match found {
        Found::Slower | Found::SlowerAtTimes => WORSE,
        Found::Faster | Found::Same => GOOD,
        Found::NotConfirmed | Found::Open => OPEN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_shows_what_changed_and_nothing_that_bites() {
        let text = render(&crate::compared::tests::regression());
        assert!(text.contains("round trips to the answer: 2 → 3  worse") && text.contains("the same: certificates 2"), "{text}");
        assert!(text.contains("bytes from the edge: 4000 → 4005 to 4006"), "{text}");
        assert!(text.contains("slower, and confirmed") && text.contains("+25.1") && !text.contains("\u{1b}[1m --"), "{text}");
        assert!(text.contains("{port}\\u{1b}[1m"), "{text}");
    }
}
