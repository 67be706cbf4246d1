//! `loss`: packets are lost at random.

use lab::truth::Injected;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use settings::Wrong;

use super::{Direction, Inject, Keeps, Named, Variation, injected};
use crate::conditions::Conditions;
use crate::scenario::Scenario;

/// Random loss.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Loss {
    /// The vantage whose connections are concerned; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The target.
    pub to: String,
    /// Fraction of packets lost.
    pub rate: f64,
    /// In which direction.
    #[serde(default)]
    pub direction: Direction,
}

impl Inject for Loss {
    fn names(&self) -> Vec<Named<'_>> {
        Named::path(self.from.as_deref(), &self.to)
    }

    fn check(&self, _: &Scenario) -> Result<(), Wrong> {
        if (0.0..1.0).contains(&self.rate) {
            return Ok(());
        }
        Err(Wrong::at("rate", "`rate` is a fraction between 0 and 1"))
    }

    fn apply(&self, conditions: &mut Conditions) {
        let rate = self.rate;
        conditions.directions(self.from.as_deref(), &self.to, self.direction).for_each(|path| path.loss = rate);
    }

    fn anywhere(&self, _: &Scenario) -> bool {
        false
    }

    fn fixed(&self) -> Option<&'static str> {
        None
    }

    fn truth(&self) -> Option<Injected> {
        // The wire does not log what it loses at random.
        Some(injected("loss", format!("{} of the packets on the way to {} are lost", self.rate, self.to)))
    }

    fn keeps(&self) -> Vec<Keeps<'_>> {
        Vec::new()
    }

    fn vary(&self, _: &Variation) -> Vec<(&'static str, String)> {
        Vec::new()
    }
}
