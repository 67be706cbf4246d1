//! The engine: packets, threads' events, triggers and times come in; files to write, counts and metrics come out. One thread's state.
//!
//! Packets go into [`Memory`] and before the [`Screen`]; what it suspects, the [`Detector`] judges. Handshakes are counted, and those that
//! are slow are triggers like any other. A trigger that [`Admission`] lets through takes its flow out of memory, now and once more a
//! little later: what comes after it belongs to it too.

mod keeping;

use std::collections::{HashSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use analysis::clock::{Instant as Stamp, Span};
use analysis::key::{Key, Keys};
use analysis::tcp::flow::Side;
use analysis::wire::packet::{Transport, decode};
use capture::chains::Entry;
use capture::clock::{Monotonic, WallOffset, monotonic};
use capture::ends::FlowName;
use capture::seen::{Counters, Frame, Seen};
use capture::sockets::Event;
use lru::LruCache;
use prometheus_client::metrics::counter::Counter;
use serving::otlp::trace::Trace;
use tokio::sync::mpsc::Sender;

use crate::admission::Admission;
use crate::config::Config;
use crate::copies::Copies;
use crate::detector::{Detector, Found};
use crate::error::NotKept;
use crate::evidence_store::Writer;
use crate::flow_report::Provenance;
use crate::kernel_view::KernelView;
use crate::memory::{Memory, Packet};
use crate::metrics::{ByCulprit, ByCulpritAndPlace, ByTrigger, Metrics};
use crate::names::Names;
use crate::origins::{self, Origins};
use crate::screen::{Connection, Isn, Quick, Screen, Step, begins};
use crate::slow::Culprit;
use crate::sources::TriggerRequest;
use crate::tally::{Place, Sums, Tally, places_of};
use crate::trigger::{Source, Trigger};
use crate::view::Shown;

/// Server endpoints remembered: where a log line does not name the server's end, these are tried.
const MOST_SERVERS: usize = 1_024;
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

/// What will be looked at again, and when.
struct Follow {
    due: Instant,
    what: Later,
}

/// What a trigger means.
struct Known {
    of: Connection,
    /// How many connections it may mean.
    among: usize,
}

enum Later {
    /// What a trigger names is not in memory yet.
    Find(TriggerRequest),
    /// A connection has a file: more may belong into it, or it is not on the disk. Until when that was to be waited for tells which of
    /// several looks is the last that was wanted.
    Extend(Connection, Instant),
}

/// The state of the recorder's main thread.
pub struct Engine {
    config: Arc<Config>,
    memory: Memory,
    /// Absent where one interface cannot show what another does.
    copies: Option<Copies>,
    /// Absent where nobody may look.
    threads: Option<KernelView>,
    screen: Screen,
    detector: Detector,
    /// Counts quick handshakes.
    quick: Counter,
    tally: Tally,
    context: Context,
    admission: Admission,
    files: keeping::Files,
    follow: VecDeque<Follow>,
    servers: LruCache<SocketAddr, ()>,
    writer: Writer,
    metrics: Arc<Metrics>,
    shown: Arc<Shown>,
    begun: Instant,
    /// Until when all packets that passed were taken.
    read_until: Stamp<Monotonic>,
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
            copies: (config.capture.interfaces.len() > 1).then(Copies::default),
            threads: context.threads.then(KernelView::default),
            screen: Screen::new(config.slow.least()),
            detector: Detector::default(),
            quick,
            tally: Tally::default(),
            context,
            admission: Admission::new(all, network),
            files: keeping::Files::default(),
            follow: VecDeque::new(),
            servers: LruCache::new(NonZeroUsize::new(MOST_SERVERS).unwrap_or(NonZeroUsize::MIN)),
            writer,
            metrics,
            shown,
            begun: Instant::now(),
            read_until: Stamp::MIN,
            counters: Counters::default(),
            config,
        }
    }

    /// Takes a packet.
    pub fn packet(&mut self, seen: &Seen<'_>) {
        if self.copies.as_mut().is_some_and(|copies| copies.is_copy(seen)) {
            return;
        }
        let Self { memory, screen, .. } = self;
        let hello = begins(seen) && !seen.syn();
        let new = begins(seen) && (seen.syn() || !memory.has(seen.flow));
        let mut before = None;
        let of_connection = memory.push(seen, |syn| {
            if let Some(syn) = waited(&syn)
                && let Step::Again(decided) = screen.push(&syn, true)
            {
                before = Some(decided);
            }
        });
        if let Some(decided) = before {
            self.again(seen.flow, decided);
        }
        if !of_connection {
            return;
        }
        if hello {
            // A log may name this connection before anybody has judged one of this endpoint.
            self.servers.put(seen.server.into(), ());
        }
        match self.screen.push(seen, new) {
            Step::Quiet => {}
            Step::Suspect(isn) => self.suspect(Connection { flow: seen.flow, isn }),
            Step::Again(decided) => self.again(seen.flow, decided),
            Step::HandOn => {
                if let Ok(Transport::Tcp(segment)) = decode(seen.frame.link, seen.frame.bytes) {
                    let found = self.detector.push(seen.frame.at, &segment);
                    found.into_iter().for_each(|found| self.found(found));
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

    /// The addresses and ports of a connection are another's from now on.
    fn again(&mut self, flow: FlowName, before: Result<Quick, Isn>) {
        match before {
            Ok(quick) => self.quick(&quick),
            Err(isn) => self.suspect(Connection { flow, isn }),
        }
    }

    /// Hands a connection on to whoever judges.
    fn suspect(&mut self, of: Connection) {
        for packet in self.packets(of) {
            if let Ok(Transport::Tcp(segment)) = decode(packet.link, &packet.bytes) {
                let found = self.detector.push(packet.at, &segment);
                found.into_iter().for_each(|found| self.found(found));
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

    /// Time passes: all packets until `read_until` were taken.
    pub fn tick(&mut self, read_until: Stamp<Monotonic>) {
        self.read_until = read_until;
        for decided in self.screen.tick(read_until) {
            match decided {
                Ok(quick) => self.quick(&quick),
                Err(of) => self.suspect(of),
            }
        }
        for found in self.detector.tick(read_until) {
            self.found(found);
        }
        while self.follow.front().is_some_and(|f| f.due <= Instant::now()) {
            if let Some(follow) = self.follow.pop_front() {
                self.look_again(follow.what);
            }
        }
    }

    /// How long until a trigger wants to be looked at again; absent if none does.
    pub fn due(&self) -> Option<Duration> {
        self.follow.front().map(|follow| follow.due.saturating_duration_since(Instant::now()))
    }

    /// It is over: what is left to be said of handshakes that ended is said now.
    pub fn close(&mut self) {
        for found in self.detector.close() {
            self.found(found);
        }
    }

    /// What the filter counted.
    pub fn note(&mut self, counters: Counters) {
        self.counters = counters;
    }

    /// Somebody wants a flow kept.
    pub fn asked(&mut self, asked: TriggerRequest) {
        match self.known(&asked.trigger) {
            Some(known) => self.keep(asked, known, None),
            // Not here yet, perhaps.
            None => self.later(PATIENCE, Later::Find(asked)),
        }
    }

    /// The memory.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Names of interfaces that show the same packets.
    pub fn copies(&self) -> impl Iterator<Item = (&str, &str)> {
        let name = |place: u32| self.config.capture.interfaces.get(place as usize).map(String::as_str);
        self.copies.iter().flat_map(Copies::pairs).filter_map(move |(first, second)| Some((name(first)?, name(second)?)))
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
        let known = self.known(trigger).ok_or(NotKept::Gone)?;
        let made = self.make(self.packets(known.of), trigger, known.among);
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
            interfaces: self.config.capture.interfaces.clone(),
            received: passed + syns + lost + syns_lost,
            lost: lost + syns_lost,
            filter_at: self.context.filter_at.clone(),
        }
    }

    fn places(&mut self, client: IpAddr) -> Vec<Place> {
        places_of(client, &self.config.networks, self.context.origins.of(client))
    }

    /// A handshake is over, or silent for long.
    fn found(&mut self, Found { finding, again }: Found) {
        let ends = finding.placed.handshake.endpoints;
        self.servers.put(ends.server, ());
        let isn =
            finding.placed.handshake.edge.as_ref().and_then(|view| view.syns(Side::Client).next().and(view.isn(Side::Client)));
        let of = Connection { flow: FlowName::of(ends.client, ends.server), isn };
        let (label, slow) = match &finding.judged {
            Ok(opinion) => {
                let culprit = Culprit::of(opinion);
                (culprit.map_or("none", Culprit::label), culprit.filter(|_| self.config.slow.holds(opinion)))
            }
            Err(_) => ("unread", None),
        };
        // What was written before it was over did not know the end of it.
        self.write_anew(of, true);
        let places = self.places(ends.client.ip());
        if !again {
            if let Ok(opinion) = &finding.judged {
                self.metrics.durations.observe(opinion.reading.ledger.total.millis() / 1e3);
            }
            self.metrics.handshakes.get_or_create(&ByCulprit { culprit: label.into() }).inc();
            self.tally.count(self.begun.elapsed(), places.clone(), slow);
        }
        if slow.is_none() || again && self.files.get(of).is_some() {
            return;
        }
        if let Some(names) = &self.context.names {
            names.ask(ends.client.ip());
        }
        let named = places.into_iter().find_map(|place| if let Place::Named(name) = place { Some(name) } else { None });
        let counted = ByCulpritAndPlace { culprit: label.into(), network: named.unwrap_or_else(|| "other".into()) };
        let counted = (!again).then_some(counted);
        if let Some(counted) = &counted {
            self.metrics.slow.get_or_create(counted).inc_by(1, None, None);
        }
        let trigger = Trigger { client: ends.client, server: Some(ends.server), source: Source::Detector };
        let asked = TriggerRequest { trigger, at: Instant::now(), answer: None };
        self.keep(asked, Known { of, among: 1 }, counted);
    }

    /// The connection that a trigger means, if memory has it: of several, the one whose server it names, or else the latest.
    fn known(&self, trigger: &Trigger) -> Option<Known> {
        let flow = |server: SocketAddr| FlowName::of(trigger.client, server);
        let latest = |flow| Connection { flow, isn: self.memory.last_isn(flow) };
        if let Some(server) = trigger.server {
            return Some(flow(server)).filter(|flow| self.memory.has(*flow)).map(|flow| Known { of: latest(flow), among: 1 });
        }
        let mut found: Vec<SocketAddr> = self.servers.iter().map(|(server, ())| *server).collect();
        found.retain(|server| self.memory.has(flow(*server)));
        if found.len() > 1 {
            let named = |server: &SocketAddr| trigger.names(*server);
            let best = found.iter().map(named).max();
            found.retain(|server| Some(named(server)) == best);
        }
        let among = found.len();
        let of = found.into_iter().map(flow).max_by_key(|flow| self.memory.last_at(*flow)).map(latest)?;
        Some(Known { of, among })
    }

    fn outcome(&self, source: &str, outcome: &str) {
        let label = ByTrigger { source: source.into(), outcome: outcome.into() };
        self.metrics.triggers.get_or_create(&label).inc();
    }

    fn later(&mut self, after: Duration, what: Later) {
        if self.follow.len() >= MOST_FOLLOWED {
            if let Later::Find(asked) = &what {
                self.outcome(asked.trigger.source.name(), "shed");
            }
            return;
        }
        let due = Instant::now() + after;
        // A few delays only: nearly sorted.
        let place = self.follow.partition_point(|f| f.due <= due);
        self.follow.insert(place, Follow { due, what });
    }

    fn look_again(&mut self, what: Later) {
        match what {
            Later::Extend(of, due) => self.extend(of, due),
            Later::Find(asked) => match self.known(&asked.trigger) {
                Some(known) => self.keep(asked, known, None),
                None => {
                    self.outcome(asked.trigger.source.name(), "gone");
                    if let Some(answer) = asked.answer {
                        answer(Err(NotKept::Gone));
                    }
                }
            },
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
fn waited<'a>(syn: &Entry<'a>) -> Option<Seen<'a>> {
    let &Entry { at, wire_len, interface, outgoing, flags, link, bytes, .. } = syn;
    let Ok(Transport::Tcp(segment)) = decode(link, bytes) else { return None };
    let frame = Frame { at, wire_len, interface: u32::from(interface), outgoing, link, bytes };
    Some(Seen::decoded(frame, &segment, !flags.ack(), bytes.len()))
}
