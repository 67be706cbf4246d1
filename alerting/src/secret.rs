//! Secrets: in a file or in the environment, never in a configuration, never shown.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::de::{Error, IgnoredAny};
use serde::{Deserialize, Deserializer};

/// How a secret is named; said whatever was written instead, and never what was.
const HOW: &str = "a secret is never written in this file: write { file = \"/path\" } or { env = \"NAME\" }";

/// Where a secret is kept.
#[derive(Clone, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "snake_case", deny_unknown_fields)]
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

/// What was written where a secret is named: one, or anything else, at which nobody looks.
pub struct Written(Option<Secret>);

impl Written {
    /// The secret that it names, if it names one.
    pub fn secret(self) -> Option<Secret> {
        self.0
    }
}

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Named(BTreeMap<String, String>),
            Other(IgnoredAny),
        }
        let named = match Either::deserialize(deserializer)? {
            Either::Named(named) if named.len() == 1 => named,
            Either::Named(_) | Either::Other(IgnoredAny) => return Ok(Self(None)),
        };
        Ok(Self(named.into_iter().next().and_then(|(key, value)| match key.as_str() {
            "file" => Some(Secret::File(value.into())),
            "env" => Some(Secret::Env(value)),
            _ => None,
        })))
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Written::deserialize(deserializer)?.secret().ok_or_else(|| D::Error::custom(HOW))
    }
}

impl Secret {
    /// Reads it.
    ///
    /// # Errors
    /// Says where it should have been.
    pub fn read(&self) -> Result<String, SecretError> {
        match self {
            Secret::File(path) => match std::fs::read_to_string(path) {
                Ok(text) => Ok(text.trim().to_owned()),
                Err(source) => Err(SecretError::File { path: path.clone(), source }),
            },
            Secret::Env(name) => std::env::var(name).map_err(|_| SecretError::Env(name.clone())),
        }
    }
}

/// A text that may be as it is, or a secret: a header's value, an address that only who knows it may post to.
#[derive(Clone, PartialEq, Eq, JsonSchema, Debug)]
#[schemars(untagged)]
pub enum PlainOrSecret {
    /// As it is.
    Plain(String),
    /// In a file or in the environment.
    Secret(Secret),
}

impl PlainOrSecret {
    /// The text.
    ///
    /// # Errors
    /// If it is a secret that is not there.
    pub fn read(&self) -> Result<String, SecretError> {
        match self {
            PlainOrSecret::Plain(text) => Ok(text.clone()),
            PlainOrSecret::Secret(secret) => secret.read(),
        }
    }
}

impl From<&str> for PlainOrSecret {
    fn from(text: &str) -> Self {
        PlainOrSecret::Plain(text.to_owned())
    }
}

impl<'de> Deserialize<'de> for PlainOrSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Plain(String),
            Secret(Written),
        }
        let secret = match Either::deserialize(deserializer)? {
            Either::Plain(text) => return Ok(PlainOrSecret::Plain(text)),
            Either::Secret(written) => written.secret().map(PlainOrSecret::Secret),
        };
        secret.ok_or_else(|| D::Error::custom("this is a string, { file = \"/path\" } or { env = \"NAME\" }"))
    }
}

/// Whoever wrote the configuration named a secret that is not there.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The variable is not set, or no text.
    #[error("the environment variable {0} is not set")]
    Env(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize, Debug)]
    struct File {
        key: Secret,
    }

    #[test]
    fn only_the_name_of_a_secret_is_taken_and_shown() {
        for text in ["\"hunter2\"", "{ value = \"hunter2\" }", "[\"hunter2\"]", "{ file = \"hunter2\", env = \"hunter2\" }", "{}"]
        {
            let error = toml::from_str::<File>(&format!("key = {text}")).expect_err(text).to_string();
            assert!(error.contains("a secret is never written in this file"), "{error}");
            assert!(!error.lines().last().expect("words").contains("hunter2"), "{error}");
        }
        let file: File = toml::from_str("key = { env = \"PATH\" }").expect("it names one");
        assert_eq!(format!("{:?}", file.key), "a secret in $PATH");
    }

    #[test]
    fn a_secret_is_read_without_the_white_space_around_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("key");
        std::fs::write(&path, "k3y\n").expect("it is writable");
        assert_eq!(Secret::File(path).read().expect("it is there"), "k3y");
        let missing = Secret::File("/no/such/key".into()).read().expect_err("it is not there").to_string();
        assert!(missing.starts_with("/no/such/key: "), "{missing}");
    }
}
