//! The embedded edge: a rustls server that writes a line for each slow handshake, as the proxy of the story did.
//!
//! In: its configuration, and a file that says what it does on purpose, which is read anew for each connection. Out: its log, and the truth.

mod does;
mod turns;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use agent::{BeforeTls, LogLine};
use rustls::server::{Acceptor, WebPkiClientVerifier};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::LazyConfigAcceptor;

use crate::Error;
use crate::clock::now;
use crate::truth::Injected;
pub use does::{Delays, Does};
use turns::{Delay, Turns};

/// Its configuration.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EdgeConfig {
    /// Where it listens.
    pub listen: Vec<SocketAddr>,
    /// Certificate chain, PEM.
    pub chain: PathBuf,
    /// Private key, PEM.
    pub key: PathBuf,
    /// Where it logs slow handshakes.
    pub log: PathBuf,
    /// Where it writes what it injected.
    pub truth: PathBuf,
    /// From how many milliseconds on a handshake is slow.
    pub slow_ms: f64,
    /// What it does on purpose.
    #[serde(default)]
    pub does: Does,
    /// A file that says so instead, as long as it is there.
    #[serde(default)]
    pub does_at: Option<PathBuf>,
    /// The accept queue's length.
    pub backlog: u32,
    /// What it says before TLS.
    #[serde(default)]
    pub before_tls: Option<BeforeTls>,
    /// It knows no key exchange that clients guess, and asks with a HelloRetryRequest.
    #[serde(default)]
    pub hello_retry: bool,
    /// It asks clients for a certificate that leads to one of these roots, PEM.
    #[serde(default)]
    pub client_roots: Option<PathBuf>,
    /// Without TCP_NODELAY, and in pieces: Nagle's algorithm then delays its flight.
    #[serde(default)]
    pub in_pieces: bool,
    /// Whose first call is the lab's own, see [`crate::warm`]: it is neither slowed nor logged.
    #[serde(default)]
    pub warmed_from: Option<IpAddr>,
}

impl EdgeConfig {
    fn now_does(&self) -> Does {
        self.does_at.as_deref().and_then(Does::read).unwrap_or(self.does)
    }
}

/// Serves until killed.
///
/// # Errors
/// If a certificate, socket or log cannot be used.
pub fn serve(config: EdgeConfig) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(Error::system("starting the edge's runtime"))?;
    let tls = Arc::new(tls_config(&config)?);
    let (config, warmed) = (Arc::new(config), Arc::new(AtomicBool::new(false)));
    runtime.block_on(async move {
        let mut listeners = Vec::new();
        for address in config.listen.clone() {
            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
            let listener = socket.and_then(|s| {
                s.set_reuseaddr(true)?;
                s.bind(address)?;
                s.listen(config.backlog)
            });
            let listener = listener.map_err(Error::system(format!("edge listening on {address}")))?;
            let (tls, config, warmed) = (Arc::clone(&tls), Arc::clone(&config), Arc::clone(&warmed));
            listeners.push(tokio::spawn(async move {
                loop {
                    sleep_ms(config.now_does().accept_interval_ms).await;
                    let Ok((stream, peer)) = listener.accept().await else { continue };
                    tokio::spawn(connection(stream, peer, Arc::clone(&tls), Arc::clone(&config), Arc::clone(&warmed)));
                }
            }));
        }
        for listener in listeners {
            let _ = listener.await;
        }
        Ok(())
    })
}

async fn sleep_ms(ms: f64) {
    if ms > 0.0 {
        tokio::time::sleep(Duration::from_secs_f64(ms / 1e3)).await;
    }
}

