//! The two-week incident diagram: longer boxes are longer, darker boxes are of higher impact, rows by place.

use std::collections::BTreeMap;
use std::time::Duration;

use alerting::Incident;
use alerting::clock::UnixSeconds;
use maud::{Markup, html};

use crate::page::class_of;

/// What the diagram shows.
pub const TWO_WEEKS: Duration = Duration::from_secs(14 * DAY.unsigned_abs());
/// Seconds of a day.
const DAY: i64 = 86_400;

/// The diagram for the two weeks before `now`.
pub fn diagram(found: &[Incident], now: UnixSeconds) -> Markup {
    let from = now - TWO_WEEKS;
    let x = |at: UnixSeconds| (at.since(from).as_secs_f64() / TWO_WEEKS.as_secs_f64()).min(1.0) * 100.0;
    let mut places: BTreeMap<(&str, &str), Vec<&Incident>> = BTreeMap::new();
    for i in found {
        places.entry((&i.vantage, &i.name)).or_default().push(i);
    }
    let midnight = |d| UnixSeconds::from_secs((from.secs() / DAY + d) * DAY);
    let midnights = || (0..=15).map(midnight).filter(|t| *t >= from && *t <= now);
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
                        a.(class_of(i.culprit)) href=(format!("#{}", anchor(i)))
                            style=(format!("left:{left:.2}%;width:{:.2}%;opacity:{:.2}", (right - left).max(0.5), impact(i)))
                            title=(format!("{}: {} – {}", i.culprit.words(), i.since, until(i)))
                            aria-label=(format!("{name}: {}, {} – {}", i.culprit.words(), i.since, until(i))) {}
                    }
                }
            }
            div.days { @for t in midnights().step_by(2) { span style=(format!("left:clamp(1.5em, {:.2}%, calc(100% - 1.5em))", x(t))) { (day(t)) } } }
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
    format!("{name}-{}", i.since.secs())
}

/// Until when it lasted, in words.
pub fn until(i: &Incident) -> String {
    i.ended.map_or("now".into(), |ended| ended.to_string())
}

fn day(t: UnixSeconds) -> String {
    jiff::Timestamp::from_second(t.secs()).map_or_else(|_| String::new(), |t| t.strftime("%b %-d").to_string())
}

/// The same for a terminal, one line each.
pub fn lines(found: &[Incident]) -> String {
    let mut text = String::new();
    for i in found {
        let minutes =
            i.ended.map(|e| format!("{} min", e.since(i.since).as_secs().div_ceil(60))).unwrap_or_else(|| "still on".into());
        text += &format!("{}  {minutes:>9}  {:<12} {} from {}: {}\n", i.since, i.culprit, i.name, i.vantage, i.sentence);
    }
    if text.is_empty() { "no incidents\n".into() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alerting::Culprit;

    const START: UnixSeconds = UnixSeconds::from_secs(0);

    #[test]
    fn longer_is_longer_and_worse_is_darker() {
        let incident = |since: u64, ended: u64, bad, worst_ms| Incident {
            key: "a@here".into(),
            since: START + Duration::from_secs(since),
            ended: Some(START + Duration::from_secs(ended)),
            name: "a".into(),
            vantage: "here".into(),
            target: "t".into(),
            culprit: Culprit::Edge,
            phase: "server_flight".into(),
            worst_ms,
            rounds: 10,
            bad,
            sentence: String::new(),
        };
        assert!(impact(&incident(0, 1, 10, 900.0)) > impact(&incident(0, 1, 3, 900.0)));
        assert!(impact(&incident(0, 1, 10, 900.0)) > impact(&incident(0, 1, 10, 100.0)));
        let weeks = TWO_WEEKS.as_secs();
        let drawn = [incident(0, weeks / 2, 5, 100.0), incident(weeks / 2, weeks / 2 + weeks / 4, 5, 100.0)];
        let drawn = diagram(&drawn, START + TWO_WEEKS).into_string();
        assert!(drawn.contains("left:0.00%;width:50.00%") && drawn.contains("left:50.00%;width:25.00%"), "{drawn}");
    }
}
