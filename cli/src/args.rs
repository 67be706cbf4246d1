//! The command line.

mod always;
mod compare;
mod probe;
mod tls;
mod vantages;

use std::path::PathBuf;

use analysis::clock::Span;
use clap::{Args, Parser, Subcommand};
use explain::filter::{Host, Label, Name};

pub use always::{Capture, CaptureAsk, Incidents, Watch, WatchAsk, WatchedFleet};
pub use compare::Compare;
pub use probe::Probe;
pub use tls::Tls;
pub use vantages::{Most, OfProvider, VantageDown, VantageList, VantageReap, VantageUp, VantageVerb};

/// Who stalled: the client, the network or the edge?
#[derive(Parser)]
#[command(
    version,
    about,
    long_about = "Who stalled: the client, the network or the edge?\n\n\
        whostalled reads captures of slow TLS handshakes, or reproduces them between hosts of its own lab, and gives every \
        millisecond an owner, with the evidence.",
    after_help = "Start here:\n  whostalled explain slow.pcap\n  whostalled watch https://login.example.com/\n  \
        whostalled run scenarios/overloaded-client.toml\n\n\
        Exit codes: 0 the expectation held or none was stated; 1 it did not hold, or no client succeeded; 2 the harness failed or the run is void."
)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs.
#[derive(Subcommand)]
pub enum Verb {
    /// Handshake with targets, or run a scenario of the lab, and name the culprit
    Run(Box<Run>),
    /// Start a scenario from a report or a capture; run it and say how close it comes
    New(Box<New>),
    /// Read captures, or what customers send instead: whose time was every slow TLS handshake in them?
    Explain(Box<Explain>),
    /// Check targets on a schedule; alert with the culprit's name, and never for the prober's own stall
    Watch(Watch),
    /// Record TLS handshakes at an edge around the clock: slow ones become evidence files, culprits go to metrics and alerts
    Capture(Box<Capture>),
    /// What went wrong in the last two weeks, from the store of `watch`
    Incidents(Incidents),
    /// Run scenarios over many seeds, severities, round-trip times and stacks; print how often the verdict was right
    Accuracy(Accuracy),
    /// Compare two edges: has a change made handshakes slower? For CI: counts, times by owner, a gate that does not cry wolf
    Compare(Box<Compare>),
    /// One TLS handshake with kernel timestamps (also the client of runs)
    Probe(Probe),
    /// What this host permits, and what evidence it can therefore give
    Doctor {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Be a vantage: take plans and hand over what was measured (over NATS; or started by `run --vantage ssh:HOST`)
    Agent(Agent),
    /// Vantages in somebody's cloud, through a provider: bring them up, list them, take them down, reap what has outlived its time
    Vantage {
        /// What to do.
        #[command(subcommand)]
        verb: Box<VantageVerb>,
    },
    /// Run commands in the lab, clean up after it
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
    /// Build a scenario's hosts and run a command at one of them, while faults come and go
    Run(LabCommand),
    /// Remove cgroups and files that a killed run left behind
    Clean,
}

/// Arguments of `lab run`.
#[derive(Args)]
#[command(after_help = "Example:\n  whostalled lab run scenarios/detour.toml --at office --when detour=5s..10s -- bash\n\n\
    The targets are at NAME.lab.test:443; WHOSTALLED_LAB_CA names the lab's root certificate.\n    \
    A program on another host: whostalled lab-exec \"$WHOSTALLED_LAB_HOST_office\" curl …\n\nExit code: the command's.")]
pub struct LabCommand {
    /// The scenario file
    pub scenario: PathBuf,
    /// The host on which the command runs
    #[arg(long)]
    pub at: String,
    /// A fault for a while: `detour=20s..45s` (may be repeated); faults not named are on all the time
    #[arg(long, value_name = "FAULT=FROM..TO")]
    pub when: Vec<repro::lab_run::Turn>,
    /// Write each host's packets there, as pcapng, at the end
    #[arg(long, value_name = "FOLDER")]
    pub captures: Option<PathBuf>,
    /// The program and its arguments
    #[arg(required = true, last = true)]
    pub command: Vec<String>,
}

/// Arguments of `run`.
#[derive(Args)]
#[command(after_help = "Examples:\n  whostalled run https://login.example.com/ --control https://www.example.net/\n  \
    whostalled run https://login.example.com/ --vantage here --vantage ssh:customer-box --load cpus=0.4 --save login.toml\n  \
    whostalled run --from customer.har --vantage ssh:customer-box\n  \
    whostalled run scenarios/overloaded-client.toml\n  \
    whostalled run scenarios/overloaded-client.toml --vantage ssh:customer-box --target edge=https://login.example.com/ \\\n      \
    --control https://www.example.net/\n  \
    whostalled run scenarios/overloaded-client.toml --set faults.quota.cpus=0.2 --set client.concurrency=12\n  \
    whostalled run scenarios/detour.toml --set target.edge.rtt=80ms --json | jq '.both_ends | {verdict, primary, second}'\n  \
    whostalled run scenarios/incidents/3-hung-dependency.toml    scheduled checks while a fault comes and goes: were they alerted?\n  \
    whostalled run scenarios/incidents --all\n\n\
    Exit codes: 0 the expectation held (or none was stated), 1 it did not, or no client succeeded, 2 the harness failed, the run is \
    void, or a vantage is missing.")]
pub struct Run {
    /// A scenario file; or targets, as https://host/ or https://host:port/path
    #[arg(required_unless_present = "from", value_name = "SCENARIO|URL")]
    pub what: Vec<String>,
    /// What a customer sent (curl's -w '%{json}', a HAR, a NetLog, lines of a log): its servers, the slowest first, its kind of client, as
    /// many at once; targets that are named count more
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
    /// Override a field: `faults.quota.cpus=0.2`, `client.tls=1.2`, `target.edge.rtt=80ms`
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Rounds: how many times each cell (vantage and target) is measured [default: 4, or as the scenario says]
    #[arg(long)]
    pub rounds: Option<u32>,
    /// Where clients run: `here`, `ssh:HOST`, `fleet:AGENT` (also a group, or `*`), `ec2:REGION/TYPE` (brought up for the run); with a
    /// scenario file also one of its vantages alone, or NAME=ssh:HOST (may be repeated)
    #[arg(long)]
    pub vantage: Vec<String>,
    /// With a scenario file: only this target, or NAME=URL in its place (may be repeated)
    #[arg(long)]
    pub target: Vec<String>,
    /// A target to compare with (may be repeated)
    #[arg(long, value_name = "URL")]
    pub control: Vec<repro::targets::RealTarget>,
    /// Clients at once [default: 8]
    #[arg(long, value_name = "N")]
    pub clients: Option<usize>,
    /// The clients of all vantages start at one moment; else one vantage is measured after another
    #[arg(long)]
    pub together: bool,
    /// The client: `probe` (ours, with kernel timestamps), `curl`, or a command, quoted as for a shell, with {host}, {port} and {address}
    #[arg(long, value_name = "CLIENT")]
    pub client: Option<String>,
    /// What takes CPU from the clients, at every vantage: `cpus=0.4`
    #[arg(long, value_name = "cpus=N", value_parser = cpus)]
    pub load: Option<f64>,
    /// Who watches at the target, for both ends: a recorder (`whostalled capture`) by its control socket, ssh:HOST, ssh:HOST:PATH or
    /// fleet:AGENT; or a capture file that grows there (may be repeated, in the order of the targets)
    #[arg(long, value_name = "RECORDER")]
    pub recorder: Vec<repro::vantages::RecorderAt>,
    /// Root certificates that clients trust, PEM
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Accept any certificate
    #[arg(long)]
    pub insecure: bool,
    /// Connect over IPv6 alone
    #[arg(long)]
    pub ipv6: bool,
    /// The server of the fleet
    #[command(flatten)]
    pub nats: Nats,
    /// Do without packets, though this host would permit them
    #[arg(long)]
    pub no_capture: bool,
    /// Write the scenario to a file
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// Where run folders go
    #[arg(long, default_value = "results")]
    pub results: PathBuf,
    /// Print the verdict as JSON on standard output
    #[arg(long)]
    pub json: bool,
    /// Settings of providers, for vantages that are brought up: TOML, a table for each, as `[ec2]`
    #[arg(long, value_name = "FILE", help_heading = "Vantages that are brought up")]
    pub settings: Option<PathBuf>,
    /// Caps of vantages that are brought up
    #[command(flatten, next_help_heading = "Vantages that are brought up")]
    pub most: Most,
    /// Play every incident of a folder, and draw what was detected of them as if it had been two weeks
    #[arg(long, help_heading = "Incidents")]
    pub all: bool,
    /// Play each incident this many times
    #[arg(long, value_name = "N", help_heading = "Incidents", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub repeat: u32,
    /// Play this many rounds of each incident's lab with its fault off: no alert may come
    #[arg(long, value_name = "ROUNDS", help_heading = "Incidents", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub healthy: Option<u32>,
}

fn cpus(text: &str) -> Result<f64, String> {
    let number = text.strip_prefix("cpus=").and_then(|number| number.parse::<f64>().ok());
    number.filter(|n| (0.01..=64.0).contains(n)).ok_or_else(|| "write cpus=0.4, from 0.01 to 64".to_owned())
}

/// Arguments of `agent`.
#[derive(Args)]
#[command(
    after_help = "Example:\n  whostalled agent --nats tls://nats.example.com:4222 --name fra --group eu --spool /var/lib/whostalled \\\n      \
    --nats-ca ca.pem --nats-cert fra.pem --nats-key fra.key\n\nWhat the server has to permit, and certificates for it: dist/nats."
)]
pub struct Agent {
    /// Over standard input and output, one JSON object a line
    #[arg(long, required_unless_present = "nats", conflicts_with = "nats")]
    pub stdio: bool,
    /// End once the controller has said nothing, not even an empty line, for so long
    #[arg(long, value_name = "SECONDS", conflicts_with = "nats")]
    pub silence: Option<u64>,
    /// The server that it connects to
    #[command(flatten)]
    pub nats: Nats,
    /// Its name in the fleet: letters, digits and `-` [default: the host's]
    #[arg(long, requires = "nats")]
    pub name: Option<String>,
    /// A group of the fleet that it belongs to (may be repeated)
    #[arg(long, requires = "nats")]
    pub group: Vec<String>,
    /// Where what was measured waits until a controller has stored it, so that it outlives the agent [default: in memory]
    #[arg(long, value_name = "FOLDER", requires = "nats")]
    pub spool: Option<PathBuf>,
    /// The control socket of a recorder (`whostalled capture`) on this host: `run --recorder fleet:NAME` asks it through this agent
    #[arg(long, value_name = "SOCKET", requires = "nats")]
    pub recorder: Option<PathBuf>,
    /// Launch no clients: be there for the recorder alone
    #[arg(long, requires = "recorder")]
    pub recorder_only: bool,
    /// Allow controllers to hand out checks (`whostalled watch --fleet`): run them all the time and report their rounds
    #[arg(long, requires = "nats")]
    pub watch: bool,
    /// Allow plans to run any command as a client
    #[arg(long, requires = "nats")]
    pub allow_command: bool,
    /// Allow plans to take CPU from the agent's own clients
    #[arg(long)]
    pub allow_load: bool,
    /// Capture no packets
    #[arg(long)]
    pub no_capture: bool,
}

