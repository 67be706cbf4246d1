//! What each kind of receiver wants to be sent. Pure: an [`Event`] in, a request out.

use serde_json::{Value, json};

use crate::checks::Receiver;
use crate::event::{Event, culprit_words, time};

/// PagerDuty's own address.
const PAGERDUTY: &str = "https://events.pagerduty.com/v2/enqueue";
/// Alertmanager takes an alert for over that it has not heard of for so many seconds; we tell it every minute.
const ALERTMANAGER_PATIENCE: i64 = 300;

/// A request to send.
#[derive(Clone, PartialEq, Debug)]
pub struct Request {
    /// Where to.
    pub url: String,
    /// The body, as JSON.
    pub body: Value,
    /// A bearer token.
    pub token: Option<String>,
}

impl Receiver {
    /// Its name in the outbox, metrics and messages. Of an address only the host is shown: the rest may be a secret.
    pub fn name(&self) -> String {
        match self {
            Receiver::Alertmanager { url, .. } => format!("alertmanager {}", shown(url)),
            Receiver::Webhook { url, .. } => format!("webhook {}", shown(url)),
            Receiver::Pagerduty { routing_key, .. } => format!("pagerduty {routing_key:?}"),
        }
    }

    /// The request that tells it of `event`.
    ///
    /// # Errors
    /// If a secret cannot be read.
    pub fn request(&self, event: &Event, now: i64) -> Result<Request, String> {
        Ok(match self {
            Receiver::Alertmanager { url, token } => {
                let url = format!("{}/api/v2/alerts", url.trim_end_matches('/'));
                Request { url, body: json!([alertmanager(event, now)]), token: read(token.as_ref())? }
            }
            Receiver::Webhook { url, token } => Request { url: url.clone(), body: webhook(event), token: read(token.as_ref())? },
            Receiver::Pagerduty { routing_key, url } => {
                let url = url.clone().unwrap_or_else(|| PAGERDUTY.into());
                Request { url, body: pagerduty(event, &routing_key.read()?), token: None }
            }
        })
    }
}

/// The host of an address, and a mark that tells two addresses of one host apart.
fn shown(url: &str) -> String {
    let host = url.split("://").last().unwrap_or(url).split(['/', '?', '#']).next().unwrap_or_default();
    let host = host.rsplit('@').next().unwrap_or(host);
    // FNV-1a: the same from one start to the next, as the outbox needs it.
    let mark = url.bytes().fold(0x811c_9dc5_u32, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193));
    format!("{host} #{mark:08x}")
}

fn read(token: Option<&crate::secret::Secret>) -> Result<Option<String>, String> {
    token.map(crate::secret::Secret::read).transpose()
}

/// Alertmanager, `POST /api/v2/alerts`: the culprit is an annotation, so that another culprit is the same alert.
fn alertmanager(event: &Event, now: i64) -> Value {
    let mut labels = json!({ "alertname": "WhostalledSlowHandshake", "check": event.check, "vantage": event.vantage });
    for (name, value) in &event.labels {
        labels[name] = json!(value);
    }
    let ends = event.ended.unwrap_or(now + ALERTMANAGER_PATIENCE);
    let mut alert = json!({
        "labels": labels,
        "annotations": {
            "summary": event.summary(),
            "description": event.blame.sentence,
            "culprit": event.blame.culprit,
            "phase": event.blame.phase,
            "target": event.target,
        },
        "startsAt": time(event.since),
        "endsAt": time(ends),
    });
    if let Some(link) = &event.link {
        alert["generatorURL"] = json!(link);
        alert["annotations"]["evidence"] = json!(link);
    }
    alert
}

fn webhook(event: &Event) -> Value {
    json!({
        "version": 1,
        "key": event.key,
        "status": if event.resolved { "resolved" } else { "firing" },
        "check": event.check,
        "vantage": event.vantage,
        "target": event.target,
        "culprit": event.blame.culprit,
        "phase": event.blame.phase,
        "excess_ms": event.blame.ms,
        "summary": event.summary(),
        "sentence": event.blame.sentence,
        "since": time(event.since),
        "ended": event.ended.map(time),
        "labels": event.labels,
        "link": event.link,
    })
}

