//! `hold`: the path keeps everything of one direction, from a message of the handshake on.

use lab::truth::Injected;
use lab::wire::{Action, Message};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use settings::Wrong;

use super::{Inject, Keeps, Named, Variation};
use crate::conditions::{Conditions, MessageFault};
use crate::duration::Length;
use crate::limits::{MOST_TIME, at_most};
use crate::scenario::Scenario;

/// Holds a message and all after it, or all after a message.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    /// The vantage whose connections are concerned; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The target.
    pub to: String,
    /// The message that is held, with all that follows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Message>,
    /// The message that passes, before all that follows it is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Message>,
    /// Which segment of the server's flight, or of the client's hellos (the second one behind a HelloRetryRequest), from 0.
    #[serde(default)]
    pub segment: usize,
    /// How long.
    #[serde(rename = "for")]
    pub length: Length,
}

impl Hold {
    fn action(&self) -> Option<(Message, Action)> {
        match (self.message, self.after) {
            (Some(message), None) => Some((message, Action::Hold(self.length.0))),
            (None, Some(message)) => Some((message, Action::HoldAfter(self.length.0))),
            (None, None) | (Some(_), Some(_)) => None,
        }
    }
}

impl Inject for Hold {
    fn names(&self) -> Vec<Named<'_>> {
        Named::path(self.from.as_deref(), &self.to)
    }

    fn check(&self, _: &Scenario) -> Result<(), Wrong> {
        if self.action().is_none() {
            return Err(Wrong::new(
                "a hold needs either `message` (hold it and all that follows) or `after` (let it pass, hold what follows)",
            ));
        }
        at_most("for", self.length, MOST_TIME)
    }

    fn apply(&self, conditions: &mut Conditions) {
        let Some((message, action)) = self.action() else { return };
        for (vantage, target) in conditions.between(self.from.as_deref(), &self.to) {
            conditions.messages.push(MessageFault { vantage, target, message, segment: self.segment, action });
        }
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
        Vec::new()
    }

    fn vary(&self, variation: &Variation) -> Vec<(&'static str, String)> {
        vec![variation.worse("for", self.length)]
    }
}
