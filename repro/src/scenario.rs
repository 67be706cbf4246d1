//! Scenario files: a fault and the verdict it must lead to, stated together.
//!
//! Unknown fields, misspelt names and impossible values are errors that name file, line and what was meant.

use std::collections::BTreeMap;

use agent::ClientSpec;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use settings::words::visible_lines;
use toml::Spanned;
use toml::de::DeTable;

use crate::Error;
use crate::faults::{Fault, by_kind, with_kind};
use crate::targets::TargetSpec;
use crate::vantages::Kind;

/// A scenario, as written.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Its name; also part of the run folder's.
    pub name: String,
    /// Description, a sentence or two.
    #[serde(default)]
    pub description: String,
    /// Seed of everything random.
    #[serde(default = "one")]
    pub seed: u64,
    /// Rounds: how many times each cell of the matrix is measured.
    #[serde(default = "three")]
    #[schemars(range(min = 1, max = crate::limits::MOST_ROUNDS))]
    pub rounds: u32,
    /// Rounds before those, in which no fault is on: they show what is usual, and no verdict counts them.
    #[serde(default, skip_serializing_if = "is_none")]
    #[schemars(range(max = crate::limits::MOST_ROUNDS))]
    pub baseline_rounds: u32,
    /// The clients of all vantages start at one moment, one target after another; else each cell is measured by itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub together: bool,
    /// Leave segmentation and receive offloads on.
    #[serde(default)]
    pub offloads: bool,
    /// How much real targets may be asked to bear.
    #[serde(default, skip_serializing_if = "Bearable::is_usual")]
    pub bearable: Bearable,
    /// The client that is launched.
    pub client: ClientSpec,
    /// Where clients run.
    #[serde(rename = "vantage")]
    pub vantages: Vec<VantageSpec>,
    /// The targets.
    #[serde(rename = "target")]
    pub targets: Vec<TargetSpec>,
    /// Faults, by name.
    #[serde(default, serialize_with = "with_kind")]
    #[schemars(with = "BTreeMap<String, Fault>")]
    pub faults: BTreeMap<String, Fault>,
    /// The expected verdicts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Expect>")]
    pub expect: Option<Spanned<Expect>>,
}

/// How much real targets may be asked to bear: more has to be said here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Bearable {
    /// Clients at once, of each vantage.
    pub clients: usize,
    /// Handshakes in all.
    pub handshakes: u64,
}

impl Default for Bearable {
    fn default() -> Self {
        Self { clients: 50, handshakes: 2_000 }
    }
}

impl Bearable {
    fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

/// A vantage point.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VantageSpec {
    /// Its name.
    pub name: String,
    /// Where it is.
    #[serde(default, skip_serializing_if = "Kind::is_lab")]
    pub kind: Kind,
    /// Kind `ssh`: what ssh is to be given, as `user@host` or a name of ssh_config(5). Kind `fleet`: the agent, a group of agents, or `*`
    /// for all; its name if absent. Kinds `ec2` and `provider`: the agent that it is to be in the fleet, the name in its certificate; its
    /// name if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Kind `provider`: which, as `whostalled vantage --provider`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Kinds `ec2` and `provider`: settings of the provider, which go before those of `--settings`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, serde_json::Value>,
    /// Kind `ssh`: leave the program there for the next time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep: bool,
}

impl VantageSpec {
    /// The provider that has to bring it up, if one has.
    pub fn provided_by(&self) -> Option<&str> {
        match self.kind {
            Kind::Ec2 => Some("ec2"),
            Kind::Provider => self.provider.as_deref(),
            Kind::Lab | Kind::Here | Kind::Ssh | Kind::Fleet => None,
        }
    }

    /// It is there now: as an agent of the fleet, or a host that ssh knows.
    pub fn provided(&mut self, kind: Kind, host: String) {
        (self.kind, self.host, self.provider) = (kind, Some(host), None);
        self.settings.clear();
    }
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

fn is_none(n: &u32) -> bool {
    *n == 0
}
fn one() -> u64 {
    1
}
fn three() -> u32 {
    3
}

impl Scenario {
    /// All rounds: those without faults, and those with them.
    pub fn all_rounds(&self) -> u32 {
        self.baseline_rounds + self.rounds
    }

    /// Reads a scenario from the text of `file`, with `key.path=value` overrides applied.
    ///
    /// ```
    /// use whostalled_repro::Scenario;
    ///
    /// let error = Scenario::parse("x.toml", "name = \"x\"\nround = 2", &[]).expect_err("it is `rounds`");
    /// assert!(error.to_string().contains("line 2"), "{error}");
    /// ```
    ///
    /// # Errors
    /// Names file, line and what was meant.
    pub fn parse(file: &str, text: &str, overrides: &[String]) -> Result<Self, Error> {
        let wrong = |e: &dyn std::fmt::Display| Error::Scenario(format!("{file}: {}", visible_lines(e.to_string().trim_end())));
        // The file by itself first: its errors then speak of its own lines. What settings mend is none.
        let alone = Self::read(text).map_err(|e| wrong(&e))?;
        let (scenario, after) =
            if overrides.is_empty() { (alone.clone(), String::new()) } else { Self::changed(file, text, overrides)? };
        scenario.check().map_err(|e| match alone.check() {
            Err(alone) if alone.what == e.what => wrong(&alone.shown(text)),
            _ => wrong(&format!("after --set {}: {}", overrides.join(" --set "), e.shown(&after))),
        })?;
        Ok(scenario)
    }

