//! One end of a batch: clients launched behind a barrier, packets captured, scheduler counters sampled.
//!
//! ```text
//! controller ─► Vantage: prepare(Plan) ─► Ready, go, collect ─► Bundle
//!                 ├─ Local    this host, in this process
//!                 ├─ Remote   another host, behind a pipe (ssh); there serve(Local) answers
//!                 ├─ another host, behind a NATS server (in `fleet`)
//!                 └─ the lab's hosts (in `repro`), of the same parts
//! ```
//!
//! In: plans ([`agent`]). Out: bundles. Whoever asks knows nothing of processes, namespaces or files of an end: it may be on another host.
#![forbid(unsafe_code)]

mod clients;
pub mod command_line;
pub mod doctor;
mod elsewhere;
mod error;
pub mod host;
mod interfaces;
mod launch;
mod load;
mod local;
pub mod packets;
mod remote;
mod serve;
mod spin;
pub mod ssh;

use std::sync::atomic::AtomicBool;

use agent::{Bundle, Go, Hello, Plan, Ready};
use analysis::clock::Span;
use analysis::key::Key;

pub use clients::{Clients, Place};
pub use elsewhere::{Line, PATIENCE, how_long};
pub use error::Error;
pub use launch::pause;
pub use local::{Leave, Local};
pub use remote::Remote;
pub use serve::{answer, serve};

/// Where clients run, or a server is watched: one end of a batch.
pub trait Vantage: Send {
    /// Who it is and what it can do.
    fn hello(&self) -> Hello;

    /// How far its clock is ahead of the controller's, where the two can differ.
    fn ahead(&self) -> Option<Ahead> {
        None
    }

    /// Compares its clock with the controller's anew; absent where the two cannot differ, or it does not say.
    ///
    /// # Errors
    /// If it does not answer, or `stop` is set.
    fn compare(&mut self, _stop: &AtomicBool) -> Result<Option<Ahead>, Error> {
        Ok(None)
    }

    /// Whether its clock is the controller's own, so that there is nothing to compare. What does not know that says no.
    fn shares_clock(&self) -> bool {
        false
    }

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

    /// What [`Vantage::collect`] is to be of, at a target where others connect too: these connections, and no others'.
    fn look_for(&mut self, _keys: Vec<Key>) {}

    /// What a batch handed over lies on the controller's disk: nobody need keep it any longer.
    fn stored(&mut self, _batch: u64) {}
}

/// How far one clock is ahead of another, at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ahead {
    /// By so much; negative: behind.
    pub by: Span,
    /// By so much that may be off, either way.
    pub error: Span,
}
