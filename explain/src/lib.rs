//! Capture files in, the verdict of every handshake in them out.
//!
//! ```text
//! capture::set ─ frames ─► Observer (one per capture and interface) ─ views ─► WaitingRoom ─ groups ─► Placing ─ Placed ─► Judging ─► Finding
//!   files in order of time   decode, flow table, settle                 same connection          which end           baselines, verdict
//! ```
//! Memory is bounded by the handshakes under way (each stage states its budget), not by the files.
#![forbid(unsafe_code)]

pub mod claims;
mod ended;
pub mod evidence;
pub mod filter;
pub mod gather;
mod habits;
pub mod how;
pub mod imported;
pub mod joining;
mod judges;
pub mod judging;
pub mod observer;
pub mod placing;
pub mod record;
mod twins;
pub mod usual;

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use analysis::clock::{Domain, Instant, Span, Unplaced};
use analysis::dns::Wanted;
use analysis::doubt::order;
use analysis::doubt::standpoint::Standpoint;
use analysis::doubt::taps::{self, Taps};
use analysis::tcp::flow::{Side, View};
use capture::set::Set;
use foldhash::HashMap;
use records::explained::{CaptureRecord, Counts};
use settings::words::plural;

use joining::{Group, WaitingRoom};
use judges::Judges;
use judging::Finding;
use observer::{Meant, Observer};
use placing::{Placed, Placing};
use twins::Twins;

/// A connection that began longer after its lookup's answer may not have been wanted before (browsers look names up ahead of use): whether
/// its client stalled, packets cannot tell.
const LOOKUP_FITS: Span = Span::from_millis(50);
/// A silence shorter than this needs no explanation.
const LONG_SILENCE: Span = Span::from_millis(10);
/// Packets between two looks at what takes long.
const STRIDE: u64 = 1 << 14;

/// What to read, and how.
#[derive(Clone, Default)]
pub struct Options {
    /// Capture files; `-` is standard input.
    pub captures: Vec<PathBuf>,
    /// Capture files taken at the client's end, whatever they look like.
    pub client_side: Vec<PathBuf>,
    /// Capture files taken at the edge's end.
    pub edge_side: Vec<PathBuf>,
    /// Whether to wait for more at the end of a file.
    pub follow: bool,
    /// Set when reading should end early; everything read so far still counts.
    pub stop: Arc<AtomicBool>,
}

/// What was read.
pub struct Outcome {
    /// The captures.
    pub captures: Vec<CaptureRecord>,
    /// The files behind packet numbers.
    pub files: Vec<PathBuf>,
    /// What passed.
    pub counts: Counts,
    /// Handshakes found.
    pub handshakes: u64,
    /// What to know before believing it.
    pub warnings: Vec<String>,
    /// Files of which nothing at all could be read.
    pub unreadable: usize,
}

/// Where findings go.
pub trait Sink {
    /// May add to a handshake what is known beside the packets (host evidence), before it is judged.
    fn placed(&mut self, placed: &mut Placed) {
        let _ = placed;
    }
    /// Handshakes that took no longer than this are only counted: nobody asks for their packets. It never becomes less; absent if all
    /// are wanted whole.
    fn counts_only(&self) -> Option<Span> {
        None
    }
    /// Takes a judged handshake; `files` are those behind its packet numbers ([`capture::set::split`]).
    fn finding(&mut self, finding: Finding, files: &[PathBuf]) -> ControlFlow<()>;
    /// Told now and then how far reading has come.
    fn progress(&mut self, packets: u64);
}

/// Reads captures and gives every handshake in them to `sink`.
pub fn explain(options: &Options, sink: &mut dyn Sink) -> Outcome {
    let mut run = Run::new(options);
    let ended = run.read(options, sink);
    if ended.is_continue() {
        let _ = run.finish(sink);
    }
    run.outcome()
}

struct Run<'a> {
    options: &'a Options,
    set: Set,
    observers: Vec<Observer>,
    by_interface: HashMap<(usize, u32), usize>,
    names: Vec<(usize, u32)>,
    /// Observers of which `placing` has been told what the user says.
    stated: usize,
    waiting: WaitingRoom,
    twins: Twins,
    placing: Placing,
    judges: Judges,
    packets: u64,
    handshakes: u64,
}

