//! The prober `http`: its section of the configuration.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use prober::Family;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::credentials::{Authorization, Basic};
use super::expression::Expression;
use super::family;
use super::modules::{Preferred, Rest, Section, filled, is_empty, list, nullable};
use super::octets::Octets;
use super::proxy::Proxies;
use super::tls::Tls;
use crate::error::Invalid;

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Http {
    #[serde(deserialize_with = "list")]
    pub(super) valid_status_codes: Vec<i64>,
    #[serde(deserialize_with = "list")]
    pub(super) valid_http_versions: Vec<String>,
    /// GET where it is empty.
    #[serde(deserialize_with = "nullable")]
    pub(super) method: String,
    #[serde(deserialize_with = "nullable")]
    pub(super) headers: BTreeMap<String, Octets>,
    #[serde(deserialize_with = "nullable")]
    pub(super) http_headers: BTreeMap<String, Option<Values>>,
    #[serde(deserialize_with = "nullable")]
    pub(super) body: Octets,
    #[serde(deserialize_with = "filled")]
    pub(super) body_file: Option<PathBuf>,
    #[serde(deserialize_with = "nullable")]
    pub(super) compression: String,
    #[serde(deserialize_with = "nullable")]
    pub(super) body_size_limit: Size,
    pub(super) no_follow_redirects: Option<bool>,
    pub(super) follow_redirects: Option<bool>,
    #[serde(deserialize_with = "nullable")]
    pub(super) fail_if_ssl: bool,
    #[serde(deserialize_with = "nullable")]
    pub(super) fail_if_not_ssl: bool,
    #[serde(deserialize_with = "list")]
    pub(super) fail_if_body_matches_regexp: Vec<Expression>,
    #[serde(deserialize_with = "list")]
    pub(super) fail_if_body_not_matches_regexp: Vec<Expression>,
    #[serde(deserialize_with = "list")]
    pub(super) fail_if_header_matches: Vec<HeaderMatch>,
    #[serde(deserialize_with = "list")]
    pub(super) fail_if_header_not_matches: Vec<HeaderMatch>,
    #[serde(deserialize_with = "nullable")]
    pub(super) tls_config: Tls,
    pub(super) basic_auth: Option<Basic>,
    pub(super) authorization: Option<Authorization>,
    pub(super) bearer_token: Option<String>,
    #[serde(deserialize_with = "filled")]
    pub(super) bearer_token_file: Option<PathBuf>,
    pub(super) enable_http2: Option<bool>,
    enable_http3: Option<bool>,
    #[serde(flatten)]
    pub(super) proxies: Proxies,
    preferred_ip_protocol: Option<Preferred>,
    ip_protocol_fallback: Option<bool>,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("method", &self.method).finish_non_exhaustive() // there are credentials in it
    }
}

/// Values of a header that is sent more than once.
#[derive(Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Values {
    #[serde(deserialize_with = "nullable")]
    pub(super) values: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub(super) secrets: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub(super) files: Vec<PathBuf>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HeaderMatch {
    pub(super) header: String,
    pub(super) regexp: Expression,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) allow_missing: bool,
}

/// A number of bytes: `10MB`, `512KiB`; units are of 1024 bytes either way, as in the exporter. 0 is no limit.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Size(pub u64);

