//! The recorder's configuration: a TOML file, every field with a default, unknown fields refused with their line.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use alerting::states::KofN;
use alerting::{Receiver, receiver};
use analysis::judging::policy;
use bytesize::ByteSize;
use capture::limits::Limits;
use capture::tap::FilterAt;
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Deserialize;
use settings::Time;
use settings::place::unread;

use crate::admission::Rate;
use imports::logline::Fields;

/// What is wrong with a configuration: always its writer's to mend.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("{}: {source}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Something in it, with its line where it has one.
    #[error("{0}")]
    Text(String),
    /// The same, in a file.
    #[error("{}: {wrong}", .path.display())]
    In {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        wrong: Box<Error>,
    },
    /// Nothing to listen on.
    #[error("name an interface: --iface eth0, or interfaces = [\"eth0\"] in [capture]")]
    NoInterface,
    /// Nothing to listen for.
    #[error("name a port: --port 443, or ports = [443] in [capture]")]
    NoPort,
}

/// All of it.
#[derive(Clone, PartialEq, Deserialize, JsonSchema, Debug, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What is recorded.
    pub capture: Capture,
    /// What is kept on disk.
    pub evidence: Evidence,
    /// Which handshakes are slow.
    pub slow: Slow,
    /// Logs that name slow handshakes.
    #[serde(rename = "log")]
    pub logs: Vec<Log>,
    /// Where clients come from, beside that.
    pub origin: OriginSources,
    /// Networks by name, for sums and alerts.
    #[serde(rename = "network")]
    pub networks: Vec<Network>,
    /// When to alert.
    pub alerts: Alerts,
    /// A receiver of alerts.
    #[serde(rename = "receiver")]
    pub receivers: Vec<Receiver>,
}

/// What is recorded.
#[derive(Clone, PartialEq, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields, default)]
pub struct Capture {
    /// The name of this edge, for labels and alerts; absent: the host's name.
    pub site: String,
    /// Interfaces.
    pub interfaces: Vec<String>,
    /// Ports on which TLS is served.
    pub ports: Vec<u16>,
    /// Memory for packets.
    #[schemars(with = "String")]
    pub memory: ByteSize,
    /// Where packets are filtered: `tc`, `socket` or `user`; absent: the earliest that the host permits.
    pub filter_at: Option<FilterSetting>,
    /// Bytes kept of each packet where user space filters.
    pub snaplen: u16,
    /// Whether to look at what the server's threads do with connections (BTF tracepoints), where the host permits it: it tells an
    /// edge's host from its program.
    pub kernel_view: bool,
    /// Connections remembered by the filter.
    pub flows: u32,
    /// Connections remembered by the filter of which only SYN was seen.
    pub half_open: u32,
    /// Where metrics and the page are served; loopback unless told otherwise.
    pub listen: SocketAddr,
    /// The socket for `whostalled capture dump`, `trigger` and `status`.
    pub control: PathBuf,
    /// Whether client addresses are cut to their network in metrics, alerts and on the page. Evidence keeps them.
    pub anonymise: bool,
    /// The user to switch to once everything is open; absent: stay.
    pub user: Option<String>,
}

/// Where packets are filtered.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema, Debug)]
#[serde(rename_all = "snake_case")]
pub enum FilterSetting {
    /// In the kernel, at tc.
    Tc,
    /// In the kernel, on a capture socket.
    Socket,
    /// In user space.
    User,
}

impl From<FilterSetting> for FilterAt {
    fn from(filter_at: FilterSetting) -> Self {
        match filter_at {
            FilterSetting::Tc => FilterAt::Tc,
            FilterSetting::Socket => FilterAt::Socket,
            FilterSetting::User => FilterAt::User,
        }
    }
}

impl Default for Capture {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            site: nix::unistd::gethostname().ok().and_then(|n| n.into_string().ok()).unwrap_or_else(|| "edge".into()),
            interfaces: Vec::new(),
            ports: limits.ports,
            memory: ByteSize::mib(64),
            filter_at: None,
            snaplen: 128,
            kernel_view: true,
            flows: limits.flows,
            half_open: limits.embryos,
            listen: SocketAddr::from(([127, 0, 0, 1], 9720)),
            control: "whostalled-capture.sock".into(),
            anonymise: false,
            user: None,
        }
    }
}

