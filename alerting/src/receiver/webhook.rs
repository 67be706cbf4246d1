//! Anything that takes JSON by POST: in our own shape, in that of Alertmanager's webhooks, or in Slack's.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use settings::Wrong;

use super::{Answered, Kind, Names, alertmanager, by_status, plain_url, shown, slack};
use crate::clock::UnixSeconds;
use crate::event::Event;
use crate::secret::{PlainOrSecret, Secret, SecretError};
use crate::sending::Request;

/// Version of what is sent in our own shape.
const VERSION: u32 = 1;
/// The end of an alert that is on, in Alertmanager's webhooks: the zero of Go's clock.
const NO_END: &str = "0001-01-01T00:00:00Z";

/// A program that takes JSON by POST.
#[derive(Clone, PartialEq, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Its address: as it is, or a secret, where who knows it may post.
    pub url: PlainOrSecret,
    /// A bearer token.
    pub token: Option<Secret>,
    /// The shape of what is sent.
    #[serde(default)]
    pub format: Format,
}

/// The shape of what a webhook is sent.
#[derive(Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema, Debug)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Our own.
    #[default]
    Own,
    /// That of Alertmanager's `webhook_config`.
    Alertmanager,
    /// That of Slack's incoming webhooks, which Mattermost, Rocket.Chat and Discord take too.
    Slack,
}

impl Kind for Webhook {
    fn name(&self) -> String {
        match &self.url {
            PlainOrSecret::Plain(url) => format!("webhook {}", shown(url)),
            PlainOrSecret::Secret(secret) => format!("webhook {secret:?}"),
        }
    }

    fn request(&self, event: &Event, now: UnixSeconds) -> Result<Request, SecretError> {
        let body = match self.format {
            Format::Own => own(event),
            Format::Alertmanager => of_alertmanager(event, now),
            Format::Slack => slack::body(event),
        };
        Ok(Request::json(self.url.read()?, body, self.token.as_ref().map(Secret::read).transpose()?))
    }

    fn answered(&self, status: u16) -> Answered {
        by_status(status)
    }

    fn again(&self, _: &[Event], _: UnixSeconds) -> Option<Result<Request, SecretError>> {
        None
    }

    fn check(&self) -> Result<(), Wrong> {
        match &self.url {
            PlainOrSecret::Plain(url) => plain_url(url),
            PlainOrSecret::Secret(_) => Ok(()),
        }
    }

    fn secrets(&self) -> Vec<(&'static str, &Secret)> {
        let url = if let PlainOrSecret::Secret(url) = &self.url { Some(("url", url)) } else { None };
        url.into_iter().chain(self.token.iter().map(|token| ("token", token))).collect()
    }

    fn accepts(&self, names: &Names<'_>) -> Result<(), Wrong> {
        match self.format {
            // What comes in that shape goes where Alertmanager's alerts go.
            Format::Alertmanager => alertmanager::takes(names),
            Format::Own | Format::Slack => Ok(()),
        }
    }
}

fn own(event: &Event) -> Value {
    json!({
        "version": VERSION,
        "key": event.key,
        "status": if event.resolved { "resolved" } else { "firing" },
        "alert": event.blame.family.alert_name(),
        "family": event.blame.family,
        "severity": event.severity(),
        "check": event.check,
        "vantage": event.vantage,
        "seen_from": event.seen_from,
        "target": event.target,
        "culprit": event.blame.culprit,
        "phase": event.blame.phase,
        "where": event.blame.in_words(),
        // A failure has none.
        "excess_ms": (event.blame.ms > 0.0).then_some(event.blame.ms),
        "summary": event.summary(),
        "sentence": event.blame.sentence,
        "since": event.since.to_string(),
        "ended": event.ended.map(|ended| ended.to_string()),
        "labels": event.labels,
        "link": event.link,
    })
}

/// As Alertmanager posts it (`version` 4): one group, of one alert, or of two where another one is on now.
fn of_alertmanager(event: &Event, now: UnixSeconds) -> Value {
    let mut alerts = alertmanager::alerts(event, now, now);
    let last = alerts.len().saturating_sub(1);
    for (i, alert) in alerts.iter_mut().enumerate() {
        let on = i == last && !event.resolved;
        alert["status"] = json!(if on { "firing" } else { "resolved" });
        alert["fingerprint"] = json!(fingerprint(&alert["labels"]));
        if on {
            alert["endsAt"] = json!(NO_END);
        }
    }
    let status = if event.resolved { "resolved" } else { "firing" };
    let key = json!({ "check": event.check, "vantage": event.vantage });
    json!({
        "version": "4",
        "groupKey": format!("{{}}:{{check={:?}, vantage={:?}}}", event.check, event.vantage),
        "truncatedAlerts": 0,
        "status": status,
        "receiver": "whostalled",
        "groupLabels": key,
        "commonLabels": alerts.first().filter(|_| alerts.len() == 1).map_or_else(|| key.clone(), |alert| alert["labels"].clone()),
        "commonAnnotations": alerts.first().filter(|_| alerts.len() == 1).map_or_else(|| json!({}), |alert| alert["annotations"].clone()),
        "externalURL": event.link.as_deref().and_then(|link| link.split("/check/").next()).unwrap_or_default(),
        "alerts": alerts,
    })
}

