//! The prober `tcp`: its section of the configuration, and how it asks.

use prober::{Pauses, Target, probe};
use serde::Deserialize;

use super::modules::{Rest, Section, check_patterns, check_preferred, nullable};
use super::text::{Text, certificates, common};
use super::tls::Tls;
use super::{ProbeError, Question, Shared, family};
use crate::error::Invalid;
use crate::query_response::{self, Step};
use crate::target::host_and_port;

#[derive(Clone, Default, Debug, Deserialize)]
#[serde(default)]
pub(super) struct Tcp {
    #[serde(deserialize_with = "nullable")]
    pub(super) query_response: Vec<Step>,
    #[serde(deserialize_with = "nullable")]
    pub(super) tls: bool,
    #[serde(deserialize_with = "nullable")]
    pub(super) tls_config: Tls,
    #[serde(deserialize_with = "nullable")]
    pub(super) preferred_ip_protocol: Option<String>,
    #[serde(deserialize_with = "nullable")]
    pub(super) ip_protocol_fallback: Option<bool>,
    #[serde(flatten)]
    pub(super) rest: Rest,
}

impl Section for Tcp {
    fn rest(&self) -> Vec<&Rest> {
        vec![&self.rest, &self.tls_config.rest]
    }

    fn refused(&self) -> Option<String> {
        self.tls_config.only().err().map(|why| why.to_string())
    }

    fn check(&self) -> Result<(), Invalid> {
        check_patterns("expect", self.query_response.iter().filter_map(|step| step.expect.as_deref()))?;
        check_preferred(self.preferred_ip_protocol.as_deref())
    }
}

impl Tcp {
    /// Connects, and says and hears what the section has; whether it succeeded.
    pub(super) async fn probe(&self, question: &Question<'_>, shared: &Shared<'_>, text: &mut Text) -> Result<bool, ProbeError> {
        let (host, port) = host_and_port(question.target, None).map_err(|e| ProbeError::Question(Invalid(e.to_string())))?;
        let server_name = self.tls_config.server_name.clone().or_else(|| question.hostname.map(str::to_owned));
        let options = self.tls_config.options(&[]);
        let tls = self.tls.then(|| shared.cache.get(options.clone())).transpose()?;
        let family = family(self.preferred_ip_protocol.as_deref(), self.ip_protocol_fallback);
        if !self.query_response.is_empty() {
            let starttls = shared.cache.get(options)?;
            let name = server_name.unwrap_or_else(|| host.clone());
            let peer = query_response::Peer { host, port, family, name, tls, starttls };
            let outcome = query_response::run(&peer, &self.query_response, question.timeout, shared.lookup).await;
            let outcome = outcome.map_err(|e| ProbeError::Configuration(Invalid(e.to_string())))?;
            text.gauge("probe_failed_due_to_regex", "Indicates if probe failed due to regex", i32::from(outcome.by_regex));
            certificates(text, &outcome.certificates);
            return Ok(outcome.success);
        }
        let target = Target {
            host,
            port,
            connect_to: None,
            address: None,
            server_name,
            family,
            tls,
            request: None,
            timeout: question.timeout,
            pauses: Pauses::default(),
        };
        let report = probe(&target, shared.lookup).await;
        common(text, &report);
        Ok(report.success)
    }
}
