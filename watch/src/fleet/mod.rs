//! A watch from many vantages: agents probe and judge rounds, a controller judges them together.
//!
//! ```text
//!  check file ─► handout ──────────────► agent: probing, judging ─► report ─┐          (over whatever carries it: `fleet`)
//!                                                                           ▼
//!  page, metrics ◄─ matrix (vantage × check) ◄─ controller: states of cells ◄┘
//!                                                 compare ─► alerts of checks, of agents, of probers ─► store, outbox
//! ```
//! In: reports in each agent's order, however late they come. Out: one alert a check that says from where it is seen, and one an agent that
//! is not heard of. A vantage that is not heard of is neither good nor bad.

mod agent;
mod alerts;
mod compare;
pub(crate) mod controller;
mod handout;
pub(crate) mod matrix;
pub(crate) mod metrics;
mod options;
pub(crate) mod page;
mod report;
mod watching;

#[cfg(test)]
mod tests;

pub use agent::{Outlet, probe};
pub use handout::hand_out;
pub use options::{FleetOptions, SeenFrom};
pub use watching::{Line, validate, watch};
