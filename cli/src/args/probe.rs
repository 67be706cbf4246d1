//! Arguments of `probe`.

use std::path::PathBuf;

use clap::Args;

use super::Tls;

/// Arguments of `probe`.
#[derive(Args)]
pub struct Probe {
    /// The server's name: looked up, asked for and verified
    pub host: String,
    /// Its port
    #[arg(long, default_value_t = 443)]
    pub port: u16,
    /// What to ask for
    #[arg(long, default_value = "/")]
    pub path: String,
    /// How it speaks TLS, and to whom
    #[command(flatten)]
    pub tls: Tls,
    /// The client's own certificate chain, PEM, for edges that ask for one
    #[arg(long, value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,
    /// Its key, PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
    /// Use IPv4 alone
    #[arg(long, conflicts_with = "ipv6")]
    pub ipv4: bool,
    /// Use IPv6 alone
    #[arg(long)]
    pub ipv6: bool,
    /// Give up after this many milliseconds
    #[arg(long, default_value_t = 10_000.0)]
    pub timeout_ms: f64,
    /// Lab fault: sleep before ClientHello
    #[arg(long, default_value_t = 0.0, hide = true)]
    pub pause_before_hello_ms: f64,
    /// Lab fault: sleep before Finished
    #[arg(long, default_value_t = 0.0, hide = true)]
    pub pause_before_finished_ms: f64,
    /// Make a handshake before this one, and resume its session
    #[arg(long)]
    pub resume: bool,
    /// Lab fault: write each flight in two pieces, without TCP_NODELAY
    #[arg(long, hide = true)]
    pub in_pieces: bool,
    /// Call once: not again to learn why the edge turned this call away
    #[arg(long, hide = true)]
    pub once: bool,
    /// Lab fault: trust no certificate
    #[arg(long, hide = true)]
    pub distrust: bool,
    /// Lab: connect to this address; nothing is looked up
    #[arg(long, hide = true)]
    pub address: Option<std::net::IpAddr>,
    /// Lab: who says the first line before TLS
    #[arg(long, value_name = "client|edge", requires = "plain_exchanges", hide = true)]
    pub speaks_first: Option<prober::Speaker>,
    /// Lab: lines before TLS that the edge answers
    #[arg(long, value_name = "N", requires = "speaks_first", hide = true)]
    pub plain_exchanges: Option<u32>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
