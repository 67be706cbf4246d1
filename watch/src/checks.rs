//! The check file: what is checked, how often, when it is too slow, and who is told.
//!
//! TOML; unknown fields are errors with their line. Its schema: `whostalled watch --schema`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use alerting::clock::UnixSeconds;
use alerting::secret::PlainOrSecret;
use alerting::states::KofN;
use alerting::{Receiver, receiver};
use analysis::judging::policy;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use settings::place::unread;
use settings::{Time, Wrong};
use toml::Spanned;
use toml::de::DeTable;

use crate::error::{FileError, Invalid};
pub use crate::fleet::{FleetOptions, SeenFrom};
pub use crate::plans::Plan;
pub use crate::secrets::Auth;

/// A check file.
#[derive(Clone, PartialEq, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub struct CheckFile {
    /// The watcher itself.
    #[serde(default)]
    pub watch: Watch,
    /// The gate: when the prober's own host is too slow for a round to count.
    #[serde(default)]
    pub gate: Gate,
    /// Defaults of all checks.
    #[serde(default)]
    pub defaults: Defaults,
    /// The checks; none where `/probe` alone is wanted (`[watch] blackbox`).
    #[serde(default, rename = "check")]
    pub checks: Vec<Check>,
    /// Maintenance windows.
    #[serde(default)]
    pub maintenance: Vec<Maintenance>,
    /// The fleet that runs the checks, with `watch --fleet`.
    #[serde(default)]
    pub fleet: FleetOptions,
    /// A receiver of alerts.
    #[serde(default, rename = "receiver")]
    pub receivers: Vec<Receiver>,
}

/// The watcher itself. These fields are read at the start only.
#[derive(Clone, PartialEq, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields, default)]
pub struct Watch {
    /// The name of this place, for labels and rows.
    pub vantage: String,
    /// The database.
    pub store: PathBuf,
    /// How long rounds are kept.
    pub retention: Time,
    /// Where page and metrics are served; loopback unless told otherwise.
    pub listen: SocketAddr,
    /// How the page is reached from outside, for links in alerts.
    pub external_url: Option<String>,
    /// Name servers to ask instead of those of /etc/resolv.conf.
    pub resolvers: Vec<SocketAddr>,
    /// A blackbox_exporter configuration for `/probe`.
    pub blackbox: Option<PathBuf>,
    /// Serve HTTPS with this certificate chain and key, PEM.
    pub tls: Option<ServerTls>,
    /// Ask for a password or a token.
    pub auth: Option<Auth>,
    /// Probes in flight at once; beyond it a round is skipped and counts against the prober.
    pub most_under_way: usize,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            vantage: nix::unistd::gethostname().ok().and_then(|n| n.into_string().ok()).unwrap_or_else(|| "here".into()),
            store: "whostalled.db".into(),
            retention: Time::secs(14 * 86_400),
            listen: SocketAddr::from(([127, 0, 0, 1], 9719)),
            external_url: None,
            resolvers: Vec::new(),
            blackbox: None,
            tls: None,
            auth: None,
            most_under_way: 4096,
        }
    }
}

impl Watch {
    /// Where somebody looks at `name`, a check.
    pub(crate) fn link(&self, name: &str) -> String {
        format!("{}/check/{}", self.base(), crate::page::escape_path(name))
    }

    /// How the page is reached: what addresses on it begin with.
    pub fn base(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let base = self.external_url.as_deref().map(|url| url.trim_end_matches('/').to_owned());
        base.unwrap_or_else(|| format!("{scheme}://{}", self.listen))
    }
}

/// Certificate and key of the page.
#[derive(Clone, PartialEq, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub struct ServerTls {
    /// Certificate chain, PEM.
    pub certificate: PathBuf,
    /// Private key, PEM.
    pub key: PathBuf,
}

/// The gate: when the prober's own host is too slow for a round to count.
#[derive(Clone, Copy, PartialEq, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields, default)]
pub struct Gate {
    /// Time a round's thread may wait for a CPU.
    pub run_delay: Time,
    /// Time the edge's bytes may wait in our kernel.
    pub data_waiting: Time,
    /// How late a round may begin.
    pub lateness: Time,
    /// How long a handshake with ourselves over loopback may take.
    pub reference: Time,
    /// Interval between two such measurements.
    pub reference_interval: Time,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            run_delay: Time::millis(20),
            data_waiting: Time::millis(20),
            lateness: Time::millis(500),
            reference: Time::millis(100),
            reference_interval: Time::secs(10),
        }
    }
}

