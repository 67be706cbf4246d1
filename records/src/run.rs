//! A run as data: what was to be run where (`run.json`), what came out (`verdict.json`).

use analysis::judging::run::RunVerdict;
use serde::{Deserialize, Serialize};

/// Enough to know what was run where. `S` is the scenario, as its reader has it; whoever has none takes the JSON as it is.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Manifest<S = serde_json::Value> {
    /// Record format.
    pub format: u32,
    /// Name of the run folder.
    pub run_id: String,
    /// When it began by the controller's wall clock: RFC 3339, UTC, whole seconds.
    pub started: String,
    /// Version of the program.
    pub version: String,
    /// The first vantage's kernel.
    pub kernel: String,
    /// What that kernel keeps time by.
    pub clock_source: String,
    /// CPUs of that vantage.
    pub cpus: usize,
    /// Clocks of vantages on other hosts, against the controller's, when they were reached.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub clocks: Vec<ClockAhead>,
    /// What each vantage said of its host when it was reached; absent in files that are older than this field.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub hosts: Vec<HostSaid>,
    /// Vantages that a provider brought up for the run.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub provided: Vec<Provided>,
    /// What was to be run.
    pub scenario: S,
}

/// What a vantage said of its host.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct HostSaid {
    /// The vantage.
    pub vantage: String,
    /// Its kernel.
    pub kernel: String,
    /// What that kernel keeps time by.
    pub clock_source: String,
    /// CPUs that its programs may use.
    pub cpus: usize,
    /// How long its loop of fixed size took before the run; absent where it was not timed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub spin: Option<SpinTimed>,
}

/// A loop of fixed size, timed on a vantage's steady clock, in milliseconds. It is compared with the same host's alone.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct SpinTimed {
    /// How often it was timed.
    pub n: u32,
    /// The shortest.
    pub least_ms: f64,
    /// The median.
    pub median_ms: f64,
    /// The longest.
    pub most_ms: f64,
}

/// A host's loop behind one batch, and the CPU time that its hypervisor had taken by its kernel's account: a line of `events.ndjson`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SpinEvent {
    /// What happened: [`SpinEvent::EVENT`].
    pub event: String,
    /// Round of the scenario, from 1.
    pub round: u32,
    /// Vantage.
    pub vantage: String,
    /// Target.
    pub target: String,
    /// The loop.
    pub spin: SpinTimed,
    /// Stolen while the batch's clients ran, in milliseconds; absent where the kernel was not asked.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stolen_ms: Option<f64>,
}

impl SpinEvent {
    /// The word for it in `events.ndjson`.
    pub const EVENT: &str = "spin";
}

/// A vantage that a provider brought up.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Provided {
    /// The vantage.
    pub vantage: String,
    /// Its provider.
    pub provider: String,
    /// What its cloud calls it.
    pub id: String,
    /// What the provider says that bears on measurements.
    pub facts: serde_json::Value,
}

/// How far the clock of a vantage is ahead of the controller's.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ClockAhead {
    /// The vantage.
    pub vantage: String,
    /// Milliseconds; negative: behind.
    pub ahead_ms: f64,
    /// By so many milliseconds that may be off, either way.
    pub error_ms: f64,
}

/// How one client ended.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ClientEnded {
    /// What happened: [`ClientEnded::EVENT`].
    pub event: String,
    /// Round of the scenario, from 1.
    pub round: u32,
    /// Vantage.
    pub vantage: String,
    /// Target.
    pub target: String,
    /// Process id, in the vantage's numbering.
    pub pid: u32,
    /// Exit code; absent if a signal ended it.
    pub code: Option<i32>,
    /// Whether it had to be ended.
    pub timed_out: bool,
    /// Its standard output, as JSON if it is that. Times in it are in nanoseconds of the vantage's wall clock where our own client wrote
    /// it, and whatever another client means.
    pub said: serde_json::Value,
    /// The end of its standard error.
    pub complained: String,
}

impl ClientEnded {
    /// The word for it in `events.ndjson`.
    pub const EVENT: &str = "client_ended";
}

/// Quantiles of one phase over a cell's handshakes, from an HdrHistogram: all in milliseconds, each handshake's on the clocks of its own
/// ledger. A quantile that `n` cannot support is absent.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PhaseQuantiles {
    /// The phase.
    pub phase: String,
    /// How many handshakes had it.
    pub n: u64,
    /// The median, in milliseconds.
    pub p50: f64,
    /// In milliseconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub p90: Option<f64>,
    /// In milliseconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub p99: Option<f64>,
    /// The longest, in milliseconds.
    pub max: f64,
}

