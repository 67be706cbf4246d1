//! What a report of the prober says in the exporter's names, and beside them whose time it was.

use std::collections::BTreeMap;
use std::net::IpAddr;

use analysis::clock::{Client, Instant, Span};
use prober::Report;

use super::families::Families;
use crate::blame::{Beside, Usual, judge_round, side};
use crate::certificate;
use crate::checks::Gate;

/// Which address was taken; 0 where there is none.
pub(super) fn addressed(found: &mut Families, report: &Report) {
    address(found, report.address.map(|address| address.ip()).or_else(|| report.addresses.first().copied()));
}

/// Which address it is.
pub(super) fn address(found: &mut Families, address: Option<IpAddr>) {
    let octets = address.map(|address| match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    });
    // FNV-1a of the address's bytes.
    let hash = |octets: &Vec<u8>| octets.iter().fold(0x811c_9dc5_u32, |h, b| (h ^ u32::from(*b)).wrapping_mul(0x0100_0193));
    let protocol = address.map_or(0, |address| if address.is_ipv4() { 4 } else { 6 });
    found.gauge("probe_ip_protocol", "Specifies whether probe ip protocol is IP4 or IP6", protocol);
    let help = "Specifies the hash of IP address. It's useful to detect if the IP address changes.";
    found.gauge("probe_ip_addr_hash", help, octets.as_ref().map_or(0, hash));
}

/// How long the name took to look up.
pub(super) fn resolved(found: &mut Families, report: &Report) {
    let took = report.dns_start.map_or(Span::ZERO, |start| report.dns_end.unwrap_or(report.ended) - start);
    lookup_took(found, took);
}

pub(super) fn lookup_took(found: &mut Families, took: Span) {
    found.gauge("probe_dns_lookup_time_seconds", "Returns the time taken for probe dns lookup in seconds", took.seconds());
}

/// Whose time a probe took, and why it failed.
pub(super) fn verdict(found: &mut Families, report: &Report) {
    let opinion = judge_round(report, Usual::default(), &Gate::default(), Beside::default());
    let mut owners: BTreeMap<&str, f64> = BTreeMap::new();
    for entry in &opinion.reading.ledger.entries {
        *owners.entry(side(entry.owner).label()).or_default() += entry.span.millis() / 1e3;
    }
    for (owner, seconds) in owners {
        found.labelled("whostalled_probe_owner_seconds", "Whose time the probe took", &[("owner", owner)], seconds);
    }
    let label = opinion.target.verdict.label();
    found.labelled("whostalled_probe_verdict_info", "Who stalled, and the evidence", &[("verdict", &label)], 1);
    let sick = i32::from(opinion.health.sick.is_some());
    found.gauge("whostalled_prober_sick", "Whether the prober was too sick to judge the target", sick);
    if let Some(staple) = &report.staple {
        let status = [("status", staple.status.name())];
        found.labelled("whostalled_probe_ocsp_staple_info", "What the stapled OCSP answer says of the certificate", &status, 1);
        if let Some(until) = staple.next_update {
            let help = "When there is to be a newer OCSP answer";
            found.gauge("whostalled_probe_ocsp_staple_next_update_timestamp_seconds", help, until.unix_seconds());
        }
    }
    if let Some(reason) = report.reason {
        found.labelled("whostalled_probe_failure_info", "Why the probe failed", &[("reason", reason.name())], 1);
    }
}

/// What a connection's TLS was, and its certificates; `unverified`: whoever they are from.
pub(super) fn certificates(found: &mut Families, report: &Report, unverified: bool) {
    tls(found, &report.certificates, report.version.as_deref(), report.cipher_suite.as_deref(), unverified);
}

pub(super) fn tls(
    found: &mut Families,
    chain: &[rustls_pki_types::CertificateDer<'_>],
    version: Option<&str>,
    cipher_suite: Option<&str>,
    unverified: bool,
) {
    if let Some(end) = certificate::chain_end(chain) {
        found.gauge("probe_ssl_earliest_cert_expiry", "Returns last SSL chain expiry in unixtime", end.secs());
    }
    let help = "Returns last SSL chain expiry in timestamp";
    let verified = certificate::path_end(chain).filter(|_| !unverified);
    found.gauge("probe_ssl_last_chain_expiry_timestamp_seconds", help, verified.map_or(NO_CHAIN, |end| end.secs()));
    if let Some(labels) = chain.first().and_then(certificate::described) {
        let labels: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
        found.labelled("probe_ssl_last_chain_info", "Contains SSL leaf certificate information", &labels, 1);
    }
    let help = "Returns the TLS version used or NaN when unknown";
    found.labelled("probe_tls_version_info", help, &[("version", version.unwrap_or("unknown"))], 1);
    if let Some(suite) = cipher_suite {
        found.labelled("probe_tls_cipher_info", "Returns the TLS cipher negotiated during handshake", &[("cipher", suite)], 1);
    }
}

/// What the exporter says of a chain that nobody verified: Go's zero time.
const NO_CHAIN: i64 = -62_135_596_800;

const DURATION: (&str, &str) = ("probe_http_duration_seconds", "Duration of http request by phase, summed over all redirects");

/// Phases where there was no request: what a module names is not there. The exporter finds that out behind the lookup, or behind all that
/// comes before the request is written.
pub(super) fn no_durations(found: &mut Families, lookup: Span, connected: bool) {
    found.labelled(DURATION.0, DURATION.1, &[("phase", "resolve")], lookup.seconds());
    for phase in ["connect", "tls", "processing", "transfer"].into_iter().filter(|_| connected) {
        found.labelled(DURATION.0, DURATION.1, &[("phase", phase)], 0);
    }
}

/// Phases summed over redirects. As in the exporter, one that did not happen is 0, but for all behind a lookup that failed; `looked_up`:
/// the lookup is one of them.
pub(super) fn durations(found: &mut Families, reports: &[Report], looked_up: bool) {
    type Pick = fn(&Report) -> (Option<Instant<Client>>, Option<Instant<Client>>);
    let phases: [(&str, Pick); 5] = [
        ("resolve", |r| (r.dns_start, Some(r.dns_end.unwrap_or(r.ended)))),
        ("connect", |r| (r.connect_start, r.connected)),
        ("tls", |r| (r.connected.filter(|_| r.client_finished.is_some()), r.client_finished)),
        ("processing", |r| (r.first_request, r.first_response)),
        ("transfer", |r| (r.first_response, r.response_end)),
    ];
    let known = reports.first().is_some_and(|r| r.connect_start.is_some());
    for (phase, pick) in phases {
        let spans = reports.iter().map(pick).filter_map(|(from, to)| Some((to? - from?).seconds()));
        let shown = if phase == "resolve" { looked_up } else { known };
        if shown {
            found.labelled(DURATION.0, DURATION.1, &[("phase", phase)], spans.fold(0.0, |sum, span| sum + span));
        }
    }
}
