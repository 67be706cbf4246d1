//! What a watch over many vantages says: checks go out, rounds come in. What they are made of is `watch`'s; here is who says it, and in
//! which order.

use analysis::clock::{Client, Instant};
use serde::{Deserialize, Serialize};

/// What a controller hands out to its agents: what to check, without receivers and secrets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Handout {
    /// SHA-256 of the bytes, in hexadecimal: the revision.
    pub sha256: String,
    /// The checks, as `watch` writes them.
    pub bytes: Vec<u8>,
}

/// Which of an agent's batches of rounds. Later ones are greater: an epoch begins with the time at which its process started.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct BatchId {
    /// The agent's process.
    pub epoch: String,
    /// Counted from 1 within it.
    pub number: u64,
}

/// How an agent of a watch fares.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Wellbeing {
    /// Groups that it belongs to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// The revision of the checks that it follows; absent: it has none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checks: Option<String>,
    /// Why it cannot do what it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// Batches that wait at it for a controller's store.
    #[serde(default)]
    pub waiting: usize,
    /// Batches that it had to throw away for want of room, since its process began.
    #[serde(default)]
    pub dropped: u64,
}

/// A batch of rounds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RoundBatch {
    /// Which.
    pub id: BatchId,
    /// The batch before it that still waits at the agent: whoever lacks that one waits for it, so that rounds are taken in their order.
    pub after: Option<BatchId>,
    /// The rounds, as `watch` writes them.
    pub bytes: Vec<u8>,
}

/// What a controller hears of an agent: a sign of life, or a batch of rounds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delivered {
    /// The agent, as the broker vouches for it.
    pub agent: String,
    /// When it was sent, by the wall clock of the agent's host, which its rounds are timed by too: each agent is the client of its own
    /// rounds, and its clock is not that of whoever hears of them.
    pub sent: Instant<Client>,
    /// How the agent fares.
    pub wellbeing: Wellbeing,
    /// Its rounds; absent: it is alive.
    pub batch: Option<RoundBatch>,
}

/// A controller's store has all of an agent's batches of an epoch up to this one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stored {
    /// The agent.
    pub agent: String,
    /// The last of them.
    pub upto: BatchId,
}
