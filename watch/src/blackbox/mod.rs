//! `/probe?target=&module=`: blackbox_exporter's contract, with its configuration file as it is.
//!
//! Its http and tcp modules, its metric names (a failed probe is HTTP 200 with `probe_success 0`), and beside them whose time it was. One
//! thing differs on purpose: a phase that did not happen is absent, not 0.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use prober::http::{HttpRequest, Response};
use prober::tls::TlsOptions;
use prober::{Family, Lookup, Pauses, Report, Target, probe as probe_once};
use regex::Regex;
use serde::Deserialize;

use crate::blame::{Usual, judge_round, side};
use crate::certificate;
use crate::checks::{Gate, host_and_port};
use crate::conversation::{self, Step};
use crate::duration::Time;
use crate::tls_cache::TlsCache;

/// blackbox_exporter gives up so long before the scrape does.
const OFFSET: f64 = 0.5;
/// Its patience where nobody says.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(120);
const MOST_REDIRECTS: u32 = 10;
/// Bytes of a body that regular expressions see.
const MOST_BODY: usize = 1 << 20;

/// A blackbox_exporter configuration.
#[derive(Clone, Debug, Deserialize)]
pub struct Blackbox {
    /// Its modules by name.
    pub modules: BTreeMap<String, Module>,
}

/// A module.
#[derive(Clone, Debug, Deserialize)]
pub struct Module {
    prober: String,
    timeout: Option<Time>,
    #[serde(default)]
    http: Http,
    #[serde(default)]
    tcp: Tcp,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
struct Http {
    valid_status_codes: Vec<u16>,
    valid_http_versions: Vec<String>,
    method: String,
    headers: BTreeMap<String, String>,
    body: String,
    no_follow_redirects: Option<bool>,
    follow_redirects: bool,
    fail_if_ssl: bool,
    fail_if_not_ssl: bool,
    fail_if_body_matches_regexp: Vec<String>,
    fail_if_body_not_matches_regexp: Vec<String>,
    fail_if_header_matches: Vec<HeaderMatch>,
    fail_if_header_not_matches: Vec<HeaderMatch>,
    tls_config: Tls,
    basic_auth: Option<Basic>,
    authorization: Option<Authorization>,
    bearer_token: Option<String>,
    bearer_token_file: Option<PathBuf>,
    preferred_ip_protocol: Option<String>,
    ip_protocol_fallback: Option<bool>,
    #[serde(flatten)]
    rest: BTreeMap<String, serde_json::Value>,
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
            follow_redirects: true,
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
struct HeaderMatch {
    header: String,
    regexp: String,
    #[serde(default)]
    allow_missing: bool,
}

#[derive(Clone, Debug, Deserialize)]
struct Basic {
    username: String,
    password: Option<String>,
    password_file: Option<PathBuf>,
}

#[derive(Clone, Debug, Deserialize)]
struct Authorization {
    #[serde(rename = "type")]
    kind: Option<String>,
    credentials: Option<String>,
    credentials_file: Option<PathBuf>,
}

#[derive(Clone, Default, Debug, Deserialize)]
#[serde(default)]
struct Tls {
    insecure_skip_verify: bool,
    ca_file: Option<PathBuf>,
    cert_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    server_name: Option<String>,
    #[serde(flatten)]
    rest: BTreeMap<String, serde_json::Value>,
}

#[derive(Clone, Default, Debug, Deserialize)]
#[serde(default)]
struct Tcp {
    query_response: Vec<Step>,
    tls: bool,
    tls_config: Tls,
    preferred_ip_protocol: Option<String>,
    ip_protocol_fallback: Option<bool>,
    #[serde(flatten)]
    rest: BTreeMap<String, serde_json::Value>,
}

impl Default for Blackbox {
    /// What `/probe` offers without a configuration: `http_2xx` and `tcp_connect`, as the exporter's own example does.
    fn default() -> Self {
        let module = |prober: &str, tls| Module {
            prober: prober.into(),
            timeout: None,
            http: Http::default(),
            tcp: Tcp { tls, ..Tcp::default() },
        };
        let named =
            [("http_2xx", module("http", false)), ("tcp_connect", module("tcp", false)), ("tls_connect", module("tcp", true))];
        Self { modules: named.into_iter().map(|(name, m)| (name.to_owned(), m)).collect() }
    }
}

impl Blackbox {
    /// Reads a configuration.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        serde_saphyr::from_str(text).map_err(|e| e.to_string())
    }

