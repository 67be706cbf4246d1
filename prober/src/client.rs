//! One probe, stage by stage.

mod told;

use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use analysis::clock::{Client, Instant};
use analysis::conversation::host::HostTrace;
use analysis::conversation::socket::{Arrival, Connect, Exchange, Message};
use analysis::judging::ledger::Phase;
use futures_util::future::BoxFuture;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion};
use rustls_pki_types::ServerName;
use tokio::time::timeout_at;

use crate::clock::Clock;
use crate::connect::{Connected, Tried, connect};
use crate::host;
use crate::http::{Form, HttpRequest, Progress, Response, ask, ask_multiplexed, authority};
use crate::lab::{BeforeTls, Pauses, Speaker};
use crate::lookup::{Family, Lookup};
use crate::noted::{self, Notes};
use crate::ocsp::Staple;
use crate::reason::{Failure, Reason};
use crate::report::Report;
use crate::route::{self, Route};
use crate::stamps::{self, Sent};
use crate::stream::Stream;
use crate::tcp_info::tcp_info;
use crate::tls::{suite_name, version_name};
use crate::wire::Wire;

/// What to probe, and how.
#[derive(Clone, Debug)]
pub struct Target {
    /// Name of the server: looked up, asked for (SNI) and verified, unless said otherwise below.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Look up and connect to this instead.
    pub connect_to: Option<(String, u16)>,
    /// Connect to this address; nothing is looked up.
    pub address: Option<SocketAddr>,
    /// Ask for this name (SNI) and verify it.
    pub server_name: Option<String>,
    /// Which addresses to use.
    pub family: Family,
    /// How to speak TLS; absent: do not.
    pub tls: Option<Arc<ClientConfig>>,
    /// What to ask for behind the handshake: in HTTP/2 if that was agreed on (ALPN `h2`), else in HTTP/1.1.
    pub request: Option<HttpRequest>,
    /// How the connection is made.
    pub route: Route,
    /// Give up after so long.
    pub timeout: Duration,
    /// What it does in the lab alone.
    pub pauses: Pauses,
}

/// Probes once, on a runtime of its own.
///
/// # Errors
/// If there can be no runtime or no resolver.
pub fn probe_now(target: &Target, servers: &[SocketAddr]) -> std::io::Result<Report> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(async { Ok(probe(target, &Lookup::new(servers)?).await) });
    runtime.shutdown_background();
    report
}

/// Probes once. Peer failure is in the report.
///
/// A box, as all futures here that others wait for: what waits in it is compiled in this crate once, and not again in each that waits.
pub fn probe<'a>(target: &'a Target, lookup: &'a Lookup) -> BoxFuture<'a, Report> {
    Box::pin(probed(target, lookup))
}

async fn probed(target: &Target, lookup: &Lookup) -> Report {
    let clock = Clock::start();
    let mut probe = Probe {
        target,
        report: Report::begun(clock.now()),
        clock,
        samples: Vec::with_capacity(16),
        spans: Vec::new(),
        notes: Notes::default(),
        over: None,
    };
    let deadline = tokio::time::Instant::now() + target.timeout;
    let result = probe.run(lookup, deadline).await;
    let ended = probe.over.unwrap_or_else(|| probe.clock.now());
    let result = match result {
        Ok(()) => Ok(()),
        Err(failure) => Err(probe.explained(failure, deadline).await),
    };
    probe.finish(result, ended)
}

/// Which message the bytes up to an offset were.
#[derive(Clone, Copy)]
enum Spoken {
    Exchange(usize),
    Finished,
}

/// A probe under way.
pub(crate) struct Probe<'a> {
    target: &'a Target,
    /// What is known so far.
    pub report: Report,
    /// What time it is.
    pub clock: Clock,
    samples: Vec<analysis::conversation::host::Sample<Client>>,
    /// Ends of our messages in the stream.
    spans: Vec<(u64, Spoken)>,
    /// What TLS learnt on the way.
    notes: Notes,
    /// When all was done that counts, if something was waited for behind it.
    over: Option<Instant<Client>>,
}

