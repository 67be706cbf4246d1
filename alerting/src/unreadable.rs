//! Rows of the store that cannot be read (a damaged file, a later version's words): set aside, said, and never in others' way.
//!
//! In: a row, and why it cannot be read. Out: it is in the table `unreadable`, whole, until it is older than what is kept.

use rusqlite::params;
use rusqlite::types::ToSql;
use serde::de::DeserializeOwned;
use tracing::error;

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

impl Store {
    /// What a row's JSON says; absent if it cannot be read: it is set aside then.
    ///
    /// # Errors
    /// If it cannot be set aside: it stays where it is.
    pub fn read<T: DeserializeOwned>(&self, place: Place<'_>, data: &str) -> Result<Option<T>, StoreError> {
        match serde_json::from_str(data) {
            Ok(read) => Ok(Some(read)),
            Err(why) => self.set_aside(place, &data, &why.to_string()).map(|()| None),
        }
    }

    /// Sets a row aside, and says so in the log.
    ///
    /// # Errors
    /// If the database cannot be written: it stays where it is.
    pub fn set_aside(&self, place: Place<'_>, data: &dyn ToSql, why: &str) -> Result<(), StoreError> {
        let Place { table, row, receiver } = place;
        error!(table, row, receiver, why, "a row of the store cannot be read; it is kept in the table unreadable");
        let tx = self.connection().unchecked_transaction()?;
        let kept = params![table, row, receiver, data, why, UnixSeconds::now()];
        tx.execute("INSERT OR REPLACE INTO unreadable VALUES (?,?,?,?,?,?)", kept)?;
        tx.execute(&format!("DELETE FROM {table} WHERE rowid = ?"), [row])?;
        Ok(tx.commit()?)
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
        // As many as one look takes, before the first that can be read.
        for _ in 0..1_000 {
            store.connection().execute(damaged, []).expect("it is written");
        }
        store.connection().execute("INSERT INTO state VALUES ('login', 'no JSON')", []).expect("it is written");
        store.connection().execute("INSERT INTO refused VALUES ('pager', 'k', '[]', 'because', 1)", []).expect("it is written");
        let messages = vec![("pager".to_owned(), event(Culprit::Edge, None))];
        store.write(&Batch { messages, ..Batch::default() }).expect("it is written");

        let now = UnixSeconds::from_secs(10);
        assert_eq!(store.due(now).expect("it is read"), [], "the first look finds a thousand of them");
        assert_eq!(store.due(now).expect("it is read").len(), 1, "then the message behind them is due");
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
}
