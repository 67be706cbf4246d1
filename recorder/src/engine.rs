//! The engine: packets, threads' events, triggers and times come in; files to write, counts and metrics come out. One thread's state.
//!
//! Packets go into [`Memory`] and before the [`Screen`]; what it suspects, the [`Detector`] judges. Handshakes are counted, and those that
//! are slow are triggers like any other. A trigger that [`Admission`] lets through takes its flow out of memory, now and once more a
//! little later: what comes after it belongs to it too.

use std::collections::{HashSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use analysis::clock::{Instant as Stamp, Span};
use analysis::key::{Key, Keys};
use analysis::wire::packet::{Transport, decode};
use capture::chains::Entry;
use capture::clock::{Monotonic, WallOffset, monotonic};
use capture::ends::FlowName;
use capture::seen::{Counters, Frame, Seen};
use capture::sockets::Event;
use explain::judging::Finding;
use jiff::Timestamp;
use lru::LruCache;
use prometheus_client::metrics::counter::Counter;
use serving::otlp::trace::Trace;
use tokio::sync::mpsc::Sender;
use tracing::{debug, info};

use crate::admission::Admission;
use crate::config::Config;
use crate::detector::Detector;
use crate::error::NotKept;
use crate::evidence_store::{Answer, WriteRequest, Writer};
use crate::flow_report::{FlowReport, Provenance, flow_report, last_connection};
use crate::kernel_view::KernelView;
use crate::memory::{Memory, Packet};
use crate::metrics::{ByCulprit, ByCulpritAndPlace, ByTrigger, EvidenceLabel, Metrics};
use crate::names::Names;
use crate::origins::{self, Origins};
use crate::screen::{Quick, Screen, Step, begins};
use crate::slow::Culprit;
use crate::sources::TriggerRequest;
use crate::tally::{Place, Sums, Tally, places_of};
use crate::telemetry::trace;
use crate::trigger::{Source, Trigger};
use crate::view::{Shown, SlowHandshake};

/// Server endpoints remembered: where a log line does not name the server's end, these are tried.
const MOST_SERVERS: usize = 256;
/// Triggers that wait for what comes after them.
const MOST_FOLLOWED: usize = 4_096;
/// A flow that is not in memory is looked for once more after so long: the log may be faster than the filter's buffer.
const PATIENCE: Duration = Duration::from_millis(100);

/// What the engine knows, beside packets and triggers.
pub struct Context {
    /// How packets are filtered.
    pub filter_at: String,
    /// Whether [`Engine::event`] will be told what the server's threads do.
    pub threads: bool,
    /// Where clients are, by databases.
    pub origins: Origins,
    /// Name servers, where they may be asked.
    pub names: Option<Arc<Names>>,
    /// Takes the traces of what is kept, where somebody wants them.
    pub traces: Option<Sender<Trace>>,
}

/// A trigger that will be looked at again.
struct Follow {
    due: Instant,
    asked: Instant,
    trigger: Trigger,
    flow: Option<FlowName>,
    /// Its file, and how many packets are in it.
    written: Option<(String, usize)>,
    answer: Option<Answer>,
}

/// The state of the recorder's main thread.
pub struct Engine {
    config: Arc<Config>,
    memory: Memory,
    /// Absent where nobody may look.
    threads: Option<KernelView>,
    screen: Screen,
    detector: Detector,
    /// Counts quick handshakes.
    quick: Counter,
    tally: Tally,
    context: Context,
    admission: Admission,
    follow: VecDeque<Follow>,
    servers: LruCache<SocketAddr, ()>,
    writer: Writer,
    metrics: Arc<Metrics>,
    shown: Arc<Shown>,
    begun: Instant,
    interfaces: Vec<(u16, String)>,
    counters: Counters,
}

impl Engine {
    /// Remembers in `memory`.
    pub fn new(
        config: Arc<Config>,
        memory: Memory,
        context: Context,
        writer: Writer,
        metrics: Arc<Metrics>,
        shown: Arc<Shown>,
    ) -> Self {
        let [all, network] = config.evidence.rates();
        let quick = metrics.handshakes.get_or_create_owned(&ByCulprit { culprit: "none".into() });
        Self {
            memory,
            threads: context.threads.then(KernelView::default),
            screen: Screen::new(config.slow.least()),
            detector: Detector::default(),
            quick,
            tally: Tally::default(),
            context,
            admission: Admission::new(all, network),
            follow: VecDeque::new(),
            servers: LruCache::new(NonZeroUsize::new(MOST_SERVERS).unwrap_or(NonZeroUsize::MIN)),
            writer,
            metrics,
            shown,
            begun: Instant::now(),
            interfaces: Vec::new(),
            counters: Counters::default(),
            config,
        }
    }

    /// Takes a packet.
    pub fn packet(&mut self, seen: &Seen<'_>) {
        let Self { memory, screen, .. } = self;
        let hello = begins(seen) && !seen.syn();
        let new = begins(seen) && (seen.syn() || !memory.has(seen.flow));
        let of_connection = memory.push(seen, |syn| {
            screen.push(&waited(seen, &syn), true);
        });
        if !of_connection {
            return;
        }
        if hello {
            // A log may name this connection before anybody has judged one of this endpoint.
            self.servers.put(seen.server.into(), ());
        }
        match self.screen.push(seen, new) {
            Step::Quiet => {}
            Step::Suspect => self.suspect(seen.flow),
            Step::HandOn => {
                if let Ok(Transport::Tcp(segment)) = decode(seen.frame.link, seen.frame.bytes) {
                    let found = self.detector.push(seen.frame.at, &segment);
                    found.into_iter().for_each(|finding| self.finding(finding));
                }
            }
        }
    }

    /// Takes something that a thread of the server did.
    pub fn event(&mut self, event: Event) {
        if let Some(threads) = &mut self.threads {
            threads.push(event);
        }
    }

    /// Hands a connection on to whoever judges.
    fn suspect(&mut self, flow: FlowName) {
        for packet in last_connection(self.memory.flow(flow)) {
            if let Ok(Transport::Tcp(segment)) = decode(packet.link, &packet.bytes) {
                let found = self.detector.push(packet.at, &segment);
                found.into_iter().for_each(|finding| self.finding(finding));
            }
        }
    }

    /// A handshake was quick: it is counted, and its path is learned from.
    fn quick(&mut self, quick: &Quick) {
        self.servers.put(quick.server, ());
        self.detector.quick(quick);
        self.metrics.durations.observe(quick.duration.seconds());
        self.quick.inc();
        let places = self.places(quick.client.ip());
        self.tally.count(self.begun.elapsed(), places, None);
    }

    /// Time passes.
    pub fn tick(&mut self) {
        for decided in self.screen.tick(monotonic()) {
            match decided {
                Ok(quick) => self.quick(&quick),
                Err(flow) => self.suspect(flow),
            }
        }
        for finding in self.detector.tick(monotonic()) {
            self.finding(finding);
        }
        while self.follow.front().is_some_and(|f| f.due <= Instant::now()) {
            if let Some(follow) = self.follow.pop_front() {
                self.look_again(follow);
            }
        }
    }

    /// How long until a trigger wants to be looked at again; absent if none does.
    pub fn due(&self) -> Option<Duration> {
        self.follow.front().map(|follow| follow.due.saturating_duration_since(Instant::now()))
    }

    /// What the filter counted, and which interfaces there are.
    pub fn note(&mut self, counters: Counters, interfaces: Vec<(u16, String)>) {
        (self.counters, self.interfaces) = (counters, interfaces);
    }

    /// Somebody wants a flow kept.
    pub fn asked(&mut self, asked: TriggerRequest) {
        let TriggerRequest { trigger, at, answer } = asked;
        match self.known(&trigger) {
            Some(flow) => drop(self.keep(trigger, flow, at, answer)),
            // Not here yet, perhaps.
            None => self.later(Follow { due: Instant::now() + PATIENCE, asked: at, trigger, flow: None, written: None, answer }),
        }
    }

    /// The memory.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// The counts of the last so long.
    pub fn sums(&self, window: Duration) -> Sums {
        let mut sums = self.tally.sums(self.begun.elapsed(), window);
        if let Some(names) = &self.context.names {
            let slow = sums.places.iter().filter(|(_, counts)| !counts.slow.is_empty());
            let named =
                |(place, _): (&Place, _)| if let Place::Prefix(net, _) = place { Some((*net, names.of(*net)?)) } else { None };
            sums.domains = slow.filter_map(named).collect();
        }
        sums
    }

    /// Reads again what was replaced of the databases of origins.
    ///
    /// # Errors
    /// Says which file cannot be read.
    pub fn refresh(&mut self) -> Result<(), origins::Error> {
        self.context.origins.refresh()
    }

    /// Connections followed.
    pub fn under_way(&self) -> usize {
        self.screen.under_way()
    }

    /// The evidence on one flow.
    ///
    /// # Errors
    /// If memory has nothing of it.
    pub fn evidence(&self, trigger: &Trigger) -> Result<Vec<u8>, NotKept> {
        let flow = self.known(trigger).ok_or(NotKept::Gone)?;
        let made = self.make(self.memory.flow(flow), trigger);
        made.map(|report| report.pcapng).ok_or(NotKept::NoConnection)
    }

    /// All that memory has of the last so long, for whoever has time to make a file of it.
    pub fn last(&self, last: Duration) -> (Vec<Packet>, Provenance) {
        (self.memory.since(ago(last)).map(Packet::from).collect(), self.provenance())
    }

    /// What memory has, since `last` ago, of the flows that any of `keys` names; for whoever has time to make a file of it.
    pub fn flows(&self, last: Duration, keys: &Keys) -> (Vec<Packet>, Provenance) {
        let since = ago(last);
        let named: HashSet<FlowName> =
            self.memory.since(since).filter(|entry| shows(entry, keys)).map(|entry| entry.flow).collect();
        let of_them = self.memory.since(since).filter(|entry| named.contains(&entry.flow));
        (of_them.map(Packet::from).collect(), self.provenance())
    }

    /// The ends, client first, of the latest connection with this ClientHello.random.
    pub fn ends_of(&self, random: [u8; 32]) -> Option<(SocketAddr, SocketAddr)> {
        let keys: Keys = [Key::Random(random)].into_iter().collect();
        let hello = self.memory.since(Stamp::MIN).filter(|entry| shows(entry, &keys)).last()?;
        match decode(hello.link, hello.bytes) {
            Ok(Transport::Tcp(segment)) => Some((segment.source(), segment.destination())),
            _ => None,
        }
    }

    /// Ends: what waits for the disk is written.
    pub fn finish(self) {
        self.writer.finish();
    }

    fn provenance(&self) -> Provenance {
        let Counters { passed, syns, lost, syns_lost, .. } = self.counters;
        Provenance {
            wall_offset: WallOffset::now(),
            interfaces: self.interfaces.clone(),
            received: passed + syns + lost + syns_lost,
            lost: lost + syns_lost,
            filter_at: self.context.filter_at.clone(),
        }
    }

    fn places(&mut self, client: IpAddr) -> Vec<Place> {
        places_of(client, &self.config.networks, self.context.origins.of(client))
    }

    /// A handshake is over.
    fn finding(&mut self, finding: Finding) {
        let ends = finding.placed.handshake.endpoints;
        self.servers.put(ends.server, ());
        let places = self.places(ends.client.ip());
        let (label, slow) = match &finding.judged {
            Ok(opinion) => {
                self.metrics.durations.observe(opinion.reading.ledger.total.millis() / 1e3);
                let culprit = Culprit::of(opinion);
                (culprit.map_or("none", Culprit::label), culprit.filter(|_| self.config.slow.holds(opinion)))
            }
            Err(_) => ("unread", None),
        };
        self.metrics.handshakes.get_or_create(&ByCulprit { culprit: label.into() }).inc();
        self.tally.count(self.begun.elapsed(), places.clone(), slow);
        if slow.is_none() {
            return;
        }
        if let Some(names) = &self.context.names {
            names.ask(ends.client.ip());
        }
        let named = places.into_iter().find_map(|place| if let Place::Named(name) = place { Some(name) } else { None });
        let network = named.unwrap_or_else(|| "other".into());
        let trigger = Trigger { client: ends.client, server: Some(ends.server), source: Source::Detector };
        let kept = self.keep(trigger, FlowName::of(ends.client, ends.server), Instant::now(), None);
        let at = kept.is_some().then(SystemTime::now);
        self.metrics.slow.get_or_create(&ByCulpritAndPlace { culprit: label.into(), network }).inc_by(1, kept, at);
    }

    /// The flow that a trigger means, if memory has it.
    fn known(&self, trigger: &Trigger) -> Option<FlowName> {
        let named = trigger.server.into_iter().chain(self.servers.iter().map(|(server, ())| *server));
        named.map(|server| FlowName::of(trigger.client, server)).find(|flow| self.memory.has(*flow))
    }

    fn outcome(&self, trigger: &Trigger, outcome: &str) {
        let label = ByTrigger { source: trigger.source.name().into(), outcome: outcome.into() };
        self.metrics.triggers.get_or_create(&label).inc();
    }

    /// Keeps a flow, unless it is not to be; gives what leads to it.
    fn keep(&mut self, trigger: Trigger, flow: FlowName, asked: Instant, answer: Option<Answer>) -> Option<EvidenceLabel> {
        // A person who asks is not rationed.
        let admitted = match trigger.source {
            Source::Asked => Ok(()),
            _ => self.admission.ask(self.begun.elapsed(), trigger.client.ip(), flow),
        };
        if let Err(refused) = admitted {
            self.outcome(&trigger, refused.name());
            debug!(client = %trigger.client, why = refused.name(), source = trigger.source.name(), "a handshake is not kept");
            if let Some(answer) = answer {
                answer(Err(NotKept::Refused(refused)));
            }
            return None;
        }
        let packets = self.memory.flow(flow);
        self.metrics.extraction.observe(asked.elapsed().as_secs_f64());
        let held = packets.len();
        let Some(made) = self.make(packets, &trigger) else {
            self.outcome(&trigger, "gone");
            if let Some(answer) = answer {
                answer(Err(NotKept::NoConnection));
            }
            return None;
        };
        self.outcome(&trigger, "kept");
        let name = name_of(&made);
        let trace = trace(&made.record, &name);
        let label = EvidenceLabel::of(trace.hex(), &name);
        info!(file = name, source = trigger.source.name(), verdict = made.record.label(), "a handshake is kept");
        if let Some(traces) = &self.context.traces {
            // A collector that is away costs traces, nothing else.
            let _ = traces.try_send(trace);
        }
        let network = self.context.origins.of(trigger.client.ip()).map(|origin| origin.to_string());
        self.shown.slow(SlowHandshake { network, ..slow_handshake(&made, &name, &trigger, self.config.capture.anonymise) });
        self.submit(name.clone(), None, made, asked, answer);
        let due = Instant::now() + self.config.evidence.follow.0;
        self.later(Follow { due, asked, trigger, flow: Some(flow), written: Some((name, held)), answer: None });
        Some(label)
    }

    fn make(&self, packets: Vec<Packet>, trigger: &Trigger) -> Option<FlowReport> {
        flow_report(packets, trigger, &self.detector, &self.provenance(), self.threads.as_ref())
    }

    fn submit(&mut self, name: String, replaces: Option<String>, made: FlowReport, asked: Instant, done: Option<Answer>) {
        let request = WriteRequest { name, replaces, bytes: made.pcapng, asked, done };
        if let Err(request) = self.writer.submit(request) {
            self.metrics.evidence_failures.inc();
            if let Some(done) = request.done {
                done(Err(NotKept::Busy));
            }
        }
    }

    fn later(&mut self, follow: Follow) {
        if self.follow.len() >= MOST_FOLLOWED {
            self.outcome(&follow.trigger, "shed");
            return;
        }
        // Two delays only: nearly sorted.
        let place = self.follow.partition_point(|f| f.due <= follow.due);
        self.follow.insert(place, follow);
    }

    fn look_again(&mut self, follow: Follow) {
        let Follow { asked, trigger, flow, written, answer, .. } = follow;
        let (Some(flow), Some((name, held))) = (flow, written) else {
            return match self.known(&trigger) {
                Some(flow) => drop(self.keep(trigger, flow, asked, answer)),
                None => {
                    self.outcome(&trigger, "gone");
                    if let Some(answer) = answer {
                        answer(Err(NotKept::Gone));
                    }
                }
            };
        };
        let packets = self.memory.flow(flow);
        if packets.len() <= held {
            return;
        }
        if let Some(made) = self.make(packets, &trigger) {
            let new = name_of(&made);
            let replaces = (new != name).then_some(name);
            // This is no new trigger: it does not count as one that took a second.
            self.submit(new, replaces, made, Instant::now(), None);
        }
    }
}

/// When it was so long ago.
fn ago(last: Duration) -> Stamp<Monotonic> {
    monotonic() - Span::from(last)
}

/// Whether a packet shows that its flow is one of those.
fn shows(entry: &Entry<'_>, keys: &Keys) -> bool {
    matches!(decode(entry.link, entry.bytes), Ok(Transport::Tcp(segment)) if keys.show(&segment))
}

/// A SYN that waited in memory for the rest of its connection.
fn waited<'a>(seen: &Seen<'a>, syn: &Entry<'a>) -> Seen<'a> {
    let &Entry { at, wire_len, outgoing, flags, link, bytes, .. } = syn;
    let frame = Frame { at, wire_len, interface: u32::from(syn.interface), outgoing, link, bytes };
    Seen { frame, flags, from_client: !flags.ack(), payload_len: 0, payload: &[], ..*seen }
}

/// "20261125T131903.123Z_192.0.2.7-40000_client-cpu_starved.pcapng": sorts by time, says who and whom.
fn name_of(made: &FlowReport) -> String {
    let time = Timestamp::from_nanosecond(i128::from(made.record.started_ns)).unwrap_or_default();
    let client = made.record.client.replace(['[', ']'], "").replace(':', "-");
    let verdict: String =
        made.record.label().chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).collect();
    format!("{}_{client}_{verdict}.pcapng", time.strftime("%Y%m%dT%H%M%S.%3fZ"))
}

fn slow_handshake(made: &FlowReport, file: &str, trigger: &Trigger, anonymise: bool) -> SlowHandshake {
    let record = &made.record;
    let judged = record.judged.as_ref();
    SlowHandshake {
        started: record.started.clone(),
        client: if anonymise { crate::admission::network_of(trigger.client.ip()).to_string() } else { record.client.clone() },
        network: None,
        server_name: record.server_name.clone(),
        verdict: record.label(),
        total_ms: judged.map(|j| j.reading.ledger.total.millis()),
        sentence: judged.map(|j| j.sentence.clone()).or_else(|| record.not_judged.clone()).unwrap_or_default(),
        file: (!anonymise).then(|| file.to_owned()),
        source: trigger.source.name().into(),
    }
}
