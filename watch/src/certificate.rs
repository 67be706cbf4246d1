//! When certificates end.

use alerting::Culprit;
use alerting::clock::UnixSeconds;
use alerting::states::Blame;
use rustls_pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

const DAY: i64 = 86_400;

/// When the first certificate of a chain ends.
pub fn chain_end(chain: &[CertificateDer<'_>]) -> Option<UnixSeconds> {
    let ends =
        chain.iter().filter_map(|der| X509Certificate::from_der(der).ok().map(|(_, c)| c.validity().not_after.timestamp()));
    ends.min().map(UnixSeconds::from_secs)
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
pub fn ends_soon(end: UnixSeconds, now: UnixSeconds, days: u32) -> Option<Blame> {
    let left = end.secs().saturating_sub(now.secs());
    (left < i64::from(days) * DAY).then(|| Blame {
        culprit: Culprit::Certificate,
        phase: "certificate".into(),
        ms: 0.0,
        sentence: format!("The first certificate of the edge's chain ends in {} days ({}).", left / DAY, end),
    })
}
