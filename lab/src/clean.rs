//! After a SIGKILL: removes what a dead run left behind.

use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cpu::{Hierarchy, PREFIX, remove};

/// How long a run may take from making a folder to locking it.
const TO_LOCK: Duration = Duration::from_secs(60);

/// Removes cgroups and scratch folders of runs whose process is gone; says what it did.
pub fn clean() -> Vec<String> {
    let mut done = Vec::new();
    let folders = [Hierarchy::V1.root().to_path_buf(), Hierarchy::V2.root().to_path_buf(), std::env::temp_dir()];
    for (i, parent) in folders.iter().enumerate() {
        for (folder, _lock) in leftovers(parent) {
            let gone = if i < 2 { remove(&folder) } else { std::fs::remove_dir_all(&folder).is_ok() };
            done.push(format!("{} {}", if gone { "removed" } else { "could not remove" }, folder.display()));
        }
    }
    done
}

/// Locks a folder of a run for as long as the file is held; absent where another process has it, or it is no folder.
///
/// The process id in its name tells whose it is, but not in another PID namespace; a lock goes with its process wherever that is.
pub(crate) fn locked(folder: &Path) -> Option<File> {
    let file = File::open(folder).ok()?;
    file.try_lock().ok()?;
    Some(file)
}

/// What nobody holds any longer. Another user's is that user's to remove: whoever may write to `parent` chooses names in it.
fn leftovers(parent: &Path) -> Vec<(PathBuf, File)> {
    let own = nix::unistd::geteuid().as_raw();
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
    entries
        .filter(|e| {
            let name = e.file_name();
            let pid = name.to_str().and_then(|n| n.strip_prefix(PREFIX)).and_then(|n| n.split('.').next()?.parse::<u32>().ok());
            let is = e.metadata().ok().filter(|is| is.is_dir() && is.uid() == own);
            // The number of a run that was killed may be another process's by now; one that has only begun is about to lock.
            let old = |is: &Metadata| is.modified().ok()?.elapsed().ok();
            pid.zip(is).is_some_and(|(pid, is)| {
                !Path::new(&format!("/proc/{pid}")).exists() || old(&is).is_some_and(|age| age > TO_LOCK)
            })
        })
        .filter_map(|e| Some((e.path(), locked(&e.path())?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_live_run_holds_is_not_left_over() {
        let parent = tempfile::tempdir().expect("room");
        // No process of this namespace has such an id.
        let of_a_run = parent.path().join(format!("{PREFIX}{}.x", u32::MAX));
        std::fs::create_dir(&of_a_run).expect("our own folder");
        std::os::unix::fs::symlink("/", parent.path().join(format!("{PREFIX}{}.link", u32::MAX))).expect("our own folder");
        let held = locked(&of_a_run).expect("nobody has it");
        assert!(leftovers(parent.path()).is_empty());
        drop(held);
        let left: Vec<PathBuf> = leftovers(parent.path()).into_iter().map(|(folder, _)| folder).collect();
        assert_eq!(left, [of_a_run]);
    }

    #[test]
    fn the_number_of_one_that_was_killed_may_be_another_process_s_by_now() {
        let parent = tempfile::tempdir().expect("room");
        let folder = parent.path().join(format!("{PREFIX}{}.x", std::process::id()));
        std::fs::create_dir(&folder).expect("our own folder");
        assert!(leftovers(parent.path()).is_empty(), "it may be about to lock it");
        let before = std::time::SystemTime::now() - 2 * TO_LOCK;
        File::open(&folder).and_then(|folder| folder.set_modified(before)).expect("our own folder");
        assert_eq!(leftovers(parent.path()).len(), 1);
        let held = locked(&folder).expect("nobody has it");
        assert!(leftovers(parent.path()).is_empty());
        drop(held);
    }
}
