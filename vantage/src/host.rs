//! What a host says of itself: kernel, clock, processors.

use agent::{Clock, ClockError, Hello, Permits, VERSION};

/// The greeting of a host called `name`.
pub fn hello(name: &str, clock: Clock, permits: Permits) -> Hello {
    Hello {
        version: VERSION,
        name: name.to_owned(),
        software: env!("CARGO_PKG_VERSION").into(),
        kernel: said("/proc/sys/kernel/osrelease"),
        cpus: std::thread::available_parallelism().map_or(1, usize::from),
        clock,
        permits,
        spin: None,
    }
}

/// This machine's clock, of which so much is known of its error.
pub fn clock(error: ClockError) -> Clock {
    Clock { source: said("/sys/devices/system/clocksource/clocksource0/current_clocksource"), error }
}

/// Whether systemd-timesyncd says that this machine's clock is synchronised; by how much it is off nobody says. (chrony and ntpd tell the
/// kernel, which says so in adjtimex(2) alone.)
pub(crate) fn is_synchronised() -> bool {
    std::path::Path::new("/run/systemd/timesync/synchronized").exists()
}

fn said(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}
