//! How the client speaks TLS: one configuration, built once, shared by every probe of a check.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

/// What a client offers and demands.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct TlsOptions {
    /// Root certificates, PEM; absent: the platform's store.
    pub ca: Option<PathBuf>,
    /// The same as text, instead of a file.
    pub roots: Option<Arc<str>>,
    /// Accept any certificate.
    pub insecure: bool,
    /// Offer this version only.
    pub only: Option<Only>,
    /// The client's own certificate chain and key, PEM.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// Protocols offered (ALPN), most wanted first.
    pub alpn: Vec<String>,
    /// Resume the session of the probe before, where the edge allows; else every handshake is a full one.
    pub resume: bool,
    /// Write secrets to the file that `SSLKEYLOGFILE` names (RFC 9850).
    pub key_log: bool,
}

/// A single version.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Only {
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// Builds the configuration.
///
/// # Errors
/// If a file cannot be read or holds nothing usable: it says which and why.
pub fn config(options: &TlsOptions) -> io::Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions: &[&rustls::SupportedProtocolVersion] = match options.only {
        Some(Only::Tls12) => &[&rustls::version::TLS12],
        Some(Only::Tls13) => &[&rustls::version::TLS13],
        None => rustls::ALL_VERSIONS,
    };
    let builder =
        ClientConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(versions).map_err(io::Error::other)?;
    let builder = match options.insecure {
        true => builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified(provider))),
        false => {
            let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots(options)?), provider);
            builder.with_webpki_verifier(verifier.build().map_err(io::Error::other)?)
        }
    };
    let mut config = match &options.certificate {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let read = |e: rustls_pki_types::pem::Error, path: &PathBuf| io::Error::other(format!("{}: {e}", path.display()));
            let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(chain).and_then(Iterator::collect);
            let found = found.map_err(|e| read(e, chain))?;
            let secret = PrivateKeyDer::from_pem_file(key).map_err(|e| read(e, key))?;
            builder.with_client_auth_cert(found, secret).map_err(io::Error::other)?
        }
    };
    config.alpn_protocols = options.alpn.iter().map(|p| p.clone().into_bytes()).collect();
    config.resumption = if options.resume { Resumption::in_memory_sessions(8) } else { Resumption::disabled() };
    if options.key_log {
        config.key_log = Arc::new(rustls::KeyLogFile::new());
    }
    Ok(config)
}

fn roots(options: &TlsOptions) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let place = match (&options.roots, &options.ca) {
        (Some(text), _) => {
            let place = "the root certificates that were handed over";
            for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
                let _ = roots.add(certificate.map_err(|e| io::Error::other(format!("{place}: {e}")))?);
            }
            place.to_owned()
        }
        (None, Some(path)) => {
            let unreadable = |e| io::Error::other(format!("{}: {e}", path.display()));
            for certificate in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
                // A bundle may hold roots that webpki cannot read; the others still count.
                let _ = roots.add(certificate.map_err(unreadable)?);
            }
            path.display().to_string()
        }
        (None, None) => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            "the platform's certificate store".to_owned()
        }
    };
    match roots.is_empty() {
        true => Err(io::Error::other(format!("{place}: no usable root certificate"))),
        false => Ok(roots),
    }
}

/// Accepts any certificate, as `curl -k` does.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

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
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
