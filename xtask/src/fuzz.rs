//! Fuzzes every target. In: seconds for each, the corpus kept in `fuzz/corpus`. Out: inputs tried; a crashing input in `fuzz/`.
//!
//! libFuzzer with cargo-fuzz's flags: so a stable toolchain will do.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

use crate::Found;

const TARGETS: [&str; 6] = ["reader", "imports", "packet", "tcp", "tls", "pipeline"];
/// With fewer seconds it is a smoke test.
const SMOKE: u32 = 60;
const TRIPLE: &str = "x86_64-unknown-linux-gnu";
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

pub(crate) fn run(shell: &Shell, seconds: u32, keep: bool) -> Result<Found> {
    // The workspace's own folder: what is compiled for this host (macros, build scripts) may be there already.
    let built = shell.current_dir().join("target");
    let _in_fuzz = shell.push_dir("fuzz");
    let build = cmd!(shell, "cargo build --release --quiet --locked --target {TRIPLE}");
    let build = build.env("RUSTFLAGS", FLAGS).env("CARGO_TARGET_DIR", &built);
    // What runs for seconds is built in half the time; what runs for minutes is to try as many inputs as it can.
    let smoke = [("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1"), ("CARGO_PROFILE_RELEASE_DEBUG", "0")];
    let build = if seconds < SMOKE { build.envs(smoke) } else { build };
    build.quiet().run()?;
    let mut failed = 0;
    for target in TARGETS {
        let program = built.join(TRIPLE).join("release").join(target);
        let said = fuzzed(&shell.current_dir(), &program, target, seconds, keep)?;
        failed += usize::from(said == Found::Bad);
    }
    for file in shell.read_dir(std::env::temp_dir())? {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("whostalled-fuzz-") && name.ends_with(".pcap") {
            shell.remove_path(&file)?;
        }
    }
    println!("{} passed, {failed} failed", TARGETS.len() - failed);
    Ok(Found::good_if(failed == 0))
}

fn fuzzed(folder: &Path, program: &Path, target: &str, seconds: u32, keep: bool) -> Result<Found> {
    let corpus = folder.join("corpus").join(target);
    std::fs::create_dir_all(&corpus)?;
    let work = tempfile::tempdir()?;
    let limits = ["-timeout=10", "-rss_limit_mb=1024", "-max_len=65536", "-print_final_stats=1"];
    let mut fuzzer = Command::new(program);
    fuzzer.current_dir(folder).args([work.path(), &corpus]).arg(format!("-max_total_time={seconds}")).args(limits);
    let output =
        fuzzer.arg(format!("-artifact_prefix={}/{target}-", folder.display())).output().with_context(|| target.to_owned())?;
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let lines: Vec<&str> = said.lines().collect();
        println!("FAILED: {target}\n{}", lines[lines.len().saturating_sub(30)..].join("\n"));
        return Ok(Found::Bad);
    }
    let last_word =
        |name: &str| said.lines().filter(|l| l.contains(name)).find_map(|l| l.split_whitespace().last()).unwrap_or("?");
    let (inputs, peak) = (last_word("number_of_executed_units"), last_word("peak_rss_mb"));
    println!("ok: {target}: {inputs} inputs, no panic, no hang, peak {peak} MB");
    if keep {
        let mut merge = Command::new(program);
        merge.current_dir(folder).args(["-merge=1", "-max_len=4096"]).args([&corpus, &work.path().to_path_buf()]);
        let merged = merge.output().with_context(|| target.to_owned())?;
        anyhow::ensure!(merged.status.success(), "{target}: what found new code could not be merged into the corpus");
    }
    Ok(Found::Good)
}
