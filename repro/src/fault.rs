//! Faults as scenario files write them.
//!
//! A fault is a table under `[faults]` with a name of its own, so that `--set faults.quota.cpus=0.2` can reach
//! into it. Which fields a kind takes is checked in [`FaultSpec::check`].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use lab::wire::Message;

use crate::duration::Length;

/// What is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// Limit a host's CPU: `on`, `cpus`, perhaps `burners` inside the limit.
    CpuQuota,
    /// Busy processes pinned to one CPU together with the host's programs: `on`, `burners`.
    CpuBurners,
    /// Stop and continue a vantage's clients: `on`, `running`, `stopped`.
    Stop,
    /// Our own client sleeps: `before` (`client_hello` or `client_finished`), `for`.
    ClientPause,
    /// Longer way to a target: `to`, `extra_rtt`.
    Detour,
    /// Drop copies of a message: `to`, `message`, perhaps `segment`, `copies`.
    Drop,
    /// Hold a message and all after it: `to`, `message` or `after`, `for`.
    Hold,
    /// Packets above a size vanish: `to`, `bytes`, perhaps `direction`.
    Mtu,
    /// Random loss: `to`, `rate`.
    Loss,
    /// The embedded edge's program sleeps before it answers a ClientHello: `on`, `for`.
    EdgeDelay,
    /// The embedded edge accepts slowly behind a short queue: `on`, `interval`, perhaps `backlog`.
    AcceptQueue,
    /// The name server answers late: `for`.
    DnsDelay,
}

/// Which way a message travels.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// Client to edge.
    Out,
    /// Edge to client.
    Back,
    /// Both.
    #[default]
    Both,
}

/// A message of the handshake that a fault can name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MessageName {
    /// SYN.
    Syn,
    /// SYN-ACK.
    SynAck,
    /// ClientHello.
    ClientHello,
    /// A segment of the server's flight.
    ServerFlight,
    /// The client's acknowledgement of it.
    FlightAck,
    /// The client's flight with Finished.
    ClientFinished,
}

impl From<MessageName> for Message {
    fn from(name: MessageName) -> Self {
        match name {
            MessageName::Syn => Message::Syn,
            MessageName::SynAck => Message::SynAck,
            MessageName::ClientHello => Message::ClientHello,
            MessageName::ServerFlight => Message::ServerFlight,
            MessageName::FlightAck => Message::FlightAck,
            MessageName::ClientFinished => Message::ClientFinished,
        }
    }
}

/// One fault, as written.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FaultSpec {
    /// What is done.
    pub kind: FaultKind,
    /// The host it is done to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on: Option<String>,
    /// The vantage whose connections are concerned; absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The target whose connections are concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// CPUs allowed, 0.4 = 40 % of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<f64>,
    /// Busy processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burners: Option<usize>,
    /// Length of the running part of a stop cycle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running: Option<Length>,
    /// Length of the stopped part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Length>,
    /// How long.
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub for_: Option<Length>,
    /// Before which message the client pauses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<MessageName>,
    /// After which message a hold begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<MessageName>,
    /// Which message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<MessageName>,
    /// Which segment of the server's flight, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub segment: Option<usize>,
    /// How many copies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copies: Option<u32>,
    /// Added round-trip time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra_rtt: Option<Length>,
    /// Which way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<Way>,
    /// Largest IP packet that passes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u32>,
    /// Fraction of packets lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// Time before each accept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<Length>,
    /// Length of the accept queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backlog: Option<u32>,
}

impl FaultSpec {
    /// Whether the kind has what it needs and nothing it does not take.
    ///
    /// # Errors
    /// Names the field.
    pub fn check(&self) -> Result<(), String> {
        use FaultKind::*;
        let (needs, takes): (&[&str], &[&str]) = match self.kind {
            CpuQuota => (&["on", "cpus"], &["burners"]),
            CpuBurners => (&["on", "burners"], &[]),
            Stop => (&["on", "running", "stopped"], &[]),
            ClientPause => (&["for", "before"], &["on"]),
            Detour => (&["to", "extra_rtt"], &["from", "direction"]),
            Drop => (&["to", "message"], &["from", "segment", "copies"]),
            Hold => (&["to", "for"], &["from", "message", "after", "segment"]),
            Mtu => (&["to", "bytes"], &["from", "direction"]),
            Loss => (&["to", "rate"], &["from", "direction"]),
            EdgeDelay => (&["on", "for"], &[]),
            AcceptQueue => (&["on", "interval"], &["backlog"]),
            DnsDelay => (&["for"], &[]),
        };
        let set = self.fields();
        if let Some(field) = needs.iter().find(|f| !set.contains(*f)) {
            return Err(format!("a fault of kind {:?} needs `{field}`", self.kind));
        }
        if let Some(field) = set.iter().find(|f| !needs.contains(f) && !takes.contains(f)) {
            return Err(format!(
                "a fault of kind {:?} takes no `{field}`; it takes {}",
                self.kind,
                [needs, takes].concat().join(", ")
            ));
        }
        if self.kind == Hold && self.message.is_some() == self.after.is_some() {
            return Err(
                "a hold needs either `message` (hold it and all that follows) or `after` (let it pass, hold what follows)".into(),
            );
        }
        if self.cpus.is_some_and(|c| !(0.01..=64.0).contains(&c)) {
            return Err("`cpus` must lie between 0.01 and 64".into());
        }
        if self.rate.is_some_and(|r| !(0.0..1.0).contains(&r)) {
            return Err("`rate` is a fraction between 0 and 1".into());
        }
        Ok(())
    }

    fn fields(&self) -> Vec<&'static str> {
        [
            ("on", self.on.is_some()),
            ("from", self.from.is_some()),
            ("to", self.to.is_some()),
            ("cpus", self.cpus.is_some()),
            ("burners", self.burners.is_some()),
            ("running", self.running.is_some()),
            ("stopped", self.stopped.is_some()),
            ("for", self.for_.is_some()),
            ("before", self.before.is_some()),
            ("after", self.after.is_some()),
            ("message", self.message.is_some()),
            ("segment", self.segment.is_some()),
            ("copies", self.copies.is_some()),
            ("extra_rtt", self.extra_rtt.is_some()),
            ("direction", self.direction.is_some()),
            ("bytes", self.bytes.is_some()),
            ("rate", self.rate.is_some()),
            ("interval", self.interval.is_some()),
            ("backlog", self.backlog.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, set)| set.then_some(name))
        .collect()
    }
}
