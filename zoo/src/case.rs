//! A case: ten or so handshakes between one client and one server, some of them with a fault.

use std::net::IpAddr;
use std::time::Duration;

use lab::wire::{Act, Rule, Which};

use crate::stacks::{Chain, Client, Server, Version};
use crate::words::Done;

/// What is to be done to one handshake.
#[derive(Clone, PartialEq, Debug)]
pub enum Fault {
    /// The client program stalls itself.
    ClientStall { stage: &'static str, ms: f64 },
    /// The server program stalls itself.
    ServerStall { stage: &'static str, ms: f64 },
    /// The client is stopped from outside when the server's flight (or SYN-ACK) is on its way.
    ClientStop { before_hello: bool, ms: f64 },
    /// The server is stopped from outside when the ClientHello is on its way.
    ServerStop { ms: f64 },
    /// The client's or the server's CPU quota is a hundredth for a while, from when its turn begins.
    Starve { client: bool, ms: f64 },
    /// The wire does something to a packet.
    Wire { which: Which, act: Act, done: Done },
    /// The client waits for a third host while it verifies; none: its SYNs are never answered.
    Fetch { answered: bool, ms: f64 },
    /// The client trusts another root.
    Distrust,
    /// The client has no certificate to show although one is asked for.
    NoCertificate,
    /// The client speaks only TLS 1.1.
    OldVersion,
    /// The server closes when it has read the ClientHello.
    ServerClose,
}

/// What is spoken before TLS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Before {
    Smtp,
    Connect,
    /// A proxy that asks for a password first.
    ConnectAgain,
    Postgres,
}

impl Before {
    pub fn word(self) -> &'static str {
        match self {
            Before::Smtp => "smtp",
            Before::Connect => "connect",
            Before::ConnectAgain => "connect-407",
            Before::Postgres => "postgres",
        }
    }

    /// Where a server can stall before TLS.
    pub fn stages(self) -> &'static [&'static str] {
        match self {
            Before::Smtp => &["greeting", "goahead"],
            Before::ConnectAgain => &["challenge", "goahead"],
            Before::Connect | Before::Postgres => &["goahead"],
        }
    }
}

/// What is done to a capture afterwards.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Edit {
    Offset { client: bool, ms: f64 },
    Skew { client: bool, ppm: f64 },
    Step { client: bool, ms: f64, at: f64 },
    Round { client: bool, ms: f64 },
    Drop { client: bool, fraction: f64 },
    Merged,
}

/// All that is drawn of a case.
#[derive(Clone, Debug)]
pub struct Case {
    pub name: String,
    pub title: String,
    pub seed: u64,
    pub client: Client,
    pub server: Server,
    pub version: Version,
    pub chain: Chain,
    pub mtls: bool,
    pub resume: bool,
    pub hello_retry: bool,
    pub big_hello: bool,
    pub before: Option<Before>,
    pub ipv6: bool,
    pub concurrent: bool,
    pub out: Duration,
    pub back: Duration,
    pub jitter: Duration,
    pub timestamps: bool,
    pub offloads: bool,
    pub bbr: bool,
    pub nat: bool,
    pub nanoseconds: bool,
    /// Extra delay of the farther address, and which handshakes go there.
    pub detour: Option<(Duration, Duration)>,
    pub farther: Vec<bool>,
    pub faults: Vec<Vec<Fault>>,
    pub gap: Duration,
    pub timeout: Duration,
    pub edit: Option<Edit>,
}

impl Case {
    pub fn handshakes(&self) -> usize {
        self.faults.len()
    }

    /// Which of the two is starved, if one is: true is the client.
    pub fn starves(&self) -> Option<bool> {
        self.faults.iter().flatten().find_map(|f| match f {
            Fault::Starve { client, .. } => Some(*client),
            _ => None,
        })
    }

    /// The address that handshake `n` goes to.
    pub fn address(&self, n: usize, addresses: &[IpAddr]) -> Option<IpAddr> {
        let far = self.detour.is_some() && self.farther.get(n).copied().unwrap_or(false);
        addresses.iter().filter(|a| a.is_ipv6() == self.ipv6).nth(usize::from(far)).copied()
    }

    /// The wire's part.
    pub fn rules(&self) -> Vec<Rule> {
        let of = |(connection, faults): (usize, &Vec<Fault>)| {
            faults
                .iter()
                .filter_map(move |f| match f {
                    Fault::Wire { which, act, .. } => Some(Rule { connection, which: *which, act: *act }),
                    _ => None,
                })
                .collect::<Vec<_>>()
        };
        self.faults.iter().enumerate().flat_map(of).collect()
    }

    /// Handshakes that are not expected to complete.
    pub fn fails(&self, n: usize) -> bool {
        self.faults.get(n).is_some_and(|faults| {
            faults.iter().any(|f| match f {
                Fault::Distrust | Fault::NoCertificate | Fault::OldVersion | Fault::ServerClose => true,
                Fault::Wire { done, .. } => matches!(done, Done::Reset | Done::Mtu),
                Fault::ClientStall { .. }
                | Fault::ServerStall { .. }
                | Fault::ClientStop { .. }
                | Fault::ServerStop { .. }
                | Fault::Starve { .. }
                | Fault::Fetch { .. } => false,
            })
        })
    }
}
