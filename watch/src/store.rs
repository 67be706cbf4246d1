//! What outlives a restart: rounds, histograms, states, incidents, the outbox. SQLite, write-ahead log.
//!
//! One batch of rounds is one transaction: a round, what it changed and what receivers must hear are there together or not at all.

use std::path::Path;

use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};

use crate::event::Event;
use crate::states::{Active, State};

/// Version of the tables.
const VERSION: i64 = 1;

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS round (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL, scheduled INTEGER NOT NULL, started INTEGER NOT NULL, total_ms REAL NOT NULL,
  success INTEGER NOT NULL, culprit TEXT, sick TEXT, rtt_ms REAL, data TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS round_by_check ON round (name, started);
CREATE INDEX IF NOT EXISTS round_by_time ON round (started);
CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, data TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS incident (
  key TEXT NOT NULL, since INTEGER NOT NULL, ended INTEGER, name TEXT NOT NULL, vantage TEXT NOT NULL, target TEXT NOT NULL,
  culprit TEXT NOT NULL, phase TEXT NOT NULL, worst_ms REAL NOT NULL, rounds INTEGER NOT NULL, bad INTEGER NOT NULL,
  sentence TEXT NOT NULL, PRIMARY KEY (key, since));
CREATE TABLE IF NOT EXISTS outbox (
  id INTEGER PRIMARY KEY, receiver TEXT NOT NULL, event TEXT NOT NULL, attempts INTEGER NOT NULL, due INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS refused (
  receiver TEXT NOT NULL, key TEXT NOT NULL, event TEXT NOT NULL, why TEXT NOT NULL, at INTEGER NOT NULL,
  PRIMARY KEY (receiver, key));
CREATE TABLE IF NOT EXISTS histogram (name TEXT NOT NULL, hour INTEGER NOT NULL, what TEXT NOT NULL, data BLOB NOT NULL,
  PRIMARY KEY (name, hour, what));
";

/// A round as it is kept.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Kept {
    /// The check.
    pub name: String,
    /// The address that was probed.
    pub address: Option<String>,
    /// When it should have begun, in nanoseconds since the epoch.
    pub scheduled: i64,
    /// When it began.
    pub started: i64,
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
    pub target_culprit: Option<String>,
    /// Who was blamed by the check's thresholds.
    pub culprit: Option<String>,
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
}

/// A box of the incident diagram.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Incident {
    /// The alert's key.
    pub key: String,
    /// Since when, in seconds since the epoch.
    pub since: i64,
    /// Until when; absent while it lasts.
    pub ended: Option<i64>,
    /// The check.
    pub name: String,
    /// From where.
    pub vantage: String,
    /// What is checked.
    pub target: String,
    /// Whose fault.
    pub culprit: String,
    /// In which phase.
    pub phase: String,
    /// The most beyond the baseline, in milliseconds.
    pub worst_ms: f64,
    /// Rounds since then.
    pub rounds: u32,
    /// Bad ones among them.
    pub bad: u32,
    /// The evidence.
    pub sentence: String,
}

impl Incident {
    /// What `event` tells of, as a box: `active` has its extent.
    pub fn of(event: &Event, active: &Active) -> Self {
        Self {
            key: event.key.clone(),
            since: event.since,
            ended: event.ended,
            name: event.check.clone(),
            vantage: event.vantage.clone(),
            target: event.target.clone(),
            culprit: active.blame.culprit.clone(),
            phase: active.blame.phase.clone(),
            worst_ms: active.blame.ms,
            rounds: active.rounds,
            bad: active.bad,
            sentence: active.blame.sentence.clone(),
        }
    }
}

/// A message that waits for its receiver.
#[derive(Clone, PartialEq, Debug)]
pub struct Waiting {
    /// Its number.
    pub id: i64,
    /// For whom.
    pub receiver: String,
    /// What to say.
    pub event: Event,
    /// How often that was tried.
    pub attempts: u32,
}

/// A message that its receiver will never take.
#[derive(Clone, PartialEq, Debug)]
pub struct Refused {
    /// Who refused it.
    pub receiver: String,
    /// What it says.
    pub event: Event,
    /// Why, in the receiver's words.
    pub why: String,
    /// When, in seconds since the epoch.
    pub at: i64,
    /// Whether the store has it.
    pub kept: bool,
}

impl Refused {
    /// Whether both are of one alert and one receiver: the later one counts.
    pub fn same(&self, other: &Self) -> bool {
        self.receiver == other.receiver && self.event.key == other.event.key
    }
}

