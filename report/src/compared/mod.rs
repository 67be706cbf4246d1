//! What `compare` found out: for a terminal, as Markdown, as annotations of a pull request, as JUnit and as a page.
//!
//! What they all say is worded here once.

pub mod annotations;
pub mod html;
pub mod junit;
pub mod markdown;
pub mod terminal;

use records::compared::{Change, Compared, Cost, Count, Difference, Failures, Fingerprint, Found, Kind, OnWire, Outcome, Times};
use settings::words::plural;

/// What it comes to, in one sentence.
pub fn sentence(compared: &Compared) -> String {
    let counts = |wanted: Change| compared.counts.iter().filter(move |count| count.change == wanted && is_judged(count));
    let worse: Vec<String> = counts(Change::Worse).map(count_words).collect();
    let found = |wanted: Found| compared.differences.iter().filter(move |d| d.found == wanted);
    let slower: Vec<String> = found(Found::Slower).map(slower_words).chain(found(Found::SlowerAtTimes).map(tail_words)).collect();
    let failing = compared.failures.iter().filter(|failures| failures.any());
    let failing: Vec<String> = failing.map(failures_words).collect();
    match compared.outcome {
        Outcome::Regression => match &compared.failed {
            Some(why) => {
                let which = failing.first().map_or_else(|| why.clone(), |words| format!("{words}: {why}"));
                format!("Regression: the candidate fails more often than the base ({which}).")
            }
            None => {
                let rounds = compared.on_wire.iter().filter(|wire| wire.is_worse()).map(wire_words).collect();
                format!("Regression: {}.", [worse, rounds, slower].concat().join("; "))
            }
        },
        Outcome::NoRegression => {
            let failing = failing.first().map_or_else(String::new, |words| format!(" ({words})"));
            match compared.differences.is_empty() {
                true => {
                    let why = compared.times_left_out.map_or("no part takes any time", |left_out| left_out.words());
                    format!("No regression in what is counted{failing}; times were not compared: {why}.")
                }
                false => format!(
                    "No regression: nothing is counted more, nothing fails more often{failing}, no part's median is longer by what is to \
                     be noticed, and none is much longer in more handshakes."
                ),
            }
        }
        Outcome::TooNoisy => {
            let mut open: Vec<String> = counts(Change::Open).map(count_words).collect();
            open.extend(counts(Change::NotInBase).map(|count| format!("{}: not in the base", count.what.words())));
            open.extend(failing.into_iter().filter(|_| compared.failures.as_ref().is_some_and(|failures| failures.open)));
            open.extend(found(Found::Open).map(part_words));
            let open = if open.is_empty() { String::new() } else { format!(" Open: {}.", open.join("; ")) };
            let more = compared.differences.iter().filter_map(|d| d.more_blocks).max();
            let more = more.map_or_else(String::new, |more| format!("; about {} more would tell", plural(more, "block")));
            format!("Too noisy: nothing is known to have got worse, but what is to be noticed may hide in the noise{more}.{open}")
        }
    }
}

/// Whether it fails by itself.
fn is_judged(count: &Count) -> bool {
    count.what.cost(0).is_some()
}

/// "round trips to the answer: 2 → 3".
pub fn count_words(count: &Count) -> String {
    format!("{}: {}", count.what.words(), numbers(count))
}

/// What is said of a change, behind it.
fn change_words(count: &Count) -> &'static str {
    match count.change {
        Change::Worse => "worse",
        Change::Open if is_judged(count) => "open",
        _ => "",
    }
}

/// Whether a count is worth a line of its own.
fn is_shown(count: &Count) -> bool {
    count.change != Change::Same || (is_judged(count) && count.base != count.candidate)
}

/// "7 of 96 handshakes with the candidate failed, 1 of 96 with the base".
pub fn failures_words(failures: &Failures) -> String {
    let Failures { of_base, base, of_candidate, candidate, .. } = failures;
    let number = |n: &u64| if *n == 0 { "none".to_owned() } else { n.to_string() };
    format!(
        "{} of {of_candidate} handshakes with the candidate failed, {} of {of_base} with the base",
        number(candidate),
        number(base)
    )
}

/// What both agreed on, where that is another.
pub fn agreed_words(compared: &Compared) -> Option<String> {
    let (base, candidate) = (&compared.base.agreed, &compared.candidate.agreed);
    let known = !base.is_empty() && !candidate.is_empty();
    (known && base != candidate).then(|| format!("agreed on: {} → {}", base.join(", "), candidate.join(", ")))
}

/// Where a stored base was measured.
pub fn base_machine_words(compared: &Compared) -> Option<String> {
    let then = compared.base_machine.as_ref()?;
    let Fingerprint { cpu, cpus, kernel } = then;
    Some(match *then == compared.machine {
        true => "The base was stored on a machine like this one.".into(),
        false => format!(
            "The base was stored on another machine ({}, {cpu}, Linux {kernel}): of it, counts alone say anything.",
            plural(*cpus as u64, "CPU")
        ),
    })
}

