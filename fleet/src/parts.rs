//! A reply in parts: a NATS message holds 1 MB by default, a bundle may have hundreds.
//!
//! In: bytes. Out: messages (a line of JSON that says which part it is, then the bytes), and whole replies of them, held to their SHA-256.

use serde::{Deserialize, Serialize};

use crate::subject::hex;

/// Bytes of a part, where the server takes that much: a slow receiver holds some of them at a time.
pub(crate) const PART: usize = 256 << 10;
/// Parts that are under way at once.
pub(crate) const WINDOW: usize = 8;
/// Room for a part's head in a message.
pub(crate) const HEAD: usize = 1 << 10;
/// A reply is a bundle at most: packets of one batch, in base64.
const MOST_BYTES: u64 = 1 << 30;
/// Shorter parts than the smallest sensible `max_payload` would allow are nobody's.
const MOST_PARTS: u32 = 1 << 20;

/// Which part of what.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Head {
    /// The agent.
    pub(crate) from: String,
    /// Its process.
    pub(crate) instance: String,
    /// The question that it replies to.
    pub(crate) number: u64,
    /// From 0.
    pub(crate) part: u32,
    /// Parts in all.
    pub(crate) of: u32,
    /// Bytes in all.
    pub(crate) bytes: u64,
    /// SHA-256 of the whole, in hexadecimal.
    pub(crate) sha256: String,
}

/// What is no part.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum NoPart {
    #[error("it does not begin with a line of JSON ({0})")]
    Head(String),
    #[error("part {part} of {of} with {bytes} bytes in all")]
    Sizes { part: u32, of: u32, bytes: u64 },
    #[error("the parts are not what was sent: their SHA-256 differs")]
    Differs,
}

/// A reply that is ready to be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Whole {
    pub(crate) bytes: Vec<u8>,
    pub(crate) sha256: String,
}

impl Whole {
    pub(crate) fn of(bytes: Vec<u8>) -> Self {
        let sha256 = sha256(&bytes);
        Self { bytes, sha256 }
    }

    /// The messages of the parts `wanted` (none: the first ones), [`WINDOW`] at most, each with `room` bytes of the reply.
    pub(crate) fn messages(&self, from: &str, instance: &str, number: u64, wanted: &[u32], room: usize) -> Vec<Vec<u8>> {
        let room = room.clamp(1, PART);
        let of = u32::try_from(self.bytes.len().div_ceil(room).max(1)).unwrap_or(u32::MAX);
        let first: Vec<u32> = (0..of).take(WINDOW).collect();
        let wanted = if wanted.is_empty() { &first } else { wanted };
        let message = |part: u32| {
            let begin = (part as usize).saturating_mul(room);
            let slice = self.bytes.get(begin..self.bytes.len().min(begin.saturating_add(room)))?;
            let (from, instance) = (from.to_owned(), instance.to_owned());
            let head = Head { from, instance, number, part, of, bytes: self.bytes.len() as u64, sha256: self.sha256.clone() };
            let mut message = serde_json::to_vec(&head).ok()?;
            message.push(b'\n');
            message.extend(slice);
            Some(message)
        };
        wanted.iter().take(WINDOW).filter_map(|part| message(*part)).collect()
    }
}

/// Divides a message.
///
/// # Errors
/// If it is no part.
pub(crate) fn read(message: &[u8]) -> Result<(Head, &[u8]), NoPart> {
    let end = message.iter().take(HEAD).position(|byte| *byte == b'\n').ok_or_else(|| NoPart::Head("no end of line".into()))?;
    let head: Head = serde_json::from_slice(&message[..end]).map_err(|e| NoPart::Head(e.to_string()))?;
    let Head { part, of, bytes, .. } = head;
    if part >= of || of > MOST_PARTS || bytes > MOST_BYTES || u64::from(of) > bytes.max(1) {
        return Err(NoPart::Sizes { part, of, bytes });
    }
    Ok((head, &message[end + 1..]))
}

/// Parts that have come so far.
#[derive(Debug)]
pub(crate) struct Assembly {
    sha256: String,
    of: u32,
    bytes: u64,
    parts: Vec<Option<Vec<u8>>>,
    /// Bytes that have come.
    held: u64,
    /// Parts of the window that was asked for last.
    due: usize,
}

impl Assembly {
    pub(crate) fn begin(head: &Head) -> Self {
        let parts = vec![None; head.of as usize];
        Self { sha256: head.sha256.clone(), of: head.of, bytes: head.bytes, due: parts.len().min(WINDOW), held: 0, parts }
    }

    /// Whether a part belongs here; another belongs to another reply, or the server takes other sizes now.
    pub(crate) fn fits(&self, head: &Head) -> bool {
        self.sha256 == head.sha256 && self.of == head.of && self.bytes == head.bytes
    }

    /// Takes a part; gives the whole, once all are here.
    pub(crate) fn add(&mut self, head: &Head, bytes: &[u8]) -> Option<Result<Vec<u8>, NoPart>> {
        if let Some(slot) = self.parts.get_mut(head.part as usize).filter(|slot| slot.is_none()) {
            // Whoever sends more than it announced is not let fill our memory.
            let held = self.held.saturating_add(bytes.len() as u64);
            if held > self.bytes {
                return Some(Err(NoPart::Differs));
            }
            *slot = Some(bytes.to_vec());
            self.held = held;
            self.due = self.due.saturating_sub(1);
        }
        self.whole()
    }

