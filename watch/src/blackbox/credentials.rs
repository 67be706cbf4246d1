//! Whom a module says to be: `basic_auth`, `authorization`, bearer tokens.

use std::path::PathBuf;

use alerting::secret::{Secret, SecretError};
use base64::Engine;
use serde::Deserialize;

use super::http::Http;
use super::modules::Rest;

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Basic {
    pub(super) username: String,
    pub(super) username_file: Option<PathBuf>,
    pub(super) password: Option<String>,
    pub(super) password_file: Option<PathBuf>,
    #[serde(flatten)]
    pub(super) rest: Rest,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Authorization {
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) credentials: Option<String>,
    pub(super) credentials_file: Option<PathBuf>,
    #[serde(flatten)]
    pub(super) rest: Rest,
}

/// The header that the module's credentials make.
///
/// # Errors
/// If a file that has one cannot be read.
pub(super) fn authorization(module: &Http) -> Result<Option<(String, String)>, SecretError> {
    let either = |plain: &Option<String>, path: &Option<PathBuf>| match path {
        Some(path) => Secret::File(path.clone()).read().map(Some),
        None => Ok(plain.clone()),
    };
    let value = if let Some(basic) = &module.basic_auth {
        let password = either(&basic.password, &basic.password_file)?.unwrap_or_default();
        let name = either(&Some(basic.username.clone()), &basic.username_file)?.unwrap_or_default();
        Some(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}"))))
    } else if let Some(given) = &module.authorization {
        let credentials = either(&given.credentials, &given.credentials_file)?;
        credentials.map(|c| format!("{} {c}", given.kind.as_deref().unwrap_or("Bearer")))
    } else {
        either(&module.bearer_token, &module.bearer_token_file)?.map(|token| format!("Bearer {token}"))
    };
    Ok(value.map(|v| ("Authorization".to_owned(), v)))
}
