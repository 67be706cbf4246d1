//! Other clients at vantages, as conditions say. Dropping it ends them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use lab::exec::Placement;
use lab::host::Lab;
use lab::storm::StormConfig;

use super::servers::{Reaped, own_server, start};
use super::{PORT, Target};
use crate::Error;
use crate::faults::Storm;

/// The storms that are on.
#[derive(Default)]
pub(super) struct Storms(Mutex<Vec<(Storm, Reaped)>>);

impl Storms {
    /// Has these on and no others.
    pub(super) fn set(&self, wanted: &[Storm], lab: &Lab, targets: &BTreeMap<String, Target>, ipv6: bool) -> Result<(), Error> {
        let mut on = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        on.retain(|(storm, _)| wanted.contains(storm));
        for storm in wanted {
            if on.iter().all(|(known, _)| known != storm) {
                on.push((storm.clone(), begin(storm, lab, targets, ipv6)?));
            }
        }
        Ok(())
    }
}

fn begin(storm: &Storm, lab: &Lab, targets: &BTreeMap<String, Target>, ipv6: bool) -> Result<Reaped, Error> {
    let host = |name: &str| lab.host(name).ok_or_else(|| Error::NoHost(name.to_owned()));
    let (from, to) = (host(&storm.from)?, host(&storm.to)?);
    let target = targets.get(&storm.to).ok_or_else(|| Error::NoHost(storm.to.clone()))?;
    let config = StormConfig {
        to: SocketAddr::new(to.address(ipv6), PORT),
        name: target.host_name.clone(),
        path: storm.path.clone(),
        clients: storm.clients,
        every_ms: storm.every.as_millis(),
        timeout_ms: storm.timeout.as_millis(),
    };
    // They stand for other machines of the vantage's network: what takes CPU from the vantage takes none from them.
    let placement = Placement { cgroups: Vec::new(), ..from.placement() };
    start(&lab.scratch, &placement, &own_server("lab-storm", &config)?, &format!("storm-{}-{}", storm.from, storm.to))
}
