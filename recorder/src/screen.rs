//! Nearly all handshakes are quick, and need no analysis to be known as such.
//!
//! Pure: packets and times in; out, which connections were over, finished and answered, before the least threshold for slowness had
//! passed since their first packet. Those cannot be slow by any threshold: no share of a handshake is longer than the whole. All others
//! are suspects, for the [`crate::detector`] to judge.

use std::collections::VecDeque;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;

use analysis::clock::{Instant, Span};
use capture::clock::Monotonic;
use capture::ends::{End, FlowName};
use capture::seen::Seen;
use foldhash::{HashMap, HashMapExt};

/// How long the packets of a suspect are still handed on.
const FOLLOWED: Span = Span::from_millis(120_000);
/// Connections looked at, at once; more are suspects without a look.
const MOST: usize = 1 << 18;

/// A handshake that was quick.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Quick {
    /// The client's end.
    pub client: SocketAddr,
    /// The server's end.
    pub server: SocketAddr,
    /// From the first packet to the one that brought the client's last flight.
    pub duration: Span,
    /// From SYN-ACK to its acknowledgement.
    pub round_trip: Option<Span>,
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
    /// Nobody saw the beginning.
    Unknown,
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

/// How far a connection came. What is no [`Instant`] is nanoseconds since its first packet: what takes four seconds, the most that they
/// tell, is not quick.
struct Course {
    client: End,
    server: End,
    turn: Turn,
    suspect: bool,
    first: Instant<Monotonic>,
    syn_ack: Option<u32>,
    round_trip: Option<u32>,
    finished: u32,
    answered: u32,
}

/// Looks at connections.
pub struct Screen {
    courses: HashMap<FlowName, Course>,
    due: Looks,
    suspects: Looks,
    least: Span,
}

impl Screen {
    /// Handshakes that took less than `least` are quick.
    pub fn new(least: Span) -> Self {
        let least = least.min(nanos(u32::MAX - 1));
        Self { courses: HashMap::new(), due: VecDeque::new(), suspects: VecDeque::new(), least }
    }

    /// Takes a packet; `new`: its connection [`begins`] with it.
    pub fn push(&mut self, seen: &Seen<'_>, new: bool) -> Step {
        let most = self.courses.len() >= MOST;
        let course = match self.courses.entry(seen.flow) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(_) if !new || most => return Step::Quiet,
            Entry::Vacant(entry) => {
                self.due.push_back((seen.frame.at + self.least, seen.flow));
                entry.insert(Course::of(seen))
            }
        };
        if course.suspect {
            return Step::HandOn;
        }
        course.note(seen);
        let ended = seen.flags.rst() || seen.flags.fin();
        if ended && course.turn < Turn::Finished {
            course.suspect = true;
            self.suspects.push_back((seen.frame.at + FOLLOWED, seen.flow));
            return Step::Suspect;
        }
        Step::Quiet
    }

    /// Connections that are decided by now: quick ones, and suspects, whose packets are to be handed on.
    pub fn tick(&mut self, now: Instant<Monotonic>) -> Vec<Result<Quick, FlowName>> {
        let mut decided = Vec::new();
        while let Some((due, flow)) = self.due.pop_front_if_due(now) {
            let Entry::Occupied(mut entry) = self.courses.entry(flow) else { continue };
            let course = entry.get_mut();
            if course.suspect || course.first + self.least != due {
                continue;
            }
            if course.turn == Turn::Answered && nanos(course.answered) < self.least {
                decided.push(Ok(course.quick()));
                entry.remove();
            } else {
                course.suspect = true;
                self.suspects.push_back((now + FOLLOWED, flow));
                decided.push(Err(flow));
            }
        }
        while let Some((_, flow)) = self.suspects.pop_front_if_due(now) {
            self.courses.remove(&flow);
        }
        decided
    }

    /// Connections looked at.
    pub fn under_way(&self) -> usize {
        self.courses.len()
    }
}

impl Course {
    fn of(seen: &Seen<'_>) -> Self {
        Self {
            client: seen.client,
            server: seen.server,
            // Without SYN nobody knows since when it goes on.
            turn: if seen.syn() { Turn::Nobody } else { Turn::Unknown },
            suspect: false,
            first: seen.frame.at,
            syn_ack: None,
            round_trip: None,
            finished: 0,
            answered: 0,
        }
    }

    fn note(&mut self, seen: &Seen<'_>) {
        let at = u32::try_from((seen.frame.at - self.first).nanos()).unwrap_or(u32::MAX);
        if seen.syn() {
            self.syn_ack = self.syn_ack.or(seen.flags.ack().then_some(at));
        } else if seen.from_client && self.round_trip.is_none() {
            self.round_trip = self.syn_ack.map(|sent| at - sent.min(at));
        }
        if seen.payload_len == 0 {
            return;
        }
        self.turn = match (self.turn, seen.from_client) {
            // What is said before TLS, or byte by byte into a closed window, is for the detector to understand.
            (Turn::Nobody, true) if is_hello(seen.payload) => Turn::Hello,
            (Turn::Hello, false) => Turn::Flight,
            (Turn::Flight, true) if !hello_again(seen.payload) => {
                self.finished = at;
                Turn::Finished
            }
            (Turn::Flight, true) => Turn::Hello,
            (Turn::Finished, false) => {
                self.answered = at;
                Turn::Answered
            }
            (turn, _) => turn,
        };
    }

    fn quick(&self) -> Quick {
        let (duration, round_trip) = (nanos(self.finished), self.round_trip.map(nanos));
        Quick { client: self.client.into(), server: self.server.into(), duration, round_trip }
    }
}

/// Whether a connection of which nothing is known can begin with this: with SYN, or, where nobody kept that, with a ClientHello.
pub fn begins(seen: &Seen<'_>) -> bool {
    seen.syn() || is_hello(seen.payload)
}

/// Whether a segment begins with a ClientHello.
fn is_hello(payload: &[u8]) -> bool {
    matches!(payload, [22, 3, _, _, _, 1, ..])
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

fn nanos(nanos: u32) -> Span {
    Span::from_nanos(i64::from(nanos))
}

/// When to look at which connection again, in order of time.
type Looks = VecDeque<(Instant<Monotonic>, FlowName)>;

trait Due {
    fn pop_front_if_due(&mut self, now: Instant<Monotonic>) -> Option<(Instant<Monotonic>, FlowName)>;
}

impl Due for Looks {
    fn pop_front_if_due(&mut self, now: Instant<Monotonic>) -> Option<(Instant<Monotonic>, FlowName)> {
        if self.front()?.0 > now { None } else { self.pop_front() }
    }
}
