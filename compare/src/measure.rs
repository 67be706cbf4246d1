//! One handshake with an edge: counted through a relay, or timed without one.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use analysis::conversation::socket;
use analysis::judging::ledger::{Entry, Owner, Phase};
use enumset::EnumSet;
use prober::reason::Failure;
use prober::tls::{TlsOptions, config};
use prober::{Family, HttpRequest, Lookup, Pauses, Report, Route, Target, probe};
use records::compared::{Counted, Part};
use rustls::ClientConfig;

use crate::Stop;
use crate::counts::{Known, count};
use crate::edge::Edge;
use crate::relay::Relay;

/// What browsers offer (ALPN).
const PROTOCOLS: [&str; 2] = ["h2", "http/1.1"];
/// Between two looks at whether somebody wants it all to end.
const LOOK: Duration = Duration::from_millis(50);

/// Handshakes with one edge.
pub struct Client {
    tls: Arc<ClientConfig>,
    /// The same, which offers HTTP/2, too.
    offering: Arc<ClientConfig>,
    lookup: Lookup,
    runtime: tokio::runtime::Runtime,
    stop: Stop,
}

/// What one handshake came to.
#[derive(Debug)]
pub enum Handshake {
    /// It was answered.
    Whole(Whole),
    /// It failed, for this reason, in the prober's words.
    Failed(String),
    /// This machine spoiled it.
    Spoiled,
}

/// A handshake with its answer.
#[derive(Default, Debug)]
pub struct Whole {
    /// Time by part, in milliseconds; none where it was counted through a relay.
    pub times: BTreeMap<Part, f64>,
    /// What was counted; without a relay, what the client knows.
    pub counts: Vec<(Counted, u64)>,
    /// Version, cipher suite and protocol.
    pub agreed: Vec<String>,
}

impl Client {
    /// One that keeps sessions of its own, for one edge.
    ///
    /// # Errors
    /// If certificates cannot be read, or the host gives no resources.
    pub fn new(options: &TlsOptions, stop: Stop) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let lookup = runtime.block_on(async { Lookup::new(&[]) })?;
        let alpn = PROTOCOLS.map(str::to_owned).to_vec();
        let offering = Arc::new(config(&TlsOptions { alpn, resume: false, ..options.clone() })?);
        Ok(Self { tls: Arc::new(config(options)?), offering, lookup, runtime, stop })
    }

    /// Which protocol the edge takes of those that browsers offer, if any. Requests are HTTP/1.1: what a handshake costs does not depend on it.
    pub fn protocol(&self, edge: &Edge, timeout: Duration) -> Option<String> {
        let target = Target { tls: Some(Arc::clone(&self.offering)), request: None, ..target(edge, edge.address, timeout) };
        self.ask(&target)?.alpn
    }

    /// Absent if somebody wants it all to end.
    fn probe(&self, edge: &Edge, address: SocketAddr, timeout: Duration) -> Option<Report> {
        self.ask(&Target { tls: Some(Arc::clone(&self.tls)), ..target(edge, address, timeout) })
    }

    fn ask(&self, target: &Target) -> Option<Report> {
        self.runtime.block_on(async {
            let stopped = async {
                while !self.stop.is_set() {
                    tokio::time::sleep(LOOK).await;
                }
            };
            tokio::select! {
                biased;
                report = probe(target, &self.lookup) => Some(report),
                () = stopped => None,
            }
        })
    }

    /// Counts one handshake, and says what was agreed on.
    ///
    /// # Errors
    /// If the relay cannot be had.
    pub fn counted(&self, edge: &Edge, timeout: Duration) -> io::Result<Handshake> {
        let relay = Relay::to(edge.address, timeout)?;
        let report = self.probe(edge, relay.address(), timeout);
        let passed = relay.passed();
        let Some(report) = report else { return Ok(Handshake::Spoiled) };
        if !report.success {
            // What the client meets is the relay; whether the edge was there, the relay knows.
            if let Err(error) = &passed {
                let failure = Failure::of_connect(error);
                return Ok(Handshake::Failed(format!("{}: {}", failure.reason.name(), failure.detail)));
            }
            return Ok(Handshake::Failed(reason(&report)));
        }
        let mut counts = count(&passed?, &known(&report));
        counts.extend(status(&report));
        Ok(Handshake::Whole(Whole { times: BTreeMap::new(), counts, agreed: agreed(&report) }))
    }

    /// Times one handshake and the request behind it.
    pub fn timed(&self, edge: &Edge, timeout: Duration) -> Handshake {
        let Some(report) = self.probe(edge, edge.address, timeout) else { return Handshake::Spoiled };
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
                *times.entry(Part { phase: entry.phase, owner: owner(&entry) }).or_insert(0.0) += entry.span.millis();
            }
        }
        let known = known(&report);
        let mut counts = known.counts();
        let retries = report.trace.exchanges.iter().filter(|exchange| exchange.extra).count() as u64;
        counts.push((Counted::HelloRetryRequests, retries));
        counts.extend(status(&report));
        Handshake::Whole(Whole { times, counts, agreed: agreed(&report) })
    }
}

/// An edge, behind an address at which it is reached.
fn target(edge: &Edge, address: SocketAddr, timeout: Duration) -> Target {
    Target {
        host: edge.host.clone(),
        port: edge.address.port(),
        connect_to: None,
        address: Some(address),
        server_name: None,
        family: Family::Any,
        tls: None,
        request: Some(HttpRequest { path: edge.path.clone(), ..HttpRequest::default() }),
        timeout,
        pauses: Pauses::default(),
        route: Route::default(),
    }
}

/// Whose time an entry is. A late acknowledgement is the way's or the edge's: a kernel may keep it until its program answers. The way to
/// both is asked for in other parts, and so it is counted to the edge, in every handshake alike.
fn owner(entry: &Entry) -> Owner {
    let either: EnumSet<Owner> = Owner::Path | Owner::Edge;
    if entry.owner == Owner::Unattributed && entry.candidates == either { Owner::Edge } else { entry.owner.side() }
}

fn known(report: &Report) -> Known {
    let exchanges = &report.trace.exchanges;
    Known {
        waited: exchanges.iter().filter(|exchange| exchange.phase != Phase::Request && exchange.answer.is_some()).count(),
        answered: exchanges.iter().any(|exchange| exchange.phase == Phase::Request && exchange.answer.is_some()),
        // Of a session that was resumed they are remembered, and did not pass.
        chain: report.certificates.iter().filter(|_| !report.resumed).map(|certificate| certificate.len()).collect(),
        resumed: report.resumed,
    }
}

fn status(report: &Report) -> Option<(Counted, u64)> {
    report.response.as_ref().map(|response| (Counted::Status, u64::from(response.status)))
}

fn agreed(report: &Report) -> Vec<String> {
    [&report.version, &report.cipher_suite, &report.alpn].into_iter().flatten().cloned().collect()
}

fn reason(report: &Report) -> String {
    let reason = report.reason.map_or("it did not end", |reason| reason.name());
    report.detail.as_ref().map_or_else(|| reason.to_owned(), |detail| format!("{reason}: {detail}"))
}
