//! What `compare` found out: for a terminal, as Markdown, as annotations of a pull request, as JUnit and as a page.
//!
//! What they all say is worded here once.

pub mod annotations;
pub mod html;
pub mod junit;
pub mod markdown;
pub mod terminal;

use records::compared::{Compared, Count, Difference, Found, OnWire, Outcome};
use settings::words::plural;

/// What it comes to, in one sentence.
pub fn sentence(compared: &Compared) -> String {
    let worse: Vec<String> = compared.counts.iter().filter(|count| count.is_worse()).map(count_words).collect();
    let slower: Vec<String> = compared.differences.iter().filter(|d| d.found == Found::Slower).map(slower_words).collect();
    match compared.outcome {
        Outcome::Regression => match &compared.failed {
            Some(why) => format!("Regression: the candidate fails where the base does not ({why})."),
            None => {
                let rounds = compared.on_wire.iter().filter(|wire| wire.is_worse()).map(wire_words).collect();
                format!("Regression: {}.", [worse, rounds, slower].concat().join("; "))
            }
        },
        Outcome::NoRegression if compared.differences.is_empty() => {
            let why = compared.times_left_out.map_or("no part takes any time", |left_out| left_out.words());
            format!("No regression in what is counted; times were not compared: {why}.")
        }
        Outcome::NoRegression => {
            "No regression: nothing is counted more, and no part takes longer by what is to be noticed.".into()
        }
        Outcome::TooNoisy => {
            let more = compared.differences.iter().filter_map(|d| d.more_blocks).max();
            let more = more.map_or_else(String::new, |more| format!("; about {} more would tell", plural(more, "block")));
            format!("Too noisy: nothing is known to have got worse, but what is to be noticed may hide in the noise{more}.")
        }
    }
}

/// "round trips to the answer: 2 → 3".
pub fn count_words(count: &Count) -> String {
    format!("{}: {}", count.what.words(), numbers(count))
}

/// "on a wire of 50 ms: 2 → 3 round trips to Finished, 3 → 4 to the first byte".
pub fn wire_words(wire: &OnWire) -> String {
    let ([base_finished, base_byte], [finished, byte]) = (wire.base.whole(), wire.candidate.whole());
    let ms = wire.round_trip_ms;
    format!("on a wire of {ms} ms: {base_finished} → {finished} round trips to Finished, {base_byte} → {byte} to the first byte")
}

/// "2 → 3".
fn numbers(count: &Count) -> String {
    let number = |count: Option<u64>| count.map_or_else(|| "not always the same".into(), |count| count.to_string());
    format!("{} → {}", number(count.base), number(count.candidate))
}

/// "edge, ClientHello to server flight: 25.1 ms longer (25.0 to 25.3 ms)".
fn slower_words(difference: &Difference) -> String {
    let median = difference.median_ms;
    let range = difference.least_ms.zip(difference.most_ms);
    let range = range.map_or_else(String::new, |(least, most)| format!(" ({} to {} ms)", digits(least), digits(most)));
    format!("{}: {} ms longer{range}", part_words(difference), digits(median))
}

/// "edge, ClientHello to server flight".
pub fn part_words(difference: &Difference) -> String {
    format!("{}, {}", difference.part.owner.words(), difference.part.phase.words())
}

/// What was found, in words.
pub fn found_words(found: Found) -> &'static str {
    match found {
        Found::Slower => "slower, and confirmed",
        Found::NotConfirmed => "looked slower once, not confirmed",
        Found::Faster => "faster",
        Found::Same => "not slower",
        Found::Open => "open",
    }
}

/// Milliseconds with three digits that count.
fn digits(ms: f64) -> String {
    let decimals = match ms.abs() {
        x if x >= 100.0 => 0,
        x if x >= 10.0 => 1,
        x if x >= 1.0 => 2,
        _ => 3,
    };
    format!("{ms:.decimals$}")
}

