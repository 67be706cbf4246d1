//! What `explain` found in captures, as data: what `--json` and `--ndjson` print and every renderer reads.

use std::collections::BTreeMap;

use analysis::judging::verdict::{Reading, Verdict};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use crate::handshake::{Judged, Lane};
use crate::judgement::Written;

/// What stands for a verdict where there is none.
pub const NOT_JUDGED: &str = "not judged";

/// What stands in [`Counts::not_understood`] for the kinds beyond those that are counted each for itself.
pub const OTHER_KINDS: &str = "other kinds";

/// What the stacks of both ends do whatever the network does, as their packets show it.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Habits {
    /// The server asked for another key share.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub hello_retry: bool,
    /// The client showed a certificate, or said that it has none.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub client_certificate: bool,
    /// Bytes of the ClientHello.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub client_hello_bytes: Option<u64>,
    /// Bytes of the server's flight.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub flight_bytes: Option<u64>,
    /// Segments in which the server's flight came, as far as the capture still has them (offloads make fewer of them).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub flight_segments: Option<u64>,
    /// Bytes of the server's certificates, where they are in clear (TLS 1.2 and older).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub certificate_bytes: Option<u64>,
    /// What was said before TLS.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub before_tls: Option<Plaintext>,
    /// IPv6.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub ipv6: bool,
}

/// Plaintext before TLS, by turns.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Plaintext {
    /// The server spoke first.
    pub server_first: bool,
    /// Turns of the client that the server answered.
    pub exchanges: u64,
}

/// Which ends of a handshake captures show.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SeenFrom {
    /// Both.
    BothEnds,
    /// The client's.
    ClientEnd,
    /// The edge's.
    EdgeEnd,
    /// Neither: it was captured on the way.
    Between,
    /// It cannot be told.
    Unknown,
}

impl SeenFrom {
    /// As a sentence has it behind "seen from".
    pub fn words(self) -> &'static str {
        match self {
            SeenFrom::BothEnds => "both ends",
            SeenFrom::ClientEnd => "the client's end",
            SeenFrom::EdgeEnd => "the edge's end",
            SeenFrom::Between => "between the ends",
            SeenFrom::Unknown => "an unknown place",
        }
    }
}

/// One handshake found in captures.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ExplainedRecord {
    /// Record format.
    pub format: u32,
    /// Number among the handshakes of these captures, from 1.
    pub id: u64,
    /// When its first packet was captured, by the clock of that capture: RFC 3339, UTC, microseconds.
    pub started: String,
    /// The same, in nanoseconds since the epoch.
    pub started_ns: i64,
    /// The client's end.
    pub client: String,
    /// The server's end.
    pub server: String,
    /// Name asked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub server_name: Option<String>,
    /// ClientHello.random, in hexadecimal digits: by it the other end's recorder finds the flow, whatever translates addresses on the way.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub random: Option<String>,
    /// TLS version agreed on.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub version: Option<String>,
    /// Whether a session was resumed.
    pub resumed: bool,
    /// What its ends' stacks do whatever the network does; absent in files of versions that did not look.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub habits: Option<Habits>,
    /// Which ends it was seen from.
    pub seen_from: SeenFrom,
    /// How that is known.
    pub how: String,
    /// What was read and judged; absent if the capture does not hold enough of the handshake.
    #[serde(flatten, skip_serializing_if = "Option::is_none", deserialize_with = "all_or_nothing")]
    pub judged: Option<Judged>,
    /// Why nothing could be judged.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub not_judged: Option<String>,
    /// The number of the handshake that carries the same ClientHello on another connection (a proxy's other leg).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub other_leg: Option<u64>,
    /// More about the evidence.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub notes: Vec<String>,
    /// The observers.
    pub lanes: Vec<Lane>,
}

/// A verdict that is there and cannot be read is an error: by itself serde would take it for one that is not there.
pub(crate) fn all_or_nothing<'de, D: Deserializer<'de>>(record: D) -> Result<Option<Judged>, D::Error> {
    #[derive(Deserialize)]
    struct Parts {
        reading: Option<Reading>,
        judgement: Option<Written>,
        sentence: Option<String>,
    }
    let Parts { reading, judgement, sentence } = Parts::deserialize(record)?;
    match (reading, judgement, sentence) {
        (Some(reading), Some(Written(judgement)), Some(sentence)) => Ok(Some(Judged { reading, judgement, sentence })),
        (None, None, None) => Ok(None),
        _ => Err(D::Error::custom("of `reading`, `judgement` and `sentence` some are there and some are not")),
    }
}

