//! Targets as scenario files write them, and the kinds of server that a target can be: one file each.
//!
//! To add one: a file with a type and [`Server`], a variant of [`ServerKind`], an arm of its `server`. The compiler asks for the rest.

mod command;
pub(crate) mod embedded;
mod nginx;
mod process;
mod real;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use agent::{BeforeTls, MOST_EXCHANGES, Speaker};
use analysis::judging::run::Role;
use lab::certs::Certificates;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use settings::Wrong;

use crate::Error;
use crate::conditions::Servers;
use crate::duration::Length;
use crate::limits::{MOST_RTT, at_most};
use crate::vantages::RecorderAt;

pub use lab::exec::CommandLine;
pub use process::{Places, ProcessSpec, SERVER};
pub(crate) use process::{command_line, write_files};
pub use real::{NoTarget, RealTarget};

/// A target.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TargetSpec {
    /// Its name.
    pub name: String,
    /// Its role: `edge` (under suspicion) or `control` (for comparison).
    #[schemars(schema_with = "roles")]
    pub role: Role,
    /// A real target: `https://host[:port][/path]`. Absent: a server of the lab, as the fields below say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<RealTarget>,
    /// Real targets: the address to call, whatever its name leads to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// Real targets: a file of the root certificates that clients trust there, PEM; absent: those of their hosts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// Real targets: where a recorder (`whostalled capture`) watches there: its control socket, or `ssh:HOST[:PORT][:PATH]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorder: Option<RecorderAt>,
    /// Which server.
    #[serde(default)]
    pub server: ServerKind,
    /// Round-trip time of the lab's path to it.
    #[serde(default = "forty_ms")]
    pub rtt: Length,
    /// Random extra one-way delay, at most.
    #[serde(default)]
    pub jitter: Length,
    /// Server `embedded`: bytes of its certificate chain, more or less; absent: about 4,000, an ordinary size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = LEAST_CHAIN, max = MOST_CHAIN))]
    pub chain_bytes: Option<usize>,
    /// Server `embedded`: it asks for another key share, with a HelloRetryRequest.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hello_retry: bool,
    /// Server `embedded`, client `probe`: it asks for a certificate, and the client shows one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub client_certificate: bool,
    /// Server `embedded`, client `probe`: what they say before TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_tls: Option<BeforeTls>,
    /// Server `embedded`: TCP_NODELAY. Without it, each of its flights is written in two pieces, as stacks do that Nagle's algorithm delays.
    #[serde(default = "yes", skip_serializing_if = "is")]
    pub nodelay: bool,
    /// What the path's round trip is known to be when well (from history or geography); absent: found in the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline_rtt: Option<Length>,
    /// Server `command`: program and arguments; `{address}`, `{port}`, `{chain}`, `{key}`, `{pem}` (both) and `{files}` are filled in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Further programs of its host, started before its server: backends, say.
    #[serde(default, rename = "process", skip_serializing_if = "Vec::is_empty")]
    pub processes: Vec<ProcessSpec>,
    /// Files that its programs read, by name: they lie in the folder `{files}`. Filled in as commands are.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, String>,
}

/// The least chain: a leaf of one name and an intermediate.
pub const LEAST_CHAIN: usize = 500;
/// A client takes no longer chain.
pub const MOST_CHAIN: usize = 60_000;

fn yes() -> bool {
    true
}
fn is(set: &bool) -> bool {
    *set
}
fn forty_ms() -> Length {
    Length::millis(40)
}

/// The analysis knows no schemas; a role that is missing here does not compile.
fn roles(_: &mut SchemaGenerator) -> Schema {
    let known = |role| match role {
        Role::Edge | Role::Control => role,
    };
    json_schema!({ "type": "string", "enum": [known(Role::Edge), known(Role::Control)] })
}

impl TargetSpec {
    /// The name by which clients know it.
    pub fn host_name(&self) -> String {
        format!("{}.lab.test", self.name)
    }

    pub(crate) fn check(&self) -> Result<(), Wrong> {
        match &self.url {
            Some(_) if self.server != ServerKind::default() || !self.command.is_empty() => {
                return Err(Wrong::at("url", "a target with a `url` has its own server: leave out `server` and `command`"));
            }
            Some(_) => {}
            None if self.address.is_some() => return Err(for_real_targets("address")),
            None if self.ca.is_some() => return Err(for_real_targets("ca")),
            None if self.recorder.is_some() => return Err(for_real_targets("recorder")),
            None => self.server.server().check(self)?,
        }
        self.check_habits()?;
        process::check(self)?;
        at_most("rtt", self.rtt, MOST_RTT)?;
        at_most("jitter", self.jitter, MOST_RTT)?;
        at_most("baseline_rtt", self.baseline_rtt.unwrap_or_default(), MOST_RTT)
    }
}

