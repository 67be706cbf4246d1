//! `whostalled-sim`: writes captures of simulated handshakes, for trying things by hand and for benchmarks.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use whostalled_sim::cases::{Grade, Setup};
use whostalled_sim::tls::Version;
use whostalled_sim::trial::{Trial, write_pcap};

/// Simulated TLS handshakes, as captures
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// One trial of the fault matrix: client.pcap and edge.pcap
    Trial {
        /// Row of the matrix, 1 to 51
        case: u8,
        /// Where the two captures go
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
        /// As the trials of server-only evidence are drawn: sometimes without other handshakes over the path
        #[arg(long)]
        server_only: bool,
    },
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
    let Verb::Trial { case, out, severity, version, seed, server_only } = Arguments::parse().verb;
    let version = match version {
        Kind::Tls12 => Version::Tls12,
        Kind::Tls12Resumed => Version::Tls12Resumed,
        Kind::Tls13 => Version::Tls13,
        Kind::Tls13Resumed => Version::Tls13Resumed,
    };
    let grade = if server_only { Grade::Server } else { Grade::BothAndHost };
    let setup = Setup { case, severity, version, grade, seed };
    let planned = setup.plan().ok_or("this case makes no sense for this version or evidence")?;
    let trial = Trial::run(&planned.plan, seed);
    for (name, frames) in [("client.pcap", &trial.client), ("edge.pcap", &trial.edge)] {
        let path = out.join(name);
        let file = File::create(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        write_pcap(BufWriter::new(file), frames, usize::MAX).map_err(|e| format!("{}: {e}", path.display()))?;
        println!("{}: {} packets", path.display(), frames.len());
    }
    Ok(())
}
