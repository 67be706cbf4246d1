//! All ends of a run: its vantages as far as they can be reached, and who watches at its targets.

use std::collections::{BTreeMap, BTreeSet};

use agent::{Destination, Hello};
use records::run::{ClockAhead, HostSaid};
use vantage::Vantage;

use crate::Error;
use crate::batch::{Cells, Member, Order};
use crate::manifest::said;
use crate::scenario::Scenario;
use crate::targets::TargetSpec;
use crate::vantages::Provider;

/// All ends of a run.
pub(crate) struct Ends<'p> {
    /// What the first vantage said.
    pub(crate) hello: Hello,
    vantages: BTreeMap<String, Box<dyn Vantage + 'p>>,
    edges: BTreeMap<String, (Destination, Option<Box<dyn Vantage + 'p>>)>,
    /// What each vantage said of its host.
    pub(crate) hosts: Vec<HostSaid>,
    /// Clocks of other hosts.
    pub(crate) clocks: Vec<ClockAhead>,
    /// What vantages said that they must do without.
    pub(crate) gave_up: Vec<String>,
    /// Vantages that are not there, and why.
    pub(crate) missing: Vec<String>,
    /// Their names.
    pub(crate) lost: BTreeSet<String>,
}

impl<'p> Ends<'p> {
    /// Reaches all of them; a vantage that cannot be reached is missing, where the provider lets a run go on without it.
    ///
    /// # Errors
    /// If one is wanted that cannot be had, or none is left.
    pub(crate) fn of(provider: &'p dyn Provider, scenario: &Scenario) -> Result<Self, Error> {
        let (mut first, mut clocks, mut gave_up, mut missing) = (None, Vec::new(), Vec::new(), Vec::new());
        let (mut lost, mut hosts) = (BTreeSet::new(), Vec::new());
        let mut vantages = BTreeMap::new();
        for spec in &scenario.vantages {
            let vantage = match provider.vantage(&spec.name) {
                Ok(vantage) => vantage,
                Err(Error::Vantage(error)) if provider.goes_on() => {
                    missing.push(error.to_string());
                    lost.insert(spec.name.clone());
                    continue;
                }
                Err(error) => return Err(error),
            };
            let hello = vantage.hello();
            hello.check().map_err(vantage::Error::from)?;
            clocks.extend(vantage.ahead().map(|ahead| ClockAhead {
                vantage: spec.name.clone(),
                ahead_ms: ahead.by.millis(),
                error_ms: ahead.error.millis(),
            }));
            gave_up.extend(hello.permits.no_packets.as_ref().map(|why| format!("no packets at {}: {why}", spec.name)));
            hosts.push(said(&spec.name, &hello));
            first.get_or_insert(hello);
            vantages.insert(spec.name.clone(), vantage);
        }
        let mut edges = BTreeMap::new();
        for target in &scenario.targets {
            let edge = provider.edge(&target.name)?;
            edge.as_ref().map_or(Ok(()), |edge| edge.hello().check()).map_err(vantage::Error::from)?;
            edges.insert(target.name.clone(), (provider.destination(&target.name)?, edge));
        }
        let Some(hello) = first else { return Err(Error::NoVantage(missing)) };
        Ok(Self { hello, hosts, vantages, edges, clocks, gave_up, missing, lost })
    }

    /// The targets at which somebody watches.
    pub(crate) fn watched(&self) -> BTreeSet<String> {
        self.edges.iter().filter(|(_, (_, edge))| edge.is_some()).map(|(target, _)| target.clone()).collect()
    }

    /// A vantage is gone.
    pub(crate) fn lose(&mut self, name: &str) {
        self.vantages.remove(name);
        self.lost.insert(name.to_owned());
    }

    /// Whether no vantage is left.
    pub(crate) fn are_gone(&self) -> bool {
        self.vantages.is_empty()
    }

    /// What a batch of a vantage gave is in the run folder.
    pub(crate) fn stored(&mut self, vantage: &str, batch: u64) {
        if let Some(vantage) = self.vantages.get_mut(vantage) {
            vantage.stored(batch);
        }
    }

    /// How clients reach a target.
    ///
    /// # Errors
    /// If there is no such target.
    pub(crate) fn destination(&self, target: &TargetSpec) -> Result<&Destination, Error> {
        self.edges.get(&target.name).map(|(to, _)| to).ok_or_else(|| missing(&target.name))
    }

    /// Nobody watches at a target any more.
    pub(crate) fn unwatch(&mut self, target: &TargetSpec) {
        if let Some((_, edge)) = self.edges.get_mut(&target.name) {
            *edge = None;
        }
    }

    /// The cells of a target for which there are orders, as far as their vantages are there.
    ///
    /// # Errors
    /// If there is no such target.
    pub(crate) fn cells<'a>(
        &'a mut self,
        target: &'a TargetSpec,
        mut orders: BTreeMap<&'a str, Order>,
    ) -> Result<Cells<'a, 'p>, Error> {
        let (_, edge) = self.edges.get_mut(&target.name).ok_or_else(|| missing(&target.name))?;
        let members = self.vantages.iter_mut().filter_map(|(name, vantage)| {
            let (name, order) = orders.remove_entry(name.as_str())?;
            Some(Member { name, vantage: vantage.as_mut(), order })
        });
        Ok(Cells { members: members.collect(), target, edge: edge.as_deref_mut() })
    }
}

fn missing(name: &str) -> Error {
    Error::NoHost(name.to_owned())
}
