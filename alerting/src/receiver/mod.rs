//! Who is told. Each kind of receiver is one type in one file: its configuration, what it is sent, how its answer is read, which names
//! it refuses.
//!
//! Pure: an [`Event`] in, a [`Request`] out; a status in, what it means out. A new kind is a file with a [`Kind`] and a variant here;
//! the compiler names what is missing.

mod alertmanager;
mod pagerduty;
mod slack;
mod webhook;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use settings::Wrong;
use settings::place::unread_of_kind;
use settings::words::plain;

pub use alertmanager::Alertmanager;
pub use pagerduty::PagerDuty;
pub use webhook::{Format, Webhook};

use crate::clock::UnixSeconds;
use crate::event::Event;
use crate::secret::{Secret, SecretError};
use crate::sending::Request;

/// A receiver of alerts.
#[derive(Clone, PartialEq, Deserialize, JsonSchema, Debug)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Receiver {
    /// Alertmanager, API v2.
    Alertmanager(Alertmanager),
    /// Anything that takes JSON by POST.
    Webhook(Webhook),
    /// PagerDuty, Events API v2.
    Pagerduty(PagerDuty),
}

/// What is wrong with one of a file's receivers, with the place of the field; absent if all can be read.
pub fn unread(text: &str) -> Option<String> {
    /// The same kinds around their fields.
    #[derive(Deserialize)]
    #[serde(rename_all = "snake_case")]
    #[expect(dead_code, reason = "only whether it can be read counts")]
    enum ByKind {
        Alertmanager(Alertmanager),
        Webhook(Webhook),
        Pagerduty(PagerDuty),
    }
    unread_of_kind::<ByKind>(text, "receiver")
}

impl Receiver {
    fn kind(&self) -> &dyn Kind {
        match self {
            Receiver::Alertmanager(receiver) => receiver,
            Receiver::Webhook(receiver) => receiver,
            Receiver::Pagerduty(receiver) => receiver,
        }
    }
}

/// What every kind of receiver answers for.
trait Kind {
    /// As [`Receiver::name`].
    fn name(&self) -> String;
    /// As [`Receiver::request`].
    fn request(&self, event: &Event, now: UnixSeconds) -> Result<Request, SecretError>;
    /// As [`Receiver::answered`].
    fn answered(&self, status: u16) -> Answered;
    /// As [`Receiver::again`].
    fn again(&self, events: &[Event], now: UnixSeconds) -> Option<Result<Request, SecretError>>;
    /// As [`Receiver::check`].
    fn check(&self) -> Result<(), Wrong>;
    /// Its secrets, each by the key that names it.
    fn secrets(&self) -> Vec<(&'static str, &Secret)>;
    /// As [`Receiver::accepts`].
    fn accepts(&self, names: &Names<'_>) -> Result<(), Wrong>;
}

impl Receiver {
    /// Its name in the outbox, metrics and messages. Of an address only the host is shown: the rest may be a secret.
    pub fn name(&self) -> String {
        self.kind().name()
    }

    /// The request that tells it of `event`.
    ///
    /// # Errors
    /// If a secret cannot be read.
    pub fn request(&self, event: &Event, now: UnixSeconds) -> Result<Request, SecretError> {
        self.kind().request(event, now)
    }

    /// What an answer with this HTTP status means.
    pub fn answered(&self, status: u16) -> Answered {
        self.kind().answered(status)
    }

    /// The request that tells it again of what is on, if it must hear that again and again; all of it together.
    pub fn again(&self, events: &[Event], now: UnixSeconds) -> Option<Result<Request, SecretError>> {
        self.kind().again(events, now)
    }

    /// Whether what is shown of it can be shown, and its address can be asked.
    ///
    /// # Errors
    /// Says why not, with the place within the receiver.
    pub fn check(&self) -> Result<(), Wrong> {
        self.kind().check()
    }

    /// Whether its secrets are where it says, and an address among them can be asked.
    ///
    /// # Errors
    /// Says which is not, with the place within the receiver.
    pub fn unlock(&self) -> Result<(), Wrong> {
        self.kind().secrets().into_iter().try_for_each(|(key, secret)| match secret.read() {
            Ok(url) if key == "url" => plain_url(&url),
            Ok(_) => Ok(()),
            Err(error) => Err(Wrong::at(key, error.to_string())),
        })
    }

    /// Whether it takes alerts with these names.
    ///
    /// # Errors
    /// Says why not, with the place within the check.
    pub fn accepts(&self, names: &Names<'_>) -> Result<(), Wrong> {
        self.kind().accepts(names)
    }
}

/// Whether each can be told from the others: what waits is kept for a name.
///
/// # Errors
/// Says which is there twice, with its place among receivers.
pub fn distinct(receivers: &[Receiver]) -> Result<(), Wrong> {
    for (n, receiver) in receivers.iter().enumerate() {
        if receivers[..n].iter().any(|other| other.name() == receiver.name()) {
            let key = if matches!(receiver, Receiver::Pagerduty(_)) { "routing_key" } else { "url" };
            return Err(Wrong::at(
                key,
                "another receiver has the same: each message would go there twice in one shape; leave one out",
            )
            .within(n));
        }
    }
    Ok(())
}

/// What alerts of a check will be called, as far as its file says.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a> {
    /// The check.
    pub check: &'a str,
    /// From where.
    pub vantage: &'a str,
    /// Its labels.
    pub labels: &'a BTreeMap<String, String>,
}

/// What became of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answered {
    /// It was taken.
    Taken,
    /// It may be taken later.
    NotNow,
    /// It never will be.
    Refused,
}

