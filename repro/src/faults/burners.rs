//! `cpu_burners`: busy processes compete with a host's programs for one CPU.

use lab::truth::Injected;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use settings::Wrong;

use super::{Inject, Keeps, Named, Variation, injected};
use crate::conditions::Conditions;
use crate::scenario::Scenario;

/// Busy processes on one host.
const MOST_BURNERS: usize = 256;

/// Busy processes, pinned to one CPU together with the host's programs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CpuBurners {
    /// The host.
    pub on: String,
    /// How many.
    pub burners: usize,
}

impl Inject for CpuBurners {
    fn names(&self) -> Vec<Named<'_>> {
        vec![Named::on(&self.on)]
    }

    fn check(&self, _: &Scenario) -> Result<(), Wrong> {
        not_too_many(self.burners)
    }

    fn apply(&self, conditions: &mut Conditions) {
        let load = conditions.load(&self.on);
        load.burners += self.burners;
        load.one_cpu = true;
    }

    fn anywhere(&self, scenario: &Scenario) -> bool {
        !scenario.targets.iter().any(|target| target.name == self.on)
    }

    fn fixed(&self) -> Option<&'static str> {
        Some("programs are pinned to a CPU when they start")
    }

    fn truth(&self) -> Option<Injected> {
        Some(injected("host", format!("{} burners on the CPU of {}", self.burners, self.on)))
    }

    fn keeps(&self) -> Vec<Keeps<'_>> {
        vec![Keeps::Cpu(&self.on)]
    }

    fn vary(&self, _: &Variation) -> Vec<(&'static str, String)> {
        Vec::new()
    }
}

/// Whether a host can bear so many.
///
/// # Errors
/// If not.
pub(super) fn not_too_many(burners: usize) -> Result<(), Wrong> {
    if burners <= MOST_BURNERS {
        return Ok(());
    }
    Err(Wrong::at("burners", format!("burners = {burners}: at most {MOST_BURNERS}, each is a process")))
}