    /// What of it is not done here, in words.
    pub fn unsupported(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (name, m) in &self.modules {
            if !matches!(m.prober.as_str(), "http" | "tcp") {
                found.push(format!("module {name}: prober {} is not offered", m.prober));
            }
            let ignored = [&m.http.rest, &m.http.tls_config.rest, &m.tcp.rest, &m.tcp.tls_config.rest];
            found.extend(ignored.iter().flat_map(|r| r.keys()).map(|field| format!("module {name}: {field} is ignored")));
        }
        found
    }
}

/// Lines of the exposition.
#[derive(Default)]
struct Text(String);

impl Text {
    fn gauge(&mut self, name: &str, help: &str, value: impl std::fmt::Display) {
        self.family(name, help);
        self.0 += &format!("{name} {value}\n");
    }

    fn family(&mut self, name: &str, help: &str) {
        self.0 += &format!("# HELP {name} {help}\n# TYPE {name} gauge\n");
    }

    fn labelled(&mut self, name: &str, label: &str, word: &str, value: f64) {
        self.with_labels(name, &[(label, word.to_owned())], value);
    }

    fn with_labels(&mut self, name: &str, labels: &[(&str, String)], value: f64) {
        let quoted = |word: &String| word.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', " ");
        let labels: Vec<String> = labels.iter().map(|(label, word)| format!("{label}=\"{}\"", quoted(word))).collect();
        self.0 += &format!("{name}{{{}}} {value}\n", labels.join(","));
    }
}

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
    let own = module.timeout.map(|t| t.0).filter(|t| !t.is_zero()).unwrap_or(DEFAULT_TIMEOUT);
    let given = patience.filter(|p| *p > 0.0).and_then(|p| Duration::try_from_secs_f64((p - OFFSET).max(0.1)).ok());
    let timeout = given.map_or(own, |given| given.min(own));
    let lookup = Lookup::new(&[]).map_err(|e| e.to_string())?;
    let begun = std::time::Instant::now();
    let mut text = Text::default();
    let success = match module.prober.as_str() {
        "http" => http(&module.http, target, timeout, &Means { lookup: &lookup, cache }, &mut text).await?,
        "tcp" => tcp(&module.tcp, target, timeout, &Means { lookup: &lookup, cache }, &mut text).await?,
        other => return Err(format!("module {name}: prober {other} is not offered (http and tcp are)")),
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
        _ => Family::Any,
    }
}

fn tls_options(tls: &Tls, alpn: &[&str]) -> TlsOptions {
    TlsOptions {
        ca: tls.ca_file.clone(),
        insecure: tls.insecure_skip_verify,
        certificate: tls.cert_file.clone().zip(tls.key_file.clone()),
        alpn: alpn.iter().map(ToString::to_string).collect(),
        ..TlsOptions::default()
    }
}

