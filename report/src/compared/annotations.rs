//! A comparison as workflow commands of GitHub's runner: each line becomes an annotation of the run.

use std::fmt::Write;

use records::compared::{Change, Compared, Found, Outcome};

use super::{agreed_words, count_words, failures_words, is_shown, part_words, sentence, signed, tail_words};

/// Renders it: an error for what got worse, a warning for what nobody can tell, a notice for what changed besides.
pub fn render(compared: &Compared) -> String {
    let mut out = String::new();
    let mut say = |level: &str, words: &str| {
        let _ = writeln!(out, "::{level} title=whostalled compare::{}", data(words));
    };
    if compared.outcome == Outcome::TooNoisy || compared.failed.is_some() {
        say(if compared.failed.is_some() { "error" } else { "warning" }, &sentence(compared));
    }
    for count in compared.counts.iter().filter(|count| is_shown(count)) {
        let level = match count.change {
            Change::Worse => "error",
            // The sentence names it.
            Change::Open | Change::NotInBase => continue,
            Change::Same | Change::Different => "notice",
        };
        say(level, &count_words(count));
    }
    for d in compared.differences.iter().filter(|d| d.found == Found::Slower) {
        say("error", &format!("{}: {} ms", part_words(d), signed(d.median_ms)));
    }
    for d in compared.differences.iter().filter(|d| d.found == Found::SlowerAtTimes) {
        say("error", &tail_words(d));
    }
    if let Some(words) = agreed_words(compared) {
        say("notice", &words);
    }
    if let Some(failures) = compared.failures.as_ref().filter(|failures| failures.any() && compared.failed.is_none()) {
        say("notice", &failures_words(failures));
    }
    out
}

/// Data of a workflow command, in which percent signs and ends of lines are escaped.
fn data(words: &str) -> String {
    words.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_got_worse_is_an_error_on_a_line_of_its_own() {
        let compared =
            Compared { failed: Some("tls: 5 %\n::set-output name=x::y".into()), ..crate::compared::tests::regression() };
        let text = render(&compared);
        assert!(text.lines().all(|line| line.starts_with("::error ") || line.starts_with("::notice ")), "{text}");
        assert!(
            text.contains("5 %25%0A::set-output") && text.contains("edge (host or app), ClientHello to server flight: +25.1 ms")
        );
    }
}
