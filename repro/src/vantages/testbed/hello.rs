//! What this machine says of itself, for each of the lab's hosts.

use agent::{Clock, ClockError, Hello, Permits, VERSION};
use lab::host::Host;

use super::Testbed;

/// The greeting of one host.
pub(super) fn of(testbed: &Testbed, host: &Host) -> Hello {
    Hello {
        version: VERSION,
        name: host.name.clone(),
        software: env!("CARGO_PKG_VERSION").into(),
        kernel: said("/proc/sys/kernel/osrelease"),
        cpus: std::thread::available_parallelism().map_or(1, usize::from),
        clock: clock(),
        permits: Permits { quotas: host.group.is_some(), real_time: testbed.lab.wire.lateness().real_time },
    }
}

/// The lab's hosts read one clock.
pub(super) fn clock() -> Clock {
    Clock { source: said("/sys/devices/system/clocksource/clocksource0/current_clocksource"), error: ClockError::Shared }
}

fn said(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}