impl ExplainedRecord {
    /// Short form of the verdict.
    pub fn label(&self) -> String {
        self.judged.as_ref().map_or_else(|| NOT_JUDGED.to_owned(), |j| j.judgement.verdict.label())
    }

    /// Its verdict, if there is one.
    pub fn verdict(&self) -> Option<&Verdict> {
        self.judged.as_ref().map(|j| &j.judgement.verdict)
    }
}

/// One line of the summary: all handshakes with the same verdict.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Share {
    /// The verdict, short.
    pub verdict: String,
    /// How many.
    pub n: u64,
    /// The median of the whole handshake, in milliseconds of the clocks that measured them; absent where nothing was judged.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub p50_ms: Option<f64>,
    /// The longest, likewise.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub max_ms: Option<f64>,
    /// Time beyond the baseline, all of them together, in milliseconds of the same clocks.
    pub excess_ms: f64,
}

/// One capture that was read.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct CaptureRecord {
    /// Its files, in order of time.
    pub files: Vec<String>,
    /// Packets read.
    pub packets: u64,
    /// Packets that it says it dropped itself.
    pub dropped: u64,
    /// Per interface: where it captured (RFC 7011 says observation point), and by how many connections that is known. It was `stands` once.
    #[serde(alias = "stands")]
    pub observation_points: Vec<String>,
}

/// What passed the observers, all captures together.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Counts {
    /// Frames.
    pub packets: u64,
    /// Of these, with a TCP segment.
    pub tcp: u64,
    /// Frames that contradict themselves or are cut before their headers end.
    pub malformed: u64,
    /// Frames of a link type that cannot be read.
    pub unknown_link: u64,
    /// Frames that were not understood, those of `unknown_link` too: "EtherType 0x88e5", "link type 147" → how many.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub not_understood: BTreeMap<String, u64>,
    /// ICMP and ICMPv6 errors about TCP or UDP packets.
    #[serde(default)]
    pub icmp: u64,
    /// Frames whose time the capture does not tell (Simple Packet Blocks).
    #[serde(default)]
    pub untimed: u64,
    /// TLS handshakes in such frames, which are not judged.
    #[serde(default)]
    pub untimed_handshakes: u64,
    /// Frames of NFLOG, whose times are those of the kernel's handing them over.
    #[serde(default)]
    pub nflog: u64,
    /// Connections that are no TLS.
    pub not_tls: u64,
    /// TLS connections of which the capture shows data only: their handshake lies before it.
    pub late: u64,
    /// Connections to a TLS server that were closed at once without a word: port checks.
    pub port_checks: u64,
    /// Connections that an observer showed under a second name, before or behind address translation: told once.
    #[serde(default)]
    pub twins: u64,
}

impl Counts {
    /// Frames that were not understood, whatever for.
    pub fn frames_not_understood(&self) -> u64 {
        self.not_understood.values().sum()
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.packets += other.packets;
        self.tcp += other.tcp;
        self.malformed += other.malformed;
        self.unknown_link += other.unknown_link;
        for (what, n) in other.not_understood {
            *self.not_understood.entry(what).or_default() += n;
        }
        self.icmp += other.icmp;
        self.untimed += other.untimed;
        self.untimed_handshakes += other.untimed_handshakes;
        self.nflog += other.nflog;
        self.not_tls += other.not_tls;
        self.late += other.late;
        self.port_checks += other.port_checks;
        self.twins += other.twins;
    }
}

/// All that was found.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ExplainReport {
    /// Record format.
    pub format: u32,
    /// The captures.
    pub captures: Vec<CaptureRecord>,
    /// The files behind packet numbers: a number belongs to the n-th (from 0) if it is in n × 2^40 + 1 … (n + 1) × 2^40.
    pub files: Vec<String>,
    /// What passed.
    pub counts: Counts,
    /// Handshakes found.
    pub handshakes: u64,
    /// Of these, those that the filters let through: what follows speaks of them.
    pub selected: u64,
    /// By verdict, the most excess first.
    pub summary: Vec<Share>,
    /// What to know before believing it: broken files, dropped packets, clocks that jumped.
    pub warnings: Vec<String>,
    /// The slowest.
    pub slowest: Vec<ExplainedRecord>,
}
