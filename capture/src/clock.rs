//! The two clocks of this host: the monotonic one, which nobody can set, and the wall clock, which people read.
//!
//! Packets are recorded with times of [`Monotonic`]; a capture file has times of the wall clock of whoever captured it ([`Unplaced`]
//! until it is known which end that was). An instant of one is no instant of the other; [`WallOffset`] alone leads across.
//!
//! ```compile_fail
//! use whostalled_capture::clock::{monotonic, wall};
//! let nonsense = wall() - monotonic(); // two clocks: no such operation
//! ```

use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use analysis::clock::{Domain, Instant, Span, Unplaced};
use nix::time::{ClockId, clock_gettime};

/// `CLOCK_MONOTONIC` of this host: nanoseconds since some moment before it booted. Nobody can set it; it stands while the host sleeps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Monotonic;

impl Domain for Monotonic {
    const NAME: &'static str = "monotonic";
}

/// What this host's monotonic clock says: the kernel's programs have it, whatever a time namespace shows to those within.
pub fn monotonic() -> Instant<Monotonic> {
    static AHEAD: LazyLock<i64> = LazyLock::new(|| {
        let offsets = std::fs::read_to_string("/proc/self/timens_offsets");
        offsets.ok().and_then(|offsets| namespace_ahead(&offsets)).unwrap_or(0) // without the file there are no such namespaces
    });
    let here = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |t| Duration::from(t).as_nanos() as i64);
    Instant::from_nanos(here.saturating_sub(*AHEAD))
}

/// By how many nanoseconds this time namespace's monotonic clock is ahead of the host's (time_namespaces(7)).
fn namespace_ahead(offsets: &str) -> Option<i64> {
    let mut words = offsets.lines().find(|line| line.starts_with("monotonic"))?.split_whitespace().skip(1);
    let mut number = || words.next()?.parse::<i64>().ok();
    number()?.checked_mul(1_000_000_000)?.checked_add(number()?)
}

/// What this host's wall clock says: nanoseconds since the Unix epoch, as capture files have them.
pub fn wall() -> Instant<Unplaced> {
    Instant::from_nanos(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as i64))
}

/// By how much this host's wall clock is ahead of its monotonic clock. It holds until somebody sets the wall clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WallOffset(Span);

impl WallOffset {
    /// As it is now.
    pub fn now() -> Self {
        Self::between(monotonic(), wall())
    }

    /// That of two clocks that were read at the same moment.
    pub fn between(monotonic: Instant<Monotonic>, wall: Instant<Unplaced>) -> Self {
        Self(Span::from_nanos(wall.nanos().saturating_sub(monotonic.nanos())))
    }

    /// What the wall clock says when the monotonic clock says `at`.
    pub fn to_wall(self, at: Instant<Monotonic>) -> Instant<Unplaced> {
        Instant::from_nanos(at.nanos()) + self.0
    }

    /// What the monotonic clock says when the wall clock says `at`.
    pub fn to_monotonic(self, at: Instant<Unplaced>) -> Instant<Monotonic> {
        Instant::from_nanos(at.nanos()) - self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_costs_a_packet_no_byte() {
        assert_eq!(size_of::<Instant<Monotonic>>(), size_of::<i64>());
        assert_eq!(size_of::<crate::chains::Entry<'_>>(), 48);
    }

    #[test]
    fn a_time_namespace_is_known_by_its_offsets() {
        assert_eq!(namespace_ahead("monotonic      50000         7\nboottime           0         0\n"), Some(50_000_000_000_007));
        assert_eq!(namespace_ahead("monotonic       -100         0\n"), Some(-100_000_000_000));
        assert_eq!(namespace_ahead(""), None);
    }

    #[test]
    fn an_offset_leads_there_and_back() {
        let (monotonic, wall) = (Instant::from_nanos(5_000), Instant::from_nanos(1_800_000_000_000_000_000));
        let offset = WallOffset::between(monotonic, wall);
        let later = monotonic + Span::from_millis(3);
        assert_eq!(offset.to_wall(later), wall + Span::from_millis(3));
        assert_eq!(offset.to_monotonic(offset.to_wall(later)), later);
    }
}
