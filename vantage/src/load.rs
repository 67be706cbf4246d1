//! What takes CPU from the clients of this host: a quota and burners in a group of their own, always taken off again.

use agent::Load;
use lab::cpu::{Burners, Cgroup, Hierarchy, burners_for};
use lab::exec::Placement;

use crate::Error;

/// A load in force; dropping it ends the burners and removes the group with whatever is still in it.
pub(crate) struct InForce {
    // Burners first, then the group they are in.
    _burners: Burners,
    group: Option<Cgroup>,
    one_cpu: Option<usize>,
    pub(crate) load: Load,
    pub(crate) gave_up: Option<String>,
}

impl InForce {
    /// Brings a load about for the clients of `host`.
    ///
    /// # Errors
    /// If the kernel refuses. Without the right to set quotas, burners on one CPU stand in for one, and that is said.
    pub(crate) fn bring(host: &str, load: Load) -> Result<Self, Error> {
        let (mut count, mut one_cpu, mut gave_up, mut group) = (load.burners, load.one_cpu, None, None);
        if let Some(cpus) = load.cpus {
            match Hierarchy::detect() {
                Some(hierarchy) => {
                    let made = Cgroup::create(hierarchy, host)?;
                    made.quota(cpus)?;
                    group = Some(made);
                }
                None => {
                    let stand_in = burners_for(cpus);
                    gave_up = Some(format!(
                        "no cgroup rights: {stand_in} burners pinned to one CPU of {host} stand in for a quota of {cpus} CPUs"
                    ));
                    count += stand_in;
                    one_cpu = true;
                }
            }
        }
        let one_cpu = one_cpu.then(|| std::thread::available_parallelism().map_or(0, |n| n.get() - 1));
        let mut placement = Placement::default();
        place(&mut placement, group.as_ref(), one_cpu);
        Ok(Self { _burners: Burners::start(&placement, count)?, group, one_cpu, load, gave_up })
    }

    /// Makes clients bear it.
    pub(crate) fn place(&self, placement: &mut Placement) {
        place(placement, self.group.as_ref(), self.one_cpu);
    }
}

fn place(placement: &mut Placement, group: Option<&Cgroup>, one_cpu: Option<usize>) {
    placement.cgroups.extend(group.map(Cgroup::procs));
    placement.cpus.extend(one_cpu);
}
