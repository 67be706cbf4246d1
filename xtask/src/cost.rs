//! What building costs: CPU seconds (user and system, of cargo and all that it starts) of a fresh release build, of `make demo`'s other
//! parts, and of building again after a change in the binary. In: the sources, with all crates fetched. Out: a table.
//!
//! CPU seconds, because wall time is another one on each machine and beside each neighbour.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use xshell::{Shell, cmd};

use crate::Found;

/// `make demo` from a fresh clone, but for what is fetched.
const MOST_FRESH: f64 = 420.0;
const MOST_AGAIN: f64 = 20.0;

pub(crate) fn measure(shell: &Shell) -> Result<Found> {
    cmd!(shell, "cargo fetch --locked --quiet").quiet().run()?;
    let folder = shell.current_dir().join("target/build-cost");
    shell.remove_path(&folder)?;
    let cargo = |arguments: &[&str]| -> Result<f64> {
        let mut command = Command::new("cargo");
        // What the cargo that runs us has set is not for this one.
        command.args(arguments).env("CARGO_TARGET_DIR", &folder).env_remove("RUSTC_WRAPPER");
        cpu_seconds(&mut command)
    };
    let xtask = cargo(&["build", "--locked", "--quiet", "--package", "whostalled-xtask"])?;
    let fresh = cargo(&["build", "--locked", "--quiet", "--release"])?;
    touch(Path::new("cli/src/main.rs"))?;
    let again = cargo(&["build", "--locked", "--quiet", "--release"])?;
    let mut demo = Command::new(folder.join("release/whostalled"));
    let demo =
        cpu_seconds(demo.args(["run", "scenarios/overloaded-client.toml", "--json", "--results"]).arg(folder.join("results")))?;
    shell.remove_path(&folder)?;
    println!("| what | CPU s | at most |\n|---|---|---|");
    println!("| `cargo build --release`, from nothing | {fresh:.0} | |");
    println!("| `cargo xtask`, from nothing (it installs what is missing) | {xtask:.0} | |");
    println!("| the flagship scenario | {demo:.0} | |");
    println!("| **`make demo`, from nothing** | **{:.0}** | {MOST_FRESH} |", fresh + xtask + demo);
    println!("| **`cargo build --release` after a change in `cli/src/main.rs`** | **{again:.1}** | {MOST_AGAIN} |");
    Ok(Found::good_if(fresh + xtask + demo <= MOST_FRESH && again <= MOST_AGAIN))
}

/// Runs it; user and system time of it and of all that it waited for. What it says goes to standard error.
fn cpu_seconds(command: &mut Command) -> Result<f64> {
    let children = || -> Result<f64> {
        let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
        Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
    };
    let before = children()?;
    let status = command.stdout(std::io::stderr()).status().with_context(|| format!("{command:?}"))?;
    if !status.success() {
        bail!("{command:?} failed ({status})");
    }
    Ok(children()? - before)
}

fn seconds(time: TimeVal) -> f64 {
    time.tv_sec() as f64 + time.tv_usec() as f64 * 1e-6
}

/// Makes cargo think that it changed.
fn touch(file: &Path) -> Result<()> {
    let opened = std::fs::File::options().append(true).open(file).with_context(|| file.display().to_string())?;
    opened.set_modified(std::time::SystemTime::now())?;
    Ok(())
}
