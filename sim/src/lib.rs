//! TLS handshakes on a virtual clock: TCP and TLS peers, a path, hosts, faults. No sockets, no real time.
//!
//! ```text
//! cases: case × severity × version × habits × seed ─► Plan ─► World (events in order of virtual time) ─► Trial
//!          83 rows of the fault matrix               knobs     tcp ─ path ─ tcp, tls scripts, hosts      both ends' captures,
//!                                                                                                        host samples, truth
//! ```
//! In: a [`cases::Setup`] and a seed. Out: a [`Trial`]: the frames that a capture at each end would hold, what each host's
//! scheduler would say, and what was injected. The same seed gives the same bytes. This crate depends on nothing that judges:
//! it writes packets by the RFCs and never reads one.
//!
//! What it leaves out: congestion beyond the first flights, urgent data, simultaneous open, middleboxes that rewrite what a stream says.
#![forbid(unsafe_code)]

pub mod beside;
pub mod cases;
pub mod frame;
pub mod habit;
pub mod host;
pub mod lookup;
pub mod path;
pub mod plaintext;
pub mod plan;
pub mod tap;
pub mod tcp;
pub mod tls;
pub mod traffic;
pub mod trial;
mod wiring;
pub mod world;

pub use trial::Trial;
pub use wiring::ports;

/// A millisecond of virtual time, in nanoseconds.
pub const MS: i64 = 1_000_000;
