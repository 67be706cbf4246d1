//! Arguments of `vantage`, and of runs whose vantages a provider brings up.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::Nats;

/// Verbs of `vantage`.
#[derive(Subcommand)]
pub enum VantageVerb {
    /// Bring vantages up; says the price before anything begins
    Up(VantageUp),
    /// Which there are
    List(VantageList),
    /// Take down all of a run
    Down(VantageDown),
    /// Take down whatever has outlived its time: what is found is marked, what was marked is ended, what is tagged to be kept is spared
    Reap(VantageReap),
}

/// A provider and its settings.
#[derive(Args, Clone, Debug)]
pub struct OfProvider {
    /// The provider: `ec2`, or any NAME for which a program whostalled-vantage-NAME lies beside this one or on the PATH; or the path of one
    #[arg(long, value_name = "NAME|PATH")]
    pub provider: String,
    /// Settings of providers, TOML: a table for each, as `[ec2]`
    #[arg(long, value_name = "FILE")]
    pub settings: Option<PathBuf>,
    /// Override one of its settings: `region=us-east-1` (may be repeated)
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Print what the provider says, one JSON object a line
    #[arg(long)]
    pub json: bool,
    /// Only say what would be done, and what it would cost
    #[arg(long)]
    pub dry_run: bool,
}

/// How much may be had at most.
#[derive(Args, Clone, Debug)]
pub struct Most {
    /// Until they end by themselves: `45m`, `2h`
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = length)]
    pub lifetime: Duration,
    /// At once, those of others counted
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub max_instances: u32,
    /// The longest lifetime
    #[arg(long, value_name = "HOURS", default_value_t = 4.0)]
    pub max_hours: f64,
    /// In US dollars, of what is asked for here, until everything has ended
    #[arg(long, value_name = "USD", default_value_t = 1.0)]
    pub max_cost: f64,
    /// The NATS server as the vantages reach it, where that is another address than --nats
    #[arg(long, value_name = "URL", requires = "nats")]
    pub agent_nats: Option<String>,
    /// How long they may take until they have joined, from when they run
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = length)]
    pub join_within: Duration,
}

fn length(text: &str) -> Result<Duration, String> {
    settings::time::parse(text).map_err(|e| e.to_string())
}

/// Arguments of `vantage up`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  whostalled vantage up --provider ec2 --settings ec2.toml --nats tls://nats.example.com:4222 \\\n      \
    --nats-ca ca.pem --nats-cert ops.pem --nats-key ops.key --dry-run\n  \
    whostalled vantage up --provider ec2 --settings ec2.toml --name a --name b --lifetime 2h --nats …\n\n\
    With --nats they join that fleet, each as the agent of its name; without, your ssh goes there (docs/ec2.md).\n\n\
    Exit codes: 0 they are there; 2 they are not, and what began was taken down."
)]
pub struct VantageUp {
    /// The provider
    #[command(flatten)]
    pub of: OfProvider,
    /// Name of a vantage, and of the agent that it is (may be repeated)
    #[arg(long, default_value = "vantage")]
    pub name: Vec<String>,
    /// Whose they are, for `vantage down` [default: made from the time]
    #[arg(long, value_name = "RUN")]
    pub run: Option<String>,
    /// Caps
    #[command(flatten)]
    pub most: Most,
    /// The fleet that they join
    #[command(flatten)]
    pub nats: Nats,
}

/// Arguments of `vantage list`.
#[derive(Args)]
pub struct VantageList {
    /// The provider
    #[command(flatten)]
    pub of: OfProvider,
    /// Those of this run alone
    #[arg(long, value_name = "RUN")]
    pub run: Option<String>,
}

/// Arguments of `vantage down`.
#[derive(Args)]
#[command(after_help = "Exit codes: 0 nothing of it is left; 2 something may be, which is named.")]
pub struct VantageDown {
    /// The run, as `vantage list` shows it
    pub run: String,
    /// The provider
    #[command(flatten)]
    pub of: OfProvider,
}

/// Arguments of `vantage reap`.
#[derive(Args)]
#[command(
    after_help = "Made to run on a schedule (terraform/modules/reaper). Exit codes: 0 everything was looked at and what was due is ended; 2 not."
)]
pub struct VantageReap {
    /// The provider
    #[command(flatten)]
    pub of: OfProvider,
    /// Between mark and end
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = length)]
    pub grace: Duration,
}
