//! The always-on recorder at an edge: handshake packets into memory, slow handshakes onto disk, culprits into alerts.
//!
//! ```text
//!  capture::tap ─ packets ─► desk (main thread): memory, screen, detector ─ slow? ─► trigger ─► admission ─► dossier ─► shelf (thread) ─► disk
//!  capture::sockets ─ reads and writes of the server's threads ─► kernel_view ──────────────────────┘
//!  sources (a thread each): journal, files, syslog ─ trigger ───────────────┘              ▲ flow's packets
//!  control (threads): dump, trigger, status                              memory ───────────┘
//!  desk ─ tally ─► office: alarm ─► store ─► outbox (web thread, shared with `watch`) ─► receivers;   web: page, /metrics
//! ```
//! Pure, with time as an argument: [`memory`], [`kernel_view`], [`screen`], [`detector`], [`dossier`], [`logline`], [`admission`], [`tally`], [`alarm`], [`slow`].
#![forbid(unsafe_code)]

pub mod admission;
pub mod alarm;
pub mod config;
pub mod control;
pub mod desk;
pub mod detector;
pub mod dossier;
pub mod kernel_view;
pub mod logline;
pub mod memory;
pub mod metrics;
pub mod names;
mod office;
pub mod origins;
pub mod privileges;
mod recording;
pub mod screen;
pub mod shelf;
pub mod slow;
pub mod sources;
pub mod tally;
pub mod trigger;
pub mod view;

pub use recording::{Begun, record};
