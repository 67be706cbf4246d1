//! After a SIGKILL: removes what a dead run left behind.

use std::path::{Path, PathBuf};

use crate::cpu::{Hierarchy, PREFIX, remove};

/// Where runs keep certificates, configurations and logs while they last.
pub fn scratch_folder(pid: u32) -> PathBuf {
    std::env::temp_dir().join(format!("{PREFIX}{pid}"))
}

/// Removes cgroups and scratch folders of runs whose process is gone; says what it did.
pub fn clean() -> Vec<String> {
    let mut done = Vec::new();
    let folders = [Hierarchy::V1.root().to_path_buf(), Hierarchy::V2.root().to_path_buf(), std::env::temp_dir()];
    for (i, parent) in folders.iter().enumerate() {
        for folder in leftovers(parent) {
            let gone = if i < 2 { remove(&folder) } else { std::fs::remove_dir_all(&folder).is_ok() };
            done.push(format!("{} {}", if gone { "removed" } else { "could not remove" }, folder.display()));
        }
    }
    done
}

fn leftovers(parent: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
    entries
        .filter(|e| {
            let name = e.file_name();
            let pid = name.to_str().and_then(|n| n.strip_prefix(PREFIX)).and_then(|n| n.split('.').next()?.parse::<u32>().ok());
            pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists())
        })
        .map(|e| e.path())
        .collect()
}
