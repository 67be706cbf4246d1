//! What a probe found.

use std::net::{IpAddr, SocketAddr};

use analysis::clock::{Client, Instant};
use analysis::conversation::socket::SocketTrace;
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use crate::http::Response;
use crate::ocsp::Staple;
use crate::reason::Reason;
use crate::stamps::SentStamp;

/// What happened, with every timing up to the end; what did not happen is absent. Times are of this machine's wall clock, steady during
/// the probe, in nanoseconds since the Unix epoch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Whether all that was asked for succeeded.
    pub success: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Why not, in the words of whoever found it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The edge's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<SocketAddr>,
    /// All addresses of the name.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub addresses: Vec<IpAddr>,
    /// Addresses that failed before one answered, with the system's words.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub failed_addresses: Vec<String>,
    /// Our end of the connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local: Option<SocketAddr>,
    /// Lookup begun.
    pub dns_start: Option<Instant<Client>>,
    /// Lookup done.
    pub dns_end: Option<Instant<Client>>,
    /// connect(2) was called.
    pub connect_start: Option<Instant<Client>>,
    /// The program knew that it had succeeded.
    pub connected: Option<Instant<Client>>,
    /// ClientHello handed to the kernel.
    pub client_hello: Option<Instant<Client>>,
    /// The last bytes before our Finished reached our kernel.
    pub flight_at_kernel: Option<Instant<Client>>,
    /// … and were read by the program.
    pub flight_read: Option<Instant<Client>>,
    /// Finished handed to the kernel.
    pub client_finished: Option<Instant<Client>>,
    /// The request handed to the kernel.
    pub first_request: Option<Instant<Client>>,
    /// First bytes of the answer read.
    pub first_response: Option<Instant<Client>>,
    /// The answer's last byte read.
    pub response_end: Option<Instant<Client>>,
    /// The end of it all.
    pub ended: Instant<Client>,
    /// What the kernel stamped on what we sent.
    pub sent: Vec<SentStamp>,
    /// Whether kernel timestamps were to be had.
    pub kernel_timestamps: bool,
    /// Whether somebody set the clock meanwhile; kernel timestamps are left out then.
    #[serde(default)]
    pub clock_stepped: bool,
    /// A second connection was made behind this one, to learn why the edge turned it away.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub asked_again: bool,
    /// Version agreed on, as RFCs write it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub version: Option<String>,
    /// Cipher suite, by its IANA name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cipher_suite: Option<String>,
    /// Protocol agreed on (ALPN).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub alpn: Option<String>,
    /// Whether an earlier session was resumed.
    #[serde(default)]
    pub resumed: bool,
    /// The edge's certificates.
    #[serde(skip)]
    pub certificates: Vec<CertificateDer<'static>>,
    /// The OCSP answer that the edge stapled.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub staple: Option<Staple>,
    /// Whether the edge asked for a certificate of ours.
    #[serde(default)]
    pub certificate_wanted: bool,
    /// The answer to the request, as much of it as came.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub response: Option<Response>,
    /// How long injected pauses took, as measured, in milliseconds.
    pub paused_ms: f64,
    /// All of it, as the analysis reads it.
    pub trace: SocketTrace,
}

impl Report {
    /// Of a probe that has just begun: nothing has happened yet.
    pub(crate) fn begun(now: Instant<Client>) -> Self {
        let trace = SocketTrace {
            started: now,
            lookup: None,
            tried: Vec::new(),
            connect: None,
            exchanges: Vec::with_capacity(3),
            finished: None,
            ended: now,
            complete: false,
            stamped: false,
            out_of_order: false,
            same_host: false,
            host: None,
        };
        Self {
            success: false,
            reason: None,
            detail: None,
            address: None,
            addresses: Vec::new(),
            failed_addresses: Vec::new(),
            local: None,
            dns_start: None,
            dns_end: None,
            connect_start: None,
            connected: None,
            client_hello: None,
            flight_at_kernel: None,
            flight_read: None,
            client_finished: None,
            first_request: None,
            first_response: None,
            response_end: None,
            ended: now,
            sent: Vec::new(),
            kernel_timestamps: false,
            clock_stepped: false,
            asked_again: false,
            version: None,
            cipher_suite: None,
            alpn: None,
            resumed: false,
            certificates: Vec::new(),
            staple: None,
            certificate_wanted: false,
            response: None,
            paused_ms: 0.0,
            trace,
        }
    }
}
