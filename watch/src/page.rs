//! The status page: now, trends, incidents, a check's last rounds. One file each, no outside assets, legible on a phone.

use std::collections::{BTreeMap, VecDeque};

use alerting::clock::UnixSeconds;
use alerting::event::PROBER;
use alerting::states::Active;
use alerting::store::Refused;
use alerting::{Culprit, Family, Incident};
use analysis::clock::{Client, Instant, Span};
use analysis::judging::ledger::Owner;
use analysis::judging::vocabulary::in_words;
use maud::{Markup, html};
use pages::Ticket;
use serving::document;
use settings::words::plural;

use crate::blame::side;
use crate::certificate::time_left;
use crate::checks::Role;
use crate::clock::{UnixHour, second};
use crate::incidents;
use crate::status::{CheckStatus, RoundSummary, Snapshot};
use crate::store::{Hourly, RoundRecord};
use crate::words::of_phase;

/// What rounds took, by hour.
pub type Trend = Vec<Hourly>;

/// Seconds before a certificate's end from which it is shown in alarm, and in warning.
const CLOSE: (i64, i64) = (7 * 86_400, 30 * 86_400);

/// Whose time bars show, in their order, with words.
const LEGEND: [(Culprit, &str); 8] = [
    (Culprit::Resolver, "resolver"),
    (Culprit::Prober, "the prober itself"),
    (Culprit::Path, "path"),
    (Culprit::Loss, "loss"),
    (Culprit::Edge, "edge"),
    (Culprit::Protocol, "protocol"),
    (Culprit::Certificate, "certificate"),
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

/// How bad it is: what comes first on the page.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Standing {
    /// An alert is on, and handshakes or requests fail.
    Failing,
    /// An alert is on.
    Alerting,
    /// The last round was bad.
    Bad,
    /// The last round does not count.
    Sick,
    /// Nothing is known yet.
    Unknown,
    /// As usual.
    Good,
}

fn standing(check: &CheckStatus) -> Standing {
    match (&check.active, &check.last) {
        (Some(active), _) if active.blame.family == Family::Failing => Standing::Failing,
        (Some(_), _) => Standing::Alerting,
        (None, Some(last)) if last.sick.is_some() => Standing::Sick,
        (None, Some(last)) if last.culprit.is_some() => Standing::Bad,
        (None, Some(_)) => Standing::Good,
        (None, None) => Standing::Unknown,
    }
}

/// What is wrong now, for every check: troubles first.
pub fn now(snapshot: &Snapshot, vantage: &str, trends: &BTreeMap<String, Trend>) -> String {
    let mut checks: Vec<(&String, &CheckStatus)> = snapshot.checks.by_name.iter().collect();
    checks.sort_by_key(|(_, check)| standing(check));
    let (wrong, well): (Vec<_>, Vec<_>) = checks.iter().partition(|(_, check)| standing(check) < Standing::Sick);
    let alerting = checks.iter().filter(|(_, check)| check.active.is_some()).count();
    let of = |role: Role| well.iter().filter(move |(_, check)| check.role == role);
    let cards = |checks: &mut dyn Iterator<Item = &(&String, &CheckStatus)>| {
        html! { div.matrix { @for (name, check) in checks { (card(name, check, trends.get(*name))) } } }
    };
    let body = html! {
        h1 { "From " (vantage) ": " (if snapshot.checks.none { "nothing is checked".into() } else { headline(alerting, wrong.len(), checks.len()) }) }
        @if !wrong.is_empty() { h2 { "In trouble" } (cards(&mut wrong.iter())) }
        (refused(&snapshot.alerts.refused))
        @for (role, title) in [(Role::Edge, "Targets"), (Role::Control, "Controls")] {
            @if of(role).next().is_some() { h2 { (title) } (cards(&mut of(role))) }
        }
        @if snapshot.checks.none {
            p { "The check file has no checks: /probe alone is served." }
        } @else if checks.is_empty() {
            p { "No round has ended yet." }
        }
        (legend())
    };
    frame("now", snapshot, true, &body)
}

fn headline(alerting: usize, wrong: usize, all: usize) -> String {
    match (alerting, wrong) {
        (0, 0) => "nothing is wrong".into(),
        (0, _) => format!("no alert is on; the last round was bad at {wrong} of {}", plural(all as u64, "check")),
        _ => format!("{alerting} of {} in trouble", plural(all as u64, "check")),
    }
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
        (Some(active), _) if active.blame.family == Family::Failing => {
            (class_of(active.blame.culprit), format!("{} ({})", active.blame.in_words(), active.blame.culprit.whose()))
        }
        (Some(active), _) => (class_of(active.blame.culprit), active.blame.trouble().to_owned()),
        (None, Some(r)) if r.sick.is_some() => ("o-client", "this round does not count: the prober is sick".into()),
        (None, Some(r)) => match (r.culprit, &r.reason) {
            (Some(culprit), Some(reason)) => (class_of(culprit), format!("last round: {}", of_phase(reason))),
            (Some(culprit), None) => (class_of(culprit), format!("last round: {}", culprit.words())),
            (None, _) => ("o-good", "as usual".into()),
        },
        (None, None) => ("o-none", "no round yet".into()),
    };
    html! {
        a.card href=(format!("/check/{}", escape_path(name))) {
            span.dot.(class) {}
            b { (name) }
            span.soft { " " (check.target) }
            div { (word) }
            @if let Some(r) = last {
                div.soft { (ms(r.total_ms)) " in all" @if let Some(rtt) = r.rtt_ms { ", round trip " (ms(rtt)) } ", evidence: " (r.grade) }
                (certificate(r))
            }
            @if let Some(active) = &check.active { p.said { (active.blame.sentence) } }
            div.history role="img" aria-label=(history(&check.recent)) { @for r in check.recent.iter().rev() { (tick(r)) } }
            @if let Some(trend) = trend { (sparkline(trend)) }
        }
    }
}

