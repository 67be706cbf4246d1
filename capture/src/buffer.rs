//! A window on a stream of bytes: read far ahead at once, looked at in place.

use std::io::{self, Read};

use crate::source::Source;

/// Bytes read at once: few enough to stay in the CPU's cache until they are decoded.
const AT_ONCE: usize = 512 << 10;

/// What was read of a source and is not used up yet.
pub(crate) struct Buffer {
    source: Source,
    bytes: Vec<u8>,
    /// What is not used up lies in `bytes[from..to]`.
    from: usize,
    to: usize,
}

impl Buffer {
    pub(crate) fn new(source: Source) -> Self {
        Self { source, bytes: vec![0; AT_ONCE], from: 0, to: 0 }
    }

    /// What is not used up yet.
    #[inline]
    pub(crate) fn data(&self) -> &[u8] {
        &self.bytes[self.from..self.to]
    }

    /// Uses up what [`Self::data`] begins with, and says where it lies: [`Self::at`] gives it until more is wanted.
    #[inline]
    pub(crate) fn take(&mut self, len: usize) -> usize {
        let at = self.from;
        self.from = (at + len).min(self.to);
        at
    }

    /// Bytes that were used up, by their place; none where there are not so many.
    #[inline]
    pub(crate) fn at(&self, place: usize, len: usize) -> &[u8] {
        self.bytes.get(place..place + len).unwrap_or_default()
    }

    /// Reads until `len` bytes are there; gives whether they are, which they are not only if the source has ended.
    ///
    /// # Errors
    /// Those of the source.
    pub(crate) fn want(&mut self, len: usize) -> io::Result<bool> {
        if self.to - self.from >= len {
            return Ok(true);
        }
        self.bytes.copy_within(self.from..self.to, 0);
        (self.from, self.to) = (0, self.to - self.from);
        while self.to < len {
            if self.to == self.bytes.len() {
                // Doubled rather than made as large as a header says: the header may lie.
                self.bytes.resize(2 * self.bytes.len(), 0);
            }
            match self.source.read(&mut self.bytes[self.to..]) {
                Ok(0) => return Ok(false),
                Ok(read) => self.to += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}
