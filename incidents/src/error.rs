//! Why an incident could not be played: never a peer's fault.

/// A harness failure; exit code 2.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is wrong.
    #[error("{0}")]
    File(String),
    /// The lab failed.
    #[error(transparent)]
    Lab(#[from] repro::Error),
    /// A watcher failed.
    #[error("the watcher at {vantage} {what}")]
    Watcher {
        /// Where.
        vantage: String,
        /// What became of it.
        what: String,
    },
    /// Told to stop.
    #[error("interrupted; the lab was taken down")]
    Interrupted,
}

/// Why a watcher cannot watch; said by it on standard error.
#[derive(Debug, thiserror::Error)]
pub enum WatcherError {
    /// It was started by somebody else, or with another version's words.
    #[error("the file that it was given: {0}")]
    File(#[from] Error),
    /// The host does not let it.
    #[error(transparent)]
    Watch(#[from] watch::WatchError),
    /// Whoever asked is gone.
    #[error("the pipe: {0}")]
    Pipe(#[from] std::io::Error),
    /// It cannot be put into words.
    #[error("what it knows: {0}")]
    Words(#[from] serde_json::Error),
}