impl TargetSpec {
    /// Whether it has what only our own server and client can be told.
    pub(crate) fn is_told(&self) -> bool {
        self.told().iter().any(|(_, told)| *told)
    }

    /// What only the embedded server can be told, by field, and whether it is.
    fn told(&self) -> [(&'static str, bool); 5] {
        [
            ("chain_bytes", self.chain_bytes.is_some()),
            ("hello_retry", self.hello_retry),
            ("client_certificate", self.client_certificate),
            ("before_tls", self.before_tls.is_some()),
            ("nodelay", !self.nodelay),
        ]
    }

    /// Refuses that for others.
    fn check_habits(&self) -> Result<(), Wrong> {
        let embedded = self.url.is_none() && self.server == ServerKind::Embedded;
        let told = self.told();
        if let (false, Some((key, _))) = (embedded, told.iter().find(|(_, told)| *told)) {
            return Err(Wrong::at(key, format!("`{key}` is for the embedded server of the lab")));
        }
        if self.chain_bytes.is_some_and(|bytes| !(LEAST_CHAIN..=MOST_CHAIN).contains(&bytes)) {
            return Err(Wrong::at("chain_bytes", format!("`chain_bytes` must lie between {LEAST_CHAIN} and {MOST_CHAIN}")));
        }
        match self.before_tls {
            Some(BeforeTls { exchanges, .. }) if exchanges > MOST_EXCHANGES => {
                Err(Wrong::at("exchanges", format!("`exchanges` is at most {MOST_EXCHANGES}")).within("before_tls"))
            }
            Some(BeforeTls { first: Speaker::Client, exchanges: 0 }) => {
                Err(Wrong::at("exchanges", "a client that speaks first says at least one line").within("before_tls"))
            }
            _ => Ok(()),
        }
    }
}

fn for_real_targets(key: &'static str) -> Wrong {
    Wrong::at(key, format!("`{key}` is for real targets: it needs a `url`"))
}

/// Which server a target is.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ServerKind {
    /// The embedded rustls edge, which logs slow handshakes.
    #[default]
    Embedded,
    /// Real nginx.
    Nginx,
    /// Any program, given by `command`.
    Command,
}

impl ServerKind {
    /// What this kind does.
    pub fn server(self) -> &'static dyn Server {
        match self {
            ServerKind::Embedded => &embedded::Embedded,
            ServerKind::Nginx => &nginx::Nginx,
            ServerKind::Command => &command::Command,
        }
    }

    /// Whether it can delay its answers and its accepts on purpose.
    pub fn injects(self) -> bool {
        self.server().injects()
    }
}

/// What every kind of server must tell of itself.
pub trait Server {
    /// Whether the target has the fields that this kind needs.
    ///
    /// # Errors
    /// Names the field.
    fn check(&self, target: &TargetSpec) -> Result<(), Wrong>;

    /// Whether it can be run on this machine.
    ///
    /// # Errors
    /// Says what is missing, and what to do.
    fn ready(&self, target: &TargetSpec) -> Result<(), Error>;

    /// The program and its arguments; what configures it is written.
    ///
    /// # Errors
    /// If its configuration cannot be written.
    fn command(&self, target: &TargetSpec, site: &Site<'_>) -> Result<CommandLine, Error>;

    /// Whether it delays its answers and its accepts on purpose when it is told to.
    fn injects(&self) -> bool;
}

/// Where a server runs.
pub struct Site<'a> {
    /// Where it listens.
    pub listen: Vec<SocketAddr>,
    /// The address that clients call.
    pub address: IpAddr,
    /// Its certificate and key.
    pub certificates: &'a Certificates,
    /// The root of clients' certificates.
    pub client_root: &'a Path,
    /// Where its files go.
    pub scratch: &'a Path,
    /// What it does on purpose.
    pub does: Servers,
}

/// Where the server of `target` logs handshakes, if it does.
pub fn log_file(scratch: &Path, target: &str) -> PathBuf {
    scratch.join(format!("{target}-log.ndjson"))
}

/// Where the server of `target` is told what to do on purpose.
pub fn does_file(scratch: &Path, target: &str) -> PathBuf {
    scratch.join(format!("{target}-does.json"))
}

/// Where the server of `target` logs what it did on purpose, if it does.
pub fn truth_file(scratch: &Path, target: &str) -> PathBuf {
    scratch.join(format!("{target}-truth.ndjson"))
}
