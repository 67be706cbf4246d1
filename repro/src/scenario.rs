//! Scenario files: a fault and the verdict it must lead to, stated together.
//!
//! Unknown fields, misspelt names and impossible values are errors that name file, line and what was meant.

use std::collections::BTreeMap;

use analysis::judging::run::Role;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use settings::words::visible_lines;
use toml::Spanned;

use crate::Error;
use crate::duration::Length;
use crate::fault::FaultSpec;

/// A scenario, as written.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Its name; also part of the run folder's.
    pub name: String,
    /// What it shows, in a sentence or two.
    #[serde(default)]
    pub description: String,
    /// Seed of everything random.
    #[serde(default = "one")]
    pub seed: u64,
    /// How often each cell of the matrix is measured.
    #[serde(default = "three")]
    #[schemars(range(min = 1, max = crate::limits::MOST_ROUNDS))]
    pub rounds: u32,
    /// Leave segmentation and receive offloads on.
    #[serde(default)]
    pub offloads: bool,
    /// The client that is launched.
    pub client: ClientSpec,
    /// Where clients run.
    #[serde(rename = "vantage")]
    pub vantages: Vec<VantageSpec>,
    /// What they connect to.
    #[serde(rename = "target")]
    pub targets: Vec<TargetSpec>,
    /// What is done to them.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, FaultSpec>")]
    pub faults: BTreeMap<String, Spanned<FaultSpec>>,
    /// What must come out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Expect>")]
    pub expect: Option<Spanned<Expect>>,
}

/// Which client program.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientKind {
    /// Real curl.
    Curl,
    /// Our own rustls client with kernel timestamps.
    Probe,
    /// Any program.
    Command,
}

/// TLS version to offer.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
pub enum TlsVersion {
    /// TLS 1.2 only.
    #[serde(rename = "1.2")]
    V12,
    /// TLS 1.3.
    #[default]
    #[serde(rename = "1.3")]
    V13,
}

/// The client.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientSpec {
    /// Which program.
    pub kind: ClientKind,
    /// How many at once.
    #[serde(default = "one_usize")]
    #[schemars(range(min = 1, max = crate::limits::MOST_CLIENTS))]
    pub concurrency: usize,
    /// Time between the starts of two clients; none: all at once.
    #[serde(default)]
    pub spread: Length,
    /// Verify the server's certificate.
    #[serde(default = "yes")]
    pub verify: bool,
    /// TLS version.
    #[serde(default)]
    pub tls: TlsVersion,
    /// Connect over IPv6.
    #[serde(default)]
    pub ipv6: bool,
    /// A client that runs longer is ended.
    #[serde(default = "fifteen_seconds")]
    pub timeout: Length,
    /// Kind `command`: program and arguments; `{host}`, `{port}`, `{address}` and `{ca}` are filled in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
}

/// A vantage point.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VantageSpec {
    /// Its name.
    pub name: String,
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

/// What a target is there for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RoleSpec {
    /// The accused.
    Edge,
    /// A comparison.
    Control,
}

impl From<RoleSpec> for Role {
    fn from(role: RoleSpec) -> Self {
        match role {
            RoleSpec::Edge => Role::Edge,
            RoleSpec::Control => Role::Control,
        }
    }
}

/// A target.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TargetSpec {
    /// Its name.
    pub name: String,
    /// What it is there for.
    pub role: RoleSpec,
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
    /// Server `command`: program and arguments; `{address}`, `{port}`, `{chain}` and `{key}` are filled in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
}

/// The verdicts that must come out. Each is one label or a list of which any will do: `healthy`, `inconclusive`,
/// `aborted`, `owner`, `owner/kind`, or `owner + owner` (mixed).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// From both ends.
    pub verdict: OneOrMore,
    /// From the edge's capture alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edge_only: Option<OneOrMore>,
    /// From both ends, of the control targets' cells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control: Option<OneOrMore>,
}

/// One label or several.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMore {
    /// One.
    One(String),
    /// Any of these.
    More(Vec<String>),
}

impl OneOrMore {
    /// The labels.
    pub fn labels(&self) -> Vec<&str> {
        match self {
            OneOrMore::One(label) => vec![label],
            OneOrMore::More(labels) => labels.iter().map(String::as_str).collect(),
        }
    }
}

/// The JSON Schema of scenario files.
pub fn schema() -> String {
    serde_json::to_string_pretty(&schemars::schema_for!(Scenario)).unwrap_or_default()
}

