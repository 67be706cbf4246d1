//! The history as one page that needs nothing else: what changed, newest first, then every series with its levels.

use maud::{Markup, html};
use pages::{Frame, PLAIN, scrolling};

use crate::changes::{Change, Sort, changes, median};
use crate::history::{Measured, Series, series};

/// Width and height of a picture, in its own units, and what is left of the values.
const PICTURE: (f64, f64) = (720.0, 150.0);
const LEFT: f64 = 64.0;
/// The rim above and below the values, and right of them.
const RIM: f64 = 14.0;

/// Renders it.
pub fn page(lines: &[Measured]) -> String {
    let series: Vec<(Series, Vec<Change>)> = series(lines).into_iter().map(|s| with_changes(s)).collect();
    let body = html! {
        h1 { "Benchmarks, commit after commit" }
        @match (lines.first(), lines.last()) {
            (Some(first), Some(last)) => p.soft {
                (lines.len()) " measurements from " (day(first)) " to " (day(last)) ". Counts of instructions repeat on one processor with one compiler: a step of more than 1 % is a change. \
                Times do not: a change is where E-divisive finds one that chance would do at most once in a hundred times. "
                code { "cargo xtask history" } " measures and adds one."
            },
            _ => p.soft { "Nothing is measured yet: " code { "cargo xtask history" } },
        }
        (summary(&series))
        @for (i, (one, changes)) in series.iter().enumerate() { (shown(i, one, changes)) }
    };
    Frame { title: "benchmarks", styles: PLAIN, refresh: false, nav: &[] }.around(&body)
}

fn with_changes(series: Series<'_>) -> (Series<'_>, Vec<Change>) {
    let values: Vec<f64> = series.values.iter().map(|(_, value)| *value).collect();
    let changes = changes(series.sort, &values);
    (series, changes)
}

/// All changes, the newest first.
fn summary(all: &[(Series, Vec<Change>)]) -> Markup {
    let mut rows: Vec<(&Series, &Change)> = all.iter().flat_map(|(s, changes)| changes.iter().map(move |c| (s, c))).collect();
    rows.sort_by(|(a, x), (b, y)| b.values[y.at].0.date.cmp(&a.values[x.at].0.date));
    html! {
        h2 { "Changes" }
        @if rows.is_empty() { p { "None." } } @else {
            (scrolling("Changes", &html! {
                table {
                    thead { tr { th scope="col" { "since" } th scope="col" { "what" } th.n scope="col" { "before" } th.n scope="col" { "after" } th.n scope="col" { "×" } th scope="col" { "first commit measured with it" } } }
                    tbody {
                        @for (series, change) in rows {
                            @let first = series.values[change.at].0;
                            tr {
                                td.day { (day(first)) }
                                td { (series.what) }
                                td.n { (value(series.sort, change.before)) }
                                td.n { (value(series.sort, change.after)) }
                                td class=(if change.ratio() > 1.0 { "n bad" } else { "n ok" }) { (format!("{:.2}", change.ratio())) }
                                td { code { (short(first)) } " " (first.subject) }
                            }
                        }
                    }
                }
            }))
        }
    }
}

fn shown(i: usize, series: &Series, changes: &[Change]) -> Markup {
    let last = series.values.last();
    html! {
        h2 id=(format!("s{i}")) { (series.what) }
        @if let Some((m, now)) = last {
            p.soft {
                "Last " (value(series.sort, *now)) ", by " (m.compiler)
                " on " (processor(&m.machine.cpu))
                @if series.sort == Sort::Timed { ", " (m.machine.cpus) " CPUs, Linux " (m.machine.kernel) }
            }
        }
        (scrolling(&format!("Values of {}", series.what), &picture(series, changes)))
    }
}

