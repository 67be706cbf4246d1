//! What passes between the crates and lies in files, as data.
//!
//! In: what `analysis` read and judged. Out: records, which renderers show and readers get back from files. No I/O here, and nothing of
//! how it looks to people.
//!
//! | what | file | type |
//! |---|---|---|
//! | a run, before it began | `run.json` | [`run::Manifest`] |
//! | a client of a run | `events.ndjson` | [`run::ClientEnded`] |
//! | a handshake of a run | `handshakes.ndjson` | [`handshake::HandshakeRecord`] |
//! | a run, judged | `verdict.json` | [`run::RunRecord`] |
//! | a handshake found in captures | `explain --ndjson` | [`explained::ExplainedRecord`] |
//! | all that was found in captures | `explain --json` | [`explained::ExplainReport`] |
//! | a request found in what customers sent | `explain --ndjson` | [`imported::ImportedRecord`] |
//! | all that was found in that | `explain --json` | [`imported::ImportReport`] |
//! | two edges, compared | `compare --json`, baselines | [`compared::Compared`] |
//! | a verdict beside its packets | a comment of a pcapng | [`handshake::Judged`] |
//!
//! **Versions.** A record says its [`FORMAT`], or belongs to one that does. Within a version fields and words are only added, each with
//! a default for files that are older; what takes a word away or changes its meaning is a new version. [`read`] knows all of them.
//!
//! **Times.** Lengths of time (`Span`) are integers in nanoseconds, each measured on one clock; fields that end in `_ms` are milliseconds,
//! those in `_ns` nanoseconds. Points in time name their clock in their own words.
#![forbid(unsafe_code)]

pub mod compared;
pub mod explained;
pub mod handshake;
pub mod imported;
mod judgement;
pub mod lanes;
pub mod read;
pub mod run;

/// The version that is written. [`read`] knows this one and all before it.
pub const FORMAT: u32 = 1;
