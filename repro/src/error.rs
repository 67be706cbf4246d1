//! Why a run could not be done: never a peer's fault, always what, where and what to do.

/// A harness failure; exit code 2.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The scenario file is wrong.
    #[error("{0}")]
    Scenario(String),
    /// The lab failed.
    #[error(transparent)]
    Lab(#[from] lab::Error),
    /// A capture failed.
    #[error(transparent)]
    Capture(#[from] capture::live::Error),
    /// Something the scenario needs is not here.
    #[error("{0}")]
    Missing(String),
    /// The run folder could not be written.
    #[error("writing {path}: {source} (what was written before is kept)")]
    Write {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Told to stop.
    #[error("interrupted; the lab was taken down, what was measured so far is in the run folder")]
    Interrupted,
}
