//! The prober `http`: its section of the configuration, and how it asks.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use prober::http::{HttpRequest, Response};
use prober::{Pauses, Report, Target, probe};
use regex::Regex;
use serde::Deserialize;

use super::credentials::{Authorization, Basic};
use super::modules::{Rest, Section, check_patterns, check_preferred, is_empty, nullable};
use super::redirect::Request;
use super::text::{Text, common, durations};
use super::tls::Tls;
use super::{ProbeError, Question, Shared, family};
use crate::error::Invalid;

const MOST_REDIRECTS: usize = 10;
/// Bytes of a body that regular expressions see.
const MOST_BODY: usize = 1 << 20;

#[derive(Clone, Deserialize)]
#[serde(default)]
pub(super) struct Http {
    #[serde(deserialize_with = "nullable")]
    pub(super) valid_status_codes: Vec<u16>,
    #[serde(deserialize_with = "nullable")]
    pub(super) valid_http_versions: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub(super) method: String,
    #[serde(deserialize_with = "nullable")]
    pub(super) headers: BTreeMap<String, String>,
    #[serde(deserialize_with = "nullable")]
    pub(super) body: String,
    #[serde(deserialize_with = "nullable")]
    pub(super) no_follow_redirects: Option<bool>,
    #[serde(deserialize_with = "nullable")]
    pub(super) follow_redirects: Option<bool>,
    #[serde(deserialize_with = "nullable")]
    pub(super) fail_if_ssl: bool,
    #[serde(deserialize_with = "nullable")]
    pub(super) fail_if_not_ssl: bool,
    #[serde(deserialize_with = "nullable")]
    pub(super) fail_if_body_matches_regexp: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub(super) fail_if_body_not_matches_regexp: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub(super) fail_if_header_matches: Vec<HeaderMatch>,
    #[serde(deserialize_with = "nullable")]
    pub(super) fail_if_header_not_matches: Vec<HeaderMatch>,
    #[serde(deserialize_with = "nullable")]
    pub(super) tls_config: Tls,
    #[serde(deserialize_with = "nullable")]
    pub(super) basic_auth: Option<Basic>,
    #[serde(deserialize_with = "nullable")]
    pub(super) authorization: Option<Authorization>,
    #[serde(deserialize_with = "nullable")]
    pub(super) bearer_token: Option<String>,
    #[serde(deserialize_with = "nullable")]
    pub(super) bearer_token_file: Option<PathBuf>,
    #[serde(deserialize_with = "nullable")]
    pub(super) preferred_ip_protocol: Option<String>,
    #[serde(deserialize_with = "nullable")]
    pub(super) ip_protocol_fallback: Option<bool>,
    #[serde(flatten)]
    pub(super) rest: Rest,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("method", &self.method).finish_non_exhaustive() // there are credentials in it
    }
}

