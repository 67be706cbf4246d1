//! What holds while clients run: loads of hosts, paths, messages that are lost or held, what servers and clients do on purpose.
//!
//! In: a scenario and the faults that are on. Out: data, which a provider of vantages brings about. Lifting a fault is computing the
//! conditions without it, so no fault can forget to undo what it did.

use std::collections::BTreeMap;

use agent::{Load, Pause, Stops};
use lab::wire::{Action, Message, PathConfig};

use crate::duration::Length;
use crate::faults::{Direction, Does, Fault, Storm};
use crate::scenario::Scenario;

/// Everything that holds.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Conditions {
    /// Load by host; a host without one is left alone.
    pub loads: BTreeMap<String, Load>,
    /// Paths by vantage and target.
    pub paths: BTreeMap<(String, String), Path>,
    /// Messages that are lost or held, in the order of the faults' names: the first that fits acts.
    pub messages: Vec<MessageFault>,
    /// What servers do on purpose, by target.
    pub servers: BTreeMap<String, Servers>,
    /// What clients do and suffer, by vantage.
    pub clients: BTreeMap<String, Clients>,
    /// How late the name server answers.
    pub lookup_delay: Length,
    /// Programs that do not run as they should, by target and name.
    pub processes: BTreeMap<(String, String), Does>,
    /// Other clients.
    pub storms: Vec<Storm>,
    /// Who answers a vantage in place of a target, where that is another: by both.
    pub sites: BTreeMap<(String, String), String>,
}

/// Both directions of a path.
#[derive(Clone, PartialEq, Debug)]
pub struct Path {
    /// Client to edge.
    pub out: PathConfig,
    /// Edge to client.
    pub back: PathConfig,
}

impl Path {
    /// The directions that `direction` means.
    pub fn directions(&mut self, direction: Direction) -> impl Iterator<Item = &mut PathConfig> {
        let (out, back) = match direction {
            Direction::Out => (Some(&mut self.out), None),
            Direction::Back => (None, Some(&mut self.back)),
            Direction::Both => (Some(&mut self.out), Some(&mut self.back)),
        };
        out.into_iter().chain(back)
    }
}

/// A message between a vantage and a target that does not pass as others do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MessageFault {
    /// The vantage.
    pub vantage: String,
    /// The target.
    pub target: String,
    /// The message.
    pub message: Message,
    /// Which segment of the server's flight, or of the client's hellos, from 0; other messages ignore it.
    pub segment: usize,
    /// What becomes of it.
    pub action: Action,
}

/// What a target's server does on purpose.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Servers {
    /// How long it sleeps before its answers.
    pub delays: Delays,
    /// It answers every ClientHello with an alert.
    pub refuse: bool,
    /// How slowly it accepts, and behind how short a queue.
    pub queue: Option<Queue>,
}

/// How long a server sleeps before each of its answers.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Delays {
    /// Its first line before TLS.
    pub plaintext: Length,
    /// HelloRetryRequest.
    pub hello_retry: Length,
    /// ServerHello.
    pub server_hello: Length,
    /// What it says behind the client's Finished.
    pub server_finished: Length,
}

/// An accept queue that is short and served slowly.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Queue {
    /// Time before each accept.
    pub interval: Length,
    /// Its length.
    pub backlog: u32,
}

/// What a vantage's clients do on purpose, and suffer.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Clients {
    /// Where our own client sleeps.
    pub pauses: Vec<Pause>,
    /// How they are stopped and continued.
    pub stops: Option<Stops>,
    /// Our own client trusts no certificate.
    pub distrust: bool,
}

impl Conditions {
    /// What holds in `scenario` with these faults on.
    pub fn of<'a>(scenario: &Scenario, faults: impl IntoIterator<Item = &'a Fault>) -> Self {
        let mut conditions = Self::default();
        for vantage in &scenario.vantages {
            conditions.clients.insert(vantage.name.clone(), Clients::default());
            for target in &scenario.targets {
                let half = PathConfig { delay: target.rtt.0 / 2, jitter: target.jitter.0, ..PathConfig::default() };
                let path = Path { out: half.clone(), back: half };
                conditions.paths.insert((vantage.name.clone(), target.name.clone()), path);
            }
        }
        for fault in faults {
            fault.kind().apply(&mut conditions);
        }
        conditions
    }

    /// The load of a host, to be changed.
    pub fn load(&mut self, host: &str) -> &mut Load {
        self.loads.entry(host.to_owned()).or_default()
    }

    /// What a target's server does, to be changed.
    pub fn server(&mut self, target: &str) -> &mut Servers {
        self.servers.entry(target.to_owned()).or_default()
    }

    /// Vantages and targets whose connections a fault between `from` (absent: all) and `to` concerns.
    pub fn between(&self, from: Option<&str>, to: &str) -> Vec<(String, String)> {
        let concerned = |(v, t): &&(String, String)| from.is_none_or(|from| from == v) && t == to;
        self.paths.keys().filter(concerned).cloned().collect()
    }

    /// The paths that a fault between `from` (absent: all) and `to` concerns, in the directions that it means.
    pub fn directions<'a>(
        &'a mut self,
        from: Option<&'a str>,
        to: &'a str,
        direction: Direction,
    ) -> impl Iterator<Item = &'a mut PathConfig> {
        let concerned = move |((v, t), _): &(&(String, String), &mut Path)| from.is_none_or(|from| from == v) && t == to;
        self.paths.iter_mut().filter(concerned).flat_map(move |(_, path)| path.directions(direction))
    }
}
