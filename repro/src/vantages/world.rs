//! Real hosts as a provider of vantages: this one, others over ssh or a fleet's server; real addresses as targets.
//!
//! In: a scenario. Out: vantages that speak in plans and bundles. Traffic goes to the targets that the scenario names, and to nothing else.

use std::collections::BTreeMap;
use std::net::IpAddr;

use agent::{Destination, Family};
use analysis::clock::Span;
use lab::sample::steal;
use lab::truth::Injected;
use vantage::ssh::Ssh;
use vantage::{Leave, Local, Vantage};

use super::recorder::{RecordedEdge, RecorderAt};
use super::{Facts, Kind, Opening, Provider};
use crate::Error;
use crate::scenario::{Scenario, VantageSpec};
use crate::targets::TargetSpec;

/// Hosts and targets of a scenario.
pub(super) struct World<'a> {
    vantages: Vec<VantageSpec>,
    destinations: BTreeMap<String, Destination>,
    recorders: BTreeMap<String, RecorderAt>,
    leave: Leave,
    opening: Opening<'a>,
    stolen_before: Span,
}

impl<'a> World<'a> {
    /// Reads what clients are to trust; nothing is reached yet.
    ///
    /// # Errors
    /// If a file of roots cannot be read.
    pub(super) fn open(scenario: &Scenario, opening: Opening<'a>) -> Result<Self, Error> {
        let ipv6 = scenario.client.ipv6;
        let destinations = scenario.targets.iter().map(|target| Ok((target.name.clone(), destination(target, ipv6)?)));
        let loads = scenario.faults.values().any(|fault| fault.kind().anywhere(scenario));
        Ok(Self {
            vantages: scenario.vantages.clone(),
            destinations: destinations.collect::<Result<_, Error>>()?,
            recorders: scenario.targets.iter().filter_map(|t| Some((t.name.clone(), t.recorder.clone()?))).collect(),
            leave: Leave { load: loads, capture: !opening.no_capture },
            opening,
            stolen_before: steal(),
        })
    }

    fn named(&self, target: &str) -> Result<&Destination, Error> {
        self.destinations.get(target).ok_or_else(|| Error::NoHost(target.to_owned()))
    }
}

impl Provider for World<'_> {
    fn vantage(&self, name: &str) -> Result<Box<dyn Vantage + '_>, Error> {
        let spec = self.vantages.iter().find(|v| v.name == name).ok_or_else(|| Error::NoHost(name.to_owned()))?;
        match spec.kind {
            Kind::Here => Ok(Box::new(Local::new(name, self.leave)?)),
            Kind::Ssh => {
                let Opening { progress, total, interrupted, .. } = self.opening;
                let host = spec.host.clone().unwrap_or_else(|| spec.name.clone());
                let ssh = Ssh { host, keep: spec.keep, leave: self.leave };
                Ok(Box::new(ssh.connect(name, &|what| (progress)(what, 0, total), interrupted)?))
            }
            Kind::Fleet => {
                let no_server = || {
                    let what = "is an agent of a fleet, and its server was not named: --nats tls://HOST:4222".into();
                    vantage::Error::Gone { vantage: name.to_owned(), what }
                };
                let reach = self.opening.fleet.ok_or_else(no_server)?;
                Ok(reach(spec.host.as_deref().unwrap_or(name), name, self.leave, self.opening.interrupted)?)
            }
            Kind::Ec2 | Kind::Provider => {
                let what = "was not brought up: a provider does that before a run, and `whostalled run` asks it".into();
                Err(vantage::Error::Gone { vantage: name.to_owned(), what }.into())
            }
            Kind::Lab => Err(Error::NoHost(name.to_owned())),
        }
    }

    fn edge(&self, target: &str) -> Result<Option<Box<dyn Vantage + '_>>, Error> {
        self.named(target)?;
        let Some(at) = self.recorders.get(target) else { return Ok(None) };
        let Opening { recorders, interrupted, .. } = self.opening;
        Ok(Some(Box::new(RecordedEdge::ask(target, at.clone(), recorders, interrupted)?)))
    }

    fn destination(&self, target: &str) -> Result<Destination, Error> {
        self.named(target).cloned()
    }

    fn set(&self, _: &crate::conditions::Conditions) -> Result<(), Error> {
        // Its paths and servers are the world's; loads and pauses travel with the plans.
        Ok(())
    }

    fn truth(&self) -> Vec<Injected> {
        Vec::new()
    }

    fn facts(&self) -> Facts {
        let here = self.vantages.iter().any(|v| v.kind == Kind::Here);
        let stolen = if here { (steal() - self.stolen_before).at_least_zero() } else { Span::ZERO };
        Facts { lateness: None, stolen, gave_up: Vec::new() }
    }

    fn plans_load(&self) -> bool {
        true
    }

    fn goes_on(&self) -> bool {
        true
    }
}

fn destination(target: &TargetSpec, ipv6: bool) -> Result<Destination, Error> {
    let url = target.url.as_ref().ok_or_else(|| Error::NoHost(target.name.clone()))?;
    let roots = target.ca.as_ref().map(|path| {
        let wrong =
            |what: &dyn std::fmt::Display| Error::Scenario(format!("target {}: ca: {}: {what}", target.name, path.display()));
        let text = std::fs::read_to_string(path).map_err(|e| wrong(&e))?;
        match text.contains("-----BEGIN CERTIFICATE-----") || text.contains("-----BEGIN TRUSTED CERTIFICATE-----") {
            true => Ok(text),
            false => Err(wrong(&"there is no certificate in it (PEM)")),
        }
    });
    Ok(Destination {
        address: target.address.or_else(|| url.host().parse::<IpAddr>().ok()),
        path: url.path(),
        family: if ipv6 { Family::V6 } else { Family::Any },
        roots: roots.transpose()?,
        ..Destination::new(url.host(), url.port())
    })
}
