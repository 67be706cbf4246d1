//! Messages of a watch: JSON, and for batches a line of JSON before the bytes.

use agent::{BatchId, Delivered, RoundBatch, Wellbeing};
use analysis::clock::{Client, Instant};
use serde::{Deserialize, Serialize};

/// A head is a line of at most so many bytes.
const MOST_HEAD: usize = 8 << 10;

/// A controller says which checks it hands out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Offer {
    /// Who hands them out.
    pub(crate) controller: String,
    /// Their revision.
    pub(crate) sha256: String,
}

/// An agent asks for checks.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Fetch {
    /// Of this controller; absent: of any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) of: Option<String>,
    /// The parts that are wanted; none: from the beginning.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) parts: Vec<u32>,
}

/// A controller's store has an agent's batches up to one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Acknowledgement {
    /// Whose store.
    pub(crate) controller: String,
    /// The last of them.
    pub(crate) upto: BatchId,
}

/// The line before the rounds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Head {
    /// By the clock of the agent's host.
    sent_ns: Instant<Client>,
    #[serde(flatten)]
    wellbeing: Wellbeing,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    batch: Option<BatchId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<BatchId>,
}

/// A batch, or without one a sign of life.
pub(crate) fn rounds(sent: Instant<Client>, wellbeing: Wellbeing, batch: Option<(BatchId, Option<BatchId>, &[u8])>) -> Vec<u8> {
    let (id, after, bytes) = match batch {
        Some((id, after, bytes)) => (Some(id), after, bytes),
        None => (None, None, &[][..]),
    };
    // What has no map with other keys than strings can be put into JSON.
    let mut message = serde_json::to_vec(&Head { sent_ns: sent, wellbeing, batch: id, after }).unwrap_or_default();
    message.push(b'\n');
    message.extend(bytes);
    message
}

/// Reads a message of the agent `agent`.
///
/// # Errors
/// If it is none.
pub(crate) fn delivered(agent: &str, message: &[u8]) -> Result<Delivered, NoRounds> {
    let end = message.iter().take(MOST_HEAD).position(|byte| *byte == b'\n').ok_or(NoRounds::Head)?;
    let head: Head = serde_json::from_slice(&message[..end])?;
    let Head { sent_ns, wellbeing, batch, after } = head;
    let batch = batch.map(|id| RoundBatch { id, after, bytes: message[end + 1..].to_vec() });
    Ok(Delivered { agent: agent.to_owned(), sent: sent_ns, wellbeing, batch })
}

/// What is no batch and no sign of life.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoRounds {
    #[error("it does not begin with a line of JSON")]
    Head,
    #[error("it does not begin with what a batch begins with: {0}")]
    Json(#[from] serde_json::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_and_a_sign_of_life_arrive_as_they_were_sent() {
        let id = |number| BatchId { epoch: "e".into(), number };
        let wellbeing = Wellbeing { groups: vec!["eu".into()], waiting: 3, ..Wellbeing::default() };
        let batch = RoundBatch { id: id(7), after: Some(id(5)), bytes: b"{}\n{}".to_vec() };
        let sent = rounds(Instant::from_nanos(9), wellbeing.clone(), Some((batch.id.clone(), batch.after.clone(), &batch.bytes)));
        let wanted =
            Delivered { agent: "fra".into(), sent: Instant::from_nanos(9), wellbeing: wellbeing.clone(), batch: Some(batch) };
        assert_eq!(delivered("fra", &sent).expect("a batch"), wanted);
        let alive = delivered("fra", &rounds(Instant::from_nanos(9), wellbeing.clone(), None)).expect("a sign of life");
        assert_eq!((alive.batch, alive.wellbeing), (None, wellbeing));
    }

    proptest::proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused(bytes: Vec<u8>, tail: Vec<u8>) {
            let _ = delivered("fra", &bytes);
            let whole = [b"{\"sent_ns\":1,\"batch\":{\"epoch\":\"e\",\"number\":1}}\n", &tail[..]].concat();
            let batch = delivered("fra", &whole).expect("a batch").batch;
            proptest::prop_assert_eq!(batch.map(|batch| batch.bytes), Some(tail));
        }
    }

    #[test]
    fn a_head_that_never_ends_is_refused() {
        assert!(matches!(delivered("fra", &vec![b' '; 1 << 20]), Err(NoRounds::Head)));
        assert!(matches!(delivered("fra", b"{}\n"), Err(NoRounds::Json(_))));
    }
}
