//! A comparison as Markdown: the summary of a CI step, or a comment.

use std::fmt::Write;

use records::compared::{Compared, Found, Outcome};

use super::{
    agreed_words, base_machine_words, change_words, cost_words, costs_heading, count_words, digits, failures_words, found_words,
    interval, is_shown, method, sentence, signed, tail_words, wire_words,
};

/// Renders it.
pub fn render(compared: &Compared) -> String {
    let mark = match compared.outcome {
        Outcome::Regression => "❌",
        Outcome::NoRegression => "✅",
        Outcome::TooNoisy => "⚠️",
    };
    let mut out = format!("### {mark} TLS handshakes: {}\n\n", text(&sentence(compared)));
    let _ = writeln!(out, "`{}` against `{}`\n", code(&compared.candidate.name), code(&compared.base.name));
    let mut lines: Vec<String> = Vec::new();
    for count in compared.counts.iter().filter(|count| is_shown(count)) {
        let said = change_words(count);
        lines.push(text(&count_words(count)) + &if said.is_empty() { String::new() } else { format!(" **({said})**") });
    }
    if lines.is_empty() && !compared.counts.is_empty() {
        lines.push("all counts are the same".into());
    }
    lines.extend(agreed_words(compared).map(|words| text(&words)));
    lines.extend(compared.failures.iter().filter(|failures| failures.any()).map(failures_words));
    lines.extend(compared.differences.iter().filter(|d| d.found == Found::SlowerAtTimes).map(|d| text(&tail_words(d))));
    lines.extend(base_machine_words(compared).map(|words| text(&words)));
    for line in &lines {
        let _ = writeln!(out, "- {line}");
    }
    if !lines.is_empty() {
        out.push('\n');
    }
    if let Some(wire) = &compared.on_wire {
        let _ = writeln!(out, "- {}{}\n", wire_words(wire), if wire.is_worse() { " **(worse)**" } else { "" });
    }
    if !compared.costs.is_empty() {
        let costs: Vec<String> = compared.costs.iter().map(|cost| text(&cost_words(cost))).collect();
        let _ = writeln!(out, "- {} (shown, not judged): {}\n", costs_heading(compared.kind), costs.join("; "));
    }
    if !compared.differences.is_empty() {
        out.push_str("| phase | owner | base ms | difference ms | between | |\n|---|---|---:|---:|---|---|\n");
        for d in &compared.differences {
            let (phase, owner, found) = (d.part.phase.words(), d.part.owner.words(), found_words(d.found));
            let _ = writeln!(
                out,
                "| {phase} | {owner} | {} | {} | {} | {found} |",
                digits(d.base_ms),
                signed(d.median_ms),
                interval(d)
            );
        }
        let _ = writeln!(out, "\n{}", text(&method(compared)));
    }
    out
}

/// What is summed up where nothing could be compared.
pub fn not_compared(why: &str) -> String {
    format!("### ⚠️ TLS handshakes were not compared\n\n{}\n", text(why))
}

/// Text in which nothing is markup.
fn text(words: &str) -> String {
    let mut out = String::new();
    for c in words.chars() {
        match c {
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#' | '&' => out.extend(['\\', c]),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// Text for a code span: no backtick ends it.
fn code(words: &str) -> String {
    words.chars().map(|c| if c == '`' || c.is_control() { '\'' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use records::compared::{Change, Times};

    use super::*;

    #[test]
    fn the_summary_says_what_and_by_how_much_and_lets_no_markup_in() {
        let text = render(&crate::compared::tests::regression());
        assert!(text.starts_with("### ❌ TLS handshakes: Regression: round trips to the answer: 2 → 3"), "{text}");
        assert!(text.contains("| ClientHello to server flight | edge (host or app) | 4.00 | +25.1 |"), "{text}");
        assert!(text.contains("- round trips to the answer: 2 → 3 **(worse)**") && !text.contains('\u{1b}'), "{text}");
        assert_eq!(super::text("<b>*x*"), "\\<b\\>\\*x\\*");
        assert!(!text.contains("all counts are the same"));
        assert!(not_compared("no <edge>").contains("no \\<edge\\>"));
    }

    #[test]
    fn counts_that_vary_are_not_called_the_same() {
        let mut compared = crate::compared::tests::regression();
        for count in &mut compared.counts {
            (count.change, count.candidate) = (Change::Same, count.base);
            count.candidate_values = count.base_values.clone();
        }
        assert!(render(&compared).contains("- all counts are the same"));
        compared.counts[0].candidate = None;
        compared.counts[0].candidate_values = vec![Times { value: 2, times: 11 }, Times { value: 3, times: 1 }];
        let text = render(&compared);
        assert!(
            text.contains("- round trips to the answer: 2 → 2 in 11 and 3 in 1 of 12") && !text.contains("are the same"),
            "{text}"
        );
    }
}
