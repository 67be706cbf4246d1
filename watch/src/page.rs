//! The status page: now, trends, incidents, a check's last rounds. One file each, no outside assets, legible on a phone.

use std::collections::BTreeMap;

use alerting::clock::UnixSeconds;
use alerting::event::PROBER;
use alerting::store::Refused;
use alerting::{Culprit, Incident};
use analysis::clock::Span;
use analysis::judging::ledger::Owner;
use maud::{Markup, html};
use serving::document;

use crate::blame::side;
use crate::checks::Role;
use crate::clock::{UnixHour, second};
use crate::incidents;
use crate::status::{CheckStatus, RoundSummary, Snapshot};
use crate::store::{Hourly, RoundRecord};

/// What rounds took, by hour.
pub type Trend = Vec<Hourly>;

/// Whose time bars show, in their order, with words.
const LEGEND: [(Culprit, &str); 7] = [
    (Culprit::Resolver, "resolver"),
    (Culprit::Prober, "the prober itself"),
    (Culprit::Path, "path"),
    (Culprit::Loss, "loss"),
    (Culprit::Edge, "edge"),
    (Culprit::Protocol, "protocol"),
    (Culprit::Inconclusive, "open"),
];

pub(crate) fn frame(title: &str, snapshot: &Snapshot, refresh: bool, body: &Markup) -> String {
    let body = html! {
        @for (what, trouble) in &snapshot.alerts.trouble { p.trouble { (what) ": " (trouble) } }
        @if let Some(sick) = &snapshot.checks.sick {
            p.trouble { "This prober is too sick to judge others: " (sick) ". Rounds are kept, but alert nobody about a target." }
        }
        (body)
    };
    document(title, refresh, &[("/", "now"), ("/incidents", "incidents"), ("/metrics", "metrics")], &body)
}

/// What is wrong now, for every check.
pub fn now(snapshot: &Snapshot, vantage: &str, trends: &BTreeMap<String, Trend>) -> String {
    let checks = &snapshot.checks.by_name;
    let of = |role: Role| checks.iter().filter(move |(_, c)| c.role == role);
    let bad = checks.values().filter(|c| c.active.is_some()).count();
    let body = html! {
        h1 { "From " (vantage) ": " @if bad == 0 { "nothing is wrong" } @else { (bad) " of " (checks.len()) " checks are in trouble" } }
        @for (role, title) in [(Role::Edge, "Targets"), (Role::Control, "Controls")] {
            @if of(role).next().is_some() {
                h2 { (title) }
                div.matrix { @for (name, check) in of(role) { (card(name, check, trends.get(name))) } }
            }
        }
        @if checks.is_empty() { p { "No round has ended yet." } }
        (refused(&snapshot.alerts.refused))
        (legend())
    };
    frame("now", snapshot, true, &body)
}

/// Messages that nobody was told of.
pub(crate) fn refused(refused: &[Refused]) -> Markup {
    html! {
        @if !refused.is_empty() {
            h2 { "Messages that a receiver refused" }
            @for r in refused.iter().rev() {
                section.round {
                    div { b { (r.event.summary()) } }
                    div.soft { (r.at) " · " (r.receiver) }
                    div { (r.why) }
                }
            }
        }
    }
}

fn card(name: &str, check: &CheckStatus, trend: Option<&Trend>) -> Markup {
    let last = check.last.as_ref();
    let (class, word) = match (&check.active, last) {
        (Some(active), _) => (class_of(active.blame.culprit), active.blame.culprit.words().to_owned()),
        (None, Some(r)) if r.sick.is_some() => ("o-client", "this round does not count: the prober is sick".into()),
        (None, Some(r)) => match r.culprit {
            Some(culprit) => (class_of(culprit), format!("last round: {}", culprit.words())),
            None => ("o-good", "as usual".into()),
        },
        (None, None) => ("o-none", "no round yet".into()),
    };
    html! {
        a.card href=(format!("/check/{}", escape_path(name))) {
            span.dot.(class) {}
            b { (name) }
            span.soft { " " (check.target) }
            div { (word) }
            @if let Some(r) = last { div.soft { (ms(r.total_ms)) " in all" @if let Some(rtt) = r.rtt_ms { ", round trip " (ms(rtt)) } ", evidence: " (r.grade) } }
            @if let Some(active) = &check.active { p.said { (active.blame.sentence) } }
            div.history { @for r in check.recent.iter().rev() { (tick(r)) } }
            @if let Some(trend) = trend { (sparkline(trend)) }
        }
    }
}

