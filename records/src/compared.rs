//! What `compare` found out about two edges or two clients, as data: what `--json` prints, what is kept as a baseline, and what every renderer reads.

use enumset::EnumSet;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema, schema_for};
use serde::{Deserialize, Serialize};

use analysis::judging::ledger::{Owner, Phase};

/// One of the two that are compared.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Subject {
    /// As it was named: a URL, or the command that starts it.
    pub name: String,
    /// Version, cipher suite and protocol that were agreed on, as RFCs and IANA write them.
    pub agreed: Vec<String>,
}

/// What is counted in a handshake and the request behind it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Counted {
    /// Times that the client had to wait for the edge between its ClientHello and the first byte of the answer; TCP's own is not in it.
    RoundTrips,
    /// TLS records that the edge sent before the answer.
    ServerRecords,
    /// Bytes that the edge sent before the answer.
    ServerBytes,
    /// Segments of 1,460 bytes that do not fit into an initial window of ten (RFC 6928): each time the window has to grow for them, a
    /// round trip more on a real path.
    SegmentsBeyondInitialWindow,
    /// Certificates in the edge's chain.
    Certificates,
    /// Bytes of them (DER).
    ChainBytes,
    /// HelloRetryRequests (RFC 8446, 4.1.4).
    HelloRetryRequests,
    /// Whether an offered session was resumed: 1 or 0.
    Resumed,
    /// Status of the answer (RFC 9110).
    Status,
    /// Connections that a client opened for one request.
    Connections,
    /// Segments of 1,460 bytes that its ClientHello takes: of two, the second can be lost or late, and middleboxes stumble over it.
    ClientHelloSegments,
    /// Bytes of its ClientHello, with the headers of records.
    ClientHelloBytes,
    /// TLS records that it sent before its request.
    ClientRecords,
    /// Bytes that it sent before its request.
    ClientBytes,
}

impl Counted {
    /// Its name in files.
    pub fn label(self) -> &'static str {
        self.into()
    }

    /// Words for people.
    pub const fn words(self) -> &'static str {
        match self {
            Counted::RoundTrips => "round trips to the answer",
            Counted::ServerRecords => "records from the edge",
            Counted::ServerBytes => "bytes from the edge",
            Counted::SegmentsBeyondInitialWindow => "segments beyond the initial window",
            Counted::Certificates => "certificates",
            Counted::ChainBytes => "bytes of the chain",
            Counted::HelloRetryRequests => "HelloRetryRequests",
            Counted::Resumed => "session resumed",
            Counted::Status => "status of the answer",
            Counted::Connections => "connections opened",
            Counted::ClientHelloSegments => "segments of ClientHello",
            Counted::ClientHelloBytes => "bytes of ClientHello",
            Counted::ClientRecords => "records from the client",
            Counted::ClientBytes => "bytes from the client",
        }
    }

    /// What a value costs whoever connects, to be compared with another of the kind: more fails by itself, on every path. Absent where a
    /// change is shown alone: nobody waits for it unless one of the others grows.
    pub fn cost(self, value: u64) -> Option<i64> {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        match self {
            Counted::RoundTrips
            | Counted::ServerRecords
            | Counted::SegmentsBeyondInitialWindow
            | Counted::HelloRetryRequests
            | Counted::Connections
            | Counted::ClientHelloSegments => Some(value),
            Counted::Resumed => Some(-value),
            // Another answer is no worse one, an error is, and one of the edge's own is the worst.
            Counted::Status => Some((value / 100 - 3).clamp(0, 2)),
            Counted::ServerBytes
            | Counted::Certificates
            | Counted::ChainBytes
            | Counted::ClientHelloBytes
            | Counted::ClientRecords
            | Counted::ClientBytes => None,
        }
    }
}

/// A value, and in how many handshakes it was counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Times {
    /// The value.
    pub value: u64,
    /// In how many handshakes.
    pub times: u64,
}

/// What comparing a count says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Change {
    /// No difference was seen; where it varies, none that is more than chance.
    Same,
    /// It differs, and nobody waits longer for it.
    Different,
    /// It costs more.
    Worse,
    /// It may cost more: too few handshakes to tell.
    Open,
    /// The base has no such count.
    NotInBase,
}

/// A count of both.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(from = "WrittenCount")]
#[schemars(!from)]
pub struct Count {
    /// Of what.
    pub what: Counted,
    /// The base's; absent where it is not always the same, or was not measured.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub base: Option<u64>,
    /// The candidate's, likewise.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub candidate: Option<u64>,
    /// All values of the base's, in order; empty where it was not measured, and in files of before this was kept.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub base_values: Vec<Times>,
    /// The candidate's, likewise.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub candidate_values: Vec<Times>,
    /// What comparing them says.
    pub change: Change,
}

