//! One direction's byte stream, put together from segments in any order.
//!
//! Bytes that passed but were not captured (a snap length, a drop) are *holes*: their place is kept, so that what
//! comes after still lies at its offset. What nobody will read (the bodies of protected records) is *skipped*: its place is
//! kept, its bytes are not.

use std::ops::Range;

use smallvec::SmallVec;

use super::records::MOST_BEFORE;

/// Bytes per direction: more than any real flight needs (TLS caps a message at 2^24). What all connections together
/// hold is bounded by [`crate::tcp::table`].
const MOST_BYTES: usize = 1 << 20;
/// Bytes kept of most directions of a handshake.
const USUAL_BYTES: usize = 1 << 10;
/// Segments kept that lie beyond a gap.
const MOST_WAITING: usize = 1024;

/// A byte stream from offset 0 (the first byte after SYN).
#[derive(Clone, Default, Debug)]
pub struct Stream {
    /// What is kept of it.
    bytes: Vec<u8>,
    /// Runs of kept bytes: the offset in the stream at which each begins, and its place in `bytes`.
    runs: SmallVec<[(u32, u32); 3]>,
    /// How far it goes without a gap.
    end: usize,
    /// Nobody wants what lies before, unless it is kept already.
    wanted_from: usize,
    /// Ranges that nobody captured, in order.
    holes: Vec<(usize, usize)>,
    /// Where segments behind the first hole begin.
    starts: Vec<usize>,
    /// Segments beyond the prefix.
    waiting: Vec<Piece>,
}

#[derive(Clone, Debug)]
struct Piece {
    start: i64,
    /// Length on the wire.
    len: usize,
    /// What was captured of it.
    captured: Vec<u8>,
}

impl Stream {
    /// A stream that was captured whole.
    pub fn whole(bytes: &[u8]) -> Self {
        let mut stream = Self::default();
        stream.extend(bytes, bytes.len());
        stream
    }

    /// How far it goes without a gap.
    pub fn end(&self) -> usize {
        self.end
    }

    /// Bytes of it, if all of them passed and are kept; holes are zero.
    #[inline]
    pub fn get(&self, range: Range<usize>) -> Option<&[u8]> {
        let run = self.runs.iter().rposition(|(start, _)| *start as usize <= range.start)?;
        let (start, at) = self.runs[run];
        let until = self.runs.get(run + 1).map_or(self.bytes.len(), |next| next.1 as usize);
        let at = at as usize + (range.start - start as usize);
        let end = at + range.end.checked_sub(range.start)?;
        if end <= until { self.bytes.get(at..end) } else { None }
    }

    /// The bytes it begins with, as far as they are kept in one run.
    pub fn beginning(&self) -> &[u8] {
        let until = self.runs.get(1).map_or(self.bytes.len(), |next| next.1 as usize);
        self.bytes.get(..until).unwrap_or_default()
    }

    /// How many bytes of it were captured.
    pub fn captured(&self) -> usize {
        self.end - self.holes.iter().map(|(s, e)| e - s).sum::<usize>()
    }

    /// Says that nobody will read what is to come of a range; what has come of it goes, if nothing lies behind it.
    pub fn skip(&mut self, range: Range<usize>) {
        if range.end <= self.end || range.end <= self.wanted_from {
            return;
        }
        self.wanted_from = range.end;
        if let Some((start, at)) = self.runs.last().map(|(start, at)| (*start as usize, *at as usize))
            && start <= range.start
        {
            self.bytes.truncate(at + (range.start - start));
        }
    }

    /// Whether all that was pushed so far passed in order and whole, and more can be taken.
    pub(super) fn is_plain(&self) -> bool {
        self.waiting.is_empty() && self.holes.is_empty() && !self.full()
    }

