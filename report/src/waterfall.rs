//! One handshake as a picture: a lane per observer, the ledger as a bar below.

use analysis::conversation::milestone::Milestone;
use analysis::judging::ledger::{Ledger, Owner};
use maud::{Markup, html};
use records::handshake::{Lane, Mark};

use crate::citing::Files;

const WIDTH: f64 = 900.0;
const LEFT: f64 = 110.0;
const LANE: f64 = 46.0;
/// How wide a letter of a label is, about.
const LETTER: f64 = 6.3;

/// Draws a handshake as inline SVG.
pub fn draw(drawn: &[Lane], ledger: Option<&Ledger>, files: Files<'_>) -> Markup {
    let last_mark = drawn.iter().flat_map(|l| l.marks.iter().map(|m| m.ms + l.offset_ms)).fold(1.0, f64::max);
    let whole = ledger.map_or(last_mark, |l| l.total.millis().max(last_mark));
    let x = |ms: f64| LEFT + (ms / whole) * (WIDTH - LEFT - 20.0);
    let lanes = drawn.len() as f64;
    let bar_y = 14.0 + lanes * LANE;
    let height = bar_y + 62.0;
    html! {
        svg.waterfall viewBox=(format!("0 0 {WIDTH} {height:.0}")) role="img" aria-label=(aloud(drawn, ledger)) {
            @for i in 0..=5 {
                @let ms = whole * f64::from(i) / 5.0;
                line.grid x1=(f1(x(ms))) x2=(f1(x(ms))) y1="6" y2=(f1(bar_y + 34.0)) {}
                text.tick x=(f1(x(ms))) y=(f1(bar_y + 52.0)) text-anchor=(if i == 5 { "end" } else { "middle" }) { (format!("{ms:.0} ms")) }
            }
            @for (i, lane) in drawn.iter().enumerate() {
                (draw_lane(lane, 14.0 + i as f64 * LANE, &x, files))
            }
            text.lane x="4" y=(f1(bar_y + 20.0)) { "whose time" }
            @if let Some(ledger) = ledger {
                @let starts = running(ledger.entries.iter().map(|e| e.span.millis()));
                @for (entry, start) in ledger.entries.iter().zip(starts) {
                    @let width = (x(entry.span.millis()) - LEFT).max(0.5);
                    rect class=(format!("share {}", css(entry.owner))) x=(f1(x(start))) y=(f1(bar_y + 4.0)) width=(f1(width)) height="26" {
                        title { (format!("{}: {} in {}", entry.owner.words(), entry.span, entry.phase.words())) }
                    }
                }
            }
        }
    }
}

/// The same for who does not see it.
fn aloud(drawn: &[Lane], ledger: Option<&Ledger>) -> String {
    let observers: Vec<&str> = drawn.iter().map(|lane| lane.observer.as_str()).collect();
    let shares = ledger.map(|ledger| {
        let each = ledger.entries.iter().map(|e| format!("{} {} in {}", e.owner.words(), e.span, e.phase.words()));
        format!(". Whose time: {}", each.collect::<Vec<_>>().join(", "))
    });
    format!("Waterfall of one handshake, seen by {}{}", observers.join(", "), shares.unwrap_or_default())
}

/// Where a mark lies, and the row and beginning of its label if there is room for it.
type Placed<'a> = (&'a Mark, f64, Option<(usize, f64)>);

/// Labels of neighbouring marks would lie on each other: each takes the first row where it has room.
fn place<'a>(lane: &'a Lane, x: &dyn Fn(f64) -> f64) -> Vec<Placed<'a>> {
    let mut rows = [f64::MIN; 2];
    let mut marks: Vec<&Mark> = lane.marks.iter().collect();
    marks.sort_by(|a, b| a.ms.total_cmp(&b.ms));
    let placed = marks.into_iter().map(|mark| {
        let (at, width) = (x(mark.ms + lane.offset_ms), width(mark));
        // At the right edge a label begins before its mark.
        let begins = at.min(WIDTH - 20.0 - width);
        let row = rows.iter().position(|end| begins >= *end);
        if let Some(row) = row {
            rows[row] = begins + width + LETTER;
        }
        (mark, at, row.map(|row| (row, begins)))
    });
    placed.collect()
}

/// A milestone's name in words; what else is marked has words for its name.
fn name(mark: &Mark) -> &str {
    mark.name.parse::<Milestone>().map_or(&mark.name, |milestone| milestone.label())
}

/// How wide a mark's label is, about.
fn width(mark: &Mark) -> f64 {
    name(mark).chars().count() as f64 * LETTER
}

fn draw_lane(lane: &Lane, y: f64, x: &dyn Fn(f64) -> f64, files: Files<'_>) -> Markup {
    html! {
        text.lane x="4" y=(f1(y + 20.0)) { (lane.observer) }
        line.rail x1=(f1(LEFT)) x2=(f1(WIDTH - 20.0)) y1=(f1(y + 16.0)) y2=(f1(y + 16.0)) {}
        @for (mark, at, row) in place(lane, x) {
            circle.mark cx=(f1(at)) cy=(f1(y + 16.0)) r="3.5" {
                title { (format!("{} at {:.2} ms on this observer's clock{}", name(mark), mark.ms, mark.packet.map_or(String::new(), |p| format!(", packet {}", files.packet(p))))) }
            }
            @if let Some((row, begins)) = row {
                text.label x=(f1(begins)) y=(f1(if row == 0 { y + 8.0 } else { y + 31.0 })) { (name(mark)) }
            }
        }
    }
}

fn running(spans: impl Iterator<Item = f64>) -> Vec<f64> {
    spans
        .scan(0.0, |at, span| {
            let start = *at;
            *at += span;
            Some(start)
        })
        .collect()
}

/// The style class of an owner's colour.
pub fn css(owner: Owner) -> &'static str {
    match owner {
        Owner::Resolver => "resolver",
        Owner::ClientApp | Owner::Client => "client-app",
        Owner::ClientHost => "client-host",
        Owner::Path => "path",
        Owner::Loss => "loss",
        Owner::EdgeHost => "edge-host",
        Owner::EdgeApp | Owner::Edge => "edge-app",
        Owner::Protocol => "protocol",
        Owner::Unattributed => "unattributed",
    }
}

fn f1(value: f64) -> String {
    format!("{value:.1}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_lie_side_by_side_up_to_the_right_edge() {
        let at = |ms: f64| Mark { name: "client_finished".into(), ms, packet: None };
        let marks = [0.0, 1.0, 2.0, 30.0, 88.0, 92.0, 95.0, 99.0, 100.0].map(at).to_vec();
        let lane = Lane { observer: "edge wire".into(), offset_ms: 0.0, marks };
        let placed = place(&lane, &|ms| LEFT + ms / 100.0 * (WIDTH - LEFT - 20.0));
        let labels: Vec<(usize, f64)> = placed.iter().filter_map(|(_, _, label)| *label).collect();
        assert!(labels.len() >= 5, "{labels:?}");
        for row in 0..2 {
            let begins: Vec<f64> = labels.iter().filter(|(r, _)| *r == row).map(|(_, begins)| *begins).collect();
            assert!(begins.windows(2).all(|pair| pair[1] - pair[0] > width(&lane.marks[0])), "row {row}: {begins:?}");
            assert!(begins.iter().all(|begins| begins + width(&lane.marks[0]) <= WIDTH), "row {row}: {begins:?}");
        }
    }
}