/// When the certificate ends, in days and in a colour of its own.
fn certificate(round: &RoundRecord) -> Markup {
    let Some(end) = round.certificate_end else { return html! {} };
    let now = second(round.started);
    let class = match end.secs().saturating_sub(now.secs()) {
        left if left < CLOSE.0 => "ends now",
        left if left < CLOSE.1 => "ends soon",
        _ => "ends",
    };
    html! { div class=(class) { "certificate " (time_left(end, now)) } }
}

/// What a row of bars shows, for who does not see it.
fn history(recent: &VecDeque<RoundSummary>) -> String {
    let bad = recent.iter().filter(|r| r.culprit.is_some() || !r.success).count();
    format!("{} of the last {} bad", bad, plural(recent.len() as u64, "round"))
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

/// A check's last rounds, each as a bar of owners. `base`: how this page's server is reached, for links in tickets.
pub fn check(snapshot: &Snapshot, name: &str, rounds: &[RoundRecord], trends: &[(&str, Trend)], base: &str) -> String {
    let longest = rounds.iter().map(|r| r.total_ms).fold(1.0, f64::max);
    let view = snapshot.checks.by_name.get(name).cloned().unwrap_or_default();
    let body = html! {
        h1 { (name) }
        p.soft { (view.target) }
        @if let Some(r) = &view.last { (certificate(r)) }
        @if let Some(active) = &view.active {
            p.said { b { (active.blame.trouble()) } " since " (active.since) ", " (active.bad) " of " (plural(active.rounds.into(), "round")) ". " (active.blame.sentence) }
            (alert_ticket(name, &view.target, active).fact("Link", format!("{base}/check/{}", escape_path(name))).render("alert"))
        }
        h2 { "Last rounds" }
        (legend())
        @if rounds.is_empty() { p { "None yet." } }
        @for r in rounds { (waterfall(r, longest, &view.target, base)) }
        h2 { "Two weeks, by hour" }
        div.trends { @for (what, trend) in trends { @if !trend.is_empty() { figure { figcaption { (of_phase(what)) } (sparkline(trend)) } } } }
    };
    frame(name, snapshot, false, &body)
}

fn alert_ticket(name: &str, target: &str, active: &Active) -> Ticket {
    let blame = &active.blame;
    let slow = (blame.family == Family::Slow && blame.ms >= 1.0).then(|| ms(blame.ms));
    Ticket::new(format!("{name}: {}", blame.trouble()))
        .fact("Target", target.to_owned())
        .fact("Since", active.since.to_string())
        .fact("Rounds", format!("{} bad of {}", active.bad, active.rounds))
        .fact("Where", blame.in_words())
        .fact("Beyond what is usual", slow)
        .fact("Evidence", blame.sentence.clone())
}

fn round_ticket(r: &RoundRecord, target: &str) -> Ticket {
    let what = r.reason.as_deref().map_or_else(|| in_words(&r.verdict), of_phase);
    let parts = r.parts.iter().map(|(phase, owner, part)| format!("{} {} ({})", of_phase(phase), ms(*part), in_words(owner)));
    Ticket::new(format!("{}: {what}, {}", r.name, ms(r.total_ms)))
        .fact("Target", target.to_owned())
        .fact("Time", nanoseconds(r.started))
        .fact("Edge", r.address.clone())
        .fact("Client", r.local.clone())
        .fact("Round trip", r.rtt_ms.map(ms))
        .fact("Where the time went", parts.collect::<Vec<_>>().join("; "))
        .fact("What it says", r.sentence.clone())
        .fact("Evidence", r.grade.clone())
}

/// A time to the microsecond, as a capture has it.
fn nanoseconds(at: Instant<Client>) -> String {
    let at = jiff::Timestamp::from_nanosecond(i128::from(at.nanos()));
    at.map_or_else(|_| String::new(), |at| at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string())
}

fn waterfall(r: &RoundRecord, longest: f64, target: &str, base: &str) -> Markup {
    let width = |part: f64| format!("width:{:.2}%", part / longest * 100.0);
    let id = format!("r{}", r.started.nanos());
    // The page of then, and in it this round: as long as it is kept.
    let link = format!("/check/{}?until={}#{id}", escape_path(&r.name), second(r.started).secs());
    html! {
        section.round id=(id) {
            div.soft {
                (second(r.started)) " · " (ms(r.total_ms)) " · " (in_words(&r.verdict)) @if let Some(a) = &r.address { " · " (a) } " · evidence: " (r.grade)
                a.permalink href=(link) aria-label=(format!("Link to the round of {}", second(r.started))) title="Link to this round" { "#" }
            }
            div.bar role="img" aria-label=(format!("whose time it was: {}", owners(r))) {
                @for (phase, owner, part) in &r.parts {
                    span.(class_of_owner(owner)) style=(width(*part)) title=(format!("{}: {}, {}", of_phase(phase), in_words(owner), ms(*part))) {}
                }
            }
            div { (r.sentence) @if let Some(reason) = &r.reason { @if !r.sentence.to_lowercase().contains(&of_phase(reason).to_lowercase()) { " (" (of_phase(reason)) ")" } } }
            @if let Some(sick) = &r.sick { div.soft { "Does not count: " (sick) "." } }
            details { summary.soft { "its parts" } table { @for (phase, owner, part) in &r.parts { tr { td { (of_phase(phase)) } td { (in_words(owner)) } td.n { (ms(*part)) } } } } }
            (round_ticket(r, target).fact("Link", format!("{base}{link}")).render(&format!("t{id}")))
        }
    }
}

/// "edge app 51.8 ms, path 40.0 ms".
fn owners(r: &RoundRecord) -> String {
    let mut sums: Vec<(&str, f64)> = Vec::new();
    for (_, owner, part) in &r.parts {
        match sums.iter_mut().find(|(o, _)| o == owner) {
            Some((_, sum)) => *sum += part,
            None => sums.push((owner, *part)),
        }
    }
    let words: Vec<String> = sums.iter().map(|(owner, part)| format!("{} {}", in_words(owner), ms(*part))).collect();
    words.join(", ")
}

/// The incident diagram and, below it, each incident.
pub fn incident_page(snapshot: &Snapshot, found: &[Incident], now: UnixSeconds) -> String {
    frame("incidents", snapshot, false, &each_incident(found, now, true))
}

/// The incident diagram as a page of its own, from which no link leads to a server.
pub fn incident_file(found: &[Incident], now: UnixSeconds) -> String {
    document("incidents", false, &[], &each_incident(found, now, false))
}

fn each_incident(found: &[Incident], now: UnixSeconds, served: bool) -> Markup {
    html! {
        h1 { "Two weeks of incidents" }
        (incidents::diagram(found, now))
        @if !found.is_empty() { h2 { "Each of them" } }
        @for i in found.iter().rev() {
            section.round id=(incidents::anchor(i)) {
                div {
                    span.dot.(class_of(i.culprit)) {} b { (i.name) } " from " (i.vantage) ": " (i.culprit.words())
                    (pages::permalink(&incidents::anchor(i), &format!("the incident of {}", i.since)))
                }
                div.soft { (i.since) " – " (incidents::until(i)) " · " (i.bad) " of " (plural(i.rounds.into(), "round")) @if i.worst_ms >= 1.0 { " · worst " (ms(i.worst_ms)) } " · " (of_phase(&i.phase)) }
                div { (i.sentence) }
                @if served && i.name != PROBER {
                    a href=(format!("/check/{}?until={}", escape_path(&i.name), i.ended.unwrap_or(now).secs())) { "its rounds" }
                }
                (incident_ticket(i).render(&format!("t-{}", incidents::anchor(i))))
            }
        }
    }
}

fn incident_ticket(i: &Incident) -> Ticket {
    Ticket::new(format!("{} from {}: {}", i.name, i.vantage, i.culprit.words()))
        .fact("Target", i.target.clone())
        .fact("Since", i.since.to_string())
        .fact("Until", i.ended.map(|ended| ended.to_string()))
        .fact("Rounds", format!("{} bad of {}", i.bad, i.rounds))
        .fact("Where", of_phase(&i.phase))
        .fact("Worst beyond what is usual", (i.worst_ms >= 1.0).then(|| ms(i.worst_ms)))
        .fact("Evidence", i.sentence.clone())
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
        Culprit::Edge => "o-edge",
        Culprit::Certificate => "o-certificate",
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
    let all = last.hour.since(first.hour);
    let x = |hour: UnixHour| if first.hour == last.hour { 50.0 } else { hour.since(first.hour).fraction_of(all) * 100.0 };
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
        let (family, phase, words) = (Family::Slow, "finish".into(), String::new());
        let blame = Blame { culprit: Culprit::Edge, family, phase, words, ms: 300.0, sentence: "Slow.".into(), pattern: None };
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
            before: None,
            unwatched: None,
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

    #[test]
    fn a_file_without_checks_is_said_to_have_none() {
        let mut snapshot = Snapshot::default();
        let page = |snapshot: &Snapshot| now(snapshot, "here", &BTreeMap::new());
        assert!(page(&snapshot).contains("No round has ended yet."));
        snapshot.checks.none = true;
        let said = page(&snapshot);
        assert!(said.contains("nothing is checked") && said.contains("/probe alone") && !said.contains("No round"), "{said}");
    }
}
