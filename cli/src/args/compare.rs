//! Arguments of `compare`.

use std::path::PathBuf;

use clap::Args;

use super::Tls;

/// Arguments of `compare`.
#[derive(Args)]
#[command(after_help = "Examples:\n  whostalled compare https://edge.example.com/ https://canary.example.com/\n  \
    whostalled compare './proxy-old --listen 127.0.0.1:{port}' './proxy-new --listen 127.0.0.1:{port}' --ca ca.pem --name edge.test\n  \
    whostalled compare lab:nginx:old.conf lab:nginx:new.conf    two configurations; certificates are made for it\n  \
    whostalled compare results/baselines/edge.json './proxy --listen 127.0.0.1:{port}' --ca ca.pem    counts alone\n  \
    whostalled compare 'curl-8.5 -s --cacert {ca} {url}' 'curl-8.9 -s --cacert {ca} {url}'    two builds of a client\n\n\
    Exit codes: 0 no regression; 1 regression; 2 the harness failed; 3 too noisy to tell.")]
pub struct Compare {
    /// What to compare with: an edge, as a URL, a command with {port} in it or one of the lab (lab:nginx:FILE); a client, as a command with {url} in it; or what --save
    /// wrote
    #[arg(required_unless_present = "schema")]
    pub base: Option<String>,
    /// What to compare: another of the kind
    #[arg(required_unless_present = "schema")]
    pub candidate: Option<String>,
    /// How long times may be compared; it ends sooner where it is clear
    #[arg(long, default_value = "60s", value_name = "TIME", value_parser = settings::time::parse)]
    pub budget: std::time::Duration,
    /// Compare counts alone
    #[arg(long)]
    pub counts: bool,
    /// Also count what a handshake costs both commands themselves: system calls (strace) and instructions (valgrind), where installed
    #[arg(long)]
    pub costs: bool,
    /// Also run both commands behind a wire of the lab with this round trip, as 50ms, and count round trips to Finished and to the first
    /// byte (root or user namespaces)
    #[arg(long, value_name = "TIME")]
    pub wire: Option<settings::Time>,
    /// A part that takes this much longer is to be found, or a tenth of what it takes, whichever is less; at least 0.5ms
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
    /// The client's own certificate chain, PEM, for edges that ask for one
    #[arg(long, value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,
    /// Its key, PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
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
    /// Print the JSON Schema of what --json and --save write
    #[arg(long)]
    pub schema: bool,
}

impl Compare {
    /// The two that are compared.
    pub fn words(&self) -> [&str; 2] {
        [&self.base, &self.candidate].map(|word| word.as_deref().unwrap_or_default())
    }
}
