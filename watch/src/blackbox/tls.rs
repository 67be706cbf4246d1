//! How a module speaks TLS: the section `tls_config`.

use std::path::PathBuf;

use prober::tls::{Only, TlsOptions};
use serde::Deserialize;

use super::modules::{Rest, filled, nullable};
use crate::error::Invalid;

#[derive(Clone, Default, Debug, Deserialize)]
#[serde(default)]
pub(super) struct Tls {
    #[serde(deserialize_with = "nullable")]
    pub(super) insecure_skip_verify: bool,
    #[serde(deserialize_with = "filled")]
    pub(super) ca_file: Option<PathBuf>,
    #[serde(deserialize_with = "filled")]
    pub(super) cert_file: Option<PathBuf>,
    #[serde(deserialize_with = "filled")]
    pub(super) key_file: Option<PathBuf>,
    #[serde(deserialize_with = "nullable")]
    pub(super) server_name: Option<String>,
    #[serde(deserialize_with = "nullable")]
    pub(super) min_version: Option<String>,
    #[serde(deserialize_with = "nullable")]
    pub(super) max_version: Option<String>,
    #[serde(flatten)]
    pub(super) rest: Rest,
}

impl Tls {
    /// Why it cannot be done here.
    pub(super) fn refused(&self) -> Option<String> {
        if self.cert_file.is_some() != self.key_file.is_some() {
            return Some("cert_file and key_file come together".into());
        }
        self.only().err().map(|why| why.to_string())
    }

    /// The version to offer alone, if any.
    pub(super) fn only(&self) -> Result<Option<Only>, Invalid> {
        let version = |text: &Option<String>| match text.as_deref() {
            None | Some("") => Ok(None),
            Some("TLS10") => Ok(Some(10)),
            Some("TLS11") => Ok(Some(11)),
            Some("TLS12") => Ok(Some(12)),
            Some("TLS13") => Ok(Some(13)),
            Some(other) => Err(Invalid(format!("{other:?} is no TLS version: TLS10 to TLS13"))),
        };
        match (version(&self.min_version)?, version(&self.max_version)?) {
            (least, Some(most)) if most < 12 || least > Some(most) => Err(Invalid(format!(
                "max_version = TLS{most}: only TLS 1.2 and 1.3 are spoken here, and none of them is admitted"
            ))),
            (_, Some(12)) => Ok(Some(Only::Tls12)),
            (Some(13), _) => Ok(Some(Only::Tls13)),
            _ => Ok(None),
        }
    }

    /// What is offered and demanded; of protocols, `alpn`.
    pub(super) fn options(&self, alpn: &[&str]) -> TlsOptions {
        TlsOptions {
            only: self.only().unwrap_or_default(), // a module with one that cannot be is refused
            ca: self.ca_file.clone(),
            insecure: self.insecure_skip_verify,
            certificate: self.cert_file.clone().zip(self.key_file.clone()),
            alpn: alpn.iter().map(ToString::to_string).collect(),
            ..TlsOptions::default()
        }
    }
}
