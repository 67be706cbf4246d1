//! Several capture files as one stream of frames, in order of time.
//!
//! In: paths, in any order. Out: frames, each with the capture it belongs to. Files of a rotated set (names in one folder that differ in
//! digits only, but for an address's, of the same interfaces, one beginning where another ended) are one capture. Files wait closed until their first frame is due, so that
//! memory does not grow with their number. A broken file gives what lies before the break.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use analysis::clock::{Instant, Span, Unplaced};

use crate::file::{Broken, Frame, Place, Reader};
use crate::interface::Interface;

/// Frame numbers of the n-th file begin at n times this: one number names both the file and the frame in it.
const PER_FILE: u64 = 1 << 40;
/// So many files are kept open from the start; of more, each is opened when it is due.
const KEPT_OPEN: usize = 4;
/// A file of a rotated set may begin so long before the one before it ended.
const OVERLAP: Span = Span::from_millis(50);
/// And so long behind it, where nothing passed meanwhile: no handshake lasts longer in silence, so that one capture or two is the same
/// for all of them.
const LONGEST_PAUSE: Span = Span::from_millis(90_000);

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
    /// Those of its last file: link types and names.
    kinds: Vec<(i32, Option<String>)>,
    last_at: Instant<Unplaced>,
    open: usize,
}

impl Capture {
    /// Whether a file goes on where this one ended.
    fn goes_on_in(&self, lane: &Lane) -> bool {
        let pause = lane.next_at - self.last_at;
        let behind = Span::ZERO - OVERLAP <= pause && pause <= LONGEST_PAUSE;
        let named_alike = self.files.last().is_some_and(|last| stem(last) == stem(&lane.path));
        let mut kinds = lane.reader.iter().flat_map(Reader::interfaces).zip(&self.kinds);
        self.open == 0 && behind && named_alike && kinds.all(|(one, other)| kind(one) == *other)
    }
}

fn kind(interface: &Interface) -> (i32, Option<String>) {
    (interface.link_number, interface.name.clone())
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
    /// Files that were read and had more than one section, and how many.
    in_sections: Vec<(PathBuf, u64)>,
    follow: Option<Arc<AtomicBool>>,
}

impl Set {
    /// Opens files (`-`: standard input). With `follow`, the end of a file is where more will come, until it is
    /// set.
    pub fn open(paths: &[PathBuf], follow: Option<Arc<AtomicBool>>) -> Self {
        let (captures, begun, broken, in_sections) = (vec![], vec![], vec![], vec![]);
        let mut set = Self { waiting: vec![], running: vec![], given: None, captures, begun, broken, in_sections, follow };
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

    /// Files that were several captures, one behind another, and how many each.
    pub fn in_sections(&self) -> &[(PathBuf, u64)] {
        &self.in_sections
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
        let gone_on_in = (0..self.captures.len()).filter(|i| self.captures[*i].goes_on_in(&lane));
        let capture = gone_on_in.max_by_key(|i| self.captures[*i].last_at).unwrap_or_else(|| {
            let last_at = Instant::from_nanos(0);
            self.captures.push(Capture { files: vec![], packets: 0, dropped: 0, interfaces: 0, kinds: vec![], last_at, open: 0 });
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
            let capture = &mut self.captures[capture];
            // Whether a later file of a set counts from the beginning of its own or of the first, none of them tells.
            capture.dropped = capture.dropped.saturating_add(reader.dropped());
            capture.kinds = reader.interfaces().iter().map(kind).collect();
            capture.open -= 1;
            if reader.sections() > 1 {
                self.in_sections.push((lane.path, reader.sections()));
            }
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

/// A file's path without the digits that rotation counts with: those of its name, but for an address in it, which tells a host.
fn stem(path: &Path) -> (Option<&Path>, String) {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let number = |c: char| c.is_ascii_digit() || c == '.';
    let mut found = String::new();
    let mut rest = &*name;
    while let Some(begins) = rest.find(number) {
        let (before, numbers) = rest.split_at(begins);
        let (numbers, behind) = numbers.split_at(numbers.find(|c| !number(c)).unwrap_or(numbers.len()));
        found.push_str(before);
        // Four numbers; a fifth is what rotation counts with.
        let address = numbers.split('.').take(4).filter(|n| n.parse::<u8>().is_ok()).count() == 4;
        let kept = if address { numbers.split_inclusive('.').take(4).collect() } else { numbers.replace(|c| c != '.', "") };
        found.push_str(kept.trim_end_matches('.'));
        rest = behind;
    }
    (path.parent(), found + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotation_counts_in_names_and_not_in_folders_nor_in_addresses() {
        let alike = |a: &str, b: &str| stem(Path::new(a)) == stem(Path::new(b));
        for (a, b) in [
            ("ring.pcap", "ring.pcap1"),
            ("d/ring.pcap0", "d/ring.pcap12"),
            ("e_00001_20261128065900.pcapng", "e_00002_20261128070000.pcapng"),
            ("2026.11.28.pcap", "2026.11.29.pcap"),
            ("10.0.0.1.pcap1", "10.0.0.1.pcap2"),
        ] {
            assert!(alike(a, b), "{a} {b}");
        }
        for (a, b) in [
            ("h/10.0.0.1.pcap", "h/10.9.0.2.pcap"),
            ("eth-192.0.2.1-1.pcap", "eth-192.0.2.11-1.pcap"),
            ("run1/edge.pcap", "run2/edge.pcap"),
            ("2026-11-27/edge.pcap", "2026-11-28/edge.pcap"),
            ("client.pcap", "edge.pcap"),
        ] {
            assert!(!alike(a, b), "{a} {b}");
        }
    }
}
