//! A comparison as Markdown: the summary of a CI step, or a comment.

use std::fmt::Write;

use records::compared::{Compared, Outcome};

use super::{count_words, digits, found_words, interval, method, sentence, signed, wire_words};

/// Renders it.
pub fn render(compared: &Compared) -> String {
    let mark = match compared.outcome {
        Outcome::Regression => "❌",
        Outcome::NoRegression => "✅",
        Outcome::TooNoisy => "⚠️",
    };
    let mut out = format!("### {mark} TLS handshakes: {}\n\n", text(&sentence(compared)));
    let _ = writeln!(out, "`{}` against `{}`\n", code(&compared.candidate.name), code(&compared.base.name));
    let shown: Vec<_> = compared.counts.iter().filter(|count| count.changed()).collect();
    match shown.is_empty() {
        true if compared.counts.is_empty() => {}
        true => out.push_str("All counts are the same.\n\n"),
        false => {
            for count in shown {
                let _ = writeln!(out, "- {}{}", count_words(count), if count.is_worse() { " **(worse)**" } else { "" });
            }
            out.push('\n');
        }
    }
    if let Some(wire) = &compared.on_wire {
        let _ = writeln!(out, "- {}{}\n", wire_words(wire), if wire.is_worse() { " **(worse)**" } else { "" });
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
    use super::*;

    #[test]
    fn the_summary_says_what_and_by_how_much_and_lets_no_markup_in() {
        let text = render(&crate::compared::tests::regression());
        assert!(text.starts_with("### ❌ TLS handshakes: Regression: round trips to the answer: 2 → 3"), "{text}");
        assert!(text.contains("| ClientHello to server flight | edge (host or app) | 4.00 | +25.1 |"), "{text}");
        assert!(text.contains("- round trips to the answer: 2 → 3 **(worse)**") && !text.contains('\u{1b}'), "{text}");
        assert_eq!(super::text("<b>*x*"), "\\<b\\>\\*x\\*");
    }
}
