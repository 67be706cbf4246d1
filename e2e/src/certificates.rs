//! A root of our own and a certificate for loopback. In: a folder. Out: `ca.pem`, `cert.pem`, `key.pem` in it, and the TLS ends made of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::crypto::{CryptoProvider, ring};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Paths of the files made.
#[derive(Clone, Debug)]
pub struct Certificates {
    /// The root.
    pub ca: PathBuf,
    /// The certificate of `localhost` and 127.0.0.1.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Makes them for loopback.
#[must_use]
pub fn make(folder: &Path) -> Certificates {
    make_for(folder, &["localhost", "127.0.0.1"])
}

/// Makes them for these names.
#[must_use]
pub fn make_for(folder: &Path, names: &[&str]) -> Certificates {
    let root_key = KeyPair::generate().expect("a key");
    let mut root = CertificateParams::new(Vec::<String>::new()).expect("no names");
    root.distinguished_name.push(DnType::CommonName, "test root");
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    root.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca = root.self_signed(&root_key).expect("a root");
    let issuer = Issuer::new(root, root_key);
    let mut leaf = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).expect("good names");
    leaf.distinguished_name.push(DnType::CommonName, "localhost");
    let key = KeyPair::generate().expect("a key");
    let cert = leaf.signed_by(&key, &issuer).expect("a certificate");
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        std::fs::write(&path, text).expect("a folder of our own");
        path
    };
    Certificates {
        ca: write("ca.pem", ca.pem()),
        cert: write("cert.pem", cert.pem()),
        key: write("key.pem", key.serialize_pem()),
    }
}

impl Certificates {
    /// For a server that shows the certificate.
    #[must_use]
    pub fn server(&self) -> Arc<ServerConfig> {
        let chain = CertificateDer::pem_file_iter(&self.cert).expect("our own file").map(|c| c.expect("PEM")).collect();
        let key = PrivateKeyDer::from_pem_file(&self.key).expect("our own file");
        let config =
            ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().expect("ring has both");
        Arc::new(config.with_no_client_auth().with_single_cert(chain, key).expect("they belong together"))
    }

    /// For a client that trusts the root alone.
    #[must_use]
    pub fn client(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&self.ca).expect("our own file")).expect("a root");
        trusting(roots)
    }
}

/// For a client that trusts these.
pub(crate) fn trusting(roots: RootCertStore) -> ClientConfig {
    let config = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().expect("ring has both");
    config.with_root_certificates(roots).with_no_client_auth()
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
