//! Anything that takes JSON by POST.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use settings::Wrong;

use super::{Answered, Kind, Names, by_status, plain_url, shown};
use crate::clock::UnixSeconds;
use crate::event::Event;
use crate::secret::{Secret, SecretError};
use crate::sending::Request;

/// Version of what is sent.
const FORMAT: u32 = 1;

/// A program that takes JSON by POST.
#[derive(Clone, PartialEq, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Its address.
    pub url: String,
    /// A bearer token.
    pub token: Option<Secret>,
}

impl Kind for Webhook {
    fn name(&self) -> String {
        format!("webhook {}", shown(&self.url))
    }

    fn request(&self, event: &Event, _: UnixSeconds) -> Result<Request, SecretError> {
        let body = json!({
            "version": FORMAT,
            "key": event.key,
            "status": if event.resolved { "resolved" } else { "firing" },
            "check": event.check,
            "vantage": event.vantage,
            "seen_from": event.seen_from,
            "target": event.target,
            "culprit": event.blame.culprit,
            "phase": event.blame.phase,
            "excess_ms": event.blame.ms,
            "summary": event.summary(),
            "sentence": event.blame.sentence,
            "since": event.since.to_string(),
            "ended": event.ended.map(|ended| ended.to_string()),
            "labels": event.labels,
            "link": event.link,
        });
        Ok(Request::json(&self.url, body, self.token.as_ref().map(Secret::read).transpose()?))
    }

    fn answered(&self, status: u16) -> Answered {
        by_status(status)
    }

    fn is_told_again(&self) -> bool {
        false
    }

    fn check(&self) -> Result<(), Wrong> {
        plain_url(&self.url)
    }

    fn accepts(&self, _: &Names<'_>) -> Result<(), Wrong> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_secret_in_an_address_is_not_shown() {
        let name = |url: &str| Webhook { url: url.into(), token: None }.name();
        let hook = name("https://user:pw@hooks.test/services/T0/s3cret?k=1");
        assert!(hook.starts_with("webhook hooks.test #") && !hook.contains("s3cret") && !hook.contains("pw"), "{hook}");
        assert_ne!(hook, name("https://user:pw@hooks.test/services/T1/other"));
    }
}
