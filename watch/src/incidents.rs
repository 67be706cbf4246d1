//! The two-week incident diagram: longer boxes are longer, darker boxes are of higher impact, rows by place.

use std::collections::BTreeMap;

use maud::{Markup, html};

use crate::event::{culprit_words, time};
use crate::page::class_of;
use crate::store::Incident;

/// Two weeks, in seconds.
pub const WEEKS: i64 = 14 * 86_400;
const DAY: i64 = 86_400;

/// The diagram for the two weeks before `now`.
pub fn diagram(found: &[Incident], now: i64) -> Markup {
    let from = now - WEEKS;
    let x = |at: i64| (at - from).clamp(0, WEEKS) as f64 / WEEKS as f64 * 100.0;
    let mut places: BTreeMap<(&str, &str), Vec<&Incident>> = BTreeMap::new();
    for i in found {
        places.entry((&i.vantage, &i.name)).or_default().push(i);
    }
    let midnights = || (0..=15).map(|d| (from / DAY + d) * DAY).filter(|t| *t >= from && *t <= now);
    html! {
        div.weeks {
            @if found.is_empty() { p { "None. Long may it last." } }
            @for ((vantage, name), incidents) in &places {
                div.place { (vantage) " → " (name) }
                div.lane {
                    @for t in midnights() { i style=(format!("left:{:.2}%", x(t))) {} }
                    @for i in incidents {
                        // The shortest is still to be seen, and within its lane.
                        @let (left, right) = (x(i.since).min(99.5), x(i.ended.unwrap_or(now)));
                        a.(class_of(&i.culprit)) href=(format!("#{}", anchor(i)))
                            style=(format!("left:{left:.2}%;width:{:.2}%;opacity:{:.2}", (right - left).max(0.5), impact(i)))
                            title=(format!("{}: {} – {}", culprit_words(&i.culprit), time(i.since), i.ended.map_or("now".into(), time))) {}
                    }
                }
            }
            div.days { @for t in midnights().step_by(2) { span style=(format!("left:{:.2}%", x(t))) { (day(t)) } } }
        }
        p.soft { "Longer boxes lasted longer; darker ones hurt more (share of bad rounds, and how slow). Each opens its evidence." }
    }
}

/// How much it hurt, from 0.35 (hardly) to 1: the share of bad rounds, and a second beyond the baseline counts in full.
pub fn impact(i: &Incident) -> f64 {
    let share = f64::from(i.bad) / f64::from(i.rounds.max(1));
    let slow = (i.worst_ms / 1_000.0).clamp(0.1, 1.0);
    // A failure has no time beyond the baseline, and hurts in full.
    let slow = if i.worst_ms == 0.0 { 1.0 } else { slow };
    0.35 + 0.65 * (share * slow).sqrt().min(1.0)
}

/// Its name within a page.
pub fn anchor(i: &Incident) -> String {
    let name: String = i.key.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    format!("{name}-{}", i.since)
}

fn day(t: i64) -> String {
    jiff::Timestamp::from_second(t).map_or_else(|_| String::new(), |t| t.strftime("%b %-d").to_string())
}

/// The same for a terminal, one line each.
pub fn lines(found: &[Incident]) -> String {
    let mut text = String::new();
    for i in found {
        let minutes = i.ended.map(|e| format!("{} min", (e - i.since + 59) / 60)).unwrap_or_else(|| "still on".into());
        text += &format!("{}  {minutes:>9}  {:<12} {} from {}: {}\n", time(i.since), i.culprit, i.name, i.vantage, i.sentence);
    }
    if text.is_empty() { "no incidents\n".into() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longer_is_longer_and_worse_is_darker() {
        let incident = |since, ended, bad, worst_ms| Incident {
            key: "a@here".into(),
            since,
            ended: Some(ended),
            name: "a".into(),
            vantage: "here".into(),
            target: "t".into(),
            culprit: "edge".into(),
            phase: "server_flight".into(),
            worst_ms,
            rounds: 10,
            bad,
            sentence: String::new(),
        };
        assert!(impact(&incident(0, 1, 10, 900.0)) > impact(&incident(0, 1, 3, 900.0)));
        assert!(impact(&incident(0, 1, 10, 900.0)) > impact(&incident(0, 1, 10, 100.0)));
        let now = WEEKS;
        let drawn =
            diagram(&[incident(0, WEEKS / 2, 5, 100.0), incident(WEEKS / 2, WEEKS / 2 + WEEKS / 4, 5, 100.0)], now).into_string();
        assert!(drawn.contains("left:0.00%;width:50.00%") && drawn.contains("left:50.00%;width:25.00%"), "{drawn}");
    }
}
