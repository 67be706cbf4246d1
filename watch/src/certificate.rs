//! When certificates end.

use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::states::Blame;

const DAY: i64 = 86_400;

/// When the first certificate of a chain ends, in seconds since the epoch.
pub fn chain_end(chain: &[CertificateDer<'_>]) -> Option<i64> {
    let ends =
        chain.iter().filter_map(|der| X509Certificate::from_der(der).ok().map(|(_, c)| c.validity().not_after.timestamp()));
    ends.min()
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
