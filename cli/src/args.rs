//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Who stalled: the client, the network or the edge?
#[derive(Parser)]
#[command(
    version,
    about,
    long_about = "Who stalled: the client, the network or the edge?\n\n\
        whostalled reproduces slow TLS handshakes between hosts of its own lab, captures both ends, and gives every \
        millisecond an owner, with the evidence.",
    after_help = "Start here:\n  whostalled run scenarios/overloaded-client.toml\n\n\
        Exit codes: 0 the expectation held or none was stated; 1 it did not hold; 2 the harness failed or the run is void."
)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs.
#[derive(Subcommand)]
pub enum Verb {
    /// Run a scenario in the lab and name the culprit
    Run(Run),
    /// Run scenarios over many seeds, severities and round-trip times; print how often the verdict was right
    Accuracy(Accuracy),
    /// One TLS handshake with kernel timestamps (also the lab's own client)
    Probe(Probe),
    /// Look after the lab
    Lab {
        /// What to do.
        #[command(subcommand)]
        verb: LabVerb,
    },
    /// Print the JSON Schema of scenario files
    Schema,
}

/// Verbs of the lab.
#[derive(Subcommand)]
pub enum LabVerb {
    /// Remove cgroups and files that a killed run left behind
    Clean,
}

/// Arguments of `run`.
#[derive(Args)]
#[command(after_help = "Examples:\n  whostalled run scenarios/overloaded-client.toml\n  \
    whostalled run scenarios/overloaded-client.toml --set faults.quota.cpus=0.2 --set client.concurrency=12\n  \
    whostalled run scenarios/detour.toml --set target.edge.rtt=80ms --json | jq .both_ends.verdict")]
pub struct Run {
    /// The scenario file
    pub scenario: PathBuf,
    /// Override a field: `faults.quota.cpus=0.2`, `client.tls=1.2`, `target.edge.rtt=80ms`
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// How often each cell is measured
    #[arg(long)]
    pub rounds: Option<u32>,
    /// Only this vantage (may be repeated)
    #[arg(long)]
    pub vantage: Vec<String>,
    /// Only this target (may be repeated)
    #[arg(long)]
    pub target: Vec<String>,
    /// Where run folders go
    #[arg(long, default_value = "results")]
    pub results: PathBuf,
    /// Print the verdict as JSON on standard output
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `accuracy`.
#[derive(Args)]
pub struct Accuracy {
    /// Scenario files
    #[arg(required = true)]
    pub scenarios: Vec<PathBuf>,
    /// How often each is run, each time with another seed, severity and round-trip time
    #[arg(long, default_value_t = 5)]
    pub trials: u32,
    /// Where run folders go
    #[arg(long, default_value = "results")]
    pub results: PathBuf,
}

/// Arguments of `probe`.
#[derive(Args)]
pub struct Probe {
    /// The server's name: looked up, asked for and verified
    pub host: String,
    /// Its port
    #[arg(long, default_value_t = 443)]
    pub port: u16,
    /// Root certificates, PEM
    #[arg(long, default_value = "/etc/ssl/certs/ca-certificates.crt")]
    pub ca: PathBuf,
    /// Accept any certificate
    #[arg(long)]
    pub insecure: bool,
    /// Offer TLS 1.2 only
    #[arg(long)]
    pub tls12: bool,
    /// Use IPv6
    #[arg(long)]
    pub ipv6: bool,
    /// Give up after so many milliseconds
    #[arg(long, default_value_t = 10_000.0)]
    pub timeout_ms: f64,
    /// Lab fault: sleep before ClientHello
    #[arg(long, default_value_t = 0.0, hide = true)]
    pub pause_before_hello_ms: f64,
    /// Lab fault: sleep before Finished
    #[arg(long, default_value_t = 0.0, hide = true)]
    pub pause_before_finished_ms: f64,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
