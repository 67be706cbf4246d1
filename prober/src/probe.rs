//! One handshake, record by record.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use serde::{Deserialize, Serialize};

use crate::stamps::{self, SentStamp};

/// What to do.
#[derive(Clone, Debug)]
pub struct Request {
    /// Name of the server: looked up, asked for (SNI) and verified.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Use IPv6 addresses.
    pub ipv6: bool,
    /// Root certificates, PEM.
    pub ca: PathBuf,
    /// Verify the server's certificate.
    pub verify: bool,
    /// Offer TLS 1.2 only.
    pub tls12_only: bool,
    /// Give up after so long.
    pub timeout: Duration,
    /// Lab fault: sleep so long before ClientHello.
    pub pause_before_hello: Duration,
    /// Lab fault: sleep so long between reading the server's flight and answering it.
    pub pause_before_finished: Duration,
}

/// What happened, with every timing up to the end; times are nanoseconds since the epoch, what did not happen is
/// absent.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// Whether the handshake completed and the server answered.
    pub success: bool,
    /// Why not: the stage and the system's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Our end of the connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local: Option<SocketAddr>,
    /// Lookup begun.
    pub dns_start: Option<i64>,
    /// Lookup done.
    pub dns_end: Option<i64>,
    /// connect(2) returned.
    pub connected: Option<i64>,
    /// ClientHello handed to the kernel.
    pub client_hello: Option<i64>,
    /// The last bytes before our Finished reached our kernel.
    pub flight_at_kernel: Option<i64>,
    /// … and were read by the program.
    pub flight_read: Option<i64>,
    /// Finished handed to the kernel.
    pub client_finished: Option<i64>,
    /// First byte of the answer.
    pub first_response: Option<i64>,
    /// What the kernel stamped on what we sent.
    pub sent: Vec<SentStamp>,
    /// Whether kernel timestamps were to be had.
    pub kernel_timestamps: bool,
    /// How long injected pauses took, as measured, in milliseconds.
    pub paused_ms: f64,
}

/// Does one handshake and one request.
pub fn probe(request: &Request) -> Report {
    let mut report = Report::default();
    let result = run(request, &mut report);
    report.success = result.is_ok();
    report.reason = result.err().map(|(stage, error)| format!("{stage}: {error}"));
    report
}

type Staged<T> = Result<T, (&'static str, io::Error)>;

fn at<T>(stage: &'static str, result: io::Result<T>) -> Staged<T> {
    result.map_err(|e| (stage, e))
}

fn run(request: &Request, report: &mut Report) -> Staged<()> {
    let deadline = Instant::now() + request.timeout;
    let config = at("roots", tls_config(request))?;
    let name = at("name", ServerName::try_from(request.host.clone()).map_err(io::Error::other))?;

    report.dns_start = Some(now());
    let mut addresses = at("dns", (request.host.as_str(), request.port).to_socket_addrs())?;
    let address =
        at("dns", addresses.find(|a| a.is_ipv6() == request.ipv6).ok_or_else(|| io::Error::other("no address of the family")))?;
    report.dns_end = Some(now());

    let stream = at("connect", TcpStream::connect_timeout(&address, left(deadline)))?;
    report.connected = Some(now());
    report.local = stream.local_addr().ok();
    report.kernel_timestamps = stamps::enable(&stream);
    at("connect", stream.set_nodelay(true))?;

    let mut connection = at("tls", ClientConnection::new(Arc::new(config), name).map_err(io::Error::other))?;
    pause(request.pause_before_hello, report);
    let handshake = handshake(&mut connection, &stream, request, deadline, report);
    report.sent = stamps::sent(&stream);
    at("tls", handshake)?;
    at("request", answer(&mut connection, &stream, &request.host, deadline, report))?;
    report.sent.extend(stamps::sent(&stream));
    Ok(())
}

fn handshake(
    connection: &mut ClientConnection,
    mut stream: &TcpStream,
    request: &Request,
    deadline: Instant,
    report: &mut Report,
) -> io::Result<()> {
    let mut buffer = vec![0; 32 * 1024];
    while connection.is_handshaking() {
        while connection.wants_write() {
            connection.write_tls(&mut stream)?;
            report.client_hello.get_or_insert_with(now);
        }
        let (bytes, kernel) = read(stream, &mut buffer, deadline)?;
        report.flight_at_kernel = kernel;
        report.flight_read = Some(now());
        feed(connection, &buffer[..bytes], || pause(request.pause_before_finished, report))?;
    }
    while connection.wants_write() {
        connection.write_tls(&mut stream)?;
    }
    report.client_finished = Some(now());
    Ok(())
}

/// Gives received bytes to rustls; `before_answer` runs once the flight is in, before it is answered.
fn feed(connection: &mut ClientConnection, mut bytes: &[u8], mut before_answer: impl FnMut()) -> io::Result<()> {
    // rustls answers while it reads, but what it wants to send waits in its buffer: pausing before the write is
    // the same to everyone outside.
    let waiting = connection.wants_write();
    while !bytes.is_empty() {
        connection.read_tls(&mut bytes)?;
        connection.process_new_packets().map_err(io::Error::other)?;
    }
    // In TLS 1.2 the handshake still waits for the server's Finished; in 1.3 a HelloRetryRequest is no flight.
    let tls12 = connection.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_2);
    if !waiting && connection.wants_write() && (tls12 || !connection.is_handshaking()) {
        before_answer();
    }
    Ok(())
}

