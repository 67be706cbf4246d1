//! A comparison as workflow commands of GitHub's runner: each line becomes an annotation of the run.

use std::fmt::Write;

use records::compared::{Change, Compared, Found, Outcome};

use super::{
    agreed_words, count_words, failures_words, found_words, is_judged, is_shown, part_words, sentence, signed, tail_words,
    wire_words,
};

/// Renders it: an error for what got worse, a warning for what nobody can tell, a notice for what changed besides.
pub fn render(compared: &Compared) -> String {
    let mut out = String::new();
    let mut say = |level: &str, words: &str| {
        let _ = writeln!(out, "::{level} title=whostalled compare::{}", data(words));
    };
    // Its sentence names what is open.
    let is_too_noisy = compared.outcome == Outcome::TooNoisy;
    if is_too_noisy || compared.failed.is_some() {
        say(if compared.failed.is_some() { "error" } else { "warning" }, &sentence(compared));
    }
    for count in compared.counts.iter().filter(|count| is_shown(count)) {
        let level = match count.change {
            Change::Worse => "error",
            Change::Open | Change::NotInBase if is_judged(count) && !is_too_noisy => "warning",
            Change::Open | Change::NotInBase => continue,
            Change::Same | Change::Different => "notice",
        };
        say(level, &count_words(count));
    }
    if let Some(wire) = compared.on_wire.as_ref().filter(|wire| wire.is_worse()) {
        say("error", &wire_words(wire));
    }
    for d in compared.differences.iter().filter(|d| d.found == Found::Slower) {
        say("error", &format!("{}: {} ms", part_words(d), signed(d.median_ms)));
    }
    for d in compared.differences.iter().filter(|d| d.found == Found::SlowerAtTimes) {
        say("error", &tail_words(d));
    }
    for d in compared.differences.iter().filter(|d| d.found == Found::Open && !is_too_noisy) {
        say("warning", &format!("{}: {}", part_words(d), found_words(d.found)));
    }
    if let Some(words) = agreed_words(compared) {
        say("notice", &words);
    }
    match &compared.failures {
        Some(failures) if compared.failed.is_some() || !failures.any() => {}
        Some(failures) if !failures.open => say("notice", &failures_words(failures)),
        Some(failures) if !is_too_noisy => say("warning", &failures_words(failures)),
        _ => {}
    }
    out
}

/// Data of a workflow command, in which percent signs and ends of lines are escaped.
fn data(words: &str) -> String {
    words.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

#[cfg(test)]
mod tests {
    use records::compared::Failures;

    use super::*;

    #[test]
    fn what_is_open_is_said_once_whatever_it_comes_to() {
        let mut open = crate::compared::tests::regression();
        open.counts[0].change = Change::Open;
        open.failures = Some(Failures { of_base: 96, of_candidate: 96, candidate: 3, open: true, ..Failures::default() });
        let said = |compared: &Compared, words: &str| render(compared).matches(words).count();
        for outcome in [Outcome::Regression, Outcome::TooNoisy] {
            let compared = Compared { outcome, ..open.clone() };
            for words in ["round trips to the answer: 2 → 3", "3 of 96 handshakes with the candidate failed"] {
                assert_eq!(said(&compared, words), 1, "{}", render(&compared));
            }
            assert!(said(&compared, "::warning ") > 0 && said(&compared, "path, ClientHello to server flight") == 1);
        }
    }

    #[test]
    fn what_the_wire_alone_tells_is_an_error() {
        let text = render(&crate::compared::tests::on_a_wire());
        assert_eq!(
            text,
            "::error title=whostalled compare::on a wire of 50 ms: 2 → 3 round trips to Finished, 3 → 4 to the first byte\n"
        );
    }

    #[test]
    fn what_got_worse_is_an_error_on_a_line_of_its_own() {
        let compared =
            Compared { failed: Some("tls: 5 %\n::set-output name=x::y".into()), ..crate::compared::tests::regression() };
        let text = render(&compared);
        let levels = ["::error ", "::warning ", "::notice "];
        assert!(text.lines().all(|line| levels.iter().any(|level| line.starts_with(level))), "{text}");
        assert!(
            text.contains("5 %25%0A::set-output") && text.contains("edge (host or app), ClientHello to server flight: +25.1 ms")
        );
    }
}
