//! What a controller and a vantage say to each other.
//!
//! ```text
//! vantage                          controller
//!    │ ── Hello ──────────────────────► │   who, which version, what this host permits, its clock
//!    │ ◄───────────────────────── Plan ─┤   which clients, against whom
//!    │ ── Ready ──────────────────────► │   they stand at the barrier
//!    │ ◄─────────────────────────── Go ─┤
//!    │ ── Bundle ─────────────────────► │   what they said, what was captured and sampled, what was lost
//! ```
//!
//! Over a pipe or a broker they travel as [`Ask`] and [`Answer`]. In and out: data. No I/O here, so that the same messages serve a vantage in this process and one behind a pipe or a broker.
//! Nothing in a [`Bundle`] is a path or a process of the controller's own host: what was measured travels as bytes and numbers.
#![forbid(unsafe_code)]

mod bundle;
mod client;
mod hello;
mod message;
mod plan;
mod watching;

pub use bundle::{Bundle, ClientEnd, LogLine, Losses, Pcapng, Sampled, Trace};
pub use client::{ClientKind, ClientSpec, MOST_CLIENTS, TlsVersion};
pub use hello::{Clock, ClockError, Hello, Permits, Spin, UnknownVersion, VERSION};
pub use message::{Answer, Ask};
pub use plan::{
    BeforeTls, Clients, Destination, Family, Go, Load, MOST_EXCHANGES, Pause, PauseBefore, Plan, Ready, Speaker, Stops,
};
pub use watching::{BatchId, Delivered, Handout, RoundBatch, Stored, Wellbeing};
