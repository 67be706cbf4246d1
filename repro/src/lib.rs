//! The scenario runner: scenario in, run folder out.
//!
//! ```text
//! scenario.toml ─► Scenario ─► Stage (hosts, edges, captures) ─► batches: launch, collect, join ─► Judged ─► run folder
//! ```
//!
//! It calls the lab for hosts, `capture` for packets and `analysis` for verdicts; none of them knows of it. The page is rendered by
//! whoever calls.
#![forbid(unsafe_code)]

pub mod accuracy;
mod batch;
mod client;
pub mod duration;
mod error;
pub mod fault;
mod folder;
mod judge;
pub mod limits;
mod ready;
pub mod run;
pub mod scenario;
mod stage;
pub mod stand;

pub use error::Error;
pub use ready::ready;
pub use run::{Outcome, RunOptions, run};
pub use scenario::Scenario;