fn answer(
    connection: &mut ClientConnection,
    mut stream: &TcpStream,
    host: &str,
    deadline: Instant,
    report: &mut Report,
) -> io::Result<()> {
    use std::io::{Read, Write};
    write!(connection.writer(), "GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n")?;
    let mut buffer = vec![0; 32 * 1024];
    loop {
        while connection.wants_write() {
            connection.write_tls(&mut stream)?;
        }
        let (bytes, _) = read(stream, &mut buffer, deadline)?;
        let mut received = &buffer[..bytes];
        while !received.is_empty() {
            connection.read_tls(&mut received)?;
            connection.process_new_packets().map_err(io::Error::other)?;
        }
        if connection.reader().read(&mut [0; 1024]).is_ok_and(|n| n > 0) {
            report.first_response = Some(now());
            connection.send_close_notify();
            return connection.write_tls(&mut stream).map(drop);
        }
    }
}

fn read(stream: &TcpStream, buffer: &mut [u8], deadline: Instant) -> io::Result<(usize, Option<i64>)> {
    loop {
        stream.set_read_timeout(Some(left(deadline)))?;
        match stamps::read(stream, buffer) {
            Ok((0, _)) => return Err(io::ErrorKind::UnexpectedEof.into()),
            // A process that was stopped and continued finds its read interrupted (signal(7)).
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
}

fn pause(span: Duration, report: &mut Report) {
    if !span.is_zero() {
        let begun = Instant::now();
        std::thread::sleep(span);
        report.paused_ms += begun.elapsed().as_secs_f64() * 1e3;
    }
}

fn tls_config(request: &Request) -> io::Result<ClientConfig> {
    let versions: &[&rustls::SupportedProtocolVersion] =
        if request.tls12_only { &[&rustls::version::TLS12] } else { rustls::ALL_VERSIONS };
    let builder = ClientConfig::builder_with_protocol_versions(versions);
    if !request.verify {
        return Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified)).with_no_client_auth());
    }
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(&request.ca).map_err(io::Error::other)? {
        // A bundle may hold roots that webpki cannot read; the others still count.
        let _ = roots.add(certificate.map_err(io::Error::other)?);
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// `verify = false`: accepts any certificate, as `curl -k` does.
#[derive(Debug)]
struct Unverified;

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as i64)
}
