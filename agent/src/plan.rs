//! What a vantage is asked to do, and that it is ready to.

use std::net::IpAddr;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use settings::Time;

use crate::bundle::Losses;
use crate::client::ClientSpec;

/// One batch: what to do between [`Go`] and the bundle. Packets and hosts are watched in any case.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// Number of the batch in its run.
    pub batch: u64,
    /// Clients to launch; absent at the edge, which only watches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clients: Option<Clients>,
}

/// Clients that start together.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Clients {
    /// Which, how many, and how.
    pub client: ClientSpec,
    /// Whom they call.
    pub to: Destination,
    /// Where our own client sleeps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pauses: Vec<Pause>,
    /// Whether they are stopped and continued while they run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stops: Option<Stops>,
    /// How long to listen on after the last has ended: acknowledgements and repetitions come late.
    pub settle: Time,
}

/// Whom clients call.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Destination {
    /// The name they look up.
    pub name: String,
    /// Its address, where that is known before the lookup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// The port.
    pub port: u16,
}

/// A sleep of our own client.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Pause {
    /// Before which of its messages.
    pub before: PauseBefore,
    /// How long.
    #[serde(rename = "for")]
    pub length: Time,
}

/// A moment at which our own client can sleep.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PauseBefore {
    /// Between connecting and the ClientHello.
    ClientHello,
    /// Between the server's flight and the client's Finished.
    ClientFinished,
}

/// Processes that are stopped and continued, from the start of the clients on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Stops {
    /// How long they run.
    pub running: Time,
    /// How long they then stand stopped.
    pub stopped: Time,
}

/// The clients wait for [`Go`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ready {
    /// The batch.
    pub batch: u64,
    /// Clients at the barrier.
    pub clients: usize,
    /// What the capture had lost by now.
    pub losses: Losses,
}

/// The barrier is lifted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Go {
    /// When, on the vantage's clock; absent: at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}