/// What is kept on disk.
#[derive(Clone, PartialEq, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields, default)]
pub struct Evidence {
    /// The folder.
    pub folder: PathBuf,
    /// The most disk space it may use.
    #[schemars(with = "String")]
    pub quota: ByteSize,
    /// Files a second, in the long run.
    pub per_second: f64,
    /// Files at once.
    pub burst: f64,
    /// Files a second for one client network (/24, /48), in the long run.
    pub network_per_second: f64,
    /// Files at once for one client network.
    pub network_burst: f64,
    /// How long to wait for what comes after a trigger: retransmissions.
    pub follow: Time,
}

impl Default for Evidence {
    fn default() -> Self {
        Self {
            folder: "evidence".into(),
            quota: ByteSize::gib(1),
            per_second: 5.0,
            burst: 100.0,
            network_per_second: 0.1,
            network_burst: 20.0,
            follow: Time::secs(1),
        }
    }
}

impl Evidence {
    /// The rates for all together and for one network.
    pub fn rates(&self) -> [Rate; 2] {
        [(self.per_second, self.burst), (self.network_per_second, self.network_burst)]
            .map(|(per_second, burst)| Rate { per_second, burst })
    }
}

/// Which handshakes are slow: any of these.
#[derive(Clone, PartialEq, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields, default)]
pub struct Slow {
    /// Time beyond the baseline, whoever it is.
    pub excess: Time,
    /// The whole handshake, if it is not healthy.
    pub total: Option<Time>,
    /// Time of one phase: `connect`, `client_hello`, `server_flight`, `client_finished`, `finish`.
    pub phases: BTreeMap<String, Time>,
    /// Time beyond the baseline of one owner: `client`, `path`, `loss`, `edge`, `protocol`, `unattributed`.
    pub owners: BTreeMap<String, Time>,
}

impl Default for Slow {
    fn default() -> Self {
        Self { excess: Time(policy::SLOW_HANDSHAKE), total: None, phases: BTreeMap::new(), owners: BTreeMap::new() }
    }
}

/// A log.
#[derive(Clone, PartialEq, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields, tag = "kind", rename_all = "snake_case")]
pub enum Log {
    /// The journal, by `journalctl`.
    Journal {
        /// Matches, as journalctl takes them: `SYSLOG_IDENTIFIER=haproxy`, `_SYSTEMD_UNIT=edge.service`.
        #[serde(default, rename = "match")]
        matches: Vec<String>,
        /// Another journal than this host's: a folder of journal files.
        directory: Option<PathBuf>,
        /// What in it names a connection.
        #[serde(default)]
        fields: FieldNames,
        /// Handshakes that say they took less are not slow.
        at_least: Option<Time>,
    },
    /// A file that grows, and may be rotated.
    File {
        /// The file.
        path: PathBuf,
        /// What in it names a connection.
        #[serde(default)]
        fields: FieldNames,
        /// Handshakes that say they took less are not slow.
        at_least: Option<Time>,
    },
    /// Syslog messages to a port of ours, as HAProxy's `log` and nginx's `access_log syslog:` send them.
    Syslog {
        /// Where to listen, UDP.
        listen: SocketAddr,
        /// What in it names a connection.
        #[serde(default)]
        fields: FieldNames,
        /// Handshakes that say they took less are not slow.
        at_least: Option<Time>,
    },
}

impl Log {
    /// Its kind, as metrics call it.
    pub fn source(&self) -> &'static str {
        if matches!(self, Log::Journal { .. }) { "journal" } else { "log" }
    }
}

/// Names of fields in JSON lines and journal entries, beside the usual ones.
#[derive(Clone, PartialEq, Deserialize, JsonSchema, Debug, Default)]
#[serde(deny_unknown_fields, default)]
pub struct FieldNames {
    /// The client's address, perhaps with its port.
    pub client: Option<String>,
    /// The client's port.
    pub client_port: Option<String>,
    /// The handshake's duration.
    pub duration: Option<String>,
}

impl FieldNames {
    /// These names, which go before what names say by themselves.
    pub fn fields(&self) -> Fields {
        let Self { client, client_port, duration } = self.clone();
        let own = client.is_some() || client_port.is_some() || duration.is_some();
        Fields { client, client_port, duration, own }
    }
}

/// A named set of networks.
#[derive(Clone, PartialEq, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// What to call it: `aws`, `office`.
    pub name: String,
    /// Its prefixes.
    #[schemars(with = "Vec<String>")]
    pub prefixes: Vec<IpNet>,
}

