//! A certificate authority for the lab, and a server certificate of an ordinary size.
//!
//! The chain has an intermediate and many names, so that the server's flight spans several segments as real
//! ones do; clients get the full system bundle plus the lab's root, so that verification is real work.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

use crate::Error;

/// Where Debian and Ubuntu keep the bundle of root certificates.
const SYSTEM_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Paths of the files made.
#[derive(Clone, Debug)]
pub struct Certificates {
    /// System roots plus the lab's root.
    pub bundle: PathBuf,
    /// The server's chain.
    pub chain: PathBuf,
    /// The server's private key.
    pub key: PathBuf,
}

/// Makes a chain valid for `names` in `folder`.
///
/// # Errors
/// If a certificate cannot be made or written.
pub fn make(folder: &Path, names: &[String]) -> Result<Certificates, Error> {
    let (root, intermediate, leaf) = chain(names).map_err(|e| Error::helper("making the lab's certificates", e.to_string()))?;
    let certificates =
        Certificates { bundle: folder.join("bundle.pem"), chain: folder.join("chain.pem"), key: folder.join("key.pem") };
    let system = std::fs::read_to_string(SYSTEM_BUNDLE).unwrap_or_default();
    let write =
        |path: &Path, text: String| std::fs::write(path, text).map_err(Error::system(format!("writing {}", path.display())));
    write(&certificates.bundle, system + &root)?;
    write(&certificates.chain, leaf.0 + &intermediate)?;
    write(&certificates.key, leaf.1)?;
    Ok(certificates)
}

fn chain(names: &[String]) -> Result<(String, String, (String, String)), rcgen::Error> {
    let root_key = KeyPair::generate()?;
    let root_params = authority("whostalled lab root")?;
    let root = root_params.self_signed(&root_key)?;
    let issuer = Issuer::new(root_params, root_key);

    let middle_key = KeyPair::generate()?;
    let middle_params = authority("whostalled lab intermediate")?;
    let middle = middle_params.signed_by(&middle_key, &issuer)?;
    let issuer = Issuer::new(middle_params, middle_key);

    let padding = (0..90).map(|i| format!("alternative-name-{i:02}.lab.test"));
    let mut params = CertificateParams::new(names.iter().cloned().chain(padding).collect::<Vec<_>>())?;
    params.distinguished_name.push(DnType::CommonName, names.first().map_or("lab.test", String::as_str));
    let key = KeyPair::generate()?;
    let leaf = params.signed_by(&key, &issuer)?;
    Ok((root.pem(), middle.pem(), (leaf.pem(), key.serialize_pem())))
}

fn authority(name: &str) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}
