//! The sentence: every number in it stands in the ledger, it says nothing twice, and nothing that the reading does not.

use crate::clock::Span;
use crate::conversation::handshake::Handshake;
use crate::conversation::milestone::{Sighting, milestones};
use crate::judging::ledger::{Kind, Owner};
use crate::judging::verdict::{End, Verdict};
use crate::tcp::flow::{Side, View};

use super::losses::of_two_copies;
use super::{Broken, Case, Claim};

pub(super) fn check(case: &Case<'_>, found: &mut Vec<Broken>) {
    let text = without_citations(case.sentence);
    let says = |found: &mut Vec<Broken>, wrong: bool, what| {
        if wrong {
            found.push(Broken::Says { what });
        }
    };
    let stopped = matches!(case.reading.end, End::Stopped { .. });
    says(found, text.starts_with("0 µs beyond the baseline"), "says that 0 µs were too much");
    says(found, text.contains("never completed") && !stopped, "says that what completed never did");
    says(found, text.contains("both ends") && (case.client.is_none() || case.edge.is_none()), "says both ends of one");
    says(found, twice(&text), "says something twice");
    says(found, percents(&text).any(|p| p > 100.0), "gives an owner more than all");
    says(
        found,
        stopped
            && convicts(case)
            && !text.contains("never completed")
            && !text.contains("capture ended, or paused,")
            && !text.contains("under way when this was written")
            && !text.contains("this capture does not show;"),
        "is silent about that it never completed",
    );
    let clients = ["path held client before", "lost in client before"];
    says(found, clients.iter().any(|words| text.contains(words)), "puts the network's time where only the client's is");
    let known = known(case);
    for quantity in quantities(&text) {
        if !known.iter().any(|span| quantity.is(*span)) {
            found.push(Broken::Number { said: quantity.said });
        }
    }
    repetition(case, &text, found);
    turnaround(case, &text, found);
}

fn convicts(case: &Case<'_>) -> bool {
    matches!(case.judgement.verdict, Verdict::Culprit { .. })
}

/// "… its retransmission came 1.0 s later": then one did.
fn repetition(case: &Case<'_>, text: &str, found: &mut Vec<Broken>) {
    let Some((_, later)) = text.split_once("its retransmission came ") else { return };
    let Some(said) = quantities(later).into_iter().next() else { return };
    let lost = |e: &&crate::judging::ledger::Entry| e.owner == Owner::Loss && !e.extra_round && said.is(e.span);
    let sender = |e: &crate::judging::ledger::Entry| if e.kind == Some(Kind::Out) { Side::Client } else { Side::Server };
    // Of a sender that nobody captured, the first copy cannot be shown.
    let shown =
        |e: &crate::judging::ledger::Entry| of_two_copies(case, e) || e.packets.len() == 2 && case.at(sender(e)).is_none();
    let mut entries = case.entries().iter().filter(lost).peekable();
    let Some(first) = entries.peek().map(|e| Claim::of(e)) else { return };
    if !entries.any(shown) {
        found.push(Broken::NoRepetition { claim: first });
    }
}

/// "… left 512 ms later; 98 % of that …": the share must be of the time that is named.
fn turnaround(case: &Case<'_>, text: &str, found: &mut Vec<Broken>) {
    let Some((_, later)) = text.split_once(" left ") else { return };
    let (Some(whole), Some(share)) = (quantities(later).into_iter().next(), percents(later).next()) else { return };
    let part = |e: &&crate::judging::ledger::Entry| matches!(e.owner.side(), Owner::Client);
    let shares = case.entries().iter().filter(part).map(|e| 100.0 * e.span.fraction_of(whole.value));
    if !shares.into_iter().any(|is| (is - share).abs() <= 1.5 + 100.0 * whole.slack.fraction_of(whole.value)) {
        found.push(Broken::Says { what: "gives a share that is none of the time it names" });
    }
}

/// A time as it is printed.
struct Quantity {
    said: String,
    value: Span,
    /// One of its last digit.
    slack: Span,
}

impl Quantity {
    fn is(&self, span: Span) -> bool {
        (self.value - span).abs() <= self.slack
    }
}

fn quantities(text: &str) -> Vec<Quantity> {
    let mut found = Vec::new();
    let mut words = text.split_whitespace().peekable();
    while let Some(word) = words.next() {
        let number = word.trim_start_matches(['(', '+', '~']);
        let (Ok(value), Some(unit)) = (number.parse::<f64>(), words.peek()) else { continue };
        let one = match unit.trim_end_matches(|c: char| !c.is_alphanumeric()) {
            "s" => 1e9,
            "ms" => 1e6,
            "µs" => 1e3,
            _ => continue,
        };
        let decimals = number.split_once('.').map_or(0, |(_, d)| d.len());
        let nanos = |x: f64| Span::from_nanos((x * one).round() as i64);
        let slack = nanos(0.1_f64.powi(i32::try_from(decimals).unwrap_or(0)));
        found.push(Quantity { said: format!("{number} {unit}"), value: nanos(value), slack });
    }
    found
}

fn percents(text: &str) -> impl Iterator<Item = f64> {
    text.split_whitespace()
        .zip(text.split_whitespace().skip(1))
        .filter(|(_, unit)| unit.starts_with('%'))
        .filter_map(|(n, _)| n.parse().ok())
}

/// Every time that the sentence may name.
fn known(case: &Case<'_>) -> Vec<Span> {
    let (ledger, judgement) = (&case.reading.ledger, case.judgement);
    let mut known = vec![ledger.total, judgement.excess, judgement.floor];
    known.extend(ledger.min_path());
    for entry in &ledger.entries {
        known.extend([entry.span, entry.baseline, (entry.span - entry.baseline).at_least_zero()]);
        known.push(ledger.entries.iter().filter(|e| e.phase == entry.phase).map(|e| e.span).sum());
    }
    known.extend(judgement.parts.iter().map(|p| p.excess));
    match &judgement.verdict {
        Verdict::Inconclusive { excess, .. } => known.push(*excess),
        Verdict::Culprit { primary, second } => {
            known.extend([Some(primary), second.as_ref()].into_iter().flatten().map(|c| c.excess))
        }
        Verdict::Healthy | Verdict::Aborted { .. } => {}
    }
    known.extend(moments(case.handshake));
    known
}

/// From each milestone at the client to each later one, and from the lookup.
fn moments(h: &Handshake) -> Vec<Span> {
    let Some(view) = &h.client else { return Vec::new() };
    let seen =
        |view: &View<_>| -> Vec<i64> { milestones(view, &h.dialogue).iter().map(|s: &Sighting<_>| s.at.nanos()).collect() };
    let mut at: Vec<i64> = seen(view);
    at.extend(h.lookup.iter().map(|l| l.start.nanos()));
    at.iter().flat_map(|a| at.iter().map(move |b| Span::from_nanos(b.saturating_sub(*a)))).collect()
}

/// Without "[packets 12 and 19]".
fn without_citations(sentence: &str) -> String {
    let mut depth = 0;
    let keep = |c: &char| {
        depth += i32::from(*c == '[');
        let keep = depth == 0;
        depth -= i32::from(*c == ']' && depth > 0);
        keep
    };
    sentence.chars().filter(keep).collect()
}

fn twice(text: &str) -> bool {
    let mut parts: Vec<&str> = text
        .split(". ")
        .map(|part| part.trim().trim_start_matches("And: ").trim_end_matches('.'))
        .filter(|p| p.len() > 12)
        .collect();
    let n = parts.len();
    parts.sort_unstable();
    parts.dedup();
    parts.len() < n
}
