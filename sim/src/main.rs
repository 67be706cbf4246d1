//! `whostalled-sim`: writes captures of simulated handshakes, for trying things by hand and for benchmarks.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use whostalled_sim::cases::{Grade, Setup};
use whostalled_sim::tls::Version;
use whostalled_sim::traffic::{Mix, make};
use whostalled_sim::trial::{Trial, add_frame, begin_pcap, write_pcap};

/// Simulated TLS handshakes, as captures
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// One trial of the fault matrix: client.pcap and edge.pcap, or both.pcap where they are given in one file
    Trial {
        /// Row of the matrix, 1 to 91
        case: u8,
        /// Where the captures go
        #[arg(long, default_value = ".")]
        out: PathBuf,
        /// Milliseconds (or what the case makes of them)
        #[arg(long, default_value_t = 150)]
        severity: i64,
        /// Handshake
        #[arg(long, value_enum, default_value_t = Kind::Tls13)]
        version: Kind,
        /// Seed
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// As the trials of this evidence are drawn: of one end's, sometimes without other handshakes over the path
        #[arg(long, value_enum, default_value_t = Evidence::Both)]
        evidence: Evidence,
    },
    /// A whole capture at an edge, for measuring
    Capture {
        /// What is in it
        #[arg(value_enum)]
        kind: Kinds,
        /// The file
        out: PathBuf,
        /// TLS connections
        #[arg(long, default_value_t = 24_000)]
        connections: u32,
        /// Seed
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Evidence {
    Both,
    Client,
    Server,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kinds {
    /// Handshakes and short answers
    Handshakes,
    /// Handshakes with downloads behind them, plain HTTP, UDP
    Mixed,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Tls12,
    Tls12Resumed,
    Tls13,
    Tls13Resumed,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("whostalled-sim: {error}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), String> {
    match Arguments::parse().verb {
        Verb::Trial { case, out, severity, version, seed, evidence } => {
            let grade = match evidence {
                Evidence::Both => Grade::BothAndHost,
                Evidence::Client => Grade::Client,
                Evidence::Server => Grade::Server,
            };
            write_trial(Setup { case, severity, version: version.into(), grade, seed }, &out)
        }
        Verb::Capture { kind, out, connections, seed } => {
            let mix = if matches!(kind, Kinds::Mixed) { Mix::Mixed } else { Mix::Handshakes };
            write_capture(mix, &out, connections, seed).map_err(|e| format!("{}: {e}", out.display()))
        }
    }
}

fn write_capture(mix: Mix, path: &Path, connections: u32, seed: u64) -> std::io::Result<()> {
    let mut pcap = begin_pcap(BufWriter::with_capacity(1 << 20, File::create(path)?))?;
    let mut packets = 0_u64;
    make(mix, connections, seed, |at, frame| {
        packets += 1;
        add_frame(&mut pcap, at, frame)
    })?;
    println!("{}: {connections} TLS connections, {packets} packets", path.display());
    Ok(())
}

impl From<Kind> for Version {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Tls12 => Version::Tls12,
            Kind::Tls12Resumed => Version::Tls12Resumed,
            Kind::Tls13 => Version::Tls13,
            Kind::Tls13Resumed => Version::Tls13Resumed,
        }
    }
}

fn write_trial(setup: Setup, out: &Path) -> Result<(), String> {
    let seed = setup.seed;
    let planned = setup.plan().ok_or("this case makes no sense for this version or evidence")?;
    let trial = Trial::run(&planned.plan, seed);
    let apart = [("client.pcap", &trial.client), ("edge.pcap", &trial.edge)];
    for (name, frames) in trial.one_file.iter().map(|both| ("both.pcap", both)).chain(apart) {
        let path = out.join(name);
        let file = File::create(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        write_pcap(BufWriter::new(file), frames).map_err(|e| format!("{}: {e}", path.display()))?;
        println!("{}: {} packets", path.display(), frames.len());
    }
    Ok(())
}
