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
    /// An end of a batch could not do what it was asked.
    #[error(transparent)]
    Vantage(vantage::Error),
    /// No vantage is left.
    #[error("no vantage of the run could be used: {}", .0.join("; "))]
    NoVantage(Vec<String>),
    /// The packets in a bundle cannot be read.
    #[error(transparent)]
    Packets(#[from] capture::file::Broken),
    /// A program that the scenario needs is not here.
    #[error("{0}")]
    Missing(String),
    /// A host that is no part of the run.
    #[error("the run has no host {0:?}")]
    NoHost(String),
    /// A target's server is not there.
    #[error("the server of target {target} {what}")]
    Server {
        /// The target.
        target: String,
        /// What became of it.
        what: String,
    },
    /// The run folder could not be written.
    #[error("writing {path}: {source} (what was written before is kept)")]
    Write {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// One came of the other, or behind it.
    #[error("{first}; and {second}")]
    Both {
        /// What came first.
        first: Box<Error>,
        /// What came behind it.
        second: Box<Error>,
    },
    /// Told to stop.
    #[error("interrupted; what the run set up was taken down, what was measured so far is in the run folder")]
    Interrupted,
}

impl Error {
    /// With what failed behind it, if anything did.
    #[must_use]
    pub(crate) fn and<T>(self, behind: Result<T, Self>) -> Self {
        match behind {
            Ok(_) => self,
            Err(second) => Self::Both { first: Box::new(self), second: Box::new(second) },
        }
    }
}

impl From<vantage::Error> for Error {
    fn from(error: vantage::Error) -> Self {
        match error {
            vantage::Error::Interrupted => Self::Interrupted,
            vantage::Error::Missing(what) => Self::Missing(what),
            vantage::Error::Server { target, what } => Self::Server { target, what },
            other => Self::Vantage(other),
        }
    }
}
