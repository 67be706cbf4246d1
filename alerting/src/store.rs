//! What of alerts outlives a restart: states, incidents, the outbox. SQLite, write-ahead log.
//!
//! In: batches. Out: where each alert was, what waits for whom, what was refused, what there was. Whoever keeps more in the same file
//! (`watch`: rounds and histograms) brings its tables ([`Store::open_with`]) and writes in the same transaction ([`Store::write_with`]):
//! what happened and what receivers must hear are there together or not at all.
//!
//! Times in the tables are seconds of the wall clock since the Unix epoch.

use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, Row, Transaction, TransactionBehavior, params};

use crate::clock::UnixSeconds;
use crate::event::Event;
use crate::incident::Incident;
use crate::states::State;
use crate::unreadable::{self, Place, bytes};

/// Version of the tables. Tables that were added within a version are made where they are missing.
const VERSION: i64 = 1;

const TABLES: &str = "
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
CREATE INDEX IF NOT EXISTS outbox_by_receiver ON outbox (receiver, id);
CREATE TABLE IF NOT EXISTS receiver (name TEXT PRIMARY KEY);
";
/// Somebody else's transaction is waited for.
const BUSY: &str = "PRAGMA busy_timeout = 5000;";

/// A message that waits for its receiver.
#[derive(Clone, PartialEq, Debug)]
pub struct Waiting {
    /// Its number.
    pub id: i64,
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
    /// When.
    pub at: UnixSeconds,
    /// Whether the store has it.
    pub kept: bool,
}

impl Refused {
    /// Whether both are of one alert and one receiver: the later one counts.
    pub fn same(&self, other: &Self) -> bool {
        self.receiver == other.receiver && self.event.key == other.event.key
    }
}

/// What changed.
#[derive(Default, Debug)]
pub struct Batch {
    /// States of checks, as they are now.
    pub states: Vec<(String, State)>,
    /// Checks that are no more: their states go.
    pub retired: Vec<String>,
    /// Incidents, new or changed.
    pub incidents: Vec<Incident>,
    /// Messages, each for one receiver.
    pub messages: Vec<(String, Event)>,
    /// All receivers by name, where these are others than before.
    pub receivers: Option<Vec<String>>,
}

/// What went wrong with the database: this host's fault, or that of who named the file.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Its folder cannot be made.
    #[error("the folder {} cannot be made: {source}; make it, or name another place for the store", folder.display())]
    Folder {
        /// Which.
        folder: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It cannot be opened or made.
    #[error("{}: {source}", path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// It belongs to a later version: nothing is done to it.
    #[error("{}: made by a later version of whostalled (tables {found}, known {VERSION})", path.display())]
    Later {
        /// Which.
        path: PathBuf,
        /// Its version.
        found: i64,
    },
    /// It cannot be read or written: the disk is full, say.
    #[error("the store: {0}")]
    Use(#[from] rusqlite::Error),
    /// What was to be written cannot be put into words.
    #[error("the store: {0}")]
    Record(#[from] serde_json::Error),
}

type Result<T> = std::result::Result<T, StoreError>;

/// The SQLite that is linked: `3.40.1`.
#[must_use]
pub fn sqlite_version() -> &'static str {
    rusqlite::version()
}

/// Makes the folder of a file, for this user only, where there is none.
fn make_folder_of(path: &Path) -> Result<()> {
    let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) else { return Ok(()) };
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|source| StoreError::Folder { folder: folder.to_owned(), source })
}

/// Whether a database is none of a later version.
fn known_version(path: &Path, db: &Connection) -> Result<()> {
    let found = db.query_row("PRAGMA user_version", [], |r| r.get(0));
    let found: i64 = found.map_err(|source| StoreError::Open { path: path.to_owned(), source })?;
    if found > VERSION { Err(StoreError::Later { path: path.to_owned(), found }) } else { Ok(()) }
}

