//! The always-on recorder at an edge.
#![forbid(unsafe_code)]

pub mod admission;
pub mod detector;
pub mod dossier;
pub mod logline;
pub mod memory;
pub mod shelf;
pub mod trigger;
