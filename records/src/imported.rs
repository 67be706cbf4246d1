//! What `explain` found in what customers sent (curl's times, HAR, NetLog, lines of logs), as data: what `--json` and `--ndjson` print and
//! every renderer reads.

use serde::{Deserialize, Serialize};

use crate::explained::{NOT_JUDGED, Share, all_or_nothing};
use crate::handshake::Judged;

/// By what an edge's recorder finds the flow.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FlowKey {
    /// The client's address and port, as the source saw them: behind address translation the edge sees others.
    pub client: String,
    /// The server's, if they are known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub server: Option<String>,
}

/// One connection or request, as its source tells of it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ImportedRecord {
    /// Record format.
    pub format: u32,
    /// Number among the requests of these files, from 1.
    pub id: u64,
    /// Its file.
    pub file: String,
    /// Where in it: "line 7", "entry 3".
    pub place: String,
    /// What kind of file or line: "HAR", "HAProxy log".
    pub source: String,
    /// Whose program saw it: `client` or `edge`.
    pub seen_by: String,
    /// When it began, by the wall clock of whoever wrote it: RFC 3339, UTC, as precise as it is written.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub started: Option<String>,
    /// The same, in nanoseconds since the epoch.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub started_ns: Option<i64>,
    /// The client's end, `?` where it is not known.
    pub client: String,
    /// The server's end, likewise.
    pub server: String,
    /// The address asked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub url: Option<String>,
    /// The server's name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub server_name: Option<String>,
    /// TLS version agreed on.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub version: Option<String>,
    /// Whether it used a connection that was there already.
    pub reused: bool,
    /// Status of the answer.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub status: Option<u16>,
    /// What went wrong, in the source's words.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<String>,
    /// What was read and judged; absent if the source tells no time of it.
    #[serde(flatten, skip_serializing_if = "Option::is_none", deserialize_with = "all_or_nothing")]
    pub judged: Option<Judged>,
    /// By what an edge's recorder finds the flow; absent if the client's end is not known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub key: Option<FlowKey>,
    /// ClientHello.random, in hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub random: Option<String>,
    /// What the source cannot know of it.
    pub cannot_know: Vec<String>,
}

impl ImportedRecord {
    /// Short form of the verdict.
    pub fn label(&self) -> String {
        self.judged.as_ref().map_or_else(|| NOT_JUDGED.to_owned(), |j| j.judgement.verdict.label())
    }
}

/// Parts of a file that gave no request, for one reason.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SkippedParts {
    /// Why: what stands behind "12 lines were …".
    pub reason: String,
    /// How many.
    pub n: u64,
    /// The first of them: "line 7".
    pub first: String,
}

/// One file that was read.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ImportedFile {
    /// Its name.
    pub name: String,
    /// What it is.
    pub source: String,
    /// Requests found in it.
    pub requests: u64,
    /// What gave none.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub skipped: Vec<SkippedParts>,
    /// Where and why reading ended before its end.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cut: Option<String>,
}

/// All that was found.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ImportReport {
    /// Record format.
    pub format: u32,
    /// The files.
    pub imported: Vec<ImportedFile>,
    /// Requests found.
    pub requests: u64,
    /// Of these, those that the filters let through: what follows speaks of them.
    pub selected: u64,
    /// By verdict, the most excess first.
    pub summary: Vec<Share>,
    /// The slowest.
    pub slowest: Vec<ImportedRecord>,
}
