//! The command line as data: what the binary takes, and what its manual pages and completions are made of.
#![forbid(unsafe_code)]

pub mod args;
pub mod logging;