impl<'a> Run<'a> {
    fn new(options: &'a Options) -> Self {
        let paths: Vec<PathBuf> =
            [&options.captures, &options.client_side, &options.edge_side].into_iter().flatten().cloned().collect();
        let follow = options.follow.then(|| Arc::clone(&options.stop));
        Self {
            options,
            set: Set::open(&paths, follow),
            observers: Vec::new(),
            by_interface: HashMap::default(),
            names: Vec::new(),
            stated: 0,
            waiting: WaitingRoom::default(),
            twins: Twins::default(),
            placing: Placing::default(),
            judges: Judges::new(options.follow),
            packets: 0,
            handshakes: 0,
        }
    }

    fn read(&mut self, options: &Options, sink: &mut dyn Sink) -> ControlFlow<()> {
        let mut at = 0;
        loop {
            let Some((capture, frame)) = self.set.next_frame() else { return ControlFlow::Continue(()) };
            let place = (capture, frame.interface);
            if self.names.get(at) != Some(&place) {
                at = match self.by_interface.get(&place) {
                    Some(at) => *at,
                    None => {
                        self.observers.push(Observer::default());
                        self.names.push(place);
                        self.by_interface.insert(place, self.observers.len() - 1);
                        self.observers.len() - 1
                    }
                };
            }
            let now = frame.at;
            let observer = &mut self.observers[at];
            let over = observer.push(&frame);
            let overdue = observer.overdue();
            self.packets += 1;
            if let Some(view) = over {
                self.view(at, view, sink)?;
            }
            let mut overdue = overdue;
            while let Some(view) = overdue {
                self.view(at, view, sink)?;
                overdue = self.observers[at].overdue();
            }
            if self.packets.is_multiple_of(STRIDE) {
                self.look_round(now, sink)?;
                sink.progress(self.packets);
                if options.stop.load(Ordering::Relaxed) {
                    return ControlFlow::Continue(());
                }
            }
        }
    }

    /// A connection that is over at one observer.
    fn view(&mut self, observer: usize, mut view: Box<View<Unplaced>>, sink: &mut dyn Sink) -> ControlFlow<()> {
        view.close();
        let meant = self.observers[observer].meant(&view);
        let expected = self.set.expected_observers();
        if meant == Meant::No || meant == Meant::Perhaps && expected <= 1 || self.twins.is_twin(observer, &view) {
            return ControlFlow::Continue(());
        }
        order::mend(&mut view);
        let view = match taps::part(view) {
            Taps::One(view) => view,
            Taps::Two(ends) => return self.group(Group::of_two_places(observer, ends), sink),
        };
        if expected <= 1 {
            return self.group(Group::alone(observer, view), sink);
        }
        match self.waiting.push(observer, view, expected, meant == Meant::Perhaps) {
            Some(group) => self.group(group, sink),
            None => ControlFlow::Continue(()),
        }
    }

    /// Frames come in order of time, whoever captured them: what is idle where nothing passes any more is told, too. Clocks may differ by
    /// hours: partners are waited for until every capture has come so far.
    fn look_round(&mut self, now: Instant<Unplaced>, sink: &mut dyn Sink) -> ControlFlow<()> {
        for at in 0..self.observers.len() {
            while let Some(view) = self.observers[at].overdue_at(now) {
                self.view(at, view, sink)?;
            }
        }
        let now = self.observers.iter().map(Observer::now).min().unwrap_or_default();
        while let Some(group) = self.waiting.overdue(now) {
            self.group(group, sink)?;
        }
        ControlFlow::Continue(())
    }

    fn group(&mut self, group: Group, sink: &mut dyn Sink) -> ControlFlow<()> {
        if !group.shows_tls() {
            return ControlFlow::Continue(());
        }
        self.state();
        let observers = &self.observers;
        let mut placed = self.placing.place(group, |observer, from| observers[observer].went_on(from));
        self.look_before(&mut placed);
        self.ask_around(&mut placed);
        sink.placed(&mut placed);
        // On the core that made them: memory is given back sooner where it came from.
        placed.forget_bytes();
        let judged = self.judges.push(placed, sink.counts_only());
        self.give(judged, sink)
    }

