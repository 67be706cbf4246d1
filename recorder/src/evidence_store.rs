//! Evidence on disk: files to write come in, whole files or none are on the disk, within a quota; the least interesting leave first.
//!
//! One thread writes: a disk that is slow or full must not keep packets waiting. A file appears under its name only when all of it
//! is on the disk; what a killed recorder left half written is removed at the next start.

use std::collections::VecDeque;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tracing::warn;

use crate::error::{Error, NotKept};

/// Files that wait for the disk.
const MOST_WAITING: usize = 256;
/// Until a folder that took nothing is tried again.
const AGAIN: Duration = Duration::from_secs(10);
/// Bytes of the file that tries it.
const TRY: usize = 64 << 10;
/// How a file's name begins while it is written.
const UNFINISHED: &str = ".unfinished-";
/// How the names of evidence end.
const EVIDENCE: &str = ".pcapng";
/// Part of the names of files that need not be kept long.
pub const HEALTHY: &str = "_healthy";

/// Hears where a file is, or why it is not.
pub type Answer = Box<dyn FnOnce(Result<PathBuf, NotKept>) + Send>;

/// A file to write.
pub struct WriteRequest {
    /// Its name.
    pub name: String,
    /// An earlier file that it takes the place of.
    pub replaces: Option<String>,
    /// What is in it.
    pub bytes: Vec<u8>,
    /// When its trigger came.
    pub asked: Instant,
    /// Told when it is on the disk, or why it is not.
    pub done: Option<Answer>,
}

/// What became of a request.
#[derive(Clone, PartialEq, Debug)]
pub enum Written {
    /// The folder was opened, or takes files again.
    Opened,
    /// On the disk, so long after its trigger.
    Durable(Duration),
    /// Not.
    Failed(String),
}

/// The folder.
struct EvidenceStore {
    folder: PathBuf,
    quota: u64,
    held: u64,
    /// Files by age, oldest first: those of healthy handshakes, and the others.
    healthy: VecDeque<(String, u64)>,
    others: VecDeque<(String, u64)>,
}

/// The thread that writes.
pub struct Writer {
    requests: SyncSender<WriteRequest>,
    thread: JoinHandle<()>,
}

impl Writer {
    /// Starts it. `report` hears what became of each request, and how many bytes the folder holds.
    ///
    /// # Errors
    /// If the folder cannot be made or read.
    pub fn start(folder: &Path, quota: u64, report: impl Fn(Written, u64) + Send + 'static) -> Result<Self, Error> {
        Self::start_with(AGAIN, folder, quota, report)
    }

    /// A folder that took nothing is tried again after so long.
    fn start_with(
        again: Duration,
        folder: &Path,
        quota: u64,
        report: impl Fn(Written, u64) + Send + 'static,
    ) -> Result<Self, Error> {
        let mut store = EvidenceStore::open(folder, quota).map_err(|source| Error::File { path: folder.to_owned(), source })?;
        let (requests, waiting): (_, Receiver<WriteRequest>) = sync_channel(MOST_WAITING);
        let thread = std::thread::Builder::new().name("evidence".into()).spawn(move || {
            report(Written::Opened, store.held);
            let mut failed = false;
            loop {
                // Nobody else may come for long: what is right again is to be said all the same.
                let next = if failed { waiting.recv_timeout(again) } else { waiting.recv().map_err(RecvTimeoutError::from) };
                let WriteRequest { name, replaces, bytes, asked, done } = match next {
                    Ok(request) => request,
                    Err(RecvTimeoutError::Disconnected) => return,
                    Err(RecvTimeoutError::Timeout) => {
                        failed = !store.takes();
                        if !failed {
                            report(Written::Opened, store.held);
                        }
                        continue;
                    }
                };
                let written =
                    store.put(&name, &bytes).map_err(|source| NotKept::Write { path: store.folder.join(&name), source });
                if let Some(earlier) = replaces.filter(|_| written.is_ok()) {
                    store.remove(&earlier);
                }
                failed = written.is_err();
                report(
                    written.as_ref().map_or_else(|e| Written::Failed(e.to_string()), |_| Written::Durable(asked.elapsed())),
                    store.held,
                );
                if let Some(done) = done {
                    done(written);
                }
            }
        });
        Ok(Self { requests, thread: thread.map_err(Error::own("the thread that writes evidence"))? })
    }

