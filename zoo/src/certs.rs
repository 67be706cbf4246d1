//! One certificate authority a run, and server chains of several sizes.
//!
//! Padding lies in an extension that nobody reads, so that size costs bytes on the way and little computing.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

use crate::error::{Failed, Why};
use crate::stacks::Chain;

/// Files of a chain.
#[derive(Clone, Debug)]
pub struct Pki {
    /// The root that clients trust, and servers for client certificates.
    pub ca: PathBuf,
    /// The server's chain.
    pub chain: PathBuf,
    /// The server's key.
    pub key: PathBuf,
    /// Chain and key in one file, for HAProxy.
    pub both: PathBuf,
    /// The client's certificate.
    pub client: PathBuf,
    /// The client's key.
    pub client_key: PathBuf,
}

/// Makes all chains in `folder`.
///
/// # Errors
/// If one cannot be made or written.
pub fn make(folder: &Path) -> Result<(), Failed> {
    std::fs::create_dir_all(folder).why("making the folder of certificates")?;
    let root_key = KeyPair::generate().why("root key")?;
    let mut params = authority("zoo root")?;
    params.key_usages.push(KeyUsagePurpose::DigitalSignature);
    let root = params.self_signed(&root_key).why("root certificate")?;
    write(&folder.join("ca.pem"), &root.pem())?;
    let issuer = Issuer::new(params, root_key);

    let key = KeyPair::generate().why("client key")?;
    let mut params = CertificateParams::new(vec!["client.lab.test".into()]).why("client certificate")?;
    params.distinguished_name.push(DnType::CommonName, "client.lab.test");
    let client = params.signed_by(&key, &issuer).why("client certificate")?;
    write(&folder.join("client.pem"), &client.pem())?;
    write(&folder.join("client.key"), &key.serialize_pem())?;
    // libpq uses no key that others may read.
    std::fs::set_permissions(folder.join("client.key"), Permissions::from_mode(0o600)).why("the client key's mode")?;

    for (chain, rsa, middle_bytes, leaf_bytes) in [
        (Chain::Ec, false, None, 0),
        (Chain::Rsa, true, Some(700), 300),
        (Chain::Mid, false, Some(3_200), 2_800),
        (Chain::Long, false, Some(11_500), 9_500),
    ] {
        let middle_key = KeyPair::generate().why("intermediate key")?;
        let mut middle_params = authority("zoo intermediate")?;
        pad(&mut middle_params, middle_bytes.unwrap_or(0));
        let middle = middle_params.signed_by(&middle_key, &issuer).why("intermediate certificate")?;
        let middle_issuer = Issuer::new(middle_params, middle_key);
        let key = if rsa { rsa_key()? } else { KeyPair::generate().why("server key")? };
        let mut params = CertificateParams::new(vec!["lab.test".into()]).why("server certificate")?;
        params.distinguished_name.push(DnType::CommonName, "lab.test");
        pad(&mut params, leaf_bytes);
        let text = if middle_bytes.is_some() {
            params.signed_by(&key, &middle_issuer).why("server certificate")?.pem() + &middle.pem()
        } else {
            params.signed_by(&key, &issuer).why("server certificate")?.pem()
        };
        let pki = pki(folder, chain);
        write(&pki.chain, &text)?;
        write(&pki.key, &key.serialize_pem())?;
        write(&pki.both, &(text + &key.serialize_pem()))?;
    }
    Ok(())
}

/// Where the files of a chain lie.
pub fn pki(folder: &Path, chain: Chain) -> Pki {
    let name = chain.word();
    Pki {
        ca: folder.join("ca.pem"),
        chain: folder.join(format!("{name}.pem")),
        key: folder.join(format!("{name}.key")),
        both: folder.join(format!("{name}.both.pem")),
        client: folder.join("client.pem"),
        client_key: folder.join("client.key"),
    }
}

fn authority(name: &str) -> Result<CertificateParams, Failed> {
    let mut params = CertificateParams::new(Vec::<String>::new()).why("a certificate's parameters")?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn pad(params: &mut CertificateParams, bytes: usize) {
    if bytes == 0 {
        return;
    }
    // An OCTET STRING of random bytes: what compresses would not cost what it says.
    let mut content = vec![4, 0x82, (bytes >> 8) as u8, bytes as u8];
    content.extend((0..bytes).map(|_| fastrand::u8(..)));
    params.custom_extensions.push(CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 32_473, 1], content));
}

fn rsa_key() -> Result<KeyPair, Failed> {
    let output = Command::new("openssl").args(["genpkey", "-algorithm", "RSA", "-quiet"]).output().why("starting openssl")?;
    let output = if output.status.success() {
        output
    } else {
        Command::new("openssl").args(["genpkey", "-algorithm", "RSA"]).output().why("starting openssl")?
    };
    KeyPair::from_pem(&String::from_utf8_lossy(&output.stdout)).why("an RSA key")
}

fn write(path: &Path, text: &str) -> Result<(), Failed> {
    std::fs::write(path, text).why(format!("writing {}", path.display()))
}
