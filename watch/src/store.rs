//! What outlives a restart: rounds and hourly histograms, in one database with what `alerting` keeps.
//!
//! In: batches. Out: rounds, trends, and the alerts' half ([`History::alerts`]). One batch is one transaction: a round, what it changed
//! and what receivers must hear are there together or not at all. Columns `scheduled` and `started` are nanoseconds of this machine's
//! wall clock since the Unix epoch, `hour` is whole hours of it.

use std::path::Path;

use alerting::clock::UnixSeconds;
use alerting::store::{Batch as Alerts, StoreError};
use alerting::unreadable::{Place, bytes, keep};
use alerting::{Culprit, Store};
use analysis::clock::{Client, Instant, Span};
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};
use rusqlite::{OptionalExtension, Transaction, params};
use serde::{Deserialize, Serialize};

use crate::clock::{UnixHour, second};

/// SQLite's name for a database without a file.
pub(crate) const IN_MEMORY: &str = ":memory:";

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS round (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL, scheduled INTEGER NOT NULL, started INTEGER NOT NULL, total_ms REAL NOT NULL,
  success INTEGER NOT NULL, culprit TEXT, sick TEXT, rtt_ms REAL, data TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS round_by_check ON round (name, started);
CREATE INDEX IF NOT EXISTS round_by_time ON round (started);
CREATE TABLE IF NOT EXISTS histogram (name TEXT NOT NULL, hour INTEGER NOT NULL, what TEXT NOT NULL, data BLOB NOT NULL,
  PRIMARY KEY (name, hour, what));
CREATE TABLE IF NOT EXISTS reported (agent TEXT NOT NULL, epoch TEXT NOT NULL, number INTEGER NOT NULL, heard INTEGER NOT NULL,
  PRIMARY KEY (agent, epoch));
";

/// Rounds that are forgotten in one transaction: it takes milliseconds.
const MOST_FORGOTTEN: u32 = 1_000;

/// A round as it is kept.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RoundRecord {
    /// The check.
    pub name: String,
    /// The address that was probed.
    pub address: Option<String>,
    /// When it should have begun: this machine's wall clock, nanoseconds since the Unix epoch.
    pub scheduled: Instant<Client>,
    /// When it began, on the same clock.
    pub started: Instant<Client>,
    /// How long it took, in milliseconds.
    pub total_ms: f64,
    /// Whether all that was asked for succeeded.
    pub success: bool,
    /// Why not.
    pub reason: Option<String>,
    /// Our end of the connection.
    pub local: Option<String>,
    /// The verdict on all of it.
    pub verdict: String,
    /// The verdict without the prober's own time.
    pub target_verdict: String,
    /// Who the thresholds would have blamed, had the prober been well.
    pub target_culprit: Option<Culprit>,
    /// Who was blamed by the check's thresholds.
    pub culprit: Option<Culprit>,
    /// Why the prober was too sick to judge others.
    pub sick: Option<String>,
    /// The least round trip, in milliseconds.
    pub rtt_ms: Option<f64>,
    /// The evidence's grade.
    pub grade: String,
    /// In one sentence.
    pub sentence: String,
    /// Where the time went: phase, owner, milliseconds.
    pub parts: Vec<(String, String, f64)>,
    /// When the first certificate of the chain ends; absent if none was seen.
    #[serde(default)]
    pub certificate_end: Option<UnixSeconds>,
}

/// What one batch of rounds changed.
#[derive(Default, Debug)]
pub struct Batch {
    /// The rounds.
    pub rounds: Vec<RoundRecord>,
    /// Times for the hourly histograms.
    pub times: Vec<Times>,
    /// Alerts.
    pub alerts: Alerts,
    /// Batches of agents whose rounds are among these.
    pub reported: Vec<Reported>,
}

/// All batches of an agent's process up to a number are here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reported {
    /// The agent.
    pub agent: String,
    /// Its process.
    pub epoch: String,
    /// The last batch.
    pub number: u64,
    /// When it came: this machine's wall clock.
    pub heard: UnixSeconds,
}

/// Times of one check, of one phase (or `total`), in one hour.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Times {
    /// The check.
    pub name: String,
    /// The hour.
    pub hour: UnixHour,
    /// The phase, or `total`.
    pub what: String,
    /// In milliseconds.
    pub ms: Vec<f32>,
}

/// What an hour's rounds took, in milliseconds.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Hourly {
    /// The hour.
    pub hour: UnixHour,
    /// The median.
    pub p50_ms: f64,
    /// The 99th percentile.
    pub p99_ms: f64,
}

/// What went wrong with the history: this host's fault, or that of who named the file.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// With the database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// With a histogram.
    #[error("the store: a histogram cannot be made: {0}")]
    Histogram(String),
}

impl From<rusqlite::Error> for HistoryError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(StoreError::Use(error))
    }
}

