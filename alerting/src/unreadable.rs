//! Rows of the store that cannot be read (a damaged file, a later version's words): set aside, said, and never in others' way.
//!
//! In: a row, and why it cannot be read. Out: it is in the table `unreadable`, whole, until it is older than what is kept.

use rusqlite::{Connection, Row, params};
use serde::de::DeserializeOwned;
use tracing::{error, warn};

use crate::clock::UnixSeconds;
use crate::store::{Store, StoreError};

pub(crate) const TABLE: &str = "
CREATE TABLE IF NOT EXISTS unreadable (
  place TEXT NOT NULL, row INTEGER NOT NULL, receiver TEXT, data BLOB NOT NULL, why TEXT NOT NULL, at INTEGER NOT NULL,
  PRIMARY KEY (place, row, at));
";

/// A row of a table.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The table.
    pub table: &'static str,
    /// The column that cannot be read.
    pub column: &'static str,
    /// Its row's number there.
    pub row: i64,
    /// Whom it was to tell, if it is a message.
    pub receiver: Option<&'a str>,
}

/// A row that was set aside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unreadable {
    /// The table that it was in.
    pub table: String,
    /// Whom it was to tell, if it was a message.
    pub receiver: Option<String>,
    /// Why it cannot be read.
    pub why: String,
}

/// A column's bytes, whatever it holds: what is no text is to be set aside, not to end the reading of others.
///
/// # Errors
/// If there is no such column.
pub fn bytes(row: &Row<'_>, column: usize) -> rusqlite::Result<Vec<u8>> {
    Ok(row.get_ref(column)?.as_bytes().unwrap_or_default().to_vec())
}

/// Keeps a copy of what cannot be read, before something else takes its place.
///
/// # Errors
/// If the database cannot be written.
pub fn keep(db: &Connection, place: Place<'_>, data: &[u8], why: &str) -> Result<(), StoreError> {
    let Place { table, row, receiver, .. } = place;
    error!(table, row, receiver, why, "a row of the store cannot be read; it is kept in the table unreadable");
    let kept = params![table, row, receiver, data, why, UnixSeconds::now()];
    db.execute("INSERT OR REPLACE INTO unreadable VALUES (?,?,?,?,?,?)", kept)?;
    Ok(())
}

impl Store {
    /// What a row's JSON says; absent if it cannot be read: it is set aside then, now or (if the disk is full, say) another time.
    pub fn read<T: DeserializeOwned>(&self, place: Place<'_>, data: &[u8]) -> Option<T> {
        match serde_json::from_slice(data) {
            Ok(read) => Some(read),
            Err(why) => {
                self.set_aside(place, data, &why.to_string());
                None
            }
        }
    }

    /// Sets a row aside. Where that cannot be done it stays where it is, and in nobody's way.
    pub fn set_aside(&self, place: Place<'_>, data: &[u8], why: &str) {
        let aside = || -> Result<(), StoreError> {
            let Place { table, column, row, .. } = place;
            let tx = self.connection().unchecked_transaction()?;
            keep(&tx, place, data, why)?;
            // The same row still: somebody else may have written another in its place.
            let same = format!("DELETE FROM {table} WHERE rowid = ? AND CAST({column} AS BLOB) = ?");
            if tx.execute(&same, params![row, data])? == 1 {
                tx.commit()?;
            }
            Ok(())
        };
        if let Err(error) = aside() {
            warn!(table = place.table, row = place.row, why, %error, "a row of the store cannot be read, nor be set aside now");
        }
    }

    /// What was set aside and is still kept, the latest last.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn unreadable(&self) -> Result<Vec<Unreadable>, StoreError> {
        self.all("SELECT place, receiver, why FROM unreadable ORDER BY at", [], |r| {
            Ok(Unreadable { table: r.get(0)?, receiver: r.get(1)?, why: r.get(2)? })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::culprit::Culprit;
    use crate::receiver::tests::event;
    use crate::store::Batch;

    #[test]
    fn what_cannot_be_read_is_in_nobodys_way_and_is_kept() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut store = Store::open(&dir.path().join("store.db")).expect("it opens");
        let damaged = "INSERT INTO outbox (receiver, event, attempts, due) VALUES ('pager', '{\"key\":', 0, 0)";
        // More than one look takes, before the first that can be read.
        for _ in 0..1_000 {
            store.connection().execute(damaged, []).expect("it is written");
        }
        store.connection().execute("INSERT INTO state VALUES ('login', CAST(x'ff' AS TEXT))", []).expect("it is written");
        store.connection().execute("INSERT INTO refused VALUES ('pager', 'k', '[]', 'because', 1)", []).expect("it is written");
        let messages = vec![("pager".to_owned(), event(Culprit::Edge, None))];
        store.write(&Batch { messages, ..Batch::default() }).expect("it is written");

        assert!(store.next("pager", &[]).expect("it is read").is_some(), "the message behind them is found");
        assert_eq!(store.waiting().expect("it is read"), 1);
        assert_eq!(store.states().expect("they are read"), []);
        assert_eq!(store.refused().expect("they are read"), []);
        let aside = store.unreadable().expect("they are read");
        assert_eq!(aside.len(), 1_002);
        let of = |table: &str| aside.iter().filter(|u| u.table == table).count();
        assert_eq!((of("outbox"), of("state"), of("refused")), (1_000, 1, 1));
        assert!(aside.iter().all(|u| !u.why.is_empty()));
        assert_eq!(aside[0].receiver.as_deref(), Some("pager"), "who was not told is known");
        store.forget(UnixSeconds::from_secs(i64::MAX)).expect("it is written");
        assert_eq!(store.unreadable().expect("they are read"), [], "it goes with what is too old");
    }

    #[test]
    fn what_cannot_be_set_aside_holds_up_nobody() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut store = Store::open(&dir.path().join("store.db")).expect("it opens");
        let damaged = "INSERT INTO outbox (receiver, event, attempts, due) VALUES ('pager', '{', 0, 0)";
        store.connection().execute(damaged, []).expect("it is written");
        let messages = vec![("pager".to_owned(), event(Culprit::Edge, None))];
        store.write(&Batch { messages, ..Batch::default() }).expect("it is written");
        store.connection().execute_batch("PRAGMA query_only = ON").expect("as on a disk that is full");
        for _ in 0..2 {
            assert!(store.next("pager", &[]).expect("it is read").is_some(), "the other message is found");
        }
        store.connection().execute_batch("PRAGMA query_only = OFF").expect("there is room again");
        assert!(store.next("pager", &[]).expect("it is read").is_some());
        assert_eq!(store.unreadable().expect("it is read").len(), 1);
    }
}
