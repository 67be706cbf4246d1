//! Why a flow should be kept.

use std::net::SocketAddr;

/// Somebody's word that a connection deserves a look.
#[derive(Clone, PartialEq, Debug)]
pub struct Trigger {
    /// The client's end.
    pub client: SocketAddr,
    /// The server's end, where it is known.
    pub server: Option<SocketAddr>,
    /// Whose word.
    pub source: Source,
}

/// Whose word it is.
#[derive(Clone, PartialEq, Debug)]
pub enum Source {
    /// The recorder's own detector.
    Detector,
    /// A line of the proxy's log.
    Log(LogLine),
    /// A person's, or a program's, over the control socket.
    Asked,
}

/// A line of a log.
#[derive(Clone, PartialEq, Debug)]
pub struct LogLine {
    /// The line, or the journal entry's message.
    pub text: String,
    /// The whole entry, where it comes from the journal, in Journal Export Format.
    pub entry: Option<Vec<u8>>,
}

impl Source {
    /// Its name in metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Source::Detector => "detector",
            Source::Log(LogLine { entry: Some(_), .. }) => "journal",
            Source::Log(_) => "log",
            Source::Asked => "asked",
        }
    }
}
