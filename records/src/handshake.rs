//! One handshake as data: what each observer saw of it, and what was read and judged. A line of `handshakes.ndjson`.

use analysis::doubt::one_way::OneWay;
use analysis::judging::verdict::{Judgement, Reading};
use serde::{Deserialize, Serialize};

use crate::judgement::judgement;

/// A milestone as one observer saw it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Mark {
    /// The milestone's name.
    pub name: String,
    /// When, in milliseconds since its lane's zero, on its observer's clock (the observers of one machine share one).
    pub ms: f64,
    /// The frame of `evidence.pcapng`, where it is a packet.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub packet: Option<u64>,
}

/// What one observer saw.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Lane {
    /// The observer: `client app`, `client kernel`, `client wire`, `edge wire`, `edge log`.
    pub observer: String,
    /// Where this lane's zero lies on the client's time axis, in milliseconds. For lanes of the edge this is an
    /// estimate for drawing (half a round trip each way); no verdict uses it.
    pub offset_ms: f64,
    /// Its milestones.
    pub marks: Vec<Mark>,
}

/// One grade's reading of a handshake, judged.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Judged {
    /// The reading.
    pub reading: Reading,
    /// The judgement.
    #[serde(deserialize_with = "judgement")]
    pub judgement: Judgement,
    /// The verdict in a sentence.
    pub sentence: String,
}

/// One handshake.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct HandshakeRecord {
    /// Record format.
    pub format: u32,
    /// Number in the run, from 1.
    pub id: u64,
    /// Round of the scenario, from 1.
    pub round: u32,
    /// Vantage.
    pub vantage: String,
    /// Target.
    pub target: String,
    /// The client's end.
    pub client: String,
    /// The server's end.
    pub server: String,
    /// The client's socket of the name lookup before it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub lookup: Option<String>,
    /// Name asked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub server_name: Option<String>,
    /// ClientHello.random, in hexadecimal digits, where packets show it: by it an edge's recorder finds the flow, whatever translates
    /// addresses on the way.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub random: Option<String>,
    /// TLS version agreed on.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub version: Option<String>,
    /// Whether a session was resumed.
    pub resumed: bool,
    /// The observers.
    pub lanes: Vec<Lane>,
    /// Bounds of the least way out and the least way back, in nanoseconds; absent where the two ends' clocks were not compared, where one of
    /// them was set meanwhile, or where packets contradict the comparison.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub one_way: Option<OneWay>,
    /// From both ends; absent if a capture of one of them does not show it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub both_ends: Option<Judged>,
    /// From the client's end alone (its packets, its socket or its program's clock), where nobody watched at the edge.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub client_only: Option<Judged>,
    /// From the edge's capture alone; absent if that does not show it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub edge_only: Option<Judged>,
}

impl HandshakeRecord {
    /// The judgement by all that was seen of it.
    pub fn judged(&self) -> Option<&Judged> {
        self.both_ends.as_ref().or(self.client_only.as_ref())
    }
}