pub(crate) fn tick(r: &RoundSummary) -> Markup {
    let class = match (r.sick, r.culprit, r.success) {
        (true, ..) => "o-client",
        (_, Some(culprit), _) => class_of(culprit),
        (_, None, true) => "o-good",
        (_, None, false) => "o-open",
    };
    let height = (r.total_ms.max(1.0).log10() * 9.0).clamp(4.0, 36.0);
    html! { span.tick.(class) style=(format!("height:{height:.0}px")) title=(format!("{} · {}", second(r.started), ms(r.total_ms))) {} }
}

/// A check's last rounds, each as a bar of owners.
pub fn check(snapshot: &Snapshot, name: &str, rounds: &[RoundRecord], trends: &[(&str, Trend)]) -> String {
    let longest = rounds.iter().map(|r| r.total_ms).fold(1.0, f64::max);
    let view = snapshot.checks.by_name.get(name).cloned().unwrap_or_default();
    let body = html! {
        h1 { (name) }
        p.soft { (view.target) }
        @if let Some(active) = &view.active {
            p.said { b { (active.blame.culprit.words()) } " since " (active.since) ", " (active.bad) " of " (active.rounds) " rounds. " (active.blame.sentence) }
        }
        h2 { "Last rounds" }
        (legend())
        @if rounds.is_empty() { p { "None yet." } }
        @for r in rounds { (waterfall(r, longest)) }
        h2 { "Two weeks, by hour" }
        div.trends { @for (what, trend) in trends { @if !trend.is_empty() { figure { figcaption { (what) } (sparkline(trend)) } } } }
    };
    frame(name, snapshot, false, &body)
}

fn waterfall(r: &RoundRecord, longest: f64) -> Markup {
    let width = |part: f64| format!("width:{:.2}%", part / longest * 100.0);
    html! {
        section.round {
            div.soft { (second(r.started)) " · " (ms(r.total_ms)) " · " (r.verdict) @if let Some(a) = &r.address { " · " (a) } " · evidence: " (r.grade) }
            div.bar {
                @for (phase, owner, part) in &r.parts {
                    span.(class_of_owner(owner)) style=(width(*part)) title=(format!("{phase}: {owner}, {}", ms(*part))) {}
                }
            }
            div { (r.sentence) @if let Some(reason) = &r.reason { " (" (reason) ")" } }
            @if let Some(sick) = &r.sick { div.soft { "Does not count: " (sick) "." } }
            details { summary.soft { "its parts" } table { @for (phase, owner, part) in &r.parts { tr { td { (phase) } td { (owner) } td.n { (ms(*part)) } } } } }
        }
    }
}

/// The incident diagram and, below it, each incident.
pub fn incident_page(snapshot: &Snapshot, found: &[Incident], now: UnixSeconds) -> String {
    let body = html! {
        h1 { "Two weeks of incidents" }
        (incidents::diagram(found, now))
        h2 { "Each of them" }
        @for i in found.iter().rev() {
            section.round id=(incidents::anchor(i)) {
                div { span.dot.(class_of(i.culprit)) {} b { (i.name) } " from " (i.vantage) ": " (i.culprit.words()) }
                div.soft { (i.since) " – " (incidents::until(i)) " · " (i.bad) " of " (i.rounds) " rounds · worst " (ms(i.worst_ms)) " · " (i.phase) }
                div { (i.sentence) }
                @if i.name != PROBER {
                    a href=(format!("/check/{}?until={}", escape_path(&i.name), i.ended.unwrap_or(now).secs())) { "its rounds" }
                }
            }
        }
    };
    frame("incidents", snapshot, false, &body)
}

/// The incident diagram as a page of its own.
pub fn incident_file(found: &[Incident], now: UnixSeconds) -> String {
    incident_page(&Snapshot::default(), found, now)
}

