//! A ring of frames with a fixed number of bytes: a long run can fill neither memory nor disk.

use std::collections::VecDeque;

use analysis::clock::{Instant, Unplaced};

/// One captured frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Captured {
    /// When, on the capturing host's wall clock.
    pub at: Instant<Unplaced>,
    /// Length on the wire.
    pub wire_len: u32,
    /// Whether it left the capturing host; absent if nobody knows.
    pub outgoing: Option<bool>,
    /// The bytes captured.
    pub bytes: Vec<u8>,
}

/// The newest frames that fit.
#[derive(Debug)]
pub struct Ring {
    frames: VecDeque<Captured>,
    held: usize,
    capacity: usize,
    evicted: u64,
}

impl Ring {
    /// A ring that holds at most `capacity` bytes of frames.
    pub fn new(capacity: usize) -> Self {
        Self { frames: VecDeque::new(), held: 0, capacity, evicted: 0 }
    }

    /// Adds a frame; the oldest leave to make room.
    pub fn push(&mut self, frame: Captured) {
        self.held += frame.bytes.len();
        self.frames.push_back(frame);
        while self.held > self.capacity {
            let Some(oldest) = self.frames.pop_front() else { break };
            self.held -= oldest.bytes.len();
            self.evicted += 1;
        }
    }

    /// Takes out everything held.
    pub fn drain(&mut self) -> Vec<Captured> {
        self.held = 0;
        self.frames.drain(..).collect()
    }

    /// Frames that had to leave before anyone took them.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_leave_and_are_counted() {
        let mut ring = Ring::new(250);
        for at in (0..4).map(Instant::from_nanos) {
            ring.push(Captured { at, wire_len: 100, outgoing: None, bytes: vec![0; 100] });
        }
        assert_eq!(ring.evicted(), 2);
        assert_eq!(ring.drain().iter().map(|f| f.at.nanos()).collect::<Vec<_>>(), [2, 3]);
        assert!(ring.drain().is_empty());
    }
}