impl Default for Http {
    fn default() -> Self {
        Self {
            valid_status_codes: vec![],
            valid_http_versions: vec![],
            method: "GET".into(),
            headers: BTreeMap::new(),
            body: String::new(),
            no_follow_redirects: None,
            follow_redirects: None,
            fail_if_ssl: false,
            fail_if_not_ssl: false,
            fail_if_body_matches_regexp: vec![],
            fail_if_body_not_matches_regexp: vec![],
            fail_if_header_matches: vec![],
            fail_if_header_not_matches: vec![],
            tls_config: Tls::default(),
            basic_auth: None,
            authorization: None,
            bearer_token: None,
            bearer_token_file: None,
            preferred_ip_protocol: None,
            ip_protocol_fallback: None,
            rest: BTreeMap::new(),
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HeaderMatch {
    pub(super) header: String,
    pub(super) regexp: String,
    #[serde(default)]
    pub(super) allow_missing: bool,
}

impl Section for Http {
    fn rest(&self) -> Vec<&Rest> {
        let login = [self.basic_auth.as_ref().map(|b| &b.rest), self.authorization.as_ref().map(|a| &a.rest)];
        [&self.rest, &self.tls_config.rest].into_iter().chain(login.into_iter().flatten()).collect()
    }

    fn refused(&self) -> Option<String> {
        let compressed = self.rest.get("compression").is_some_and(|value| !is_empty(value));
        if compressed && self.headers.keys().any(|name| name.eq_ignore_ascii_case("accept-encoding")) {
            return Some("compression with a header Accept-Encoding: bodies are not unpacked here; leave both out".into());
        }
        let versions = &self.valid_http_versions;
        if !versions.is_empty() && !versions.iter().any(|v| v.starts_with("HTTP/1.")) {
            return Some(format!("valid_http_versions = {versions:?}: HTTP/1.1 is spoken here"));
        }
        self.tls_config.only().err().map(|why| why.to_string())
    }

    fn check(&self) -> Result<(), Invalid> {
        for (field, patterns) in [
            ("fail_if_body_matches_regexp", &self.fail_if_body_matches_regexp),
            ("fail_if_body_not_matches_regexp", &self.fail_if_body_not_matches_regexp),
        ] {
            check_patterns(field, patterns.iter().map(String::as_str))?;
        }
        for (field, rules) in [
            ("fail_if_header_matches", &self.fail_if_header_matches),
            ("fail_if_header_not_matches", &self.fail_if_header_not_matches),
        ] {
            check_patterns(field, rules.iter().map(|rule| rule.regexp.as_str()))?;
        }
        check_preferred(self.preferred_ip_protocol.as_deref())?;
        if self.body.contains('\0') || self.headers.values().any(|value| value.contains(['\0', '\r', '\n'])) {
            return Err(Invalid("headers and body are text here, without NUL, and headers without line ends".into()));
        }
        Ok(())
    }
}

impl Http {
    /// Asks, and follows redirects; whether it succeeded.
    pub(super) async fn probe(&self, question: &Question<'_>, shared: &Shared<'_>, text: &mut Text) -> Result<bool, ProbeError> {
        let deadline = Instant::now() + question.timeout;
        let mut redirecting: Vec<Report> = Vec::new();
        let follow = self.no_follow_redirects.map_or(self.follow_redirects.unwrap_or(true), |no| !no);
        let mut request = Request::first(self, question.target, question.hostname)?;
        let last = loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let report = probe(&self.target(&request, left, shared)?, shared.lookup).await;
            let location = report.response.as_ref().and_then(|r| Some((r.status, r.header("location")?)));
            let next = location
                .filter(|_| follow && redirecting.len() < MOST_REDIRECTS)
                .and_then(|(status, to)| request.redirected(status, to));
            match next {
                Some(next) => request = next,
                None => break report,
            }
            redirecting.push(report);
        };
        common(text, &last);
        durations(text, redirecting.iter().chain([&last]));
        text.gauge("probe_http_redirects", "The number of redirects", redirecting.len());
        text.gauge("probe_http_ssl", "Indicates if SSL was used for the final redirect", i32::from(last.version.is_some()));
        let Some(response) = &last.response else { return Ok(false) };
        let length = response.header("content-length").and_then(|v| v.parse::<i64>().ok()).unwrap_or(-1);
        text.gauge("probe_http_status_code", "Response HTTP status code", response.status);
        text.gauge("probe_http_version", "Returns the version of HTTP of the probe response", f64::from(response.version) / 10.0);
        text.gauge("probe_http_content_length", "Length of http content response", length);
        text.gauge("probe_http_uncompressed_body_length", "Length of uncompressed response body", response.body_len);
        let (good, by_regex) = self.accepts(response, last.version.is_some())?;
        text.gauge("probe_failed_due_to_regex", "Indicates if probe failed due to regex", i32::from(by_regex));
        Ok(last.success && good)
    }

    fn target(&self, request: &Request, timeout: Duration, shared: &Shared<'_>) -> Result<Target, ProbeError> {
        let mut options = self.tls_config.options(&["http/1.1"]);
        options.certificate = options.certificate.filter(|_| request.certificate);
        Ok(Target {
            host: request.url.host.clone(),
            port: request.url.port,
            connect_to: None,
            address: None,
            server_name: request.server_name.clone(),
            family: family(self.preferred_ip_protocol.as_deref(), self.ip_protocol_fallback),
            tls: request.url.encrypted.then(|| shared.cache.get(options)).transpose()?,
            request: Some(HttpRequest {
                method: request.method.clone(),
                path: request.url.path.clone(),
                headers: request.headers.clone(),
                body: request.body.clone(),
                keep_body: MOST_BODY,
                head_only: false,
            }),
            timeout,
            pauses: Pauses::default(),
        })
    }

    /// Whether an answer is a good one, and whether a regular expression was what it failed by.
    fn accepts(&self, response: &Response, encrypted: bool) -> Result<(bool, bool), ProbeError> {
        let status = match self.valid_status_codes.as_slice() {
            [] => (200..300).contains(&response.status),
            valid => valid.contains(&response.status),
        };
        let version = format!("HTTP/{}.{}", response.version / 10, response.version % 10);
        let version = self.valid_http_versions.is_empty() || self.valid_http_versions.contains(&version);
        let regex =
            |pattern: &str| Regex::new(pattern).map_err(|e| ProbeError::Configuration(Invalid(format!("{pattern:?}: {e}"))));
        let body = String::from_utf8_lossy(&response.body);
        let mut matched = false;
        for pattern in &self.fail_if_body_matches_regexp {
            matched |= regex(pattern)?.is_match(&body);
        }
        for pattern in &self.fail_if_body_not_matches_regexp {
            matched |= !regex(pattern)?.is_match(&body);
        }
        for (rules, wanted) in [(&self.fail_if_header_matches, false), (&self.fail_if_header_not_matches, true)] {
            for rule in rules {
                matched |= match response.header(&rule.header) {
                    Some(value) => regex(&rule.regexp)?.is_match(value) != wanted,
                    None => !rule.allow_missing,
                };
            }
        }
        let ssl = !(self.fail_if_ssl && encrypted || self.fail_if_not_ssl && !encrypted);
        Ok((status && version && ssl && !matched, matched))
    }
}
