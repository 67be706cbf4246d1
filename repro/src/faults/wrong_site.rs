//! `wrong_site`: an anycast address leads to another site than usual.

use lab::truth::Injected;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use settings::Wrong;

use super::{Inject, Keeps, Named, Variation, injected};
use crate::conditions::Conditions;
use crate::scenario::Scenario;

/// Connections to a target are answered by another, which has its address too.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WrongSite {
    /// The vantage whose connections are concerned; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The target that they call.
    pub to: String,
    /// The target that answers, over its own path.
    pub at: String,
}

impl Inject for WrongSite {
    fn names(&self) -> Vec<Named<'_>> {
        let mut named = Named::path(self.from.as_deref(), &self.to);
        named.push(Named::target("at", &self.at));
        named
    }

    fn check(&self, _: &Scenario) -> Result<(), Wrong> {
        if self.to == self.at {
            return Err(Wrong::at("at", "the wrong site is another target than `to`"));
        }
        Ok(())
    }

    fn apply(&self, conditions: &mut Conditions) {
        for (vantage, target) in conditions.between(self.from.as_deref(), &self.to) {
            conditions.sites.insert((vantage, target), self.at.clone());
        }
    }

    fn anywhere(&self, _: &Scenario) -> bool {
        false
    }

    fn fixed(&self) -> Option<&'static str> {
        None
    }

    fn truth(&self) -> Option<Injected> {
        let injected = injected("path", format!("connections to {} lead to {}", self.to, self.at));
        Some(Injected { target: Some(self.to.clone()), ..injected })
    }

    fn keeps(&self) -> Vec<Keeps<'_>> {
        Vec::new()
    }

    fn vary(&self, _: &Variation) -> Vec<(&'static str, String)> {
        Vec::new()
    }
}
