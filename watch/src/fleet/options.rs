//! What a check file says of a fleet.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use settings::words::plain;
use settings::{Time, Wrong};

/// An agent says at least this often that it lives, and is given two chances.
const LEAST_SILENCE: Duration = Duration::from_secs(20);

/// The fleet that runs the checks, with `watch --fleet`.
#[derive(Clone, PartialEq, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields, default)]
pub struct FleetOptions {
    /// What stands for all its vantages: the label `vantage` of an alert about a check.
    pub name: String,
    /// How often agents report healthy rounds; others they report at once.
    pub report: Time,
    /// An agent that is silent for so long is not heard of: its rounds say neither good nor bad.
    pub silent_after: Time,
    /// An agent that is silent for so long is no part of the fleet any more.
    pub forget_after: Time,
    /// Controllers (by their `[watch] vantage`) whose stores must all have a round before its agent forgets it; none: any one.
    pub controllers: Vec<String>,
}

impl Default for FleetOptions {
    fn default() -> Self {
        Self {
            name: "fleet".into(),
            report: Time::secs(60),
            silent_after: Time::secs(180),
            forget_after: Time::secs(7 * 86_400),
            controllers: Vec::new(),
        }
    }
}

impl FleetOptions {
    pub(crate) fn check(&self) -> Result<(), Wrong> {
        plain("name", &self.name).map_err(|e| Wrong::at("name", e))?;
        for (n, name) in self.controllers.iter().enumerate() {
            plain("the controller's name", name).map_err(|e| Wrong::new(e).within(n).within("controllers"))?;
        }
        if self.report.0 < Duration::from_secs(1) {
            return Err(Wrong::at("report", "agents report healthy rounds once a second at most"));
        }
        if self.silent_after.0 < LEAST_SILENCE.max(self.report.0 * 2) {
            let what =
                "agents say each 10 s that they live, and report as often as `report` says: at least 20s, and twice `report`";
            return Err(Wrong::at("silent_after", what));
        }
        if self.forget_after.0 <= self.silent_after.0 {
            return Err(Wrong::at("forget_after", "it is longer than silent_after"));
        }
        Ok(())
    }
}

/// How many vantages must see a fault before it is an alert.
#[derive(Clone, PartialEq, Eq, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub struct SeenFrom {
    /// So many …
    pub k: u32,
    /// … of this group; of all vantages if absent.
    pub of: Option<String>,
}

impl Default for SeenFrom {
    fn default() -> Self {
        Self { k: 1, of: None }
    }
}

impl SeenFrom {
    pub(crate) fn check(&self) -> Result<(), Wrong> {
        if self.k == 0 { Err(Wrong::at("k", "from = { k = … }: one vantage at least")) } else { Ok(()) }
    }
}
