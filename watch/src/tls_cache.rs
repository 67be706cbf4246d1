//! TLS configurations for `/probe`, kept for a while: reading a platform's root certificates takes longer than a handshake.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use prober::tls::{TlsOptions, config};
use rustls::ClientConfig;

/// A certificate that was replaced on disk is noticed after so long.
const FRESH: Duration = Duration::from_secs(60);

/// Configurations by what they offer and demand.
#[derive(Default)]
pub struct TlsCache(Mutex<HashMap<TlsOptions, (Instant, Arc<ClientConfig>)>>);

impl TlsCache {
    /// The configuration for these options.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn get(&self, options: TlsOptions) -> std::io::Result<Arc<ClientConfig>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, (since, _)| since.elapsed() < FRESH);
        if let Some((_, found)) = known.get(&options) {
            return Ok(Arc::clone(found));
        }
        let made = Arc::new(config(&options)?);
        known.insert(options, (Instant::now(), Arc::clone(&made)));
        Ok(made)
    }
}
