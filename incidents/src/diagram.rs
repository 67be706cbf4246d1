//! The two-week diagram: when each incident was on, and when it was detected, as if all of it had been two weeks. Pure.
//!
//! In: outcomes and courses, in the order in which they were played. Out: a page, or a part of one. What is drawn as detected is what watchers said; longer
//! boxes are longer, darker ones are of higher impact (the share of bad rounds).

use alerting::Culprit;
use maud::{Markup, html};
use pages::{Frame, PLAIN};

use crate::course::Course;
use crate::judge::{Found, Outcome};

/// Days that are shown.
const DAYS: f64 = 14.0;
/// What of an incident's share of the days its rounds fill; the rest is quiet.
const FILLED: f64 = 0.92;

/// Styles of [`part`], behind those of a document ([`PLAIN`]) or of a report.
pub const STYLES: &str = include_str!("diagram.css");

/// An alert as it was: from where, about what, by which culprit, in which rounds, and how many of them were bad.
struct Seen<'a> {
    at: &'a str,
    about: &'a str,
    culprit: Culprit,
    from: usize,
    to: usize,
    bad: usize,
    said: &'a str,
}

/// The page.
pub fn page(played: &[&(Outcome, Course)]) -> String {
    let body = html! {
        h1 { "Incidents: would a scheduled check have caught them?" }
        (part(played))
    };
    Frame { title: "incidents", styles: &format!("{PLAIN}{STYLES}"), refresh: false, nav: &[] }.around(&body)
}

/// The diagram with what it shows in words, for a page that has a heading for it.
pub fn part(played: &[&(Outcome, Course)]) -> Markup {
    let held = played.iter().filter(|(outcome, _)| outcome.held()).count();
    html! {
        div.weeks {
            p { (held) " of " (played.len()) " as expected. Above each line: when the fault was on. Below: what watchers said, from the round in which the alert came to the one in which it was over; darker boxes had more bad rounds. Each incident was played in the lab; its rounds are stretched over its share of two weeks." }
            (drawing(played))
            (legend())
            h2 { "What came of each" }
            @for (outcome, _) in played { (details(outcome)) }
        }
    }
}

/// A lane an incident, as wide as the page: above its line the fault, below it what watchers said.
fn drawing(played: &[&(Outcome, Course)]) -> Markup {
    let percent = |day: f64| hundredths(day / DAYS * 100.0);
    html! {
        div.days aria-hidden="true" { @for day in 0..14 { span style=(format!("left:{}%", percent(f64::from(day)))) { (day + 1) } } }
        @for (n, (outcome, course)) in played.iter().enumerate() {
            @let share = DAYS / played.len() as f64;
            @let rounds = course.rounds.len().max(1) as f64;
            // Where a box lies that begins with one round, from 0, and ends with another.
            @let place = |from: f64, to: f64| {
                let [left, right] = [from, to].map(|round| share * (n as f64 + round / rounds * FILLED));
                format!("left:{}%;width:{}%", percent(left), percent(right - left))
            };
            @let seen = seen(course);
            div.name { a href=(format!("#{}", anchor_of(outcome))) { (outcome.name) } " " span.soft { (result(outcome)) } }
            div.lane role="img" aria-label=(aloud(outcome, &seen)) {
                @for day in 1..14 { i style=(format!("left:{}%", percent(f64::from(day)))) {} }
                @for (fault, from, to) in &outcome.turns {
                    b.truth style=(place(f64::from(*from) - 1.0, f64::from(*to))) title=(format!("{fault}: rounds {from} to {to}")) {}
                }
                @for (k, seen) in seen.iter().enumerate() {
                    // Several may see it at once: each is a little lower than the one before.
                    b.(class_of(seen.culprit)) style=(format!("{};top:{}px;opacity:{:.2}", place(seen.from as f64, seen.to as f64 + 1.0), 27 + 3 * (k % 3), opacity(seen)))
                        title=(format!("{}. {}", words(seen), seen.said)) {}
                }
            }
        }
    }
}

