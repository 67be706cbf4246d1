//! Vantages: what the controller of a run knows of them, and who provides them.
//!
//! ```text
//! scenario ─► open ─► Provider ─► Vantage: prepare(Plan) ─► Ready, go, collect ─► Bundle; dropping it takes off what it set
//! ```
//!
//! The controller knows plans and bundles, never a process, a namespace or a file of a vantage: those may be on another host. To add a
//! kind of provider: a folder or file beside `testbed`, a variant of [`Kind`], an arm where the compiler asks for one.

mod recorder;
mod testbed;
mod world;

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use agent::Destination;
use analysis::clock::Span;
use analysis::key::Key;
use lab::rootless::Privilege;
use lab::truth::Injected;
use lab::wire::Lateness;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vantage::{Leave, Vantage};

use crate::Error;
use crate::conditions::Conditions;
use crate::scenario::Scenario;

pub use recorder::{NoRecorder, RecorderAt};
pub use testbed::{PORT, RESOLVER_RTT};
pub(crate) use testbed::{Testbed, own_server};
use world::World;

/// Who hands out vantages. Dropping it takes down what it built.
pub trait Provider {
    /// The vantage of this name.
    ///
    /// # Errors
    /// If there is none.
    fn vantage(&self, name: &str) -> Result<Box<dyn Vantage + '_>, Error>;

    /// Who watches at the target of this name; absent where nobody does, and the run has one end.
    ///
    /// # Errors
    /// If there is no such target.
    fn edge(&self, target: &str) -> Result<Option<Box<dyn Vantage + '_>>, Error>;

    /// How clients reach the target of this name.
    ///
    /// # Errors
    /// If there is no such target.
    fn destination(&self, target: &str) -> Result<Destination, Error>;

    /// Brings other conditions about, as far as its own hosts and paths are concerned: what clients do, plans say.
    ///
    /// # Errors
    /// If that cannot be done.
    fn set(&self, conditions: &Conditions) -> Result<(), Error>;

    /// What was injected since this was last asked, as the injectors logged it.
    fn truth(&self) -> Vec<Injected>;

    /// What bears on trust in the run so far.
    fn facts(&self) -> Facts;

    /// Whether a vantage brings its load about by itself, as plans say; else the provider has done it.
    fn plans_load(&self) -> bool;

    /// Whether a run goes on without a vantage that cannot be reached.
    fn goes_on(&self) -> bool;
}

/// What bears on trust in a run.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Facts {
    /// How late the provider's own paths were; absent where the paths are the world's.
    pub lateness: Option<Lateness>,
    /// CPU time that hypervisors took since the provider opened.
    pub stolen: Span,
    /// What had to be done without, and why.
    pub gave_up: Vec<String>,
}

/// Where a vantage is.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A host of the lab, on this machine.
    #[default]
    Lab,
    /// This host.
    Here,
    /// Another host, over ssh.
    Ssh,
    /// An agent that is connected to the fleet's NATS server.
    Fleet,
    /// An instance of EC2, brought up for the run and taken down after it: what `provider` with `provider = "ec2"` means.
    Ec2,
    /// What a provider brings up for the run and takes down after it.
    Provider,
}

impl Kind {
    /// Whether it is a host of the lab.
    pub fn is_lab(&self) -> bool {
        match self {
            Kind::Lab => true,
            Kind::Here | Kind::Ssh | Kind::Fleet | Kind::Ec2 | Kind::Provider => false,
        }
    }
}

impl Kind {
    /// Whether a provider has to bring it up first.
    pub fn is_provided(self) -> bool {
        matches!(self, Kind::Ec2 | Kind::Provider)
    }
}

/// Reaches an agent of a fleet (its name) as a vantage (its name in the run), until the flag is set.
pub type Reach<'f> = dyn Fn(&str, &str, Leave, &AtomicBool) -> Result<Box<dyn Vantage + 'f>, vantage::Error> + 'f;

/// Asks the recorder beside an agent of a fleet (the agent's name; whose recorder it is, for people) for what it has, of the last so long,
/// of the connections with these keys: a capture. Without keys it only has to be there.
pub type AskRecorder<'f> = dyn Fn(&str, &str, Duration, &[Key], &AtomicBool) -> Result<Vec<u8>, vantage::Error> + Sync + 'f;

/// How to open a provider.
#[derive(Clone, Copy)]
pub struct Opening<'a> {
    /// What this process may do in the lab.
    pub privilege: Privilege,
    /// Do without packets, where the hosts are real.
    pub no_capture: bool,
    /// Reaches agents of a fleet; absent: no server was named.
    pub fleet: Option<&'a Reach<'a>>,
    /// Asks recorders beside agents of a fleet; absent: no server was named.
    pub recorders: Option<&'a AskRecorder<'a>>,
    /// Set to stop.
    pub interrupted: &'a AtomicBool,
    /// Told what takes long meanwhile: (what, done, of how many).
    pub progress: &'a dyn Fn(&str, u64, u64),
    /// Of how many cells and rounds none is done yet.
    pub total: u64,
}

/// Opens the provider of a scenario's vantages.
///
/// # Errors
/// What failed, where, and what to do; what was built is taken down.
pub fn open<'a>(scenario: &Scenario, conditions: &Conditions, opening: Opening<'a>) -> Result<Box<dyn Provider + 'a>, Error> {
    if scenario.in_lab() {
        return Ok(Box::new(Testbed::build(scenario, conditions, opening.privilege)?));
    }
    Ok(Box::new(World::open(scenario, opening)?))
}
