//! The pure core of whostalled: packets in, verdicts out.
//!
//! ```text
//! bytes ─ packet ─► flow::View<Domain> ─┐             ┌─ both_ends ─┐
//!                   (one observer)      ├─ Handshake ─┤             ├─► Ledger ─► Verdict ─► CellVerdict ─► RunVerdict
//! tls: offsets of each message ─────────┘             └─ edge_only ─┘
//! host: what the kernel says of the threads ──────────────┘
//! ```
//!
//! Nothing here reads a clock, a file or a socket: the manifest and `clippy.toml` say so. Every
//! packet's time is tied to the clock that stamped it ([`clock`]), so that subtracting the times
//! of two machines does not compile.
#![forbid(unsafe_code)]

pub mod ack_wait;
mod addresses;
pub mod both_ends;
pub mod claims;
pub mod client_only;
pub mod clock;
mod copies;
mod covered;
pub mod dns;
pub mod doubt;
pub mod edge_only;
mod ends;
mod far_side;
pub mod flow;
pub mod fragments;
pub mod handshake;
pub mod host;
pub mod icmp;
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
mod window;
mod wlan;
