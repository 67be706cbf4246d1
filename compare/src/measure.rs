//! One handshake with an edge: counted through a relay, or timed without one.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use analysis::conversation::socket;
use analysis::judging::ledger::{Owner, Phase};
use prober::reason::Failure;
use prober::tls::{TlsOptions, config};
use prober::{Family, HttpRequest, Lookup, Pauses, Report, Route, Target, probe};
use records::compared::{Counted, Part};
use rustls::ClientConfig;

use crate::counts::{Known, count};
use crate::edge::Edge;
use crate::relay::Relay;

/// Handshakes with one edge.
pub struct Client {
    tls: Arc<ClientConfig>,
    lookup: Lookup,
    runtime: tokio::runtime::Runtime,
    timeout: Duration,
}

/// What is known of an edge by counting: exact where it is `u64`, perhaps not always the same where it is an `Option` of it.
pub struct Seen<N> {
    /// The counts.
    pub counts: Vec<(Counted, N)>,
    /// Version, cipher suite and protocol.
    pub agreed: Vec<String>,
}

/// Why an edge failed, in the prober's words.
#[derive(Debug)]
pub struct Failed(pub String);

/// What one handshake came to.
pub enum Handshake {
    /// Time by part, in milliseconds.
    Whole(BTreeMap<Part, f64>),
    /// It failed, for this reason.
    Failed(String),
    /// This machine spoiled it.
    Spoiled,
}

impl Client {
    /// One that keeps sessions of its own, for one edge.
    ///
    /// # Errors
    /// If certificates cannot be read, or the host gives no resources.
    pub fn new(options: &TlsOptions, timeout: Duration) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let lookup = runtime.block_on(async { Lookup::new(&[]) })?;
        Ok(Self { tls: Arc::new(config(options)?), lookup, runtime, timeout })
    }

    fn probe(&self, edge: &Edge, address: std::net::SocketAddr) -> Report {
        let target = Target {
            host: edge.host.clone(),
            port: edge.address.port(),
            connect_to: None,
            address: Some(address),
            server_name: None,
            family: Family::Any,
            tls: Some(Arc::clone(&self.tls)),
            request: Some(HttpRequest { path: edge.path.clone(), ..HttpRequest::default() }),
            timeout: self.timeout,
            pauses: Pauses::default(),
            route: Route::default(),
        };
        self.runtime.block_on(probe(&target, &self.lookup))
    }

    /// Counts one handshake, and says what was agreed on; the inner error is the edge's.
    ///
    /// # Errors
    /// If the relay cannot be had.
    pub fn counted(&self, edge: &Edge) -> io::Result<Result<Seen<u64>, Failed>> {
        let relay = Relay::to(edge.address, self.timeout)?;
        let report = self.probe(edge, relay.address());
        let passed = relay.passed();
        if !report.success {
            // What the client meets is the relay; whether the edge was there, the relay knows.
            if let Err(error) = &passed {
                let failure = Failure::of_connect(error);
                return Ok(Err(Failed(format!("{}: {}", failure.reason.name(), failure.detail))));
            }
            return Ok(Err(Failed(reason(&report))));
        }
        let exchanges = &report.trace.exchanges;
        let known = Known {
            waited: exchanges.iter().filter(|exchange| exchange.phase != Phase::Request && exchange.answer.is_some()).count(),
            answered: exchanges.iter().any(|exchange| exchange.phase == Phase::Request && exchange.answer.is_some()),
            chain: report.certificates.iter().map(|certificate| certificate.len()).collect(),
            resumed: report.resumed,
        };
        let agreed = [&report.version, &report.cipher_suite, &report.alpn].into_iter().flatten().cloned().collect();
        Ok(Ok(Seen { counts: count(&passed?, &known), agreed }))
    }

    /// Times one handshake and the request behind it.
    pub fn timed(&self, edge: &Edge) -> Handshake {
        let report = self.probe(edge, edge.address);
        if report.clock_stepped {
            return Handshake::Spoiled;
        }
        if !report.success {
            return Handshake::Failed(reason(&report));
        }
        let mut times = BTreeMap::new();
        let mut reading = socket::read(&report.trace);
        socket::round_after_round(&mut reading);
        for entry in reading.ledger.entries {
            // What the scheduler took of our own thread is no edge's doing.
            if entry.owner != Owner::ClientHost {
                *times.entry(Part { phase: entry.phase, owner: entry.owner.side() }).or_insert(0.0) += entry.span.millis();
            }
        }
        Handshake::Whole(times)
    }
}

fn reason(report: &Report) -> String {
    let reason = report.reason.map_or("it did not end", |reason| reason.name());
    report.detail.as_ref().map_or_else(|| reason.to_owned(), |detail| format!("{reason}: {detail}"))
}