    /// What the client did before it connected: the lookup of the name, and the addresses that it tried in vain.
    fn look_before(&mut self, placed: &mut Placed) {
        let h = &mut placed.handshake;
        let (Some(observer), Some(view)) = (placed.client_observer, &h.client) else { return };
        // A connection that nobody answered was not kept waiting by its lookup.
        if view.syns(Side::Server).next().is_none() {
            return;
        }
        let Some(syn) = view.syns(Side::Client).next() else { return };
        let (client, server) = (view.endpoints.client, view.endpoints.server);
        let name = h.dialogue.server_name.as_deref();
        let wanted = Wanted { client: client.ip(), server: server.ip(), name, connected: syn.at };
        // Connected at once with what it had looked up, it tried nothing else.
        let looked_up = self.observers[observer].lookups().looked_up(server.ip(), syn.at);
        let waited = looked_up.filter(|[_, answered]| syn.at - *answered > LONG_SILENCE);
        let tried =
            waited.map_or_else(Vec::new, |[asked, _]| self.observers[observer].tried(client.ip(), server, [asked, syn.at]));
        // Looked up before the first address that was tried.
        let connected = tried.first().map_or(syn.at, |first| first.from);
        let lookups = self.observers[observer].lookups();
        h.lookup = lookups.take_recent(&Wanted { connected, ..wanted }, LOOKUP_FITS).map(Box::new);
        let of_name = h.lookup.as_ref().is_some_and(|lookup| tried.iter().all(|t| lookup.gave(t.server.ip())));
        if of_name {
            h.tried = tried;
        } else if h.lookup.is_none() && !tried.is_empty() {
            h.lookup = self.observers[observer].lookups().take_recent(&wanted, LOOKUP_FITS).map(Box::new);
        }
    }

    /// Where an end was silent for long, looks for what it asked others meanwhile.
    fn ask_around(&mut self, placed: &mut Placed) {
        let h = &mut placed.handshake;
        for (end, observer) in [placed.client_observer, placed.edge_observer].into_iter().enumerate() {
            let endpoints = match end {
                0 => h.client.as_ref().map(|v| v.endpoints),
                _ => h.edge.as_ref().map(|v| v.endpoints),
            };
            if let (Some(observer), Some(endpoints)) = (observer, endpoints) {
                h.too_big[end] = self.observers[observer].too_big(endpoints, end == 0);
            }
            // Whoever was answered was not refused.
            let unanswered = match end {
                0 => h.client.as_ref().and_then(unanswered),
                _ => h.edge.as_ref().and_then(unanswered),
            };
            let observer = observer.or(placed.elsewhere);
            let told =
                observer.zip(unanswered).and_then(|(observer, isn)| self.observers[observer].unreachable(h.endpoints, isn));
            h.unreachable[end] = told.map(|(at, packet, by)| (at.nanos(), packet, by));
        }
        if let Some(otherwise) = &mut placed.otherwise {
            otherwise.unreachable = h.unreachable;
        }
        let d = &h.dialogue;
        if let (Some(observer), Some(view), None) = (placed.client_observer, &h.client, &h.edge)
            && let (Some(first), Some(last)) = (view.packets.first(), view.packets.last())
        {
            h.client_pulse = self.observers[observer].pulse(first.at, last.at);
        }
        let alone = match (&h.client, &h.edge) {
            (Some(view), None) => view.packets.last().map(|last| Instant::from_nanos(last.at.nanos())),
            (None, Some(view)) => view.packets.last().map(|last| Instant::from_nanos(last.at.nanos())),
            _ => None,
        };
        let observer = placed.client_observer.or(placed.edge_observer);
        h.watched_until = alone.zip(observer).map(|(last, observer)| self.observers[observer].went_on(last).nanos());
        if let (Some(observer), Some(view), Some(flight), Some(finished)) =
            (placed.client_observer, &h.client, d.server_flight, d.client_finished)
            && let Some((came, went)) = long_silence(view, Side::Client, flight.end, finished.end)
        {
            h.client_asked = self.observers[observer].asked(view.endpoints.client.ip(), came, went);
        }
        if let (Some(observer), Some(view), Some(hello), Some(flight)) =
            (placed.edge_observer, &h.edge, d.client_hello, d.server_flight)
            && let Some((came, went)) = long_silence(view, Side::Server, hello.end, flight.end)
        {
            h.edge_asked = self.observers[observer].asked(view.endpoints.server.ip(), came, went);
        }
    }

