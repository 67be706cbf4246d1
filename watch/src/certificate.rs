//! When certificates end, and what they say of themselves.

use alerting::clock::UnixSeconds;
use alerting::states::Blame;
use alerting::{Culprit, Family};
use rustls_pki_types::CertificateDer;
use settings::words::plural;
use x509_parser::asn1_rs::{Tag, ToDer};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{AttributeTypeAndValue, FromDer, X509Certificate, X509Name};

const DAY: i64 = 86_400;
const HOUR: i64 = 3_600;

/// When the first certificate of a chain ends.
pub fn chain_end(chain: &[CertificateDer<'_>]) -> Option<UnixSeconds> {
    let ends =
        chain.iter().filter_map(|der| X509Certificate::from_der(der).ok().map(|(_, c)| c.validity().not_after.timestamp()));
    ends.min().map(UnixSeconds::from_secs)
}

/// When the first certificate ends on the way from the leaf to the issuer that vouches for all, as far as the edge sent it: what else
/// is in the chain (an old cross-signed root) does not count.
pub fn path_end(chain: &[CertificateDer<'_>]) -> Option<UnixSeconds> {
    let all: Vec<X509Certificate<'_>> = chain.iter().filter_map(|der| Some(X509Certificate::from_der(der).ok()?.1)).collect();
    let (mut at, mut end) = (all.first()?, i64::MAX);
    for _ in &all {
        end = end.min(at.validity().not_after.timestamp());
        match all.iter().find(|c| c.subject() == at.issuer() && c.subject() != at.subject()) {
            Some(issuer) => at = issuer,
            None => break,
        }
    }
    Some(UnixSeconds::from_secs(end))
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
        ("issuer", distinguished(certificate.issuer())),
        ("subject", distinguished(certificate.subject())),
        ("subjectalternative", names.unwrap_or_default()),
    ])
}

/// The usual attributes in the order in which Go writes them (its `pkix.Name`), which is not the certificate's.
const USUAL: [(&str, &str); 9] = [
    ("2.5.4.5", "SERIALNUMBER"),
    ("2.5.4.3", "CN"),
    ("2.5.4.11", "OU"),
    ("2.5.4.10", "O"),
    ("2.5.4.17", "POSTALCODE"),
    ("2.5.4.9", "STREET"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.6", "C"),
];

/// A name by RFC 2253 with the usual attributes first, several of one kind joined by `+`; then the others, the last first.
fn distinguished(name: &X509Name<'_>) -> String {
    let attributes: Vec<&AttributeTypeAndValue<'_>> = name.iter_attributes().collect();
    let mut pieces: Vec<String> = Vec::new();
    for (oid, label) in USUAL {
        let mut values = attributes.iter().filter(|a| a.attr_type().to_id_string() == oid).map(|a| escaped(&text(a)));
        // Of these Go keeps the last.
        let single = matches!(label, "CN" | "SERIALNUMBER");
        let values: Vec<String> = if single { values.next_back().into_iter().collect() } else { values.collect() };
        if !values.is_empty() {
            pieces.push(values.iter().map(|value| format!("{label}={value}")).collect::<Vec<_>>().join("+"));
        }
    }
    let other = |a: &&&AttributeTypeAndValue<'_>| !USUAL.iter().any(|(oid, _)| a.attr_type().to_id_string() == *oid);
    for attribute in attributes.iter().filter(other).rev() {
        pieces.push(format!("{}=#{}", attribute.attr_type().to_id_string(), encoded(&text(attribute))));
    }
    pieces.join(",")
}

fn text(attribute: &AttributeTypeAndValue<'_>) -> String {
    attribute.as_str().map_or_else(|_| String::from_utf8_lossy(attribute.attr_value().data).into_owned(), str::to_owned)
}

fn escaped(value: &str) -> String {
    let last = value.chars().count().saturating_sub(1);
    let one = |(at, c): (usize, char)| match c {
        ',' | '+' | '"' | '\\' | '<' | '>' | ';' => format!("\\{c}"),
        ' ' if at == 0 || at == last => "\\ ".to_owned(),
        '#' if at == 0 => "\\#".to_owned(),
        c => c.to_string(),
    };
    value.chars().enumerate().map(one).collect()
}

/// Text in DER, in hexadecimal digits: PrintableString if it can be one, else UTF8String.
fn encoded(value: &str) -> String {
    let printable = |b: u8| b.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&b);
    let tag = if value.bytes().all(printable) { Tag::PrintableString } else { Tag::Utf8String };
    let der = x509_parser::asn1_rs::Any::from_tag_and_data(tag, value.as_bytes()).to_der_vec().unwrap_or_default();
    der.iter().map(|b| format!("{b:02x}")).collect()
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
        pattern: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    #[test]
    fn a_subject_is_written_in_gos_order() {
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, "a.test");
        name.push(DnType::CountryName, "DE");
        name.push(DnType::OrganizationName, "Acme, Inc.");
        name.push(DnType::CustomDnType(vec![1, 2, 840, 113_549, 1, 9, 1]), "a@b.test");
        name.push(DnType::LocalityName, " Köln");
        let mut params = CertificateParams::new(vec!["a.test".to_owned(), "b.test".to_owned()]).expect("names");
        params.distinguished_name = name;
        let der = params.self_signed(&KeyPair::generate().expect("a key")).expect("a certificate");
        let described = described(der.der()).expect("it can be read");
        let subject = "CN=a.test,O=Acme\\, Inc.,L=\\ Köln,C=DE,1.2.840.113549.1.9.1=#0c086140622e74657374";
        assert_eq!(described[2].1, subject);
        assert_eq!(described[3].1, "a.test,b.test");
    }

    #[test]
    fn every_usual_attribute_has_gos_place() {
        let mut name = DistinguishedName::new();
        for (oid, value) in [
            (vec![2, 5, 4, 6], "US"),
            (vec![2, 5, 4, 8], "California"),
            (vec![2, 5, 4, 7], "Los Angeles"),
            (vec![2, 5, 4, 9], "Main St"),
            (vec![2, 5, 4, 17], "90001"),
            (vec![2, 5, 4, 10], "Org"),
            (vec![2, 5, 4, 11], "IT"),
            (vec![2, 5, 4, 3], "localhost"),
            (vec![2, 5, 4, 5], "7"),
        ] {
            name.push(DnType::from_oid(&oid), value);
        }
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("names");
        params.distinguished_name = name;
        let der = params.self_signed(&KeyPair::generate().expect("a key")).expect("a certificate");
        let described = described(der.der()).expect("it can be read");
        let subject = "SERIALNUMBER=7,CN=localhost,OU=IT,O=Org,POSTALCODE=90001,STREET=Main St,L=Los Angeles,ST=California,C=US";
        assert_eq!(described[2].1, subject);
    }

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