/// What one batch of rounds changed.
#[derive(Default, Debug)]
pub struct Batch {
    /// The rounds.
    pub rounds: Vec<Kept>,
    /// States of checks, as they are now.
    pub states: Vec<(String, State)>,
    /// Checks that are no more: their states go.
    pub retired: Vec<String>,
    /// Incidents, new or changed.
    pub incidents: Vec<Incident>,
    /// Messages, each for one receiver.
    pub messages: Vec<(String, Event)>,
    /// Times for the hourly histograms.
    pub times: Vec<Times>,
}

/// Times of one check, of one phase (or `total`), in one hour.
#[derive(Clone, PartialEq, Debug)]
pub struct Times {
    /// The check.
    pub name: String,
    /// Hours since the epoch.
    pub hour: i64,
    /// The phase, or `total`.
    pub what: String,
    /// In milliseconds.
    pub ms: Vec<f32>,
}

/// The database.
pub struct Store(Connection);

type Result<T> = std::result::Result<T, String>;

fn say(e: impl std::fmt::Display) -> String {
    format!("the store: {e}")
}

impl Store {
    /// Opens or makes it.
    ///
    /// # Errors
    /// If it cannot be written, or belongs to a later version.
    pub fn open(path: &Path) -> Result<Self> {
        let db = Connection::open(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let version: i64 = db.query_row("PRAGMA user_version", [], |r| r.get(0)).map_err(say)?;
        if version > VERSION {
            return Err(format!("{}: made by a later version of whostalled (tables {version}, known {VERSION})", path.display()));
        }
        db.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA busy_timeout = 5000;").map_err(say)?;
        db.execute_batch(TABLES).map_err(|e| format!("{}: {e}", path.display()))?;
        db.execute_batch(&format!("PRAGMA user_version = {VERSION}")).map_err(say)?;
        Ok(Self(db))
    }

    /// Writes a batch, whole or not at all.
    ///
    /// # Errors
    /// If the disk is full, say; nothing of it is there then.
    pub fn write(&mut self, batch: &Batch) -> Result<()> {
        let tx = self.0.transaction().map_err(say)?;
        {
            let mut insert = tx
                .prepare_cached(
                    "INSERT INTO round (name, scheduled, started, total_ms, success, culprit, sick, rtt_ms, data) VALUES (?,?,?,?,?,?,?,?,?)",
                )
                .map_err(say)?;
            for r in &batch.rounds {
                let data = serde_json::to_string(r).map_err(say)?;
                let row = params![r.name, r.scheduled, r.started, r.total_ms, r.success, r.culprit, r.sick, r.rtt_ms, data];
                insert.execute(row).map_err(say)?;
            }
        }
        for (name, state) in &batch.states {
            let data = serde_json::to_string(state).map_err(say)?;
            tx.execute("INSERT OR REPLACE INTO state (name, data) VALUES (?, ?)", params![name, data]).map_err(say)?;
        }
        for name in &batch.retired {
            tx.execute("DELETE FROM state WHERE name = ?", [name]).map_err(say)?;
        }
        for i in &batch.incidents {
            tx.execute(
                "INSERT OR REPLACE INTO incident VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
                params![
                    i.key, i.since, i.ended, i.name, i.vantage, i.target, i.culprit, i.phase, i.worst_ms, i.rounds, i.bad,
                    i.sentence
                ],
            )
            .map_err(say)?;
        }
        for (receiver, event) in &batch.messages {
            let event = serde_json::to_string(event).map_err(say)?;
            let row = params![receiver, event];
            tx.execute("INSERT INTO outbox (receiver, event, attempts, due) VALUES (?, ?, 0, 0)", row).map_err(say)?;
        }
        for times in &batch.times {
            add_times(&tx, times)?;
        }
        tx.commit().map_err(say)
    }

    /// Where every check stood.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn states(&self) -> Result<Vec<(String, State)>> {
        let rows = self.all("SELECT name, data FROM state", [], |r| Ok((r.get::<_, String>(0)?, r.get::<_, String>(1)?)))?;
        Ok(rows.into_iter().filter_map(|(name, data)| Some((name, serde_json::from_str(&data).ok()?))).collect())
    }

