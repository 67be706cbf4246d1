//! `refuse`: one end ends the handshake with an alert: the embedded edge at the ClientHello, our own client at the certificate.

use agent::ClientKind;
use lab::truth::Injected;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use settings::Wrong;

use super::{Inject, Keeps, Named, Variation, injected};
use crate::conditions::Conditions;
use crate::scenario::Scenario;

/// Ends the handshake with an alert.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Refuse {
    /// Who: a target with the embedded server, or a vantage.
    pub on: String,
}

impl Refuse {
    fn at_target(&self, scenario: &Scenario) -> bool {
        scenario.targets.iter().any(|target| target.name == self.on)
    }
}

impl Inject for Refuse {
    fn names(&self) -> Vec<Named<'_>> {
        vec![Named::on(&self.on)]
    }

    fn check(&self, scenario: &Scenario) -> Result<(), Wrong> {
        if self.at_target(scenario) {
            return super::on_embedded(scenario, &self.on);
        }
        if scenario.client.kind == ClientKind::Probe {
            return Ok(());
        }
        Err(Wrong::at("on", "only our own client refuses on purpose: client.kind = \"probe\""))
    }

    fn apply(&self, conditions: &mut Conditions) {
        match conditions.clients.get_mut(&self.on) {
            Some(clients) => clients.distrust = true,
            None => conditions.server(&self.on).refuse = true,
        }
    }

    fn anywhere(&self, scenario: &Scenario) -> bool {
        !self.at_target(scenario)
    }

    fn fixed(&self) -> Option<&'static str> {
        Some("clients are told when they are launched")
    }

    fn between_rounds(&self) -> Option<&'static str> {
        None
    }

    fn truth(&self) -> Option<Injected> {
        Some(injected("aborted", format!("{} ends handshakes with an alert", self.on)))
    }

    fn keeps(&self) -> Vec<Keeps<'_>> {
        vec![Keeps::Client, Keeps::Server(&self.on)]
    }

    fn vary(&self, _: &Variation) -> Vec<(&'static str, String)> {
        Vec::new()
    }
}
