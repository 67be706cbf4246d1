//! The client that a vantage launches, as scenario files describe it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use settings::Time;

/// Clients at once: each is a process.
pub const MOST_CLIENTS: usize = 500;

/// Which client program.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientKind {
    /// Real curl.
    Curl,
    /// Our own rustls client with kernel timestamps.
    Probe,
    /// Any program.
    Command,
}

/// TLS version to offer.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
pub enum TlsVersion {
    /// TLS 1.2 only.
    #[serde(rename = "1.2")]
    V12,
    /// TLS 1.3 only.
    #[serde(rename = "1.3")]
    V13,
    /// Whatever the client offers by itself.
    #[default]
    #[serde(rename = "any")]
    Any,
}

/// The client.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientSpec {
    /// Which program.
    pub kind: ClientKind,
    /// Clients at once.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = MOST_CLIENTS))]
    pub concurrency: usize,
    /// Time between the starts of two clients; none: all at once.
    #[serde(default)]
    pub spread: Time,
    /// Verify the server's certificate.
    #[serde(default = "yes")]
    pub verify: bool,
    /// TLS version; absent: whatever the client offers by itself.
    #[serde(default)]
    pub tls: TlsVersion,
    /// Connect over IPv6.
    #[serde(default)]
    pub ipv6: bool,
    /// Kind `probe`: resume a session. Each client makes a full handshake before the one that it reports.
    #[serde(default, skip_serializing_if = "is_not")]
    pub resume: bool,
    /// Kind `probe`: TCP_NODELAY. Without it, each of its flights is written in two pieces, as stacks do that Nagle's algorithm delays.
    #[serde(default = "yes", skip_serializing_if = "is")]
    pub nodelay: bool,
    /// Timeout of a client; it is then killed.
    #[serde(default = "fifteen_seconds")]
    pub timeout: Time,
    /// Kind `command`: program and arguments; `{host}`, `{port}`, `{address}` and `{ca}` are filled in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
}

fn yes() -> bool {
    true
}
fn is(set: &bool) -> bool {
    *set
}
fn is_not(set: &bool) -> bool {
    !*set
}
fn one() -> usize {
    1
}
fn fifteen_seconds() -> Time {
    Time::millis(15_000)
}

impl ClientSpec {
    /// One client of a kind, with everything else as usual.
    pub fn new(kind: ClientKind) -> Self {
        Self {
            kind,
            concurrency: one(),
            spread: Time::default(),
            verify: yes(),
            tls: TlsVersion::default(),
            ipv6: false,
            resume: false,
            nodelay: yes(),
            timeout: fifteen_seconds(),
            command: Vec::new(),
        }
    }
}