    /// Makes it longer by bytes that are wanted.
    pub(super) fn keep(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.extend(bytes, bytes.len());
        }
    }

    /// Makes it longer by bytes that nobody will read, nor any before `until`.
    pub(super) fn pass(&mut self, len: usize, until: usize) {
        self.end += len;
        self.wanted_from = self.wanted_from.max(until);
    }

    /// Whether bytes passed that nobody captured.
    pub fn has_holes(&self) -> bool {
        !self.holes.is_empty()
    }

    /// Bytes held in memory.
    #[inline]
    pub fn held(&self) -> usize {
        let lists = self.holes.capacity() * size_of::<(usize, usize)>() + self.starts.capacity() * size_of::<usize>();
        let waiting =
            self.waiting.capacity() * size_of::<Piece>() + self.waiting.iter().map(|p| p.captured.capacity()).sum::<usize>();
        self.bytes.capacity() + lists + waiting
    }

    /// Whether no more bytes are taken.
    pub fn full(&self) -> bool {
        self.end >= MOST_BYTES
    }

    /// Adds a segment of `len` bytes on the wire, of which `captured` are known.
    pub fn push(&mut self, start: i64, captured: &[u8], len: usize) {
        if len == 0 || self.full() {
            return;
        }
        if start > self.end as i64 {
            if self.waiting.len() < MOST_WAITING {
                self.waiting.push(Piece { start, len, captured: captured.to_vec() });
            }
            return;
        }
        self.append(start, captured, len);
        if !self.waiting.is_empty() {
            self.append_waiting();
        }
    }

    /// Takes the gaps before waiting segments for holes: the capture is over, what is missing never comes. Gives whether
    /// anything waited.
    pub fn close(&mut self) -> bool {
        let waited = !self.waiting.is_empty();
        while !self.waiting.is_empty() && !self.full() {
            let next = self.waiting.iter().map(|p| p.start).min().and_then(|s| usize::try_from(s).ok());
            let Some(next) = next.filter(|next| *next < 2 * MOST_BYTES) else { break };
            self.hole(self.end, next);
            self.extend(&[], next.saturating_sub(self.end));
            self.append_waiting();
        }
        self.waiting.clear();
        waited
    }

    /// Whether all of `[from, to)` was captured.
    pub fn known(&self, from: usize, to: usize) -> bool {
        from == to || to <= self.end && !self.holes.iter().any(|(s, e)| *s < to && *e > from)
    }

    /// Where segments begin behind a hole, from `from` on.
    pub fn starts_behind_holes(&self, from: usize) -> impl Iterator<Item = usize> {
        self.starts.iter().copied().filter(move |start| *start >= from)
    }

    fn append_waiting(&mut self) {
        while let Some(i) = self.waiting.iter().position(|p| p.start <= self.end as i64) {
            let piece = self.waiting.swap_remove(i);
            self.append(piece.start, &piece.captured, piece.len);
        }
    }

    /// Adds what of the segment lies beyond the prefix; it must touch it.
    fn append(&mut self, start: i64, captured: &[u8], len: usize) {
        let have = self.end;
        let Ok(skip) = usize::try_from(have as i64 - start) else { return };
        if skip >= len {
            return;
        }
        if !self.holes.is_empty() && self.starts.len() < MOST_WAITING {
            self.starts.push(have);
        }
        let new = captured.get(skip..).unwrap_or_default();
        let len = (len - skip).min((2 * MOST_BYTES).saturating_sub(have)).max(new.len());
        self.extend(new, len);
        if new.len() < len {
            self.hole(have + new.len(), have + len);
        }
    }

    /// Makes it longer by `len` bytes, of which those captured are known, and keeps those that are wanted.
    fn extend(&mut self, captured: &[u8], len: usize) {
        let end = self.end + len;
        let from = self.wanted_from.max(self.end);
        if from < end {
            let kept_until = self.runs.last().map(|(start, at)| *start as usize + self.bytes.len() - *at as usize);
            if kept_until != Some(from) {
                self.runs.push((from as u32, self.bytes.len() as u32));
            }
            let new = captured.get(from - self.end..).unwrap_or_default();
            // In few steps: a flight of usual size, then as much as is looked through for the beginning of TLS.
            match self.bytes.capacity() {
                0 => self.bytes.reserve((new.len() + new.len() / 2).clamp(USUAL_BYTES, 4 * USUAL_BYTES).max(new.len())),
                some if some < self.bytes.len() + new.len() && some < MOST_BEFORE => {
                    self.bytes.reserve(new.len().max(MOST_BEFORE - self.bytes.len()));
                }
                _ => {}
            }
            self.bytes.extend_from_slice(new);
            if new.len() < end - from {
                self.bytes.resize(self.bytes.len() + (end - from) - new.len(), 0);
            }
        }
        self.end = end;
    }

    fn hole(&mut self, from: usize, to: usize) {
        match self.holes.last_mut() {
            Some(last) if last.1 == from => last.1 = to,
            _ => self.holes.push((from, to)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The bytes come out whole whatever the order, overlap and repetition of the pieces.
        #[test]
        fn reassembly_does_not_depend_on_order(
            bytes in prop::collection::vec(any::<u8>(), 1..400),
            cuts in prop::collection::vec((0usize..400, 1usize..80), 0..40),
            seed in any::<u64>(),
        ) {
            let mut pieces: Vec<(usize, usize)> = (0..bytes.len()).step_by(37).map(|s| (s, (s + 37).min(bytes.len()))).collect();
            pieces.extend(cuts.iter().filter(|(s, _)| *s < bytes.len()).map(|(s, l)| (*s, (s + l).min(bytes.len()))));
            pieces.sort_by_key(|(s, e)| (*s as u64).wrapping_mul(seed | 1).wrapping_add(*e as u64).rotate_left(17));
            let mut stream = Stream::default();
            for (s, e) in pieces {
                stream.push(s as i64, &bytes[s..e], e - s);
            }
            prop_assert_eq!(stream.get(0..bytes.len()), Some(&bytes[..]));
            prop_assert!(stream.known(0, bytes.len()));
        }

        /// What was cut off by a snap length keeps its place.
        #[test]
        fn holes_keep_offsets(sizes in prop::collection::vec((1usize..50, 0usize..50), 1..20)) {
            let mut stream = Stream::default();
            let mut at = 0;
            for (len, captured) in &sizes {
                let captured = *captured.min(len);
                stream.push(at as i64, &vec![7; captured], *len);
                prop_assert!(stream.known(at, at + captured));
                prop_assert_eq!(stream.known(at, at + len), captured == *len);
                at += len;
            }
            prop_assert_eq!(stream.end(), at);
        }
    }

    #[test]
    fn a_closed_stream_bridges_what_never_came() {
        let mut stream = Stream::default();
        stream.push(0, &[1; 4], 4);
        stream.push(10, &[2; 4], 4);
        assert_eq!(stream.end(), 4);
        stream.close();
        assert_eq!(stream.end(), 14);
        assert_eq!(stream.starts_behind_holes(0).collect::<Vec<_>>(), [10]);
        assert!(stream.known(10, 14) && !stream.known(9, 11));
    }
}