/// A NATS server, and how it is known and knows us.
#[derive(Args)]
pub struct Nats {
    /// A NATS server: tls://HOST:4222
    #[arg(long, value_name = "URL")]
    pub nats: Option<String>,
    /// Root certificates of the NATS server, PEM
    #[arg(long, value_name = "FILE", requires = "nats")]
    pub nats_ca: Option<PathBuf>,
    /// Our certificate for the NATS server, PEM: the name in it says who we are
    #[arg(long, value_name = "FILE", requires_all = ["nats", "nats_key"])]
    pub nats_cert: Option<PathBuf>,
    /// Its key, PEM
    #[arg(long, value_name = "FILE", requires_all = ["nats", "nats_cert"])]
    pub nats_key: Option<PathBuf>,
}

/// Arguments of `explain`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  whostalled explain edge.pcap\n  whostalled explain client.pcapng edge.pcap.gz --slow 200ms --html slow.html\n  \
    whostalled explain ring.pcap0 ring.pcap1 ring.pcap2          a rotated set counts as one capture\n  \
    tcpdump -w - -U port 443 | whostalled explain - --watch\n  \
    whostalled explain edge.pcap --verdict client --ndjson | jq -r .client\n  \
    curl -so /dev/null -w '%{json}' https://example.com/ | whostalled explain -\n\n\
    Captures: pcap and pcapng, plain, gzip or zstd, any link type in common use, tunnels, snap lengths, any port. From one end \
    or both: at which end each was made is found out from its packets, and said.\n\n\
    Not captures: curl's -w '%{json}', HAR, Chrome NetLog, lines of ALB, NLB, Envoy, HAProxy and nginx, told by their content: \
    what a program's clock can tell, and the key for an edge's recorder.\n\n\
    Exit codes: 0 the captures were read, whatever was found; 2 a capture could not be read at all, or an output could not be \
    written. A capture that breaks off is read up to there, with a warning."
)]
pub struct Explain {
    /// Capture files, or what customers send instead; `-` for standard input
    #[arg(required_unless_present_any = ["client_side", "edge_side"])]
    pub captures: Vec<PathBuf>,
    /// A capture made at the client's end, whatever it looks like (may be repeated)
    #[arg(long, value_name = "CAPTURE")]
    pub client_side: Vec<PathBuf>,
    /// A capture made at the edge's end (may be repeated)
    #[arg(long, value_name = "CAPTURE")]
    pub edge_side: Vec<PathBuf>,
    /// Only handshakes that took at least this long: `200ms`, `1.5s`
    #[arg(long, value_name = "TIME", value_parser = explain::filter::span)]
    pub slow: Option<Span>,
    /// Only this server name, or `*.example.com` for all names below it (may be repeated)
    #[arg(long, value_name = "NAME")]
    pub sni: Vec<Name>,
    /// Only this client or server: an address, a network or an address with a port (may be repeated)
    #[arg(long, value_name = "ADDRESS")]
    pub host: Vec<Host>,
    /// Only this verdict: `slow` (all but healthy), `client`, `path/detour`, `inconclusive`, `unjudged`, … (may be repeated)
    #[arg(long, value_name = "VERDICT")]
    pub verdict: Vec<Label>,
    /// Only handshakes begun since then: `2026-11-25T04:00:00Z`, or `10m` for ten minutes ago
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// How many of the slowest to show
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub top: usize,
    /// Follow growing captures: each handshake is printed as it is judged, the report at Ctrl-C
    #[arg(long)]
    pub watch: bool,
    /// Print the report as JSON
    #[arg(long, conflicts_with = "ndjson")]
    pub json: bool,
    /// Print one JSON line per handshake, as they are judged
    #[arg(long)]
    pub ndjson: bool,
    /// Write the report as HTML
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Write the packets of the handshakes shown, with comments, as pcapng (reads the captures twice)
    #[arg(long, value_name = "FILE")]
    pub pcapng: Option<PathBuf>,
}

