//! What whostalled and a provider of vantages in somebody's cloud say to each other: one request in, lines out.
//!
//! ```text
//! whostalled ── Request, one JSON object ──► stdin of whostalled-vantage-NAME
//!            ◄── Line, one JSON object a line ── its stdout: progress, price, vantages, …, done or failed
//! ```
//!
//! A provider is a program of its own, so that a cloud's SDK is no part of this one, and anybody can write one (docs/providers.md). What a
//! provider is told is in [`Request`]; what of it is the provider's own is in `settings`, which nobody else reads. No I/O here.
#![forbid(unsafe_code)]

mod answer;
mod cap;
mod request;

pub use answer::{Fault, Final, Heard, Line, NoLine, Reach, Vantage, Wrong, hear};
pub use cap::{Beyond, Caps};
pub use request::{Ask, Join, NoName, Order, Request, Settings, Wanted, fresh, program};

/// Version of the messages. A field that an older reader may ignore does not change it.
pub const VERSION: u32 = 1;