impl Probe<'_> {
    async fn run(&mut self, lookup: &Lookup, deadline: tokio::time::Instant) -> Result<(), Failure> {
        self.sample(true);
        let addresses = self.look_up(lookup).await?;
        let Connected { stream, address, connect } = self.connect(&addresses, deadline).await?;
        self.sample(false);
        self.report.address = Some(address);
        self.report.local = stream.local_addr().ok();
        let own = |local: SocketAddr| local.ip() == address.ip() && self.target.route.proxy.is_none();
        self.report.trace.same_host = self.report.local.is_some_and(own);
        self.report.connected = connect.done;
        self.report.trace.connect = Some(connect);
        self.report.kernel_timestamps = stamps::enable(&stream);
        let _ = stream.set_nodelay(!self.target.pauses.in_pieces);
        let mut wire = Wire::new(stream, self.target.pauses.in_pieces);
        let result = self.converse(&mut wire, deadline).await;
        self.read_stamps(&wire);
        result
    }

    async fn look_up(&mut self, lookup: &Lookup) -> Result<Vec<SocketAddr>, Failure> {
        if let Some(address) = self.target.address {
            return Ok(vec![address]);
        }
        let Target { host, port, connect_to, route, family, .. } = self.target;
        let (host, port) = match (&route.proxy, connect_to) {
            (Some(proxy), _) => (&proxy.host, proxy.port),
            (None, Some((host, port))) => (host, *port),
            (None, None) => (host, *port),
        };
        if let Ok(ip) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
            return match family.admits(ip) {
                true => Ok(vec![SocketAddr::new(ip, port)]),
                false => Err(Failure::new(Reason::DnsNoAddress, format!("{ip} is no address of the family asked for"))),
            };
        }
        let asked = self.clock.now();
        self.report.dns_start = Some(asked);
        self.report.trace.lookup = Some((asked, None));
        let found = lookup.addresses(host, *family, self.target.timeout).await;
        self.sample(false);
        let mut addresses = found?;
        if route.one_address {
            addresses.truncate(1);
        }
        let answered = self.clock.now();
        self.report.dns_end = Some(answered);
        self.report.trace.lookup = Some((asked, Some(answered)));
        self.report.addresses.clone_from(&addresses);
        Ok(addresses.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
    }

    async fn connect(&mut self, addresses: &[SocketAddr], deadline: tokio::time::Instant) -> Result<Connected, Failure> {
        self.sample(true);
        let mut tried = Tried::default();
        let outcome = timeout_at(deadline, connect(addresses, self.target.route.source, &self.clock, &mut tried)).await;
        self.report.connect_start = tried.began;
        if let Some(began) = tried.began {
            self.report.trace.connect = Some(Connect { began, round_trip: None, repeated: 0, done: None });
        }
        self.report.failed_addresses = tried.failed.iter().map(|(address, error)| format!("{address}: {error}")).collect();
        let first = addresses.first().filter(|_| addresses.len() == 1).copied();
        self.report.address = self.report.address.or(first);
        if let Ok(Ok(Connected { connect, .. })) = &outcome {
            self.report.trace.tried = tried.before(connect.began);
        }
        outcome.unwrap_or_else(|_| Err(Failure::new(Reason::ConnectTimeout, "no answer to SYN in time")))
    }

    async fn converse(&mut self, wire: &mut Wire, deadline: tokio::time::Instant) -> Result<(), Failure> {
        if let (Some(proxy), true) = (&self.target.route.proxy, self.target.tls.is_some()) {
            let opened = timeout_at(deadline, self.tunnel(wire, proxy)).await;
            opened.unwrap_or_else(|_| Err(Failure::new(Reason::ProxyFailed, "the proxy did not answer CONNECT in time")))?;
        }
        if let Some(before) = self.target.pauses.before_tls {
            let said = timeout_at(deadline, self.plaintext(wire, before)).await;
            said.unwrap_or_else(|_| Err(Failure::new(Reason::TlsTimeout, "the edge did not say its lines before TLS in time")))?;
        }
        let mut tls = match &self.target.tls {
            None => None,
            Some(config) => {
                let name = self.target.server_name.as_ref().unwrap_or(&self.target.host).trim_matches(['[', ']']).to_owned();
                let name = ServerName::try_from(name).map_err(|e| Failure::new(Reason::Prober, e))?;
                let mut tls = ClientConnection::new(Arc::clone(config), name).map_err(|e| Failure::of_tls(&e))?;
                self.pause(self.target.pauses.before_hello);
                let shaken = timeout_at(deadline, self.handshake(wire, &mut tls)).await;
                shaken.unwrap_or_else(|_| Err(Failure::new(Reason::TlsTimeout, "the handshake did not end in time")))?;
                Some(tls)
            }
        };
        if let (None, Some(tls)) = (&self.target.request, &mut tls) {
            self.admitted(wire, tls, deadline).await?;
        }
        if let Some(request) = self.target.request.clone() {
            let mut heard = None;
            let answered = timeout_at(deadline, self.request(wire, &mut tls, &request, &mut heard)).await;
            // Whatever ends it, this came.
            self.report.response = heard;
            answered.unwrap_or_else(|_| Err(Failure::new(Reason::RequestTimeout, "no complete answer in time")))?;
        }
        if let Some(tls) = &mut tls {
            tls.send_close_notify();
            let _ = wire.flush(tls).await;
        }
        Ok(())
    }

    /// Says what comes before TLS in the lab.
    async fn plaintext(&mut self, wire: &mut Wire, before: BeforeTls) -> Result<(), Failure> {
        let of_io = |e: std::io::Error| Failure::of_io(&e, false);
        if before.first == Speaker::Edge {
            self.line(wire).await?;
        }
        for _ in 0..before.exchanges {
            wire.out.extend_from_slice(b"STARTTLS\r\n");
            poll_fn(|cx| wire.poll_send(cx)).await.map_err(of_io)?;
            self.spoke(wire, Phase::BeforeTls, Phase::BeforeTls);
            self.line(wire).await?;
        }
        Ok(())
    }

    /// Reads a line of the edge's: it says nothing more until it is spoken to.
    async fn line(&mut self, wire: &mut Wire) -> Result<(), Failure> {
        loop {
            self.sample(true);
            let (bytes, at_kernel) = wire.read().await.map_err(|e| Failure::of_io(&e, false))?;
            if bytes.is_empty() {
                return Err(Failure::new(Reason::TlsClosed, "the edge closed the connection before TLS"));
            }
            let (whole, len) = (bytes.ends_with(b"\n"), bytes.len());
            let read = self.clock.now();
            self.sample(false);
            self.heard(at_kernel, read, len);
            if whole {
                return Ok(());
            }
        }
    }

    /// Has the proxy open a tunnel to the target.
    async fn tunnel(&mut self, wire: &mut Wire, proxy: &route::Proxy) -> Result<(), Failure> {
        let of_io = |e: std::io::Error| Failure::new(Reason::ProxyFailed, e);
        wire.out.extend_from_slice(proxy.connect(&self.target.host, self.target.port).as_bytes());
        poll_fn(|cx| wire.poll_send(cx)).await.map_err(of_io)?;
        self.spoke(wire, Phase::BeforeTls, Phase::BeforeTls);
        let mut head = Vec::new();
        loop {
            self.sample(true);
            let (bytes, at_kernel) = wire.read().await.map_err(of_io)?;
            let (over, len) = (bytes.is_empty(), bytes.len());
            head.extend_from_slice(bytes);
            let read = self.clock.now();
            self.sample(false);
            self.heard(at_kernel, read, len);
            if route::opened(&head, over)? {
                return Ok(());
            }
        }
    }

    async fn handshake(&mut self, wire: &mut Wire, tls: &mut ClientConnection) -> Result<(), Failure> {
        let of_io = |e: std::io::Error| Failure::of_io(&e, false);
        self.speak(wire, tls, Phase::ServerFlight, Phase::ClientHello).await?;
        self.report.client_hello = self.report.trace.exchanges.last().map(|e| e.sent.written);
        while tls.is_handshaking() {
            self.sample(true);
            let (mut bytes, at_kernel) = wire.read().await.map_err(of_io)?;
            if bytes.is_empty() {
                return Err(Failure::new(Reason::TlsClosed, "the edge closed the connection"));
            }
            let read = self.clock.now();
            // Whatever is made of these bytes, they came.
            self.heard(at_kernel, read, bytes.len());
            (self.report.flight_at_kernel, self.report.flight_read) = (at_kernel, Some(read));
            while !bytes.is_empty() {
                tls.read_tls(&mut bytes).map_err(of_io)?;
                // Others on this thread may have left word.
                let _ = noted::take();
                let processed = tls.process_new_packets();
                self.notes.add(noted::take());
                if let Err(error) = processed {
                    let _ = wire.flush(tls).await; // the alert that tells the edge why
                    return Err(Failure::of_tls(&error));
                }
            }
            self.sample(false);
            if tls.wants_write() {
                self.answer(wire, tls).await?;
            }
        }
        self.report.version = tls.protocol_version().and_then(version_name);
        self.report.cipher_suite = tls.negotiated_cipher_suite().and_then(|s| suite_name(s.suite()));
        self.report.alpn = tls.alpn_protocol().map(|p| String::from_utf8_lossy(p).into_owned());
        self.report.resumed = tls.handshake_kind() == Some(HandshakeKind::Resumed);
        self.report.certificates = tls.peer_certificates().unwrap_or_default().to_vec();
        self.report.staple = self.notes.staple.as_deref().map(Staple::read);
        self.report.certificate_wanted = self.notes.certificate_wanted;
        Ok(())
    }

    /// Answers what the edge sent: a HelloRetryRequest, or its flight.
    async fn answer(&mut self, wire: &mut Wire, tls: &mut ClientConnection) -> Result<(), Failure> {
        let retried = tls.handshake_kind() == Some(HandshakeKind::FullWithHelloRetryRequest);
        match tls.protocol_version() {
            // A HelloRetryRequest tells the version already, where it is the first answer.
            Some(_) if retried && !self.report.trace.exchanges.iter().any(|exchange| exchange.extra) => {
                if let Some(first) = self.report.trace.exchanges.last_mut() {
                    first.extra = true;
                }
                self.speak(wire, tls, Phase::ServerFlight, Phase::ClientHello).await
            }
            Some(ProtocolVersion::TLSv1_2) if tls.is_handshaking() => {
                self.pause(self.target.pauses.before_finished);
                self.speak(wire, tls, Phase::Finish, Phase::ClientFinished).await?;
                self.report.client_finished = self.report.trace.exchanges.last().map(|e| e.sent.written);
                Ok(())
            }
            // The rest of a long flight is still to come. A ChangeCipherSpec (RFC 8446, section D.4) leaves with Finished, as OpenSSL has it.
            _ if tls.is_handshaking() => Ok(()),
            _ => {
                self.pause(self.target.pauses.before_finished);
                wire.flush(tls).await.map_err(|e| Failure::of_io(&e, false))?;
                self.spans.push((wire.sent, Spoken::Finished));
                let written = self.clock.now();
                self.report.trace.finished = Some(Message { written, left: Vec::new(), acked: None });
                self.report.client_finished = Some(written);
                Ok(())
            }
        }
    }

    /// Sends what TLS wants to send, as the beginning of an exchange.
    async fn speak(&mut self, wire: &mut Wire, tls: &mut ClientConnection, phase: Phase, before: Phase) -> Result<(), Failure> {
        wire.flush(tls).await.map_err(|e| Failure::of_io(&e, false))?;
        self.spoke(wire, phase, before);
        Ok(())
    }

    fn spoke(&mut self, wire: &Wire, phase: Phase, before: Phase) {
        self.spans.push((wire.sent, Spoken::Exchange(self.report.trace.exchanges.len())));
        let sent = Message { written: self.clock.now(), left: Vec::new(), acked: None };
        self.report.trace.exchanges.push(Exchange { phase, before, sent, answer: None, extra: false });
    }

    /// Notes `len` bytes of the edge's: the last before our next message complete the answer.
    pub fn heard(&mut self, at_kernel: Option<Instant<Client>>, read: Instant<Client>, len: usize) {
        if let Some(exchange) = self.report.trace.exchanges.last_mut() {
            let first = exchange.answer.map_or(at_kernel, |answer| answer.first);
            let bytes = exchange.answer.and_then(|answer| answer.bytes).unwrap_or(0) + len as u64;
            exchange.answer = Some(Arrival { at_kernel, first, bytes: Some(bytes), read });
        }
    }

    async fn request(
        &mut self,
        wire: &mut Wire,
        tls: &mut Option<ClientConnection>,
        request: &HttpRequest,
        heard: &mut Option<Response>,
    ) -> Result<(), Failure> {
        let host = authority(&self.target.host, self.target.port, self.target.tls.is_some());
        let form = match (&tls, &self.target.route.proxy) {
            (Some(tls), _) if tls.alpn_protocol() == Some(b"h2") => Form::Multiplexed,
            (None, Some(_)) => Form::Absolute,
            _ => Form::Origin,
        };
        let (mut of_tls, progress) = (None, Progress::default());
        let answer = match form {
            Form::Multiplexed => {
                let stream = Stream::new(self, wire, tls.as_mut(), &mut of_tls, Some(&progress));
                let answer = ask_multiplexed(stream, request, &host, &progress, heard).await;
                if !progress.answered.load(Ordering::Relaxed) {
                    // Settings alone came: they answer nothing.
                    self.report.first_response = None;
                    self.report.trace.exchanges.iter_mut().filter(|e| e.phase == Phase::Request).for_each(|e| e.answer = None);
                }
                answer
            }
            Form::Absolute | Form::Origin => {
                let mut request = request.clone();
                if let (Form::Absolute, Some(proxy)) = (form, &self.target.route.proxy) {
                    request.headers.extend(proxy.credentials());
                }
                let stream = Stream::new(self, wire, tls.as_mut(), &mut of_tls, None);
                ask(stream, &request, &host, form, heard).await
            }
        };
        answer.map_err(|failure| of_tls.unwrap_or(failure))?;
        self.report.response_end = Some(self.clock.now());
        Ok(())
    }

    /// The request left, or more of it.
    pub fn requested(&mut self, wire: &Wire) {
        match self.report.trace.exchanges.last_mut().filter(|e| e.phase == Phase::Request) {
            None => self.spoke(wire, Phase::Request, Phase::Request),
            // Of a long body the rest counts, as long as nothing answers it.
            Some(exchange) if exchange.answer.is_none() => {
                exchange.sent.written = self.clock.now();
                if let Some((end, _)) = self.spans.last_mut() {
                    *end = wire.sent;
                }
            }
            Some(_) => {}
        }
        self.report.first_request = self.report.trace.exchanges.last().map(|e| e.sent.written);
    }

    /// What the kernel stamped on our messages, and counted.
    fn read_stamps(&mut self, wire: &Wire) {
        let info = tcp_info(&wire.stream);
        self.report.trace.out_of_order = info.and_then(|i| i.rcv_ooopack).unwrap_or(0) > 0;
        self.report.sent = stamps::sent(&wire.stream);
        self.report.clock_stepped = self.clock.stepped();
        let trace = &mut self.report.trace;
        if self.report.clock_stepped {
            trace.exchanges.iter_mut().filter_map(|e| e.answer.as_mut()).for_each(|a| (a.at_kernel, a.first) = (None, None));
            return;
        }
        trace.stamped =
            self.report.kernel_timestamps && trace.exchanges.iter().filter_map(|e| e.answer).all(|a| a.at_kernel.is_some());
        for stamp in &self.report.sent {
            // Stamps count bytes from 0; a message ends with the byte before its end.
            let Some((_, spoken)) = self.spans.iter().find(|(end, _)| u64::from(stamp.byte) + 1 == *end) else { continue };
            let message = match spoken {
                Spoken::Exchange(i) => trace.exchanges.get_mut(*i).map(|e| &mut e.sent),
                Spoken::Finished => trace.finished.as_mut(),
            };
            let Some(message) = message else { continue };
            let at = stamp.at;
            match stamp.what {
                Sent::Software => message.left.push(at),
                Sent::Acknowledged => message.acked = Some(message.acked.map_or(at, |earlier| earlier.min(at))),
            }
        }
        for message in trace.exchanges.iter_mut().map(|e| &mut e.sent).chain(&mut trace.finished) {
            message.left.sort_unstable();
        }
    }

    /// Notes what the scheduler did with the thread; `idle`: it is about to wait.
    pub fn sample(&mut self, idle: bool) {
        self.samples.extend(host::sample(self.clock.now(), idle));
    }

    fn pause(&mut self, span: Duration) {
        if !span.is_zero() {
            let begun = std::time::Instant::now();
            std::thread::sleep(span);
            self.report.paused_ms += begun.elapsed().as_secs_f64() * 1e3;
        }
    }

    fn finish(mut self, result: Result<(), Failure>, ended: Instant<Client>) -> Report {
        self.sample(false);
        let mut report = self.report;
        report.ended = ended;
        report.success = result.is_ok();
        (report.reason, report.detail) = result.err().map_or((None, None), |f| (Some(f.reason), Some(f.detail)));
        report.trace.ended = ended;
        // A certificate that is refused ends nothing of the timing: the edge had said all it had to say.
        report.trace.complete = report.success;
        let nodelay = Some(!self.target.pauses.in_pieces);
        report.trace.host = (self.samples.len() > 1).then_some(HostTrace { samples: self.samples, nodelay });
        report
    }
}
