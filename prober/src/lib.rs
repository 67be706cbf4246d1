//! The TLS client with kernel timestamps.
//!
//! In: a [`Request`]. Out: a [`Report`]: every timing up to success or failure, from the program's own clock
//! and, where the kernel gives them, from the socket (`SO_TIMESTAMPING`, no privileges needed): when the
//! server's bytes reached the kernel although the thread read them later, when our own bytes left, and when
//! the peer's kernel acknowledged them.
#![forbid(unsafe_code)]

pub mod probe;
pub mod stamps;

pub use probe::{Report, Request, probe};
