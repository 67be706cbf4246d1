//! What a provider is asked.

use std::hash::{BuildHasher, RandomState};

use serde::{Deserialize, Serialize};

use crate::{Caps, VERSION};

/// Settings of a provider: a table of its own file, or of a scenario, which nobody else reads.
pub type Settings = serde_json::Map<String, serde_json::Value>;

/// One request: all that a provider reads, once.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Request {
    /// Version of the messages.
    pub version: u32,
    /// Only say what would be done and what it would cost: nothing begins, changes or ends.
    #[serde(default)]
    pub dry_run: bool,
    /// What is asked.
    #[serde(flatten)]
    pub ask: Ask,
    /// The provider's own settings.
    #[serde(default)]
    pub settings: Settings,
}

impl Request {
    /// A request of this version.
    #[must_use]
    pub fn new(ask: Ask, dry_run: bool, settings: Settings) -> Self {
        Self { version: VERSION, dry_run, ask, settings }
    }
}

/// What is asked.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Ask {
    /// Bring vantages up; what cannot be had whole is taken down again.
    Up(Order),
    /// Say which there are.
    List {
        /// Those of this run; absent: all that whostalled made.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        run: Option<String>,
    },
    /// Take down all of a run, or one order of it.
    Down {
        /// The run.
        run: String,
        /// The order, where no other of the run is to end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        order: Option<String>,
    },
    /// Take down whatever has outlived its time, whoever made it: by its tags and the clock alone. What is found for the first time is
    /// marked; what was marked `grace_s` ago is taken down; what is tagged to be kept is spared.
    Reap {
        /// Seconds between mark and end.
        grace_s: u64,
    },
}

/// Vantages that are wanted.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Order {
    /// Whose they are: a tag of all that is made.
    pub run: String,
    /// Its own name beside other orders of the run, from [`fresh`]: a tag of all that is made. Absent: the provider draws one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
    /// When they end, by themselves: seconds since the epoch.
    pub expires_at: u64,
    /// What may be had at most.
    pub caps: Caps,
    /// How they join.
    pub join: Join,
    /// Each of them.
    pub vantages: Vec<Wanted>,
}

/// 16 characters that were drawn for nobody else: what tells an order from every other.
#[must_use]
pub fn fresh() -> String {
    // Its keys are random, and other ones each time.
    format!("{:016x}", RandomState::new().hash_one(()))
}

/// One vantage that is wanted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Wanted {
    /// Its name in the run.
    pub name: String,
    /// The agent that it is to be, where it joins a fleet: the name in its certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
}

/// How a vantage comes to its controller. No credential is in it: a provider fetches that from where its cloud keeps secrets.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Join {
    /// It dials out to this NATS server.
    Nats {
        /// The server, as vantages reach it: tls://HOST:4222.
        url: String,
        /// Roots that its certificate comes from, PEM; absent: those of the vantage's system.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ca: Option<String>,
    },
    /// The controller's own ssh goes there, by whatever way ssh_config(5) has.
    Ssh,
}

/// A name that can be no provider's.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no provider: letters, digits and `-`")]
pub struct NoName(pub String);

/// The executable of the provider `name`: `whostalled-vantage-NAME`.
///
/// # Errors
/// If it is no name: letters, digits and `-`. A name never leads into another folder.
pub fn program(name: &str) -> Result<String, NoName> {
    let fits = !name.is_empty() && name.len() <= 63 && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if fits { Ok(format!("whostalled-vantage-{name}")) } else { Err(NoName(name.to_owned())) }
}