impl FromStr for Size {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let wrong = || Invalid(format!("{text:?} is no number of bytes: write 10MB or 512KiB"));
        let at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let number: f64 = text[..at].parse().map_err(|_| wrong())?;
        let power = match text[at..].trim_end_matches('B').trim_end_matches('i') {
            "" if text.len() == at && text != "0" => return Err(wrong()),
            "" => 0,
            "K" => 1,
            "M" => 2,
            "G" => 3,
            "T" => 4,
            "P" => 5,
            "E" => 6,
            _ => return Err(wrong()),
        };
        Ok(Self((number * 1024_f64.powi(power)) as u64)) // what does not fit is no limit either
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl Section for Http {
    fn rest(&self) -> Vec<&Rest> {
        let login = [self.basic_auth.as_ref().map(|b| &b.rest), self.authorization.as_ref().map(|a| &a.rest)];
        [&self.proxies.rest, &self.tls_config.rest].into_iter().chain(login.into_iter().flatten()).collect()
    }

    fn refused(&self) -> Option<String> {
        let versions = &self.valid_http_versions;
        if self.enable_http3 == Some(true) || !versions.is_empty() && versions.iter().all(|v| v.starts_with("HTTP/3")) {
            return Some("HTTP/3 is not spoken here".into());
        }
        if !matches!(self.compression.to_ascii_lowercase().as_str(), "" | "identity" | "gzip" | "deflate" | "br") {
            return Some(format!("compression = {:?}: gzip, deflate, br and identity are known", self.compression));
        }
        if let Some(why) = self.proxies.refused() {
            return Some(why);
        }
        self.tls_config.refused()
    }

    fn check(&self) -> Result<(), Invalid> {
        let wrong = |what: &str| Err(Invalid(what.to_owned()));
        if !self.body.bytes.is_empty() && self.body_file.is_some() {
            return wrong("body and body_file: write one of them");
        }
        let login = [
            self.basic_auth.is_some(),
            self.authorization.is_some(),
            self.proxies.rest.get("oauth2").is_some_and(|value| !is_empty(value)),
            self.bearer_token.as_ref().is_some_and(|token| !token.is_empty()) || self.bearer_token_file.is_some(),
        ];
        if login.into_iter().filter(|is| *is).count() > 1 {
            return wrong("at most one of basic_auth, authorization, oauth2, bearer_token and bearer_token_file");
        }
        if self.bearer_token.as_ref().is_some_and(|token| !token.is_empty()) && self.bearer_token_file.is_some() {
            return wrong("at most one of bearer_token and bearer_token_file");
        }
        self.basic_auth.as_ref().map_or(Ok(()), Basic::check)?;
        self.authorization.as_ref().map_or(Ok(()), Authorization::check)?;
        for (name, value) in &self.headers {
            if value.bytes.iter().any(|b| [0, b'\r', b'\n'].contains(b)) || std::str::from_utf8(&value.bytes).is_err() {
                return Err(Invalid(format!("headers: {name:?} is text, without NUL and without line ends")));
            }
            if name.eq_ignore_ascii_case("accept-encoding") && !accepts(&String::from_utf8_lossy(&value.bytes), &self.compression)
            {
                return Err(Invalid(format!("compression = {:?}, and {name} does not accept it", self.compression)));
            }
        }
        self.proxies.check()
    }
}

/// Whether an `Accept-Encoding` admits an encoding (RFC 9110, section 12.5.3).
fn accepts(header: &str, encoding: &str) -> bool {
    if encoding.is_empty() || header.is_empty() {
        return true;
    }
    let admitted = |wanted: &str| {
        header.split(',').find_map(|one| {
            let (name, weight) = one.split_once(';').unwrap_or((one, ""));
            let zero = weight.split_once('=').and_then(|(_, q)| q.trim().parse::<f64>().ok()).is_some_and(|q| q <= 0.0);
            name.trim().eq_ignore_ascii_case(wanted).then_some(!zero)
        })
    };
    admitted(encoding).or_else(|| admitted("*")).unwrap_or(encoding.eq_ignore_ascii_case("identity"))
}

impl Http {
    pub(super) fn family(&self) -> Family {
        family(self.preferred_ip_protocol, self.ip_protocol_fallback)
    }

    /// Whether redirects are followed.
    pub(super) fn follows(&self) -> bool {
        self.no_follow_redirects.map_or(self.follow_redirects.unwrap_or(true), |no| !no)
    }

    /// Whether regular expressions or a decoder are to see the body.
    pub(super) fn wants_body(&self) -> bool {
        let plain = matches!(self.compression.to_ascii_lowercase().as_str(), "" | "identity");
        !plain || !self.fail_if_body_matches_regexp.is_empty() || !self.fail_if_body_not_matches_regexp.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_of_1024_bytes() {
        let size = |text: &str| text.parse::<Size>().map(|size| size.0).map_err(|e| e.to_string());
        assert_eq!((size("10MB"), size("1KiB"), size("0"), size("7B")), (Ok(10 << 20), Ok(1024), Ok(0), Ok(7)));
        assert_eq!(size("1.5KB"), Ok(1536));
        for text in ["10", "MB", "10 MB", "10XB", "-1B"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_encoding_is_accepted_by_name_by_star_or_because_it_is_none() {
        for (header, encoding, admitted) in [
            ("gzip", "gzip", true),
            ("br;q=1.0, gzip;q=0.9", "gzip", true),
            ("br, identity", "gzip", false),
            ("*", "gzip", true),
            ("gzip;q=0, *", "gzip", false),
            ("gzip", "identity", true),
            ("anything", "", true),
        ] {
            assert_eq!(accepts(header, encoding), admitted, "{header} {encoding}");
        }
    }
}
