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
    /// What takes CPU from them meanwhile; absent: nothing does, or somebody else sees to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<Load>,
}

/// What takes CPU from a host's clients.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Load {
    /// CPUs allowed, 0.4 = 40 % of one; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<f64>,
    /// Busy processes.
    #[serde(default)]
    pub burners: usize,
    /// All its programs share one CPU.
    #[serde(default)]
    pub one_cpu: bool,
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
    /// Our own client trusts no certificate, and says so with an alert.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub distrust: bool,
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
    /// What they ask for over HTTP.
    #[serde(default = "root", skip_serializing_if = "is_root")]
    pub path: String,
    /// What our own client and the destination say before TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_tls: Option<BeforeTls>,
    /// In the lab: it asks for a certificate, and our own client shows the one that lies beside the roots.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub client_certificate: bool,
    /// Which of its addresses they try.
    #[serde(default, skip_serializing_if = "Family::is_any")]
    pub family: Family,
    /// Root certificates that they trust, PEM; absent: those of their host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roots: Option<String>,
}

impl Destination {
    /// A name and a port, asked for its root page as any client would.
    pub fn new(name: impl Into<String>, port: u16) -> Self {
        Self {
            name: name.into(),
            address: None,
            port,
            path: root(),
            before_tls: None,
            client_certificate: false,
            family: Family::default(),
            roots: None,
        }
    }
}

fn root() -> String {
    "/".into()
}

fn is_root(path: &String) -> bool {
    path == "/"
}

/// Plaintext before TLS, as of STARTTLS, CONNECT or SSLRequest: lines, each answered by one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BeforeTls {
    /// Who speaks first: the edge with a greeting, or the client.
    pub first: Speaker,
    /// Lines of the client that the edge answers.
    #[serde(default = "one_exchange")]
    #[schemars(range(max = MOST_EXCHANGES))]
    pub exchanges: u32,
}

/// Lines before TLS: nobody's protocol has more.
pub const MOST_EXCHANGES: u32 = 10;

fn one_exchange() -> u32 {
    1
}

/// An end that speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Speaker {
    /// The client.
    Client,
    /// The edge.
    Edge,
}

/// Which addresses of a name are tried.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// Whatever the client prefers.
    #[default]
    Any,
    /// IPv4 alone.
    V4,
    /// IPv6 alone.
    V6,
}

impl Family {
    /// One family: IPv6 or IPv4.
    pub fn only(ipv6: bool) -> Self {
        if ipv6 { Self::V6 } else { Self::V4 }
    }

    fn is_any(&self) -> bool {
        *self == Self::Any
    }
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
    /// How long they are then stopped.
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
