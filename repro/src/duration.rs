//! Lengths of time in scenario files: one grammar for all verbs, in [`settings::time`].

pub use settings::time::Time as Length;
