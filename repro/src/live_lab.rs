//! A scenario's lab that stands while others work in it: faults come and go, programs run at its hosts.
//!
//! In: a scenario, the faults that have turns. Out: a lab in which the scenario's other faults are on all the time. Dropping it takes it down.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use lab::rootless::Privilege;
use lab::wire::Lateness;

use crate::Error;
use crate::conditions::Conditions;
use crate::scenario::Scenario;
use crate::vantages::{Provider, Testbed};

/// A lab that stays up.
pub struct LiveLab<'a> {
    scenario: &'a Scenario,
    turns: BTreeSet<String>,
    testbed: Testbed,
}

impl<'a> LiveLab<'a> {
    /// Builds it; none of the faults that have turns is on.
    ///
    /// # Errors
    /// If there is no such fault, if one cannot come and go, or the lab cannot be built.
    pub fn build(scenario: &'a Scenario, turns: BTreeSet<String>, privilege: Privilege) -> Result<Self, Error> {
        can_turn(scenario, &turns)?;
        let testbed = Testbed::build(scenario, &conditions(scenario, &turns, &|_| false), privilege)?;
        Ok(Self { scenario, turns, testbed })
    }

    /// Of the faults that have turns, these are on.
    ///
    /// # Errors
    /// If one cannot be brought about.
    pub fn set(&self, on: &BTreeSet<&str>) -> Result<(), Error> {
        self.testbed.set(&conditions(self.scenario, &self.turns, &|name| on.contains(name)))
    }

    /// A command that runs a program at one of its hosts.
    ///
    /// # Errors
    /// If there is no such host.
    pub fn command(&self, at: &str, program: &str, args: &[String]) -> Result<Command, Error> {
        let host = self.testbed.host(at).ok_or_else(|| Error::Scenario(format!("there is no host {at:?}")))?;
        Ok(host.placement().command(program, args)?)
    }

    /// Each host's name, and its placement for `lab-exec`.
    ///
    /// # Errors
    /// If one cannot be written.
    pub(crate) fn placements(&self) -> Result<Vec<(&str, String)>, Error> {
        let of = |host: &'_ lab::host::Host| serde_json::to_string(&host.placement()).map_err(|e| Error::Scenario(e.to_string()));
        self.testbed.hosts().iter().map(|host| Ok((host.name.as_str(), of(host)?))).collect()
    }

    /// The capture of each host.
    pub(crate) fn captures(&self) -> impl Iterator<Item = (&str, &capture::live::Live)> {
        self.testbed.captures()
    }

    /// The file of root certificates that its clients trust.
    pub fn roots(&self) -> &Path {
        self.testbed.roots()
    }

    /// Its name server.
    pub fn name_server(&self) -> Option<SocketAddr> {
        self.testbed.hosts().last().map(|host| SocketAddr::new(host.ipv4.into(), 53))
    }

    /// How late its wire was so far.
    pub fn lateness(&self) -> Option<Lateness> {
        self.testbed.facts().lateness
    }
}

/// Whether these faults can come and go.
///
/// # Errors
/// Names the first that cannot.
pub fn can_turn(scenario: &Scenario, turns: &BTreeSet<String>) -> Result<(), Error> {
    for name in turns {
        let Some(fault) = scenario.faults.get(name) else {
            let known: Vec<&str> = scenario.faults.keys().map(String::as_str).collect();
            return Err(Error::Scenario(format!("the scenario has no fault {name:?}; it has {}", known.join(", "))));
        };
        if let Some(why) = fault.kind().fixed() {
            return Err(Error::Scenario(format!("the fault {name:?} is there from the start to the end or not at all: {why}")));
        }
    }
    Ok(())
}

fn conditions(scenario: &Scenario, turns: &BTreeSet<String>, on: &dyn Fn(&str) -> bool) -> Conditions {
    let faults = scenario.faults.iter().filter(|(name, _)| !turns.contains(*name) || on(name));
    Conditions::of(scenario, faults.map(|(_, fault)| fault))
}