/// The database.
pub struct Store {
    db: Connection,
    /// Its file, and which one that was when it was opened; none has a database in memory.
    file: Option<(PathBuf, FileId)>,
}

/// Device and number of a file.
type FileId = (u64, u64);

fn file_id(path: &Path) -> Option<FileId> {
    std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

impl Store {
    /// Opens or makes it.
    ///
    /// # Errors
    /// If it cannot be written, or belongs to a later version.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_with(path, "")
    }

    /// The same with tables of the caller's beside those of alerts; `tables` are made where they are missing.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with(path: &Path, tables: &str) -> Result<Self> {
        make_folder_of(path)?;
        let unopened = |source| StoreError::Open { path: path.to_owned(), source };
        let db = Connection::open(path).map_err(unopened)?;
        known_version(path, &db)?;
        let how = format!("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; {BUSY}");
        db.execute_batch(&how).map_err(unopened)?;
        for tables in [TABLES, unreadable::TABLE, tables] {
            db.execute_batch(tables).map_err(unopened)?;
        }
        db.execute_batch(&format!("PRAGMA user_version = {VERSION}")).map_err(unopened)?;
        let file = file_id(path).map(|id| (path.to_owned(), id));
        Ok(Self { db, file })
    }

    /// Whether [`Self::open_with`] can open a file that is there, as far as that can be seen without changing it.
    ///
    /// # Errors
    /// As [`Self::open_with`].
    pub fn can_open(path: &Path, tables: &str) -> Result<()> {
        let unopened = |source| StoreError::Open { path: path.to_owned(), source };
        let mut db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(unopened)?;
        db.execute_batch(BUSY).map_err(unopened)?;
        known_version(path, &db)?;
        // Rolled back: it is not committed.
        let tried = db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(unopened)?;
        [TABLES, unreadable::TABLE, tables].into_iter().try_for_each(|tables| tried.execute_batch(tables)).map_err(unopened)
    }

    /// The file, if somebody deleted it, or put another in its place: what is written now is nowhere once we end.
    pub fn lost(&self) -> Option<&Path> {
        self.file.as_ref().filter(|(path, id)| file_id(path) != Some(*id)).map(|(path, _)| path.as_path())
    }

    /// The database itself, for the caller's own tables.
    pub fn connection(&self) -> &Connection {
        &self.db
    }

    /// Writes a batch, whole or not at all.
    ///
    /// # Errors
    /// If the disk is full, say; nothing of it is there then.
    pub fn write(&mut self, batch: &Batch) -> Result<()> {
        self.write_with(batch, |_| Ok(()))
    }

    /// The same, and what `more` writes, in one transaction.
    ///
    /// # Errors
    /// As [`Self::write`], and if `more` fails.
    pub fn write_with<E: From<StoreError>>(
        &mut self,
        batch: &Batch,
        more: impl FnOnce(&Transaction<'_>) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let tx = self.db.transaction().map_err(StoreError::Use)?;
        more(&tx)?;
        insert(&tx, batch)?;
        tx.commit().map_err(StoreError::Use)?;
        Ok(())
    }

    /// The state of every check, but for [what cannot be read](Self::read).
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn states(&self) -> Result<Vec<(String, State)>> {
        let sql = "SELECT rowid, name, data FROM state";
        let rows = self.all(sql, [], |r| Ok((r.get::<_, i64>(0)?, r.get::<_, String>(1)?, bytes(r, 2)?)))?;
        let read = |(row, name, data): (i64, String, Vec<u8>)| {
            Some((name, self.read(Place { table: "state", column: "data", row, receiver: None }, &data)?))
        };
        Ok(rows.into_iter().filter_map(read).collect())
    }

    /// Incidents that lasted into the time since then, earliest first.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn incidents(&self, since: UnixSeconds) -> Result<Vec<Incident>> {
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

    /// Receivers as they were last written; none before they ever were.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn receivers(&self) -> Result<Vec<String>> {
        self.all("SELECT name FROM receiver", [], |r| r.get(0))
    }

    /// Who has messages that wait.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn awaited(&self) -> Result<Vec<String>> {
        self.all("SELECT DISTINCT receiver FROM outbox", [], |r| r.get(0))
    }

    /// The next message for a receiver, but for those that are `done` and could not be taken out yet.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn next(&self, receiver: &str, done: &[i64]) -> Result<Option<Waiting>> {
        let sql = "SELECT id, event, attempts FROM outbox WHERE receiver = ? AND id > ? ORDER BY id LIMIT 1";
        let mut after = i64::MIN;
        loop {
            let rows = self.all(sql, params![receiver, after], |r| Ok((r.get(0)?, bytes(r, 1)?, r.get(2)?)))?;
            let Some((id, event, attempts)) = rows.into_iter().next() else { return Ok(None) };
            after = id;
            if done.contains(&id) {
                continue;
            }
            let place = Place { table: "outbox", column: "event", row: id, receiver: Some(receiver) };
            if let Some(event) = self.read(place, &event) {
                return Ok(Some(Waiting { id, event, attempts }));
            }
        }
    }

    /// The number of the last message for a receiver, if any waits.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn last(&self, receiver: &str) -> Result<Option<i64>> {
        Ok(self.db.query_row("SELECT max(id) FROM outbox WHERE receiver = ?", [receiver], |r| r.get(0))?)
    }

    /// A message was delivered.
    ///
    /// # Errors
    /// If the database cannot be written: it will be delivered again.
    pub fn delivered(&self, id: i64) -> Result<()> {
        // What was refused of this alert before is told now.
        let told = "DELETE FROM refused WHERE (receiver, key) IN (SELECT receiver, event ->> '$.key' FROM outbox WHERE id = ?)";
        self.db.execute(told, [id])?;
        self.unqueue(id)
    }

    /// A message was not delivered, and is to be tried again.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn failed(&self, id: i64) -> Result<()> {
        self.db.execute("UPDATE outbox SET attempts = attempts + 1 WHERE id = ?", [id])?;
        Ok(())
    }

    /// A message will never be taken: it is kept, and waits (as number `waiting`) no longer.
    ///
    /// # Errors
    /// If the database cannot be written: it will be tried again.
    pub fn refuse(&self, refused: &Refused, waiting: Option<i64>) -> Result<()> {
        let event = serde_json::to_string(&refused.event)?;
        let row = params![refused.receiver, refused.event.key, event, refused.why, refused.at];
        self.db.execute("INSERT OR REPLACE INTO refused VALUES (?,?,?,?,?)", row)?;
        waiting.map_or(Ok(()), |id| self.unqueue(id))
    }

    /// Messages that were refused for good, the latest last.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn refused(&self) -> Result<Vec<Refused>> {
        let sql = "SELECT rowid, receiver, event, why, at FROM refused ORDER BY at";
        let rows = self.all(sql, [], |r| {
            let (receiver, why) = (r.get::<_, String>(1)?, r.get::<_, String>(3)?);
            Ok((r.get::<_, i64>(0)?, receiver, bytes(r, 2)?, why, r.get::<_, UnixSeconds>(4)?))
        })?;
        let read = |(row, receiver, event, why, at): (i64, String, Vec<u8>, String, UnixSeconds)| {
            let event = self.read(Place { table: "refused", column: "event", row, receiver: Some(&receiver) }, &event)?;
            Some(Refused { receiver, event, why, at, kept: true })
        };
        Ok(rows.into_iter().filter_map(read).collect())
    }

    /// How many messages wait.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn waiting(&self) -> Result<i64> {
        Ok(self.db.query_row("SELECT count(*) FROM outbox", [], |r| r.get(0))?)
    }

    /// Forgets what was refused or set aside before then.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn forget(&self, before: UnixSeconds) -> Result<()> {
        self.db.execute("DELETE FROM refused WHERE at < ?", [before])?;
        self.db.execute("DELETE FROM unreadable WHERE at < ?", [before])?;
        Ok(())
    }

    /// All rows that `sql` finds, each as `read` takes it.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn all<T>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        let mut statement = self.db.prepare_cached(sql)?;
        let rows = statement.query_map(params, read)?;
        Ok(rows.collect::<rusqlite::Result<Vec<T>>>()?)
    }

    fn unqueue(&self, id: i64) -> Result<()> {
        self.db.execute("DELETE FROM outbox WHERE id = ?", [id])?;
        Ok(())
    }
}