    /// The same with `key.path=value` overrides applied, checked behind them. Nobody wrote a file: what is wrong has no line.
    ///
    /// # Errors
    /// What of it cannot be run.
    pub fn with(&self, of: &str, overrides: &[String]) -> Result<Self, Error> {
        let (scenario, _) = Self::changed(of, &self.to_toml()?, overrides)?;
        scenario.check().map_err(|wrong| Error::Scenario(wrong.what))?;
        Ok(scenario)
    }

    /// A text with overrides applied, and what it says then; nobody has checked it.
    fn changed(file: &str, text: &str, overrides: &[String]) -> Result<(Self, String), Error> {
        let wrong = |e: &dyn std::fmt::Display| Error::Scenario(format!("{file}: {}", visible_lines(e.to_string().trim_end())));
        let mut table = toml::Value::Table(toml::from_str(text).map_err(|e| wrong(&e))?);
        for setting in overrides {
            let before = table.clone();
            set(&mut table, setting, false).map_err(|e| wrong(&format!("--set {setting}: {e}")))?;
            // `client.tls=1.2` looks like a number and is none.
            let mut as_text = before;
            let fits = |table: &toml::Value| toml::to_string(table).is_ok_and(|text| Self::read(&text).is_ok());
            if !fits(&table) && set(&mut as_text, setting, true).is_ok() && fits(&as_text) {
                table = as_text;
            }
        }
        let text = toml::to_string(&table).map_err(|e| wrong(&e))?;
        let scenario = Self::read(&text).map_err(|e| wrong(&format!("after --set {}: {e}", overrides.join(" --set "))))?;
        Ok((scenario, text))
    }

    /// Reads a scenario from the table of a document, out of which the caller took what is its own.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn of_table(file: &str, text: &str, root: Spanned<DeTable<'_>>) -> Result<Self, Error> {
        let wrong = |e: &dyn std::fmt::Display| Error::Scenario(format!("{file}: {}", visible_lines(e.to_string().trim_end())));
        let scenario = Self::of_root(text, root).map_err(|e| wrong(&e))?;
        scenario.check().map_err(|e| wrong(&e.shown(text)))?;
        Ok(scenario)
    }

    fn read(text: &str) -> Result<Self, toml::de::Error> {
        Self::of_root(text, DeTable::parse(text)?)
    }

    fn of_root(text: &str, mut root: Spanned<DeTable<'_>>) -> Result<Self, toml::de::Error> {
        by_kind(root.get_mut()).and_then(|()| Self::deserialize(toml::de::Deserializer::from(root))).map_err(|mut error| {
            error.set_input(Some(text));
            error
        })
    }

    /// Whether its hosts are the lab's; else they are real.
    pub fn in_lab(&self) -> bool {
        self.vantages.iter().all(|vantage| vantage.kind.is_lab())
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
        let vantages = self.vantages.iter().map(|v| v.name.as_str());
        let hosts: Vec<&str> = vantages.chain(self.targets.iter().map(|t| t.name.as_str())).collect();
        // A fault on a host that takes no part does nothing.
        self.faults.retain(|_, fault| fault.kind().names().iter().all(|named| hosts.contains(&named.host)));
        Ok(())
    }
}

/// Why a `key.path=value` cannot be applied.
#[derive(Debug, thiserror::Error)]
enum NoSetting {
    #[error("write it as key.path=value")]
    Shape,
    #[error("nothing is called `{0}`")]
    NoName(String),
    #[error("`{0}` lies below something that is no table")]
    NoTable(String),
}

/// Applies one `key.path=value`; the value is TOML, or a bare word taken as a string.
fn set(root: &mut toml::Value, setting: &str, as_text: bool) -> Result<(), NoSetting> {
    let (path, value) = setting.split_once('=').ok_or(NoSetting::Shape)?;
    let value: toml::Value = toml::from_str::<toml::Table>(&format!("v = {value}"))
        .ok()
        .and_then(|mut t| t.remove("v"))
        .filter(|_| !as_text)
        .unwrap_or_else(|| toml::Value::String(value.to_owned()));
    let mut at = root;
    let mut rest = Some(path.trim());
    while let Some(keys) = rest {
        let (key, behind) = keys.split_once('.').map_or((keys, None), |(key, behind)| (key, Some(behind)));
        (at, rest) = match at {
            toml::Value::Table(t) => (t.entry(key).or_insert_with(|| toml::Value::Table(toml::Table::new())), behind),
            // [[vantage]] and [[target]] are reached by name: `target.edge.rtt`. Names of real hosts have dots, too.
            toml::Value::Array(items) => {
                let name = |item: &toml::Value| item.get("name")?.as_str().map(str::to_owned);
                let named = |item: &toml::Value| keys == name(item).unwrap_or_default();
                let begins = |item: &toml::Value| name(item).and_then(|name| keys.strip_prefix(&name)?.strip_prefix('.'));
                let fits = |item: &toml::Value| named(item) || begins(item).is_some();
                // Of `a` and `a.b` the longer is meant.
                let longest = |item: &&mut toml::Value| name(item).map(|name| name.len());
                let item = items.iter_mut().filter(|i| fits(i)).max_by_key(longest);
                let item = item.ok_or_else(|| NoSetting::NoName(key.to_owned()))?;
                let behind = begins(item);
                (item, behind)
            }
            _ => return Err(NoSetting::NoTable(key.to_owned())),
        };
    }
    *at = value;
    Ok(())
}
