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
}

impl Tls {
    /// The same for the prober.
    pub fn options(&self) -> TlsOptions {
        TlsOptions {
            ca: self.ca.clone(),
            insecure: self.insecure,
            only: self.tls12.then_some(Only::Tls12),
            ..TlsOptions::default()
        }
    }
}
