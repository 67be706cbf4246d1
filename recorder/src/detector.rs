//! Handshakes judged as they end: no proxy has to say anything.
//!
//! Pure: packets and times in, [`Finding`]s out. A handshake is over when the client's Finished has passed and nothing more is to be
//! learned, or when somebody gave up. One that is silent for long is judged as it is, and once more if it goes on soon after that.

use std::collections::{HashMap, VecDeque};

use analysis::clock::{Domain, Edge, Instant, Span};
use analysis::conversation::handshake::Handshake;
use analysis::conversation::settle::Progress;
use analysis::tcp::flow::{Endpoints, Side, View};
use analysis::tcp::table::{FlowTable, Slot};
use analysis::wire::packet::TcpSegment;
use capture::clock::Monotonic;
use explain::how::{How, Known};
use explain::judging::{Finding, Judging, NotJudged, Opinion};
use explain::placing::Placed;
use records::explained::SeenFrom;

use crate::screen::{Isn, Quick};

/// After Finished, a reset or FIN, what else comes within this time belongs to the handshake: retransmissions, an answer.
const LINGER: Span = Span::from_millis(300);
/// A connection on which nothing but its beginning passed for so long is judged as it is.
pub(crate) const PATIENCE: Span = Span::from_millis(30_000);

/// A connection without data that lasted less was a port check.
const PORT_CHECK: Span = Span::from_millis(1_000);

/// Follows handshakes.
pub struct Detector {
    table: FlowTable<Monotonic>,
    judging: Judging,
    /// Connections to look at again, and when: those that may be over, and all others.
    soon: VecDeque<Look>,
    later: VecDeque<Look>,
    /// Connections that were silent for so long that they were judged as they were, and how many packets they had then.
    told: HashMap<(Endpoints, Isn), usize>,
    packets: u64,
}

/// A handshake that is judged.
pub struct Found {
    /// What happened.
    pub finding: Finding,
    /// It was judged before, while it was silent: it is counted.
    pub again: bool,
}

struct Look {
    due: Instant<Monotonic>,
    slot: Slot,
    endpoints: Endpoints,
    client_isn: Option<u32>,
}

impl Default for Detector {
    fn default() -> Self {
        let judging = Judging::new(true);
        let (soon, later) = Default::default();
        Self { table: FlowTable::default(), judging, soon, later, told: HashMap::new(), packets: 0 }
    }
}

impl Detector {
    /// Takes a segment that passed at `at`; gives the handshake that it ended.
    pub fn push(&mut self, at: Instant<Monotonic>, segment: &TcpSegment<'_>) -> Option<Found> {
        self.packets += 1;
        let slot = self.table.push(at, self.packets, segment)?;
        let view = self.table.view(slot)?;
        let progress = view.progress();
        let (first, may_be_over) = (view.packets.len() == 1, view.may_be_over(segment));
        let look = Look { due: at + LINGER, slot, endpoints: view.endpoints, client_isn: view.isn(Side::Client) };
        match progress {
            Progress::Over => return self.end(slot),
            Progress::NotTls => {
                self.table.take(slot).map(|view| self.told.remove(&key(&view)));
                return None;
            }
            Progress::Going => {}
        }
        if first {
            self.later.push_back(Look { due: at + PATIENCE, ..look });
        } else if may_be_over {
            self.soon.push_back(look);
        }
        None
    }

    /// Handshakes that are over by now, or silent for long.
    pub fn tick(&mut self, now: Instant<Monotonic>) -> Vec<Found> {
        let mut found = Vec::new();
        while let Some(look) = due(&mut self.soon, now) {
            if self.same(&look).is_some_and(|view| over(view)) {
                found.extend(self.end(look.slot));
            }
        }
        while let Some(mut look) = due(&mut self.later, now) {
            let key = (look.endpoints, look.client_isn);
            let Some(view) = self.same(&look) else {
                self.told.remove(&key);
                continue;
            };
            let silent_since = view.last_at().unwrap_or(now);
            if now - silent_since >= PATIENCE {
                found.extend(self.silent(look.slot, now));
            }
            look.due = now + PATIENCE; // the queue stays in order
            self.later.push_back(look);
        }
        while let Some(view) = self.table.overdue(now) {
            found.extend(self.judge(*view, Some(now)));
        }
        found
    }

    /// Handshakes that have ended, though more of them might come.
    pub fn close(&mut self) -> Vec<Found> {
        let soon: Vec<Look> = self.soon.drain(..).collect();
        let ended = |detector: &mut Self, look: Look| {
            let over = detector.same(&look).is_some_and(|view| over(view));
            if over { detector.end(look.slot) } else { None }
        };
        soon.into_iter().filter_map(|look| ended(self, look)).collect()
    }

