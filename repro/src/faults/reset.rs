//! `reset`: something on the way resets the connection, in both ends' names.

use lab::truth::Injected;
use lab::wire::{Action, Message};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use settings::Wrong;

use super::{Inject, Keeps, Named, Variation};
use crate::conditions::{Conditions, MessageFault};
use crate::scenario::Scenario;

/// Resets the connection in place of a message.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reset {
    /// The vantage whose connections are concerned; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The target.
    pub to: String,
    /// The message that does not pass.
    pub message: Message,
    /// Which segment of the server's flight, or of the client's hellos (the second one behind a HelloRetryRequest), from 0.
    #[serde(default)]
    pub segment: usize,
}

impl Inject for Reset {
    fn names(&self) -> Vec<Named<'_>> {
        Named::path(self.from.as_deref(), &self.to)
    }

    fn check(&self, _: &Scenario) -> Result<(), Wrong> {
        Ok(())
    }

    fn apply(&self, conditions: &mut Conditions) {
        let Self { message, segment, .. } = *self;
        for (vantage, target) in conditions.between(self.from.as_deref(), &self.to) {
            conditions.messages.push(MessageFault { vantage, target, message, segment, action: Action::Reset });
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

    fn vary(&self, _: &Variation) -> Vec<(&'static str, String)> {
        Vec::new()
    }
}
