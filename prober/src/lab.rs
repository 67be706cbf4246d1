//! What our own client does in runs, beside what it always does: sleeps, lines before TLS, flights in pieces, calls that are counted.

use std::str::FromStr;
use std::time::Duration;

/// How it differs from a client of the world; by default it does not.
#[derive(Clone, Copy, Default, Debug)]
pub struct Pauses {
    /// The thread sleeps before ClientHello.
    pub before_hello: Duration,
    /// It sleeps between reading the server's flight and answering it.
    pub before_finished: Duration,
    /// Lines are said before TLS.
    pub before_tls: Option<BeforeTls>,
    /// Each flight is written in two pieces, without TCP_NODELAY.
    pub in_pieces: bool,
    /// It calls once, and does not call again to learn why it was turned away: one of many that somebody counts.
    pub once: bool,
}

/// Lines before TLS, each of ours answered by one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BeforeTls {
    /// Who speaks first: the edge with a greeting, or we.
    pub first: Speaker,
    /// Lines of ours that the edge answers.
    pub exchanges: u32,
}

/// An end that speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Speaker {
    /// We.
    Client,
    /// The edge.
    Edge,
}

impl FromStr for Speaker {
    type Err = NoSpeaker;

    fn from_str(text: &str) -> Result<Self, NoSpeaker> {
        match text {
            "client" => Ok(Speaker::Client),
            "edge" => Ok(Speaker::Edge),
            other => Err(NoSpeaker(other.to_owned())),
        }
    }
}

/// What is neither end.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?}: client or edge")]
pub struct NoSpeaker(String);
