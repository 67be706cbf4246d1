//! `bench-history FILE add COUNTS CRITERION`: adds what was measured of the commit that is checked out. `bench-history FILE page PAGE`: writes
//! the page. COUNTS is what `cargo xtask history` has counted (`target/instructions/counts.json`), CRITERION the folder `target/criterion`; `-` leaves one out.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use whostalled_benches::history::{self, Measured};
use whostalled_benches::page;
use xshell::{Shell, cmd};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        [file, "add", counts, criterion] => {
            let counts = given(counts).map_or(Ok(BTreeMap::new()), history::counts)?;
            let medians = given(criterion).map_or(Ok(BTreeMap::new()), history::medians)?;
            history::add(Path::new(file), measured(counts, medians)?)
        }
        [file, "page", to] => {
            let lines = history::read(Path::new(file))?;
            fs::write(to, page::page(&lines)).with_context(|| format!("cannot write {to}"))
        }
        _ => bail!("bench-history FILE add COUNTS CRITERION, or bench-history FILE page PAGE"),
    }
}

fn given(path: &str) -> Option<&Path> {
    (path != "-").then(|| Path::new(path))
}

/// Of the commit that is checked out here.
fn measured(instructions: BTreeMap<String, f64>, nanoseconds: BTreeMap<String, f64>) -> Result<Measured> {
    let shell = Shell::new()?;
    let date = "--date=format-local:%Y-%m-%dT%H:%M:%SZ";
    let said = cmd!(shell, "git log -1 {date} --format=%H%n%cd%n%s").env("TZ", "UTC").quiet().read()?;
    let mut lines = said.lines().map(str::to_owned);
    let mut next = || lines.next().with_context(|| format!("git names no commit: {said}"));
    let (commit, date, subject) = (next()?, next()?, next()?);
    let compiler = cmd!(shell, "rustc --version").quiet().read()?;
    Ok(Measured { commit, date, subject, machine: compare::fingerprint(), compiler, instructions, nanoseconds })
}
