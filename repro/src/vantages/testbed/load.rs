//! What takes CPU from the lab's hosts: quotas and burners, set and taken off again.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use agent::Load;
use lab::cpu::{Burners, burners_for};
use lab::host::{Host, Lab};

use crate::Error;
use crate::conditions::Conditions;

/// A quota that nothing reaches.
const UNLIMITED_CPUS: f64 = 1_024.0;
/// Servers get so much more than clients where both want a CPU: a busy client must not slow the edge.
const SERVERS_WEIGHT: f64 = 8.0;

/// The loads in force, by host; dropping them ends the burners.
pub(super) struct Loads(Mutex<BTreeMap<String, (Load, Burners)>>);

impl Loads {
    /// Gives every host its CPUs, then its load; without cgroups, burners stand in for a quota.
    pub(super) fn bring(
        lab: &mut Lab,
        vantages: &[String],
        conditions: &Conditions,
        gave_up: &mut Vec<String>,
    ) -> Result<Self, Error> {
        let mut in_force = BTreeMap::new();
        for host in &mut lab.hosts {
            let vantage = vantages.contains(&host.name);
            host.cpus = cpus(vantage);
            if let (Some(group), false) = (&host.group, vantage || host.name == super::RESOLVER) {
                group.weight(SERVERS_WEIGHT)?;
            }
            let Some(load) = conditions.loads.get(&host.name) else { continue };
            let (mut count, mut one_cpu) = (load.burners, load.one_cpu);
            match (load.cpus, &host.group) {
                (Some(cpus), Some(group)) => group.quota(cpus)?,
                (Some(cpus), None) => {
                    let stand_in = burners_for(cpus);
                    gave_up.push(format!(
                        "no cgroup rights: {stand_in} burners pinned to {}'s CPU stand in for a quota of {cpus} CPUs",
                        host.name
                    ));
                    count += stand_in;
                    one_cpu = true;
                }
                (None, _) => {}
            }
            if one_cpu {
                host.cpus = host.cpus.last().copied().into_iter().collect();
            }
            in_force.insert(host.name.clone(), (*load, Burners::start(&host.placement(), count)?));
        }
        Ok(Self(Mutex::new(in_force)))
    }

    /// Sets the loads of hosts where they changed. Programs that run keep their CPUs, and nothing stands in for a quota.
    pub(super) fn set(&self, lab: &Lab, conditions: &Conditions) -> Result<(), Error> {
        let mut in_force = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for host in &lab.hosts {
            let wanted = conditions.loads.get(&host.name).copied().unwrap_or_default();
            let now = in_force.get(&host.name).map(|(load, _)| *load).unwrap_or_default();
            if wanted != now {
                in_force.insert(host.name.clone(), (wanted, change(host, wanted)?));
            }
        }
        Ok(())
    }
}

fn change(host: &Host, load: Load) -> Result<Burners, Error> {
    if let Some(group) = &host.group {
        group.quota(load.cpus.unwrap_or(UNLIMITED_CPUS))?;
    }
    Ok(Burners::start(&host.placement(), load.burners)?)
}

/// Clients and servers never share a CPU: a busy client must not slow the edge it is compared with.
fn cpus(vantage: bool) -> Vec<usize> {
    match std::thread::available_parallelism().map_or(1, usize::from) {
        1 => Vec::new(),
        n if vantage => (n.div_ceil(2)..n).collect(),
        n => (0..n.div_ceil(2)).collect(),
    }
}
