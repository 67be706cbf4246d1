//! `storm`: other clients of a vantage call a target, each again and again.

use lab::truth::Injected;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use settings::Wrong;

use super::{Inject, Keeps, Named, Variation, injected};
use crate::conditions::Conditions;
use crate::duration::Length;
use crate::limits::{MOST_TIME, at_most};
use crate::scenario::Scenario;

/// Clients of one storm: each is a task, and a descriptor.
const MOST: u32 = 500;
/// Calls per second that a storm may begin: the lab's hosts share one machine.
const MOST_RATE: f64 = 1_000.0;

/// Other clients, each of which calls again and again.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Storm {
    /// The vantage that they are at.
    pub from: String,
    /// The target that they call.
    pub to: String,
    /// How many.
    pub clients: u32,
    /// Time from one call of a client to its next; later if the one before is not over.
    pub every: Length,
    /// How long a client waits for its answer before it hangs up.
    #[serde(default = "patience")]
    pub timeout: Length,
    /// What they ask for.
    #[serde(default = "root")]
    pub path: String,
}

fn patience() -> Length {
    Length::secs(10)
}

fn root() -> String {
    "/".into()
}

impl Inject for Storm {
    fn names(&self) -> Vec<Named<'_>> {
        Named::path(Some(&self.from), &self.to)
    }

    fn check(&self, _: &Scenario) -> Result<(), Wrong> {
        if !(1..=MOST).contains(&self.clients) {
            return Err(Wrong::at("clients", format!("clients = {}: from 1 to {MOST}", self.clients)));
        }
        if f64::from(self.clients) > MOST_RATE * self.every.0.as_secs_f64() {
            return Err(Wrong::at(
                "every",
                format!(
                    "{} clients every {} ms are more than {MOST_RATE} calls per second",
                    self.clients,
                    self.every.as_millis()
                ),
            ));
        }
        if !self.path.starts_with('/') || self.path.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(Wrong::at("path", "a path begins with `/` and has no spaces"));
        }
        at_most("every", self.every, MOST_TIME)?;
        at_most("timeout", self.timeout, MOST_TIME)
    }

    fn apply(&self, conditions: &mut Conditions) {
        conditions.storms.push(self.clone());
    }

    fn anywhere(&self, _: &Scenario) -> bool {
        false
    }

    fn fixed(&self) -> Option<&'static str> {
        None
    }

    fn truth(&self) -> Option<Injected> {
        let what = format!("{} more clients at {} call {} every {} ms", self.clients, self.from, self.to, self.every.as_millis());
        Some(Injected { target: Some(self.to.clone()), ..injected("edge", what) })
    }

    fn keeps(&self) -> Vec<Keeps<'_>> {
        vec![Keeps::Server(&self.to)]
    }

    fn vary(&self, _: &Variation) -> Vec<(&'static str, String)> {
        Vec::new()
    }
}
