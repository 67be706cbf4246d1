//! Faults as scenario files write them: a kind is a type with fields of its own, one file each.
//!
//! A fault is a table under `[faults]` with a name of its own, so that `--set faults.quota.cpus=0.2` can reach into it; its `kind`
//! says which type the other fields belong to. To add one: a file with its type and [`Inject`], a variant of [`Fault`], an arm of
//! [`Fault::kind`]. The compiler asks for the rest.

mod accept_queue;
mod burners;
mod client_pause;
mod detour;
mod dns_delay;
mod drop;
mod edge_delay;
mod hold;
mod loss;
mod mtu;
mod process;
mod quota;
mod read;
mod refuse;
mod reset;
mod stop;
mod storm;
mod wrong_site;

use lab::truth::Injected;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use settings::Wrong;

use crate::conditions::Conditions;
use crate::duration::Length;
use crate::scenario::Scenario;

pub use accept_queue::AcceptQueue;
pub use burners::CpuBurners;
pub use client_pause::ClientPause;
pub use detour::Detour;
pub use dns_delay::DnsDelay;
pub use drop::DropMessage;
pub use edge_delay::{AnswerBefore, EdgeDelay};
pub use hold::Hold;
pub use loss::Loss;
pub use mtu::Mtu;
pub use process::{Crashes, Does, Process};
pub use quota::CpuQuota;
pub(crate) use read::{by_kind, with_kind};
pub use refuse::Refuse;
pub use reset::Reset;
pub use stop::Stop;
pub use storm::Storm;
pub use wrong_site::WrongSite;

/// One fault, as written: `kind` says which.
// For serde the kind is the key of a table around the fields: `read` moves it there from `kind`, so that errors keep their lines.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(tag = "kind")]
pub enum Fault {
    /// Limits a host's CPU.
    CpuQuota(CpuQuota),
    /// Busy processes, pinned to one CPU together with the host's programs.
    CpuBurners(CpuBurners),
    /// Stops and continues a vantage's clients.
    Stop(Stop),
    /// Our own client sleeps.
    ClientPause(ClientPause),
    /// A longer path to a target.
    Detour(Detour),
    /// Drops copies of a message.
    Drop(DropMessage),
    /// Holds a message and all after it.
    Hold(Hold),
    /// Packets above a size vanish.
    Mtu(Mtu),
    /// Random loss.
    Loss(Loss),
    /// The embedded edge's program sleeps before it answers a ClientHello.
    EdgeDelay(EdgeDelay),
    /// The embedded edge accepts slowly behind a short queue.
    AcceptQueue(AcceptQueue),
    /// Something on the way resets the connection.
    Reset(Reset),
    /// An end refuses with an alert.
    Refuse(Refuse),
    /// The name server answers late.
    DnsDelay(DnsDelay),
    /// A program of a target is gone, stopped, dies and returns, or runs with another command.
    Process(Process),
    /// Other clients, each of which calls again and again.
    Storm(Storm),
    /// An anycast address leads to another site than usual.
    WrongSite(WrongSite),
}

impl Fault {
    /// What its kind does.
    pub fn kind(&self) -> &dyn Inject {
        match self {
            Fault::CpuQuota(fault) => fault,
            Fault::CpuBurners(fault) => fault,
            Fault::Stop(fault) => fault,
            Fault::ClientPause(fault) => fault,
            Fault::Detour(fault) => fault,
            Fault::Drop(fault) => fault,
            Fault::Hold(fault) => fault,
            Fault::Mtu(fault) => fault,
            Fault::Loss(fault) => fault,
            Fault::EdgeDelay(fault) => fault,
            Fault::AcceptQueue(fault) => fault,
            Fault::Reset(fault) => fault,
            Fault::Refuse(fault) => fault,
            Fault::DnsDelay(fault) => fault,
            Fault::Process(fault) => fault,
            Fault::Storm(fault) => fault,
            Fault::WrongSite(fault) => fault,
        }
    }

    /// Whether `scenario` can have it.
    ///
    /// # Errors
    /// Names the field.
    pub(crate) fn check(&self, scenario: &Scenario) -> Result<(), Wrong> {
        for named in self.kind().names() {
            named.check(scenario)?;
        }
        if let (1.., Some(why)) = (scenario.baseline_rounds, self.kind().between_rounds()) {
            return Err(Wrong::new(format!("it cannot come on behind `baseline_rounds`: {why}")));
        }
        self.kind().check(scenario)
    }
}

/// What every kind of fault must tell of itself.
pub trait Inject {
    /// The hosts that it names.
    fn names(&self) -> Vec<Named<'_>>;

    /// What is wrong with its fields in this scenario; that its hosts exist is known.
    ///
    /// # Errors
    /// Names the field.
    fn check(&self, scenario: &Scenario) -> Result<(), Wrong>;

