//! What the suites share: the binary and its children, servers on loopback that fail as told, checks with words. The suites themselves are in
//! `tests/`, and run where they are asked for: `cargo test -p whostalled-e2e --features run --test NAME`.
//!
//! What goes wrong here is the test's: everything panics rather than to give errors.
#![forbid(unsafe_code)]

pub mod broker;
pub mod certificates;
pub mod checks;
pub mod debian;
pub mod disk;
pub mod edge;
pub mod http;
pub mod ports;
pub mod process;
pub mod receiver;
pub mod servers;
pub mod ssh;
pub mod verdicts;
pub mod waiting;

use std::sync::LazyLock;

use tokio::runtime::{Builder, Runtime};

/// Where our servers and clients run.
pub static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime"));
