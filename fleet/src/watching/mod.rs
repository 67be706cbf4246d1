//! A watch over many vantages: checks go out to agents, rounds come in, and an agent keeps them until a controller's store has them.
//!
//! ```text
//!  agent (Reports)                        NATS                        controller (receive)
//!    │ ◄───────────────────────────── whostalled.checks ──────────────────┤  which checks; every 30 s, and when they change
//!    │ ── whostalled.agent.NAME.fetch ──────────────────────────────────► │  give me those
//!    │ ◄──────────────────────────── whostalled.agent.NAME.checks ────────┤  in parts
//!    │ ── whostalled.agent.NAME.rounds ─────────────────────────────────► │  a batch, repeated until it is stored; or a sign of life
//!    │ ◄──────────────────────────── whostalled.agent.NAME.stored ────────┤  all up to this one
//! ```
//!
//! In: checks and rounds as bytes, whose content is `watch`'s. Out: the same at the other end. Batches are numbered and taken in their
//! order; one that comes twice does no harm.

mod following;
mod message;
mod receiving;
mod reporting;
mod reports;

pub use receiving::{Receiving, receive};
pub use reporting::attend;
pub(crate) use reporting::report;
pub use reports::Reports;