/// PagerDuty Events API v2: `dedup_key` ties trigger and resolve together.
fn pagerduty(event: &Event, routing_key: &str) -> Value {
    let mut body = json!({
        "routing_key": routing_key,
        "event_action": if event.resolved { "resolve" } else { "trigger" },
        "dedup_key": event.key,
        "client": "whostalled",
        "payload": {
            "summary": event.summary(),
            "source": event.vantage,
            "severity": if event.blame.culprit == "prober" { "warning" } else { "error" },
            "timestamp": time(event.since),
            "component": event.target,
            "group": event.check,
            "class": event.blame.culprit,
            "custom_details": {
                "culprit": culprit_words(&event.blame.culprit),
                "phase": event.blame.phase,
                "evidence": event.blame.sentence,
                "labels": event.labels,
            },
        },
    });
    if let Some(link) = &event.link {
        body["client_url"] = json!(link);
        body["links"] = json!([{ "href": link, "text": "the check's last rounds" }]);
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::states::Blame;

    fn event(culprit: &str, ended: Option<i64>) -> Event {
        let blame =
            Blame { culprit: culprit.into(), phase: "server_flight".into(), ms: 312.0, sentence: "The edge took 312 ms.".into() };
        Event {
            key: "login@here".into(),
            check: "login".into(),
            vantage: "here".into(),
            target: "edge.test:443".into(),
            resolved: ended.is_some(),
            since: 1_800_000_000,
            ended,
            blame,
            labels: [("team".to_owned(), "edge".to_owned())].into(),
            link: Some("http://here/check/login".into()),
        }
    }

    #[test]
    fn alertmanagers_labels_do_not_depend_on_the_culprit() {
        let receiver = Receiver::Alertmanager { url: "http://am:9093/".into(), token: None };
        let of = |e: &Event| receiver.request(e, 1_800_000_060).expect("no secret is needed");
        let (edge, path) = (of(&event("edge", None)), of(&event("path", None)));
        assert_eq!(edge.url, "http://am:9093/api/v2/alerts");
        assert_eq!(edge.body[0]["labels"], path.body[0]["labels"]);
        assert_eq!(edge.body[0]["annotations"]["culprit"], "edge");
        assert_eq!(edge.body[0]["endsAt"], time(1_800_000_360), "told again before it would be taken for over");
        assert_eq!(of(&event("edge", Some(1_800_000_050))).body[0]["endsAt"], time(1_800_000_050));
    }

    #[test]
    fn what_may_be_secret_in_an_address_is_not_shown() {
        let name = |url: &str| Receiver::Webhook { url: url.into(), token: None }.name();
        let hook = name("https://user:pw@hooks.test/services/T0/s3cret?k=1");
        assert!(hook.starts_with("webhook hooks.test #") && !hook.contains("s3cret") && !hook.contains("pw"), "{hook}");
        assert_ne!(hook, name("https://user:pw@hooks.test/services/T1/other"));
    }

    #[test]
    fn pagerduty_resolves_by_the_key_it_was_triggered_with() {
        let file = std::env::temp_dir().join(format!("whostalled-key-{}", std::process::id()));
        std::fs::write(&file, "k3y\n").expect("a temporary file");
        let receiver = Receiver::Pagerduty { routing_key: crate::secret::Secret::File(file.clone()), url: None };
        let trigger = receiver.request(&event("edge", None), 0).expect("the key is there");
        let resolve = receiver.request(&event("edge", Some(1)), 0).expect("the key is there");
        std::fs::remove_file(&file).expect("it was written");
        assert_eq!(trigger.body["dedup_key"], resolve.body["dedup_key"]);
        assert_eq!((&trigger.body["event_action"], &resolve.body["event_action"]), (&json!("trigger"), &json!("resolve")));
        assert_eq!(trigger.body["routing_key"], "k3y");
        assert!(receiver.request(&event("edge", None), 0).is_err(), "a key that is gone is said to be");
    }
}