    /// Whether all of the window has come, so that the next may be asked for.
    pub(crate) fn window_is_over(&self) -> bool {
        self.due == 0
    }

    /// The next parts to ask for; none: all are here.
    pub(crate) fn missing(&mut self) -> Vec<u32> {
        let missing = (0..self.of).zip(&self.parts).filter(|(_, part)| part.is_none()).map(|(n, _)| n);
        let missing: Vec<u32> = missing.take(WINDOW).collect();
        self.due = missing.len();
        missing
    }

    fn whole(&self) -> Option<Result<Vec<u8>, NoPart>> {
        let parts: Option<Vec<&[u8]>> = self.parts.iter().map(Option::as_deref).collect();
        let bytes = parts?.concat();
        Some(if bytes.len() as u64 == self.bytes && sha256(&bytes) == self.sha256 { Ok(bytes) } else { Err(NoPart::Differs) })
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(bytes: &[u8], wanted: &[u32], room: usize) -> Vec<Vec<u8>> {
        Whole::of(bytes.to_vec()).messages("fra", "1", 7, wanted, room)
    }

    #[test]
    fn a_reply_arrives_whole_whatever_the_order_and_the_losses() {
        for (length, room) in [(0, 10), (1, 10), (10, 10), (11, 10), (1_000, 10), (3 * PART + 1, usize::MAX)] {
            let bytes: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
            let mut assembly: Option<Assembly> = None;
            let mut wanted = Vec::new();
            let mut rounds = 0;
            let whole = loop {
                let mut messages = sent(&bytes, &wanted, room);
                assert!(messages.len() <= WINDOW);
                messages.reverse();
                // The first of each window is lost, but for the last round of each.
                let lost = usize::from(rounds % 2 == 0 && messages.len() > 1);
                for message in &messages[lost..] {
                    let (head, part) = read(message).expect("a part");
                    let assembly = assembly.get_or_insert_with(|| Assembly::begin(&head));
                    assert!(assembly.fits(&head));
                    assert!(assembly.add(&head, part).is_none_or(|whole| whole.as_ref() == Ok(&bytes)));
                    let _ = assembly.add(&head, part);
                }
                let assembly = assembly.as_mut().expect("something came");
                if let Some(whole) = assembly.whole() {
                    break whole;
                }
                assert_eq!(assembly.window_is_over(), lost == 0);
                wanted = assembly.missing();
                rounds += 1;
            };
            assert_eq!(whole, Ok(bytes), "{length} bytes, {room} a part");
        }
    }

    #[test]
    fn a_changed_byte_is_noticed() {
        let mut message = sent(b"a reply", &[], 100).remove(0);
        *message.last_mut().expect("bytes") ^= 1;
        let (head, part) = read(&message).expect("a part");
        let mut assembly = Assembly::begin(&head);
        assert_eq!(assembly.add(&head, part), Some(Err(NoPart::Differs)));
    }

    #[test]
    fn no_more_is_held_than_was_announced() {
        let head =
            |part| Head { from: "a".into(), instance: "1".into(), number: 1, part, of: 3, bytes: 6, sha256: String::new() };
        let mut assembly = Assembly::begin(&head(0));
        assert_eq!(assembly.add(&head(0), b"12345"), None);
        assert_eq!(assembly.add(&head(1), &[0; 1_000]), Some(Err(NoPart::Differs)));
        assert_eq!(assembly.held, 5);
    }

    proptest::proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused(bytes: Vec<u8>, part: u32, of: u32, length: u64, tail: Vec<u8>) {
            let _ = read(&bytes);
            let head = format!(
                "{{\"from\":\"a\",\"instance\":\"1\",\"number\":1,\"part\":{part},\"of\":{},\"bytes\":{length},\"sha256\":\"\"}}\n",
                of % (MOST_PARTS + 2)
            );
            if let Ok((head, body)) = read(&[head.as_bytes(), &tail].concat()) {
                let mut assembly = Assembly::begin(&head);
                let _ = assembly.add(&head, body);
                proptest::prop_assert!(assembly.missing().len() <= WINDOW);
            }
        }
    }

    #[test]
    fn what_is_no_part_is_refused() {
        let head = |part: u32, of: u32, bytes: u64| {
            format!(
                "{{\"from\":\"a\",\"instance\":\"1\",\"number\":1,\"part\":{part},\"of\":{of},\"bytes\":{bytes},\"sha256\":\"\"}}\nx"
            )
        };
        assert!(read(head(0, 1, 1).as_bytes()).is_ok());
        for bad in [head(1, 1, 1), head(0, 0, 0), head(0, u32::MAX, u64::MAX), head(0, 5, 2), head(0, 1, u64::MAX)] {
            assert!(matches!(read(bad.as_bytes()), Err(NoPart::Sizes { .. })), "{bad}");
        }
        for bad in [&b""[..], b"{}", b"{}\n", b"\n\n", &[b' '; 3000]] {
            assert!(matches!(read(bad), Err(NoPart::Head(_))));
        }
        assert_eq!(sent(b"abc", &[9, u32::MAX], 1).len(), 0, "parts that there are not");
    }
}
