//! `edge_delay`: the embedded edge's program sleeps before it answers a ClientHello, and logs it.

use lab::truth::Injected;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use settings::Wrong;

use super::{Inject, Keeps, Named, Variation, on_embedded};
use crate::conditions::Conditions;
use crate::duration::Length;
use crate::limits::{MOST_TIME, at_most};
use crate::scenario::Scenario;

/// The embedded edge's program sleeps before it answers a ClientHello.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EdgeDelay {
    /// The target.
    pub on: String,
    /// How long.
    #[serde(rename = "for")]
    pub length: Length,
}

impl Inject for EdgeDelay {
    fn names(&self) -> Vec<Named<'_>> {
        vec![Named::on(&self.on)]
    }

    fn check(&self, scenario: &Scenario) -> Result<(), Wrong> {
        on_embedded(scenario, &self.on)?;
        at_most("for", self.length, MOST_TIME)
    }

    fn apply(&self, conditions: &mut Conditions) {
        conditions.server(&self.on).answer_delay.0 += self.length.0;
    }

    fn anywhere(&self, _: &Scenario) -> bool {
        false
    }

    fn fixed(&self) -> Option<&'static str> {
        Some("the server is told when it starts")
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