/// Defaults of all checks.
#[derive(Clone, PartialEq, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields, default)]
pub struct Defaults {
    /// Time between two rounds of a check.
    pub interval: Time,
    /// Timeout of a round; it may exceed the interval.
    pub timeout: Time,
    /// Alert when `k` of the last `n` rounds are bad.
    pub fire: KofN,
    /// Good rounds in a row that resolve an alert.
    pub resolve_after: u32,
    /// In a fleet: alert when `k` vantages see it.
    pub from: SeenFrom,
    /// Thresholds: when a round is bad.
    pub thresholds: Thresholds,
    /// Root certificates, PEM; absent: the platform's store.
    pub ca: Option<PathBuf>,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            interval: Time::secs(30),
            timeout: Time::secs(10),
            fire: KofN { k: 3, n: 5 },
            resolve_after: 3,
            from: SeenFrom::default(),
            thresholds: Thresholds::default(),
            ca: None,
        }
    }
}

/// Days before a certificate ends, if nobody says otherwise.
const CERTIFICATE_DAYS: u32 = 7;

/// When a round is bad: once a culprit's part takes so much longer than usual; once a phase or the whole round takes longer than that, usual
/// or not. The prober's own time counts nowhere. What a check does not name is as in `defaults`.
#[derive(Clone, PartialEq, Eq, Default, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields, default)]
pub struct Thresholds {
    /// Any culprit's time beyond the baseline; 100 ms if nobody says otherwise.
    pub culprit: Option<Time>,
    /// The edge's; as `culprit` if absent.
    pub edge: Option<Time>,
    /// The path's.
    pub path: Option<Time>,
    /// Lost packets'.
    pub loss: Option<Time>,
    /// The resolver's.
    pub resolver: Option<Time>,
    /// A whole phase: dns, connect, client_hello, server_flight, client_finished, finish, request.
    pub phase: BTreeMap<String, Time>,
    /// The whole round, without the prober's own time.
    pub total: Option<Time>,
    /// Alert this many days before a certificate expires; 7 if nobody says otherwise.
    pub certificate_days: Option<u32>,
}

impl Thresholds {
    /// These, and the others as they are in `defaults`.
    pub fn over(&self, defaults: &Self) -> Self {
        Self {
            culprit: self.culprit.or(defaults.culprit),
            edge: self.edge.or(defaults.edge),
            path: self.path.or(defaults.path),
            loss: self.loss.or(defaults.loss),
            resolver: self.resolver.or(defaults.resolver),
            phase: defaults.phase.iter().chain(&self.phase).map(|(name, limit)| (name.clone(), *limit)).collect(),
            total: self.total.or(defaults.total),
            certificate_days: self.certificate_days.or(defaults.certificate_days),
        }
    }

    /// Any culprit's.
    pub fn culprit(&self) -> Time {
        self.culprit.unwrap_or(Time(policy::BAD_ROUND))
    }

    /// A certificate's.
    pub fn certificate_days(&self) -> u32 {
        self.certificate_days.unwrap_or(CERTIFICATE_DAYS)
    }
}

/// The role of a target.
#[derive(Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema, Debug)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A target under watch.
    #[default]
    Edge,
    /// A target of somebody else, for comparison: if the controls are slow too, our own access is to blame, not the edge.
    Control,
}

/// Which of a name's addresses are probed.
#[derive(Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema, Debug)]
#[serde(rename_all = "snake_case")]
pub enum Addresses {
    /// The one that answers first (RFC 8305).
    #[default]
    Race,
    /// Each, in a probe of its own.
    Each,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
}

/// A check.
#[derive(Clone, PartialEq, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// Its name, for labels and rows.
    pub name: String,
    /// `https://host:port/path` (with a request), or `host:port` (the handshake alone).
    pub target: String,
    /// What it is for.
    #[serde(default)]
    pub role: Role,
    /// Connect to this `host:port` instead of the target's name.
    pub connect_to: Option<String>,
    /// Ask for this name (SNI) and verify it.
    pub server_name: Option<String>,
    /// Which of the name's addresses are probed.
    #[serde(default)]
    pub addresses: Addresses,
    /// Root certificates, PEM.
    pub ca: Option<PathBuf>,
    /// Accept any certificate.
    #[serde(default)]
    pub insecure: bool,
    /// Offer this version only: "1.2" or "1.3".
    pub tls: Option<String>,
    /// The client's own certificate chain, PEM.
    pub certificate: Option<PathBuf>,
    /// Its key, PEM.
    pub key: Option<PathBuf>,
    /// Protocols offered (ALPN).
    #[serde(default)]
    pub alpn: Vec<String>,
    /// Resume the session of the round before, where the edge allows.
    #[serde(default)]
    pub resume: bool,
    /// Headers of the request; values may name secrets.
    #[serde(default)]
    pub headers: BTreeMap<String, PlainOrSecret>,
    /// Accepted HTTP statuses; any below 400 if empty.
    #[serde(default)]
    pub status: Vec<u16>,
    /// The header by which an answer says which backend gave it: `x-backend`. A backend of which every round fails is then named.
    pub backend: Option<String>,
    /// Alert also when failures of the last rounds have a pattern: one backend, every n-th round, spells, a share.
    #[serde(default = "yes")]
    pub patterns: bool,
    /// As in `[defaults]`.
    pub interval: Option<Time>,
    /// As in `[defaults]`.
    pub timeout: Option<Time>,
    /// As in `[defaults]`.
    pub fire: Option<KofN>,
    /// As in `[defaults]`.
    pub resolve_after: Option<u32>,
    /// As in `[defaults]`.
    pub from: Option<SeenFrom>,
    /// As in `[defaults]`.
    #[serde(default)]
    pub thresholds: Thresholds,
    /// Labels for alerts.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

