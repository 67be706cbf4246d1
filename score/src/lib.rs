//! Trials of which the truth is known, judged as any capture is: how often is the verdict right?
//!
//! ```text
//! sim::cases::Setup ─► sim::Trial ─► capture files (and host samples) ─► explain ─► verdict ─┐
//!          └──────────────────────► expect: what may be said of it ──────────────────────────┴─► Score ─► table
//! ```
#![forbid(unsafe_code)]

pub mod captured;
pub mod expect;
pub mod judge;
pub mod known;
pub mod table;
