//! `edge_delay`: the embedded edge's program sleeps before one of its answers, and logs it.

use lab::truth::Injected;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use settings::Wrong;

use super::{Inject, Keeps, Named, Variation, on_embedded};
use crate::conditions::Conditions;
use crate::duration::Length;
use crate::limits::{MOST_TIME, at_most};
use crate::scenario::Scenario;

/// The embedded edge's program sleeps before one of its answers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EdgeDelay {
    /// The target.
    pub on: String,
    /// Before which answer.
    #[serde(default)]
    pub before: AnswerBefore,
    /// How long.
    #[serde(rename = "for")]
    pub length: Length,
}

/// An answer before which the embedded edge can sleep.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AnswerBefore {
    /// Its first line before TLS (`before_tls`).
    Plaintext,
    /// Its HelloRetryRequest (`hello_retry`).
    HelloRetry,
    /// Its ServerHello.
    #[default]
    ServerHello,
    /// What it says behind the client's Finished: in TLS 1.2 its own Finished.
    ServerFinished,
}

impl Inject for EdgeDelay {
    fn names(&self) -> Vec<Named<'_>> {
        vec![Named::on(&self.on)]
    }

    fn check(&self, scenario: &Scenario) -> Result<(), Wrong> {
        on_embedded(scenario, &self.on)?;
        let target = scenario.targets.iter().find(|t| t.name == self.on);
        let said =
            |field: &str| Err(Wrong::at("before", format!("the target {} says nothing like that: give it `{field}`", self.on)));
        match self.before {
            AnswerBefore::Plaintext if target.is_none_or(|t| t.before_tls.is_none()) => return said("before_tls"),
            AnswerBefore::HelloRetry if target.is_none_or(|t| !t.hello_retry) => return said("hello_retry"),
            _ => {}
        }
        at_most("for", self.length, MOST_TIME)
    }

    fn apply(&self, conditions: &mut Conditions) {
        let delays = &mut conditions.server(&self.on).delays;
        match self.before {
            AnswerBefore::Plaintext => &mut delays.plaintext,
            AnswerBefore::HelloRetry => &mut delays.hello_retry,
            AnswerBefore::ServerHello => &mut delays.server_hello,
            AnswerBefore::ServerFinished => &mut delays.server_finished,
        }
        .0 += self.length.0;
    }

    fn anywhere(&self, _: &Scenario) -> bool {
        false
    }

    fn fixed(&self) -> Option<&'static str> {
        None
    }

    fn truth(&self) -> Option<Injected> {
        None
    }

    fn keeps(&self) -> Vec<Keeps<'_>> {
        vec![Keeps::Server(&self.on)]
    }

    fn vary(&self, variation: &Variation) -> Vec<(&'static str, String)> {
        vec![variation.worse("for", self.length)]
    }
}
