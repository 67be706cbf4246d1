//! What our benchmarks say of the commit that is checked out, added to the history of those before. In: the sources, built here; valgrind where
//! it is installed. Out: one more line in `benches/history.jsonl`, and `docs/benchmarks.html`, which shows what changed when.

use anyhow::{Result, ensure};
use xshell::{Shell, cmd};

use crate::Found;
use crate::instructions::{self, Then};

const FILE: &str = "benches/history.jsonl";
const PAGE: &str = "docs/benchmarks.html";
const COUNTS: &str = "target/instructions/counts.json";

/// Builds, measures, adds, draws.
pub(crate) fn measure(shell: &Shell) -> Result<Found> {
    let changed = cmd!(shell, "git status --porcelain --untracked-files=no -- . :!benches/history.jsonl :!docs/benchmarks.html")
        .quiet()
        .read()?;
    ensure!(changed.is_empty(), "what is measured is said of a commit, and these files are in none:\n{changed}");
    cmd!(shell, "cargo build --release --locked --quiet -p whostalled -p whostalled-sim").run()?;
    // What an earlier commit left would be taken for this one's.
    shell.remove_path(COUNTS)?;
    shell.remove_path("target/criterion")?;
    let counted = instructions::count(shell, Then::WriteTo(COUNTS))?;
    let counts = if shell.path_exists(COUNTS) { COUNTS } else { "-" };
    cmd!(
        shell,
        "cargo bench --locked --quiet -p whostalled-benches --bench stages -- --noplot --warm-up-time 1 --measurement-time 3"
    )
    .run()?;
    let history = cmd!(shell, "cargo run --locked --quiet -p whostalled-benches --bin bench-history --");
    history.args([FILE, "add", counts, "target/criterion"]).run()?;
    cmd!(shell, "cargo run --locked --quiet -p whostalled-benches --bin bench-history -- {FILE} page {PAGE}").run()?;
    println!("{FILE} and {PAGE} are written; commit them");
    Ok(counted)
}
