//! The TLS client with kernel timestamps.
//!
//! In: a [`Target`] and a [`Lookup`]. Out: a [`Report`]: every timing up to success or failure, from the program's own clock
//! and, where the kernel gives them, from the socket (`SO_TIMESTAMPING`, no privileges needed): when the
//! server's bytes reached the kernel although the thread read them later, when our own bytes left, when
//! the peer's kernel acknowledged them, and what the scheduler did with the thread meanwhile. Its
//! [`Report::trace`] is what `analysis::conversation::socket` divides among owners.
//!
//! ```text
//! lookup ─► connect (RFC 8305) ─► wire + tls ─► http     each stage adds to the report; a failure ends it with a reason
//! ```
//! Everything is asynchronous and meant for one thread: `watch` runs thousands at once; [`probe_now`] runs one.
#![deny(unsafe_code)]

mod chain;
mod client;
mod clock;
mod connect;
pub mod echo;
pub mod host;
pub mod http;
mod lab;
pub mod lookup;
mod noted;
pub mod ocsp;
mod offer;
pub mod reason;
pub mod report;
pub mod route;
pub mod stamps;
mod stream;
pub mod tcp_info;
pub mod tls;
mod wire;

pub use client::{Target, probe, probe_now};
pub use http::HttpRequest;
pub use lab::{BeforeTls, NoSpeaker, Pauses, Speaker};
pub use lookup::{Family, Lookup};
pub use reason::Reason;
pub use report::Report;
pub use route::{Proxy, Route};