/// A count as files have it: those of before said nothing of the change, which both values tell.
#[derive(Deserialize)]
struct WrittenCount {
    what: Counted,
    base: Option<u64>,
    candidate: Option<u64>,
    #[serde(default)]
    base_values: Vec<Times>,
    #[serde(default)]
    candidate_values: Vec<Times>,
    change: Option<Change>,
}

impl From<WrittenCount> for Count {
    fn from(written: WrittenCount) -> Self {
        let WrittenCount { what, base, candidate, base_values, candidate_values, change } = written;
        let told = || match base.zip(candidate) {
            None => Change::Open,
            Some((base, candidate)) if base == candidate => Change::Same,
            Some((base, candidate)) if what.cost(candidate) > what.cost(base) => Change::Worse,
            Some(_) => Change::Different,
        };
        Self { what, base, candidate, base_values, candidate_values, change: change.unwrap_or_else(told) }
    }
}

impl Count {
    /// Whether it fails by itself.
    pub fn is_worse(&self) -> bool {
        self.change == Change::Worse
    }
}

/// Handshakes that came to nothing, of both.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Failures {
    /// Handshakes with the base.
    pub of_base: u64,
    /// Of these, failed.
    pub base: u64,
    /// Why the last one did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub base_why: Option<String>,
    /// Handshakes with the candidate.
    pub of_candidate: u64,
    /// Of these, failed.
    pub candidate: u64,
    /// Why the last one did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub candidate_why: Option<String>,
    /// The candidate seems to fail more often, and there were too few handshakes to tell.
    #[serde(default)]
    pub open: bool,
}

impl Failures {
    /// Whether there are any.
    pub fn any(&self) -> bool {
        self.base + self.candidate > 0
    }
}

/// What a handshake and its request cost the edge or the client itself.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Cost {
    /// Of what: system calls, instructions.
    pub what: String,
    /// The base's, a handshake.
    pub base: f64,
    /// The candidate's.
    pub candidate: f64,
}

/// Round trips of both on a wire of a fixed delay, where TCP's own windows count as well.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct OnWire {
    /// The wire's round trip, in milliseconds.
    pub round_trip_ms: f64,
    /// The base's.
    pub base: Rounds,
    /// The candidate's.
    pub candidate: Rounds,
}

/// Round trips from SYN on: of several handshakes, the quickest.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Rounds {
    /// Until the client may send its request: its Finished has left, or the server's has come (TLS 1.2).
    pub to_finished: f64,
    /// Until the first byte of the answer came.
    pub to_first_byte: f64,
}

impl Rounds {
    /// Whole ones: what remains is work.
    pub fn whole(self) -> [i64; 2] {
        [self.to_finished, self.to_first_byte].map(|rounds| rounds.round() as i64)
    }
}

impl OnWire {
    /// The candidate takes a round trip more.
    pub fn is_worse(&self) -> bool {
        self.worse().contains(&true)
    }

    /// The same until Finished, and until the first byte.
    pub fn worse(&self) -> [bool; 2] {
        let ([base_finished, base_byte], [finished, byte]) = (self.base.whole(), self.candidate.whole());
        [finished > base_finished, byte > base_byte]
    }
}

/// Whose time, and where in the handshake.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Part {
    /// The phase.
    #[schemars(schema_with = "phases")]
    pub phase: Phase,
    /// The owner.
    #[schemars(schema_with = "owners")]
    pub owner: Owner,
}

fn phases(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": Phase::ALL.iter().map(|phase| phase.label()).collect::<Vec<_>>() })
}

fn owners(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": EnumSet::<Owner>::all().iter().map(|owner| owner.label()).collect::<Vec<_>>() })
}

/// The published schema of a comparison.
pub fn schema() -> Schema {
    schema_for!(Compared)
}

/// What is known of the difference of one part: candidate less base, in milliseconds. Intervals hold the median difference, at whatever
/// moment somebody looks.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Difference {
    /// Of what.
    pub part: Part,
    /// The base's median, in milliseconds.
    pub base_ms: f64,
    /// The median difference, in milliseconds.
    pub median_ms: f64,
    /// It is no less; absent while too little is known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub least_ms: Option<f64>,
    /// It is no more, likewise.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub most_ms: Option<f64>,
    /// Less is not worth a word, in milliseconds.
    pub ignored_ms: f64,
    /// More is to be found, in milliseconds.
    pub noticed_ms: f64,
    /// What that comes to.
    pub found: Found,
    /// How many blocks more it would take, by the width of the interval; where it is open.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub more_blocks: Option<u64>,
    /// Handshakes that take much longer than is usual, where there were any.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tail: Option<Tail>,
}

