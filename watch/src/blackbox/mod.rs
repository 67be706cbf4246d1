//! `/probe?target=&module=`: blackbox_exporter's contract, with its configuration file as it is.
//!
//! ```text
//!  file ─► octets (binary text) ─► modules: http, tcp, icmp, dns ─► refused, or served
//!  http ─► redirect (what may be said where), proxy ─► asking ─► body (is the answer good?) ┐
//!  tcp  ─► query_response                                                                   ├─► families ─► text
//!  icmp, dns ───────────────────────────────────────────────────────────────────────────────┘   reported: a report in its names
//! ```
//! Its metric names and values (a failed probe is HTTP 200 with `probe_success 0`), and beside them whose time it was. What differs is
//! listed in docs/probe.md.

mod asking;
mod body;
mod credentials;
mod dns;
mod dns_names;
mod dns_text;
mod expression;
mod families;
mod http;
mod icmp;
mod modules;
mod octets;
mod proxy;
mod query_response;
mod redirect;
mod reported;
mod shown;
mod tcp;
#[cfg(test)]
mod tests;
mod tls;

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use alerting::secret::SecretError;
use prober::{Family, Lookup};

use families::Families;
pub use modules::{Blackbox, Module};
use modules::{Kind, Preferred};

use crate::error::Invalid;
use crate::tls_cache::TlsCache;

/// blackbox_exporter gives up so long before the scrape does.
const OFFSET: Duration = Duration::from_millis(500);
/// Its patience where nobody says.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(120);

/// Why nothing was probed, by whose fault. What a peer does wrong is an answer, not an error.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// Whoever asked: no target, no such module.
    #[error(transparent)]
    Question(Invalid),
    /// Whoever asked: there is no module of this name.
    #[error("Unknown module \"{0}\"")]
    UnknownModule(String),
    /// The configuration's.
    #[error(transparent)]
    Configuration(Invalid),
    /// The configuration's: credentials are not where it says.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The configuration's or this host's: certificates, name servers.
    #[error(transparent)]
    Host(#[from] io::Error),
}

/// What is asked for.
struct Question<'a> {
    target: &'a str,
    /// Ask for this host instead of the target's name.
    hostname: Option<&'a str>,
    timeout: Duration,
}

/// What probes share.
struct Shared<'a> {
    lookup: &'a Lookup,
    cache: &'a TlsCache,
}

/// Probes once; the exposition, or, with `debug=true`, what happened. `patience`: when the scrape gives up.
///
/// # Errors
/// If the question is wrong: no target, no such module, a module that is refused.
pub async fn probe(
    modules: &Blackbox,
    query: &BTreeMap<String, String>,
    patience: Option<Duration>,
    cache: &TlsCache,
) -> Result<String, ProbeError> {
    let wrong = |what: String| ProbeError::Question(Invalid(what));
    let name = query.get("module").filter(|name| !name.is_empty()).map_or("http_2xx", String::as_str);
    let module = modules.modules.get(name).ok_or_else(|| ProbeError::UnknownModule(name.to_owned()))?;
    let target = query.get("target").filter(|t| !t.is_empty()).ok_or_else(|| wrong("Target parameter is missing".into()))?;
    let refused = |why: String| wrong(format!("module {name} is refused: {why}"));
    if let Some(why) = module.refused() {
        return Err(refused(why));
    }
    let hostname = query.get("hostname").map(String::as_str).filter(|name| !name.is_empty());
    let lookup = Lookup::new(&[])?;
    let begun = Instant::now();
    let mut found = Families::default();
    let timeout = timeout(module.timeout.map(|t| t.0), patience);
    let (question, shared) = (Question { target, hostname, timeout }, Shared { lookup: &lookup, cache });
    let outcome = match &module.kind {
        Kind::Http(http) => http.probe(&question, &shared, &mut found).await,
        Kind::Tcp(tcp) => tcp.probe(&question, &shared, &mut found).await,
        Kind::Icmp(icmp) => Ok(icmp.probe(&question, &shared, &mut found).await),
        Kind::Dns(dns) => dns.probe(&question, &shared, &mut found).await,
        Kind::NotOffered(prober) => return Err(refused(format!("prober {prober} is not offered"))),
    };
    let success = match outcome {
        Ok(success) => success,
        Err(error @ (ProbeError::Question(_) | ProbeError::UnknownModule(_))) => return Err(error),
        // The module is at fault, and the exporter says no more of it.
        Err(error @ (ProbeError::Configuration(_) | ProbeError::Secret(_) | ProbeError::Host(_))) => {
            found.note(error);
            false
        }
    };
    found.gauge("probe_success", "Displays whether or not the probe was a success", i32::from(success));
    let took = begun.elapsed().as_secs_f64();
    found.gauge("probe_duration_seconds", "Returns how long the probe took to complete in seconds", took);
    let text = found.text();
    let debug = query.get("debug").is_some_and(|debug| debug == "true");
    Ok(if debug {
        format!("Logs for the probe:\n{}\n\n\nMetrics that would have been returned:\n{text}", found.notes().join("\n"))
    } else {
        text
    })
}

/// How long a probe may take: what the module allows, and the scrape, with something left for the way back.
fn timeout(module: Option<Duration>, scrape: Option<Duration>) -> Duration {
    let most = scrape.unwrap_or(DEFAULT_TIMEOUT);
    let module = module.filter(|own| !own.is_zero());
    match (most.checked_sub(OFFSET), module) {
        (Some(left), Some(own)) => left.min(own),
        (Some(left), None) => left,
        // A scrape that is over before it began: the module's word counts.
        (None, Some(own)) => own,
        (None, None) => most,
    }
}

/// Which addresses a section wants.
fn family(preferred: Option<Preferred>, fallback: Option<bool>) -> Family {
    let v6 = matches!(preferred, None | Some(Preferred::V6));
    match (v6, fallback.unwrap_or(true)) {
        (false, false) => Family::V4,
        (true, false) => Family::V6,
        (false, true) => Family::PreferV4,
        (true, true) => Family::PreferV6,
    }
}

/// The address to probe where a report does not tell: looked up, or the target itself. Notes what the exporter says of it.
async fn choose(
    host: &str,
    family: Family,
    question: &Question<'_>,
    shared: &Shared<'_>,
    found: &mut Families,
) -> Option<(IpAddr, Duration)> {
    let begun = Instant::now();
    let literal: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    let chosen = match literal {
        Some(ip) if family.admits(ip) => Ok(ip),
        Some(ip) => Err(format!("{ip} is no address of the family asked for")),
        None => match shared.lookup.addresses(host, family, question.timeout).await {
            Ok(addresses) => addresses.first().copied().ok_or_else(|| "no address".to_owned()),
            Err(failure) => Err(failure.detail),
        },
    };
    let took = begun.elapsed();
    reported::lookup_took(found, took.into());
    reported::address(found, chosen.as_ref().ok().copied());
    match chosen {
        Ok(ip) => Some((ip, took)),
        Err(why) => {
            found.note(why);
            None
        }
    }
}
