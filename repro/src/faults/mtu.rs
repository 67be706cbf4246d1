//! `mtu`: packets above a size vanish without a word.

use lab::truth::Injected;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use settings::Wrong;

use super::{Direction, Inject, Keeps, Named, Variation, injected};
use crate::conditions::Conditions;
use crate::scenario::Scenario;

/// Packets above a size vanish.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mtu {
    /// The vantage whose connections are concerned; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The target.
    pub to: String,
    /// The largest IP packet that passes.
    pub bytes: u32,
    /// In which direction.
    #[serde(default)]
    pub direction: Direction,
}

impl Inject for Mtu {
    fn names(&self) -> Vec<Named<'_>> {
        Named::path(self.from.as_deref(), &self.to)
    }

    fn check(&self, _: &Scenario) -> Result<(), Wrong> {
        Ok(())
    }

    fn apply(&self, conditions: &mut Conditions) {
        let bytes = self.bytes;
        conditions.directions(self.from.as_deref(), &self.to, self.direction).for_each(|path| path.mtu = Some(bytes));
    }

    fn anywhere(&self, _: &Scenario) -> bool {
        false
    }

    fn fixed(&self) -> Option<&'static str> {
        None
    }

    fn truth(&self) -> Option<Injected> {
        Some(injected("path", format!("packets over {} bytes vanish on the way to {}", self.bytes, self.to)))
    }

    fn keeps(&self) -> Vec<Keeps<'_>> {
        Vec::new()
    }

    fn vary(&self, _: &Variation) -> Vec<(&'static str, String)> {
        Vec::new()
    }
}