fn yes() -> bool {
    true
}

/// A maintenance window: rounds go on, nobody is alerted.
#[derive(Clone, PartialEq, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub struct Maintenance {
    /// Names of checks; `*` at the end matches anything. Empty: all.
    #[serde(default)]
    pub checks: Vec<String>,
    /// Begin, as `2026-11-25T22:00:00Z` or with an offset, as `2026-11-25T23:00:00+01:00`. A zone's name is refused: see `every`.
    #[schemars(with = "String")]
    #[serde(deserialize_with = "moment")]
    pub from: Timestamp,
    /// End.
    #[schemars(with = "String")]
    #[serde(deserialize_with = "moment")]
    pub to: Timestamp,
    /// Repeats with this period: `7d` for weekly. Days have 24 hours: by local time a window moves where clocks are changed.
    pub every: Option<Time>,
}

impl Check {
    /// One of a target, with defaults for all the rest; its name is the target, without what goes without saying.
    pub fn of(target: &str) -> Self {
        let name = target.strip_prefix("https://").unwrap_or(target);
        Self {
            name: name.trim_end_matches('/').to_owned(),
            target: target.to_owned(),
            role: Role::default(),
            connect_to: None,
            server_name: None,
            addresses: Addresses::default(),
            ca: None,
            insecure: false,
            tls: None,
            certificate: None,
            key: None,
            alpn: Vec::new(),
            resume: false,
            headers: BTreeMap::new(),
            status: Vec::new(),
            backend: None,
            patterns: true,
            interval: None,
            timeout: None,
            fire: None,
            resolve_after: None,
            thresholds: Thresholds::default(),
            from: None,
            labels: BTreeMap::new(),
        }
    }
}

impl CheckFile {
    /// Reads and validates a check file.
    ///
    /// # Errors
    /// Says what is wrong, with file and line where that can be.
    pub fn load(path: &Path) -> Result<Self, FileError> {
        FileError::read(path, Self::parse)
    }

    /// The same from text.
    ///
    /// ```
    /// use whostalled_watch::checks::CheckFile;
    ///
    /// let file = CheckFile::parse("[[check]]\nname = \"login\"\ntarget = \"https://login.example/health\"").expect("it is sound");
    /// let plans = file.plans().expect("so are its checks");
    /// assert_eq!((plans[0].host.as_str(), plans[0].port), ("login.example", 443));
    /// ```
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let file: CheckFile =
            toml::from_str(text).map_err(|e| Invalid(receiver::unread(text).unwrap_or_else(|| unread(text, &e))))?;
        file.check().map_err(|wrong| Invalid(wrong.said(text)))?;
        Ok(file)
    }

    /// The same from the table of a document, out of which the caller took what is its own.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn of_table(text: &str, root: Spanned<DeTable<'_>>) -> Result<Self, Invalid> {
        let file = Self::deserialize(toml::de::Deserializer::from(root)).map_err(|mut e| {
            e.set_input(Some(text));
            Invalid(unread(text, &e))
        })?;
        file.check().map_err(|wrong| Invalid(wrong.said(text)))?;
        Ok(file)
    }

    fn check(&self) -> Result<(), Wrong> {
        self.check_names()?;
        self.planned().map(drop)?;
        self.fleet.check().map_err(|wrong| wrong.within("fleet"))?;
        self.check_windows()
    }
}

/// A moment; not one with a zone's name, which would be thrown away: windows come again by hours, not by a zone's days.
fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.contains('[') {
        return Err(D::Error::custom("a zone's name has no effect here: write the moment with Z or an offset alone"));
    }
    text.parse().map_err(D::Error::custom)
}

