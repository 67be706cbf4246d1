//! Failures of the recording itself.

use std::fmt::Display;

/// What failed, and why.
#[derive(Clone, Debug)]
pub struct Failed(pub String);

impl Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failed {}

impl From<lab::Error> for Failed {
    fn from(error: lab::Error) -> Self {
        Failed(error.to_string())
    }
}

/// Says what was tried.
pub trait Why<T> {
    /// The value, or what failed.
    ///
    /// # Errors
    /// The original one, in words.
    fn why(self, what: impl Into<String>) -> Result<T, Failed>;
}

impl<T, E: Display> Why<T> for Result<T, E> {
    fn why(self, what: impl Into<String>) -> Result<T, Failed> {
        self.map_err(|e| Failed(format!("{}: {e}", what.into())))
    }
}
