//! blackbox_exporter's `query_response`: lines expected and sent on a TCP connection, STARTTLS among them.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use regex::Captures;
use rustls::ClientConfig;
use rustls_pki_types::{CertificateDer, ServerName};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufStream};
use tokio::net::TcpSocket;
use tokio_rustls::TlsConnector;

use super::expression::{Expression, seen};
use super::modules::{list, nullable};
use super::octets::Octets;

/// A longer line is none, as in the exporter.
const MOST_LINE: u64 = 64 << 10;

/// One step.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Step {
    pub expect: Option<Expression>,
    /// So many bytes, and no line end behind them.
    #[serde(deserialize_with = "nullable")]
    pub expect_bytes: Octets,
    #[serde(deserialize_with = "nullable")]
    send: Octets,
    #[serde(deserialize_with = "nullable")]
    starttls: bool,
    /// Parts of what was expected, for a metric.
    #[serde(deserialize_with = "list")]
    labels: Vec<Label>,
}

/// A label and what it has of the match.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Label {
    name: String,
    value: String,
}

impl Step {
    /// What is sent: a line with what was `captured` in it, or, if it is binary, bytes as they are.
    pub fn bytes(&self, captured: Option<&Captures<'_>>) -> Option<Vec<u8>> {
        let Octets { bytes, binary } = &self.send;
        if bytes.is_empty() || *binary {
            return (!bytes.is_empty()).then(|| bytes.clone());
        }
        let mut line = match captured {
            Some(captured) => {
                let mut line = String::new();
                captured.expand(&seen(bytes), &mut line);
                line.into_bytes()
            }
            None => bytes.clone(),
        };
        line.push(b'\n');
        Some(line)
    }

    fn labels(&self, captured: &Captures<'_>) -> Vec<(String, String)> {
        let value = |label: &Label| {
            let mut value = String::new();
            captured.expand(&label.value, &mut value);
            (label.name.clone(), value)
        };
        self.labels.iter().map(value).collect()
    }
}

/// Whom to talk to.
pub(super) struct Peer {
    pub address: SocketAddr,
    /// Connect from there.
    pub source: Option<IpAddr>,
    /// The name to verify.
    pub name: String,
    /// Speak TLS from the start.
    pub tls: Option<Arc<ClientConfig>>,
    /// Speak it from STARTTLS on.
    pub starttls: Arc<ClientConfig>,
}

/// What came of it.
#[derive(Default)]
pub(super) struct Outcome {
    /// Whether every step succeeded.
    pub success: bool,
    /// Whether the peer ended, and nothing had matched.
    pub by_regex: bool,
    /// Whether the bytes were others.
    pub by_bytes: bool,
    /// What the latest expectation that has labels matched.
    pub labels: Vec<(String, String)>,
    /// The latest handshake.
    pub tls: Option<Tls>,
    /// Why it failed, in words.
    pub why: Option<String>,
}

/// A handshake.
pub(super) struct Tls {
    pub certificates: Vec<CertificateDer<'static>>,
    pub version: Option<&'static str>,
    pub cipher_suite: Option<&'static str>,
}

trait Both: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Both for T {}

type Stream = BufStream<Box<dyn Both>>;

/// Talks.
pub(super) async fn run(peer: &Peer, steps: &[Step], timeout: Duration) -> Outcome {
    let mut outcome = Outcome::default();
    let ended = tokio::time::timeout(timeout, talk(peer, steps, &mut outcome)).await;
    outcome.success = matches!(ended, Ok(Ok(())));
    outcome.why = match ended {
        Ok(Ok(())) => None,
        Ok(Err(why)) => Some(why),
        Err(_) => Some("the peer did not say in time what is expected".into()),
    };
    outcome
}

/// Absent words: it went well.
async fn talk(peer: &Peer, steps: &[Step], outcome: &mut Outcome) -> Result<(), String> {
    let words = |e: std::io::Error| e.to_string();
    let socket = if peer.address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.map_err(words)?;
    if let Some(source) = peer.source {
        socket.bind(SocketAddr::new(source, 0)).map_err(words)?;
    }
    let stream = socket.connect(peer.address).await.map_err(words)?;
    let mut stream: Stream = BufStream::new(Box::new(stream));
    if let Some(config) = &peer.tls {
        stream = encrypt(stream, config, &peer.name, outcome).await?;
    }
    for step in steps {
        let mut send = step.bytes(None);
        if let Some(expression) = &step.expect {
            send = expect(&mut stream, step, expression, outcome).await?;
        }
        let expected = &step.expect_bytes.bytes;
        if !expected.is_empty() {
            let mut heard = vec![0; expected.len()];
            stream.read_exact(&mut heard).await.map_err(words)?;
            outcome.by_bytes = heard != *expected;
            if outcome.by_bytes {
                return Err(format!(
                    "it said {:?} and not {:?}",
                    heard.escape_ascii().to_string(),
                    expected.escape_ascii().to_string()
                ));
            }
        }
        if let Some(bytes) = send {
            stream.write_all(&bytes).await.map_err(words)?;
            stream.flush().await.map_err(words)?;
        }
        if step.starttls {
            stream = encrypt(stream, &peer.starttls, &peer.name, outcome).await?;
        }
    }
    Ok(())
}

/// Reads lines until one matches; what is to be sent then.
async fn expect(
    stream: &mut Stream,
    step: &Step,
    expression: &Expression,
    outcome: &mut Outcome,
) -> Result<Option<Vec<u8>>, String> {
    loop {
        let mut line = Vec::new();
        let read = (&mut *stream).take(MOST_LINE).read_until(b'\n', &mut line).await.map_err(|e| e.to_string())?;
        if read == 0 {
            outcome.by_regex = true;
            return Err(format!("nothing matched {expression:?}"));
        }
        let ended = line.pop_if(|b| *b == b'\n').is_some();
        if !ended && read as u64 == MOST_LINE {
            return Err("a line is too long".into());
        }
        let _ = line.pop_if(|b| *b == b'\r');
        if let Some(captures) = expression.regex().captures(&seen(&line)) {
            if !step.labels.is_empty() {
                outcome.labels = step.labels(&captures);
            }
            return Ok(step.bytes(Some(&captures)));
        }
    }
}

async fn encrypt(stream: Stream, config: &Arc<ClientConfig>, name: &str, outcome: &mut Outcome) -> Result<Stream, String> {
    let name = ServerName::try_from(name.trim_matches(['[', ']']).to_owned()).map_err(|e| format!("{name:?}: {e}"))?;
    let connector = TlsConnector::from(Arc::clone(config));
    let tls = connector.connect(name, stream.into_inner()).await.map_err(|e| format!("TLS: {e}"))?;
    let state = tls.get_ref().1;
    outcome.tls = Some(Tls {
        certificates: state.peer_certificates().unwrap_or_default().to_vec(),
        version: match state.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => Some("TLS 1.2"),
            Some(rustls::ProtocolVersion::TLSv1_3) => Some("TLS 1.3"),
            _ => None,
        },
        cipher_suite: state.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()),
    });
    Ok(BufStream::new(Box::new(tls)))
}