fn tls_config(config: &EdgeConfig) -> Result<rustls::ServerConfig, Error> {
    let unreadable = |e: rustls_pki_types::pem::Error| Error::helper("reading the edge's certificate", e.to_string());
    let unusable = |e: rustls::Error| Error::helper("using the edge's certificate", e.to_string());
    let chain =
        CertificateDer::pem_file_iter(&config.chain).map_err(unreadable)?.collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
    let key = PrivateKeyDer::from_pem_file(&config.key).map_err(unreadable)?;
    let mut provider = rustls::crypto::ring::default_provider();
    if config.hello_retry {
        // Clients guess X25519 or P-256, and all of them know this one.
        provider.kx_groups = vec![rustls::crypto::ring::kx_group::SECP384R1];
    }
    let provider = Arc::new(provider);
    let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let builder = builder.map_err(unusable)?;
    let builder = match &config.client_roots {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = rustls::RootCertStore::empty();
            for root in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
                roots.add(root.map_err(unreadable)?).map_err(unusable)?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|e| Error::helper("verifying clients", e.to_string()))?)
        }
    };
    builder.with_single_cert(chain, key).map_err(unusable)
}

/// A fatal alert in clear: handshake_failure (RFC 8446, section 6).
const HANDSHAKE_FAILURE: [u8; 7] = [21, 3, 3, 0, 2, 2, 40];

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Arc<rustls::ServerConfig>,
    config: Arc<EdgeConfig>,
    warmed: Arc<AtomicBool>,
) {
    if config.warmed_from == Some(peer.ip()) && !warmed.swap(true, Ordering::Relaxed) {
        let _ = tls_only(stream, tls).await;
        return;
    }
    let accepted_ns = now();
    let does = config.now_does();
    let _ = stream.set_nodelay(!config.in_pieces);
    let slept = |what: &'static str| {
        let truth = config.truth.clone();
        move |for_ms: f64| {
            let owner = "edge_app".into();
            append(&truth, &Injected { client: Some(peer), target: None, owner, ms: Some(for_ms), what: what.into() });
        }
    };
    let Delays { plaintext_ms, hello_retry_ms, server_hello_ms, server_finished_ms } = does.delays;
    let finished = Delay { ms: server_finished_ms, slept: Box::new(slept("slept before its answer to Finished")) };
    let hello = Delay { ms: server_hello_ms, slept: Box::new(slept("slept before ServerHello")) };
    let (first, later) = if config.hello_retry {
        (Delay { ms: hello_retry_ms, slept: Box::new(slept("slept before HelloRetryRequest")) }, vec![hello, finished])
    } else {
        (hello, vec![finished])
    };
    let handshake = async {
        let mut stream = stream;
        if let Some(before) = config.before_tls {
            turns::plaintext(&mut stream, before, Delay { ms: plaintext_ms, slept: Box::new(slept("slept before TLS")) }).await?;
        }
        let stream = Turns::new(stream, config.in_pieces, later);
        let mut start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        first.sleep().await;
        if does.refuse {
            start.io.write_all(&HANDSHAKE_FAILURE).await?;
            start.io.shutdown().await?;
            return Err(std::io::Error::other("refused as told"));
        }
        start.into_stream(tls).await
    };
    let result = handshake.await;
    let ended = now();
    let line = LogLine {
        peer,
        accepted_ns,
        finished_ns: result.is_ok().then_some(ended),
        handshake_ms: (ended - accepted_ns).millis(),
        error: result.as_ref().err().map(ToString::to_string),
    };
    if line.handshake_ms >= config.slow_ms {
        append(&config.log, &line);
    }
    if let Ok(mut stream) = result {
        let mut request = [0; 4_096];
        if stream.read(&mut request).await.is_ok_and(|n| n > 0) {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\nconnection: close\r\n\r\nok\n").await;
        }
        let _ = stream.shutdown().await;
    }
}

/// The handshake alone, by the same code as those that are measured.
async fn tls_only(stream: TcpStream, tls: Arc<rustls::ServerConfig>) -> std::io::Result<()> {
    let start = LazyConfigAcceptor::new(Acceptor::default(), Turns::new(stream, false, Vec::new())).await?;
    start.into_stream(tls).await?.shutdown().await
}

/// Appends one JSON line in a single write, so that lines of several connections do not mix.
fn append<T: Serialize>(path: &PathBuf, value: &T) {
    use std::io::Write;
    let Ok(mut line) = serde_json::to_vec(value) else { return };
    line.push(b'\n');
    if let Ok(mut file) = std::fs::OpenOptions::new().create(true).append(true).open(path) {
        let _ = file.write_all(&line);
    }
}