    /// Tells `placing` what the user says of the captures of observers that are new.
    fn state(&mut self) {
        for observer in self.stated..self.observers.len() {
            let (capture, _) = self.names[observer];
            let file = self.set.captures()[capture].files.first();
            for (files, end) in [(&self.options.client_side, Standpoint::Client), (&self.options.edge_side, Standpoint::Edge)] {
                if file.is_some_and(|file| files.contains(file)) {
                    self.placing.state(observer, end);
                }
            }
        }
        self.stated = self.observers.len();
    }

    fn give(&mut self, judged: impl IntoIterator<Item = Finding>, sink: &mut dyn Sink) -> ControlFlow<()> {
        for finding in judged {
            self.handshakes += 1;
            #[cfg(debug_assertions)]
            claims::warn(&finding);
            sink.finding(finding, self.set.files())?;
        }
        ControlFlow::Continue(())
    }

    fn finish(&mut self, sink: &mut dyn Sink) -> ControlFlow<()> {
        for at in 0..self.observers.len() {
            for view in self.observers[at].finish() {
                self.view(at, view, sink)?;
            }
        }
        let rest: Vec<Group> = self.waiting.finish().collect();
        for group in rest {
            self.group(group, sink)?;
        }
        let rest = std::mem::replace(&mut self.judges, Judges::new(true)).finish();
        self.give(rest, sink)
    }

    fn outcome(self) -> Outcome {
        let mut counts = Counts { twins: self.twins.found(), ..Counts::default() };
        for observer in &self.observers {
            counts += observer.counts();
        }
        let points = |capture: usize| -> Vec<String> {
            let of_capture = self.names.iter().enumerate().filter(|(_, (c, _))| *c == capture);
            of_capture
                .map(|(observer, _)| observation_point(self.placing.stated(observer), &self.placing.witnesses(observer)))
                .collect()
        };
        let captures: Vec<CaptureRecord> = self
            .set
            .captures()
            .iter()
            .enumerate()
            .map(|(i, c)| CaptureRecord {
                files: c.files.iter().map(|f| f.display().to_string()).collect(),
                packets: c.packets,
                dropped: c.dropped,
                observation_points: points(i),
            })
            .collect();
        let unreadable = self.set.broken().iter().filter(|b| b.after == 0).count();
        let warnings = record::warnings(self.set.broken(), self.set.in_sections(), &captures, &counts);
        let files = self.set.files().to_vec();
        Outcome { captures, files, counts, handshakes: self.handshakes, warnings, unreadable }
    }
}

/// From when to when `side` was silent between what its peer had sent before `heard` and its own up to `said`, if that was long.
fn long_silence<D: Domain>(view: &View<D>, side: Side, heard: i64, said: i64) -> Option<(Instant<D>, Instant<D>)> {
    let went = view.first_copy(side, said)?.at;
    let long = |came: &Instant<D>| went - *came > LONG_SILENCE;
    // All of it has come no sooner than its end first came, which is found in less time.
    view.first_copy(side.peer(), heard).map(|end| end.at).filter(long)?;
    let came = view.completed(side.peer(), heard).map(|end| end.at).filter(long)?;
    Some((came, went))
}

fn observation_point(stated: Option<Standpoint>, witnesses: &[(Standpoint, u64)]) -> String {
    let words = |s: Standpoint| match s {
        Standpoint::Client => "at the client",
        Standpoint::Edge => "at the edge",
        Standpoint::Both => "at both ends",
        Standpoint::Between => "between the ends",
        Standpoint::Unknown => "anywhere",
    };
    if let Some(stated) = stated {
        return format!("{}, as you say", words(stated));
    }
    let found: Vec<String> = witnesses.iter().map(|(s, n)| format!("{} ({})", words(*s), plural(*n, "connection"))).collect();
    if found.is_empty() { "somewhere (no connection tells)".into() } else { found.join(", ") }
}

/// The number of the client's SYN, if no SYN-ACK was seen.
fn unanswered<D: Domain>(view: &View<D>) -> Option<u32> {
    view.isn(Side::Client).filter(|_| view.syns(Side::Server).next().is_none())
}
