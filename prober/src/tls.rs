//! How the client speaks TLS: one configuration, built once, shared by every probe of a check.

use std::io;
use std::iter;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, CipherSuite, ClientConfig, DigitallySignedStruct, ProtocolVersion, RootCertStore, SignatureScheme,
    SupportedProtocolVersion,
};
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

/// The versions that the library is to speak: one, or all that it knows.
pub fn versions(only: Option<Only>) -> &'static [&'static SupportedProtocolVersion] {
    static TLS12: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS12];
    static TLS13: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS13];
    match only {
        Some(Only::Tls12) => &TLS12,
        Some(Only::Tls13) => &TLS13,
        None => rustls::ALL_VERSIONS,
    }
}

/// What RFCs call a version: `TLS 1.3`; absent if the library does not know it.
pub fn version_name(version: ProtocolVersion) -> Option<String> {
    version.as_str().map(|name| name.replace('_', ".").replace("TLSv", "TLS "))
}

/// What IANA calls a cipher suite, those of TLS 1.3 too, which the library calls `TLS13_…`; absent if it does not know it.
pub fn suite_name(suite: CipherSuite) -> Option<String> {
    suite.as_str().map(|name| name.replacen("TLS13_", "TLS_", 1))
}

/// Builds the configuration.
///
/// # Errors
/// If a file cannot be read or holds nothing usable: it says which and why.
pub fn config(options: &TlsOptions) -> io::Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_protocol_versions(versions(options.only)).map_err(io::Error::other)?;
    let verifier: Arc<dyn ServerCertVerifier> = match options.insecure {
        true => Arc::new(Unverified { provider: Arc::clone(&provider), distrust: false }),
        false => {
            let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots(options)?), Arc::clone(&provider));
            let named = named(options)?.into_iter().map(Named::of).collect();
            Arc::new(Trusting { chains: verifier.build().map_err(io::Error::other)?, named, provider: Arc::clone(&provider) })
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

/// A certificate that the user named as a root, and its time in seconds since 1970; one that cannot be read has none.
#[derive(Debug)]
struct Named {
    der: CertificateDer<'static>,
    valid: Option<(i64, i64)>,
}

impl Named {
    fn of(der: CertificateDer<'static>) -> Self {
        let read = X509Certificate::from_der(&der).ok().map(|(_, c)| c.validity().clone());
        let valid = read.map(|validity| (validity.not_before.timestamp(), validity.not_after.timestamp()));
        Self { der, valid }
    }

    /// Why it cannot vouch for anybody now.
    fn untimely(&self, now: UnixTime) -> Option<CertificateError> {
        let (begins, ends) = self.valid?;
        let at = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let time = |seconds: i64| UnixTime::since_unix_epoch(Duration::from_secs(seconds.try_into().unwrap_or_default()));
        match () {
            () if at > ends => Some(CertificateError::ExpiredContext { time: now, not_after: time(ends) }),
            () if at < begins => Some(CertificateError::NotValidYetContext { time: now, not_before: time(begins) }),
            () => None,
        }
    }
}

/// Verifies chains. Beside what the library does, a root that the user named vouches for nobody before and after its time (curl, OpenSSL
/// and Go would not have it either), and a certificate that the user named is trusted itself: one that is self-signed is often a root and
/// a server's at once, which the library would not have (they take it).
#[derive(Debug)]
struct Trusting {
    chains: Arc<WebPkiServerVerifier>,
    named: Vec<Named>,
    provider: Arc<CryptoProvider>,
}

impl Trusting {
    /// Why none of the roots whose time it is vouches for a chain that `verify` accepts; absent if one does.
    fn untimely(&self, now: UnixTime, verify: impl Fn(&WebPkiServerVerifier) -> bool) -> Option<CertificateError> {
        let vouch = |roots: &mut dyn Iterator<Item = &Named>| {
            let mut store = RootCertStore::empty();
            store.add_parsable_certificates(roots.map(|root| root.der.clone()));
            let built = WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(&self.provider)).build();
            built.is_ok_and(|chains| verify(&chains))
        };
        let is_late = |root: &&Named| root.untimely(now).is_some();
        let late = self.named.iter().filter(is_late).find(|root| vouch(&mut iter::once(*root)))?;
        if vouch(&mut self.named.iter().filter(|root| !is_late(root))) { None } else { late.untimely(now) }
    }
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
        let verify = |chains: &WebPkiServerVerifier| chains.verify_server_cert(leaf, others, name, staple, now);
        let verified = verify(&self.chains);
        if verified.is_ok() {
            return self.untimely(now, |chains| verify(chains).is_ok()).map_or(verified, |error| Err(error.into()));
        }
        let Some(named) = self.named.iter().find(|named| named.der == *leaf && named.valid.is_some()) else { return verified };
        if let Some(error) = named.untimely(now) {
            return Err(error.into());
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
