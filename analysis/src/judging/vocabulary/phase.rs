//! Where in the handshake: the phases, and a row for each.

use serde::{Deserialize, Serialize};

/// The stretch of the handshake an entry belongs to.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Debug,
    Serialize,
    Deserialize,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Phase {
    /// Name resolution.
    Dns,
    /// Other addresses, tried before the one that answered.
    Attempts,
    /// SYN to SYN-ACK.
    Connect,
    /// Plaintext before TLS: a greeting, STARTTLS, CONNECT, SSLRequest.
    BeforeTls,
    /// The client between what let it begin and ClientHello.
    ClientHello,
    /// ClientHello to a HelloRetryRequest.
    HelloRetry,
    /// ClientHello to the end of the server's flight.
    ServerFlight,
    /// The client between the server's flight and its own Finished.
    ClientFinished,
    /// Finished to the edge's answer or acknowledgement.
    Finish,
    /// A request on the finished connection, to the first byte of its answer.
    Request,
}

impl Phase {
    /// All there are, in their order.
    pub const ALL: &[Phase] = <Phase as strum::VariantArray>::VARIANTS;

    /// Its name in labels and in files.
    pub fn label(self) -> &'static str {
        self.into()
    }

    /// Words for people.
    pub const fn words(self) -> &'static str {
        match self {
            Phase::Dns => "name lookup",
            Phase::Attempts => "other addresses",
            Phase::Connect => "TCP connect",
            Phase::BeforeTls => "plaintext before TLS",
            Phase::ClientHello => "client before ClientHello",
            Phase::HelloRetry => "ClientHello to HelloRetryRequest",
            Phase::ServerFlight => "ClientHello to server flight",
            Phase::ClientFinished => "client before Finished",
            Phase::Finish => "Finished to the edge",
            Phase::Request => "request to its first answer",
        }
    }
}
