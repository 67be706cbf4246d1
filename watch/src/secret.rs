//! Secrets: in a file or in the environment, never in the check file, never shown.

use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

/// Where a secret is kept.
#[derive(Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Secret {
    /// In a file; white space around it is dropped.
    File(PathBuf),
    /// In an environment variable.
    Env(String),
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Secret::File(path) => write!(f, "a secret in {}", path.display()),
            Secret::Env(name) => write!(f, "a secret in ${name}"),
        }
    }
}

impl Secret {
    /// Reads it.
    ///
    /// # Errors
    /// Says where it should have been.
    pub fn read(&self) -> Result<String, String> {
        match self {
            Secret::File(path) => {
                std::fs::read_to_string(path).map(|s| s.trim().to_owned()).map_err(|e| format!("{}: {e}", path.display()))
            }
            Secret::Env(name) => std::env::var(name).map_err(|_| format!("the environment variable {name} is not set")),
        }
    }
}