/// What a status means wherever nothing else is written.
fn by_status(status: u16) -> Answered {
    match status {
        200..=299 => Answered::Taken,
        // Too many, or not now, or not with this token, or not at this address: later, perhaps.
        300..=399 | 401 | 403 | 404 | 408 | 425 | 429 | 500..=599 => Answered::NotNow,
        _ => Answered::Refused,
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

/// Whether an address can be shown and asked; what is wrong is said without it, for it may itself be a secret.
fn plain_url(url: &str) -> Result<(), Wrong> {
    let wrong = |what: &str| Wrong::at("url", format!("the address {what}"));
    plain("url", url).map_err(|_| wrong("has a control character: leave it out"))?;
    let parsed = reqwest::Url::parse(url)
        .map_err(|e| wrong(&format!("cannot be read ({e}): write http://host:port/ or https://host/")))?;
    match parsed.scheme() {
        "http" | "https" if parsed.host().is_some() => Ok(()),
        _ => Err(wrong("begins neither with http:// nor with https://")),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::culprit::Culprit;
    use crate::family::Family;
    use crate::states::Blame;

    /// An alert that is on, of this key.
    pub(crate) fn keyed(key: &str) -> Event {
        Event { key: key.into(), ..event(Culprit::Edge, None) }
    }

    /// An alert of `login`, on or over.
    pub(crate) fn event(culprit: Culprit, ended: Option<UnixSeconds>) -> Event {
        let (phase, words) = ("server_flight".into(), "ClientHello to server flight".into());
        let sentence = "The edge took 312 ms.".into();
        let blame = Blame { culprit, family: Family::Slow, phase, words, ms: 312.0, sentence, pattern: None };
        Event {
            key: "login@here".into(),
            check: "login".into(),
            vantage: "here".into(),
            seen_from: Vec::new(),
            target: "edge.test:443".into(),
            resolved: ended.is_some(),
            since: UnixSeconds::from_secs(1_800_000_000),
            ended,
            blame,
            before: None,
            unwatched: None,
            labels: [("team".to_owned(), "edge".to_owned())].into(),
            link: Some("http://here/check/login".into()),
        }
    }

    #[test]
    fn a_receiver_is_written_by_its_kind_and_misspelt_fields_are_refused() {
        let read = |text: &str| toml::from_str::<Receiver>(text);
        let webhook = Webhook { url: "http://h/".into(), token: None, format: Format::Own };
        assert_eq!(read("kind = \"webhook\"\nurl = \"http://h/\"").expect("it is one"), Receiver::Webhook(webhook));
        for wrong in
            ["kind = \"webhook\"\nurl = \"http://h/\"\ntokn = 1", "kind = \"pager\"\nurl = \"http://h/\"", "url = \"http://h/\""]
        {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn two_receivers_of_one_address_are_refused_and_two_addresses_of_one_host_are_not() {
        let of = |url: &str, format| Receiver::Webhook(Webhook { url: url.into(), token: None, format });
        let receivers = [of("http://h/a", Format::Own), of("http://h/b", Format::Own), of("http://h/a", Format::Slack)];
        assert!(distinct(&receivers).is_err_and(|wrong| wrong.what.contains("another receiver")));
        assert_eq!(distinct(&receivers[..2]), Ok(()));
    }

    #[test]
    fn what_may_pass_is_told_from_what_never_will() {
        for (status, meant) in
            [(200, Answered::Taken), (202, Answered::Taken), (400, Answered::Refused), (422, Answered::Refused)]
        {
            assert_eq!(by_status(status), meant, "{status}");
        }
        for status in [302, 401, 403, 404, 408, 425, 429, 500, 503] {
            assert_eq!(by_status(status), Answered::NotNow, "{status}");
        }
    }
}
