//! Why a certificate chain was refused, in words that say which certificate it was. Pure.

use rustls::{CertificateError, Error};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::extensions::GeneralName;
use x509_parser::oid_registry::OID_PKIX_ACCESS_DESCRIPTOR_CA_ISSUERS;
use x509_parser::prelude::{FromDer, ParsedExtension, X509Certificate, X509Name};
use x509_parser::time::ASN1Time;

use crate::reason::{Failure, Reason};

const DAY: i64 = 86_400;
/// Names that are listed; the others are counted.
const MOST_NAMES: usize = 5;

/// What the verifier found, in words, and as which reason it counts; absent where the library's say it all.
pub(crate) fn words(error: &Error, chain: &[CertificateDer<'_>], name: &ServerName<'_>, now: UnixTime) -> Option<Failure> {
    let Error::InvalidCertificate(error) = error else { return None };
    let all: Vec<X509Certificate<'_>> = chain.iter().filter_map(|der| Some(X509Certificate::from_der(der).ok()?.1)).collect();
    let leaf = all.first()?;
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let (reason, words) = match error {
        CertificateError::UnknownIssuer => (Reason::CertificateUnknownIssuer, unknown_issuer(leaf, &all)),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            let ended = all.iter().filter(|c| c.validity().not_after.timestamp() < now);
            let first = ended.min_by_key(|c| c.validity().not_after.timestamp());
            let (whose, end) = match (first, error) {
                (Some(first), _) => (whose(first, leaf), first.validity().not_after),
                (None, CertificateError::ExpiredContext { not_after, .. }) => (ROOT.to_owned(), at(*not_after)?),
                (None, _) => return None,
            };
            let days = (now - end.timestamp()) / DAY;
            (Reason::CertificateExpired, format!("{whose} ended on {end}, {} ago", plural(days, "day")))
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            let early = all.iter().find(|c| c.validity().not_before.timestamp() > now);
            let (whose, begins) = match (early, error) {
                (Some(early), _) => (whose(early, leaf), early.validity().not_before),
                (None, CertificateError::NotValidYetContext { not_before, .. }) => (ROOT.to_owned(), at(*not_before)?),
                (None, _) => return None,
            };
            (Reason::CertificateExpired, format!("{whose} begins on {begins} only"))
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            let words = format!("the certificate is for {}, not for {}", names(leaf), name.to_str());
            (Reason::CertificateWrongName, words)
        }
        // The library says first that a root is no leaf.
        _ if leaf.subject() == leaf.issuer() => (Reason::CertificateUnknownIssuer, unknown_issuer(leaf, &all)),
        _ => return None,
    };
    Some(Failure::new(reason, words))
}

/// Whose time it is not where all that was sent is in time.
const ROOT: &str = "the root that vouches for the edge's certificate";

fn at(time: UnixTime) -> Option<ASN1Time> {
    ASN1Time::from_timestamp(i64::try_from(time.as_secs()).ok()?).ok()
}

fn plural(n: i64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

fn whose(certificate: &X509Certificate<'_>, leaf: &X509Certificate<'_>) -> String {
    match certificate.raw_serial() == leaf.raw_serial() && certificate.issuer() == leaf.issuer() {
        true => "the edge's certificate".to_owned(),
        false => format!("the certificate of {}, which the edge sent as its issuer's,", shown(certificate.subject())),
    }
}

fn shown(name: &X509Name<'_>) -> String {
    let common = name.iter_common_name().next().and_then(|attribute| attribute.as_str().ok());
    common.map_or_else(|| format!("\"{name}\""), |common| format!("\"{common}\""))
}

fn names(leaf: &X509Certificate<'_>) -> String {
    let found = leaf.subject_alternative_name().ok().flatten();
    let name = |n: &GeneralName<'_>| match n {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(octets) => match octets.len() {
            4 => <[u8; 4]>::try_from(*octets).ok().map(|octets| std::net::Ipv4Addr::from(octets).to_string()),
            _ => <[u8; 16]>::try_from(*octets).ok().map(|octets| std::net::Ipv6Addr::from(octets).to_string()),
        },
        _ => None,
    };
    let all: Vec<String> = found.iter().flat_map(|found| &found.value.general_names).filter_map(name).collect();
    match all.len() {
        0 => "no name".to_owned(),
        n if n > MOST_NAMES => format!("{} and {} more", all[..MOST_NAMES].join(", "), n - MOST_NAMES),
        _ => all.join(", "),
    }
}

/// Which certificate nobody vouches for: the leaf itself, a root that is not trusted here, or one whose issuer was not sent.
fn unknown_issuer(leaf: &X509Certificate<'_>, all: &[X509Certificate<'_>]) -> String {
    if leaf.subject() == leaf.issuer() {
        return format!("the certificate of {} is self-signed", shown(leaf.subject()));
    }
    let mut last = leaf;
    for _ in all {
        match all.iter().find(|c| c.subject() == last.issuer() && c.subject() != last.subject()) {
            Some(issuer) => last = issuer,
            None => break,
        }
    }
    let sent = plural(i64::try_from(all.len()).unwrap_or(i64::MAX), "certificate");
    let issuer = shown(last.issuer());
    if last.subject() == last.issuer() || all.iter().any(|c| c.subject() == last.issuer()) {
        return format!("the chain ends in the root {issuer}, which is not trusted here");
    }
    if names_its_issuer(last) {
        return format!("the chain is incomplete: the edge sent {sent} and not the one of the issuer {issuer}");
    }
    format!("the issuer {issuer} is not trusted here, and the edge sent no certificate of it ({sent} in all)")
}

/// Whether a certificate says where its issuer's is to be had: an intermediate's, as a root's is not handed out so.
fn names_its_issuer(certificate: &X509Certificate<'_>) -> bool {
    certificate.extensions().iter().any(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityInfoAccess(access) => {
            access.accessdescs.iter().any(|one| one.access_method == OID_PKIX_ACCESS_DESCRIPTOR_CA_ISSUERS)
        }
        _ => false,
    })
}
