//! What our own benchmarks measured, commit after commit.
//!
//! In: instructions (as `cargo xtask instructions` counts them) and what criterion leaves under `target/criterion`. Out: lines of a file that git
//! keeps ([`history`]), the changes in them ([`changes`]), and a page ([`page`]). The benchmarks themselves are in `benches/benches`; `cargo
//! xtask history` runs them, adds a line and writes the page.
#![forbid(unsafe_code)]

pub mod changes;
pub mod history;
pub mod page;
