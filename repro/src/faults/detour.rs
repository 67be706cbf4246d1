//! `detour`: the way to a target is longer, in every round trip.

use lab::truth::Injected;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use settings::Wrong;

use super::{Direction, Inject, Keeps, Named, Variation, injected};
use crate::conditions::Conditions;
use crate::duration::Length;
use crate::limits::{MOST_RTT, at_most};
use crate::scenario::Scenario;

/// A longer path to a target.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Detour {
    /// The vantage whose connections are concerned; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The target.
    pub to: String,
    /// Added round-trip time.
    pub extra_rtt: Length,
    /// In which direction.
    #[serde(default)]
    pub direction: Direction,
}

impl Inject for Detour {
    fn names(&self) -> Vec<Named<'_>> {
        Named::path(self.from.as_deref(), &self.to)
    }

    fn check(&self, _: &Scenario) -> Result<(), Wrong> {
        at_most("extra_rtt", self.extra_rtt, MOST_RTT)
    }

    fn apply(&self, conditions: &mut Conditions) {
        let extra = match self.direction {
            Direction::Both => self.extra_rtt.0 / 2,
            Direction::Out | Direction::Back => self.extra_rtt.0,
        };
        conditions.directions(self.from.as_deref(), &self.to, self.direction).for_each(|path| path.delay += extra);
    }

    fn anywhere(&self, _: &Scenario) -> bool {
        false
    }

    fn fixed(&self) -> Option<&'static str> {
        None
    }

    fn truth(&self) -> Option<Injected> {
        let extra = self.extra_rtt.as_millis();
        let injected = injected("path", format!("{extra} ms longer round trips to {}", self.to));
        // Connect, ServerFlight and Finish each take one round trip.
        Some(Injected { target: Some(self.to.clone()), ms: Some(extra * 3.0), ..injected })
    }

    fn keeps(&self) -> Vec<Keeps<'_>> {
        Vec::new()
    }

    fn vary(&self, variation: &Variation) -> Vec<(&'static str, String)> {
        vec![variation.worse("extra_rtt", self.extra_rtt)]
    }
}
