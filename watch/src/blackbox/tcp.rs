//! The prober `tcp`: its section of the configuration, and how it asks.

use std::net::{IpAddr, SocketAddr};

use prober::{Pauses, Route, Target, probe};
use serde::Deserialize;

use super::families::Families;
use super::modules::{Preferred, Rest, Section, list, nullable};
use super::query_response::{self, Step};
use super::reported::{addressed, certificates, resolved, tls, verdict};
use super::tls::Tls;
use super::{ProbeError, Question, Shared, choose, family};
use crate::error::Invalid;
use crate::target::host_and_port;

#[derive(Clone, Default, Debug, Deserialize)]
#[serde(default)]
pub(super) struct Tcp {
    #[serde(deserialize_with = "list")]
    pub(super) query_response: Vec<Step>,
    #[serde(deserialize_with = "nullable")]
    tls: bool,
    #[serde(deserialize_with = "nullable")]
    tls_config: Tls,
    #[serde(deserialize_with = "nullable")]
    source_ip_address: String,
    preferred_ip_protocol: Option<Preferred>,
    ip_protocol_fallback: Option<bool>,
    #[serde(flatten)]
    rest: Rest,
}

impl Section for Tcp {
    fn rest(&self) -> Vec<&Rest> {
        vec![&self.rest, &self.tls_config.rest]
    }

    fn refused(&self) -> Option<String> {
        source(&self.source_ip_address).err().map(|why| why.to_string()).or_else(|| self.tls_config.refused())
    }

    fn check(&self) -> Result<(), Invalid> {
        let both = |step: &Step| step.expect.is_some() && !step.expect_bytes.bytes.is_empty();
        match self.query_response.iter().any(both) {
            true => Err(Invalid("query_response: a step has expect or expect_bytes".into())),
            false => Ok(()),
        }
    }
}

/// A section's `source_ip_address`.
pub(super) fn source(written: &str) -> Result<Option<IpAddr>, Invalid> {
    match written {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| Invalid(format!("source_ip_address = {text:?} is no address"))),
    }
}

impl Tcp {
    /// A module that connects, with TLS or without.
    pub(super) fn speaking(tls: bool) -> Self {
        Self { tls, ..Self::default() }
    }

    /// Connects, and says and hears what the section has; whether it succeeded.
    pub(super) async fn probe(
        &self,
        question: &Question<'_>,
        shared: &Shared<'_>,
        found: &mut Families,
    ) -> Result<bool, ProbeError> {
        found.gauge("probe_failed_due_to_regex", "Indicates if probe failed due to regex", 0);
        let (host, port) = match host_and_port(question.target, None) {
            Ok(found) => found,
            Err(error) => {
                found.note(error);
                return Ok(false);
            }
        };
        let source = source(&self.source_ip_address).map_err(ProbeError::Configuration)?;
        let configured = self.tls_config.server_name.clone().filter(|name| !name.is_empty());
        let server_name = configured.or_else(|| question.hostname.map(str::to_owned));
        let options = self.tls_config.options(&[]);
        let config = self.tls.then(|| shared.cache.get(options.clone())).transpose()?;
        let family = family(self.preferred_ip_protocol, self.ip_protocol_fallback);
        let unverified = self.tls_config.insecure_skip_verify;
        if self.query_response.is_empty() {
            let target = Target {
                host,
                port,
                connect_to: None,
                address: None,
                server_name,
                family,
                tls: config,
                request: None,
                timeout: question.timeout,
                pauses: Pauses::default(),
                route: Route { one_address: true, source, proxy: None },
            };
            let report = probe(&target, shared.lookup).await;
            addressed(found, &report);
            resolved(found, &report);
            verdict(found, &report);
            report.detail.iter().for_each(|detail| found.note(detail));
            if report.version.is_some() {
                certificates(found, &report, unverified);
            }
            return Ok(report.success);
        }
        let Some((ip, took)) = choose(&host, family, question, shared, found).await else { return Ok(false) };
        let peer = query_response::Peer {
            address: SocketAddr::new(ip, port),
            source,
            name: server_name.unwrap_or(host),
            tls: config,
            starttls: shared.cache.get(options)?,
        };
        let left = question.timeout.saturating_sub(took);
        let outcome = query_response::run(&peer, &self.query_response, left).await;
        outcome.why.iter().for_each(|why| found.note(why));
        found.gauge("probe_failed_due_to_regex", "Indicates if probe failed due to regex", i32::from(outcome.by_regex));
        if self.query_response.iter().any(|step| !step.expect_bytes.bytes.is_empty()) {
            found.gauge("probe_failed_due_to_bytes", "Indicates if probe failed due to bytes", i32::from(outcome.by_bytes));
        }
        if !outcome.labels.is_empty() {
            let labels: Vec<(&str, &str)> = outcome.labels.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            found.labelled("probe_expect_info", "Explicit content matched", &labels, 1);
        }
        if let Some(shaken) = &outcome.tls {
            tls(found, &shaken.certificates, shaken.version, shaken.cipher_suite, unverified);
        }
        Ok(outcome.success)
    }
}
