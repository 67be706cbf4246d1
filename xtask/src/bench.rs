//! How fast captures are read. In: rounds, the release binaries, perhaps a binary of another commit. Out: a table of CPU seconds of `explain`,
//! `cat` and tshark on captures that the simulator writes, interleaved in one run; the ratios are what counts.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use serde_json::Value;
use xshell::{Shell, cmd};

use crate::{Found, binary};

const CAPTURES: [(&str, &str); 2] = [("mixed", "24000"), ("handshakes", "60000")];
const HEAD: &str = "| capture | MB | packets | connections | cat s | explain s | × cat | Mpackets/s | peak RSS MB | --ndjson s | × text | tshark s | × faster than tshark |
|---|---|---|---|---|---|---|---|---|---|---|---|---|";
const HEAD_AGAINST: &str =
    "| capture | output | CPU s | of the other | × | peak RSS MB | of the other |\n|---|---|---|---|---|---|---|";

pub(crate) fn run(shell: &Shell, rounds: usize) -> Result<Found> {
    println!("{HEAD}");
    for (kind, file) in captures(shell)? {
        println!("{}", row(kind, &file, rounds)?);
    }
    Ok(Found::Good)
}

/// The same captures read by this binary and by another, in turn.
pub(crate) fn against(shell: &Shell, rounds: usize, other: &Path) -> Result<Found> {
    println!("{HEAD_AGAINST}");
    for (kind, file) in captures(shell)? {
        std::fs::read(&file)?;
        for (name, flag) in [("text", None), ("--ndjson", Some("--ndjson"))] {
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            for _ in 0..rounds {
                ours.push(cpu(explain(&binary(), &file).args(flag))?);
                theirs.push(cpu(explain(other, &file).args(flag))?);
            }
            let ratios = ours.iter().zip(&theirs).map(|(a, b)| a / b).collect();
            let peaks = [peak(explain(&binary(), &file).args(flag))?, peak(explain(other, &file).args(flag))?];
            println!(
                "| {kind} | {name} | {:.2} | {:.2} | {:.2} | {} | {} |",
                median(ours),
                median(theirs),
                median(ratios),
                peaks[0],
                peaks[1]
            );
        }
    }
    Ok(Found::Good)
}

/// The captures, written if they are not there.
fn captures(shell: &Shell) -> Result<Vec<(&'static str, PathBuf)>> {
    let simulator = shell.current_dir().join("target/release/whostalled-sim");
    let folder = shell.create_dir("target/bench")?;
    let mut files = Vec::new();
    for (kind, connections) in CAPTURES {
        let file = folder.join(format!("{kind}.pcap"));
        if !file.exists() {
            // Standard output belongs to the table.
            cmd!(shell, "{simulator} capture {kind} {file} --connections {connections}").quiet().ignore_stdout().run()?;
        }
        files.push((kind, file));
    }
    Ok(files)
}

fn explain(binary: &Path, file: &Path) -> Command {
    let mut command = Command::new(binary);
    command.args(["explain", "--edge-side"]).arg(file);
    command
}

fn row(kind: &str, file: &Path, rounds: usize) -> Result<String> {
    let explain = || explain(&binary(), file);
    // Into the page cache.
    let bytes = std::fs::read(file)?.len();
    let (mut cats, mut ours, mut lines) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        cats.push(cpu(Command::new("cat").arg(file))?);
        ours.push(cpu(&mut explain())?);
        lines.push(cpu(explain().arg("--ndjson"))?);
    }
    let fields = ["-Y", "tls.handshake", "-T", "fields", "-e", "frame.number"];
    let shark = cpu(Command::new("tshark").arg("-r").arg(file).args(fields))?;
    let report: Value = serde_json::from_slice(&explain().arg("--json").output()?.stdout)?;
    let number =
        |pointer: &str| report.pointer(pointer).and_then(Value::as_u64).with_context(|| format!("no {pointer} in the report"));
    let (packets, connections) = (number("/counts/packets")?, number("/handshakes")?);
    let (cat, us, lines, peak) = (median(cats), median(ours), median(lines), peak(&mut explain())?);
    Ok(format!(
        "| {kind} | {:.0} | {packets} | {connections} | {cat:.2} | {us:.2} | {:.1} | {:.2} | {peak} | {lines:.2} | {:.2} | {shark:.1} | {:.0} |",
        bytes as f64 / 1e6,
        us / cat,
        packets as f64 / us / 1e6,
        lines / us,
        shark / us
    ))
}

/// CPU seconds of a command, user and system.
fn cpu(command: &mut Command) -> Result<f64> {
    let spent = || -> Result<f64> {
        let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
        let seconds = |t: TimeVal| t.tv_sec() as f64 + t.tv_usec() as f64 / 1e6;
        Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
    };
    let before = spent()?;
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().with_context(|| format!("{command:?}"))?;
    anyhow::ensure!(status.success(), "{command:?}: {status}");
    Ok(spent()? - before)
}

/// The most memory that a command held, in MB.
fn peak(command: &mut Command) -> Result<u64> {
    let mut child = command.stdout(Stdio::null()).spawn()?;
    let mut peak = 0;
    while child.try_wait()?.is_none() {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let kilobytes = status.lines().find_map(|l| l.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        peak = peak.max(kilobytes.unwrap_or(0) / 1024);
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(peak)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}
