//! What would settle an open question: a row for each.

use std::fmt;

use enumset::EnumSetType;
use serde::{Deserialize, Serialize};

/// What would settle a question that the evidence left open.
#[derive(EnumSetType, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, strum::IntoStaticStr)]
#[enumset(serialize_repr = "list")]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Missing {
    /// A capture at the client's end.
    ClientCapture,
    /// What the client's kernel says of its own socket.
    ClientSocket,
    /// TCP timestamps from the client.
    ClientTimestamps,
    /// An IPv4 identification that counts packets.
    ClientIpId,
    /// A capture at the edge's end.
    EdgeCapture,
    /// TCP timestamps from the edge.
    EdgeTimestamps,
    /// An IPv4 identification that counts the edge's packets.
    EdgeIpId,
    /// Scheduler evidence from the client's host.
    ClientHost,
    /// Scheduler evidence from the edge's host.
    EdgeHost,
    /// A capture at another address, that was tried before.
    OtherAddress,
    /// At which end the capture was taken.
    Standpoint,
    /// The connection on the other side of a proxy.
    OtherLeg,
    /// A capture without losses.
    LosslessCapture,
    /// A capture of whole packets.
    WholePackets,
    /// A capture that began before the connection did. No reading gives it now; files of earlier versions have it.
    Syn,
    /// The path's round trip when well.
    PathBaseline,
    /// A capture that goes on for longer.
    LongerCapture,
    /// A capture whose clock nobody set meanwhile.
    SteadyClock,
}

impl Missing {
    /// Its name in files.
    pub fn label(self) -> &'static str {
        self.into()
    }

    /// Words for people.
    pub const fn words(self) -> &'static str {
        match self {
            Missing::ClientCapture => "a capture at the client's end",
            Missing::ClientSocket => "kernel timestamps of the client's socket (whostalled probe, or run, from there)",
            Missing::ClientTimestamps => "TCP timestamps from the client",
            Missing::ClientIpId => "an IP identification that counts the client's packets (IPv6 has none)",
            Missing::EdgeCapture => "a capture at the edge's end",
            Missing::EdgeTimestamps => "TCP timestamps from the edge",
            Missing::EdgeIpId => "an IP identification that counts the edge's packets (IPv6 has none)",
            Missing::OtherLeg => "the verdict of the proxy's other connection",
            Missing::OtherAddress => "a capture at the address that did not answer",
            Missing::Standpoint => "at which end the capture was taken (--client-side, --edge-side)",
            Missing::ClientHost => "scheduler evidence from the client's host",
            Missing::EdgeHost => "scheduler evidence from the edge's host",
            Missing::Syn => "a capture that began before the connection (its SYN shows the round trip)",
            Missing::LongerCapture => "a capture that goes on for longer",
            Missing::SteadyClock => "a capture whose clock was not set meanwhile (or TCP timestamps, which show by how much)",
            Missing::PathBaseline => "the path's usual round trip (other handshakes over it, or a control target)",
            Missing::LosslessCapture => "a capture that dropped nothing",
            Missing::WholePackets => "a capture of whole packets (tcpdump -s 0)",
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}
