//! The pure core of whostalled: packets in, verdicts out.
//!
//! ```text
//! bytes ─ packet ─► flow::View<Domain> ─ doubt ─┐              ┌─ goal, follow, limits ─┐
//!                   (one observer)              ├─ Handshake ─► walk: two tapes ─ arcs ─┴─► Ledger ─► Verdict ─► RunVerdict
//! tls: offsets of each message ─────────────────┘              └─ far: one end of the other     ▲
//! host: what the kernel says of the threads ────────────────────────────────────────────────────┘
//! ```
//!
//! Nothing here reads a clock, a file or a socket: the manifest and `clippy.toml` say so. Every
//! packet's time is tied to the clock that stamped it ([`clock`]), so that subtracting the times
//! of two machines does not compile.
#![forbid(unsafe_code)]

mod addresses;
pub mod claims;
pub mod clock;
mod copies;
mod covered;
pub mod dns;
pub mod doubt;
mod ends;
pub mod flow;
pub mod fragments;
pub mod handshake;
pub mod host;
pub mod icmp;
mod identification;
pub mod ledger;
pub mod link;
pub mod milestone;
mod nflog;
pub mod offset;
pub mod packet;
mod pktap;
mod reset;
pub mod run;
mod seen;
pub mod sentence;
pub mod settle;
pub mod siblings;
pub mod socket;
mod stamps;
pub mod standpoint;
pub mod stats;
pub mod table;
pub mod tls;
mod tunnel;
mod turns;
mod unread;
pub mod verdict;
pub mod walk;
mod wlan;
