//! Arguments of the verbs that run for ever, and of what asks them.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::logging::{LogFormat, LogLevel};

/// How a verb that runs for ever logs.
#[derive(Args)]
pub struct Logged {
    /// How each line of the log (standard error) is written
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// What is logged
    #[arg(long, value_enum, default_value_t = LogLevel::Info)]
    pub log_level: LogLevel,
}

/// Arguments of `watch`.
#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  whostalled watch https://login.example.com/               one check, shown here as it is made; Ctrl-C ends it\n  \
    whostalled watch https://login.example.com/ --rounds 1    the same once\n  \
    whostalled watch init --target https://login.example.com/ writes checks.toml, with comments\n  \
    whostalled watch checks.toml --validate\n  \
    whostalled watch checks.toml                              page: http://127.0.0.1:9719/\n  \
    whostalled watch checks.toml --fleet tls://nats.example.com:4222 --nats-ca ca.pem --nats-cert ops.pem --nats-key ops.key\n\n\
    The check file is read again when it changes, or at SIGHUP. Metrics are at /metrics, and /probe takes blackbox_exporter's \
    requests.\n\nExit codes: 0 stopped by a signal, all rounds of --rounds were good, or the file is valid; 1 a round of --rounds was \
    not good; 2 the check file is wrong, or the watcher cannot go on."
)]
pub struct Watch {
    /// Without running anything.
    #[command(subcommand)]
    pub ask: Option<WatchAsk>,
    /// The check file; or targets, as https://host:port/path or host:port, which are checked and shown here
    #[arg(required_unless_present = "schema", value_name = "CHECKS|URL")]
    pub what: Vec<String>,
    /// Only say whether the check file is valid: all that the start opens is opened
    #[arg(long)]
    pub validate: bool,
    /// Print the JSON Schema of check files
    #[arg(long)]
    pub schema: bool,
    /// Targets: end after this many rounds; the exit code says whether all were good
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub rounds: Option<u64>,
    /// Targets: time between two rounds
    #[arg(long, value_name = "TIME", value_parser = settings::time::parse, default_value = "5s")]
    pub interval: std::time::Duration,
    /// Targets: give up after this time
    #[arg(long, value_name = "TIME", value_parser = settings::time::parse, default_value = "10s")]
    pub timeout: std::time::Duration,
    /// Targets: root certificates, PEM
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Targets: accept any certificate
    #[arg(long)]
    pub insecure: bool,
    /// Agents that probe in this host's stead
    #[command(flatten)]
    pub fleet: WatchedFleet,
    /// The log.
    #[command(flatten)]
    pub logged: Logged,
}

/// A fleet whose agents probe, by its NATS server.
#[derive(Args)]
pub struct WatchedFleet {
    /// Let the agents of this NATS server probe (those that were started with --watch), and judge their rounds together: tls://HOST:4222
    #[arg(long, value_name = "URL")]
    pub fleet: Option<String>,
    /// Root certificates of the NATS server, PEM
    #[arg(long, value_name = "FILE", requires = "fleet")]
    pub nats_ca: Option<PathBuf>,
    /// Our certificate for the NATS server, PEM: the name in it says who we are
    #[arg(long, value_name = "FILE", requires_all = ["fleet", "nats_key"])]
    pub nats_cert: Option<PathBuf>,
    /// Its key, PEM
    #[arg(long, value_name = "FILE", requires_all = ["fleet", "nats_cert"])]
    pub nats_key: Option<PathBuf>,
}

/// What `watch` does without watching.
#[derive(Subcommand)]
pub enum WatchAsk {
    /// Write a check file to begin with, with comments
    Init {
        /// The file; `-` for standard output
        #[arg(default_value = "checks.toml")]
        file: PathBuf,
        /// What is checked
        #[arg(long, value_name = "URL", default_value = watch::init::EXAMPLE)]
        target: String,
    },
}