/// A cell's distributions.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct CellPhases {
    /// Vantage.
    pub vantage: String,
    /// Target.
    pub target: String,
    /// Its phases.
    pub phases: Vec<PhaseQuantiles>,
}

/// Facts about the harness that bear on trust.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
pub struct Footing {
    /// Packets the wire forwarded.
    pub wire_forwarded: u64,
    /// Packets it sent late.
    pub wire_late: u64,
    /// Its worst lateness, in milliseconds of the lab machine's steady clock.
    pub wire_worst_ms: f64,
    /// Whether the wire had real-time priority.
    pub wire_real_time: bool,
    /// CPU time that the hypervisor took from the lab machine while the run lasted, in milliseconds of its kernel's accounting; 0 in files
    /// that are older than this field.
    #[serde(default)]
    pub stolen_ms: f64,
    /// Packets captured.
    pub captured: u64,
    /// Packets the captures lost.
    pub capture_lost: u64,
    /// Clients that had to be ended at their timeout.
    pub clients_timed_out: u64,
    /// Clients launched.
    pub clients: u64,
    /// How late clients started that were to start together; absent where each cell was measured by itself.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub starts: Option<Starts>,
    /// What the run did without, and why.
    pub gave_up: Vec<String>,
    /// Vantages that were left out or lost on the way, and why: their cells are not whole.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub missing: Vec<String>,
    /// Why the run is void, if it is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub void: Option<String>,
}

/// Clients of a cell that failed for one reason.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ClientsFailed {
    /// Vantage.
    pub vantage: String,
    /// Target.
    pub target: String,
    /// How many.
    pub n: u64,
    /// Why, in the clients' own words.
    pub why: String,
}

/// How late clients started that were to start at one moment, in milliseconds of each vantage's own clock: from that moment, as it is on
/// that clock, to the start of the first client there.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Starts {
    /// Starts: one of each vantage in each batch.
    pub n: u64,
    /// The median.
    pub p50_ms: f64,
    /// Absent where `n` cannot support it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub p99_ms: Option<f64>,
    /// The latest.
    pub worst_ms: f64,
    /// By so much a vantage's clock may have been off the controller's, either way: the worst of all; absent where nothing is known of it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub clock_error_ms: Option<f64>,
}

/// What was expected and whether it came out.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Expectation {
    /// Which evidence: `both ends`, `edge only`, `control`.
    pub evidence: String,
    /// Labels any of which would do.
    pub expected: Vec<String>,
    /// The label that came out.
    pub seen: String,
    /// Whether that holds.
    pub held: bool,
}

/// A whole run.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RunRecord {
    /// Record format.
    pub format: u32,
    /// Name of the run folder.
    pub run_id: String,
    /// The scenario's name.
    pub scenario: String,
    /// The scenario's description.
    pub description: String,
    /// When it began by the controller's wall clock: RFC 3339, UTC, whole seconds.
    pub started: String,
    /// The first vantage's kernel.
    pub kernel: String,
    /// By all that was seen.
    #[serde(flatten)]
    pub best: Best,
    /// From the edge's captures alone; absent where nobody watched there.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub edge_only: Option<RunVerdict>,
    /// The sentence of each cell by all that was seen, in the order of its cells.
    pub sentences: Vec<String>,
    /// The same from the edge alone.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub edge_sentences: Vec<String>,
    /// Distributions.
    pub phases: Vec<CellPhases>,
    /// Why clients failed, the commonest reasons of each cell.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub failed: Vec<ClientsFailed>,
    /// The harness.
    pub footing: Footing,
    /// Expectations, if the scenario states any.
    pub expectations: Vec<Expectation>,
}

/// The verdict by all that was seen, under the name of whose ends that were.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Best {
    /// The client's and, of some target at least, the edge's.
    BothEnds(RunVerdict),
    /// The client's alone: its packets, its socket or its program's clock.
    ClientOnly(RunVerdict),
}

impl RunRecord {
    /// The verdict by all that was seen.
    pub fn verdict(&self) -> &RunVerdict {
        match &self.best {
            Best::BothEnds(verdict) | Best::ClientOnly(verdict) => verdict,
        }
    }

    /// Whether every stated expectation held.
    pub fn held(&self) -> bool {
        self.expectations.iter().all(|e| e.held)
    }
}
