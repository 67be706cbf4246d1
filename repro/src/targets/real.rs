//! A real target: `https://host[:port][/path]`, as people write it.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use url::Url;

/// Where an https URL leads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RealTarget(Url);

impl RealTarget {
    /// The name to look up, ask for and verify; an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default().trim_matches(['[', ']'])
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.0.port().unwrap_or(443)
    }

    /// Path and query.
    pub fn path(&self) -> String {
        self.0.query().map_or_else(|| self.0.path().to_owned(), |query| format!("{}?{query}", self.0.path()))
    }

    /// A name for it within a run: its host, with the port where that is unusual.
    pub fn name(&self) -> String {
        let host: String = self.host().trim_start_matches(':').replace(':', "-");
        self.0.port().map_or_else(|| host.clone(), |port| format!("{host}-{port}"))
    }
}

/// What is no target.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoTarget {
    /// It is no URL.
    #[error("{text:?} is no URL ({what}): write https://host/")]
    Url {
        /// What was written.
        text: String,
        /// Why it is none.
        what: String,
    },
    /// Another protocol.
    #[error("{0:?}: only https:// has a TLS handshake to look at")]
    Scheme(String),
    /// A name and a password.
    #[error("{0:?} has credentials in it, which would end in reports and files: leave them out")]
    Credentials(String),
}

impl FromStr for RealTarget {
    type Err = NoTarget;

    fn from_str(text: &str) -> Result<Self, NoTarget> {
        let url = Url::parse(text).map_err(|e| NoTarget::Url { text: text.to_owned(), what: e.to_string() })?;
        if url.scheme() != "https" {
            return Err(NoTarget::Scheme(text.to_owned()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(NoTarget::Credentials(format!(
                "https://…@{}",
                &url[url::Position::BeforeHost..url::Position::AfterPath]
            )));
        }
        Ok(Self(url))
    }
}

impl fmt::Display for RealTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for RealTarget {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RealTarget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for RealTarget {
    fn schema_name() -> Cow<'static, str> {
        "RealTarget".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "uri", "pattern": "^https://" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> RealTarget {
        text.parse().expect("it is a target")
    }

    #[test]
    fn a_url_is_taken_apart() {
        let target = target("https://Login.example.com:8443/health?deep=1");
        assert_eq!((target.host(), target.port(), target.path().as_str()), ("login.example.com", 8443, "/health?deep=1"));
        assert_eq!(target.name(), "login.example.com-8443");
    }

    #[test]
    fn addresses_are_targets_too() {
        let v6 = target("https://[2001:db8::7]/");
        assert_eq!((v6.host(), v6.port(), v6.name().as_str()), ("2001:db8::7", 443, "2001-db8--7"));
        assert_eq!(target("https://127.0.0.1:8443").path(), "/");
    }

    #[test]
    fn what_is_none_is_refused_in_words() {
        let no = |text: &str| text.parse::<RealTarget>().expect_err("it is none").to_string();
        assert!(no("http://example.com/").contains("https"));
        assert!(no("example.com").contains("https://host/"));
        let said = no("https://me:secret@example.com/");
        assert!(said.contains("credentials") && !said.contains("secret"), "{said}");
    }
}
