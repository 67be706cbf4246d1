//! Alertmanager, API v2: `POST /api/v2/alerts`.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use settings::Wrong;

use super::{Answered, Kind, Names, by_status, plain_url, shown};
use crate::clock::UnixSeconds;
use crate::event::{Event, shortened};
use crate::secret::{Secret, SecretError};
use crate::sending::Request;

/// It takes an alert for over that it has not heard of for so long; we tell it every minute.
const PATIENCE: Duration = Duration::from_secs(300);
/// Labels that every alert has of its own. `severity` is one that a check may set otherwise.
const OWN_LABELS: [&str; 4] = ["alertname", "check", "culprit", "vantage"];
/// It has no bound of its own for annotations, but it gossips them to its peers, and templates put them into messages.
const MOST_TEXT: usize = 4096;
/// What it adds to an address itself.
const API: &str = "/api/v2/alerts";

/// An Alertmanager.
#[derive(Clone, PartialEq, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub struct Alertmanager {
    /// Its address, as `http://127.0.0.1:9093`.
    pub url: String,
    /// A bearer token.
    pub token: Option<Secret>,
}

impl Kind for Alertmanager {
    fn name(&self) -> String {
        format!("alertmanager {}", shown(&self.url))
    }

    /// The culprit is a label, for routing: where another one is blamed now, the alert of before is said to be over with it.
    fn request(&self, event: &Event, now: UnixSeconds) -> Result<Request, SecretError> {
        self.told(std::slice::from_ref(event), now)
    }

    fn answered(&self, status: u16) -> Answered {
        by_status(status)
    }

    /// It forgets what it is not told again.
    fn again(&self, events: &[Event], now: UnixSeconds) -> Option<Result<Request, SecretError>> {
        Some(self.told(events, now))
    }

    fn check(&self) -> Result<(), Wrong> {
        plain_url(&self.url)?;
        if self.url.trim_end_matches('/').ends_with(API) {
            return Err(Wrong::at("url", format!("leave {API} out of the address: it is added")));
        }
        Ok(())
    }

    fn secrets(&self) -> Vec<(&'static str, &Secret)> {
        self.token.iter().map(|token| ("token", token)).collect()
    }

    fn accepts(&self, names: &Names<'_>) -> Result<(), Wrong> {
        takes(names)
    }
}

impl Alertmanager {
    fn told(&self, events: &[Event], now: UnixSeconds) -> Result<Request, SecretError> {
        let token = self.token.as_ref().map(Secret::read).transpose()?;
        let url = format!("{}{API}", self.url.trim_end_matches('/'));
        let alerts: Vec<Value> = events.iter().flat_map(|event| alerts(event, now, now + PATIENCE)).collect();
        Ok(Request::json(url, json!(alerts), token))
    }
}

/// Whether it takes alerts with these names.
pub(super) fn takes(names: &Names<'_>) -> Result<(), Wrong> {
    for label in names.labels.keys() {
        let wrong = |what| Wrong::at(label, what).within("labels").of(&format!("check {:?}", names.check));
        if !is_label_name(label) {
            let better: String = label.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
            return Err(wrong(format!(
                "Alertmanager refuses the label name {label:?}: letters, digits and _ only, as {better:?}"
            )));
        }
        if OWN_LABELS.contains(&label.as_str()) {
            return Err(wrong(format!("the label {label:?} is the alert's own: two alerts would become one; name it otherwise")));
        }
    }
    Ok(())
}

