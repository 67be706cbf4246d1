//! How the client speaks TLS: one configuration, built once, shared by every probe of a check.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::noted;

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
    let verifier: Arc<dyn ServerCertVerifier> = match options.insecure {
        true => Arc::new(Unverified { provider: Arc::clone(&provider), distrust: false }),
        false => {
            let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots(options)?), Arc::clone(&provider));
            Arc::new(Trusting { chains: verifier.build().map_err(io::Error::other)?, named: named(options)? })
        }
    };
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(noted::Verifier(verifier)));
    let key = match &options.certificate {
        None => None,
        Some((chain, key)) => {
            let read = |e: rustls_pki_types::pem::Error, path: &PathBuf| io::Error::other(format!("{}: {e}", path.display()));
            let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(chain).and_then(Iterator::collect);
            let found = found.map_err(|e| read(e, chain))?;
            let secret = PrivateKeyDer::from_pem_file(key).map_err(|e| read(e, key))?;
            let pair = CertifiedKey::from_der(found, secret, &provider);
            Some(Arc::new(pair.map_err(|e| io::Error::other(format!("{} and {}: {e}", chain.display(), key.display())))?))
        }
    };
    let mut config = builder.with_client_cert_resolver(Arc::new(noted::Resolver(key)));
    config.alpn_protocols = options.alpn.iter().map(|p| p.clone().into_bytes()).collect();
    config.resumption = if options.resume { Resumption::in_memory_sessions(8) } else { Resumption::disabled() };
    if options.key_log {
        config.key_log = Arc::new(rustls::KeyLogFile::new());
    }
    Ok(config)
}

/// Makes a client that trusts no certificate, and says so with an alert.
pub fn distrust(config: &mut ClientConfig) {
    let provider = Arc::clone(config.crypto_provider());
    config.dangerous().set_certificate_verifier(Arc::new(Unverified { provider, distrust: true }));
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

/// Certificates that the user named as roots.
fn named(options: &TlsOptions) -> io::Result<Vec<CertificateDer<'static>>> {
    if let Some(text) = &options.roots {
        return CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<_, _>>().map_err(io::Error::other);
    }
    let Some(path) = &options.ca else { return Ok(Vec::new()) };
    let unreadable = |e| io::Error::other(format!("{}: {e}", path.display()));
    CertificateDer::pem_file_iter(path).and_then(Iterator::collect).map_err(unreadable)
}

/// Verifies chains, and trusts a certificate that the user named itself: one that is self-signed is often a root and a server's at once,
/// which the library would not have (curl, OpenSSL and Go take it).
#[derive(Debug)]
struct Trusting {
    chains: Arc<WebPkiServerVerifier>,
    named: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        staple: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self.chains.verify_server_cert(leaf, others, name, staple, now);
        if verified.is_ok() || !self.named.contains(leaf) {
            return verified;
        }
        let Some(validity) = X509Certificate::from_der(leaf).ok().map(|(_, c)| c.validity().clone()) else { return verified };
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        if now > validity.not_after.timestamp() {
            return Err(CertificateError::Expired.into());
        }
        if now < validity.not_before.timestamp() {
            return Err(CertificateError::NotValidYet.into());
        }
        verify_server_name(&ParsedCertificate::try_from(leaf)?, name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chains.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chains.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}

/// Accepts any certificate, as `curl -k` does, or none.
#[derive(Debug)]
struct Unverified {
    provider: Arc<CryptoProvider>,
    distrust: bool,
}

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.distrust {
            return Err(CertificateError::UnknownIssuer.into());
        }
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
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
