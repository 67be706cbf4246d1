//! What can go wrong with the watcher, by whose fault.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use alerting::secret::SecretError;
use alerting::store::StoreError;

use crate::store::HistoryError;

/// What somebody wrote cannot be done as it is written; in words, with the line where there is one.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

/// A file that somebody wrote cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("{}: {source}", path.display())]
    Unread {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What it says cannot be done.
    #[error("{}: {source}", path.display())]
    Invalid {
        /// Which.
        path: PathBuf,
        /// Why.
        source: Invalid,
    },
}

impl FileError {
    /// Reads a file by `parse`.
    pub(crate) fn read<T>(path: &Path, parse: impl FnOnce(&str) -> Result<T, Invalid>) -> Result<T, Self> {
        let text = std::fs::read_to_string(path).map_err(|source| Self::Unread { path: path.to_owned(), source })?;
        parse(&text).map_err(|source| Self::invalid(path, source))
    }

    /// What `path` says cannot be done.
    pub(crate) fn invalid(path: &Path, source: Invalid) -> Self {
        Self::Invalid { path: path.to_owned(), source }
    }
}

/// Why the watcher cannot begin, or go on.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The configuration's: a file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The configuration's: what it asks for is not to be had.
    #[error(transparent)]
    Configuration(#[from] Invalid),
    /// The configuration's: a secret is not where it says.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The configuration's, or whoever has the address already.
    #[error("cannot listen on {at} ([watch] listen): {source}")]
    Listen {
        /// Where.
        at: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// This host's: its disk.
    #[error(transparent)]
    Store(#[from] HistoryError),
    /// Another watcher's: two would tell the same alerts twice, and each forget what the other knows.
    #[error("{}: another watcher works with this store; stop it, or name another store", .0.display())]
    Taken(PathBuf),
    /// This host's: threads, sockets, name servers.
    #[error("{what}: {source}")]
    Host {
        /// What it does not give us.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// What carries checks to agents and their rounds back.
    #[error("the line to agents: {0}")]
    Line(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Ours.
    #[error("{0} broke; please report it")]
    Broken(&'static str),
}

impl WatchError {
    /// This host does not give us `what`.
    pub(crate) fn host(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Host { what, source }
    }
}

impl From<StoreError> for WatchError {
    fn from(error: StoreError) -> Self {
        Self::Store(error.into())
    }
}
