//! How it is known where a capture stands: facts at first, words when somebody reads them.

use std::fmt;

use analysis::clock::{Domain, Span};
use analysis::doubt::standpoint::{Legs, legs};
use analysis::tcp::flow::{Side, View};

/// How it is known where one observer of a connection stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    /// The user says so.
    Stated,
    /// By the round trips of SYN and SYN-ACK, and the TTLs from the client and the server.
    Seen(Legs, [Option<u8>; 2]),
    /// As many connections of the same capture tell.
    AsOthers {
        /// So many of them.
        of: u64,
        /// Of so many in all.
        all: u64,
    },
    /// Compared with another capture of the connection.
    Nearer,
    /// It is not known.
    Unknown,
    /// Whoever captured it stood there.
    Recorded,
}

/// How it is known where the observers of a handshake stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Known {
    /// One observer.
    Of(How),
    /// One observer at both ends: they are one host or neighbours.
    AtBoth(How),
    /// One at each end.
    Ends {
        /// At the client's.
        client: How,
        /// At the edge's.
        edge: How,
    },
}

impl How {
    /// What a connection's own packets tell.
    pub fn seen<D: Domain>(view: &View<D>) -> Self {
        How::Seen(legs(view), [Side::Client, Side::Server].map(|side| view.sent_by(side).next().map(|p| p.ttl)))
    }
}

/// "SYN answered in 40.10 ms, SYN-ACK in 0.05 ms; TTL 64 from the client and 52 from the server".
impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            How::Stated => f.write_str("as you say"),
            How::Seen(legs, ttls) => {
                let times = legs.server.zip(legs.client);
                if let Some((server, client)) = times {
                    write!(f, "SYN answered in {}, SYN-ACK in {}", Brief(server), Brief(client))?;
                }
                if let [Some(client), Some(server)] = ttls {
                    f.write_str(if times.is_some() { "; " } else { "" })?;
                    write!(f, "TTL {client} from the client and {server} from the server")?;
                }
                Ok(())
            }
            How::AsOthers { of, all } => write!(f, "as {of} of {all} connections of the same capture tell"),
            How::Nearer => f.write_str("nearer to it than the other capture, by the round trips of SYN and SYN-ACK"),
            How::Unknown => f.write_str("neither round trips nor TTLs tell"),
            How::Recorded => f.write_str("recorded at the edge"),
        }
    }
}

impl fmt::Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Known::Of(how) => write!(f, "{how}"),
            Known::AtBoth(how) => write!(f, "both ends are one host or neighbours: {how}"),
            Known::Ends { client, edge } => write!(f, "client: {client}; edge: {edge}"),
        }
    }
}

struct Brief(Span);

impl fmt::Display for Brief {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} ms", self.0.millis())
    }
}
