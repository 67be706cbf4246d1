//! The embedded edge: a rustls server that writes a line for each slow handshake, as the proxy of the story did.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use agent::LogLine;
use rustls::server::Acceptor;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::LazyConfigAcceptor;

use crate::Error;
use crate::truth::Injected;

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
    /// How long the program sleeps between ClientHello and its answer.
    pub app_delay_ms: f64,
    /// How long it waits before accepting each connection.
    pub accept_interval_ms: f64,
    /// The accept queue's length.
    pub backlog: u32,
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
    let config = Arc::new(config);
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
            let (tls, config) = (Arc::clone(&tls), Arc::clone(&config));
            listeners.push(tokio::spawn(async move {
                loop {
                    if config.accept_interval_ms > 0.0 {
                        tokio::time::sleep(Duration::from_secs_f64(config.accept_interval_ms / 1e3)).await;
                    }
                    let Ok((stream, peer)) = listener.accept().await else { continue };
                    tokio::spawn(connection(stream, peer, Arc::clone(&tls), Arc::clone(&config)));
                }
            }));
        }
        for listener in listeners {
            let _ = listener.await;
        }
        Ok(())
    })
}

fn tls_config(config: &EdgeConfig) -> Result<rustls::ServerConfig, Error> {
    let unreadable = |e: rustls_pki_types::pem::Error| Error::helper("reading the edge's certificate", e.to_string());
    let chain =
        CertificateDer::pem_file_iter(&config.chain).map_err(unreadable)?.collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
    let key = PrivateKeyDer::from_pem_file(&config.key).map_err(unreadable)?;
    rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|e| Error::helper("using the edge's certificate", e.to_string()))
}

async fn connection(stream: TcpStream, peer: SocketAddr, tls: Arc<rustls::ServerConfig>, config: Arc<EdgeConfig>) {
    let accepted_ns = now();
    let _ = stream.set_nodelay(true);
    let handshake = async {
        let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        if config.app_delay_ms > 0.0 {
            let begun = std::time::Instant::now();
            tokio::time::sleep(Duration::from_secs_f64(config.app_delay_ms / 1e3)).await;
            let injected = Injected {
                client: Some(peer),
                target: None,
                owner: "edge_app".into(),
                ms: Some(begun.elapsed().as_secs_f64() * 1e3),
                what: "slept before ServerHello".into(),
            };
            append(&config.truth, &injected);
        }
        start.into_stream(tls).await
    };
    let result = handshake.await;
    let ended = now();
    let line = LogLine {
        peer,
        accepted_ns,
        finished_ns: result.is_ok().then_some(ended),
        handshake_ms: (ended - accepted_ns) as f64 / 1e6,
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

/// Appends one JSON line in a single write, so that lines of several connections do not mix.
fn append<T: Serialize>(path: &PathBuf, value: &T) {
    use std::io::Write;
    let Ok(mut line) = serde_json::to_vec(value) else { return };
    line.push(b'\n');
    if let Ok(mut file) = std::fs::OpenOptions::new().create(true).append(true).open(path) {
        let _ = file.write_all(&line);
    }
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as i64)
}
