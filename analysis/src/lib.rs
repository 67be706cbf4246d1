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

pub mod claims;
pub mod clock;
pub mod conversation;
pub mod dns;
pub mod doubt;
pub mod judging;
pub mod key;
pub mod tcp;
pub mod tls;
pub mod wire;
