//! When certificates end.

use rustls_pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::states::Blame;

const DAY: i64 = 86_400;

/// When the first certificate of a chain ends, in seconds since the epoch.
pub fn chain_end(chain: &[CertificateDer<'_>]) -> Option<i64> {
    let ends =
        chain.iter().filter_map(|der| X509Certificate::from_der(der).ok().map(|(_, c)| c.validity().not_after.timestamp()));
    ends.min()
}

/// What a certificate says of itself: SHA-256 of it, issuer, subject, names; as label and value.
pub fn described(der: &CertificateDer<'_>) -> Option<[(&'static str, String); 4]> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let digest = ring::digest::digest(&ring::digest::SHA256, der);
    let names = certificate.subject_alternative_name().ok().flatten().map(|found| {
        let name = |n: &GeneralName<'_>| match n {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        };
        found.value.general_names.iter().filter_map(name).collect::<Vec<_>>().join(",")
    });
    Some([
        ("fingerprint_sha256", digest.as_ref().iter().map(|b| format!("{b:02x}")).collect()),
        ("issuer", certificate.issuer().to_string()),
        ("subject", certificate.subject().to_string()),
        ("subjectalternative", names.unwrap_or_default()),
    ])
}

/// Whether that is soon.
pub fn ends_soon(end: i64, now: i64, days: u32) -> Option<Blame> {
    let left = end - now;
    (left < i64::from(days) * DAY).then(|| Blame {
        culprit: "certificate".into(),
        phase: "certificate".into(),
        ms: 0.0,
        sentence: format!("The first certificate of the edge's chain ends in {} days ({}).", left / DAY, crate::event::time(end)),
    })
}
