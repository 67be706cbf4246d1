//! Packets in: live capture through libpcap into a fixed-size ring. Evidence out: pcapng.
//!
//! In: an interface of the calling thread's network namespace. Out: [`Captured`] frames, drop counters, and
//! files that stock Wireshark opens. This crate knows nothing of verdicts.
#![forbid(unsafe_code)]

pub mod evidence;
pub mod file;
#[cfg(kernel_filter)]
pub mod kernel;
pub mod limits;
pub mod live;
pub mod ring;
pub mod seen;
pub mod set;
mod source;

pub use ring::Captured;
