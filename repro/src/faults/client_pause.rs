//! `client_pause`: our own client sleeps before one of its messages, and says so itself.

use agent::{Pause, PauseBefore};
use lab::truth::Injected;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use settings::Wrong;

use super::{Inject, Keeps, Named, Variation};
use crate::conditions::Conditions;
use crate::duration::Length;
use crate::limits::{MOST_TIME, at_most};
use crate::scenario::Scenario;

/// Our own client sleeps.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientPause {
    /// The vantage; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<String>,
    /// Before which message.
    pub before: PauseBefore,
    /// How long.
    #[serde(rename = "for")]
    pub length: Length,
}

impl Inject for ClientPause {
    fn names(&self) -> Vec<Named<'_>> {
        self.on.iter().map(|on| Named::on_vantage(on)).collect()
    }

    fn check(&self, _: &Scenario) -> Result<(), Wrong> {
        at_most("for", self.length, MOST_TIME)
    }

    fn apply(&self, conditions: &mut Conditions) {
        let concerned = |vantage: &String| self.on.as_ref().is_none_or(|on| on == vantage);
        for (_, clients) in conditions.clients.iter_mut().filter(|(vantage, _)| concerned(vantage)) {
            clients.pauses.push(Pause { before: self.before, length: self.length });
        }
    }

    fn anywhere(&self, _: &Scenario) -> bool {
        true
    }

    fn fixed(&self) -> Option<&'static str> {
        Some("it is done by the clients that a run launches")
    }

    fn between_rounds(&self) -> Option<&'static str> {
        None
    }

    fn truth(&self) -> Option<Injected> {
        None
    }

    fn keeps(&self) -> Vec<Keeps<'_>> {
        vec![Keeps::Client]
    }

    fn vary(&self, variation: &Variation) -> Vec<(&'static str, String)> {
        vec![variation.worse("for", self.length)]
    }
}