    /// The least round trip of every check since then, in milliseconds, and behind how many rounds.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn round_trips(&self, since: i64) -> Result<Vec<(String, f64, u32)>> {
        let sql = "SELECT name, min(rtt_ms), count(rtt_ms) FROM round WHERE started >= ? AND rtt_ms IS NOT NULL GROUP BY name";
        self.all(sql, [since], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))
    }

    /// The last rounds of a check before then, latest first.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn rounds(&self, name: &str, until: i64, most: u32) -> Result<Vec<Kept>> {
        let sql = "SELECT data FROM round WHERE name = ? AND started < ? ORDER BY started DESC LIMIT ?";
        let rows = self.all(sql, params![name, until, most], |r| r.get::<_, String>(0))?;
        Ok(rows.iter().filter_map(|data| serde_json::from_str(data).ok()).collect())
    }

    /// Incidents that lasted into the time since then, earliest first.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn incidents(&self, since: i64) -> Result<Vec<Incident>> {
        let sql = "SELECT * FROM incident WHERE ended IS NULL OR ended >= ? ORDER BY since";
        self.all(sql, [since], |r| {
            Ok(Incident {
                key: r.get(0)?,
                since: r.get(1)?,
                ended: r.get(2)?,
                name: r.get(3)?,
                vantage: r.get(4)?,
                target: r.get(5)?,
                culprit: r.get(6)?,
                phase: r.get(7)?,
                worst_ms: r.get(8)?,
                rounds: r.get(9)?,
                bad: r.get(10)?,
                sentence: r.get(11)?,
            })
        })
    }

    /// Median and 99th percentile by hour of what `what` took a check, in milliseconds.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn trend(&self, name: &str, what: &str, since_hour: i64) -> Result<Vec<(i64, f64, f64)>> {
        let sql = "SELECT hour, data FROM histogram WHERE name = ? AND what = ? AND hour >= ? ORDER BY hour";
        let rows = self.all(sql, params![name, what, since_hour], |r| Ok((r.get::<_, i64>(0)?, r.get::<_, Vec<u8>>(1)?)))?;
        let read = |(hour, data): (i64, Vec<u8>)| {
            let h: Histogram<u64> = Deserializer::new().deserialize(&mut data.as_slice()).ok()?;
            Some((hour, h.value_at_quantile(0.5) as f64 / 1e3, h.value_at_quantile(0.99) as f64 / 1e3))
        };
        Ok(rows.into_iter().filter_map(read).collect())
    }

    /// Messages that are due, in order; of each receiver only those before which none waits.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn due(&self, now: i64) -> Result<Vec<Waiting>> {
        let sql = "SELECT id, receiver, event, attempts, due FROM outbox ORDER BY id LIMIT 1000";
        let rows = self.all(sql, [], |r| {
            Ok((r.get::<_, i64>(0)?, r.get::<_, String>(1)?, r.get::<_, String>(2)?, r.get::<_, u32>(3)?, r.get::<_, i64>(4)?))
        })?;
        let mut blocked: Vec<String> = Vec::new();
        let mut found = Vec::new();
        for (id, receiver, event, attempts, due) in rows {
            if due > now || blocked.contains(&receiver) {
                blocked.push(receiver);
                continue;
            }
            if let Ok(event) = serde_json::from_str(&event) {
                found.push(Waiting { id, receiver, event, attempts });
            }
        }
        Ok(found)
    }

    /// A message was delivered.
    ///
    /// # Errors
    /// If the database cannot be written: it will be delivered again.
    pub fn delivered(&self, id: i64) -> Result<()> {
        // What was refused of this alert before is told now.
        let told = "DELETE FROM refused WHERE (receiver, key) IN (SELECT receiver, event ->> '$.key' FROM outbox WHERE id = ?)";
        self.0.execute(told, [id]).map_err(say)?;
        self.0.execute("DELETE FROM outbox WHERE id = ?", [id]).map(drop).map_err(say)
    }

    /// A message was not delivered: try again at `due`.
    ///
    /// # Errors
    /// If the database cannot be written: it will be tried sooner.
    pub fn failed(&self, id: i64, due: i64) -> Result<()> {
        self.0.execute("UPDATE outbox SET attempts = attempts + 1, due = ? WHERE id = ?", [due, id]).map(drop).map_err(say)
    }

    /// A message will never be taken: it is kept, and waits (as number `waiting`) no longer.
    ///
    /// # Errors
    /// If the database cannot be written: it will be tried again.
    pub fn refuse(&self, refused: &Refused, waiting: Option<i64>) -> Result<()> {
        let event = serde_json::to_string(&refused.event).map_err(say)?;
        let row = params![refused.receiver, refused.event.key, event, refused.why, refused.at];
        self.0.execute("INSERT OR REPLACE INTO refused VALUES (?,?,?,?,?)", row).map_err(say)?;
        let Some(id) = waiting else { return Ok(()) };
        self.0.execute("DELETE FROM outbox WHERE id = ?", [id]).map(drop).map_err(say)
    }

    /// Messages that were refused for good, the latest last.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn refused(&self) -> Result<Vec<Refused>> {
        let sql = "SELECT receiver, event, why, at FROM refused ORDER BY at";
        let rows = self.all(sql, [], |r| {
            Ok((r.get::<_, String>(0)?, r.get::<_, String>(1)?, r.get::<_, String>(2)?, r.get::<_, i64>(3)?))
        })?;
        let read = |(receiver, event, why, at): (String, String, String, i64)| {
            Some(Refused { receiver, event: serde_json::from_str(&event).ok()?, why, at, kept: true })
        };
        Ok(rows.into_iter().filter_map(read).collect())
    }

    /// How many messages wait.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn waiting(&self) -> Result<i64> {
        self.0.query_row("SELECT count(*) FROM outbox", [], |r| r.get(0)).map_err(say)
    }

    /// Forgets what is older, a little at a time.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn forget(&self, before: i64) -> Result<()> {
        let old = "DELETE FROM round WHERE id IN (SELECT id FROM round WHERE started < ? ORDER BY started LIMIT 5000)";
        self.0.execute(old, [before]).map_err(say)?;
        let hour = before / 3_600_000_000_000;
        self.0.execute("DELETE FROM histogram WHERE hour < ?", [hour]).map_err(say)?;
        self.0.execute("DELETE FROM refused WHERE at < ?", [before / 1_000_000_000]).map_err(say)?;
        Ok(())
    }

    fn all<T>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        let mut statement = self.0.prepare_cached(sql).map_err(say)?;
        let rows = statement.query_map(params, read).map_err(say)?;
        rows.collect::<rusqlite::Result<Vec<T>>>().map_err(say)
    }
}