/// A dot a commit, a line a level.
fn picture(series: &Series, changes: &[Change]) -> Markup {
    let values: Vec<f64> = series.values.iter().map(|(_, value)| *value).collect();
    let most = values.iter().copied().fold(0.0, f64::max) * 1.05;
    let (width, height) = PICTURE;
    let x = |i: usize| LEFT + RIM + (i as f64 + 0.5) * (width - LEFT - 2.0 * RIM) / values.len().max(1) as f64;
    let y = |v: f64| height - RIM - v / most * (height - 2.0 * RIM);
    let starts: Vec<usize> = [0].into_iter().chain(changes.iter().map(|c| c.at)).collect();
    let ends = starts.iter().copied().skip(1).chain([values.len()]);
    let text = format!("{}: {} values, {} changes", series.what, values.len(), changes.len());
    html! {
        svg.waterfall.strip viewBox=(format!("0 0 {width} {height}")) role="img" aria-label=(text) {
            @for part in [0.0, 0.5, 1.0] {
                line.grid x1=(LEFT) x2=(width - RIM) y1=(y(most * part)) y2=(y(most * part)) {}
                text.tick x=(LEFT - 6.0) y=(y(most * part) + 3.0) text-anchor="end" { (value(series.sort, most * part)) }
            }
            @for change in changes {
                @let cut = f64::midpoint(x(change.at - 1), x(change.at));
                line.rail x1=(cut) x2=(cut) y1=(RIM / 2.0) y2=(height - RIM) stroke-dasharray="3 3" {}
                text.tick x=(cut + 4.0) y=(RIM) { (format!("× {:.2}", change.ratio())) }
            }
            @for (from, to) in starts.iter().copied().zip(ends).filter(|(from, to)| from < to) {
                @let level = y(median(&values[from..to]));
                line.rail.level x1=(x(from) - 3.0) x2=(x(to - 1) + 3.0) y1=(level) y2=(level) {}
            }
            @for (i, (m, v)) in series.values.iter().enumerate() {
                circle.value fill="var(--path)" cx=(x(i)) cy=(y(*v)) r="3" { title { (short(m)) " " (m.subject) ": " (value(series.sort, *v)) } }
            }
        }
    }
}

/// With its unit where it is a time.
fn value(sort: Sort, value: f64) -> String {
    match sort {
        Sort::Counted => grouped(value.round() as u64),
        Sort::Timed if value >= 10_000.0 => format!("{:.1} µs", value / 1_000.0),
        Sort::Timed if value >= 100.0 => format!("{value:.0} ns"),
        Sort::Timed => format!("{value:.1} ns"),
    }
}

/// 61134 as 61,134.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let places = digits.chars().enumerate();
    places.fold(String::new(), |mut text, (i, digit)| {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
        text
    })
}

fn day(m: &Measured) -> &str {
    m.date.split('T').next().unwrap_or_default()
}

fn short(m: &Measured) -> &str {
    m.commit.get(..9).unwrap_or(&m.commit)
}

/// What was written down before the history began names no processor.
fn processor(cpu: &str) -> &str {
    if cpu == "?" { "a processor that was not noted" } else { cpu }
}

#[cfg(test)]
mod tests {
    use super::*;
    use records::compared::Fingerprint;

    fn measured(n: usize, value: f64) -> Measured {
        Measured {
            commit: format!("{n:040x}"),
            date: format!("2026-01-{:02}T00:00:00Z", n + 1),
            subject: "a <change>".to_owned(),
            machine: Fingerprint { cpu: "a CPU".to_owned(), cpus: 2, kernel: "6".to_owned() },
            compiler: "rustc 1".to_owned(),
            instructions: [("a handshake".to_owned(), value)].into(),
            nanoseconds: [].into(),
        }
    }

    #[test]
    fn a_change_is_named_by_its_first_commit_and_ratio() {
        let lines: Vec<Measured> = [61_134.0, 61_200.0, 30_000.0].into_iter().enumerate().map(|(n, v)| measured(n, v)).collect();
        let page = page(&lines);
        assert!(
            page.contains("2026-01-03") && page.contains("61,167") && page.contains("30,000") && page.contains("0.49"),
            "{page}"
        );
        assert!(page.contains("a &lt;change&gt;") && !page.contains("a <change>"));
        assert_eq!(page.matches("<circle").count(), 3);
        assert_eq!(page.matches("rail level").count(), 2);
    }

    #[test]
    fn no_line_is_a_page_too() {
        assert!(page(&[]).contains("Nothing is measured yet"));
    }
}
