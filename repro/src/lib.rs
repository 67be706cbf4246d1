//! The scenario runner: scenario in, run folder out.
//!
//! ```text
//! scenario.toml ─► Scenario ─► Conditions ─► Provider ─► Vantage, Edge ─► batches: plans, bundles, join ─► Judged ─► run folder
//!                  └ faults ─┘              (the lab; this host, others over ssh or in a fleet)
//! ```
//!
//! The controller (`run`, `batch`, `judge`, `folder`) speaks to vantages in the messages of `agent` and knows nothing of where they are.
//! It calls `capture` for packets and `analysis` for verdicts; none of them knows of it. The page is rendered by whoever calls.
#![forbid(unsafe_code)]

pub mod accuracy;
mod batch;
pub mod conditions;
pub mod duration;
mod ends;
mod error;
mod failures;
pub mod faults;
mod folder;
mod gathered;
mod judge;
pub mod lab_run;
pub mod limits;
pub mod live_lab;
mod manifest;
pub mod one_end;
pub mod places;
mod ready;
pub mod reported;
pub mod run;
pub mod scenario;
pub mod seen;
pub mod sketch;
pub mod targets;
pub mod vantages;

/// The client of a scenario, as its vantages are told.
pub mod client {
    pub use agent::{ClientKind, ClientSpec, TlsVersion};
}

pub use error::Error;
pub use ready::ready;
pub use run::{Outcome, RunOptions, run};
pub use scenario::Scenario;
