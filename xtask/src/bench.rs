//! How fast captures are read. In: rounds, the release binaries. Out: a table of CPU seconds of `explain`, `cat` and tshark on captures that
//! the simulator writes, interleaved in one run; the ratios are what counts.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use serde_json::Value;
use xshell::{Shell, cmd};

use crate::{Found, binary};

const CAPTURES: [(&str, &str); 2] = [("mixed", "24000"), ("handshakes", "60000")];
const HEAD: &str = "| capture | MB | packets | connections | cat s | explain s | × cat | Mpackets/s | peak RSS MB | tshark s | × faster than tshark |
|---|---|---|---|---|---|---|---|---|---|---|";

pub(crate) fn run(shell: &Shell, rounds: usize) -> Result<Found> {
    let simulator = shell.current_dir().join("target/release/whostalled-sim");
    let folder = shell.create_dir("target/bench")?;
    println!("{HEAD}");
    for (kind, connections) in CAPTURES {
        let file = folder.join(format!("{kind}.pcap"));
        if !file.exists() {
            cmd!(shell, "{simulator} capture {kind} {file} --connections {connections}").quiet().run()?;
        }
        println!("{}", row(kind, &file, rounds)?);
    }
    Ok(Found::Good)
}

fn row(kind: &str, file: &Path, rounds: usize) -> Result<String> {
    let explain = || {
        let mut command = Command::new(binary());
        command.args(["explain", "--edge-side"]).arg(file);
        command
    };
    // Into the page cache.
    let bytes = std::fs::read(file)?.len();
    let (mut cats, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        cats.push(cpu(Command::new("cat").arg(file))?);
        ours.push(cpu(&mut explain())?);
    }
    let fields = ["-Y", "tls.handshake", "-T", "fields", "-e", "frame.number"];
    let shark = cpu(Command::new("tshark").arg("-r").arg(file).args(fields))?;
    let report: Value = serde_json::from_slice(&explain().arg("--json").output()?.stdout)?;
    let number =
        |pointer: &str| report.pointer(pointer).and_then(Value::as_u64).with_context(|| format!("no {pointer} in the report"));
    let (packets, connections) = (number("/counts/packets")?, number("/handshakes")?);
    let (cat, us, peak) = (median(cats), median(ours), peak(&mut explain())?);
    Ok(format!(
        "| {kind} | {:.0} | {packets} | {connections} | {cat:.2} | {us:.2} | {:.1} | {:.2} | {peak} | {shark:.1} | {:.0} |",
        bytes as f64 / 1e6,
        us / cat,
        packets as f64 / us / 1e6,
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
