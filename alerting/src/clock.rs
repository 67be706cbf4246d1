//! The clock of alerts: whole seconds of the wall clock, as receivers, files and the store have them.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use rusqlite::ToSql;
use rusqlite::types::{FromSql, FromSqlResult, ToSqlOutput, ValueRef};
use serde::{Deserialize, Serialize};

/// A second of this machine's wall clock (UTC), counted from the Unix epoch. In JSON and SQL it is that number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixSeconds(i64);

impl UnixSeconds {
    /// So many seconds after the epoch.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs)
    }

    /// Seconds since the epoch.
    pub const fn secs(self) -> i64 {
        self.0
    }

    /// What this machine's clock says.
    pub fn now() -> Self {
        Self(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, whole))
    }

    /// The time since `earlier`; none if that is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(self.0.saturating_sub(earlier.0).max(0).unsigned_abs())
    }
}

fn whole(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

impl From<Timestamp> for UnixSeconds {
    fn from(time: Timestamp) -> Self {
        Self(time.as_second())
    }
}

impl Add<Duration> for UnixSeconds {
    type Output = Self;
    fn add(self, time: Duration) -> Self {
        Self(self.0.saturating_add(whole(time)))
    }
}

impl Sub<Duration> for UnixSeconds {
    type Output = Self;
    fn sub(self, time: Duration) -> Self {
        Self(self.0.saturating_sub(whole(time)))
    }
}

impl fmt::Display for UnixSeconds {
    /// RFC 3339, as receivers want it; nothing for a time beyond the year 9999.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Timestamp::from_second(self.0).map_or(Ok(()), |time| fmt::Display::fmt(&time, f))
    }
}

impl ToSql for UnixSeconds {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.0.to_sql()
    }
}

impl FromSql for UnixSeconds {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        i64::column_result(value).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_its_number_in_files_and_rfc_3339_for_people() {
        let at = UnixSeconds::from_secs(1_800_000_000);
        assert_eq!(serde_json::to_string(&at).expect("a number"), "1800000000");
        assert_eq!(at.to_string(), "2027-01-15T08:00:00Z");
        assert_eq!(UnixSeconds::from_secs(i64::MAX).to_string(), "");
    }

    #[test]
    fn adding_and_taking_away_stay_within_what_there_is() {
        let at = UnixSeconds::from_secs(10);
        assert_eq!((at + Duration::from_millis(1_999)).secs(), 11);
        assert_eq!(((at + Duration::MAX).secs(), at.since(UnixSeconds::from_secs(11))), (i64::MAX, Duration::ZERO));
        assert_eq!(at.since(UnixSeconds::from_secs(4)), Duration::from_secs(6));
    }
}