/// The interval, or why there is none.
fn interval(difference: &Difference) -> String {
    let both = difference.least_ms.zip(difference.most_ms);
    both.map_or_else(|| "too few blocks".into(), |(least, most)| format!("{} to {}", signed(least), signed(most)))
}

fn signed(ms: f64) -> String {
    format!("{}{}", if ms > 0.0 { "+" } else { "" }, digits(ms))
}

/// How the times were measured.
fn method(compared: &Compared) -> String {
    let spoiled = match compared.spoiled {
        0 => String::new(),
        n => format!(", {n} left out"),
    };
    format!(
        "Times: {} of four handshakes (A B B A){spoiled}; intervals hold the median difference whenever one looks. {} CPUs, {}.",
        plural(compared.blocks.len() as u64, "block"),
        compared.machine.cpus,
        compared.machine.cpu
    )
}

#[cfg(test)]
pub(crate) mod tests {
    use analysis::judging::ledger::{Owner, Phase};
    use records::compared::{Block, Counted, Fingerprint, Kind, LeftOut, Part, Subject};

    use super::*;

    /// One that has something of everything, and names that bite.
    pub(crate) fn regression() -> Compared {
        let subject = |name: &str| Subject { name: name.into(), agreed: vec!["TLS 1.3".into()] };
        let difference = |owner, median_ms: f64, found| Difference {
            part: Part { phase: Phase::ServerFlight, owner },
            base_ms: 4.0,
            median_ms,
            least_ms: Some(median_ms - 0.1),
            most_ms: Some(median_ms + 0.25),
            ignored_ms: 0.08,
            noticed_ms: 0.4,
            found,
            more_blocks: (found == Found::Open).then_some(120),
        };
        Compared {
            format: 1,
            kind: Kind::Edges,
            base: subject("https://old.test/<b>&'\""),
            candidate: subject("./proxy --port {port}\u{1b}[1m"),
            machine: Fingerprint { cpu: "A CPU".into(), cpus: 2, kernel: "6.18".into() },
            counts: vec![
                Count { what: Counted::RoundTrips, base: Some(2), candidate: Some(3) },
                Count { what: Counted::Certificates, base: Some(2), candidate: Some(2) },
                Count { what: Counted::ServerBytes, base: Some(4_000), candidate: None },
            ],
            on_wire: None,
            costs: Vec::new(),
            failed: None,
            differences: vec![difference(Owner::Edge, 25.1, Found::Slower), difference(Owner::Path, 0.01, Found::Open)],
            times_left_out: None,
            blocks: vec![Block { base_ms: vec![4.0, 0.2], candidate_ms: vec![29.1, 0.21] }; 3],
            spoiled: 1,
            outcome: Outcome::Regression,
        }
    }

    #[test]
    fn the_sentence_names_what_got_worse() {
        let said = sentence(&regression());
        assert_eq!(
            said,
            "Regression: round trips to the answer: 2 → 3; edge (host or app), ClientHello to server flight: 25.1 ms longer (25.0 to 25.4 ms)."
        );
        let failed = Compared { failed: Some("tls_closed".into()), ..regression() };
        assert!(sentence(&failed).contains("(tls_closed)"));
    }

    #[test]
    fn what_was_not_compared_is_not_called_good() {
        let counts = Compared {
            outcome: Outcome::NoRegression,
            differences: vec![],
            times_left_out: Some(LeftOut::NotAsked),
            ..regression()
        };
        assert!(sentence(&counts).contains("times were not compared: only counts were asked for"));
        let noisy = Compared { outcome: Outcome::TooNoisy, ..regression() };
        assert!(sentence(&noisy).contains("about 120 blocks more would tell"), "{}", sentence(&noisy));
    }

    #[test]
    fn three_digits_count() {
        assert_eq!([0.1234, 1.234, 12.34, 123.4, -0.5].map(digits), ["0.123", "1.23", "12.3", "123", "-0.500"]);
    }
}
