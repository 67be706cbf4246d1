//! A comparison as one page that needs nothing else: the answer, the counts, and every block of every part.

use maud::{Markup, html};
use pages::{Ticket, scrolling};
use records::compared::{Compared, Difference, Found, Kind, Outcome};

use super::{
    agreed_words, base_machine_words, change_words, cost_words, costs_heading, count_words, digits, failures_words, found_words,
    interval, method, numbers, sentence, signed, tail_words, wire_words,
};
use crate::html::frame;

/// Width and height of a strip, in its own units.
const STRIP: (f64, f64) = (640.0, 64.0);
/// Where its blocks begin: left of them is the scale.
const LEFT: f64 = 76.0;

/// Renders it.
pub fn page(compared: &Compared) -> String {
    let class = match compared.outcome {
        Outcome::Regression => "answer",
        Outcome::NoRegression => "answer healthy",
        Outcome::TooNoisy => "answer inconclusive",
    };
    let body = html! {
        h1 { "Two " (compared.kind.words()) " compared" }
        @for (word, subject) in [("Base", &compared.base), ("Candidate", &compared.candidate)] {
            div.soft { (word) ": " code { (subject.name) } @if !subject.agreed.is_empty() { ", " (subject.agreed.join(", ")) } }
        }
        p class=(class) { (sentence(compared)) }
        (ticket(compared).render("t-compared"))
        @if let Some(failures) = compared.failures.as_ref().filter(|failures| failures.any()) {
            h2 { "Failures" }
            p { (failures_words(failures)) }
            @for why in [&failures.candidate_why, &failures.base_why].into_iter().flatten() { p.soft { code { (why) } } }
        }
        @if !compared.counts.is_empty() { (counts(compared)) }
        @if !compared.costs.is_empty() {
            h2 { (costs_heading(compared.kind)) }
            p.soft { "Shown, not judged." }
            ul { @for cost in &compared.costs { li { (cost_words(cost)) } } }
        }
        @if let Some(wire) = &compared.on_wire {
            h2 { "Round trips" }
            p class=(if wire.is_worse() { "bad" } else { "" }) { (wire_words(wire)) @if wire.is_worse() { " (worse)" } }
        }
        @if !compared.differences.is_empty() { (times(compared)) }
    };
    frame(&format!("two {} compared", compared.kind.words()), &body)
}

fn ticket(compared: &Compared) -> Ticket {
    let mut ticket = Ticket::new(format!("Two {} compared: {}", compared.kind.words(), sentence(compared)))
        .fact("Base", compared.base.name.clone())
        .fact("Candidate", compared.candidate.name.clone());
    for count in compared.counts.iter().filter(|count| count.is_worse()) {
        ticket = ticket.fact("Worse", count_words(count));
    }
    if let Some(wire) = compared.on_wire.as_ref().filter(|wire| wire.is_worse()) {
        ticket = ticket.fact("Worse", wire_words(wire));
    }
    for d in &compared.differences {
        let said = format!("{} ms ({}): {}", signed(d.median_ms), interval(d), found_words(d.found));
        ticket = ticket.fact(&format!("{}, {}", d.part.phase.words(), d.part.owner.words()), said);
    }
    ticket
}

fn counts(compared: &Compared) -> Markup {
    html! {
        h2 { "Counts" }
        @match compared.kind {
            Kind::Edges => p.soft { "What the edge makes clients send, receive or wait for." }
            Kind::Clients => p.soft { "What the client sends, opens and waits for." }
        }
        @for words in agreed_words(compared).into_iter().chain(base_machine_words(compared)) { p { (words) } }
        table {
            thead { tr { th scope="col" { "count" } th scope="col" { "base → candidate" } } }
            tbody {
                @for count in &compared.counts {
                    tr {
                        td { (count.what.words()) }
                        td class=(if count.is_worse() { "bad" } else { "" }) {
                            (numbers(count)) @if !change_words(count).is_empty() { " (" (change_words(count)) ")" }
                        }
                    }
                }
            }
        }
    }
}

