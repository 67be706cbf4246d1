//! Secrets: in a file or in the environment, never in the check file, never shown.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::de::{Error, IgnoredAny};
use serde::{Deserialize, Deserializer};

use crate::checks::{Auth, Header};

/// How a secret is written; said whatever else stands in its place, and never what does.
const HOW: &str = "a secret does not stand in this file: write { file = \"/path\" } or { env = \"NAME\" }";

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

/// Whatever may stand in the place of a secret.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    /// What should.
    Named(BTreeMap<String, String>),
    /// Anything else: nobody looks at it.
    Other(IgnoredAny),
}

impl Written {
    fn secret(self) -> Option<Secret> {
        let Written::Named(named) = self else { return None };
        let mut named = named.into_iter();
        let (key, value) = named.next().filter(|_| named.len() == 0)?;
        match key.as_str() {
            "file" => Some(Secret::File(value.into())),
            "env" => Some(Secret::Env(value)),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Written::deserialize(deserializer)?.secret().ok_or_else(|| D::Error::custom(HOW))
    }
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Plain(String),
            Secret(Written),
        }
        match Either::deserialize(deserializer)? {
            Either::Plain(value) => Ok(Header::Plain(value)),
            Either::Secret(written) => {
                let how = || D::Error::custom("a header's value is a string, { file = \"/path\" } or { env = \"NAME\" }");
                written.secret().map(Header::Secret).ok_or_else(how)
            }
        }
    }
}

impl<'de> Deserialize<'de> for Auth {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Tables {
            basic: Option<BasicTable>,
            bearer: Option<Secret>,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct BasicTable {
            user: String,
            password: Secret,
        }
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Tables(Tables),
            Other(IgnoredAny),
        }
        match Either::deserialize(deserializer)? {
            Either::Tables(Tables { basic: Some(BasicTable { user, password }), bearer: None }) => {
                Ok(Auth::Basic { user, password })
            }
            Either::Tables(Tables { basic: None, bearer: Some(token) }) => Ok(Auth::Bearer(token)),
            _ => Err(D::Error::custom(
                "auth is either bearer = { file = \"/path\" } or basic = { user = \"NAME\", password = { file = \"/path\" } }, and a \
                 secret may also be { env = \"NAME\" }",
            )),
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

#[cfg(test)]
mod tests {
    use crate::checks::CheckFile;

    const CHECK: &str = "[[check]]\nname = \"a\"\ntarget = \"https://a.test/\"\n";

    #[test]
    fn a_secret_that_stands_in_the_file_is_refused_and_not_shown() {
        let receiver = |rest: &str| format!("{CHECK}[[receiver]]\n{rest}\n");
        for (text, line) in [
            (receiver("kind = \"pagerduty\"\nrouting_key = \"hunter2\""), "line 4"),
            (receiver("kind = \"webhook\"\nurl = \"http://h/\"\ntoken = \"hunter2\""), "line 4"),
            (receiver("kind = \"webhook\"\nurl = \"http://h/\"\ntoken = { value = \"hunter2\" }"), "line 4"),
            (receiver("kind = \"webhook\"\nurl = \"http://h/\"\ntokn = \"hunter2\""), "line 4"),
            (receiver("kind = \"webhook\"\nurl = \"http://h/\"\ntoken = [\"hunter2\"]"), "line 4"),
            (format!("[watch]\nauth = \"hunter2\"\n{CHECK}"), "line 2"),
            (format!("[watch.auth]\nbearer = \"hunter2\"\n{CHECK}"), "line"),
            (format!("[watch.auth]\nbasic = {{ user = \"x\", password = \"hunter2\" }}\n{CHECK}"), "line"),
            (format!("{CHECK}headers = {{ Authorization = [\"hunter2\"] }}\n"), "line 4"),
            (format!("{CHECK}headers = {{ Authorization = {{ fil = \"hunter2\" }} }}\n"), "line 4"),
            (receiver("kind = \"webhook\"\nurl = \"http://h/\"\ntoken = \"hunter2"), "line"),
        ] {
            let error = CheckFile::parse(&text).expect_err(&text);
            assert!(error.starts_with(line) && !error.contains("hunter2"), "{text}\n{error}");
        }
        let good = format!(
            "[watch.auth]\nbasic = {{ user = \"x\", password = {{ env = \"P\" }} }}\n{CHECK}headers = {{ A = \"b\", C = {{ file = \"/d\" }} }}\n"
        );
        let file = CheckFile::parse(&good).expect("it is valid");
        assert!(format!("{file:?}").contains("a secret in $P") && format!("{file:?}").contains("a secret in /d"));
    }
}
