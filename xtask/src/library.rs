//! The scenario library: all scenarios, folders below included, run for real. In: the release binary. Out: `docs/library.html`.

use std::path::PathBuf;

use anyhow::Result;
use xshell::{Shell, cmd};

use crate::{Found, binary};

const PAGE: &str = "docs/library.html";

pub(crate) fn make(shell: &Shell) -> Result<Found> {
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::from("scenarios")];
    while let Some(folder) = folders.pop() {
        let mut listed = shell.read_dir(&folder)?;
        listed.sort();
        for path in listed {
            // The page names files as one types them.
            let path = path.strip_prefix(shell.current_dir()).map_or_else(|_| path.clone(), PathBuf::from);
            if shell.path_exists(path.join(".")) {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "toml") {
                files.push(path);
            }
        }
    }
    let results = tempfile::tempdir()?;
    let (binary, results) = (binary(), results.path());
    Ok(Found::good_if(cmd!(shell, "{binary} library {PAGE} {results} {files...}").run().is_ok()))
}
