//! What `compare` found out about two edges or two clients, as data: what `--json` prints, what is kept as a baseline, and what every renderer reads.

use serde::{Deserialize, Serialize};

use analysis::judging::ledger::{Owner, Phase};

/// One of the two that are compared.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Subject {
    /// As it was named: a URL, or the command that starts it.
    pub name: String,
    /// Version, cipher suite and protocol that were agreed on, as RFCs and IANA write them.
    pub agreed: Vec<String>,
}

/// What is counted exactly in a handshake and the request behind it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, strum::IntoStaticStr)]
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
            Counted::Connections => "connections opened",
            Counted::ClientHelloSegments => "segments of ClientHello",
            Counted::ClientHelloBytes => "bytes of ClientHello",
            Counted::ClientRecords => "records from the client",
            Counted::ClientBytes => "bytes from the client",
        }
    }

    /// Whether a change for the worse fails by itself: it costs every client time, on every path.
    pub fn is_worse(self, base: u64, candidate: u64) -> bool {
        match self {
            Counted::RoundTrips
            | Counted::ServerRecords
            | Counted::SegmentsBeyondInitialWindow
            | Counted::HelloRetryRequests
            | Counted::Connections
            | Counted::ClientHelloSegments => candidate > base,
            Counted::Resumed => candidate < base,
            // Seen, but nobody waits for them unless one of the others grows.
            Counted::ServerBytes
            | Counted::Certificates
            | Counted::ChainBytes
            | Counted::ClientHelloBytes
            | Counted::ClientRecords
            | Counted::ClientBytes => false,
        }
    }
}

/// A count of both.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Count {
    /// Of what.
    pub what: Counted,
    /// The base's; absent where it is not always the same, or was not measured.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub base: Option<u64>,
    /// The candidate's, likewise.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub candidate: Option<u64>,
}

impl Count {
    /// Whether both are known and differ.
    pub fn changed(&self) -> bool {
        self.base.zip(self.candidate).is_some_and(|(base, candidate)| base != candidate)
    }

    /// Whether it fails by itself.
    pub fn is_worse(&self) -> bool {
        self.base.zip(self.candidate).is_some_and(|(base, candidate)| self.what.is_worse(base, candidate))
    }
}

/// What a handshake and its request cost the edge or the client itself.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Cost {
    /// Of what: system calls, instructions.
    pub what: String,
    /// The base's, a handshake.
    pub base: f64,
    /// The candidate's.
    pub candidate: f64,
}

/// Round trips of both on a wire of a fixed delay, where TCP's own windows count as well.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct OnWire {
    /// The wire's round trip, in milliseconds.
    pub round_trip_ms: f64,
    /// The base's.
    pub base: Rounds,
    /// The candidate's.
    pub candidate: Rounds,
}

/// Round trips from SYN on: of several handshakes, the quickest.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
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
        self.base.whole().iter().zip(self.candidate.whole()).any(|(base, candidate)| candidate > *base)
    }
}

/// Whose time, and where in the handshake.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Part {
    /// The phase.
    pub phase: Phase,
    /// The owner.
    pub owner: Owner,
}

/// What is known of the difference of one part: candidate less base, in milliseconds. Intervals hold the median difference, at whatever
/// moment somebody looks.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
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
}

/// What the evidence says of a part.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Found {
    /// It takes longer, and a second series of blocks said so again.
    Slower,
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
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, strum::IntoStaticStr)]
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
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
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
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Its processor's name.
    pub cpu: String,
    /// CPUs that may be used.
    pub cpus: usize,
    /// The kernel's release.
    pub kernel: String,
}

/// One block: two handshakes with each, as A B B A or B A A B; what they took in each part, in milliseconds.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Block {
    /// The mean of the base's two, per part in the order of [`Compared::differences`].
    pub base_ms: Vec<f64>,
    /// The candidate's.
    pub candidate_ms: Vec<f64>,
}

/// What is compared.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
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
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
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
    /// Exact counts.
    pub counts: Vec<Count>,
    /// Round trips on a wire of fixed delay, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub on_wire: Option<OnWire>,
    /// What a handshake costs the two themselves, where that was asked for; it is shown and fails nothing.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub costs: Vec<Cost>,
    /// Why the candidate failed, where the base did not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub failed: Option<String>,
    /// Times by phase and owner, in order; empty where [`Compared::times_left_out`] says why.
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
