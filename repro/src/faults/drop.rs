//! `drop`: the first copies of a message of the handshake are lost.

use lab::truth::Injected;
use lab::wire::{Action, Message};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use settings::Wrong;

use super::{Inject, Keeps, Named, Variation};
use crate::conditions::{Conditions, MessageFault};
use crate::scenario::Scenario;

/// Drops copies of a message.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DropMessage {
    /// The vantage whose connections are concerned; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The target.
    pub to: String,
    /// Which message.
    pub message: Message,
    /// Which segment of the server's flight, or of the client's hellos (the second one behind a HelloRetryRequest), from 0.
    #[serde(default)]
    pub segment: usize,
    /// How many copies.
    #[serde(default = "one")]
    pub copies: u32,
}

fn one() -> u32 {
    1
}

impl Inject for DropMessage {
    fn names(&self) -> Vec<Named<'_>> {
        Named::path(self.from.as_deref(), &self.to)
    }

    fn check(&self, _: &Scenario) -> Result<(), Wrong> {
        Ok(())
    }

    fn apply(&self, conditions: &mut Conditions) {
        let Self { message, segment, copies, .. } = *self;
        for (vantage, target) in conditions.between(self.from.as_deref(), &self.to) {
            conditions.messages.push(MessageFault { vantage, target, message, segment, action: Action::Drop { copies } });
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
