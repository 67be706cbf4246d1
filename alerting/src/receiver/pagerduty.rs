//! PagerDuty, Events API v2: `dedup_key` ties trigger and resolve together.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use settings::Wrong;

use super::{Answered, Kind, Names, by_status, plain_url};
use crate::clock::UnixSeconds;
use crate::event::{Event, shortened};
use crate::family::Family;
use crate::secret::{Secret, SecretError};
use crate::sending::Request;

/// Its own address.
const URL: &str = "https://events.pagerduty.com/v2/enqueue";
/// It takes keys of so many characters at most.
const MOST_KEY: usize = 255;
/// It takes summaries of so many characters at most.
const MOST_SUMMARY: usize = 1024;
/// A detail is cut there: the whole event may have 512 kB, and nobody reads more on a phone.
const MOST_DETAIL: usize = 4096;
/// Its own words for a severity.
const SEVERITIES: [&str; 4] = ["critical", "error", "warning", "info"];
/// What an address and its separator take at most, where each is probed.
const MOST_ADDRESS: usize = 46;

/// An integration of PagerDuty.
#[derive(Clone, PartialEq, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub struct PagerDuty {
    /// The integration's key.
    pub routing_key: Secret,
    /// Another endpoint than PagerDuty's own.
    pub url: Option<String>,
}

impl Kind for PagerDuty {
    fn name(&self) -> String {
        format!("pagerduty {:?}", self.routing_key)
    }

    fn request(&self, event: &Event, _: UnixSeconds) -> Result<Request, SecretError> {
        let mut body = json!({
            "routing_key": self.routing_key.read()?,
            "event_action": if event.resolved { "resolve" } else { "trigger" },
            "dedup_key": event.key,
            "client": "whostalled",
            "payload": {
                "summary": shortened(&event.summary(), MOST_SUMMARY),
                "source": event.vantage,
                "severity": severity(event),
                "timestamp": event.since.to_string(),
                "component": event.target,
                "group": event.check,
                "class": event.blame.culprit,
                "custom_details": {
                    "culprit": event.blame.culprit.words(),
                    "phase": event.blame.in_words(),
                    "evidence": shortened(&event.blame.sentence, MOST_DETAIL),
                    "labels": event.labels,
                    "seen_from": event.seen_from,
                },
            },
        });
        if let Some(link) = &event.link {
            body["client_url"] = json!(link);
            let text = if event.is_of_ourselves() { "what is known now" } else { "the check's last rounds" };
            body["links"] = json!([{ "href": link, "text": text }]);
        }
        Ok(Request::json(self.url.clone().unwrap_or_else(|| URL.into()), body, None))
    }

    fn answered(&self, status: u16) -> Answered {
        by_status(status)
    }

    fn again(&self, _: &[Event], _: UnixSeconds) -> Option<Result<Request, SecretError>> {
        None
    }

    fn check(&self) -> Result<(), Wrong> {
        self.url.as_deref().map_or(Ok(()), plain_url)
    }

    fn secrets(&self) -> Vec<(&'static str, &Secret)> {
        vec![("routing_key", &self.routing_key)]
    }

    fn accepts(&self, names: &Names<'_>) -> Result<(), Wrong> {
        let most = MOST_KEY - MOST_ADDRESS;
        if names.check.len() + names.vantage.len() <= most {
            return Ok(());
        }
        Err(Wrong::at("name", format!("name and vantage are too long for PagerDuty: {most} bytes together at most")))
    }
}

/// One of [`SEVERITIES`].
fn severity(event: &Event) -> &str {
    match event.blame.family {
        _ if event.labels.get("severity").is_some_and(|own| SEVERITIES.contains(&own.as_str())) => &event.labels["severity"],
        Family::Slow => "error",
        Family::Failing | Family::Certificate | Family::Prober => event.severity().label(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::culprit::Culprit;
    use crate::receiver::tests::event;

    #[test]
    fn it_resolves_by_the_key_it_was_triggered_with() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("key");
        std::fs::write(&file, "k3y\n").expect("it is writable");
        let receiver = PagerDuty { routing_key: Secret::File(file.clone()), url: None };
        let second = UnixSeconds::from_secs;
        let trigger = receiver.request(&event(Culprit::Edge, None), second(0)).expect("the key is there");
        let resolve = receiver.request(&event(Culprit::Edge, Some(second(1))), second(0)).expect("the key is there");
        std::fs::remove_file(&file).expect("it was written");
        assert_eq!(trigger.body.as_json().expect("JSON")["dedup_key"], resolve.body.as_json().expect("JSON")["dedup_key"]);
        assert_eq!(
            (&trigger.body.as_json().expect("JSON")["event_action"], &resolve.body.as_json().expect("JSON")["event_action"]),
            (&json!("trigger"), &json!("resolve"))
        );
        assert_eq!(trigger.body.as_json().expect("JSON")["routing_key"], "k3y");
        assert_eq!(trigger.body.as_json().expect("JSON")["payload"]["severity"], "error");
        assert!(receiver.request(&event(Culprit::Edge, None), second(0)).is_err(), "a key that is gone is said to be");
    }

    #[test]
    fn a_summary_is_no_longer_than_it_takes() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let key = folder.path().join("key");
        std::fs::write(&key, "k").expect("it is writable");
        let receiver = PagerDuty { routing_key: Secret::File(key), url: None };
        let mut long = event(Culprit::Edge, None);
        (long.check, long.blame.sentence) = ("ü".repeat(3_000), "x".repeat(90_000));
        let body = receiver.request(&long, UnixSeconds::from_secs(0)).expect("the key is there").body;
        let payload = &body.as_json().expect("JSON")["payload"];
        assert_eq!(payload["summary"].as_str().expect("text").chars().count(), MOST_SUMMARY);
        assert_eq!(payload["custom_details"]["evidence"].as_str().expect("text").chars().count(), MOST_DETAIL);
    }
}
