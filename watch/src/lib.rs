//! Scheduled checks that never blame the edge for the prober's own stall.
//!
//! ```text
//!  check file ─► probing (one thread, open loop) ─ RawRound ─► desk (one thread) ─► store: rounds, states, incidents, outbox
//!               schedule, prober, reference                    blame, gate, states  ├► board, metrics
//!                                                                                   └ (store refuses) direct ┐
//!  web (one thread): server: page, /metrics, /probe     outbox: store ─► receivers (Alertmanager, webhook, PagerDuty) ◄┘
//! ```
//! Pure, with time as an argument: [`schedule`], [`blame`], [`states`], [`receivers`], [`incidents`], [`page`]. Everything that happened
//! is in the store before anybody hears of it; a killed watcher takes up where it stopped.
#![forbid(unsafe_code)]

pub mod blackbox;
pub mod blame;
pub mod board;
mod certificate;
pub mod checks;
mod conversation;
pub mod desk;
pub mod duration;
pub mod event;
pub mod exposition;
pub mod incidents;
mod jobs;
pub mod metrics;
mod naming;
pub mod outbox;
pub mod page;
mod plans;
pub mod probing;
pub mod receivers;
mod reference;
pub mod schedule;
pub mod secret;
pub mod sending;
mod server;
pub mod states;
pub mod store;
mod tls_cache;
mod trends;
mod watching;

pub use sending::Client;
pub use watching::{validate, watch};
