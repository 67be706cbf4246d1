//! A certificate authority for the lab, and server certificates of an ordinary size, or of any.
//!
//! A chain has an intermediate and many names, so that the server's flight spans several segments as real
//! ones do; clients get the full system bundle plus the lab's root, so that verification is real work.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

use crate::Error;

/// Where Debian and Ubuntu keep the bundle of root certificates.
const SYSTEM_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Names in an ordinary certificate, beside those that count.
const PADDING: usize = 90;
/// Bytes that one name more takes.
const NAME_BYTES: usize = "alternative-name-000.lab.test".len() + 2;

/// The client's chain, in the folder of the roots.
pub const CLIENT_CHAIN: &str = "client-chain.pem";
/// Its key, in the same.
pub const CLIENT_KEY: &str = "client-key.pem";

/// The lab's authority.
pub struct Authority {
    /// System roots plus the lab's root.
    pub bundle: PathBuf,
    /// The lab's root alone: for who verifies clients.
    pub root: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    intermediate: Certificate,
}

/// Paths of the files made.
#[derive(Clone, Debug)]
pub struct Certificates {
    /// The server's chain.
    pub chain: PathBuf,
    /// The server's private key.
    pub key: PathBuf,
}

impl Authority {
    /// Makes a root and an intermediate; the roots that clients trust are written to `folder`.
    ///
    /// # Errors
    /// If they cannot be made or written.
    pub fn make(folder: &Path) -> Result<Self, Error> {
        let (root, intermediate, issuer) = authorities().map_err(cannot)?;
        let system = std::fs::read_to_string(SYSTEM_BUNDLE).unwrap_or_default();
        let (bundle, alone) = (folder.join("bundle.pem"), folder.join("root.pem"));
        write(&bundle, system + &root)?;
        write(&alone, root)?;
        Ok(Self { bundle, root: alone, issuer, intermediate })
    }

    /// Makes a chain valid for `names`, of about so many `bytes`; its files in `folder` are `chain.pem` and `key.pem`, behind `called`.
    ///
    /// # Errors
    /// If a certificate cannot be made or written.
    pub fn chain(
        &self,
        folder: &Path,
        called: Option<&str>,
        names: &[String],
        bytes: Option<usize>,
    ) -> Result<Certificates, Error> {
        let padding = match bytes {
            None => PADDING,
            Some(bytes) => {
                let (bare, _) = self.leaf(names, 0).map_err(cannot)?;
                bytes.saturating_sub(bare.der().len() + self.intermediate.der().len()).div_ceil(NAME_BYTES)
            }
        };
        let (leaf, key) = self.leaf(names, padding).map_err(cannot)?;
        let file = |what: &str| folder.join(called.map_or_else(|| what.to_owned(), |called| format!("{called}-{what}")));
        let certificates = Certificates { chain: file("chain.pem"), key: file("key.pem") };
        write(&certificates.chain, leaf.pem() + &self.intermediate.pem())?;
        write(&certificates.key, key.serialize_pem())?;
        Ok(certificates)
    }

    /// Makes what clients show where they are asked: [`CLIENT_CHAIN`] and [`CLIENT_KEY`].
    ///
    /// # Errors
    /// If a certificate cannot be made or written.
    pub fn client(&self, folder: &Path) -> Result<(), Error> {
        let (leaf, key) = self.leaf(&["client.lab.test".to_owned()], 0).map_err(cannot)?;
        write(&folder.join(CLIENT_CHAIN), leaf.pem() + &self.intermediate.pem())?;
        write(&folder.join(CLIENT_KEY), key.serialize_pem())
    }

    fn leaf(&self, names: &[String], padding: usize) -> Result<(Certificate, KeyPair), rcgen::Error> {
        let padding = (0..padding).map(|i| format!("alternative-name-{i:03}.lab.test"));
        let mut params = CertificateParams::new(names.iter().cloned().chain(padding).collect::<Vec<_>>())?;
        params.distinguished_name.push(DnType::CommonName, names.first().map_or("lab.test", String::as_str));
        let key = KeyPair::generate()?;
        Ok((params.signed_by(&key, &self.issuer)?, key))
    }
}

fn cannot(error: rcgen::Error) -> Error {
    Error::helper("making the lab's certificates", error.to_string())
}

fn write(path: &Path, text: String) -> Result<(), Error> {
    std::fs::write(path, text).map_err(Error::system(format!("writing {}", path.display())))
}

fn authorities() -> Result<(String, Certificate, Issuer<'static, KeyPair>), rcgen::Error> {
    let root_key = KeyPair::generate()?;
    let root_params = authority("whostalled lab root")?;
    let root = root_params.self_signed(&root_key)?;
    let issuer = Issuer::new(root_params, root_key);

    let middle_key = KeyPair::generate()?;
    let middle_params = authority("whostalled lab intermediate")?;
    let middle = middle_params.signed_by(&middle_key, &issuer)?;
    Ok((root.pem(), middle, Issuer::new(middle_params, middle_key)))
}

fn authority(name: &str) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject;

    use super::*;

    #[test]
    fn a_chain_is_about_as_long_as_it_is_meant_to_be() {
        let folder = std::env::temp_dir().join(format!("whostalled-certs-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a temporary folder can be written to");
        let authority = Authority::make(&folder).expect("it is made");
        for bytes in [1_000, 4_000, 22_000] {
            let made = authority.chain(&folder, Some("x"), &["edge.lab.test".into()], Some(bytes)).expect("it is made");
            let chain = CertificateDer::pem_file_iter(&made.chain).expect("it is written").flatten();
            let length: usize = chain.map(|certificate| certificate.len()).sum();
            assert!(length.abs_diff(bytes) < 60, "{length} for {bytes}");
        }
        std::fs::remove_dir_all(&folder).expect("it was made");
    }
}
