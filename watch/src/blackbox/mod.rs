//! `/probe?target=&module=`: blackbox_exporter's contract, with its configuration file as it is.
//!
//! Its http and tcp modules, its metric names (a failed probe is HTTP 200 with `probe_success 0`), and beside them whose time it was. One
//! thing differs on purpose: a phase that did not happen is absent, not 0.

mod modules;
mod redirect;
#[cfg(test)]
mod tests;
mod text;

use std::collections::BTreeMap;
use std::time::Duration;

use prober::http::{HttpRequest, Response};
use prober::tls::TlsOptions;
use prober::{Family, Lookup, Pauses, Report, Target, probe as probe_once};
use regex::Regex;

pub use modules::{Blackbox, Module};
use modules::{Http, Tcp, Tls};
use redirect::Asked;
use text::{Text, certificates, common, durations};

use crate::checks::host_and_port;
use crate::conversation;
use crate::tls_cache::TlsCache;

/// blackbox_exporter gives up so long before the scrape does.
const OFFSET: f64 = 0.5;
/// Its patience where nobody says.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(120);
const MOST_REDIRECTS: u32 = 10;
/// Bytes of a body that regular expressions see.
const MOST_BODY: usize = 1 << 20;

/// Probes once; the exposition.
///
/// # Errors
/// If the question is wrong: no target, no such module.
pub async fn probe(
    modules: &Blackbox,
    query: &BTreeMap<String, String>,
    patience: Option<f64>,
    cache: &TlsCache,
) -> Result<String, String> {
    let target = query.get("target").filter(|t| !t.is_empty()).ok_or("Target parameter is missing")?;
    let name = query.get("module").map_or("http_2xx", String::as_str);
    let module = modules.modules.get(name).ok_or_else(|| format!("Unknown module \"{name}\""))?;
    if let Some(why) = module.refused() {
        return Err(format!("module {name} is refused: {why}"));
    }
    let hostname = query.get("hostname").map(String::as_str).filter(|name| !name.is_empty());
    let own = module.timeout.map(|t| t.0).filter(|t| !t.is_zero()).unwrap_or(DEFAULT_TIMEOUT);
    let given = patience.filter(|p| *p > 0.0).and_then(|p| Duration::try_from_secs_f64((p - OFFSET).max(0.1)).ok());
    let timeout = given.map_or(own, |given| given.min(own));
    let lookup = Lookup::new(&[]).map_err(|e| e.to_string())?;
    let begun = std::time::Instant::now();
    let mut text = Text::default();
    let means = Means { lookup: &lookup, cache };
    let success = match module.prober.as_str() {
        "tcp" => tcp(&module.tcp, target, hostname, timeout, &means, &mut text).await?,
        _ => http(&module.http, target, hostname, timeout, &means, &mut text).await?,
    };
    text.gauge("probe_success", "Displays whether or not the probe was a success", i32::from(success));
    text.gauge("probe_duration_seconds", "Returns how long the probe took to complete in seconds", begun.elapsed().as_secs_f64());
    Ok(text.0)
}

/// What probes share.
struct Means<'a> {
    lookup: &'a Lookup,
    cache: &'a TlsCache,
}

fn family(preferred: Option<&str>, fallback: Option<bool>) -> Family {
    match (preferred, fallback.unwrap_or(true)) {
        (Some("ip4"), false) => Family::V4,
        (Some("ip6"), false) => Family::V6,
        (Some("ip4"), true) => Family::PreferV4,
        (Some("ip6"), true) => Family::PreferV6,
        _ => Family::Any,
    }
}

fn tls_options(tls: &Tls, alpn: &[&str]) -> TlsOptions {
    TlsOptions {
        only: tls.only().unwrap_or_default(), // a module with one that cannot be is refused
        ca: tls.ca_file.clone(),
        insecure: tls.insecure_skip_verify,
        certificate: tls.cert_file.clone().zip(tls.key_file.clone()),
        alpn: alpn.iter().map(ToString::to_string).collect(),
        ..TlsOptions::default()
    }
}

