//! Logs of the lab's programs, read as they grow: each line once.

use std::collections::{BTreeSet, HashMap};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::de::DeserializeOwned;

/// How far each file was read, and what in it could not be.
#[derive(Default)]
pub(super) struct Lines(Mutex<Progress>);

#[derive(Default)]
struct Progress {
    until: HashMap<PathBuf, u64>,
    /// Lines that are not what they should be.
    wrong: u64,
    /// Files that are there and cannot be read.
    unread: BTreeSet<PathBuf>,
}

impl Lines {
    /// The lines of a file that were not handed out yet; none of a file that is not there.
    pub(super) fn new_of<T: DeserializeOwned>(&self, path: &Path) -> Vec<T> {
        let mut progress = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let until = progress.until.get(path).copied().unwrap_or(0);
        let mut bytes = Vec::new();
        let more = std::fs::File::open(path).and_then(|mut file| {
            file.seek(SeekFrom::Start(until))?;
            file.read_to_end(&mut bytes)
        });
        // What its writer has not ended yet is for the next time.
        let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        if let Err(error) = more {
            if error.kind() != std::io::ErrorKind::NotFound {
                progress.unread.insert(path.to_owned());
            }
            return Vec::new();
        }
        if whole == 0 {
            return Vec::new();
        }
        progress.until.insert(path.to_owned(), until + whole as u64);
        let mut found = Vec::new();
        for line in bytes[..whole].split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
            match serde_json::from_slice(line) {
                Ok(value) => found.push(value),
                Err(_) => progress.wrong += 1,
            }
        }
        found
    }

    /// What to say of lines that could not be read.
    pub(super) fn complaint(&self) -> Option<String> {
        let progress = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Progress { wrong, unread, .. } = &*progress;
        (*wrong > 0 || !unread.is_empty()).then(|| {
            let lines = (*wrong > 0).then(|| format!("{wrong} of their lines"));
            let files = unread.iter().map(|path| path.display().to_string());
            let what: Vec<String> = lines.into_iter().chain(files).collect();
            format!("of the lab's own logs could not be read: {}; the truth and the edge's log have gaps", what.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Write;

    use super::*;

    #[test]
    fn each_line_is_read_once_and_what_is_no_line_is_counted() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("log");
        let lines = Lines::default();
        let append = |text: &str| {
            let mut file = OpenOptions::new().create(true).append(true).open(&path).expect("it can be opened");
            file.write_all(text.as_bytes()).expect("it can be written");
        };
        assert!(lines.new_of::<u32>(&path).is_empty(), "there is no file yet");
        append("1\n2\n3");
        assert_eq!(lines.new_of::<u32>(&path), [1, 2], "the third line has no end yet");
        assert_eq!(lines.complaint(), None);
        append("4\nnonsense\n5\n");
        assert_eq!(lines.new_of::<u32>(&path), [34, 5]);
        assert!(lines.new_of::<u32>(&path).is_empty());
        assert!(lines.complaint().is_some_and(|said| said.contains("read: 1 of their lines;")));
        assert!(lines.new_of::<u32>(folder.path()).is_empty(), "a folder is no log");
        assert!(lines.complaint().is_some_and(|said| said.contains("1 of their lines, /")));
    }
}
