//! Nearly all handshakes are quick, and need no analysis to be known as such.
//!
//! Pure: packets and times in; out, which connections were over, finished and answered, before the least threshold for slowness had
//! passed since their first packet. Those cannot be slow by any threshold: no share of a handshake is longer than the whole. All others
//! are suspects, for the [`crate::detector`] to judge.

use std::collections::VecDeque;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;

use analysis::packet::TcpSegment;
use capture::chains::FlowName;
use foldhash::{HashMap, HashMapExt};

/// How long the packets of a suspect are still handed on.
const FOLLOWED: i64 = 120_000_000_000;
/// Connections looked at, at once; more are suspects without a look.
const MOST: usize = 1 << 18;

/// A handshake that was quick.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Quick {
    /// The client's end.
    pub client: SocketAddr,
    /// The server's end.
    pub server: SocketAddr,
    /// From the first packet to the one that brought the client's last flight, in nanoseconds.
    pub duration: i64,
    /// From SYN-ACK to its acknowledgement, in nanoseconds.
    pub round_trip: Option<i64>,
}

/// What to do with a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Nothing.
    Quiet,
    /// Its connection is a suspect from now on: hand on all of its packets.
    Suspect,
    /// Its connection is a suspect: hand it on.
    HandOn,
}

/// Whose turn it was to speak.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Debug)]
enum Turn {
    Nobody,
    /// The client spoke: ClientHello.
    Hello,
    /// The server answered.
    Flight,
    /// The client spoke again, no Hello: its last flight.
    Finished,
    /// The server spoke after that.
    Answered,
}

struct Seen {
    ends: Option<(SocketAddr, SocketAddr)>,
    first: i64,
    finished: i64,
    syn_ack: Option<i64>,
    round_trip: Option<i64>,
    turn: Turn,
    suspect: bool,
    /// When it is looked at.
    due: i64,
}

/// Looks at connections.
pub struct Screen {
    seen: HashMap<FlowName, Seen>,
    due: VecDeque<(i64, FlowName)>,
    suspects: VecDeque<(i64, FlowName)>,
    least: i64,
}

impl Screen {
    /// Handshakes that took less than `least` nanoseconds are quick.
    pub fn new(least: i64) -> Self {
        Self { seen: HashMap::new(), due: VecDeque::new(), suspects: VecDeque::new(), least }
    }

    /// Takes a segment that passed at `at`; `new`: its connection [`begins`] with it.
    pub fn push(&mut self, flow: FlowName, at: i64, segment: &TcpSegment<'_>, new: bool) -> Step {
        let most = self.seen.len() >= MOST;
        let seen = match self.seen.entry(flow) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(_) if !new || most => return Step::Quiet,
            Entry::Vacant(entry) => {
                let due = at + self.least;
                self.due.push_back((due, flow));
                let (ends, turn) = (None, Turn::Nobody);
                entry.insert(Seen { ends, first: at, finished: at, syn_ack: None, round_trip: None, turn, suspect: false, due })
            }
        };
        if seen.suspect {
            return Step::HandOn;
        }
        seen.note(at, segment);
        let ended = segment.flags.rst() || segment.flags.fin();
        if ended && seen.turn < Turn::Finished {
            seen.suspect = true;
            self.suspects.push_back((at + FOLLOWED, flow));
            return Step::Suspect;
        }
        Step::Quiet
    }

    /// Connections that are decided by now: quick ones, and suspects, whose packets are to be handed on.
    pub fn tick(&mut self, now: i64) -> Vec<Result<Quick, FlowName>> {
        let mut decided = Vec::new();
        while let Some((due, flow)) = self.due.pop_front_if_due(now) {
            let Entry::Occupied(mut entry) = self.seen.entry(flow) else { continue };
            let seen = entry.get_mut();
            if seen.suspect || seen.due != due {
                continue;
            }
            match (seen.turn, seen.ends) {
                (Turn::Answered, Some((client, server))) => {
                    let (duration, round_trip) = (seen.finished - seen.first, seen.round_trip);
                    decided.push(Ok(Quick { client, server, duration, round_trip }));
                    entry.remove();
                }
                _ => {
                    seen.suspect = true;
                    self.suspects.push_back((now + FOLLOWED, flow));
                    decided.push(Err(flow));
                }
            }
        }
        while let Some((_, flow)) = self.suspects.pop_front_if_due(now) {
            self.seen.remove(&flow);
        }
        decided
    }

    /// Connections looked at.
    pub fn under_way(&self) -> usize {
        self.seen.len()
    }
}

impl Seen {
    fn note(&mut self, at: i64, segment: &TcpSegment<'_>) {
        match (segment.flags.syn(), segment.flags.ack()) {
            (true, false) => self.ends = Some((segment.source, segment.destination)),
            (true, true) => {
                self.ends = Some((segment.destination, segment.source));
                self.syn_ack = self.syn_ack.or(Some(at));
            }
            _ => {}
        }
        let from_client = self.ends.is_some_and(|(client, _)| client == segment.source);
        if from_client && !segment.flags.syn() && self.round_trip.is_none() {
            self.round_trip = self.syn_ack.map(|sent| at - sent);
        }
        if segment.len == 0 || self.ends.is_none() {
            return;
        }
        self.turn = match (self.turn, from_client) {
            (Turn::Nobody, true) => Turn::Hello,
            (Turn::Hello, false) => Turn::Flight,
            (Turn::Flight, true) if !hello_again(segment.payload) => {
                self.finished = at;
                Turn::Finished
            }
            (Turn::Flight, true) => Turn::Hello,
            (Turn::Finished, false) => Turn::Answered,
            (turn, _) => turn,
        };
    }
}

/// Whether a connection of which nothing is known can begin with this: with SYN, or, where nobody kept that, with a ClientHello.
pub fn begins(segment: &TcpSegment<'_>) -> bool {
    segment.flags.syn() || matches!(segment.payload, [22, 3, _, _, _, 1, ..])
}

/// Whether a client says Hello once more, behind a ChangeCipherSpec or not: it was asked to (HelloRetryRequest), or repeats a
/// segment.
fn hello_again(payload: &[u8]) -> bool {
    let record = match payload {
        [20, 3, _, 0, 1, _, rest @ ..] => rest,
        other => other,
    };
    // Finished of TLS 1.2 is shorter than any Hello.
    matches!(record, [22, 3, _, high, low, 1, ..] if u16::from_be_bytes([*high, *low]) >= 97)
}

trait Due {
    fn pop_front_if_due(&mut self, now: i64) -> Option<(i64, FlowName)>;
}

impl Due for VecDeque<(i64, FlowName)> {
    fn pop_front_if_due(&mut self, now: i64) -> Option<(i64, FlowName)> {
        if self.front()?.0 > now { None } else { self.pop_front() }
    }
}
