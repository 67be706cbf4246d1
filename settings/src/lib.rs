//! What people write in files, for all verbs alike.
//!
//! Pure. Lengths of time ([`time`]), names that may be shown anywhere ([`words`]), and where in a TOML file something is wrong
//! ([`place`]).
#![forbid(unsafe_code)]

pub mod place;
pub mod time;
pub mod words;

pub use place::Wrong;
pub use time::Time;
