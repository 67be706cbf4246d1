//! Times as people write them in files: one grammar for all verbs, in [`settings::time`].

pub use settings::time::{Time, parse};
