//! `stop`: a vantage's clients are stopped in cycles, while their kernel goes on.

use agent::Stops;
use lab::truth::Injected;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use settings::Wrong;

use super::{Inject, Keeps, Named, Variation, injected};
use crate::conditions::Conditions;
use crate::duration::Length;
use crate::limits::{MOST_TIME, at_most};
use crate::scenario::Scenario;

/// Stops and continues a vantage's clients.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stop {
    /// The vantage.
    pub on: String,
    /// How long they run, from their start on.
    pub running: Length,
    /// How long they are then stopped.
    pub stopped: Length,
}

impl Inject for Stop {
    fn names(&self) -> Vec<Named<'_>> {
        vec![Named::on_vantage(&self.on)]
    }

    fn check(&self, _: &Scenario) -> Result<(), Wrong> {
        at_most("running", self.running, MOST_TIME)?;
        at_most("stopped", self.stopped, MOST_TIME)
    }

    fn apply(&self, conditions: &mut Conditions) {
        if let Some(clients) = conditions.clients.get_mut(&self.on) {
            clients.stops = Some(Stops { running: self.running, stopped: self.stopped });
        }
    }

    fn anywhere(&self, _: &Scenario) -> bool {
        true
    }

    fn fixed(&self) -> Option<&'static str> {
        Some("it is done to the clients that a run launches")
    }

    fn between_rounds(&self) -> Option<&'static str> {
        None
    }

    fn truth(&self) -> Option<Injected> {
        Some(injected("client_host", format!("clients of {} stopped in cycles", self.on)))
    }

    fn keeps(&self) -> Vec<Keeps<'_>> {
        vec![Keeps::Brisk]
    }

    fn vary(&self, variation: &Variation) -> Vec<(&'static str, String)> {
        // The stop must come while the handshake is under way, whose pace the round trip sets, and outlast a wait for the network.
        let running = format!("{}ms", self.running.as_millis() * variation.pace);
        let stopped = format!("{}ms", self.stopped.as_millis() * variation.severity * variation.pace.max(1.0));
        vec![("stopped", stopped), ("running", running)]
    }
}
