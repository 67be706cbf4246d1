//! The scenario library: all scenarios run and all incidents played for real. In: the release binary. Out: `docs/library.html`.

use anyhow::Result;
use xshell::{Shell, cmd};

use crate::{Found, binary};

const PAGE: &str = "docs/library.html";

pub(crate) fn make(shell: &Shell) -> Result<Found> {
    let mut files = Vec::new();
    for folder in ["scenarios", "scenarios/incidents"] {
        let mut there = shell.read_dir(folder)?;
        there.retain(|path| path.extension().is_some_and(|ending| ending == "toml"));
        there.sort();
        files.extend(there);
    }
    // The page names files as one types them.
    let here = shell.current_dir();
    let files = files.iter().map(|path| path.strip_prefix(&here).unwrap_or(path));
    let results = tempfile::tempdir()?;
    let (binary, results) = (binary(), results.path());
    Ok(Found::good_if(cmd!(shell, "{binary} library {PAGE} {results} {files...}").run().is_ok()))
}
