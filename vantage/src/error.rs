//! Why an end could not do what it was asked: never a peer's fault, always what, where and what to do.

/// A failure of one end of a batch.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A process, a namespace or a group of processes could not be had.
    #[error(transparent)]
    Host(#[from] lab::Error),
    /// A capture failed.
    #[error(transparent)]
    Capture(#[from] capture::live::Error),
    /// A plan that cannot be carried out at this end.
    #[error("{host} cannot do what it was asked: {what}")]
    Refused {
        /// The host.
        host: String,
        /// What it cannot do.
        what: String,
    },
    /// A program that the plan needs is not here.
    #[error("{0}")]
    Missing(String),
    /// A target's server is not there.
    #[error("the server of target {target} {what}")]
    Server {
        /// The target.
        target: String,
        /// What became of it.
        what: String,
    },
    /// A capture is not whole.
    #[error("the capture on {host} ended by itself: {why}")]
    CaptureEnded {
        /// The host.
        host: String,
        /// Why.
        why: String,
    },
    /// A file could not be written.
    #[error("writing {path}: {source}")]
    Write {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A vantage elsewhere cannot be reached, or no longer.
    #[error("the vantage {vantage} {what}")]
    Gone {
        /// Its name.
        vantage: String,
        /// What became of it, and what to do.
        what: String,
    },
    /// A vantage elsewhere says that it could not be done.
    #[error("the vantage {vantage} says: {why}")]
    Failed {
        /// Its name.
        vantage: String,
        /// In its words.
        why: String,
    },
    /// A vantage of another release.
    #[error(transparent)]
    Version(#[from] agent::UnknownVersion),
    /// Told to stop.
    #[error("interrupted")]
    Interrupted,
}
