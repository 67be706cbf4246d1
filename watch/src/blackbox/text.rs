//! What `/probe` answers: the exporter's metric names, and beside them whose time it was.

use std::collections::BTreeMap;

use analysis::clock::{Client, Instant, Span};
use prober::Report;

use crate::blame::{Usual, judge_round, side};
use crate::certificate;
use crate::checks::Gate;

/// Lines of the exposition.
#[derive(Default)]
pub(super) struct Text(pub String);

impl Text {
    pub fn gauge(&mut self, name: &str, help: &str, value: impl std::fmt::Display) {
        self.family(name, help);
        self.0 += &format!("{name} {value}\n");
    }

    pub fn family(&mut self, name: &str, help: &str) {
        self.0 += &format!("# HELP {name} {help}\n# TYPE {name} gauge\n");
    }

    pub fn labelled(&mut self, name: &str, label: &str, word: &str, value: f64) {
        self.with_labels(name, &[(label, word.to_owned())], value);
    }

    pub fn with_labels(&mut self, name: &str, labels: &[(&str, String)], value: f64) {
        let quoted = |word: &String| word.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', " ");
        let labels: Vec<String> = labels.iter().map(|(label, word)| format!("{label}=\"{}\"", quoted(word))).collect();
        self.0 += &format!("{name}{{{}}} {value}\n", labels.join(","));
    }
}

/// What every probe tells: addresses, lookup, certificates, and whose time it was.
pub(super) fn common(text: &mut Text, report: &Report) {
    if let (Some(start), Some(end)) = (report.dns_start, report.dns_end) {
        text.gauge(
            "probe_dns_lookup_time_seconds",
            "Returns the time taken for probe dns lookup in seconds",
            seconds(start, end),
        );
    }
    if let Some(address) = report.address {
        text.gauge(
            "probe_ip_protocol",
            "Specifies whether probe ip protocol is IP4 or IP6",
            if address.is_ipv4() { 4 } else { 6 },
        );
        let hash = address.ip().to_string().bytes().fold(0x811c_9dc5_u32, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193));
        text.gauge(
            "probe_ip_addr_hash",
            "Specifies the hash of IP address. It's useful to detect if the IP address changes.",
            hash,
        );
    }
    certificates(text, &report.certificates);
    if let Some(version) = &report.version {
        text.family("probe_tls_version_info", "Returns the TLS version used or NaN when unknown");
        text.labelled("probe_tls_version_info", "version", version, 1.0);
    }
    let opinion = judge_round(report, Usual::default(), &Gate::default(), Span::ZERO, None);
    let mut owners: BTreeMap<&str, f64> = BTreeMap::new();
    for entry in &opinion.reading.ledger.entries {
        *owners.entry(side(entry.owner).label()).or_default() += entry.span.millis() / 1e3;
    }
    text.family("whostalled_probe_owner_seconds", "Whose time the probe took");
    for (owner, seconds) in owners {
        text.labelled("whostalled_probe_owner_seconds", "owner", owner, seconds);
    }
    text.family("whostalled_probe_verdict_info", "Who stalled, and the evidence");
    text.labelled("whostalled_probe_verdict_info", "verdict", &opinion.target.verdict.label(), 1.0);
    let sick = i32::from(opinion.health.sick.is_some());
    text.gauge("whostalled_prober_sick", "Whether the prober was too sick to judge the target", sick);
    if let Some(reason) = report.reason {
        text.family("whostalled_probe_failure_info", "Why the probe failed");
        text.labelled("whostalled_probe_failure_info", "reason", reason.name(), 1.0);
    }
}

pub(super) fn certificates(text: &mut Text, chain: &[rustls_pki_types::CertificateDer<'_>]) {
    if let Some(end) = certificate::chain_end(chain) {
        text.gauge("probe_ssl_earliest_cert_expiry", "Returns last SSL chain expiry in unixtime", end.secs());
        text.gauge("probe_ssl_last_chain_expiry_timestamp_seconds", "Returns last SSL chain expiry in timestamp", end.secs());
    }
    if let Some(labels) = chain.first().and_then(certificate::described) {
        text.family("probe_ssl_last_chain_info", "Contains SSL leaf certificate information");
        text.with_labels("probe_ssl_last_chain_info", &labels, 1.0);
    }
}

/// Phases summed over redirects; those that did not happen are absent.
pub(super) fn durations<'a>(text: &mut Text, reports: impl Iterator<Item = &'a Report> + Clone) {
    let name = "probe_http_duration_seconds";
    text.family(name, "Duration of http request by phase, summed over all redirects");
    type Pick = fn(&Report) -> (Option<Instant<Client>>, Option<Instant<Client>>);
    let phases: [(&str, Pick); 5] = [
        ("resolve", |r| (r.dns_start, r.dns_end)),
        ("connect", |r| (r.connect_start, r.connected)),
        ("tls", |r| (r.connected.filter(|_| r.client_finished.is_some()), r.client_finished)),
        ("processing", |r| (r.first_request, r.first_response)),
        ("transfer", |r| (r.first_response, r.response_end)),
    ];
    for (phase, pick) in phases {
        let spans: Vec<f64> = reports.clone().map(pick).filter_map(|(from, to)| Some(seconds(from?, to?))).collect();
        if !spans.is_empty() {
            text.labelled(name, "phase", phase, spans.iter().sum());
        }
    }
}

fn seconds(from: Instant<Client>, to: Instant<Client>) -> f64 {
    (to - from).nanos() as f64 / 1e9
}
