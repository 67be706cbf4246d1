//! `dns_delay`: the name server keeps its answers back, and logs it.

use lab::truth::Injected;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use settings::Wrong;

use super::{Inject, Keeps, Named, Variation};
use crate::conditions::Conditions;
use crate::duration::Length;
use crate::limits::{MOST_TIME, at_most};
use crate::scenario::Scenario;

/// The name server answers late.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DnsDelay {
    /// How late.
    #[serde(rename = "for")]
    pub length: Length,
}

impl Inject for DnsDelay {
    fn names(&self) -> Vec<Named<'_>> {
        Vec::new()
    }

    fn check(&self, _: &Scenario) -> Result<(), Wrong> {
        at_most("for", self.length, MOST_TIME)
    }

    fn apply(&self, conditions: &mut Conditions) {
        conditions.lookup_delay.0 += self.length.0;
    }

    fn anywhere(&self, _: &Scenario) -> bool {
        false
    }

    fn fixed(&self) -> Option<&'static str> {
        Some("the name server is told when it starts")
    }

    fn truth(&self) -> Option<Injected> {
        None
    }

    fn keeps(&self) -> Vec<Keeps<'_>> {
        Vec::new()
    }

    fn vary(&self, variation: &Variation) -> Vec<(&'static str, String)> {
        vec![variation.worse("for", self.length)]
    }
}
