//! From bad rounds to alerts, and to whoever is to hear of them.
//!
//! In: what a round says of a check ([`states::Blame`]). Out: messages to receivers, each delivered at least once and in order.
//!
//! ```text
//!  Blame ─► states: k of n, hysteresis ─ Transition ─► Event ─┬─► store: states, incidents, outbox (one transaction)
//!                                                             └─► status: what is on now
//!  outbox: store ─► receiver (what is sent, how its answer is read) ─► sending (HTTP) ─► Alertmanager, webhook, PagerDuty
//! ```
//! Pure, with time as an argument: [`states`], [`event`], [`culprit`], [`receiver`], [`incident`], [`pattern`]. `watch` and `recorder` alert by it alike.
#![forbid(unsafe_code)]

pub mod clock;
pub mod culprit;
pub mod event;
pub mod family;
pub mod incident;
pub mod metrics;
pub mod outbox;
pub mod pattern;
mod queue;
pub mod receiver;
pub mod secret;
pub mod sending;
pub mod states;
pub mod status;
pub mod store;
pub mod unreadable;

pub use culprit::Culprit;
pub use event::Event;
pub use family::{Family, Severity};
pub use incident::Incident;
pub use pattern::{Pattern, PatternKind};
pub use receiver::Receiver;
pub use sending::Client;
pub use store::{Store, sqlite_version};
