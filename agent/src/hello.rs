//! The first message: who a vantage is and what it can do.

use analysis::clock::Span;
use serde::{Deserialize, Serialize};

/// Version of the messages. A field that an older reader may ignore does not change it.
pub const VERSION: u32 = 1;

/// A vantage introduces itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hello {
    /// Version of the messages it speaks.
    pub version: u32,
    /// Its name in the scenario.
    pub name: String,
    /// Version of its program.
    pub software: String,
    /// Release of its kernel.
    pub kernel: String,
    /// CPUs its programs may use.
    pub cpus: usize,
    /// Its clock.
    pub clock: Clock,
    /// What its host lets it do.
    pub permits: Permits,
    /// How long a piece of work of fixed size takes there; absent where nobody timed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spin: Option<Spin>,
}

/// A loop of fixed size, timed on the wall clock several times: a CPU that is taken away, by a hypervisor that says nothing of it (steal) or
/// for want of credits, stretches it. Compared with the least of the same host, never with another host's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Spin {
    /// Rounds of the loop.
    pub rounds: u64,
    /// How often it was timed.
    pub n: u32,
    /// The shortest.
    pub least_ns: Span,
    /// The median.
    pub median_ns: Span,
    /// The longest.
    pub most_ns: Span,
}

impl Hello {
    /// Whether we can talk to it.
    ///
    /// # Errors
    /// If it speaks another version.
    pub fn check(&self) -> Result<(), UnknownVersion> {
        if self.version == VERSION {
            return Ok(());
        }
        Err(UnknownVersion { name: self.name.clone(), theirs: self.version })
    }
}

/// A vantage that speaks another version of the messages.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "the vantage {name} speaks version {theirs} of the messages, this program version {VERSION}: run the same release at both"
)]
pub struct UnknownVersion {
    /// The vantage.
    pub name: String,
    /// The version it speaks.
    pub theirs: u32,
}

/// What stamps packets and samples.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Clock {
    /// The kernel's clock source.
    pub source: String,
    /// How far it may be off.
    pub error: ClockError,
}

/// How far a clock may be off other clocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClockError {
    /// All vantages of this provider read the same clock.
    Shared,
    /// So far, by its own synchronisation.
    WithinNs(Span),
    /// It is not known to be synchronised.
    Unknown,
}

/// What a host lets its vantage do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Permits {
    /// CPU quotas.
    pub quotas: bool,
    /// Real-time priority for what must not be late.
    pub real_time: bool,
    /// Why packets cannot be captured; absent: they can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_packets: Option<String>,
}
