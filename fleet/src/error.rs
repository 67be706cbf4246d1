//! Why an agent or a controller cannot go on: what, where, and what to do.

/// A failure of this end of the fleet.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server cannot be reached, or does not let us in.
    #[error("the NATS server {url} {what}")]
    Server {
        /// Its address, without a password.
        url: String,
        /// What it said, and what to do.
        what: String,
    },
    /// A connection that anybody on the way could read and change.
    #[error(
        "{0} is not on this host, and the connection would be open: anybody on the way could tell agents what to do. Give the server certificates (dist/nats), and tls://… or --nats-ca, --nats-cert and --nats-key"
    )]
    Open(String),
    /// No address of a server.
    #[error("{url} is no address of a NATS server ({what}): write tls://HOST:4222")]
    Address {
        /// What was given.
        url: String,
        /// What is wrong with it.
        what: String,
    },
    /// A folder of kept bundles cannot be used.
    #[error("{path}: {source}")]
    File {
        /// The file or folder.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// This host has no room for it.
    #[error("starting threads: {0}")]
    Threads(std::io::Error),
    /// The agent's own end cannot be made.
    #[error(transparent)]
    Vantage(#[from] vantage::Error),
}
