//! `accept_queue`: the embedded edge accepts slowly behind a short queue; its kernel drops what does not fit.

use lab::truth::Injected;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use settings::Wrong;

use super::{Inject, Keeps, Named, Variation, injected, on_embedded};
use crate::conditions::{Conditions, Queue};
use crate::duration::Length;
use crate::limits::{MOST_RTT, at_most};
use crate::scenario::Scenario;

/// The embedded edge accepts slowly behind a short queue.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AcceptQueue {
    /// The target.
    pub on: String,
    /// Time before each accept.
    pub interval: Length,
    /// Length of the queue.
    #[serde(default = "one")]
    pub backlog: u32,
}

fn one() -> u32 {
    1
}

impl Inject for AcceptQueue {
    fn names(&self) -> Vec<Named<'_>> {
        vec![Named::on(&self.on)]
    }

    fn check(&self, scenario: &Scenario) -> Result<(), Wrong> {
        on_embedded(scenario, &self.on)?;
        at_most("interval", self.interval, MOST_RTT)
    }

    fn apply(&self, conditions: &mut Conditions) {
        conditions.server(&self.on).queue = Some(Queue { interval: self.interval, backlog: self.backlog });
    }

    fn anywhere(&self, _: &Scenario) -> bool {
        false
    }

    fn fixed(&self) -> Option<&'static str> {
        Some("the server is told when it starts")
    }

    fn truth(&self) -> Option<Injected> {
        Some(injected("edge_host", format!("{} accepts slowly behind a short queue", self.on)))
    }

    fn keeps(&self) -> Vec<Keeps<'_>> {
        vec![Keeps::Server(&self.on), Keeps::Crowd]
    }

    fn vary(&self, variation: &Variation) -> Vec<(&'static str, String)> {
        vec![variation.worse("interval", self.interval)]
    }
}
