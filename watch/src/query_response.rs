//! blackbox_exporter's `query_response`: lines expected and sent on a TCP connection, STARTTLS among them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use prober::{Family, Lookup};
use regex::{Captures, Regex};
use rustls::ClientConfig;
use rustls_pki_types::{CertificateDer, ServerName};
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// One step.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Step {
    pub(crate) expect: Option<String>,
    /// So many bytes, and no line end behind them.
    expect_bytes: Option<String>,
    send: Option<String>,
    starttls: bool,
    /// They name parts of what was expected, for a metric of its own: not here.
    #[serde(rename = "labels")]
    _labels: Option<IgnoredAny>,
}

impl Step {
    /// What is sent: a line with what was `captured` in it, or, where a NUL marks it as base64, bytes as they are.
    pub(crate) fn bytes(&self, captured: Option<&Captures<'_>>) -> Option<Vec<u8>> {
        let text = self.send.as_deref().filter(|text| !text.is_empty())?;
        if let Some(encoded) = text.strip_prefix('\0') {
            return base64::engine::general_purpose::STANDARD.decode(encoded).ok();
        }
        let mut line = String::new();
        match captured {
            Some(captured) => captured.expand(text, &mut line),
            None => line.push_str(text),
        }
        line.push('\n');
        Some(line.into_bytes())
    }

    fn expected_bytes(&self) -> Option<Vec<u8>> {
        let text = self.expect_bytes.as_deref().filter(|text| !text.is_empty())?;
        let encoded = text.strip_prefix('\0');
        encoded.map_or_else(|| Some(text.as_bytes().to_vec()), |e| base64::engine::general_purpose::STANDARD.decode(e).ok())
    }
}

/// Whom to talk to.
pub struct Peer {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Which addresses.
    pub family: Family,
    /// The name to verify.
    pub name: String,
    /// Speak TLS from the start.
    pub tls: Option<Arc<ClientConfig>>,
    /// Speak it from STARTTLS on.
    pub starttls: Arc<ClientConfig>,
}

/// What came of it.
#[derive(Default)]
pub struct Outcome {
    /// Whether every step succeeded.
    pub success: bool,
    /// Whether nothing matched an expectation.
    pub by_regex: bool,
    /// The edge's certificates.
    pub certificates: Vec<CertificateDer<'static>>,
}

trait Both: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Both for T {}

/// Talks.
///
/// # Errors
/// If a regular expression is none.
pub async fn run(peer: &Peer, steps: &[Step], timeout: Duration, lookup: &Lookup) -> Result<Outcome, regex::Error> {
    let compiled = steps.iter().map(|s| s.expect.as_deref().map(Regex::new).transpose());
    let expected: Vec<Option<Regex>> = compiled.collect::<Result<_, _>>()?;
    let mut outcome = Outcome::default();
    let talk = talk(peer, steps, &expected, timeout, lookup, &mut outcome);
    let ended = tokio::time::timeout(timeout, talk).await;
    outcome.success = matches!(ended, Ok(Some(())));
    Ok(outcome)
}

async fn talk(
    peer: &Peer,
    steps: &[Step],
    expected: &[Option<Regex>],
    timeout: Duration,
    lookup: &Lookup,
    outcome: &mut Outcome,
) -> Option<()> {
    let ip = match peer.host.parse() {
        Ok(ip) => ip,
        Err(_) => *lookup.addresses(&peer.host, peer.family, timeout).await.ok()?.first()?,
    };
    let stream = TcpStream::connect(SocketAddr::new(ip, peer.port)).await.ok()?;
    let mut stream: BufStream<Box<dyn Both>> = BufStream::new(Box::new(stream));
    if let Some(config) = &peer.tls {
        stream = encrypt(stream, config, &peer.name, outcome).await?;
    }
    for (step, expect) in steps.iter().zip(expected) {
        let mut send = step.bytes(None);
        if let Some(regex) = expect {
            outcome.by_regex = true;
            loop {
                let mut line = String::new();
                if stream.read_line(&mut line).await.ok()? == 0 {
                    return None;
                }
                if let Some(captures) = regex.captures(line.trim_end()) {
                    send = step.bytes(Some(&captures));
                    outcome.by_regex = false;
                    break;
                }
            }
        }
        if let Some(expected) = step.expected_bytes() {
            outcome.by_regex = true;
            let mut heard = vec![0; expected.len()];
            stream.read_exact(&mut heard).await.ok()?;
            if heard != expected {
                return None;
            }
            outcome.by_regex = false;
        }
        if let Some(bytes) = send {
            stream.write_all(&bytes).await.ok()?;
            stream.flush().await.ok()?;
        }
        if step.starttls {
            stream = encrypt(stream, &peer.starttls, &peer.name, outcome).await?;
        }
    }
    Some(())
}

async fn encrypt(
    stream: BufStream<Box<dyn Both>>,
    config: &Arc<ClientConfig>,
    name: &str,
    outcome: &mut Outcome,
) -> Option<BufStream<Box<dyn Both>>> {
    let name = ServerName::try_from(name.to_owned()).ok()?;
    let tls = TlsConnector::from(Arc::clone(config)).connect(name, stream.into_inner()).await.ok()?;
    outcome.certificates = tls.get_ref().1.peer_certificates().unwrap_or_default().to_vec();
    Some(BufStream::new(Box::new(tls)))
}
