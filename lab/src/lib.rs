//! The embedded lab: hosts in network namespaces on this machine, joined by a programmable wire.
//!
//! ```text
//!  host "t2-medium"          wire namespace            host "edge"
//!  eth0 ── veth ──────────── p0 ─┐      ┌─ p1 ───────── veth ── eth0
//!                                └ wire ┘     (delay, loss, rate, MTU, protocol-aware faults)
//! ```
//!
//! In: which hosts, which paths, which faults. Out: namespaces to run programs in, and [`truth`]: what was
//! injected, from the injector's own log. Namespaces are anonymous (they live as long as a process or a
//! descriptor holds them), so that nothing but cgroups and a scratch folder can outlive a killed run; [`clean`] removes those.
//!
//! It shares packet *formats* and types of time with the analysis, and with the prober how a client speaks TLS; it asks neither anything.

pub mod certs;
pub mod clean;
mod clock;
pub mod cpu;
pub mod dns;
pub mod edge;
pub mod error;
pub mod exec;
pub mod host;
pub mod netns;
pub mod nginx;
pub mod rootless;
pub mod sample;
pub mod scratch;
pub mod storm;
mod sys;
pub mod truth;
pub mod warm;
pub mod wire;

pub use error::Error;
pub use sys::without_plugins_for_names;