/// Arguments of `capture`.
#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  whostalled capture --iface eth0                                 slow handshakes become files in ./evidence\n  \
        whostalled capture --iface eth0 --slow 100ms --memory 256MiB\n  \
        whostalled capture init                                         writes capture.toml, with comments\n  \
        whostalled capture --config /etc/whostalled/capture.toml        logs, networks, alerts: see dist/capture.toml\n  \
        whostalled capture status\n  \
        whostalled capture dump --last 30s -o last.pcapng               all handshakes of the last half minute\n  \
        whostalled capture trigger 192.0.2.7:40000                      keep this client's handshake, as if it had been slow\n\n\
        Only handshake packets leave the kernel (an eBPF filter at tc; by libpcap where that is not permitted, and it says so). It needs \
        CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON and CAP_NET_RAW, or root. The page is at http://127.0.0.1:9720/, metrics at /metrics.\n\n\
        Exit codes: 0 stopped by a signal, or the command was carried out; 2 it cannot begin, or the command was refused."
)]
pub struct Capture {
    /// Commands to a running recorder.
    #[command(subcommand)]
    pub ask: Option<CaptureAsk>,
    /// The configuration (TOML); options on the command line take precedence
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// An interface (may be repeated)
    #[arg(long, value_name = "NAME")]
    pub iface: Vec<String>,
    /// A port on which TLS is served (may be repeated); 443 if none is named
    #[arg(long, value_name = "PORT")]
    pub port: Vec<u16>,
    /// Memory for packets: `64MiB`
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<bytesize::ByteSize>,
    /// Handshakes that take this much longer than the baseline are slow: `200ms`
    #[arg(long, value_name = "TIME", value_parser = settings::time::parse)]
    pub slow: Option<std::time::Duration>,
    /// Where evidence goes
    #[arg(long, value_name = "FOLDER")]
    pub evidence: Option<PathBuf>,
    /// How much of the disk evidence may take: `1GiB`
    #[arg(long, value_name = "SIZE")]
    pub quota: Option<bytesize::ByteSize>,
    /// Where packets are filtered; default: the earliest that the host permits
    #[arg(long, value_name = "LAYER", value_parser = ["tc", "socket", "user"])]
    pub filter_at: Option<String>,
    /// Where page and metrics are served
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<std::net::SocketAddr>,
    /// The socket for `dump`, `trigger` and `status`
    #[arg(long, value_name = "PATH")]
    pub control: Option<PathBuf>,
    /// Only say whether the configuration is valid
    #[arg(long)]
    pub validate: bool,
    /// Print the JSON Schema of the configuration
    #[arg(long)]
    pub schema: bool,
    /// The log.
    #[command(flatten)]
    pub logged: Logged,
}

/// Commands to a running recorder, or about one.
#[derive(Subcommand)]
pub enum CaptureAsk {
    /// Write a configuration to begin with, with comments
    Init {
        /// The file; `-` for standard output
        #[arg(default_value = "capture.toml")]
        file: PathBuf,
        /// The interface [default: the one by which this host reaches the Internet]
        #[arg(long, value_name = "NAME")]
        iface: Option<String>,
    },
    /// Write packets out of its memory as pcapng
    Dump {
        /// Packets of the last 30 seconds: `30s`
        #[arg(long, value_name = "TIME", value_parser = settings::time::parse, required_unless_present = "flow")]
        last: Option<std::time::Duration>,
        /// Packets of one flow, with its verdict: the client's address and port, optionally the server's, or ClientHello.random in
        /// hexadecimal digits; with --last of several (may be repeated), not judged
        #[arg(long, value_name = "CLIENT[,SERVER]|RANDOM")]
        flow: Vec<analysis::key::Key>,
        /// Output file; `-` for standard output
        #[arg(long, short, value_name = "FILE")]
        output: PathBuf,
        /// The recorder's socket
        #[arg(long, value_name = "PATH", default_value = "whostalled-capture.sock")]
        control: PathBuf,
    },
    /// Keep a client's handshake as evidence, as if it had been slow; prints the file once it is on the disk
    Trigger {
        /// The client's address and port, or ClientHello.random in hexadecimal digits
        client: String,
        /// The server's address and port, if known
        server: Option<String>,
        /// The recorder's socket
        #[arg(long, value_name = "PATH", default_value = "whostalled-capture.sock")]
        control: PathBuf,
    },
    /// What it sees, and its own state
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
        /// The recorder's socket
        #[arg(long, value_name = "PATH", default_value = "whostalled-capture.sock")]
        control: PathBuf,
    },
}

/// Arguments of `incidents`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  whostalled incidents --store whostalled.db\n  whostalled incidents --store whostalled.db --html bulletin.html"
)]
pub struct Incidents {
    /// The database of `watch`
    #[arg(long, default_value = "whostalled.db")]
    pub store: PathBuf,
    /// Write the two-week diagram as HTML
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Print them as JSON
    #[arg(long)]
    pub json: bool,
}