/// "on a wire of 50 ms: 2 → 3 round trips to Finished, 3 → 4 to the first byte".
pub fn wire_words(wire: &OnWire) -> String {
    let ([base_finished, base_byte], [finished, byte]) = (wire.base.whole(), wire.candidate.whole());
    let ms = wire.round_trip_ms;
    format!("on a wire of {ms} ms: {base_finished} → {finished} round trips to Finished, {base_byte} → {byte} to the first byte")
}

/// What a handshake costs one itself, for a heading.
pub fn costs_heading(kind: Kind) -> &'static str {
    match kind {
        Kind::Edges => "What a handshake costs the edge",
        Kind::Clients => "What a handshake costs the client, its start with it",
    }
}

/// "system calls: 26.3 → 25.7 (-2.1 %)": what is no whole number differs where whole numbers do not.
pub fn cost_words(cost: &Cost) -> String {
    let Cost { what, base, candidate } = cost;
    let decimals = usize::from(*base < 1_000.0 && [base, candidate].into_iter().any(|of| of.fract() != 0.0));
    let share = if *base > 0.0 { format!(" ({:+.1} %)", (candidate / base - 1.0) * 100.0) } else { String::new() };
    format!("{what}: {base:.decimals$} → {candidate:.decimals$}{share}")
}

/// "2 → 3", "2 → 2 in 7 and 3 in 5 of 12", "4001 to 4003 → 4010".
fn numbers(count: &Count) -> String {
    let base =
        if count.change == Change::NotInBase { "not in the base".into() } else { number(count, count.base, &count.base_values) };
    format!("{base} → {}", number(count, count.candidate, &count.candidate_values))
}

fn number(count: &Count, only: Option<u64>, values: &[Times]) -> String {
    match (only, values) {
        (Some(value), _) => value.to_string(),
        (None, []) => "not counted".into(),
        // How often is what is judged.
        (None, [..]) if is_judged(count) => {
            let all: u64 = values.iter().map(|one| one.times).sum();
            let each = values.iter().map(|one| format!("{} in {}", one.value, one.times));
            format!("{} of {all}", each.collect::<Vec<_>>().join(" and "))
        }
        (None, [first, ..]) => format!("{} to {}", first.value, values.last().unwrap_or(first).value),
    }
}

/// "edge, ClientHello to server flight: 25.1 ms longer (25.0 to 25.3 ms)".
fn slower_words(difference: &Difference) -> String {
    let median = difference.median_ms;
    let range = difference.least_ms.zip(difference.most_ms);
    let range = range.map_or_else(String::new, |(least, most)| format!(" ({} to {} ms)", digits(least), digits(most)));
    format!("{}: {} ms longer{range}", part_words(difference), digits(median))
}

/// "edge, ClientHello to server flight: 9 of 96 handshakes took more than 6.1 ms, 1 of the base's".
pub fn tail_words(difference: &Difference) -> String {
    let tail = difference.tail.map(|tail| {
        let number = |n: u64| if n == 0 { "none".to_owned() } else { n.to_string() };
        let (candidate, base) = (number(tail.candidate), number(tail.base));
        format!(
            ": {candidate} of {} handshakes took more than {} ms, {base} of the base's",
            tail.handshakes,
            digits(tail.above_ms)
        )
    });
    format!("{}{}", part_words(difference), tail.unwrap_or_default())
}

/// "edge, ClientHello to server flight".
pub fn part_words(difference: &Difference) -> String {
    format!("{}, {}", difference.part.owner.words(), difference.part.phase.words())
}

/// What was found, in words.
pub fn found_words(found: Found) -> &'static str {
    match found {
        Found::Slower => "slower, and confirmed",
        Found::SlowerAtTimes => "much slower in more handshakes",
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
    // What happens to a share of them is not seen among `n` with a chance of one in twenty, if that share is `3 / n`.
    let seldom = (compared.blocks.len() as u64 * 2 / 3).max(1);
    format!(
        "Times: {} of four handshakes (A B B A){spoiled}; intervals hold the median difference whenever one looks; what befalls fewer than \
         one handshake of {seldom} need not have shown. {} CPUs, {}.",
        plural(compared.blocks.len() as u64, "block"),
        compared.machine.cpus,
        compared.machine.cpu
    )
}

