//! Why a probe failed: a bounded set, fit for labels.

use std::fmt;
use std::io;

use analysis::clock::Span;
use analysis::judging::verdict::Ended;
use analysis::judging::vocabulary::Owner;
use rustls::{AlertDescription, CertificateError, Error as TlsError};
use serde::{Deserialize, Serialize};

/// Why a probe failed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The resolver says that there is no such name, or no address of the family asked for.
    DnsNoAddress,
    /// No resolver answered in time.
    DnsTimeout,
    /// The resolver failed.
    DnsFailed,
    /// The edge refused the connection.
    ConnectRefused,
    /// Nobody answered SYN in time.
    ConnectTimeout,
    /// There is no way to the address.
    ConnectUnreachable,
    /// The connection failed otherwise.
    ConnectFailed,
    /// The handshake did not end in time.
    TlsTimeout,
    /// The edge closed the connection during the handshake.
    TlsClosed,
    /// The connection was reset during the handshake.
    TlsReset,
    /// The edge ended the handshake by an alert.
    TlsAlert,
    /// The edge said something that is no TLS, or not allowed.
    TlsProtocol,
    /// Client and edge have no version or suite in common.
    TlsIncompatible,
    /// The certificate is out of date, or not valid yet.
    CertificateExpired,
    /// No root vouches for the certificate.
    CertificateUnknownIssuer,
    /// The certificate is for another name.
    CertificateWrongName,
    /// The certificate is wrong otherwise.
    CertificateInvalid,
    /// The request was not answered in time.
    RequestTimeout,
    /// The connection broke before the answer was complete.
    RequestClosed,
    /// The answer is no HTTP.
    HttpMalformed,
    /// The answer's status is not one that was asked for.
    HttpStatus,
    /// The proxy does not pass us on.
    ProxyFailed,
    /// The edge demands a certificate of the client's, and none was shown that it accepts.
    ClientCertificateDemanded,
    /// The prober itself could not do it: no file descriptor, no memory, no permission.
    Prober,
}