/// 16 digits that are the same for the same labels: FNV-1a over names and values in order.
fn fingerprint(labels: &Value) -> String {
    let each = labels.as_object().into_iter().flatten();
    let words = each.flat_map(|(name, value)| [name.as_str(), "\u{ff}", value.as_str().unwrap_or_default(), "\u{ff}"]);
    let hash =
        words.flat_map(str::bytes).fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::culprit::Culprit;
    use crate::family::Family;
    use crate::receiver::tests::event;

    #[test]
    fn what_may_be_secret_in_an_address_is_not_shown() {
        let name = |url: &str| Webhook { url: url.into(), token: None, format: Format::Own }.name();
        let hook = name("https://user:pw@hooks.test/services/T0/s3cret?k=1");
        assert!(hook.starts_with("webhook hooks.test #") && !hook.contains("s3cret") && !hook.contains("pw"), "{hook}");
        assert_ne!(hook, name("https://user:pw@hooks.test/services/T1/other"));
    }

    fn sent(format: Format, event: &Event) -> Value {
        let webhook = Webhook { url: "http://h.test/".into(), token: None, format };
        let request = webhook.request(event, UnixSeconds::from_secs(1_800_000_060)).expect("no secret is needed");
        request.body.as_json().expect("JSON").clone()
    }

    #[test]
    fn alertmanagers_shape_has_what_its_webhooks_have() {
        let on = sent(Format::Alertmanager, &event(Culprit::Edge, None));
        for field in [
            "version",
            "groupKey",
            "truncatedAlerts",
            "status",
            "receiver",
            "groupLabels",
            "commonLabels",
            "commonAnnotations",
            "externalURL",
            "alerts",
        ] {
            assert!(on.get(field).is_some(), "{field}: {on}");
        }
        let alert = &on["alerts"][0];
        assert_eq!(
            (&on["version"], &on["status"], &alert["status"], &alert["endsAt"]),
            (&json!("4"), &json!("firing"), &json!("firing"), &json!(NO_END))
        );
        assert_eq!((&on["commonLabels"], &on["externalURL"]), (&alert["labels"], &json!("http://here")));
        let over = sent(Format::Alertmanager, &event(Culprit::Edge, Some(UnixSeconds::from_secs(1_800_000_050))));
        assert_eq!((&over["status"], &over["alerts"][0]["endsAt"]), (&json!("resolved"), &json!("2027-01-15T08:00:50Z")));
        assert_eq!(over["alerts"][0]["fingerprint"], alert["fingerprint"], "the same alert");
        let mut changed = event(Culprit::Path, None);
        changed.before = Some(event(Culprit::Edge, None).blame);
        let changed = sent(Format::Alertmanager, &changed);
        let statuses: Vec<&Value> = changed["alerts"].as_array().expect("a list").iter().map(|a| &a["status"]).collect();
        assert_eq!(statuses, ["resolved", "firing"]);
    }

    #[test]
    fn a_failure_has_no_milliseconds_in_our_own_shape() {
        let mut failed = event(Culprit::Edge, None);
        (failed.blame.family, failed.blame.ms) = (Family::Failing, 0.0);
        let body = sent(Format::Own, &failed);
        assert_eq!((&body["excess_ms"], &body["alert"]), (&Value::Null, &json!("WhostalledCheckFailing")));
    }

    #[test]
    fn an_address_may_be_a_secret_and_is_then_named_by_where_it_is() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("url");
        std::fs::write(&path, "http://hooks.test/services/hunter2\n").expect("it is writable");
        let webhook: Webhook = toml::from_str(&format!("url = {{ file = {path:?} }}\nformat = \"slack\"")).expect("it is one");
        assert!(webhook.name().contains("a secret in") && !webhook.name().contains("hunter2"));
        let request = webhook.request(&event(Culprit::Edge, None), UnixSeconds::from_secs(0)).expect("it is there");
        assert_eq!(request.url, "http://hooks.test/services/hunter2");
        let wrong = toml::from_str::<Webhook>("url = { hunter2 = \"hunter2\" }").expect_err("no address");
        assert!(!wrong.message().contains("hunter2"), "{wrong}");
    }
}