    /// Gives it a file to write; hands the request back if too many wait.
    pub fn submit(&self, request: WriteRequest) -> Result<(), Box<WriteRequest>> {
        self.requests.try_send(request).map_err(|error| match error {
            TrySendError::Full(request) | TrySendError::Disconnected(request) => Box::new(request),
        })
    }

    /// Writes what waits, and ends.
    pub fn finish(self) {
        drop(self.requests);
        let _ = self.thread.join(); // what it reported is known already
    }
}

/// Makes a folder for this user only; one that is there keeps the rights that somebody gave it.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

impl EvidenceStore {
    fn open(folder: &Path, quota: u64) -> io::Result<Self> {
        make_folder(folder)?;
        let mut found = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if name.starts_with(UNFINISHED) {
                if let Err(error) = fs::remove_file(entry.path()) {
                    warn!(file = name, "what a killed recorder left cannot be removed: {error}");
                }
            } else if name.ends_with(EVIDENCE) {
                found.push((name, entry.metadata()?.len()));
            }
        }
        found.sort(); // names begin with the time
        let held = found.iter().map(|(_, size)| size).sum();
        let before = found.len();
        let (healthy, others) = found.into_iter().partition(|(name, _)| name.contains(HEALTHY));
        let mut store = Self { folder: folder.to_owned(), quota, held, healthy, others };
        if let Err(error) = store.make_room(0) {
            warn!(quota, "evidence over its quota cannot be removed: {error}");
        }
        let removed = before - store.healthy.len() - store.others.len();
        if removed > 0 {
            warn!(removed, of = before, quota, "evidence over its quota is removed");
        }
        Ok(store)
    }

    fn put(&mut self, name: &str, bytes: &[u8]) -> io::Result<PathBuf> {
        let size = bytes.len() as u64;
        if size > self.quota {
            return Err(io::Error::new(
                io::ErrorKind::QuotaExceeded,
                format!("{size} bytes are more than the quota, {}", self.quota),
            ));
        }
        self.there()?;
        let earlier = self.uncount(name); // written anew, with what came later
        if let Err(error) = self.make_room(size) {
            self.count(name, earlier);
            return Err(error);
        }
        let (unfinished, path) = (self.folder.join(format!("{UNFINISHED}{name}")), self.folder.join(name));
        let write = || -> io::Result<()> {
            // Client addresses are in it: nobody else's business, whatever the umask.
            let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
            file.set_permissions(Permissions::from_mode(0o600))?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&unfinished, &path)?;
            File::open(&self.folder)?.sync_all()
        };
        let written = write();
        if written.is_err() {
            let _ = fs::remove_file(&unfinished); // a full disk needs the room
        }
        self.count(name, if written.is_ok() { Some(bytes.len() as u64) } else { earlier });
        written.map(|()| path)
    }

    /// Makes the folder, where somebody moved it away with all that was in it.
    fn there(&mut self) -> io::Result<()> {
        if !self.folder.exists() {
            make_folder(&self.folder)?;
            (self.held, self.healthy, self.others) = (0, VecDeque::new(), VecDeque::new());
        }
        Ok(())
    }

    fn remove(&mut self, name: &str) {
        if let Some(size) = self.uncount(name)
            && self.delete(name).is_err()
        {
            self.count(name, Some(size)); // it takes room all the same
        }
    }

    fn files(&mut self, name: &str) -> &mut VecDeque<(String, u64)> {
        if name.contains(HEALTHY) { &mut self.healthy } else { &mut self.others }
    }

    fn count(&mut self, name: &str, size: Option<u64>) {
        let Some(size) = size else { return };
        self.files(name).push_back((name.to_owned(), size));
        self.held += size;
    }

    fn uncount(&mut self, name: &str) -> Option<u64> {
        let files = self.files(name);
        let place = files.iter().rposition(|(n, _)| n == name)?;
        let (_, size) = files.remove(place)?;
        self.held -= size;
        Some(size)
    }

    /// Removes a file, unless somebody else has.
    fn delete(&self, name: &str) -> io::Result<()> {
        let gone = fs::remove_file(self.folder.join(name));
        gone.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
    }

    /// Removes what is least interesting until there is room. What cannot be removed counts, and hides nothing behind it.
    fn make_room(&mut self, bytes: u64) -> io::Result<()> {
        let mut failed = None;
        for healthy in [true, false] {
            let mut place = 0;
            while self.held + bytes > self.quota {
                let files = if healthy { &self.healthy } else { &self.others };
                let Some((name, size)) = files.get(place).cloned() else { break };
                if let Err(error) = self.delete(&name) {
                    failed = failed.or(Some(error));
                    place += 1;
                    continue;
                }
                let _ = if healthy { &mut self.healthy } else { &mut self.others }.remove(place);
                self.held -= size;
            }
        }
        failed.filter(|_| self.held + bytes > self.quota).map_or(Ok(()), Err)
    }

    /// Whether the folder takes a file; what is there stays there.
    fn takes(&mut self) -> bool {
        let tried = self.folder.join(format!("{UNFINISHED}try"));
        let write = || -> io::Result<()> {
            let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&tried)?;
            file.write_all(&[0; TRY])?;
            file.sync_all()
        };
        let written = self.there().and_then(|()| write()).and_then(|()| self.make_room(0));
        let _ = fs::remove_file(&tried);
        written.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).expect("it is there").flatten().filter_map(|e| e.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    #[test]
    fn healthy_ones_leave_first_then_the_oldest() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let mut store = EvidenceStore::open(folder.path(), 250).expect("it opens");
        for name in ["1_client.pcapng", "2_healthy.pcapng", "3_edge.pcapng"] {
            store.put(name, &[0; 100]).expect("there is room");
        }
        assert_eq!(names(folder.path()), ["1_client.pcapng", "3_edge.pcapng"]);
        store.put("4_path.pcapng", &[0; 100]).expect("there is room");
        assert_eq!(names(folder.path()), ["3_edge.pcapng", "4_path.pcapng"]);
        store.put("4_path.pcapng", &[0; 140]).expect("there is room");
        assert_eq!((store.held, names(folder.path()).len()), (240, 2), "written anew it counts once");
    }

    #[test]
    fn what_cannot_be_removed_counts_and_nothing_leaves_for_what_is_too_large() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        // A folder of that name is no file that can be removed, whoever asks.
        fs::create_dir(folder.path().join("0_edge.pcapng")).expect("it can be made");
        fs::write(folder.path().join("0_edge.pcapng/inside"), [0; 9]).expect("it is writable");
        let size = fs::metadata(folder.path().join("0_edge.pcapng")).expect("it is there").len();
        let mut store = EvidenceStore::open(folder.path(), size + 150).expect("it opens");
        store.put("1_edge.pcapng", &[0; 100]).expect("there is room");
        store.put("2_edge.pcapng", &[0; 100]).expect("another one makes room");
        assert_eq!((store.held, names(folder.path())), (size + 100, vec!["0_edge.pcapng".into(), "2_edge.pcapng".into()]));
        assert!(store.put("4_edge.pcapng", &[0; 151]).is_err(), "there would be too much");
        store.put("5_edge.pcapng", &[0; 100]).expect("there is room");
        assert!(store.put("3_edge.pcapng", &vec![0; size as usize + 151]).is_err());
        assert_eq!(names(folder.path()).len(), 2);
    }

    #[test]
    fn a_folder_that_somebody_moved_away_is_made_again() {
        let above = tempfile::tempdir().expect("a temporary folder can be made");
        let folder = above.path().join("evidence");
        let mut store = EvidenceStore::open(&folder, 1_000).expect("it opens");
        store.put("0_edge.pcapng", &[0; 300]).expect("there is room");
        fs::rename(&folder, above.path().join("elsewhere")).expect("it is ours");
        store.put("1_edge.pcapng", &[0; 100]).expect("there is room");
        assert_eq!((store.held, names(&folder)), (100, vec!["1_edge.pcapng".to_owned()]));
    }

    #[test]
    fn evidence_is_for_this_user_only() {
        let above = tempfile::tempdir().expect("a temporary folder can be made");
        let folder = above.path().join("evidence");
        let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
        let mut store = EvidenceStore::open(&folder, 1_000).expect("it opens");
        // One that a killed recorder left for all to read is written anew.
        fs::write(folder.join(".unfinished-1_edge.pcapng"), [0; 5]).expect("it is writable");
        fs::set_permissions(folder.join(".unfinished-1_edge.pcapng"), Permissions::from_mode(0o644)).expect("it is ours");
        let path = store.put("1_edge.pcapng", &[1; 10]).expect("there is room");
        assert_eq!((mode(&folder), mode(&path)), (0o700, 0o600));
    }

    #[test]
    fn what_a_killed_writer_left_is_gone_and_the_rest_counts() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        fs::write(folder.path().join(".unfinished-1_edge.pcapng"), [0; 50]).expect("it is writable");
        fs::write(folder.path().join("0_edge.pcapng"), [0; 50]).expect("it is writable");
        fs::write(folder.path().join("notes.txt"), [0; 5_000]).expect("it is writable");
        let store = EvidenceStore::open(folder.path(), 1_000).expect("it opens");
        assert_eq!((store.held, names(folder.path())), (50, vec!["0_edge.pcapng".to_owned(), "notes.txt".to_owned()]));
    }

    #[test]
    fn a_folder_that_takes_files_again_is_said_though_nothing_is_to_be_written() {
        let above = tempfile::tempdir().expect("a temporary folder can be made");
        let folder = above.path().join("evidence");
        let (tell, told) = std::sync::mpsc::channel();
        let report = move |written, _| tell.send(written).expect("it is heard");
        let writer = Writer::start_with(Duration::from_millis(10), &folder, 1_000, report).expect("it starts");
        fs::remove_dir(&folder).and_then(|()| fs::write(&folder, "in its way")).expect("it is ours");
        let request =
            WriteRequest { name: "1_edge.pcapng".into(), replaces: None, bytes: vec![1], asked: Instant::now(), done: None };
        assert!(writer.submit(request).is_ok());
        let outcome = || told.recv_timeout(Duration::from_secs(60)).expect("it is said");
        assert!(matches!([outcome(), outcome()], [Written::Opened, Written::Failed(_)]));
        fs::remove_file(&folder).expect("it is ours");
        assert_eq!(outcome(), Written::Opened);
        writer.finish();
        assert!(names(&folder).is_empty());
    }

    #[test]
    fn a_folder_that_takes_nothing_is_said_and_the_writer_goes_on() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let (tell, told) = std::sync::mpsc::channel();
        let writer =
            Writer::start(folder.path(), 1_000, move |written, _| tell.send(written).expect("it is heard")).expect("it starts");
        let request =
            |name: &str| WriteRequest { name: name.into(), replaces: None, bytes: vec![1], asked: Instant::now(), done: None };
        assert!(writer.submit(request("no/such/folder.pcapng")).is_ok());
        assert!(writer.submit(request("1_edge.pcapng")).is_ok());
        writer.finish();
        let outcomes: Vec<Written> = told.iter().skip(1).collect();
        assert!(matches!(outcomes[..], [Written::Failed(_), Written::Durable(_)]), "{outcomes:?}");
        assert_eq!(names(folder.path()), ["1_edge.pcapng"]);
    }
}