fn add_times(tx: &rusqlite::Transaction<'_>, Times { name, hour, what, ms }: &Times) -> Result<()> {
    let sql = "SELECT data FROM histogram WHERE name = ? AND hour = ? AND what = ?";
    let known: Option<Vec<u8>> = tx.query_row(sql, params![name, hour, what], |r| r.get(0)).optional().map_err(say)?;
    let mut histogram: Histogram<u64> = known
        .and_then(|data| Deserializer::new().deserialize(&mut data.as_slice()).ok())
        .or_else(|| Histogram::new_with_bounds(1, 3_600_000_000, 2).ok())
        .ok_or("the store: no histogram")?;
    for ms in ms {
        histogram.saturating_record((f64::from(*ms) * 1e3) as u64); // microseconds
    }
    let mut data = Vec::new();
    V2DeflateSerializer::new().serialize(&histogram, &mut data).map_err(|e| format!("the store: {e:?}"))?;
    tx.execute("INSERT OR REPLACE INTO histogram VALUES (?, ?, ?, ?)", params![name, hour, what, data]).map(drop).map_err(say)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::states::Blame;

    fn event(key: &str) -> Event {
        let blame = Blame { culprit: "edge".into(), phase: "server_flight".into(), ms: 1.0, sentence: String::new() };
        Event {
            key: key.into(),
            check: "a".into(),
            vantage: "here".into(),
            target: "t".into(),
            resolved: false,
            since: 1,
            ended: None,
            blame,
            labels: Default::default(),
            link: None,
        }
    }

    #[test]
    fn messages_survive_and_keep_their_order_for_each_receiver() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("store.db");
        let messages = vec![("a".to_owned(), event("1")), ("b".into(), event("1")), ("a".into(), event("2"))];
        Store::open(&path).expect("it opens").write(&Batch { messages, ..Batch::default() }).expect("it is written");
        let store = Store::open(&path).expect("it opens again");
        let due = store.due(10).expect("it is read");
        assert_eq!(due.len(), 3);
        store.failed(due[0].id, 100).expect("it is written");
        let keys = |now| -> Vec<(String, String)> {
            store.due(now).expect("it is read").into_iter().map(|w| (w.receiver, w.event.key)).collect()
        };
        assert_eq!(keys(10), [("b".into(), "1".into())], "what comes later waits behind what failed");
        assert_eq!(keys(100).len(), 3);
        store.delivered(due[0].id).expect("it is written");
        assert_eq!(store.waiting(), Ok(2));
    }

    #[test]
    fn a_store_of_a_later_version_is_left_alone() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("store.db");
        Connection::open(&path).expect("it opens").execute_batch("PRAGMA user_version = 99").expect("it is written");
        assert!(Store::open(&path).err().expect("it is refused").contains("later version"));
    }

    #[test]
    fn times_add_up_over_batches() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut store = Store::open(&dir.path().join("store.db")).expect("it opens");
        for ms in [10.0, 20.0, 30.0] {
            let times = vec![Times { name: "a".into(), hour: 5, what: "total".into(), ms: vec![ms] }];
            store.write(&Batch { times, ..Batch::default() }).expect("it is written");
        }
        let trend = store.trend("a", "total", 0).expect("it is read");
        assert_eq!(trend.len(), 1);
        assert!((trend[0].1 - 20.0).abs() < 1.0 && (trend[0].2 - 30.0).abs() < 1.0, "{trend:?}");
    }
}
