//! This machine's wall clock.

use std::time::{SystemTime, UNIX_EPOCH};

use analysis::clock::{Instant, Unplaced};

/// What it says: nanoseconds since the Unix epoch.
pub(crate) fn now() -> Instant<Unplaced> {
    Instant::from_nanos(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as i64))
}