/// A lane for who does not see it.
fn aloud(outcome: &Outcome, seen: &[Seen<'_>]) -> String {
    let turns = outcome.turns.iter().map(|(fault, from, to)| format!("{fault} was on in rounds {from} to {to}"));
    turns.chain(seen.iter().map(words)).collect::<Vec<_>>().join("; ")
}

/// "edge from office: the edge, rounds 15 to 27".
fn words(seen: &Seen<'_>) -> String {
    format!("{} from {}: {}, rounds {} to {}", seen.about, seen.at, seen.culprit.whose(), seen.from + 1, seen.to + 1)
}

fn legend() -> Markup {
    html! {
        p.legend {
            span { i.truth {} " the fault was on" }
            @for culprit in [Culprit::Edge, Culprit::Path, Culprit::Loss, Culprit::Resolver, Culprit::Prober, Culprit::Access, Culprit::Inconclusive] {
                span { i.(class_of(culprit)) {} " " (culprit.whose()) }
            }
        }
    }
}

fn details(outcome: &Outcome) -> Markup {
    html! {
        section {
            h3 id=(anchor_of(outcome)) { (outcome.name) }
            p { (outcome.title) }
            ul {
                @for found in &outcome.found {
                    li { (sentence(found)) @if !found.sentence.is_empty() { " " q { (found.sentence) } } }
                }
                @for alarm in &outcome.false_alarms {
                    li.bad { "False alarm of " (alarm.about) " from " (alarm.at) " in round " (alarm.round) ": " (alarm.said) }
                }
            }
        }
    }
}

fn sentence(found: &Found) -> String {
    let what = format!("{} from {}, blaming {}", found.check, found.at, found.culprit);
    let came = found.took.map_or_else(
        || "did not come".to_owned(),
        |took| format!("came in round {took} of the fault (allowed: {})", found.within),
    );
    let wrong = if found.wrong.is_empty() { String::new() } else { format!(" WRONG: {}.", found.wrong.join("; ")) };
    format!("The alert of {what}, {came}.{wrong}")
}

fn result(outcome: &Outcome) -> String {
    let rounds = |of: &dyn Fn(&Found) -> Option<u32>| {
        let rounds: Vec<String> = outcome.found.iter().filter_map(of).map(|n| n.to_string()).collect();
        rounds.join(", ")
    };
    let (alerted, named) = (rounds(&|f| f.alerted), rounds(&|f| f.took));
    match (outcome.held(), alerted.is_empty()) {
        (true, true) => "no alert, as expected".into(),
        (true, false) if alerted == named => format!("detected in round {alerted}"),
        (true, false) => format!("alerted in round {alerted}, named in {named}"),
        (false, _) => "NOT as expected".into(),
    }
}

fn anchor_of(outcome: &Outcome) -> String {
    outcome.name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
}

/// The alerts of a course, each as one stretch of rounds.
fn seen(course: &Course) -> Vec<Seen<'_>> {
    let mut open: Vec<Seen<'_>> = Vec::new();
    for (n, round) in course.rounds.iter().enumerate() {
        for (at, said) in &round.said {
            for alert in &said.alerts {
                let probed = said.probed.iter().find(|probed| probed.check == alert.about);
                let bad = usize::from(probed.is_none_or(|probed| probed.culprit.is_some()));
                let same =
                    |s: &&mut Seen<'_>| s.at == at && s.about == alert.about && s.culprit == alert.culprit && s.to + 1 == n;
                match open.iter_mut().find(same) {
                    Some(seen) => (seen.to, seen.bad, seen.said) = (n, seen.bad + bad, &alert.sentence),
                    None => open.push(Seen {
                        at,
                        about: &alert.about,
                        culprit: alert.culprit,
                        from: n,
                        to: n,
                        bad,
                        said: &alert.sentence,
                    }),
                }
            }
        }
    }
    open
}

/// From hardly to full, by the share of bad rounds.
fn opacity(seen: &Seen<'_>) -> f64 {
    0.35 + 0.65 * (seen.bad as f64 / (seen.to - seen.from + 1) as f64)
}

fn class_of(culprit: Culprit) -> &'static str {
    match culprit {
        Culprit::Resolver => "dns",
        Culprit::Prober => "client",
        Culprit::Path => "path",
        Culprit::Access => "access",
        Culprit::Loss => "loss",
        Culprit::Edge | Culprit::Certificate => "edge",
        Culprit::Protocol => "protocol",
        Culprit::Inconclusive => "open",
    }
}

fn hundredths(x: f64) -> f64 {
    (x * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use alerting::Family;

    use super::*;
    use crate::course::{Alert, Round, Said};

    #[test]
    fn an_incident_fills_its_share_of_the_days_and_its_alert_begins_where_it_came() {
        let alert = || Alert {
            about: "edge".into(),
            culprit: Culprit::Path,
            family: Family::Slow,
            phase: "connect".into(),
            pattern: None,
            sentence: "A <longer> way.".into(),
        };
        let round = |n: usize| {
            let alerts = if (5..10).contains(&n) { vec![alert()] } else { Vec::new() };
            Round { on: Vec::new(), said: BTreeMap::from([("a".to_owned(), Said { probed: Vec::new(), alerts })]) }
        };
        let course = Course { rounds: (0..20).map(round).collect() };
        assert_eq!(seen(&course).iter().map(|s| (s.from, s.to, s.bad)).collect::<Vec<_>>(), [(5, 9, 5)]);
        let outcome = |name: &str| Outcome {
            name: name.into(),
            title: "t".into(),
            rounds: 20,
            turns: vec![("detour".into(), 5, 8)],
            found: Vec::new(),
            false_alarms: Vec::new(),
        };
        let page = page(&[&(outcome("one"), course.clone()), &(outcome("two"), course)]);
        // The second of two begins after seven days.
        let left = |n: f64, round: f64| (7.0 * (n + round / 20.0 * FILLED)) / DAYS * 100.0;
        for x in [left(0.0, 4.0), left(1.0, 4.0), left(0.0, 5.0), left(1.0, 5.0)] {
            let x = hundredths(x);
            assert!(page.contains(&format!("left:{x}%;width:")), "{x}: {page}");
        }
        assert!(page.contains("A &lt;longer&gt; way."), "what was said is text");
        // Behind the styles of another page, whose names these are too, it looks the same.
        let rules = STYLES.split('}').map(str::trim).filter(|rule| !rule.is_empty());
        let of_others: Vec<&str> = rules.filter(|rule| !rule.contains(".weeks ")).collect();
        assert_eq!(of_others, Vec::<&str>::new());
    }
}
