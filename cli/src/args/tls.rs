//! How a client of ours speaks TLS: arguments of several verbs.

use std::path::PathBuf;

use clap::Args;
use prober::tls::{Only, TlsOptions};

/// What to offer, and what to believe.
#[derive(Args)]
pub struct Tls {
    /// Root certificates, PEM; the platform's if none are named
    #[arg(long)]
    pub ca: Option<PathBuf>,
    /// Accept any certificate
    #[arg(long)]
    pub insecure: bool,
    /// Offer TLS 1.2 only
    #[arg(long)]
    pub tls12: bool,
    /// Offer TLS 1.3 only
    #[arg(long, conflicts_with = "tls12")]
    pub tls13: bool,
}

impl Tls {
    /// The same for the prober.
    pub fn options(&self) -> TlsOptions {
        TlsOptions {
            ca: self.ca.clone(),
            insecure: self.insecure,
            only: self.tls12.then_some(Only::Tls12).or(self.tls13.then_some(Only::Tls13)),
            ..TlsOptions::default()
        }
    }
}
