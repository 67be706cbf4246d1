//! What can go wrong, and by whose fault: what the user wrote, what this host or a peer does not give, what is our own.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::admission::Refused;
use crate::config;
use crate::origins;
use crate::privileges;

/// Why the recorder cannot begin. It runs on whatever happens later, and shows it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The user's: the configuration.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// The user's: more memory than there is.
    #[error("[capture] memory = \"{wanted}\": this host has {has} in all")]
    Memory {
        /// What is wanted.
        wanted: bytesize::ByteSize,
        /// What there is.
        has: bytesize::ByteSize,
    },
    /// The user's: a database that the configuration names.
    #[error("[origin] databases: {0}")]
    Origins(#[from] origins::Error),
    /// The user's: OpenTelemetry's variables.
    #[error(transparent)]
    Telemetry(#[from] serving::otlp::environment::Refused),
    /// The user's: a secret is not where the configuration says.
    #[error("[[receiver]] {receiver}: {what}")]
    Secret {
        /// Whose.
        receiver: String,
        /// What is not there.
        what: String,
    },
    /// The user's: a place to listen that is taken, or none of this host's.
    #[error("cannot listen on {at} ([capture] listen): {source}")]
    Listen {
        /// The place.
        at: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The user's: the same for a log.
    #[error("[[log]] syslog: {at}: {source}")]
    Syslog {
        /// The place.
        at: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// This host's: it names no name servers.
    #[error("[origin] reverse_dns: {0}")]
    ReverseDns(std::io::Error),
    /// This host's: packets.
    #[error(transparent)]
    Capture(#[from] capture::live::Error),
    /// This host's: the control socket, or whoever has it already.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// This host's: it does not let us become less.
    #[error(transparent)]
    Privileges(#[from] privileges::Error),
    /// This host's: a file or folder of ours.
    #[error("{}: {source}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// This host's: the database of alerts.
    #[error("{0}")]
    Store(String),
    /// Our own: a thread, a timer.
    #[error("{what}: {source}")]
    Own {
        /// What we wanted.
        what: &'static str,
        /// What the system said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    /// Our own fault, in wanting `what`.
    pub(crate) fn own<E: Into<Box<dyn std::error::Error + Send + Sync>>>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Error::Own { what, source: source.into() }
    }
}

/// Why a flow that somebody asked for was not kept.
#[derive(Debug, thiserror::Error)]
pub enum NotKept {
    /// It came too often, or was kept already.
    #[error("not kept: {}", .0.name())]
    Refused(Refused),
    /// Whoever asked: nothing of it passed here, or it is long gone.
    #[error("no packets of this flow are in memory")]
    Gone,
    /// Whoever asked: there is no handshake in it.
    #[error("its packets cannot be read as a TCP connection")]
    NoConnection,
    /// This host's.
    #[error("the disk is too slow: too many files wait for it")]
    Busy,
    /// This host's.
    #[error("{}: {source}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Why a recorder could not be asked, or cannot be.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Whoever asks: no recorder runs there.
    #[error("the control socket {}: {source} (is `whostalled capture` running? name its socket by --control)", .path.display())]
    NobodyThere {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Whoever starts a second one.
    #[error("the control socket {}: another recorder listens there; name another by --control", .path.display())]
    Taken {
        /// The socket.
        path: PathBuf,
    },
    /// This host's.
    #[error("the control socket {}: {source}", .path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The recorder says no, and why.
    #[error("{0}")]
    Refused(String),
    /// It does not answer: it is stopped, or hangs.
    #[error("the recorder at {} did not answer within {} s", .path.display(), .patience.as_secs())]
    Silent {
        /// The socket.
        path: PathBuf,
        /// How long it was waited for.
        patience: std::time::Duration,
    },
    /// The answer ended too early: whoever gave it was ended, or hung up.
    #[error("the recorder's answer was cut: {got} of {of} bytes came")]
    Cut {
        /// Bytes that came.
        got: u64,
        /// Bytes that it said would come.
        of: u64,
    },
    /// The recorder was ended meanwhile.
    #[error("the recorder ended before it answered")]
    Ended,
}
