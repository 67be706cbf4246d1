//! Targets as scenario files write them, and the kinds of server that a target can be: one file each.
//!
//! To add one: a file with a type and [`Server`], a variant of [`ServerKind`], an arm of its `server`. The compiler asks for the rest.

mod command;
mod embedded;
mod nginx;
mod process;
mod real;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

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
pub use process::{ProcessSpec, SERVER};
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
    /// Real targets: where a recorder (`whostalled capture`) watches there: its control socket, or `ssh:HOST[:PATH]`.
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
        process::check(self)?;
        at_most("rtt", self.rtt, MOST_RTT)?;
        at_most("jitter", self.jitter, MOST_RTT)?;
        at_most("baseline_rtt", self.baseline_rtt.unwrap_or_default(), MOST_RTT)
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
    /// Where its files go.
    pub scratch: &'a Path,
    /// What it does on purpose.
    pub does: Servers,
}

/// Where the server of `target` logs handshakes, if it does.
pub fn log_file(scratch: &Path, target: &str) -> PathBuf {
    scratch.join(format!("{target}-log.ndjson"))
}

/// Where the server of `target` logs what it did on purpose, if it does.
pub fn truth_file(scratch: &Path, target: &str) -> PathBuf {
    scratch.join(format!("{target}-truth.ndjson"))
}