    /// Learns from a handshake that was quick.
    pub fn quick(&mut self, quick: &Quick) {
        if let Some(round_trip) = quick.round_trip {
            self.judging.note_path(quick.client.ip(), quick.server.ip(), round_trip);
        }
    }

    /// Judges a connection whose packets somebody kept, by what is known of paths.
    ///
    /// # Errors
    /// Says why it cannot be read.
    pub fn opinion(&self, placed: &Placed) -> Result<Opinion, NotJudged> {
        self.judging.opinion(placed)
    }

    fn same(&mut self, look: &Look) -> Option<&mut View<Monotonic>> {
        let view = self.table.view(look.slot)?;
        (view.endpoints == look.endpoints && view.isn(Side::Client) == look.client_isn).then_some(view)
    }

    fn end(&mut self, slot: Slot) -> Option<Found> {
        let view = self.table.take(slot)?;
        self.judge(*view, None)
    }

    /// Judges a connection as it is, and follows it: what comes yet belongs to it.
    fn silent(&mut self, slot: Slot, now: Instant<Monotonic>) -> Option<Found> {
        let view = self.table.view(slot)?;
        let (key, packets) = (key(view), view.packets.len());
        if self.told.get(&key) == Some(&packets) {
            return None;
        }
        let view = view.clone();
        let found = self.judge(view, Some(now));
        if found.is_some() {
            self.told.insert(key, packets);
        }
        found
    }

    /// `watched`: until when nothing else came; absent of a connection that is over.
    fn judge(&mut self, mut view: View<Monotonic>, watched: Option<Instant<Monotonic>>) -> Option<Found> {
        let told = self.told.remove(&key(&view));
        view.close();
        if !worth_judging(&view) || watched.is_some() && told == Some(view.packets.len()) {
            return None;
        }
        let ended = over(&view);
        let mut placed = at_edge(view);
        placed.handshake.watched_until = watched.filter(|_| !ended).map(Instant::nanos);
        self.judging.push(placed, None);
        self.judging.pop(true).map(|finding| Found { finding, again: told.is_some() })
    }
}

/// Which connection it is: addresses and ports are used again.
fn key(view: &View<Monotonic>) -> (Endpoints, Isn) {
    (view.endpoints, view.isn(Side::Client))
}

/// The first look, if it is due.
fn due(looks: &mut VecDeque<Look>, now: Instant<Monotonic>) -> Option<Look> {
    if looks.front()?.due > now { None } else { looks.pop_front() }
}

/// Whether a connection to a TLS port was a handshake, or meant to be one: not what was closed at once without a word (a port
/// check), nor another protocol.
fn worth_judging(view: &View<Monotonic>) -> bool {
    if [Side::Client, Side::Server].iter().any(|side| view.half(*side).records.start().is_some()) {
        return true;
    }
    let client = &view.half(Side::Client).stream;
    let beheaded = client.has_holes() && !client.known(0, 1); // the beginning of its ClientHello never came
    let silent = view.packets.iter().all(|p| p.is_empty());
    let lasted = view.packets.first().zip(view.last_at()).map_or(Span::ZERO, |(first, last)| last - first.at);
    beheaded || silent && lasted >= PORT_CHECK
}

/// A connection as an edge's operator sees it: by whichever clock it was recorded, that is the edge's.
pub fn at_edge<D: Domain>(view: View<D>) -> Placed {
    Placed {
        seen: SeenFrom::EdgeEnd,
        how: Known::Of(How::Recorded),
        handshake: Box::new(Handshake::of(None, Some(view.on_clock_of::<Edge>()))),
        otherwise: None,
        client_observer: None,
        edge_observer: Some(0),
        elsewhere: None,
        notes: Vec::new(),
    }
}

/// Whether a handshake has ended, well or not.
pub(crate) fn over<D: Domain>(view: &View<D>) -> bool {
    // A client that resets what an old connection answered sends its SYN again (RFC 5961, section 4).
    let answered = view.syns(Side::Server).next().is_some() || view.packets.iter().any(|p| !p.is_empty());
    let ended = view.packets.iter().any(|p| p.flags.fin() || p.flags.rst() && (answered || p.from == Side::Server));
    ended || view.dialogue().client_finished.is_some()
}

/// Cheap signs that a look is worth its price.
trait Signs {
    fn may_be_over(&self, segment: &TcpSegment<'_>) -> bool;
}

impl Signs for View<Monotonic> {
    fn may_be_over(&self, segment: &TcpSegment<'_>) -> bool {
        let protected =
            segment.len > 0 && segment.source() == self.endpoints.client && self.half(Side::Client).records.protected() > 0;
        protected || segment.flags.fin() || segment.flags.rst()
    }
}