/// Whether Alertmanager takes a label's name.
fn is_label_name(name: &str) -> bool {
    let mut chars = name.chars();
    let first = chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    first && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The alerts that an event is about, as Alertmanager's API has them: what it was before, if that is another one now, and what it is.
/// One that is on ends at `expires` unless it is told again.
pub(super) fn alerts(event: &Event, now: UnixSeconds, expires: UnixSeconds) -> Vec<Value> {
    let before =
        event.before.clone().map(|blame| Event { blame, resolved: true, ended: Some(now), before: None, ..event.clone() });
    before.iter().chain([event]).map(|event| alert(event, now, expires)).collect()
}

fn alert(event: &Event, now: UnixSeconds, expires: UnixSeconds) -> Value {
    // It refuses what begins behind its end, and what ends later is on until then. A clock that was set back since leaves that.
    let ended = event.ended.map(|ended| ended.min(now));
    let began = event.since.min(ended.unwrap_or(now));
    let mut alert = json!({
        "labels": labels(event),
        "annotations": {
            "summary": shortened(&event.summary(), MOST_TEXT),
            "description": shortened(&event.blame.sentence, MOST_TEXT),
            "culprit": event.blame.culprit.words(),
            "phase": event.blame.in_words(),
            "target": event.target,
        },
        "startsAt": began.to_string(),
        "endsAt": ended.unwrap_or(expires).to_string(),
    });
    if !event.seen_from.is_empty() {
        alert["annotations"]["seen_from"] = json!(event.seen_from.join(", "));
    }
    if let Some(link) = &event.link {
        alert["generatorURL"] = json!(link);
        alert["annotations"]["evidence"] = json!(link);
    }
    alert
}

/// Labels: few values each, for routing. A check's own may set another severity.
fn labels(event: &Event) -> Value {
    let mut labels = json!({
        "alertname": event.blame.family.alert_name(),
        "severity": event.severity(),
        "culprit": event.blame.culprit,
        "check": event.check,
        "vantage": event.vantage,
    });
    for (name, value) in &event.labels {
        labels[name] = json!(value);
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::culprit::Culprit;
    use crate::family::Family;
    use crate::receiver::tests::event;

    #[test]
    fn labels_do_not_depend_on_who_sees_it() {
        let of = |places: &[&str]| {
            let event = Event { seen_from: places.iter().map(ToString::to_string).collect(), ..event(Culprit::Path, None) };
            sent(&event)[0].clone()
        };
        let (few, more) = (of(&["a05"]), of(&["a05", "a11"]));
        assert_eq!((&few["labels"], &more["annotations"]["seen_from"]), (&more["labels"], &json!("a05, a11")));
        assert!(of(&[])["annotations"].get("seen_from").is_none());
    }

    fn sent(event: &Event) -> Vec<Value> {
        let receiver = Alertmanager { url: "http://am:9093/".into(), token: None };
        let request = receiver.request(event, UnixSeconds::from_secs(1_800_000_060)).expect("no secret is needed");
        assert_eq!(request.url, "http://am:9093/api/v2/alerts");
        request.body.as_json().expect("JSON").as_array().expect("a list").clone()
    }

    #[test]
    fn an_alert_is_told_again_before_it_would_be_taken_for_over() {
        let second = UnixSeconds::from_secs;
        let on = &sent(&event(Culprit::Edge, None))[0];
        assert_eq!(on["endsAt"], second(1_800_000_360).to_string());
        let over = second(1_800_000_050);
        let ended = &sent(&event(Culprit::Edge, Some(over)))[0];
        assert_eq!((&ended["endsAt"], &ended["labels"]), (&json!(over.to_string()), &on["labels"]), "over under the same labels");
    }

    #[test]
    fn an_alert_that_a_clock_of_before_dates_ahead_begins_no_later_than_now() {
        let mut ahead = event(Culprit::Edge, None);
        ahead.since = UnixSeconds::from_secs(1_800_007_200);
        let second = |event: &Event, at: &str| sent(event)[0][at].as_str().expect("a time").to_owned();
        assert_eq!(second(&ahead, "startsAt"), UnixSeconds::from_secs(1_800_000_060).to_string());
        (ahead.resolved, ahead.ended) = (true, Some(UnixSeconds::from_secs(1_800_000_050)));
        assert_eq!(second(&ahead, "startsAt"), second(&ahead, "endsAt"));
        ahead.ended = Some(UnixSeconds::from_secs(1_800_007_300));
        assert_eq!(second(&ahead, "endsAt"), UnixSeconds::from_secs(1_800_000_060).to_string(), "it is over now");
    }

    #[test]
    fn labels_route_by_family_severity_and_culprit() {
        let on = &sent(&event(Culprit::Edge, None))[0]["labels"];
        let meant = json!({
            "alertname": "WhostalledSlowHandshake", "severity": "warning", "culprit": "edge", "check": "login", "vantage": "here", "team": "edge"
        });
        assert_eq!(on, &meant);
        let mut failing = event(Culprit::Edge, None);
        failing.blame.family = Family::Failing;
        assert_eq!(sent(&failing)[0]["labels"]["alertname"], "WhostalledCheckFailing");
        assert_eq!(sent(&failing)[0]["labels"]["severity"], "critical");
        failing.labels.insert("severity".into(), "page".into());
        assert_eq!(sent(&failing)[0]["labels"]["severity"], "page", "a check's own word counts");
    }

    #[test]
    fn another_culprit_ends_the_alert_of_before() {
        let mut changed = event(Culprit::Path, None);
        changed.before = Some(event(Culprit::Edge, None).blame);
        let told = sent(&changed);
        let of = |i: usize| (told[i]["labels"]["culprit"].clone(), told[i]["endsAt"].clone());
        let second = UnixSeconds::from_secs;
        assert_eq!(told.len(), 2);
        assert_eq!(of(0), (json!("edge"), json!(second(1_800_000_060).to_string())));
        assert_eq!(of(1), (json!("path"), json!(second(1_800_000_360).to_string())));
    }

    #[test]
    fn an_address_with_the_path_that_is_added_is_refused() {
        let of = |url: &str| Alertmanager { url: url.into(), token: None }.check();
        assert!(of("http://am:9093").is_ok() && of("https://am.test/prefix/").is_ok());
        assert!(of("http://am:9093/api/v2/alerts").is_err() && of("am:9093").is_err() && of("ftp://am/").is_err());
        let said = of("http://user:hunter2@:99999/").expect_err("no host").what;
        assert!(!said.contains("hunter2"), "{said}");
    }
}