impl From<serde_json::Error> for HistoryError {
    fn from(error: serde_json::Error) -> Self {
        Self::Store(StoreError::Record(error))
    }
}

type Result<T> = std::result::Result<T, HistoryError>;

/// The database.
pub struct History(Store);

impl History {
    /// Opens or makes it.
    ///
    /// # Errors
    /// If it cannot be written, or belongs to a later version.
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self(Store::open_with(path, TABLES)?))
    }

    /// Whether [`Self::open`] can open a file that is there, as far as that can be seen without changing it.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn can_open(path: &Path) -> Result<()> {
        Ok(Store::can_open(path, TABLES)?)
    }

    /// What is kept of alerts.
    pub fn alerts(&self) -> &Store {
        &self.0
    }

    /// Writes a batch, whole or not at all.
    ///
    /// # Errors
    /// If the disk is full, say; nothing of it is there then.
    pub fn write(&mut self, batch: &Batch) -> Result<()> {
        self.0.write_with(&batch.alerts, |tx| {
            let sql = "INSERT INTO round (name, scheduled, started, total_ms, success, culprit, sick, rtt_ms, data) VALUES (?,?,?,?,?,?,?,?,?)";
            let mut insert = tx.prepare_cached(sql)?;
            for r in &batch.rounds {
                let data = serde_json::to_string(r)?;
                let (scheduled, started) = (r.scheduled.nanos(), r.started.nanos());
                insert.execute(params![r.name, scheduled, started, r.total_ms, r.success, r.culprit, r.sick, r.rtt_ms, data])?;
            }
            let mut report = tx.prepare_cached("INSERT OR REPLACE INTO reported VALUES (?,?,?,?)")?;
            for r in &batch.reported {
                report.execute(params![r.agent, r.epoch, r.number.cast_signed(), r.heard])?;
            }
            batch.times.iter().try_for_each(|times| add_times(tx, times))
        })
    }

    /// What is written from now on survives a loss of power once it is written: agents throw away what is stored here.
    ///
    /// # Errors
    /// If the database cannot be told so.
    pub fn sync(&self) -> Result<()> {
        Ok(self.0.connection().execute_batch("PRAGMA synchronous = FULL")?)
    }

    /// Which batches of agents are here.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn reported(&self) -> Result<Vec<Reported>> {
        Ok(self.0.all("SELECT agent, epoch, number, heard FROM reported", [], |r| {
            Ok(Reported { agent: r.get(0)?, epoch: r.get(1)?, number: r.get::<_, i64>(2)?.cast_unsigned(), heard: r.get(3)? })
        })?)
    }

    /// The least round trip of every check since then, and behind how many rounds.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn round_trips(&self, since: Instant<Client>) -> Result<Vec<(String, Span, u32)>> {
        let sql = "SELECT name, min(rtt_ms), count(rtt_ms) FROM round WHERE started >= ? AND rtt_ms IS NOT NULL GROUP BY name";
        Ok(self
            .0
            .all(sql, [since.nanos()], |r| Ok((r.get(0)?, Span::from_nanos((r.get::<_, f64>(1)? * 1e6) as i64), r.get(2)?)))?)
    }

    /// The last rounds of a check before then, latest first.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn rounds(&self, name: &str, until: Instant<Client>, most: u32) -> Result<Vec<RoundRecord>> {
        let sql = "SELECT id, data FROM round WHERE name = ? AND started < ? ORDER BY started DESC LIMIT ?";
        let rows = self.0.all(sql, params![name, until.nanos(), most], |r| Ok((r.get::<_, i64>(0)?, bytes(r, 1)?)))?;
        let read =
            |(row, data): (i64, Vec<u8>)| self.0.read(Place { table: "round", column: "data", row, receiver: None }, &data);
        Ok(rows.into_iter().filter_map(read).collect())
    }

    /// What `what` took a check, by hour, since then.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn trend(&self, name: &str, what: &str, since: UnixHour) -> Result<Vec<Hourly>> {
        let sql = "SELECT rowid, hour, data FROM histogram WHERE name = ? AND what = ? AND hour >= ? ORDER BY hour";
        let rows =
            self.0.all(sql, params![name, what, since], |r| Ok((r.get::<_, i64>(0)?, r.get::<_, UnixHour>(1)?, bytes(r, 2)?)))?;
        let mut hours = Vec::new();
        for (row, hour, data) in rows {
            match Deserializer::new().deserialize::<u64, _>(&mut data.as_slice()) {
                Ok(took) => {
                    let ms = |quantile| took.value_at_quantile(quantile) as f64 / 1e3;
                    hours.push(Hourly { hour, p50_ms: ms(0.5), p99_ms: ms(0.99) });
                }
                Err(why) => {
                    let place = Place { table: "histogram", column: "data", row, receiver: None };
                    self.0.set_aside(place, &data, &why.to_string());
                }
            }
        }
        Ok(hours)
    }

    /// When the round that was written last began.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn latest(&self) -> Result<Option<Instant<Client>>> {
        let sql = "SELECT started FROM round ORDER BY id DESC LIMIT 1";
        Ok(self.0.connection().query_row(sql, [], |r| r.get(0)).optional()?.map(Instant::from_nanos))
    }

    /// Forgets what is older, a little at a time; gives whether there may be more.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn forget(&self, before: Instant<Client>) -> Result<bool> {
        let db = self.0.connection();
        let old = "DELETE FROM round WHERE id IN (SELECT id FROM round WHERE started < ? ORDER BY started LIMIT ?)";
        if db.execute(old, params![before.nanos(), MOST_FORGOTTEN])? == MOST_FORGOTTEN as usize {
            return Ok(true);
        }
        db.execute("DELETE FROM histogram WHERE hour < ?", [UnixHour::of(before)])?;
        db.execute("DELETE FROM reported WHERE heard < ?", [second(before)])?;
        self.0.forget(second(before))?;
        Ok(false)
    }
}

