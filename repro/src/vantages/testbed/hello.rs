//! What this machine says of itself, for each of the lab's hosts.

use agent::{Clock, ClockError, Hello, Permits};
use lab::host::Host;

use super::Testbed;

/// The greeting of one host.
pub(super) fn of(testbed: &Testbed, host: &Host) -> Hello {
    let real_time = testbed.lab.wire.lateness().real_time;
    vantage::host::hello(&host.name, clock(), Permits { quotas: host.group.is_some(), real_time, no_packets: None })
}

/// The lab's hosts read one clock.
pub(super) fn clock() -> Clock {
    vantage::host::clock(ClockError::Shared)
}
