//! A run as data: what `verdict.json` and `handshakes.ndjson` hold and every renderer reads.

use analysis::clock::Span;
use analysis::judging::run::RunVerdict;
use analysis::judging::verdict::{Judgement, Reading};
use serde::{Deserialize, Serialize};

/// Version of the record formats; readers of a later one must still read this.
pub const FORMAT: u32 = 1;

/// A milestone as one observer saw it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Mark {
    /// The milestone's name.
    pub name: String,
    /// When, in milliseconds since this observer's first milestone, on this observer's clock.
    pub ms: f64,
    /// The frame of `evidence.pcapng`, where it is a packet.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub packet: Option<u64>,
}

/// What one observer saw.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Lane {
    /// The observer: `client app`, `client kernel`, `client wire`, `edge wire`, `edge log`.
    pub observer: String,
    /// Where this lane's zero lies on the client's time axis, in milliseconds. For lanes of the edge this is an
    /// estimate for drawing (half a round trip each way); no verdict uses it.
    pub offset_ms: f64,
    /// Its milestones.
    pub marks: Vec<Mark>,
}

/// One grade's reading of a handshake, judged.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Judged {
    /// The reading.
    pub reading: Reading,
    /// The judgement.
    pub judgement: Judgement,
    /// The verdict in a sentence.
    pub sentence: String,
}

/// One handshake.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct HandshakeRecord {
    /// Record format.
    pub format: u32,
    /// Number in the run, from 1.
    pub id: u64,
    /// Round of the scenario, from 1.
    pub round: u32,
    /// Vantage.
    pub vantage: String,
    /// Target.
    pub target: String,
    /// The client's end.
    pub client: String,
    /// The server's end.
    pub server: String,
    /// The client's socket of the name lookup before it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub lookup: Option<String>,
    /// Name asked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub server_name: Option<String>,
    /// TLS version agreed on.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub version: Option<String>,
    /// Whether a session was resumed.
    pub resumed: bool,
    /// The observers.
    pub lanes: Vec<Lane>,
    /// From both ends; absent if the client's capture does not show it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub both_ends: Option<Judged>,
    /// From the edge's capture alone; absent if that does not show it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub edge_only: Option<Judged>,
}

/// Quantiles of one phase over a cell's handshakes, from an HdrHistogram.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PhaseQuantiles {
    /// The phase.
    pub phase: String,
    /// How many handshakes had it.
    pub n: u64,
    /// p50, p90, p99 and maximum in milliseconds; a quantile that `n` cannot support is absent.
    pub p50: f64,
    /// See `p50`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub p90: Option<f64>,
    /// See `p50`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub p99: Option<f64>,
    /// The longest.
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
    /// Its worst lateness in milliseconds.
    pub wire_worst_ms: f64,
    /// Whether the wire had real-time priority.
    pub wire_real_time: bool,
    /// CPU time that the hypervisor took from this machine while the run lasted, in milliseconds.
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
    /// What the run did without, and why.
    pub gave_up: Vec<String>,
    /// Why the run is void, if it is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub void: Option<String>,
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
    /// When it began, RFC 3339 UTC.
    pub started: String,
    /// The machine's kernel.
    pub kernel: String,
    /// From both ends.
    pub both_ends: RunVerdict,
    /// From the edge's captures alone.
    pub edge_only: RunVerdict,
    /// The sentence of each cell from both ends, in the order of its cells.
    pub sentences: Vec<String>,
    /// The same from the edge alone.
    pub edge_sentences: Vec<String>,
    /// Distributions.
    pub phases: Vec<CellPhases>,
    /// The harness.
    pub footing: Footing,
    /// Expectations, if the scenario states any.
    pub expectations: Vec<Expectation>,
}

impl RunRecord {
    /// Whether every stated expectation held.
    pub fn held(&self) -> bool {
        self.expectations.iter().all(|e| e.held)
    }
}

/// Milliseconds with a sensible number of digits.
pub fn ms(span: Span) -> String {
    span.to_string()
}

/// "1 packet", "2 packets".
pub fn plural(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}
