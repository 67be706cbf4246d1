//! The watcher's clock: wall time of this machine in nanoseconds, as the prober has it; seconds and hours of it for people and tables.

use std::time::{SystemTime, UNIX_EPOCH};

use alerting::clock::UnixSeconds;
use analysis::clock::{Client, Instant, Span};
use rusqlite::ToSql;
use rusqlite::types::{FromSql, FromSqlResult, ToSqlOutput, ValueRef};
use serde::{Deserialize, Serialize};

const SECOND: i64 = 1_000_000_000;
const HOUR_SECONDS: i64 = 3_600;

/// What this machine's wall clock says.
pub fn now() -> Instant<Client> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Instant::from_nanos(since.map_or(0, |d| i64::try_from(d.as_nanos()).unwrap_or(i64::MAX)))
}

/// The second that an instant lies in.
pub fn second(at: Instant<Client>) -> UnixSeconds {
    UnixSeconds::from_secs(at.nanos().div_euclid(SECOND))
}

/// Where a second begins; the end of all time for one that lies beyond it.
pub fn instant(at: UnixSeconds) -> Instant<Client> {
    Instant::from_nanos(at.secs().saturating_mul(SECOND))
}

/// An hour of this machine's wall clock (UTC), counted from the Unix epoch. In JSON and SQL it is that number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixHour(i64);

impl UnixHour {
    /// So many hours after the epoch.
    pub const fn from_hours(hours: i64) -> Self {
        Self(hours)
    }

    /// The hour that an instant lies in.
    pub fn of(at: Instant<Client>) -> Self {
        Self::of_second(second(at))
    }

    /// The hour that a second lies in.
    pub fn of_second(at: UnixSeconds) -> Self {
        Self(at.secs().div_euclid(HOUR_SECONDS))
    }

    /// The hour that is so much later.
    pub const fn moved(self, by: Span) -> Self {
        Self(self.0 + by.nanos().div_euclid(SECOND * HOUR_SECONDS))
    }

    /// Whole hours since `earlier`.
    pub const fn since(self, earlier: Self) -> Span {
        Span::from_nanos((self.0 - earlier.0).saturating_mul(SECOND * HOUR_SECONDS))
    }
}

impl ToSql for UnixHour {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.0.to_sql()
    }
}

impl FromSql for UnixHour {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        i64::column_result(value).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_hours_are_those_that_an_instant_lies_in() {
        let at = Instant::from_nanos(7_199 * SECOND + 999_999_999);
        assert_eq!((second(at).secs(), UnixHour::of(at)), (7_199, UnixHour::from_hours(1)));
        assert_eq!(instant(UnixSeconds::from_secs(i64::MAX)).nanos(), i64::MAX);
    }
}
