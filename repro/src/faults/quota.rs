//! `cpu_quota`: a host's programs together get no more than so much CPU.

use lab::truth::Injected;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use settings::Wrong;

use super::burners::not_too_many;
use super::{Inject, Keeps, Named, Variation, injected};
use crate::conditions::Conditions;
use crate::scenario::Scenario;

/// Limits a host's CPU.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CpuQuota {
    /// The host.
    pub on: String,
    /// CPUs allowed, 0.4 = 40 % of one.
    pub cpus: f64,
    /// Busy processes inside the limit.
    #[serde(default)]
    pub burners: usize,
}

impl Inject for CpuQuota {
    fn names(&self) -> Vec<Named<'_>> {
        vec![Named::on(&self.on)]
    }

    fn check(&self, _: &Scenario) -> Result<(), Wrong> {
        if !(0.01..=64.0).contains(&self.cpus) {
            return Err(Wrong::at("cpus", "`cpus` must lie between 0.01 and 64"));
        }
        not_too_many(self.burners)
    }

    fn apply(&self, conditions: &mut Conditions) {
        let load = conditions.load(&self.on);
        load.cpus = Some(self.cpus);
        load.burners += self.burners;
    }

    fn anywhere(&self, scenario: &Scenario) -> bool {
        !scenario.targets.iter().any(|target| target.name == self.on)
    }

    fn fixed(&self) -> Option<&'static str> {
        None
    }

    fn truth(&self) -> Option<Injected> {
        Some(injected("host", format!("CPU of {} limited to {}", self.on, self.cpus)))
    }

    fn keeps(&self) -> Vec<Keeps<'_>> {
        vec![Keeps::Cpu(&self.on)]
    }

    fn vary(&self, variation: &Variation) -> Vec<(&'static str, String)> {
        // A negative control says that this much CPU is enough; with less it may truly not be.
        let severity = if variation.healthy { variation.severity.min(1.0) } else { variation.severity };
        vec![("cpus", (self.cpus / severity).to_string())]
    }
}
