//! Vantages: what the controller of a run knows of them, and who provides them.
//!
//! ```text
//! scenario ─► open ─► Provider ─► Vantage: prepare(Plan) ─► Ready, go, collect ─► Bundle; dropping it takes off what it set
//! ```
//!
//! The controller knows plans and bundles, never a process, a namespace or a file of a vantage: those may be on another host. To add a
//! kind of provider: a folder beside `testbed`, a variant of [`Kind`], an arm of [`open`].

mod testbed;

use std::sync::atomic::AtomicBool;

use agent::{Bundle, Destination, Go, Hello, Plan, Ready};
use lab::rootless::Privilege;
use lab::truth::Injected;
use lab::wire::Lateness;

use crate::Error;
use crate::conditions::Conditions;
use crate::scenario::Scenario;

pub use testbed::{PORT, RESOLVER_RTT};
pub(crate) use testbed::{Testbed, own_server};

/// Where clients run, or a server is watched: one end of a batch.
pub trait Vantage {
    /// Who it is and what it can do.
    fn hello(&self) -> Hello;

    /// Makes ready for a batch: clients stand at a barrier, captures and samples begin anew.
    ///
    /// # Errors
    /// If the plan cannot be carried out here, or `stop` is set.
    fn prepare(&mut self, plan: &Plan, stop: &AtomicBool) -> Result<Ready, Error>;

    /// Lifts the barrier.
    ///
    /// # Errors
    /// If `stop` is set.
    fn go(&mut self, go: Go, stop: &AtomicBool) -> Result<(), Error>;

    /// Waits until the clients have ended, and hands over what was seen since the plan came.
    ///
    /// # Errors
    /// If the evidence is not whole, or `stop` is set. A client's failure is data.
    fn collect(&mut self, stop: &AtomicBool) -> Result<Bundle, Error>;
}

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

    /// What was injected since this was last asked, as the injectors logged it.
    fn truth(&self) -> Vec<Injected>;

    /// What bears on trust in the run so far.
    fn facts(&self) -> Facts;
}

/// What bears on trust in a run.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Facts {
    /// How late the provider's own paths were; absent where the paths are the world's.
    pub lateness: Option<Lateness>,
    /// CPU time that hypervisors took since the provider opened, in nanoseconds.
    pub stolen_ns: u64,
    /// What had to be done without, and why.
    pub gave_up: Vec<String>,
}

/// Where a scenario's vantages are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Hosts of the lab, on this machine.
    Lab,
}

/// Opens the provider of a scenario's vantages.
///
/// # Errors
/// What failed, where, and what to do; what was built is taken down.
pub fn open(scenario: &Scenario, conditions: &Conditions, privilege: Privilege) -> Result<Box<dyn Provider>, Error> {
    match scenario.provider() {
        Kind::Lab => Ok(Box::new(Testbed::build(scenario, conditions, privilege)?)),
    }
}
