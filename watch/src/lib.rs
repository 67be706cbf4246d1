//! Scheduled checks that never blame the edge for the prober's own stall.
//!
//! ```text
//!  check file ─► probing (one thread, open loop) ─ RawRound ─► engine (one thread) ─► store: rounds, states, incidents, outbox
//!               schedule, prober, reference                    blame, gate, states  ├► status, metrics
//!                                                                                   └ (store refuses) direct ┐
//!  web (one thread): server: page, /metrics, /probe     outbox: store ─► receivers (Alertmanager, webhook, PagerDuty) ◄┘
//! ```
//! With a fleet, agents probe and judge, and a controller takes the engine's part: [`fleet`]. Round by round, when asked: [`paced`].
//!
//! Pure, with time as an argument: [`schedule`], [`blame`], [`incidents`], [`page`], [`pattern`], [`target`]. States, incidents, outbox and receivers are
//! those of `alerting`. Everything that happened is in the store before anybody hears of it; a killed watcher takes up where it stopped.
#![forbid(unsafe_code)]

mod addresses;
pub mod at_terminal;
pub mod blackbox;
pub mod blame;
#[cfg(test)]
mod by_hand;
mod certificate;
pub mod checks;
pub mod clock;
pub mod engine;
pub mod error;
pub mod fleet;
pub mod incidents;
pub mod init;
mod journal;
mod judging;
mod listening;
pub mod metrics;
mod naming;
mod opened;
pub mod paced;
pub mod page;
pub mod pattern;
mod plans;
mod prepare;
pub mod probing;
mod reference;
mod rules;
pub mod schedule;
mod secrets;
mod series;
mod server;
mod settling;
pub mod status;
pub mod store;
pub mod target;
mod telemetry;
mod tls_cache;
mod trends;
mod watching;
pub mod words;

pub use error::WatchError;
pub use watching::{validate, watch};
