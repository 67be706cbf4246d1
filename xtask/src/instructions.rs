//! How many instructions a handshake, a line of JSON and a packet cost `explain`. In: the release binaries, valgrind, the counts that were
//! written down (`benches/instructions.json`). Out: a table; bad where one costs more than was written down.
//!
//! Instructions do not depend on what else the machine does, but on the compiler and on what the C library chooses by the CPU: counts of
//! another compiler are not compared.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use xshell::{Shell, cmd};

use crate::{Found, binary, skipped};

/// Counts repeat within 1 % on one machine, two threads being what they are; the C library of another may copy memory in other steps.
const TOLERANCE: f64 = 0.05;
const FILE: &str = "benches/instructions.json";

#[derive(Serialize, Deserialize)]
struct Written {
    /// `rustc --version`.
    compiler: String,
    /// Instructions by what they are spent on.
    counts: BTreeMap<String, u64>,
}

/// What is done with what was counted.
#[derive(Clone, Copy)]
pub(crate) enum Then<'a> {
    /// Compared with what was written down.
    Compare,
    /// Written down.
    Keep,
    /// Written to another file.
    WriteTo(&'a str),
}

/// Counts.
pub(crate) fn count(shell: &Shell, then: Then) -> Result<Found> {
    if cmd!(shell, "valgrind --version").quiet().ignore_stdout().ignore_stderr().run().is_err() {
        return Ok(skipped(testing::Need::Tools, "valgrind, which counts instructions, is not installed"));
    }
    let compiler = cmd!(shell, "rustc --version").quiet().read()?;
    let counts = measured(shell)?;
    if let Then::Keep | Then::WriteTo(_) = then {
        let file = if let Then::WriteTo(file) = then { file } else { FILE };
        shell.write_file(file, format!("{}\n", serde_json::to_string_pretty(&Written { compiler, counts })?))?;
        return Ok(Found::Good);
    }
    let written: Written = serde_json::from_str(&shell.read_file(FILE)?).context(FILE)?;
    let comparable = written.compiler == compiler;
    println!("| instructions | now | written down | × |\n|---|---|---|---|");
    let mut found = Found::Good;
    for (what, now) in &counts {
        let before =
            *written.counts.get(what).with_context(|| format!("{FILE} has no `{what}`: cargo xtask instructions --write"))?;
        let ratio = *now as f64 / before as f64;
        println!("| {what} | {now} | {before} | {ratio:.3} |");
        if comparable && ratio > 1.0 + TOLERANCE {
            eprintln!("{what}: dearer than was written down. If that is worth it: cargo xtask instructions --write, and say why");
            found = Found::Bad;
        }
        if comparable && ratio < 1.0 - TOLERANCE {
            eprintln!("{what}: cheaper than was written down: cargo xtask instructions --write keeps it so");
            found = Found::Bad;
        }
    }
    if !comparable {
        println!("not compared: written down with {}, this is {compiler}", written.compiler);
    }
    Ok(found)
}

/// Of captures of two sizes the difference: what a start costs is in none of the counts.
fn measured(shell: &Shell) -> Result<BTreeMap<String, u64>> {
    const FEW: u64 = 500;
    const MANY: u64 = 1_500;
    let simulator = shell.current_dir().join("target/release/whostalled-sim");
    let folder = shell.create_dir("target/instructions")?;
    let capture = |mix: &str, connections: u64| -> Result<_> {
        let file = folder.join(format!("{mix}-{connections}.pcap"));
        let n = connections.to_string();
        let said = cmd!(shell, "{simulator} capture {mix} {file} --connections {n}").quiet().read()?;
        // "… 500 TLS connections, 9887 packets"
        let packets = said.rsplit(", ").next().and_then(|tail| tail.split(' ').next()).and_then(|n| n.parse::<u64>().ok());
        Ok((file, packets.with_context(|| format!("how many packets is that? {said}"))?))
    };
    let (few, _) = capture("handshakes", FEW)?;
    let (many, _) = capture("handshakes", MANY)?;
    let (mixed_few, packets_few) = capture("mixed", FEW)?;
    let (mixed_many, packets_many) = capture("mixed", MANY)?;
    let text = instructions(shell, &many, &[])? - instructions(shell, &few, &[])?;
    let json = instructions(shell, &many, &["--ndjson"])? - instructions(shell, &few, &["--ndjson"])?;
    let mixed = instructions(shell, &mixed_many, &[])? - instructions(shell, &mixed_few, &[])?;
    Ok(BTreeMap::from([
        ("a handshake: read, walked, judged".to_owned(), text / (MANY - FEW)),
        ("a line of --ndjson, beyond the text".to_owned(), json.saturating_sub(text) / (MANY - FEW)),
        ("a packet of mixed traffic".to_owned(), mixed / (packets_many - packets_few)),
    ]))
}

fn instructions(shell: &Shell, file: &Path, flags: &[&str]) -> Result<u64> {
    let binary = binary();
    let out = cmd!(
        shell,
        "valgrind --tool=cachegrind --cache-sim=no --cachegrind-out-file=/dev/null {binary} explain --edge-side {file} {flags...}"
    );
    let output = out.quiet().output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let counted = said.lines().find_map(|line| line.split_once("refs:")).map(|(_, n)| n.replace([',', ' '], ""));
    counted.and_then(|n| n.parse().ok()).with_context(|| format!("valgrind counts nothing: {said}"))
}
