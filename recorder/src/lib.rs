//! The always-on recorder at an edge: handshake packets into memory, slow handshakes onto disk, culprits into alerts.
//!
//! ```text
//!  capture::tap ─ packets ─► engine (main thread): memory, screen, detector ─ slow? ─► trigger ─► admission ─► flow_report ─► evidence_store (thread) ─► disk
//!  capture::sockets ─ reads and writes of the server's threads ─► kernel_view ────────────────────────┘
//!  sources (a thread each): journal, files, syslog ─ trigger ─────────────────┘              ▲ flow's packets
//!  control (threads): dump, trigger, status                                memory ───────────┘
//!  engine ─ tally ─► alerter: alarm ─► store ─► outbox (web thread, shared with `watch`) ─► receivers;   web: page, /metrics
//! ```
//! Pure, with time as an argument: [`memory`], [`kernel_view`], [`copies`], [`screen`], [`detector`], [`flow_report`], [`admission`], [`tally`], [`alarm`], [`slow`].
#![forbid(unsafe_code)]

pub mod admission;
pub mod alarm;
mod alerter;
pub mod config;
pub mod control;
pub mod copies;
pub mod detector;
pub mod engine;
pub mod error;
pub mod evidence_store;
pub mod flow_report;
pub mod init;
pub mod kernel_view;
pub mod memory;
pub mod metrics;
pub mod names;
pub mod origins;
pub mod privileges;
mod recording;
mod rules;
pub mod screen;
pub mod slow;
pub mod sources;
pub mod tally;
mod telemetry;
pub mod trigger;
pub mod view;

pub use capture::{HAS_KERNEL_FILTER, libpcap_version};
pub use error::Error;
pub use recording::{Begun, record, validate};
