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
    /// A vantage is of another release.
    #[error(transparent)]
    Version(#[from] agent::UnknownVersion),
    /// The packets in a bundle cannot be read.
    #[error(transparent)]
    Packets(#[from] capture::file::Broken),
    /// A program that the scenario needs is not here.
    #[error("{0}")]
    Missing(String),
    /// A host that is no part of the run.
    #[error("the run has no host {0:?}")]
    NoHost(String),
    /// A plan that cannot be carried out at this end.
    #[error("{host} cannot do what it was asked: {what}")]
    Refused {
        /// The host.
        host: String,
        /// What it cannot do.
        what: &'static str,
    },
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
    /// Frames that cannot be joined with others.
    #[error("the capture on {host} has frames of link type {number}: only Ethernet is joined")]
    LinkType {
        /// The host.
        host: String,
        /// The link type's number.
        number: i32,
    },
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
