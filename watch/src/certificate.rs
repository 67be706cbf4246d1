//! When certificates end.

use alerting::clock::UnixSeconds;
use alerting::states::Blame;
use alerting::{Culprit, Family};
use rustls_pki_types::CertificateDer;
use settings::words::plural;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

const DAY: i64 = 86_400;
const HOUR: i64 = 3_600;

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

/// "ends in 12 days", "ended 3 days ago": what is left in whole days, and in hours within the last two.
pub fn time_left(end: UnixSeconds, now: UnixSeconds) -> String {
    let left = end.secs().saturating_sub(now.secs());
    let length = match left.abs() {
        hours if hours < 2 * DAY => plural((hours / HOUR).unsigned_abs(), "hour"),
        days => plural((days / DAY).unsigned_abs(), "day"),
    };
    if left < 0 { format!("ended {length} ago") } else { format!("ends in {length}") }
}

/// Whether that is soon.
pub fn ends_soon(end: UnixSeconds, now: UnixSeconds, days: u32) -> Option<Blame> {
    let left = end.secs().saturating_sub(now.secs());
    (left < i64::from(days) * DAY).then(|| Blame {
        culprit: Culprit::Certificate,
        family: Family::Certificate,
        phase: "certificate".into(),
        words: time_left(end, now),
        ms: 0.0,
        sentence: format!("The first certificate of the edge's chain to end {} ({end}).", time_left(end, now)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_said_in_days_and_at_last_in_hours() {
        let (now, of) = (UnixSeconds::from_secs(1_800_000_000), |left: i64| UnixSeconds::from_secs(1_800_000_000 + left));
        for (left, words) in [
            (58 * DAY + 7, "ends in 58 days"),
            (2 * DAY, "ends in 2 days"),
            (2 * DAY - 1, "ends in 47 hours"),
            (HOUR, "ends in 1 hour"),
            (-HOUR, "ended 1 hour ago"),
            (-3 * DAY, "ended 3 days ago"),
        ] {
            assert_eq!(time_left(of(left), now), words);
        }
        assert_eq!(ends_soon(of(8 * DAY), now, 7), None);
        assert!(ends_soon(of(6 * DAY), now, 7).is_some_and(|blame| blame.sentence.contains("ends in 6 days (")));
    }
}