/// Arguments of `new`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  whostalled new --from slow.pcapng                             one end or both; the worst handshake in it\n  \
    whostalled new --from client.pcap --from edge.pcap --handshake 7 --out like-7.toml\n  \
    whostalled new --sni login.example.com --rtt 40ms --client curl --slow 'ServerHello to Finished 500ms'\n  \
    whostalled new --sni login.example.com --rtt 80ms --slow 'SYN to SYN-ACK 1s' --culprit loss/out\n  \
    whostalled new                                                asks, on a terminal\n\n\
    It writes the scenario, runs it in the lab, compares what `explain` says of the run's packets with what was reported, corrects the \
    faults' sizes and runs again, at most --tries times.\n\n\
    Exit codes: 0 close: the same verdict, the slow phase and the round trip within 10 %; 1 not; 2 the harness failed."
)]
pub struct New {
    /// A capture of it, or what a customer sent (curl's -w '%{json}', a HAR, a NetLog, lines of a log) (may be repeated)
    #[arg(long, value_name = "FILE")]
    pub from: Vec<PathBuf>,
    /// The handshake of the capture, by the number that `explain` gives it [default: the worst]
    #[arg(long, value_name = "N", requires = "from")]
    pub handshake: Option<u64>,
    /// The name that was asked for; with --from only handshakes that asked for it
    #[arg(long, value_name = "NAME")]
    pub sni: Option<String>,
    /// The address that was called, for the file's comments
    #[arg(long, value_name = "ADDRESS", conflicts_with = "from")]
    pub address: Option<String>,
    /// Where the client is, for the file's comments
    #[arg(long, value_name = "REGION", conflicts_with = "from")]
    pub region: Option<String>,
    /// When it was, for the file's comments
    #[arg(long, value_name = "TIME", conflicts_with = "from")]
    pub time: Option<String>,
    /// The round trip between client and edge: `40ms`
    #[arg(long, value_name = "TIME", conflicts_with = "from")]
    pub rtt: Option<settings::Time>,
    /// The client: `probe` (ours), `curl`, or a command, quoted as for a shell
    #[arg(long, value_name = "CLIENT", conflicts_with = "from")]
    pub client: Option<String>,
    /// Clients at once
    #[arg(long, value_name = "N", conflicts_with = "from")]
    pub clients: Option<usize>,
    /// It was TLS 1.2
    #[arg(long, conflicts_with = "from")]
    pub tls12: bool,
    /// What was slow: 'ServerHello to Finished 500ms'
    #[arg(long, value_name = "'A to B TIME'", conflicts_with = "from")]
    pub slow: Option<repro::sketch::Slow>,
    /// Who is suspected, as verdicts name them: `client_host/stopped`, `path/delay`, `loss/out`, `edge_app`
    #[arg(long, value_name = "VERDICT", value_parser = culprit)]
    pub culprit: Option<analysis::judging::vocabulary::Label>,
    /// The file to write [default: the scenario's name and `.toml`]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Write it in place of one that is there
    #[arg(long)]
    pub force: bool,
    /// Only write it
    #[arg(long)]
    pub no_run: bool,
    /// Runs, at most: after each, the faults' sizes are corrected
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub tries: u32,
    /// Where run folders go
    #[arg(long, default_value = "results")]
    pub results: PathBuf,
    /// Print how close it comes as JSON
    #[arg(long)]
    pub json: bool,
}

