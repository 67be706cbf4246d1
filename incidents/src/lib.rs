//! Incidents in the lab: a fault comes and goes, scheduled checks run from every vantage; was it caught, named right, and how fast?
//!
//! ```text
//! incident.toml ─► Incident ─┬─ repro: the lab stands, with the faults of this round
//!                            └─ watcher, a process at each vantage: watch::paced ─ alerts after each round ─► Course ─► judge ─► table, diagram
//! ```
//! What is said of an incident comes from `watch` alone. Of the lab, the judge knows which round a fault began and ended with.
#![forbid(unsafe_code)]

pub mod course;
pub mod diagram;
mod error;
pub mod file;
pub mod judge;
pub mod run;
pub mod table;
pub mod watcher;

pub use error::Error;
pub use file::Incident;
pub use judge::Outcome;
