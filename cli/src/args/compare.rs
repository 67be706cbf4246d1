//! Arguments of `compare`.

use std::path::PathBuf;

use clap::Args;

use super::Tls;

/// Arguments of `compare`.
#[derive(Args)]
#[command(after_help = "Examples:\n  whostalled compare https://edge.example.com/ https://canary.example.com/\n  \
    whostalled compare './proxy-old --listen 127.0.0.1:{port}' './proxy-new --listen 127.0.0.1:{port}' --ca ca.pem --name edge.test\n  \
    whostalled compare results/baselines/edge.json './proxy --listen 127.0.0.1:{port}' --ca ca.pem    counts alone\n  \
    whostalled compare 'curl-8.5 -s --cacert {ca} {url}' 'curl-8.9 -s --cacert {ca} {url}'    two builds of a client\n\n\
    Exit codes: 0 no regression; 1 regression; 2 the harness failed; 3 too noisy to tell.")]
pub struct Compare {
    /// What to compare with: an edge, as a URL or a command with {port} in it; a client, as a command with {url} in it; or what --save
    /// wrote
    pub base: String,
    /// What to compare: another of the kind
    pub candidate: String,
    /// How long times may be compared; it ends sooner where it is clear
    #[arg(long, default_value = "60s", value_name = "TIME", value_parser = settings::time::parse)]
    pub budget: std::time::Duration,
    /// Compare exact counts alone
    #[arg(long)]
    pub counts: bool,
    /// Also count what a handshake costs both commands themselves: system calls (strace) and instructions (valgrind), where installed
    #[arg(long)]
    pub costs: bool,
    /// Also run both commands behind a wire of the lab with this round trip, as 50ms, and count round trips to Finished and to the first
    /// byte (root or user namespaces)
    #[arg(long, value_name = "TIME")]
    pub wire: Option<settings::Time>,
    /// A part that takes this much longer is to be found, or a tenth of what it takes, whichever is less
    #[arg(long, default_value = "1ms", value_name = "TIME", value_parser = settings::time::parse)]
    pub notice: std::time::Duration,
    /// Ask for this name and verify it; default: the URL's host, or localhost
    #[arg(long)]
    pub name: Option<String>,
    /// What to ask a command's edge for; URLs have their own
    #[arg(long, default_value = "/")]
    pub path: String,
    /// How it speaks TLS, and to whom
    #[command(flatten)]
    pub tls: Tls,
    /// Resume sessions where the edges allow it; else every handshake is a full one
    #[arg(long)]
    pub resume: bool,
    /// Give a handshake up after so long
    #[arg(long, default_value = "10s", value_name = "TIME", value_parser = settings::time::parse)]
    pub timeout: std::time::Duration,
    /// Print the comparison as JSON
    #[arg(long)]
    pub json: bool,
    /// Print annotations for GitHub's runner, too
    #[arg(long, conflicts_with = "json")]
    pub annotate: bool,
    /// Write the comparison as JSON: a base for later ones
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// Append a summary as Markdown: $GITHUB_STEP_SUMMARY
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    /// Write JUnit XML
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Write a page with every block
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}