fn culprit(text: &str) -> Result<analysis::judging::vocabulary::Label, String> {
    analysis::judging::vocabulary::Label::check(text).and_then(|()| text.parse()).map_err(|e| e.to_string())
}

/// Arguments of `accuracy`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  whostalled accuracy scenarios/*.toml\n  whostalled accuracy --draw 7 --trials 3 scenarios/*.toml\n\n\
    Exit codes: 0 every verdict was right; 1 not; 2 the harness failed."
)]
pub struct Accuracy {
    /// Scenario files
    #[arg(required = true)]
    pub scenarios: Vec<PathBuf>,
    /// Runs of each, every one with another seed, severity and round-trip time
    #[arg(long, default_value_t = 5)]
    pub trials: u32,
    /// Draw also client, servers, TLS version, IP version and number of clients, of what is installed; the same seed draws the same
    #[arg(long, value_name = "SEED")]
    pub draw: Option<u64>,
    /// Where run folders go
    #[arg(long, default_value = "results")]
    pub results: PathBuf,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parsed(line: &str) -> Result<Verb, clap::Error> {
        Arguments::try_parse_from(line.split_whitespace()).map(|arguments| arguments.verb)
    }

    #[test]
    fn all_arguments_go_together() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn what_is_typed_is_what_is_meant() {
        let Ok(Verb::Run(run)) =
            parsed("whostalled run https://a.test/ --control https://b.test:8443/x --load cpus=0.4 --clients 8")
        else {
            panic!("it is a run")
        };
        assert_eq!((run.what.len(), run.control.len(), run.load, run.clients), (1, 1, Some(0.4), Some(8)));
        let Ok(Verb::Explain(explain)) = parsed("whostalled explain a.pcap b.pcap --slow 200ms") else { panic!("it is explain") };
        assert_eq!(explain.captures.len(), 2);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_what_to_write() {
        for (line, wanted) in [
            ("whostalled run", "SCENARIO|URL"),
            ("whostalled run https://a.test/ --load 0.4", "write cpus=0.4"),
            ("whostalled run x.toml --repeat 0", "--repeat"),
            ("whostalled agent", "--stdio"),
            ("whostalled agent --stdio --nats tls://a.test:4222", "cannot be used with"),
            ("whostalled agent --nats tls://a.test:4222 --recorder-only", "--recorder"),
            ("whostalled lab run x.toml --at office --when detour=1..2 -- true", "detour=1..2"),
            ("whostalled explain", "CAPTURE"),
            ("whostalled nonsense", "unrecognized subcommand"),
        ] {
            let error = parsed(line).err().unwrap_or_else(|| panic!("{line}: it is taken")).to_string();
            assert!(error.contains(wanted), "{line}: {error}");
        }
    }
}
