//! A handshake with ourselves over loopback: how long it takes when only this machine is in it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use analysis::clock::Span;
use prober::tls::{TlsOptions, config};
use prober::{Family, Lookup, Pauses, Route, Target, probe};
use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::error::WatchError;

/// Patience with ourselves.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A server of our own and how to reach it.
pub(crate) struct Reference {
    target: Target,
    lookup: Lookup,
}

impl Reference {
    /// Listens on loopback; serves on the current thread.
    ///
    /// # Errors
    /// If this host gives us no loopback.
    pub async fn start() -> Result<Self, WatchError> {
        let what = || "the reference handshake over loopback".to_owned();
        let unready = |source| WatchError::Host { what: what(), source };
        let unmade = |error: Box<dyn std::error::Error + Send + Sync>| unready(std::io::Error::other(error));
        let pair = rcgen::generate_simple_self_signed(vec!["reference".to_owned()]).map_err(|e| unmade(e.into()))?;
        let key = PrivateKeyDer::Pkcs8(pair.signing_key.serialize_der().into());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| unmade(e.into()))?
            .with_no_client_auth()
            .with_single_cert(vec![pair.cert.der().clone()], key)
            .map_err(|e| unmade(e.into()))?;
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.map_err(unready)?;
        let address = listener.local_addr().map_err(unready)?;
        let acceptor = TlsAcceptor::from(Arc::new(server));
        tokio::task::spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::task::spawn_local(async move {
                    // Anybody else who knocks here is none of our business, and goes away in time.
                    let _ = tokio::time::timeout(TIMEOUT, acceptor.accept(stream)).await;
                });
            }
        });
        let tls = config(&TlsOptions { insecure: true, ..TlsOptions::default() }).map_err(unready)?;
        let target = Target {
            host: "reference".into(),
            port: address.port(),
            connect_to: None,
            address: Some(address),
            server_name: None,
            family: Family::Any,
            tls: Some(Arc::new(tls)),
            request: None,
            timeout: TIMEOUT,
            pauses: Pauses::default(),
            route: Route::default(),
        };
        Ok(Self { target, lookup: Lookup::new(&[address]).map_err(unready)? })
    }

    /// How long a handshake takes; as long as our patience if it fails.
    pub async fn measure(&self) -> Option<Span> {
        let report = probe(&self.target, &self.lookup).await;
        let took = report.trace.ended - report.trace.started;
        Some(if report.success { took } else { Span::from_nanos(i64::try_from(TIMEOUT.as_nanos()).unwrap_or(i64::MAX)) })
    }
}
