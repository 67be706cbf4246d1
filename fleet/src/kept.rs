//! Bundles that no controller has stored yet: in memory, and in a folder if there is one.
//!
//! In: replies, each whole. Out: the same after a `kill -9`, if there is a folder; a file that is torn is set aside, not handed out.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::message::KeptId;
use crate::parts::Whole;
use crate::{Error, Log, Name};

/// With more than this waiting, no further batch is begun: nothing measured is thrown away.
const MOST_BYTES: usize = 256 << 20;
/// Hexadecimal digits of a file's SHA-256 in its name.
const DIGITS: usize = 16;

/// What waits.
pub(crate) struct Kept {
    replies: BTreeMap<KeptId, Arc<Whole>>,
    folder: Option<PathBuf>,
}

impl Kept {
    /// What an earlier process left in `folder`.
    ///
    /// # Errors
    /// If it cannot be made or read.
    pub(crate) fn open(folder: Option<PathBuf>, log: &Log) -> Result<Self, Error> {
        let mut replies = BTreeMap::new();
        if let Some(folder) = &folder {
            std::fs::create_dir_all(folder).map_err(failed(folder))?;
            for entry in std::fs::read_dir(folder).map_err(failed(folder))?.flatten() {
                let path = entry.path();
                let file = entry.file_name().to_string_lossy().into_owned();
                if file.ends_with(".new") {
                    // It was never told to be kept.
                    let _ = std::fs::remove_file(&path);
                    continue;
                }
                let Some((id, digits)) = id_of(&file) else { continue };
                let whole = Whole::of(std::fs::read(&path).map_err(failed(&path))?);
                if whole.sha256.starts_with(&digits) {
                    replies.insert(id, Arc::new(whole));
                } else {
                    log(&format!("{} is not what was written there: set aside", path.display()));
                    let _ = std::fs::rename(&path, path.with_extension("broken"));
                }
            }
        }
        Ok(Self { replies, folder })
    }

    /// Keeps a reply; when this returns, it survives what the folder survives.
    ///
    /// # Errors
    /// If it cannot be written; it is kept in memory then.
    pub(crate) fn keep(&mut self, id: KeptId, whole: Arc<Whole>) -> Result<(), Error> {
        let path = self.path(&id, &whole);
        self.replies.insert(id, Arc::clone(&whole));
        let Some(path) = path else { return Ok(()) };
        let new = path.with_extension("new");
        let write = || -> std::io::Result<()> {
            let mut file = File::create(&new)?;
            file.write_all(&whole.bytes)?;
            file.sync_all()?;
            std::fs::rename(&new, &path)?;
            File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
        };
        write().map_err(failed(&path))
    }

    /// A reply.
    pub(crate) fn get(&self, id: &KeptId) -> Option<Arc<Whole>> {
        self.replies.get(id).cloned()
    }

    /// All that wait, but for those of a session.
    pub(crate) fn of_others(&self, session: &Name) -> Vec<KeptId> {
        self.replies.keys().filter(|id| id.session != session.as_str()).cloned().collect()
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.replies.len()
    }

    /// Whether there is room for another.
    pub(crate) fn has_room(&self) -> bool {
        self.bytes() < MOST_BYTES
    }

    /// Bytes that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.replies.values().map(|whole| whole.bytes.len()).sum()
    }

    /// All that wait, in their order.
    pub(crate) fn all(&self) -> impl DoubleEndedIterator<Item = (&KeptId, &Arc<Whole>)> {
        self.replies.iter()
    }

    /// One is stored elsewhere.
    pub(crate) fn forget(&mut self, id: &KeptId) -> bool {
        let Some(whole) = self.replies.remove(id) else { return false };
        if let Some(path) = self.path(id, &whole) {
            let _ = std::fs::remove_file(path);
        }
        true
    }

    /// All of a session up to a number are stored elsewhere; which.
    pub(crate) fn forget_up_to(&mut self, session: &str, number: u64) -> Vec<KeptId> {
        let known: Vec<KeptId> = self.replies.keys().filter(|id| id.session == session && id.number <= number).cloned().collect();
        known.into_iter().filter(|id| self.forget(id)).collect()
    }

    fn path(&self, id: &KeptId, whole: &Whole) -> Option<PathBuf> {
        let digits = &whole.sha256[..DIGITS];
        self.folder.as_ref().map(|folder| folder.join(format!("{}.{}.{digits}.json", id.session, id.number)))
    }
}

fn id_of(file: &str) -> Option<(KeptId, String)> {
    let mut parts = file.strip_suffix(".json")?.split('.');
    let (session, number, digits) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?);
    let good = session.parse::<Name>().is_ok() && digits.len() == DIGITS && parts.next().is_none();
    good.then(|| (KeptId { session: session.to_owned(), number }, digits.to_owned()))
}

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.display().to_string();
    move |source| Error::File { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet() -> Log {
        Arc::new(|_| {})
    }

    fn id(number: u64) -> KeptId {
        KeptId { session: "s".into(), number }
    }

    #[test]
    fn what_is_kept_survives_its_process_until_it_is_stored() {
        let folder = tempfile::tempdir().expect("a folder");
        let open = || Kept::open(Some(folder.path().join("spool")), &quiet()).expect("it opens");
        let mut kept = open();
        for number in 1..=3 {
            kept.keep(id(number), Arc::new(Whole::of(vec![number as u8; 10]))).expect("it is written");
        }
        let mut again = open();
        assert_eq!(again.get(&id(2)).map(|w| w.bytes.clone()), Some(vec![2; 10]));
        assert_eq!(again.forget_up_to("s", 2), [id(1), id(2)]);
        assert_eq!(again.forget_up_to("other", 9), []);
        assert_eq!(open().of_others(&"t".parse().expect("a name")), [id(3)]);
        assert!(again.forget(&id(3)) && !again.forget(&id(3)));
        assert_eq!(open().len(), 0);
    }

    #[test]
    fn a_file_cut_anywhere_is_not_handed_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let open = || Kept::open(Some(folder.path().to_owned()), &quiet()).expect("it opens");
        for cut in 0..10 {
            open().keep(id(1), Arc::new(Whole::of((0..10).collect()))).expect("it is written");
            let file = std::fs::read_dir(folder.path()).expect("our own").flatten().map(|e| e.path());
            let file = file.into_iter().find(|p| p.extension().is_some_and(|e| e == "json")).expect("one file");
            let bytes = std::fs::read(&file).expect("our own");
            std::fs::write(&file, &bytes[..cut]).expect("our own");
            std::fs::write(folder.path().join("x.new"), "half").expect("our own");
            assert_eq!(open().len(), 0, "cut at {cut}");
            assert!(!folder.path().join("x.new").exists());
        }
        assert_eq!(id_of("s.1.0123456789abcdef.json").map(|(id, _)| id), Some(id(1)));
        for other in ["notes.txt", "s.1.json", "a b.1.0123456789abcdef.json", "s.x.0123456789abcdef.json"] {
            assert_eq!(id_of(other), None, "{other}");
        }
    }
}