impl Maintenance {
    /// Whether a pattern of `checks` means the check of that name.
    pub(crate) fn means(pattern: &str, check: &str) -> bool {
        pattern.strip_suffix('*').map_or(pattern == check, |prefix| check.starts_with(prefix))
    }

    /// Whether `check` rests at `now`.
    pub fn covers(&self, check: &str, now: UnixSeconds) -> bool {
        let now = now.secs();
        let named = self.checks.is_empty() || self.checks.iter().any(|pattern| Self::means(pattern, check));
        let (from, to) = (self.from.as_second(), self.to.as_second());
        let at = match self.every.map(|e| e.0.as_secs() as i64).filter(|e| *e > 0) {
            Some(every) if now >= from => from + (now - from) % every,
            _ => now,
        };
        named && at >= from && at < to
    }
}

/// The schema of check files.
pub fn schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(CheckFile).to_value();
    // The default is this host's name: no part of what is published.
    for place in ["/properties/watch/default/vantage", "/$defs/Watch/properties/vantage/default"] {
        if let Some(name) = schema.pointer_mut(place) {
            *name = "(the host's name)".into();
        }
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::TargetKind;

    const SMALL: &str = "[[check]]\nname = \"a\"\ntarget = \"https://edge.test/health\"\n";

    #[test]
    fn a_small_file_is_enough() {
        let plans = CheckFile::parse(SMALL).expect("it is valid").plans().expect("it is valid");
        let kind = TargetKind::Request { path: "/health".into() };
        assert_eq!((plans[0].host.as_str(), plans[0].port, &plans[0].kind), ("edge.test", 443, &kind));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let wrong = |text: &str, said: &str| {
            let error = CheckFile::parse(text).expect_err(text).to_string();
            assert!(error.contains(said), "{error}");
        };
        wrong(&format!("{SMALL}intervall = \"3s\"\n"), "line 4");
        wrong(
            "[[check]]\nname = \"a\"\ntarget = \"edge.test\"\n",
            "line 3, column 1: check \"a\": \"edge.test\": write host:port",
        );
        wrong(&format!("{SMALL}{SMALL}"), "line 5");
        wrong(&format!("{SMALL}tls = \"1.1\"\n"), "line 4");
        wrong("[[check]]\nname = \"a\"\ntarget = \"http://edge.test\"\n", "plain HTTP");
        wrong(&format!("{SMALL}{SMALL}"), "two checks are named");
        wrong(&format!("{SMALL}fire = {{ k = 4, n = 3 }}\n"), "at most n");
        wrong(&format!("{SMALL}timeout = \"soon\"\n"), "is no length of time");
        wrong("", "check");
    }

    #[test]
    fn the_published_schema_is_the_codes() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/checks.schema.json");
        let published: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(path).expect("it is there")).expect("JSON");
        assert!(published == schema(), "regenerate it: make schema");
    }

    #[test]
    fn maintenance_comes_again_every_week() {
        let text = format!(
            "{SMALL}[[check]]\nname = \"login\"\ntarget = \"edge.test:443\"\n[[maintenance]]\nchecks = [\"log*\"]\nfrom = \"2026-11-01T02:00:00Z\"\nto = \"2026-11-01T04:00:00Z\"\nevery = \"7d\"\n"
        );
        let file = CheckFile::parse(&text).expect("it is valid");
        let at = |t: &str| -> UnixSeconds { t.parse::<Timestamp>().expect("a time").into() };
        let window = &file.maintenance[0];
        assert!(window.covers("login", at("2026-11-15T03:00:00Z")));
        assert!(!window.covers("login", at("2026-11-16T03:00:00Z")) && !window.covers("api", at("2026-11-15T03:00:00Z")));
        assert!(!window.covers("login", at("2026-10-25T03:00:00Z")), "not before it begins");
    }

    #[test]
    fn maintenance_that_ends_before_it_begins_is_refused_with_its_line() {
        let window = "[[maintenance]]\nfrom = \"2026-11-01T05:00:00Z\"\nto = \"2026-11-01T04:00:00Z\"\n";
        let error = CheckFile::parse(&format!("{SMALL}{window}")).expect_err("it is backwards").to_string();
        assert!(error.contains("line 6") && error.contains("before it begins"), "{error}");
    }

    #[test]
    fn secrets_are_never_shown() {
        let receiver = "[[receiver]]\nkind = \"pagerduty\"\nrouting_key = { env = \"PATH\" }\n";
        let file = CheckFile::parse(&format!("{SMALL}{receiver}")).expect("it is valid");
        let shown = format!("{file:?}");
        assert!(shown.contains("a secret in $PATH") && !shown.contains(&std::env::var("PATH").expect("it is set")));
    }
}
