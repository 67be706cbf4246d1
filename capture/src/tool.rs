//! Where the compiler for the kernel's programs is, or would be: what a build must look at again. Part of the build script.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// What changes when `tool` comes, goes or is replaced. Only what exists: cargo takes a path that does not for one that changed, and
/// would build anew each time.
pub fn to_watch(tool: &str, path: Option<&OsStr>) -> Vec<PathBuf> {
    if tool.contains('/') {
        let tool = Path::new(tool);
        let there = if tool.is_file() { Some(tool) } else { tool.parent().filter(|folder| folder.is_dir()) };
        return there.into_iter().map(Path::to_owned).collect();
    }
    let folders: Vec<PathBuf> = path.map(|path| std::env::split_paths(path).filter(|f| f.is_dir()).collect()).unwrap_or_default();
    match folders.iter().map(|folder| folder.join(tool)).find(|file| file.is_file()) {
        Some(file) => vec![file],
        // It may be installed into any of them: a folder changes when a file comes, however old that is.
        None => folders.into_iter().filter(|folder| folder.is_absolute()).collect(),
    }
}
