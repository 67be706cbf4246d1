//! Whom a module says to be: `basic_auth`, `authorization`, bearer tokens.

use std::path::{Path, PathBuf};

use alerting::secret::{Secret, SecretError};
use base64::Engine;
use serde::Deserialize;

use super::http::Http;
use super::modules::{Rest, filled};
use crate::error::Invalid;

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Basic {
    username: Option<String>,
    #[serde(deserialize_with = "filled")]
    username_file: Option<PathBuf>,
    password: Option<String>,
    #[serde(deserialize_with = "filled")]
    password_file: Option<PathBuf>,
    #[serde(flatten)]
    pub(super) rest: Rest,
}

impl Basic {
    pub(super) fn check(&self) -> Result<(), Invalid> {
        one_of("username", &self.username, &self.username_file)?;
        one_of("password", &self.password, &self.password_file)
    }
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Authorization {
    #[serde(rename = "type")]
    kind: Option<String>,
    credentials: Option<String>,
    #[serde(deserialize_with = "filled")]
    credentials_file: Option<PathBuf>,
    #[serde(flatten)]
    pub(super) rest: Rest,
}

impl Authorization {
    pub(super) fn check(&self) -> Result<(), Invalid> {
        if self.kind.as_deref().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("basic")) {
            return Err(Invalid("authorization: write basic_auth for the type basic".into()));
        }
        one_of("credentials", &self.credentials, &self.credentials_file)
    }
}

fn one_of(name: &str, plain: &Option<String>, file: &Option<PathBuf>) -> Result<(), Invalid> {
    match plain.as_ref().is_some_and(|plain| !plain.is_empty()) && file.is_some() {
        true => Err(Invalid(format!("at most one of {name} and {name}_file"))),
        false => Ok(()),
    }
}

/// What a file holds.
pub(super) fn of_file(path: &Path) -> Result<String, SecretError> {
    Secret::File(path.to_owned()).read()
}

/// The header that the module's credentials make.
///
/// # Errors
/// If a file that has one cannot be read.
pub(super) fn authorization(module: &Http) -> Result<Option<(String, String)>, SecretError> {
    let either = |plain: &Option<String>, path: &Option<PathBuf>| match path {
        Some(path) => of_file(path).map(Some),
        None => Ok(plain.clone()),
    };
    let value = if let Some(basic) = &module.basic_auth {
        let password = either(&basic.password, &basic.password_file)?.unwrap_or_default();
        let name = either(&basic.username, &basic.username_file)?.unwrap_or_default();
        Some(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}"))))
    } else if let Some(given) = &module.authorization {
        let credentials = either(&given.credentials, &given.credentials_file)?;
        let kind = given.kind.as_deref().map(str::trim).filter(|kind| !kind.is_empty()).unwrap_or("Bearer");
        credentials.map(|c| format!("{kind} {c}"))
    } else {
        let token = either(&module.bearer_token, &module.bearer_token_file)?.filter(|token| !token.is_empty());
        token.map(|token| format!("Bearer {token}"))
    };
    Ok(value.map(|v| ("Authorization".to_owned(), v)))
}