impl Reason {
    /// Its name in files and labels.
    pub fn name(self) -> &'static str {
        match self {
            Reason::DnsNoAddress => "dns_no_address",
            Reason::DnsTimeout => "dns_timeout",
            Reason::DnsFailed => "dns_failed",
            Reason::ConnectRefused => "connect_refused",
            Reason::ConnectTimeout => "connect_timeout",
            Reason::ConnectUnreachable => "connect_unreachable",
            Reason::ConnectFailed => "connect_failed",
            Reason::TlsTimeout => "tls_timeout",
            Reason::TlsClosed => "tls_closed",
            Reason::TlsReset => "tls_reset",
            Reason::TlsAlert => "tls_alert",
            Reason::TlsProtocol => "tls_protocol",
            Reason::TlsIncompatible => "tls_incompatible",
            Reason::CertificateExpired => "certificate_expired",
            Reason::CertificateUnknownIssuer => "certificate_unknown_issuer",
            Reason::CertificateWrongName => "certificate_wrong_name",
            Reason::CertificateInvalid => "certificate_invalid",
            Reason::RequestTimeout => "request_timeout",
            Reason::RequestClosed => "request_closed",
            Reason::HttpMalformed => "http_malformed",
            Reason::HttpStatus => "http_status",
            Reason::ProxyFailed => "proxy_failed",
            Reason::ClientCertificateDemanded => "client_certificate_demanded",
            Reason::Prober => "prober",
        }
    }

    /// Words for people.
    pub fn words(self) -> &'static str {
        match self {
            Reason::DnsNoAddress => "no such name, or no address",
            Reason::DnsTimeout => "no resolver answered in time",
            Reason::DnsFailed => "the name lookup failed",
            Reason::ConnectRefused => "connection refused",
            Reason::ConnectTimeout => "no answer to SYN in time",
            Reason::ConnectUnreachable => "no way to the address",
            Reason::ConnectFailed => "the connection failed",
            Reason::TlsTimeout => "the handshake did not end in time",
            Reason::TlsClosed => "closed during the handshake",
            Reason::TlsReset => "reset during the handshake",
            Reason::TlsAlert => "TLS alert from the edge",
            Reason::TlsProtocol => "what the edge said is no TLS",
            Reason::TlsIncompatible => "no TLS version, cipher suite or application protocol in common",
            Reason::CertificateExpired => "certificate out of date",
            Reason::CertificateUnknownIssuer => "certificate of an unknown issuer",
            Reason::CertificateWrongName => "certificate for another name",
            Reason::CertificateInvalid => "certificate not valid",
            Reason::RequestTimeout => "no answer to the request in time",
            Reason::RequestClosed => "closed before the answer was complete",
            Reason::HttpMalformed => "the answer is no HTTP",
            Reason::HttpStatus => "another HTTP status than asked for",
            Reason::ProxyFailed => "the proxy did not let it through",
            Reason::ClientCertificateDemanded => "the edge demands a client certificate",
            Reason::Prober => "the prober itself could not do it",
        }
    }

    /// In words, with what whoever found it said: of `Connection refused (os error 111)` neither the words twice nor the number.
    pub fn said(self, detail: &str) -> String {
        let detail = without_number(detail);
        let words = self.words();
        let upper = words.chars().take(1).flat_map(char::to_uppercase).chain(words.chars().skip(1)).collect::<String>();
        let said_already = detail.to_lowercase().starts_with(&words.to_lowercase());
        if detail.is_empty() || said_already {
            if said_already { detail.to_owned() } else { upper }
        } else {
            format!("{upper}: {detail}")
        }
    }

    /// Whether nothing came in time: who held it up is a question of time, not of words.
    pub fn is_timeout(self) -> bool {
        matches!(self, Reason::DnsTimeout | Reason::ConnectTimeout | Reason::TlsTimeout | Reason::RequestTimeout)
    }

    /// Whether the edge, and nobody else, said or did what was wrong.
    pub fn is_edges_word(self) -> bool {
        !self.is_timeout()
            && !matches!(
                self,
                Reason::Prober
                    | Reason::DnsNoAddress
                    | Reason::DnsFailed
                    | Reason::ConnectUnreachable
                    | Reason::ProxyFailed
                    | Reason::TlsIncompatible
            )
    }

    /// Whether the edge ended the connection; else it was we who would not go on.
    pub fn edge_ended_it(self) -> bool {
        use Reason::{ClientCertificateDemanded, ConnectRefused, RequestClosed, TlsAlert, TlsClosed, TlsReset};
        matches!(self, ClientCertificateDemanded | ConnectRefused | TlsClosed | TlsReset | TlsAlert | RequestClosed)
    }
}

impl Reason {
    /// Whether it is of the request behind the handshake.
    pub fn is_of_request(self) -> bool {
        matches!(self, Reason::RequestTimeout | Reason::RequestClosed | Reason::HttpMalformed | Reason::HttpStatus)
    }

    /// Who ended the handshake, where that was said; absent where it is a question of time, or nobody's fault in particular.
    pub fn ended(self) -> Option<Ended> {
        let by = match self {
            Reason::DnsNoAddress => Owner::Resolver,
            // Our end hung up, because there is no TLS to go on with.
            Reason::TlsProtocol => Owner::Edge,
            _ if self.edge_ended_it() => Owner::Edge,
            _ if self.is_edges_word() => Owner::Client,
            _ => return None,
        };
        Some(Ended { by, alert: true, unproven: false, waited: Span::ZERO })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A failure with the system's own words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// Why.
    pub reason: Reason,
    /// In the words of whoever found it.
    pub detail: String,
    /// The edge's alert is of those that refuse a certificate of ours.
    pub(crate) certificate_refused: bool,
}

impl Failure {
    /// A failure.
    pub fn new(reason: Reason, detail: impl fmt::Display) -> Self {
        Self { reason, detail: detail.to_string(), certificate_refused: false }
    }

