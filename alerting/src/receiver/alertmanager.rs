//! Alertmanager, API v2: `POST /api/v2/alerts`.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use settings::Wrong;

use super::{Answered, Kind, Names, by_status, plain_url, shown};
use crate::clock::UnixSeconds;
use crate::event::Event;
use crate::secret::{Secret, SecretError};
use crate::sending::Request;

/// It takes an alert for over that it has not heard of for so long; we tell it every minute.
const PATIENCE: Duration = Duration::from_secs(300);
/// Labels that every alert has of its own.
const OWN_LABELS: [&str; 3] = ["alertname", "check", "vantage"];

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

    /// Culprit and places are annotations, so that another culprit, or another place that sees it, is the same alert.
    fn request(&self, event: &Event, now: UnixSeconds) -> Result<Request, SecretError> {
        let token = self.token.as_ref().map(Secret::read).transpose()?;
        let url = format!("{}/api/v2/alerts", self.url.trim_end_matches('/'));
        Ok(Request::json(url, json!([alert(event, now)]), token))
    }

    fn answered(&self, status: u16) -> Answered {
        by_status(status)
    }

    /// It forgets what it is not told again.
    fn is_told_again(&self) -> bool {
        true
    }

    fn check(&self) -> Result<(), Wrong> {
        plain_url(&self.url)
    }

    fn accepts(&self, names: &Names<'_>) -> Result<(), Wrong> {
        for label in names.labels.keys() {
            let wrong = |what| Wrong::at(label, what).within("labels").of(&format!("check {:?}", names.check));
            if !is_label_name(label) {
                let better: String = label.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
                return Err(wrong(format!(
                    "Alertmanager refuses the label name {label:?}: letters, digits and _ only, as {better:?}"
                )));
            }
            if OWN_LABELS.contains(&label.as_str()) {
                return Err(wrong(format!(
                    "the label {label:?} is the alert's own: two alerts would become one; name it otherwise"
                )));
            }
        }
        Ok(())
    }
}

/// Whether Alertmanager takes a label's name.
fn is_label_name(name: &str) -> bool {
    let mut chars = name.chars();
    let first = chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    first && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn alert(event: &Event, now: UnixSeconds) -> Value {
    let mut labels = json!({ "alertname": "WhostalledSlowHandshake", "check": event.check, "vantage": event.vantage });
    for (name, value) in &event.labels {
        labels[name] = json!(value);
    }
    let ends = event.ended.unwrap_or(now + PATIENCE);
    let mut alert = json!({
        "labels": labels,
        "annotations": {
            "summary": event.summary(),
            "description": event.blame.sentence,
            "culprit": event.blame.culprit,
            "phase": event.blame.phase,
            "target": event.target,
        },
        "startsAt": event.since.to_string(),
        "endsAt": ends.to_string(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::culprit::Culprit;
    use crate::receiver::tests::event;

    #[test]
    fn labels_do_not_depend_on_who_sees_it() {
        let receiver = Alertmanager { url: "http://am:9093/".into(), token: None };
        let of = |places: &[&str]| {
            let event = Event { seen_from: places.iter().map(ToString::to_string).collect(), ..event(Culprit::Path, None) };
            let request = receiver.request(&event, UnixSeconds::from_secs(0)).expect("no secret is needed");
            request.body.as_json().expect("JSON")[0].clone()
        };
        let (few, more) = (of(&["a05"]), of(&["a05", "a11"]));
        assert_eq!((&few["labels"], &more["annotations"]["seen_from"]), (&more["labels"], &json!("a05, a11")));
        assert!(of(&[])["annotations"].get("seen_from").is_none());
    }

    #[test]
    fn labels_do_not_depend_on_the_culprit() {
        let receiver = Alertmanager { url: "http://am:9093/".into(), token: None };
        let second = UnixSeconds::from_secs;
        let of = |e: &Event| receiver.request(e, second(1_800_000_060)).expect("no secret is needed");
        let (edge, path) = (of(&event(Culprit::Edge, None)), of(&event(Culprit::Path, None)));
        assert_eq!(edge.url, "http://am:9093/api/v2/alerts");
        assert_eq!(edge.body.as_json().expect("JSON")[0]["labels"], path.body.as_json().expect("JSON")[0]["labels"]);
        assert_eq!(edge.body.as_json().expect("JSON")[0]["annotations"]["culprit"], "edge");
        assert_eq!(
            edge.body.as_json().expect("JSON")[0]["endsAt"],
            second(1_800_000_360).to_string(),
            "told again before it would be taken for over"
        );
        let over = second(1_800_000_050);
        assert_eq!(of(&event(Culprit::Edge, Some(over))).body.as_json().expect("JSON")[0]["endsAt"], over.to_string());
    }
}