fn times(compared: &Compared) -> Markup {
    html! {
        h2 { "Time by owner" }
        p.soft { (method(compared)) }
        @for (i, d) in compared.differences.iter().enumerate() {
            h3 { (d.part.phase.words()) ", " (d.part.owner.words()) }
            p {
                "base " (digits(d.base_ms)) " ms, difference " (signed(d.median_ms)) " ms (" (interval(d)) "): "
                span class=(tone(d.found)) { (found_words(d.found)) }
                @if d.tail.is_some_and(|tail| tail.candidate > tail.base) { ". " (tail_words(d)) }
                @if let Some(more) = d.more_blocks { ", about " (more) " blocks more would tell" }
            }
            (scrolling(&format!("Blocks of {}, {}", d.part.phase.words(), d.part.owner.words()), &strip(compared, i, d)))
        }
    }
}

/// Each block's difference in the order in which they were measured; the band is what is not worth a word.
fn strip(compared: &Compared, part: usize, difference: &Difference) -> Markup {
    let all: Vec<f64> = compared.blocks.iter().filter_map(|b| Some(b.candidate_ms.get(part)? - b.base_ms.get(part)?)).collect();
    let noticed = difference.noticed_ms;
    let mut sizes: Vec<f64> = all.iter().map(|ms| ms.abs()).collect();
    sizes.sort_by(f64::total_cmp);
    // Nine tenths of them fill the strip; whatever lies farther is drawn at its border.
    let usual = sizes.get(sizes.len() * 9 / 10).copied().unwrap_or(0.0);
    let most = usual.max(noticed).max(difference.median_ms.abs()) * 1.15;
    let (width, height) = STRIP;
    let y = |ms: f64| height / 2.0 - (ms / most).clamp(-1.0, 1.0) * (height / 2.0 - 4.0);
    let x = |i: usize| LEFT + (i as f64 + 0.5) * (width - LEFT - 10.0) / all.len().max(1) as f64;
    let text = format!("{} blocks, median difference {} ms", all.len(), signed(difference.median_ms));
    html! {
        svg.waterfall.strip viewBox=(format!("0 0 {width} {height}")) role="img" aria-label=(text) {
            rect x=(LEFT) y=(y(noticed)) width=(width - LEFT - 10.0) height=(y(-noticed) - y(noticed)) fill="currentColor" opacity="0.07" {}
            line.grid x1=(LEFT) x2=(width - 10.0) y1=(y(0.0)) y2=(y(0.0)) {}
            text.tick x=(LEFT - 6.0) y=(y(0.0) + 3.0) text-anchor="end" { "0" }
            text.tick x=(LEFT - 6.0) y="11" text-anchor="end" { "+" (digits(most)) " ms" }
            @for (i, ms) in all.iter().enumerate() {
                circle.path cx=(x(i)) cy=(y(*ms)) r="2.2" { title { "block " (i + 1) ": " (signed(*ms)) " ms" } }
            }
            line.rail x1=(LEFT) x2=(width - 10.0) y1=(y(difference.median_ms)) y2=(y(difference.median_ms)) stroke-dasharray="4 3" {}
        }
    }
}

fn tone(found: Found) -> &'static str {
    match found {
        Found::Slower | Found::SlowerAtTimes => "bad",
        Found::Faster | Found::Same => "ok",
        Found::NotConfirmed | Found::Open => "open",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_is_drawn_and_names_are_text() {
        let compared = crate::compared::tests::regression();
        let page = page(&compared);
        assert_eq!(page.matches("<circle").count(), compared.blocks.len() * compared.differences.len());
        assert!(page.contains("https://old.test/&lt;b&gt;") && !page.contains("<b>") && !page.contains('\u{1b}'));
        let wire = super::page(&crate::compared::tests::on_a_wire());
        assert!(wire.contains("<p class=\"bad\">on a wire of 50 ms: 2 → 3 round trips to Finished"), "{wire}");
        let empty = super::page(&Compared { blocks: vec![], ..compared });
        assert!(!empty.contains("<circle") && !empty.contains("NaN"));
    }
}