    /// Of connect(2).
    pub fn of_connect(error: &io::Error) -> Self {
        use io::ErrorKind::{ConnectionRefused, ConnectionReset, HostUnreachable, NetworkUnreachable, TimedOut};
        let reason = match error.kind() {
            ConnectionRefused | ConnectionReset => Reason::ConnectRefused,
            TimedOut => Reason::ConnectTimeout,
            HostUnreachable | NetworkUnreachable => Reason::ConnectUnreachable,
            _ if harness(error) => Reason::Prober,
            _ => Reason::ConnectFailed,
        };
        Self::new(reason, error)
    }

    /// Of reading or writing in the handshake (or, `after` it, in the request).
    pub fn of_io(error: &io::Error, after: bool) -> Self {
        let reason = match error.kind() {
            _ if after => Reason::RequestClosed,
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Reason::TlsReset,
            io::ErrorKind::UnexpectedEof => Reason::TlsClosed,
            _ if harness(error) => Reason::Prober,
            _ => Reason::TlsReset,
        };
        Self::new(reason, error)
    }

    /// Of TLS.
    pub fn of_tls(error: &TlsError) -> Self {
        let reason = match error {
            TlsError::InvalidCertificate(certificate) => match certificate {
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. } => Reason::CertificateExpired,
                CertificateError::UnknownIssuer => Reason::CertificateUnknownIssuer,
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    Reason::CertificateWrongName
                }
                _ => Reason::CertificateInvalid,
            },
            TlsError::NoCertificatesPresented => Reason::CertificateInvalid,
            // RFC 7301, section 3.2, and RFC 8446, section 6.2: nothing that both have.
            TlsError::AlertReceived(
                AlertDescription::ProtocolVersion
                | AlertDescription::InsufficientSecurity
                | AlertDescription::NoApplicationProtocol,
            )
            | TlsError::PeerIncompatible(_)
            | TlsError::NoApplicationProtocol => Reason::TlsIncompatible,
            TlsError::AlertReceived(AlertDescription::CertificateRequired) => Reason::ClientCertificateDemanded,
            TlsError::AlertReceived(_) => Reason::TlsAlert,
            TlsError::FailedToGetCurrentTime | TlsError::FailedToGetRandomBytes => Reason::Prober,
            _ => Reason::TlsProtocol,
        };
        use AlertDescription::{
            AccessDenied, BadCertificate, CertificateExpired, CertificateUnknown, UnknownCA, UnsupportedCertificate,
        };
        let refused = [AccessDenied, BadCertificate, CertificateExpired, CertificateUnknown, UnknownCA, UnsupportedCertificate];
        let certificate_refused = matches!(error, TlsError::AlertReceived(alert) if refused.contains(alert))
            || reason == Reason::ClientCertificateDemanded;
        Self { certificate_refused, ..Self::new(reason, error) }
    }
}

/// Whether the error is of this machine's own making: descriptors, memory, rights.
fn harness(error: &io::Error) -> bool {
    use nix::errno::Errno;
    let own = [Errno::EMFILE, Errno::ENFILE, Errno::ENOMEM, Errno::ENOBUFS, Errno::EACCES, Errno::EPERM, Errno::EADDRNOTAVAIL];
    error.raw_os_error().is_some_and(|code| own.contains(&Errno::from_raw(code)))
}

/// What the system calls an error, without the number that the standard library puts behind it.
fn without_number(detail: &str) -> &str {
    let number = |rest: &str| rest.strip_suffix(')').is_some_and(|number| number.parse::<u32>().is_ok());
    detail.rsplit_once(" (os error ").filter(|(_, rest)| number(rest)).map_or(detail, |(words, _)| words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_s_words_are_said_once_and_its_number_not_at_all() {
        assert_eq!(Reason::ConnectRefused.said("Connection refused (os error 111)"), "Connection refused");
        assert_eq!(Reason::RequestClosed.said("Broken pipe (os error 32)"), "Closed before the answer was complete: Broken pipe");
        assert_eq!(
            Reason::RequestClosed.said("it said (os error x)"),
            "Closed before the answer was complete: it said (os error x)"
        );
    }
}
