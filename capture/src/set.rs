//! Several capture files as one stream of frames, in order of time.
//!
//! In: paths, in any order. Out: frames, each with the capture it belongs to. Files of a rotated set (names that differ in
//! digits only, one beginning where another ended) are one capture. Files wait closed until their first frame is due, so that
//! memory does not grow with their number. A broken file gives what lies before the break.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use analysis::clock::{Instant, Span, Unplaced};

use crate::file::{Broken, Frame, Place, Reader};

/// Frame numbers of the n-th file begin at n times this: one number names both the file and the frame in it.
const PER_FILE: u64 = 1 << 40;
/// So many files are kept open from the start; of more, each is opened when it is due.
const KEPT_OPEN: usize = 4;
/// A file of a rotated set may begin so long before the one before it ended.
const OVERLAP: Span = Span::from_millis(50);

/// One observer's capture: a file, or a rotated set of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Capture {
    /// Its files, in order of time.
    pub files: Vec<PathBuf>,
    /// Packets read.
    pub packets: u64,
    /// Packets that the capture itself says it dropped.
    pub dropped: u64,
    /// Interfaces that it describes.
    interfaces: usize,
    last_at: Instant<Unplaced>,
    open: usize,
}

struct Lane {
    path: PathBuf,
    reader: Option<Reader>,
    /// When the next frame was captured.
    next_at: Instant<Unplaced>,
    /// Where it lies, if it has been come to.
    next: Option<Place>,
    /// Which capture it belongs to, once it is due.
    capture: Option<usize>,
    /// Its place among the files that have begun.
    base: u64,
}

/// Capture files, read together.
pub struct Set {
    waiting: Vec<Lane>,
    running: Vec<Lane>,
    /// The lane whose frame was given last.
    given: Option<usize>,
    captures: Vec<Capture>,
    /// Files that have begun, in that order.
    begun: Vec<PathBuf>,
    broken: Vec<Broken>,
    follow: Option<Arc<AtomicBool>>,
}

impl Set {
    /// Opens files (`-`: standard input). With `follow`, the end of a file is where more will come, until it is
    /// set.
    pub fn open(paths: &[PathBuf], follow: Option<Arc<AtomicBool>>) -> Self {
        let mut set =
            Self { waiting: vec![], running: vec![], given: None, captures: vec![], begun: vec![], broken: vec![], follow };
        for path in paths {
            match begin(path, set.follow.clone()) {
                Ok(None) => {}
                Ok(Some((reader, first))) => {
                    let next_at = first.at;
                    // A pipe cannot be opened twice.
                    let open = (paths.len() <= KEPT_OPEN || !path.is_file()).then_some((reader, first));
                    let (reader, next) = open.unzip();
                    set.waiting.push(Lane { path: path.clone(), reader, next_at, next, capture: None, base: 0 });
                }
                Err(broken) => set.broken.push(broken),
            }
        }
        set.waiting.sort_by_key(|lane| std::cmp::Reverse(lane.next_at));
        set
    }

    /// The captures so far.
    pub fn captures(&self) -> &[Capture] {
        &self.captures
    }

    /// How many observers there may be: every interface of every capture is one.
    pub fn expected_observers(&self) -> usize {
        self.waiting.len() + self.captures.iter().map(|c| c.interfaces.max(1)).sum::<usize>()
    }

    /// Files in the order in which frame numbers count them: the n-th file's frames are numbered from n × 2^40 on.
    pub fn files(&self) -> &[PathBuf] {
        &self.begun
    }

    /// Files that could not be read to their end, and why.
    pub fn broken(&self) -> &[Broken] {
        &self.broken
    }

    /// The next frame and the capture it belongs to; absent when all files are read.
    #[inline]
    pub fn next_frame(&mut self) -> Option<(usize, Frame<'_>)> {
        let (lane, place) = self.next_place()?;
        let lane = &self.running[lane];
        let (index, reader) = (lane.capture?, lane.reader.as_ref()?);
        let mut frame = reader.frame(&place);
        frame.number += lane.base;
        let capture = &mut self.captures[index];
        capture.packets += 1;
        capture.last_at = frame.at;
        capture.interfaces = capture.interfaces.max(reader.interfaces().len());
        Some((index, frame))
    }

    /// The lane whose frame is next, and where in its reader that lies.
    #[inline]
    fn next_place(&mut self) -> Option<(usize, Place)> {
        if let Some(given) = self.given.take()
            && let Some(place) = self.advance(given)
        {
            if self.waiting.is_empty() && self.running.len() == 1 {
                self.given = Some(given); // the usual case, and worth no search
                return Some((given, place));
            }
            let lane = &mut self.running[given];
            (lane.next_at, lane.next) = (place.at, Some(place));
        }
        let lane = loop {
            let first = (0..self.running.len()).min_by_key(|i| self.running[*i].next_at);
            let due = self.waiting.last().is_some_and(|w| first.is_none_or(|i| w.next_at < self.running[i].next_at));
            if due {
                self.start();
            } else {
                break first?;
            }
        };
        self.given = Some(lane);
        Some((lane, self.running[lane].next.take()?))
    }

    /// Begins the file that is due.
    fn start(&mut self) {
        let Some(mut lane) = self.waiting.pop() else { return };
        if lane.reader.is_none() {
            match begin(&lane.path, self.follow.clone()) {
                Ok(Some((reader, first))) => {
                    (lane.reader, lane.next_at, lane.next) = (Some(reader), first.at, Some(first));
                }
                Ok(None) => return,
                Err(broken) => return self.broken.push(broken),
            }
        }
        let continued = self.captures.iter().position(|c| {
            c.open == 0 && c.last_at <= lane.next_at + OVERLAP && c.files.last().is_some_and(|f| stem(f) == stem(&lane.path))
        });
        let capture = continued.unwrap_or_else(|| {
            let last_at = Instant::from_nanos(0);
            self.captures.push(Capture { files: vec![], packets: 0, dropped: 0, interfaces: 0, last_at, open: 0 });
            self.captures.len() - 1
        });
        self.captures[capture].files.push(lane.path.clone());
        self.captures[capture].open += 1;
        lane.capture = Some(capture);
        lane.base = self.begun.len() as u64 * PER_FILE;
        self.begun.push(lane.path.clone());
        self.running.push(lane);
    }

    /// Where the next frame of a lane lies; at its end the lane goes.
    #[inline]
    fn advance(&mut self, index: usize) -> Option<Place> {
        match self.running[index].reader.as_mut()?.advance() {
            Ok(Some(place)) => Some(place),
            ended => {
                self.end(index, ended.err());
                None
            }
        }
    }

    #[cold]
    fn end(&mut self, index: usize, broken: Option<Broken>) {
        self.broken.extend(broken);
        let lane = self.running.remove(index);
        if let (Some(capture), Some(reader)) = (lane.capture, &lane.reader) {
            self.captures[capture].dropped += reader.dropped();
            self.captures[capture].open -= 1;
        }
    }
}

fn begin(path: &Path, follow: Option<Arc<AtomicBool>>) -> Result<Option<(Reader, Place)>, Broken> {
    let mut reader = Reader::open(path, follow)?;
    Ok(reader.advance()?.map(|first| (reader, first)))
}

/// The file (as [`Set::files`] counts) and the number in it that a frame's number means.
pub fn split(number: u64) -> (usize, u64) {
    ((number / PER_FILE) as usize, number % PER_FILE)
}

/// A file's path without the digits that rotation counts with.
fn stem(path: &Path) -> String {
    path.to_string_lossy().chars().filter(|c| !c.is_ascii_digit()).collect()
}