fn yes() -> bool {
    true
}
fn one() -> u64 {
    1
}
fn one_usize() -> usize {
    1
}
fn three() -> u32 {
    3
}
fn fifteen_seconds() -> Length {
    Length::millis(15_000)
}
fn forty_ms() -> Length {
    Length::millis(40)
}

impl Scenario {
    /// Reads a scenario from the text of `file`, with `key.path=value` overrides applied.
    ///
    /// # Errors
    /// Names file, line and what was meant.
    pub fn parse(file: &str, text: &str, overrides: &[String]) -> Result<Self, Error> {
        let wrong = |e: &dyn std::fmt::Display| Error::Scenario(format!("{file}: {}", visible_lines(e.to_string().trim_end())));
        // The file by itself first: its errors then speak of its own lines.
        let scenario: Scenario = toml::from_str(text).map_err(|e| wrong(&e))?;
        scenario.check().map_err(|e| wrong(&e.shown(text)))?;
        if overrides.is_empty() {
            return Ok(scenario);
        }
        let mut table = toml::Value::Table(toml::from_str(text).map_err(|e| wrong(&e))?);
        for setting in overrides {
            set(&mut table, setting).map_err(|e| wrong(&format!("--set {setting}: {e}")))?;
        }
        let text = toml::to_string(&table).map_err(|e| wrong(&e))?;
        let after = |e: &dyn std::fmt::Display| wrong(&format!("after --set {}: {e}", overrides.join(" --set ")));
        let scenario: Scenario = toml::from_str(&text).map_err(|e| after(&e))?;
        scenario.check().map_err(|e| after(&e.shown(&text)))?;
        Ok(scenario)
    }

    /// Keeps only these vantages and targets (all, where the list is empty).
    ///
    /// # Errors
    /// If a name is not in the scenario, or faults speak of what was left out.
    pub fn select(&mut self, vantages: &[String], targets: &[String]) -> Result<(), Error> {
        let known_vantages: Vec<String> = self.vantages.iter().map(|v| v.name.clone()).collect();
        let known_targets: Vec<String> = self.targets.iter().map(|t| t.name.clone()).collect();
        for (what, wanted, known) in [("vantage", vantages, &known_vantages), ("target", targets, &known_targets)] {
            if let Some(name) = wanted.iter().find(|n| !known.contains(n)) {
                return Err(Error::Scenario(format!(
                    "--{what} {name}: the scenario has no such {what}; it has {}",
                    known.join(", ")
                )));
            }
        }
        let kept = |name: &String, wanted: &[String]| wanted.is_empty() || wanted.contains(name);
        self.vantages.retain(|v| kept(&v.name, vantages));
        self.targets.retain(|t| kept(&t.name, targets));
        let hosts: Vec<&String> = self.vantages.iter().map(|v| &v.name).chain(self.targets.iter().map(|t| &t.name)).collect();
        // A fault on a host that takes no part does nothing.
        self.faults.retain(|_, fault| {
            let f = fault.get_ref();
            [&f.on, &f.from, &f.to].into_iter().flatten().all(|n| hosts.contains(&n))
        });
        Ok(())
    }

    /// The faults, without their place in the file.
    pub fn faults(&self) -> impl Iterator<Item = &FaultSpec> {
        self.faults.values().map(Spanned::get_ref)
    }
}

/// Applies one `key.path=value`; the value is TOML, or a bare word taken as a string.
fn set(root: &mut toml::Value, setting: &str) -> Result<(), String> {
    let (path, value) = setting.split_once('=').ok_or("write it as key.path=value")?;
    let value: toml::Value = toml::from_str::<toml::Table>(&format!("v = {value}"))
        .ok()
        .and_then(|mut t| t.remove("v"))
        .unwrap_or_else(|| toml::Value::String(value.to_owned()));
    let mut at = root;
    for key in path.trim().split('.') {
        at = match at {
            toml::Value::Table(t) => t.entry(key).or_insert_with(|| toml::Value::Table(toml::Table::new())),
            // [[vantage]] and [[target]] are reached by name: `target.edge.rtt`.
            toml::Value::Array(items) => items
                .iter_mut()
                .find(|i| i.get("name").and_then(toml::Value::as_str) == Some(key))
                .ok_or(format!("nothing is called `{key}`"))?,
            _ => return Err(format!("`{key}` lies below something that is no table")),
        };
    }
    *at = value;
    Ok(())
}
