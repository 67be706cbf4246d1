//! What an edge tells behind the handshake, and why a handshake failed in more words than the library has: which certificate, which part of
//! TLS is not shared, what was demanded.

use std::net::IpAddr;
use std::time::Duration;

use rustls::{ClientConnection, ProtocolVersion};
use tokio::time::timeout_at;

use super::Probe;
use crate::offer;
use crate::reason::{Failure, Reason};
use crate::wire::Wire;

/// An edge that asked for a certificate has so long, beside two round trips, to say what it thinks of it: verifying takes it milliseconds.
const ADMISSION: Duration = Duration::from_millis(250);

impl Probe<'_> {
    /// Waits whether an edge that asked for a certificate of ours goes on: in TLS 1.3 the handshake is over for us before the edge has seen
    /// what we show (RFC 8446, section 4.4.2.4). Its next word says so, a ticket or an alert; silence is none.
    pub(super) async fn admitted(
        &mut self,
        wire: &mut Wire,
        tls: &mut ClientConnection,
        deadline: tokio::time::Instant,
    ) -> Result<(), Failure> {
        if !self.notes.certificate_wanted || tls.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
            return Ok(());
        }
        self.over = Some(self.clock.now());
        let round_trip = self.report.trace.connect.and_then(|c| c.round_trip).unwrap_or_default();
        let round_trip = Duration::from_nanos(u64::try_from(round_trip.nanos()).unwrap_or_default());
        let patience = deadline.min(tokio::time::Instant::now() + ADMISSION + round_trip * 2);
        let Ok(heard) = timeout_at(patience, wire.read()).await else { return Ok(()) };
        let (mut bytes, _) = heard.map_err(|e| Failure::of_io(&e, false))?;
        if bytes.is_empty() {
            return Err(Failure::new(Reason::TlsClosed, "the edge closed the connection"));
        }
        while !bytes.is_empty() {
            tls.read_tls(&mut bytes).map_err(|e| Failure::of_io(&e, false))?;
            tls.process_new_packets().map_err(|error| Failure::of_tls(&error))?;
        }
        Ok(())
    }

    /// A failure in words that say more than the library can: which certificate, which part of TLS is not shared, what was demanded.
    pub(super) async fn explained(&mut self, failure: Failure, deadline: tokio::time::Instant) -> Failure {
        use Reason::{TlsAlert, TlsClosed, TlsIncompatible, TlsReset};
        if let Some(refused) = &self.notes.refused {
            return refused.clone();
        }
        let ended = matches!(failure.reason, TlsAlert | TlsClosed | TlsReset | TlsIncompatible);
        if self.notes.certificate_wanted && (ended || failure.certificate_refused) {
            let shown = match self.notes.certificate_shown {
                true => "does not accept the one that was shown",
                false => "none was shown",
            };
            let what = format!("the edge demands a certificate of the client's: {shown} ({})", failure.detail);
            return Failure::new(Reason::ClientCertificateDemanded, what);
        }
        let unheard = self.notes.chain.is_empty() && self.report.client_hello.is_some() && self.report.version.is_none();
        let (Some(address), Some(tls), true) = (self.report.address, &self.target.tls, unheard && ended) else { return failure };
        if failure.reason == TlsReset || self.target.route.proxy.is_some() || self.target.pauses.once {
            return failure; // who resets does so whatever is offered
        }
        let provider = tls.crypto_provider();
        let schemes = provider.signature_verification_algorithms.supported_schemes();
        let spoken = offer::Spoken {
            suites: provider.cipher_suites.iter().map(|suite| suite.suite().into()).collect(),
            groups: provider.kx_groups.iter().map(|group| group.name().into()).collect(),
            signatures: schemes.into_iter().map(Into::into).collect(),
            newest: true,
        };
        let name = self.target.server_name.as_ref().unwrap_or(&self.target.host);
        let name = Some(name.as_str()).filter(|name| name.trim_matches(['[', ']']).parse::<IpAddr>().is_err());
        self.report.asked_again = true;
        let looked = timeout_at(deadline, offer::look(address, self.target.route.source, name, &spoken)).await;
        match looked {
            Ok(Ok(Some(words))) => {
                let what =
                    format!("this client cannot speak with this edge, whose fault that is not: {words} ({})", failure.detail);
                Failure::new(TlsIncompatible, what)
            }
            // It could not be asked, or does not say: what it did stands.
            Ok(Ok(None) | Err(_)) | Err(_) => failure,
        }
    }
}