pub(crate) fn legend() -> Markup {
    html! {
        p.legend { @for (culprit, words) in LEGEND { span { span.dot.(class_of(culprit)) {} (words) } } }
    }
}

/// The class of a culprit.
pub(crate) fn class_of(culprit: Culprit) -> &'static str {
    match culprit {
        Culprit::Resolver => "o-dns",
        Culprit::Prober => "o-client",
        Culprit::Path | Culprit::Access => "o-path",
        Culprit::Loss => "o-loss",
        Culprit::Edge | Culprit::Certificate => "o-edge",
        Culprit::Protocol => "o-protocol",
        Culprit::Inconclusive => "o-open",
    }
}

/// The class of an owner by the label that a round was kept with.
fn class_of_owner(label: &str) -> &'static str {
    label.parse::<Owner>().map_or("o-open", |owner| class_of(side(owner)))
}

/// Median as a line, 99th percentile as an area, on a logarithmic scale.
pub(crate) fn sparkline(trend: &Trend) -> Markup {
    let (Some(first), Some(last)) = (trend.first(), trend.last()) else { return html! {} };
    let most = trend.iter().map(|h| h.p99_ms).fold(1.0, f64::max);
    let least = trend.iter().map(|h| h.p50_ms).fold(most, f64::min).max(0.01);
    let hours = last.hour.since(first.hour).max(1) as f64;
    let x = |hour: UnixHour| if first.hour == last.hour { 50.0 } else { hour.since(first.hour) as f64 / hours * 100.0 };
    let scale = (most / least).log10().max(0.3);
    let y = |v: f64| 28.0 - (v.max(least) / least).log10() / scale * 26.0;
    let point = |hour: UnixHour, ms: f64| format!("{:.1},{:.1}", x(hour), y(ms));
    let p50: Vec<String> = trend.iter().map(|h| point(h.hour, h.p50_ms)).collect();
    let p99 = trend.iter().map(|h| point(h.hour, h.p99_ms));
    let area: Vec<String> = p99.chain(p50.iter().rev().cloned()).collect();
    html! {
        div.spark {
            @if trend.len() > 1 { svg viewBox="0 0 100 30" preserveAspectRatio="none" role="img" aria-label=(format!("median {}, 99th percentile up to {}", ms(last.p50_ms), ms(most))) {
                polygon points=(area.join(" ")) {}
                polyline points=(p50.join(" ")) {}
            } }
            span.soft { "p50 " (ms(last.p50_ms)) " · p99 up to " (ms(most)) }
        }
    }
}

pub(crate) fn ms(value: f64) -> String {
    Span::from_nanos((value * 1e6) as i64).to_string()
}

/// A name as a part of a path.
pub(crate) fn escape_path(name: &str) -> String {
    name.bytes()
        .map(|b| match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(b).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alerting::Event;
    use alerting::states::Blame;

    #[test]
    fn a_message_that_was_refused_is_shown_with_the_receivers_words() {
        let blame = Blame { culprit: Culprit::Edge, phase: "finish".into(), ms: 300.0, sentence: "Slow.".into() };
        let event = Event {
            key: "login@here".into(),
            check: "login".into(),
            vantage: "here".into(),
            seen_from: Vec::new(),
            target: "login.test:443".into(),
            resolved: false,
            since: UnixSeconds::from_secs(1),
            ended: None,
            blame,
            labels: BTreeMap::new(),
            link: None,
        };
        let why = "it answered 400 Bad Request: invalid label set".to_owned();
        let at = UnixSeconds::from_secs(1_800_000_000);
        let mut snapshot = Snapshot::default();
        assert!(!now(&snapshot, "here", &BTreeMap::new()).contains("Messages that a receiver refused"));
        snapshot.alerts.refused.push(Refused { receiver: "alertmanager am #1".into(), event, why, at, kept: true });
        let page = now(&snapshot, "here", &BTreeMap::new());
        for part in ["login from here", "invalid label set", "alertmanager am #1", "2027-01-15T08:00:00Z"] {
            assert!(page.contains(part), "{part}: {page}");
        }
    }
}