/// Where clients come from: databases and reverse DNS.
#[derive(Clone, PartialEq, Deserialize, JsonSchema, Debug, Default)]
#[serde(deny_unknown_fields, default)]
pub struct OriginSources {
    /// Databases in MaxMind's format (GeoLite2-ASN, GeoLite2-Country, DB-IP, IPinfo): clients are counted by autonomous system and
    /// country too. A file that is replaced is read again.
    pub databases: Vec<PathBuf>,
    /// Whether name servers are asked for the names of networks with slow clients. It tells them which these are.
    pub reverse_dns: bool,
    /// Name servers; absent: those of `/etc/resolv.conf`.
    pub resolvers: Vec<SocketAddr>,
}

/// When to alert. Stalls on the clients' side are counted and never alert.
#[derive(Clone, PartialEq, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields, default)]
pub struct Alerts {
    /// Over how long slow handshakes are counted.
    pub window: Time,
    /// At least this many slow handshakes in the window.
    pub least: u32,
    /// And at least this share of all handshakes in the window (for the path: of those from that network).
    pub share: f64,
    /// Interval between two judgements.
    pub every: Time,
    /// How many of the last judgements must be bad.
    pub fire: KofN,
    /// Good judgements in a row that resolve an alert.
    pub resolve_after: u32,
    /// The database of alerts and messages.
    pub store: PathBuf,
}

impl Default for Alerts {
    fn default() -> Self {
        Self {
            window: Time::secs(60),
            least: 5,
            share: 0.05,
            every: Time::secs(10),
            fire: KofN { k: 2, n: 3 },
            resolve_after: 6,
            store: "whostalled-capture.db".into(),
        }
    }
}

/// The JSON Schema of the configuration.
pub fn schema() -> schemars::Schema {
    schemars::schema_for!(Config)
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// With the file, the line and what is wrong there.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::Unreadable { path: path.to_owned(), source })?;
        Self::parse(&text).map_err(|wrong| Error::In { path: path.to_owned(), wrong: Box::new(wrong) })
    }

    /// The same from text.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        let config: Config =
            toml::from_str(text).map_err(|e| Error::Text(receiver::unread(text).unwrap_or_else(|| unread(text, &e))))?;
        let checked = config.check_names().and_then(|()| config.check_rules());
        checked.map_err(|wrong| Error::Text(wrong.said(text)))?;
        Ok(config)
    }

    /// Whether it can be run.
    ///
    /// # Errors
    /// Says what is wrong, and what to write.
    pub fn check(&self) -> Result<(), Error> {
        self.check_names().and_then(|()| self.check_rules()).map_err(|wrong| Error::Text(wrong.what))?;
        if self.capture.interfaces.is_empty() {
            return Err(Error::NoInterface);
        }
        if self.capture.ports.is_empty() {
            return Err(Error::NoPort);
        }
        Ok(())
    }

    /// What the filter lets pass.
    pub fn limits(&self) -> Limits {
        let Capture { ports, flows, half_open, .. } = &self.capture;
        Limits { ports: ports.clone(), flows: *flows, embryos: *half_open, ..Limits::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_valid_and_misspelt_names_are_refused_with_their_line() {
        let example = include_str!("../../dist/capture.toml");
        let config: Config = toml::from_str(example).expect("it is valid");
        config.check().expect("it can be run");
        let wrong = Config::parse("[capture]\ninterfaces = [\"eth0\"]\nmemroy = \"1GiB\"\n").expect_err("a typo").to_string();
        assert!(wrong.contains("line 3") && wrong.contains("memroy"), "{wrong}");
        let phase: Config = toml::from_str("capture.interfaces = [\"lo\"]\nslow.phases.finished = \"1s\"").expect("it is TOML");
        assert!(phase.check().expect_err("there is no such phase").to_string().contains("client_finished"));
    }

    #[test]
    fn names_with_control_characters_are_refused_with_their_line() {
        let network = "[[network]]\nname = \"a\\u001b[1m\"\nprefixes = [\"192.0.2.0/24\"]\n";
        for (text, line) in [(network, "line 2"), ("[capture]\nsite = \"a\\nb\"\n", "line 2")] {
            let error = Config::parse(text).expect_err(text).to_string();
            assert!(error.starts_with(line) && !error.contains(char::is_control), "{error:?}");
        }
    }

    #[test]
    fn the_published_schema_is_current() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/capture.schema.json");
        let published = std::fs::read_to_string(path).expect("docs/capture.schema.json is there");
        let published: serde_json::Value = serde_json::from_str(&published).expect("it is JSON");
        assert_eq!(published, schema().to_value(), "run `make schema`");
    }
}