fn insert(tx: &Transaction<'_>, batch: &Batch) -> Result<()> {
    // First: what went and came again within a batch is there.
    for name in &batch.retired {
        tx.execute("DELETE FROM state WHERE name = ?", [name])?;
    }
    for (name, state) in &batch.states {
        let data = serde_json::to_string(state)?;
        tx.execute("INSERT OR REPLACE INTO state (name, data) VALUES (?, ?)", params![name, data])?;
    }
    for i in &batch.incidents {
        let row = params![
            i.key, i.since, i.ended, i.name, i.vantage, i.target, i.culprit, i.phase, i.worst_ms, i.rounds, i.bad, i.sentence
        ];
        tx.execute("INSERT OR REPLACE INTO incident VALUES (?,?,?,?,?,?,?,?,?,?,?,?)", row)?;
    }
    if let Some(receivers) = &batch.receivers {
        tx.execute("DELETE FROM receiver", [])?;
        for name in receivers {
            tx.execute("INSERT OR IGNORE INTO receiver VALUES (?)", [name])?;
        }
    }
    for (receiver, event) in &batch.messages {
        let event = serde_json::to_string(event)?;
        // When it is due again is known to who tries, by a clock that nobody sets: the column was there before.
        tx.execute("INSERT INTO outbox (receiver, event, attempts, due) VALUES (?, ?, 0, 0)", params![receiver, event])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receiver::tests::keyed as event;

    #[test]
    fn a_state_that_went_and_came_again_in_one_batch_is_there() {
        let mut store = Store::open(Path::new(":memory:")).expect("it opens");
        let both =
            Batch { states: vec![("a".into(), State::default())], retired: vec!["a".into(), "b".into()], ..Batch::default() };
        store.write(&both).expect("it is written");
        assert_eq!(store.states().expect("it is read"), [("a".into(), State::default())]);
        store.write(&Batch { retired: vec!["a".into()], ..Batch::default() }).expect("it is written");
        assert_eq!(store.states().expect("it is read"), []);
    }

    #[test]
    fn messages_survive_and_keep_their_order_for_each_receiver() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("store.db");
        let messages = vec![("a".to_owned(), event("1")), ("b".into(), event("1")), ("a".into(), event("2"))];
        Store::open(&path).expect("it opens").write(&Batch { messages, ..Batch::default() }).expect("it is written");
        let store = Store::open(&path).expect("it opens again");
        let next = |receiver, done: &[i64]| store.next(receiver, done).expect("it is read").map(|w| (w.event.key, w.attempts));
        let first = store.next("a", &[]).expect("it is read").expect("it waits");
        store.failed(first.id).expect("it is written");
        assert_eq!(next("a", &[]), Some(("1".into(), 1)), "what comes later waits behind what failed");
        assert_eq!(next("a", &[first.id]), Some(("2".into(), 0)), "and not behind what is done");
        assert_eq!((next("b", &[]), next("c", &[])), (Some(("1".into(), 0)), None));
        store.delivered(first.id).expect("it is written");
        assert_eq!((store.waiting().expect("it is read"), next("a", &[])), (2, Some(("2".into(), 0))));
        assert_eq!(store.awaited().expect("it is read"), ["a", "b"]);
    }

    #[test]
    fn what_waits_for_one_receiver_is_in_no_others_way_however_much_it_is() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut store = Store::open(&dir.path().join("store.db")).expect("it opens");
        let of_the_dead = (0..2_000).map(|n| ("dead".to_owned(), event(&n.to_string())));
        let messages = of_the_dead.chain([("well".to_owned(), event("new"))]).collect();
        store.write(&Batch { messages, ..Batch::default() }).expect("it is written");
        let next = store.next("well", &[]).expect("it is read").expect("it waits");
        assert_eq!(next.event.key, "new");
    }

    #[test]
    fn a_store_of_a_later_version_is_left_alone() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("store.db");
        Connection::open(&path).expect("it opens").execute_batch("PRAGMA user_version = 99").expect("it is written");
        assert!(matches!(Store::can_open(&path, ""), Err(StoreError::Later { found: 99, .. })));
        let error = Store::open(&path).err().expect("it is refused");
        assert!(matches!(error, StoreError::Later { found: 99, .. }) && error.to_string().contains("later version"), "{error}");
    }

    #[test]
    fn a_file_that_is_deleted_or_replaced_is_known_to_be() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (path, other) = (dir.path().join("store.db"), dir.path().join("other.db"));
        let store = Store::open(&path).expect("it opens");
        assert_eq!(store.lost(), None);
        drop(Store::open(&other).expect("it opens"));
        std::fs::rename(&other, &path).expect("it is there");
        assert_eq!(store.lost(), Some(path.as_path()));
        std::fs::remove_file(&path).expect("it is there");
        assert_eq!(store.lost(), Some(path.as_path()));
        assert_eq!(Store::open(Path::new(":memory:")).expect("it opens").lost(), None);
    }

    #[test]
    fn whether_a_file_can_be_opened_is_seen_without_changing_it() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = |name: &str| dir.path().join(name);
        std::fs::write(
            path("words"),
            "this is no database, and it is longer than a header of one has to be: that is 100 bytes, or a few more",
        )
        .expect("it is writable");
        let foreign = Connection::open(path("foreign")).expect("it opens");
        foreign.execute_batch("CREATE TABLE outbox (n INTEGER)").expect("it is written");
        for name in ["words", "foreign"] {
            let said = Store::can_open(&path(name), "").expect_err(name).to_string();
            let opened = Store::open(&path(name)).err().expect(name).to_string();
            assert!(said.contains(name) && opened.contains(name), "{said}; {opened}");
        }
        let empty = path("empty");
        std::fs::write(&empty, "").expect("it is writable");
        assert!(Store::can_open(&empty, "").is_ok() && std::fs::metadata(&empty).expect("it is there").len() == 0);
        drop(Store::open(&empty).expect("it opens"));
        assert!(Store::can_open(&empty, "").is_ok());
    }

    #[test]
    fn what_the_caller_writes_and_what_receivers_must_hear_are_there_together_or_not_at_all() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut store =
            Store::open_with(&dir.path().join("store.db"), "CREATE TABLE IF NOT EXISTS mine (n INTEGER)").expect("it opens");
        let batch = || Batch { messages: vec![("a".to_owned(), event("1"))], ..Batch::default() };
        let fails = |tx: &Transaction<'_>| {
            tx.execute("INSERT INTO mine VALUES (1)", [])?;
            tx.execute("INSERT INTO nobodys VALUES (1)", []).map(drop).map_err(StoreError::Use)
        };
        store.write_with(&batch(), fails).expect_err("there is no such table");
        let mine = |store: &Store| store.all("SELECT n FROM mine", [], |r| r.get::<_, i64>(0)).expect("it is read");
        assert_eq!((mine(&store), store.waiting().expect("it is read")), (vec![], 0));
        let works = |tx: &Transaction<'_>| tx.execute("INSERT INTO mine VALUES (2)", []).map(drop).map_err(StoreError::Use);
        store.write_with(&batch(), works).expect("it is written");
        assert_eq!((mine(&store), store.waiting().expect("it is read")), (vec![2], 1));
    }
}
