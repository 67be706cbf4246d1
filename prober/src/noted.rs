//! What TLS learns on the way and does not hand over: the chain that was refused, the stapled OCSP answer, whether a client certificate was
//! asked for.
//!
//! The library calls our verifier and our resolver from within `process_new_packets`, on the thread that called it; they leave word in a
//! place of that thread, which the probe takes right behind the call. Nothing is awaited in between.

use std::cell::RefCell;
use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::chain;
use crate::reason::Failure;

/// What was learnt since it was last taken.
#[derive(Default, Debug)]
pub(crate) struct Notes {
    /// The chain that the edge sent, whether it was accepted or not.
    pub chain: Vec<CertificateDer<'static>>,
    /// The stapled OCSP answer (RFC 6066, section 8), as it came.
    pub staple: Option<Vec<u8>>,
    /// Why the chain was refused, in words.
    pub refused: Option<Failure>,
    /// The edge asked for a certificate of ours.
    pub certificate_wanted: bool,
    /// We had one to show.
    pub certificate_shown: bool,
}

thread_local! {
    static NOTES: RefCell<Notes> = RefCell::default();
}

/// Takes what was learnt on this thread.
pub(crate) fn take() -> Notes {
    NOTES.take()
}

impl Notes {
    /// Adds what was learnt later.
    pub fn add(&mut self, later: Notes) {
        let Notes { chain, staple, refused, certificate_wanted, certificate_shown } = later;
        if !chain.is_empty() {
            self.chain = chain;
        }
        self.staple = staple.or(self.staple.take());
        self.refused = refused.or(self.refused.take());
        self.certificate_wanted |= certificate_wanted;
        self.certificate_shown |= certificate_shown;
    }
}

/// Verifies as another does, and notes what passes.
#[derive(Debug)]
pub(crate) struct Verifier(pub Arc<dyn ServerCertVerifier>);

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        staple: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.0.verify_server_cert(leaf, others, name, staple, now);
        let all: Vec<CertificateDer<'static>> = [leaf].into_iter().chain(others).map(|c| c.clone().into_owned()).collect();
        let refused = verified.as_ref().err().and_then(|error| chain::words(error, &all, name, now));
        NOTES.with_borrow_mut(|notes| {
            notes.staple = (!staple.is_empty()).then(|| staple.to_vec());
            (notes.chain, notes.refused) = (all, refused);
        });
        verified
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        self.0.root_hint_subjects()
    }
}

/// Shows a certificate if there is one, and notes that it was asked for.
#[derive(Debug)]
pub(crate) struct Resolver(pub Option<Arc<CertifiedKey>>);

impl ResolvesClientCert for Resolver {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let shown = self.0.as_ref().filter(|key| key.key.choose_scheme(schemes).is_some());
        NOTES.with_borrow_mut(|notes| (notes.certificate_wanted, notes.certificate_shown) = (true, shown.is_some()));
        shown.cloned()
    }

    fn has_certs(&self) -> bool {
        self.0.is_some()
    }
}