    /// Changes the conditions to those with the fault.
    fn apply(&self, conditions: &mut Conditions);

    /// Whether a host's own agent can bring it about; what cannot needs the lab.
    fn anywhere(&self, scenario: &Scenario) -> bool;

    /// Why it cannot come and go while the lab is up; absent: it can.
    fn fixed(&self) -> Option<&'static str>;

    /// Why it cannot be off in some rounds and on in others; absent: it can. What only clients do can, for each round launches its own.
    fn between_rounds(&self) -> Option<&'static str> {
        self.fixed()
    }

    /// What `truth.ndjson` says of it; absent: the injector logs each connection that it touches.
    fn truth(&self) -> Option<Injected>;

    /// What a draw over stacks must leave as the file has it.
    fn keeps(&self) -> Vec<Keeps<'_>>;

    /// Fields that make a trial differ from the file, and their values.
    fn vary(&self, variation: &Variation) -> Vec<(&'static str, String)>;
}

/// What of a scenario a fault needs as the file has it, to mean what the file says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keeps<'a> {
    /// The client, which does the fault itself.
    Client,
    /// The server of this target, which does the fault itself.
    Server(&'a str),
    /// How much CPU is asked of this host: of a vantage, its client and how many there are; of a target, a server that begins on little.
    Cpu(&'a str),
    /// Clients that speak as soon as they begin: with others the fault would be over, or in its next turn.
    Brisk,
    /// That clients are as many, come together and do not starve each other.
    Crowd,
}

/// A host that a fault names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Named<'a> {
    key: &'static str,
    /// Its name.
    pub host: &'a str,
    which: Which,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Which {
    Any,
    Vantage,
    Target,
}

impl<'a> Named<'a> {
    /// Any host, by the field `on`.
    fn on(host: &'a str) -> Self {
        Self { key: "on", host, which: Which::Any }
    }

    /// A target, by the field `on`.
    fn on_target(host: &'a str) -> Self {
        Self::target("on", host)
    }

    /// A target, by a field.
    fn target(key: &'static str, host: &'a str) -> Self {
        Self { key, host, which: Which::Target }
    }

    /// A vantage, by the field `on`.
    fn on_vantage(host: &'a str) -> Self {
        Self { key: "on", host, which: Which::Vantage }
    }

    /// The two ends of a path, by the fields `from` (absent: all vantages) and `to`.
    fn path(from: Option<&'a str>, to: &'a str) -> Vec<Self> {
        let from = from.map(|host| Self { key: "from", host, which: Which::Vantage });
        from.into_iter().chain([Self { key: "to", host: to, which: Which::Target }]).collect()
    }

    fn check(&self, scenario: &Scenario) -> Result<(), Wrong> {
        let vantages = scenario.vantages.iter().map(|v| v.name.as_str());
        let targets = scenario.targets.iter().map(|t| t.name.as_str());
        let mut hosts: Vec<&str> = match self.which {
            Which::Any => vantages.chain(targets).collect(),
            Which::Vantage => vantages.collect(),
            Which::Target => targets.collect(),
        };
        if hosts.contains(&self.host) {
            return Ok(());
        }
        hosts.sort_unstable();
        let Self { key, host, .. } = self;
        Err(Wrong::at(key, format!("`{key} = {host:?}` is no host it could mean; there is {}", hosts.join(", "))))
    }
}

/// How one trial of a scenario differs from its file.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Variation {
    /// Factor of how bad it is.
    pub severity: f64,
    /// Factor of round-trip times.
    pub pace: f64,
    /// The scenario says that nothing comes of its faults.
    pub healthy: bool,
}

impl Variation {
    /// A length that is worse by the severity.
    fn worse(&self, field: &'static str, length: Length) -> (&'static str, String) {
        (field, format!("{}ms", length.as_millis() * self.severity))
    }
}

/// In which direction a message travels.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Client to edge.
    Out,
    /// Edge to client.
    Back,
    /// Both.
    #[default]
    Both,
}

/// What was injected, of unknown length unless it is said.
fn injected(owner: &str, what: String) -> Injected {
    Injected { client: None, target: None, owner: owner.into(), ms: None, what }
}

/// Whether the field `on` names a target with the embedded server, which is what does such faults.
///
/// # Errors
/// Says so.
fn on_embedded(scenario: &Scenario, on: &str) -> Result<(), Wrong> {
    let target = scenario.targets.iter().find(|t| t.name == on);
    if target.is_some_and(|t| t.server.injects()) {
        return Ok(());
    }
    let what = "edge_delay, accept_queue and refuse are done by the embedded edge: `on` a target with server = \"embedded\"";
    Err(Wrong::at("on", what))
}
