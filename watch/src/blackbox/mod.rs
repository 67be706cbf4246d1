//! `/probe?target=&module=`: blackbox_exporter's contract, with its configuration file as it is.
//!
//! Its http and tcp modules, its metric names (a failed probe is HTTP 200 with `probe_success 0`), and beside them whose time it was. One
//! thing differs on purpose: a phase that did not happen is absent, not 0.

mod credentials;
mod http;
mod modules;
mod redirect;
mod tcp;
#[cfg(test)]
mod tests;
mod text;
mod tls;

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use alerting::secret::SecretError;
use prober::{Family, Lookup};

use modules::Kind;
pub use modules::{Blackbox, Module};
use text::Text;

use crate::error::Invalid;
use crate::tls_cache::TlsCache;

/// blackbox_exporter gives up so long before the scrape does, and leaves itself a tenth of a second at least.
const OFFSET: Duration = Duration::from_millis(500);
const LEAST_TIMEOUT: Duration = Duration::from_millis(100);
/// Its patience where nobody says.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(120);

/// Why nothing was probed, by whose fault. What a peer does wrong is an answer, not an error.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// Whoever asked: no target, no such module.
    #[error(transparent)]
    Question(Invalid),
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

/// Probes once; the exposition. `patience`: when the scrape gives up.
///
/// # Errors
/// If the question is wrong (no target, no such module), or what the module names is not there.
pub async fn probe(
    modules: &Blackbox,
    query: &BTreeMap<String, String>,
    patience: Option<Duration>,
    cache: &TlsCache,
) -> Result<String, ProbeError> {
    let wrong = |what: String| ProbeError::Question(Invalid(what));
    let target = query.get("target").filter(|t| !t.is_empty()).ok_or_else(|| wrong("Target parameter is missing".into()))?;
    let name = query.get("module").map_or("http_2xx", String::as_str);
    let module = modules.modules.get(name).ok_or_else(|| wrong(format!("Unknown module \"{name}\"")))?;
    let refused = |why: String| wrong(format!("module {name} is refused: {why}"));
    if let Some(why) = module.refused() {
        return Err(refused(why));
    }
    let hostname = query.get("hostname").map(String::as_str).filter(|name| !name.is_empty());
    let own = module.timeout.map(|t| t.0).filter(|t| !t.is_zero()).unwrap_or(DEFAULT_TIMEOUT);
    let timeout = patience.map_or(own, |given| given.saturating_sub(OFFSET).max(LEAST_TIMEOUT).min(own));
    let lookup = Lookup::new(&[])?;
    let begun = Instant::now();
    let mut text = Text::default();
    let (question, shared) = (Question { target, hostname, timeout }, Shared { lookup: &lookup, cache });
    let success = match &module.kind {
        Kind::Http(http) => http.probe(&question, &shared, &mut text).await?,
        Kind::Tcp(tcp) => tcp.probe(&question, &shared, &mut text).await?,
        Kind::NotOffered(prober) => return Err(refused(format!("prober {prober} is not offered"))),
    };
    text.gauge("probe_success", "Displays whether or not the probe was a success", i32::from(success));
    text.gauge("probe_duration_seconds", "Returns how long the probe took to complete in seconds", begun.elapsed().as_secs_f64());
    Ok(text.0)
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
