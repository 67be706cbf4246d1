//! What a host says of itself: kernel, clock, processors.

use agent::{Clock, ClockError, Hello, Permits, VERSION};
use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_gettime};

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
    }
}

/// This machine's clock, of which so much is known of its error.
pub fn clock(error: ClockError) -> Clock {
    Clock { source: said("/sys/devices/system/clocksource/clocksource0/current_clocksource"), error }
}

/// What this machine's clock is by its own synchronisation.
pub(crate) fn synchronised() -> ClockError {
    // The file is touched by systemd-timesyncd; chrony and ntpd tell the kernel, which says so in adjtimex(2) alone.
    let touched = std::path::Path::new("/run/systemd/timesync/synchronized").exists();
    if touched { ClockError::WithinNs(50_000_000) } else { ClockError::Unknown }
}

/// Nanoseconds since the epoch, by this machine's wall clock.
pub(crate) fn now_ns() -> i64 {
    clock_gettime(ClockId::CLOCK_REALTIME).map_or(0, |now| now.num_nanoseconds())
}

fn said(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}