fn add_times(tx: &Transaction<'_>, Times { name, hour, what, ms }: &Times) -> Result<()> {
    let sql = "SELECT rowid, data FROM histogram WHERE name = ? AND hour = ? AND what = ?";
    let known = tx.query_row(sql, params![name, hour, what], |r| Ok((r.get::<_, i64>(0)?, bytes(r, 1)?))).optional()?;
    let empty = || Histogram::new_with_bounds(1, 3_600_000_000, 2).map_err(|e| HistoryError::Histogram(e.to_string()));
    let mut histogram: Histogram<u64> = match known {
        Some((row, data)) => match Deserializer::new().deserialize(&mut data.as_slice()) {
            Ok(known) => known,
            Err(why) => {
                keep(tx, Place { table: "histogram", column: "data", row, receiver: None }, &data, &why.to_string())?;
                empty()?
            }
        },
        None => empty()?,
    };
    for ms in ms {
        histogram.saturating_record((f64::from(*ms) * 1e3) as u64); // microseconds
    }
    let mut data = Vec::new();
    let written = V2DeflateSerializer::new().serialize(&histogram, &mut data);
    written.map_err(|e| HistoryError::Histogram(format!("{e:?}")))?;
    tx.execute("INSERT OR REPLACE INTO histogram VALUES (?, ?, ?, ?)", params![name, hour, what, data])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_add_up_over_batches() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut history = History::open(&dir.path().join("store.db")).expect("it opens");
        let hour = UnixHour::from_hours(5);
        for ms in [10.0, 20.0, 30.0] {
            let times = vec![Times { name: "a".into(), hour, what: "total".into(), ms: vec![ms] }];
            history.write(&Batch { times, ..Batch::default() }).expect("it is written");
        }
        let trend = history.trend("a", "total", UnixHour::from_hours(0)).expect("it is read");
        assert_eq!((trend.len(), trend[0].hour), (1, hour));
        assert!((trend[0].p50_ms - 20.0).abs() < 1.0 && (trend[0].p99_ms - 30.0).abs() < 1.0, "{trend:?}");
    }

    #[test]
    fn a_database_of_an_earlier_version_opens_with_all_that_it_holds() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("store.db");
        let old = include_str!("../../alerting/tests/files/store-1.sql");
        rusqlite::Connection::open(&path).expect("it opens").execute_batch(old).expect("it is SQL");
        let mut history = History::open(&path).expect("it opens");
        let rounds = history.rounds("login", Instant::from_nanos(i64::MAX), 10).expect("they are read");
        let [second, first] = &rounds[..] else { panic!("two rounds: {rounds:?}") };
        assert_eq!((first.scheduled.nanos(), first.started.nanos()), (1_795_718_610_932_162_716, 1_795_718_610_933_546_336));
        assert_eq!((second.verdict.as_str(), second.culprit), ("aborted/edge", Some(Culprit::Edge)));
        assert_eq!(history.rounds("login", second.started, 10).expect("they are read"), std::slice::from_ref(first));
        let hour = UnixHour::from_hours(498_810);
        let trend = history.trend("login", "total", hour).expect("it is read");
        assert_eq!((trend.len(), trend[0].hour), (1, hour));
        assert_eq!(history.alerts().incidents(UnixSeconds::from_secs(0)).expect("they are read").len(), 1);
        assert_eq!(history.alerts().states().expect("they are read").len(), 2);
        // What is added now lies beside it.
        history.write(&Batch { rounds: vec![first.clone()], ..Batch::default() }).expect("it is written");
        assert_eq!(history.rounds("login", Instant::from_nanos(i64::MAX), 10).expect("they are read").len(), 3);
    }
}