async fn http(
    module: &Http,
    target: &str,
    hostname: Option<&str>,
    timeout: Duration,
    means: &Means<'_>,
    text: &mut Text,
) -> Result<bool, String> {
    let deadline = std::time::Instant::now() + timeout;
    let mut reports: Vec<Report> = Vec::new();
    let follow = module.no_follow_redirects.map_or(module.follow_redirects.unwrap_or(true), |no| !no);
    let mut asked = Asked::first(module, target, hostname)?;
    let mut redirects = 0;
    loop {
        let left = deadline.saturating_duration_since(std::time::Instant::now());
        let report = probe_once(&target_of(module, &asked, left, means)?, means.lookup).await;
        let location = report.response.as_ref().and_then(|r| Some((r.status, r.header("location")?)));
        let next =
            location.filter(|_| follow && redirects < MOST_REDIRECTS).and_then(|(status, to)| asked.redirected(status, to));
        reports.push(report);
        match next {
            Some(next) => asked = next,
            None => break,
        }
        redirects += 1;
    }
    let Some(last) = reports.last() else { return Err("nothing was probed".into()) };
    common(text, last);
    durations(text, &reports);
    text.gauge("probe_http_redirects", "The number of redirects", redirects);
    text.gauge("probe_http_ssl", "Indicates if SSL was used for the final redirect", i32::from(last.version.is_some()));
    let Some(response) = &last.response else { return Ok(false) };
    let length = response.header("content-length").and_then(|v| v.parse::<i64>().ok()).unwrap_or(-1);
    text.gauge("probe_http_status_code", "Response HTTP status code", response.status);
    text.gauge("probe_http_version", "Returns the version of HTTP of the probe response", f64::from(response.version) / 10.0);
    text.gauge("probe_http_content_length", "Length of http content response", length);
    text.gauge("probe_http_uncompressed_body_length", "Length of uncompressed response body", response.body_len);
    let (good, by_regex) = accepts(module, response, last.version.is_some())?;
    text.gauge("probe_failed_due_to_regex", "Indicates if probe failed due to regex", i32::from(by_regex));
    Ok(last.success && good)
}

fn target_of(module: &Http, asked: &Asked, timeout: Duration, means: &Means<'_>) -> Result<Target, String> {
    let mut options = tls_options(&module.tls_config, &["http/1.1"]);
    options.certificate = options.certificate.filter(|_| asked.certificate);
    Ok(Target {
        host: asked.url.host.clone(),
        port: asked.url.port,
        connect_to: None,
        address: None,
        server_name: asked.server_name.clone(),
        family: family(module.preferred_ip_protocol.as_deref(), module.ip_protocol_fallback),
        tls: asked.url.encrypted.then(|| means.cache.get(options)).transpose()?,
        request: Some(HttpRequest {
            method: asked.method.clone(),
            path: asked.url.path.clone(),
            headers: asked.headers.clone(),
            body: asked.body.clone(),
            keep_body: MOST_BODY,
            head_only: false,
        }),
        timeout,
        pauses: Pauses::default(),
    })
}

/// Whether an answer is a good one, and whether a regular expression was what it failed by.
fn accepts(module: &Http, response: &Response, encrypted: bool) -> Result<(bool, bool), String> {
    let status = match module.valid_status_codes.as_slice() {
        [] => (200..300).contains(&response.status),
        valid => valid.contains(&response.status),
    };
    let version = format!("HTTP/{}.{}", response.version / 10, response.version % 10);
    let version = module.valid_http_versions.is_empty() || module.valid_http_versions.contains(&version);
    let regex = |pattern: &str| Regex::new(pattern).map_err(|e| format!("{pattern:?}: {e}"));
    let body = String::from_utf8_lossy(&response.body);
    let mut matched = false;
    for pattern in &module.fail_if_body_matches_regexp {
        matched |= regex(pattern)?.is_match(&body);
    }
    for pattern in &module.fail_if_body_not_matches_regexp {
        matched |= !regex(pattern)?.is_match(&body);
    }
    for (rules, wanted) in [(&module.fail_if_header_matches, false), (&module.fail_if_header_not_matches, true)] {
        for rule in rules {
            matched |= match response.header(&rule.header) {
                Some(value) => regex(&rule.regexp)?.is_match(value) != wanted,
                None => !rule.allow_missing,
            };
        }
    }
    let ssl = !(module.fail_if_ssl && encrypted || module.fail_if_not_ssl && !encrypted);
    Ok((status && version && ssl && !matched, matched))
}

async fn tcp(
    module: &Tcp,
    target: &str,
    hostname: Option<&str>,
    timeout: Duration,
    means: &Means<'_>,
    text: &mut Text,
) -> Result<bool, String> {
    let (host, port) = host_and_port(target, None)?;
    let server_name = module.tls_config.server_name.clone().or_else(|| hostname.map(str::to_owned));
    let options = tls_options(&module.tls_config, &[]);
    let tls = module.tls.then(|| means.cache.get(options.clone())).transpose()?;
    let family = family(module.preferred_ip_protocol.as_deref(), module.ip_protocol_fallback);
    if !module.query_response.is_empty() {
        let starttls = means.cache.get(options)?;
        let name = server_name.unwrap_or_else(|| host.clone());
        let peer = conversation::Peer { host, port, family, name, tls, starttls };
        let held = conversation::hold(&peer, &module.query_response, timeout, means.lookup).await?;
        text.gauge("probe_failed_due_to_regex", "Indicates if probe failed due to regex", i32::from(held.by_regex));
        certificates(text, &held.certificates);
        return Ok(held.success);
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
        timeout,
        pauses: Pauses::default(),
    };
    let report = probe_once(&target, means.lookup).await;
    common(text, &report);
    Ok(report.success)
}