#[cfg(test)]
pub(crate) mod tests {
    use analysis::judging::ledger::{Owner, Phase};
    use records::compared::{Block, Counted, Fingerprint, LeftOut, Part, Rounds, Subject, Tail};

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
            tail: None,
        };
        let count = |what, base: &[u64], candidate: &[u64], change| {
            let only = |values: &[u64]| if let [one] = values { Some(*one) } else { None };
            let times =
                |values: &[u64]| values.iter().map(|value| Times { value: *value, times: 12 / values.len() as u64 }).collect();
            Count {
                what,
                base: only(base),
                candidate: only(candidate),
                base_values: times(base),
                candidate_values: times(candidate),
                change,
            }
        };
        Compared {
            format: 1,
            kind: Kind::Edges,
            base: subject("https://old.test/<b>&'\""),
            candidate: subject("./proxy --port {port}\u{1b}[1m"),
            machine: Fingerprint { cpu: "A CPU".into(), cpus: 2, kernel: "6.18".into() },
            counts: vec![
                count(Counted::RoundTrips, &[2], &[3], Change::Worse),
                count(Counted::Certificates, &[2], &[2], Change::Same),
                count(Counted::ServerBytes, &[4_000], &[4_005, 4_006], Change::Different),
            ],
            on_wire: None,
            costs: Vec::new(),
            base_machine: None,
            asked: None,
            failures: None,
            failed: None,
            differences: vec![difference(Owner::Edge, 25.1, Found::Slower), difference(Owner::Path, 0.01, Found::Open)],
            times_left_out: None,
            blocks: vec![Block { base_ms: vec![4.0, 0.2], candidate_ms: vec![29.1, 0.21] }; 3],
            spoiled: 1,
            outcome: Outcome::Regression,
        }
    }

    /// One of which nothing but the wire tells that it got worse.
    pub(crate) fn on_a_wire() -> Compared {
        let rounds = |to_finished, to_first_byte| Rounds { to_finished, to_first_byte };
        let wire = OnWire { round_trip_ms: 50.0, base: rounds(2.1, 3.2), candidate: rounds(3.1, 4.2) };
        Compared { counts: Vec::new(), differences: Vec::new(), blocks: Vec::new(), on_wire: Some(wire), ..regression() }
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
        let failures = Failures { of_base: 96, of_candidate: 96, candidate: 9, ..Failures::default() };
        let failed = Compared { failures: Some(failures), ..failed };
        assert!(
            sentence(&failed).contains("(9 of 96 handshakes with the candidate failed, none of 96 with the base: tls_closed)"),
            "{}",
            sentence(&failed)
        );
        let mut at_times = Compared { counts: Vec::new(), ..regression() };
        let tail = Tail { above_ms: 6.1, handshakes: 96, base: 0, candidate: 19 };
        at_times.differences[0] = Difference { found: Found::SlowerAtTimes, tail: Some(tail), ..at_times.differences[0].clone() };
        assert_eq!(
            sentence(&at_times),
            "Regression: edge (host or app), ClientHello to server flight: 19 of 96 handshakes took more than 6.10 ms, none of the base's."
        );
    }

    #[test]
    fn a_count_that_varies_says_how_often() {
        let mut compared = regression();
        compared.counts[0].candidate = None;
        compared.counts[0].candidate_values = vec![Times { value: 2, times: 7 }, Times { value: 3, times: 5 }];
        assert_eq!(count_words(&compared.counts[0]), "round trips to the answer: 2 → 2 in 7 and 3 in 5 of 12");
        assert_eq!(count_words(&compared.counts[2]), "bytes from the edge: 4000 → 4005 to 4006");
        compared.counts[0].change = Change::NotInBase;
        assert!(count_words(&compared.counts[0]).contains("not in the base →"));
        compared.outcome = Outcome::TooNoisy;
        assert!(sentence(&compared).contains("Open: round trips to the answer: not in the base"), "{}", sentence(&compared));
    }

    #[test]
    fn another_machine_and_another_suite_are_said() {
        let mut compared = regression();
        assert_eq!((agreed_words(&compared), base_machine_words(&compared)), (None, None));
        compared.candidate.agreed = vec!["TLS 1.2".into()];
        assert_eq!(agreed_words(&compared), Some("agreed on: TLS 1.3 → TLS 1.2".into()));
        compared.base_machine = Some(compared.machine.clone());
        assert!(base_machine_words(&compared).is_some_and(|words| words.contains("like this one")));
        compared.machine.cpus = 64;
        assert!(base_machine_words(&compared).is_some_and(|words| words.contains("another machine (2 CPUs, A CPU")));
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

    #[test]
    fn costs_are_shown_wherever_counts_are_and_a_difference_never_hides_behind_a_rounded_number() {
        let cost = |what: &str, base, candidate| Cost { what: what.into(), base, candidate };
        assert_eq!(cost_words(&cost("system calls", 26.3, 25.7)), "system calls: 26.3 → 25.7 (-2.3 %)");
        assert_eq!(cost_words(&cost("system calls", 26.0, 28.0)), "system calls: 26 → 28 (+7.7 %)");
        assert_eq!(cost_words(&cost("instructions", 8_871_363.4, 8_869_162.0)), "instructions: 8871363 → 8869162 (-0.0 %)");
        assert_eq!(cost_words(&cost("system calls", 0.0, 2.0)), "system calls: 0 → 2");
        let compared = Compared { costs: vec![cost("system calls", 26.3, 25.7)], ..regression() };
        for said in [terminal::render(&compared), markdown::render(&compared), html::page(&compared)] {
            assert!(said.contains("What a handshake costs the edge") && said.contains("26.3 → 25.7"), "{said}");
        }
    }
}