/// Handshakes of which a part takes longer than nearly all of the base's did before.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Tail {
    /// Longer than this, in milliseconds, at the last; it follows the base's 95th percentile.
    pub above_ms: f64,
    /// Handshakes with each.
    pub handshakes: u64,
    /// Of the base's, so many took longer.
    pub base: u64,
    /// Of the candidate's.
    pub candidate: u64,
}

/// What the evidence says of a part.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Found {
    /// It takes longer, and a second series of blocks said so again.
    Slower,
    /// More handshakes than of the base's take much longer; not most of them.
    SlowerAtTimes,
    /// A first series of blocks said that it takes longer, a second one did not.
    NotConfirmed,
    /// It takes less.
    Faster,
    /// If it takes longer, then by less than is to be noticed.
    Same,
    /// The budget ended before it was clear.
    Open,
}

/// All of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Outcome {
    /// Nothing got worse.
    NoRegression,
    /// Something did.
    Regression,
    /// Nothing is known to have got worse, but noise hides what is to be noticed.
    TooNoisy,
}

/// Why no times were compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LeftOut {
    /// Only counts were asked for.
    NotAsked,
    /// The candidate fails.
    CandidateFails,
    /// The budget ended before there was anything to compare.
    NoTime,
    /// The base is a stored one, measured on another machine, or without times.
    StoredBase,
}

impl LeftOut {
    /// Words for people.
    pub const fn words(self) -> &'static str {
        match self {
            LeftOut::NotAsked => "only counts were asked for",
            LeftOut::CandidateFails => "the candidate fails",
            LeftOut::NoTime => "the budget ended before there was anything to compare",
            LeftOut::StoredBase => "the base is a stored one: times compare only side by side",
        }
    }
}

/// A machine, as far as its timings are like those of another.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Fingerprint {
    /// Its processor's name.
    pub cpu: String,
    /// CPUs that may be used.
    pub cpus: usize,
    /// The kernel's release.
    pub kernel: String,
}

/// One block: two handshakes with each, as A B B A or B A A B; what they took in each part, in milliseconds.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Block {
    /// The mean of the base's two, per part in the order of [`Compared::differences`].
    pub base_ms: Vec<f64>,
    /// The candidate's.
    pub candidate_ms: Vec<f64>,
}

/// How both were asked, as far as it decides what is counted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Conditions {
    /// The one version that was offered; absent: all.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub only: Option<String>,
    /// Sessions were resumed.
    pub resume: bool,
    /// The name that was asked for, where it was given.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub name: Option<String>,
    /// What a command's edge was asked for.
    pub path: String,
    /// A certificate of the client's was offered.
    pub certificate: bool,
}

/// What is compared.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Two edges, by our client.
    #[default]
    Edges,
    /// Two builds of a client, by our edge.
    Clients,
}

impl Kind {
    /// Words for people.
    pub const fn words(self) -> &'static str {
        match self {
            Kind::Edges => "edges",
            Kind::Clients => "clients",
        }
    }
}

/// A comparison.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Compared {
    /// Record format.
    pub format: u32,
    /// What both are.
    #[serde(default)]
    pub kind: Kind,
    /// What it was compared with.
    pub base: Subject,
    /// What was compared.
    pub candidate: Subject,
    /// Where.
    pub machine: Fingerprint,
    /// Where the base was measured, if it is a stored one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub base_machine: Option<Fingerprint>,
    /// How they were asked; absent in files of before this was kept.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub asked: Option<Conditions>,
    /// What is counted.
    pub counts: Vec<Count>,
    /// Round trips on a wire of fixed delay, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub on_wire: Option<OnWire>,
    /// What a handshake costs the two themselves, where that was asked for; it is shown and fails nothing.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub costs: Vec<Cost>,
    /// Handshakes that failed; absent in files of before this was kept.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub failures: Option<Failures>,
    /// Why the candidate failed, where it does more often than the base.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub failed: Option<String>,
    /// Times by phase and owner, what is slower first; empty where [`Compared::times_left_out`] says why.
    pub differences: Vec<Difference>,
    /// Why no times were compared.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub times_left_out: Option<LeftOut>,
    /// Blocks that count, those of the confirmation among them.
    pub blocks: Vec<Block>,
    /// Blocks left out: a handshake in it failed, or somebody set the clock.
    pub spoiled: u64,
    /// What it comes to.
    pub outcome: Outcome,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_schema_is_this_one() {
        let published = include_str!("../../docs/compare.schema.json");
        let now = serde_json::to_string_pretty(&schema()).expect("a schema is JSON") + "\n";
        assert!(published == now, "docs/compare.schema.json is old: `make schema`");
    }
}
