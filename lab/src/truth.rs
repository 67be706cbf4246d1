//! What was injected, from the injectors' own logs: `truth.ndjson`, against which accuracy is scored.

use std::net::SocketAddr;
use std::sync::mpsc::Sender;

use serde::{Deserialize, Serialize};

/// One injected delay.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Injected {
    /// The client's end of the connection; absent if it concerns every connection of the cell.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub client: Option<SocketAddr>,
    /// The target concerned, where it is one and no single connection.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub target: Option<String>,
    /// Whose time it is, in the words of the ledger (`loss`, `path`, `edge_app`, …).
    pub owner: String,
    /// How long, where the injector knows: a CPU quota has no length.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ms: Option<f64>,
    /// What was done.
    pub what: String,
}

/// Where injectors report.
pub type TruthLog = Sender<Injected>;