async fn http(module: &Http, target: &str, timeout: Duration, means: &Means<'_>, text: &mut Text) -> Result<bool, String> {
    let mut url = if target.starts_with("http://") || target.starts_with("https://") {
        target.to_owned()
    } else {
        format!("http://{target}")
    };
    let deadline = std::time::Instant::now() + timeout;
    let mut reports: Vec<Report> = Vec::new();
    let follow = module.no_follow_redirects.map_or(module.follow_redirects, |no| !no);
    let mut headers: Vec<(String, String)> = module.headers.clone().into_iter().collect();
    headers.extend(authorization(module)?);
    let mut redirects = 0;
    loop {
        let (encrypted, host, port, path) = split(&url)?;
        let tls = encrypted.then(|| means.cache.get(tls_options(&module.tls_config, &["http/1.1"]))).transpose()?;
        let request = HttpRequest {
            method: if module.method.is_empty() { "GET".into() } else { module.method.clone() },
            path,
            headers: headers.clone(),
            body: module.body.clone(),
            keep_body: MOST_BODY,
            head_only: false,
        };
        let report = probe_once(
            &Target {
                host,
                port,
                connect_to: None,
                address: None,
                server_name: module.tls_config.server_name.clone(),
                family: family(module.preferred_ip_protocol.as_deref(), module.ip_protocol_fallback),
                tls,
                request: Some(request),
                timeout: deadline.saturating_duration_since(std::time::Instant::now()),
                pauses: Pauses::default(),
            },
            means.lookup,
        )
        .await;
        let location = report.response.as_ref().filter(|r| (300..400).contains(&r.status)).and_then(|r| r.header("location"));
        let next = location.filter(|_| follow && redirects < MOST_REDIRECTS).map(|to| join(&url, to));
        reports.push(report);
        match next {
            Some(next) => url = next,
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

async fn tcp(module: &Tcp, target: &str, timeout: Duration, means: &Means<'_>, text: &mut Text) -> Result<bool, String> {
    let (host, port) = host_and_port(target, None)?;
    let options = tls_options(&module.tls_config, &[]);
    let tls = module.tls.then(|| means.cache.get(options.clone())).transpose()?;
    let family = family(module.preferred_ip_protocol.as_deref(), module.ip_protocol_fallback);
    if !module.query_response.is_empty() {
        let starttls = means.cache.get(options)?;
        let name = module.tls_config.server_name.clone().unwrap_or_else(|| host.clone());
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
        server_name: module.tls_config.server_name.clone(),
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

/// What every probe tells: addresses, lookup, certificates, and whose time it was.
fn common(text: &mut Text, report: &Report) {
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
    let opinion = judge_round(report, Usual::default(), &Gate::default(), analysis::clock::Span::ZERO, None);
    let mut owners: BTreeMap<&str, f64> = BTreeMap::new();
    for entry in &opinion.reading.ledger.entries {
        *owners.entry(side(entry.owner)).or_default() += entry.span.millis() / 1e3;
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

fn certificates(text: &mut Text, chain: &[rustls_pki_types::CertificateDer<'_>]) {
    if let Some(end) = certificate::chain_end(chain) {
        text.gauge("probe_ssl_earliest_cert_expiry", "Returns last SSL chain expiry in unixtime", end);
        text.gauge("probe_ssl_last_chain_expiry_timestamp_seconds", "Returns last SSL chain expiry in timestamp", end);
    }
    if let Some(labels) = chain.first().and_then(certificate::described) {
        text.family("probe_ssl_last_chain_info", "Contains SSL leaf certificate information");
        text.with_labels("probe_ssl_last_chain_info", &labels, 1.0);
    }
}

/// Phases summed over redirects; those that did not happen are absent.
fn durations(text: &mut Text, reports: &[Report]) {
    let name = "probe_http_duration_seconds";
    text.family(name, "Duration of http request by phase, summed over all redirects");
    type Pick = fn(&Report) -> (Option<i64>, Option<i64>);
    let phases: [(&str, Pick); 5] = [
        ("resolve", |r| (r.dns_start, r.dns_end)),
        ("connect", |r| (r.connect_start, r.connected)),
        ("tls", |r| (r.connected.filter(|_| r.client_finished.is_some()), r.client_finished)),
        ("processing", |r| (r.first_request, r.first_response)),
        ("transfer", |r| (r.first_response, r.response_end)),
    ];
    for (phase, pick) in phases {
        let spans: Vec<f64> = reports.iter().map(pick).filter_map(|(from, to)| Some(seconds(from?, to?))).collect();
        if !spans.is_empty() {
            text.labelled(name, "phase", phase, spans.iter().sum());
        }
    }
}

fn seconds(from: i64, to: i64) -> f64 {
    (to - from) as f64 / 1e9
}

fn authorization(module: &Http) -> Result<Option<(String, String)>, String> {
    let file = |path: &PathBuf| {
        std::fs::read_to_string(path).map(|s| s.trim().to_owned()).map_err(|e| format!("{}: {e}", path.display()))
    };
    let either = |plain: &Option<String>, path: &Option<PathBuf>| match (plain, path) {
        (_, Some(path)) => file(path).map(Some),
        (plain, None) => Ok(plain.clone()),
    };
    let value = if let Some(basic) = &module.basic_auth {
        use base64::Engine;
        let password = either(&basic.password, &basic.password_file)?.unwrap_or_default();
        Some(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{}:{password}", basic.username))))
    } else if let Some(given) = &module.authorization {
        let credentials = either(&given.credentials, &given.credentials_file)?;
        credentials.map(|c| format!("{} {c}", given.kind.as_deref().unwrap_or("Bearer")))
    } else {
        either(&module.bearer_token, &module.bearer_token_file)?.map(|token| format!("Bearer {token}"))
    };
    Ok(value.map(|v| ("Authorization".to_owned(), v)))
}

/// Whether it is encrypted, host, port, path.
fn split(url: &str) -> Result<(bool, String, u16, String), String> {
    let (encrypted, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => (true, rest),
        (_, Some(rest)) => (false, rest),
        _ => return Err(format!("{url:?}: only http and https")),
    };
    let rest = rest.split('#').next().unwrap_or(rest);
    let (authority, path) = rest.find(['/', '?']).map_or((rest, ""), |at| rest.split_at(at));
    let authority = authority.rsplit('@').next().unwrap_or(authority);
    let (host, port) = host_and_port(authority, Some(if encrypted { 443 } else { 80 }))?;
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    Ok((encrypted, host, port, path))
}

/// Where a redirect leads (RFC 3986, section 5.2, as far as servers use it).
fn join(from: &str, to: &str) -> String {
    if to.starts_with("http://") || to.starts_with("https://") {
        return to.to_owned();
    }
    let scheme = from.find("://").map_or(0, |at| at + 3);
    let root = from[scheme..].find('/').map_or(from, |at| &from[..scheme + at]);
    match to {
        _ if to.starts_with("//") => format!("{}{to}", &from[..scheme.saturating_sub(2)]),
        _ if to.starts_with('/') => format!("{root}{to}"),
        _ => {
            let path = from[root.len()..].split(['?', '#']).next().unwrap_or_default();
            let folder = path.rfind('/').map_or("/", |at| &path[..=at]);
            format!("{root}{folder}{to}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exporters_own_configuration_is_taken_as_it_is() {
        let text = r#"
modules:
  http_2xx:
    prober: http
    timeout: 5s
    http:
      valid_http_versions: ["HTTP/1.1", "HTTP/2.0"]
      valid_status_codes: []
      method: GET
      headers: { Accept-Language: en-US }
      no_follow_redirects: false
      fail_if_body_not_matches_regexp: ["ok"]
      tls_config: { insecure_skip_verify: false, min_version: TLS12 }
      preferred_ip_protocol: "ip4"
      ip_protocol_fallback: false
      compression: gzip
  irc_banner:
    prober: tcp
    tcp:
      query_response:
        - send: "NICK prober"
        - expect: "PING :([^ ]+)"
          send: "PONG ${1}"
  smtp_starttls:
    prober: tcp
    tcp:
      query_response:
        - expect: "^220 "
        - send: "STARTTLS\r"
        - starttls: true
  icmp: { prober: icmp }
"#;
        let modules = Blackbox::parse(text).expect("it is valid");
        assert_eq!(modules.modules.len(), 4);
        let said = modules.unsupported();
        assert!(said.contains(&"module http_2xx: compression is ignored".to_owned()), "{said:?}");
        assert!(said.contains(&"module icmp: prober icmp is not offered".to_owned()), "{said:?}");
        assert!(said.contains(&"module http_2xx: min_version is ignored".to_owned()), "{said:?}");
        assert_eq!(said.len(), 3, "{said:?}");
    }

    #[test]
    fn the_exporters_own_expressions_are_expressions_here() {
        for pattern in ["^+OK", "^SSH-2.0-", "PING :([^ ]+)", "^:[^ ]+ 001"] {
            assert!(Regex::new(pattern).is_ok(), "{pattern}");
        }
    }

    #[test]
    fn redirects_lead_where_browsers_go() {
        assert_eq!(join("https://a.test/b/c?d", "/e"), "https://a.test/e");
        assert_eq!(join("https://a.test/b/c?d", "e"), "https://a.test/b/e");
        assert_eq!(join("https://a.test", "e"), "https://a.test/e");
        assert_eq!(join("https://a.test/b", "//c.test/d"), "https://c.test/d");
        assert_eq!(join("http://a.test/b", "https://c.test"), "https://c.test");
        assert_eq!(split("https://[::1]:8443?x"), Ok((true, "::1".into(), 8443, "/?x".into())));
    }
}
