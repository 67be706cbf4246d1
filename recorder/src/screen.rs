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
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Step {
    /// Nothing.
    Quiet,
    /// Its connection is a suspect from now on: hand on all of its packets.
    Suspect(Isn),
    /// Its connection is a suspect: hand it on.
    HandOn,
    /// It begins another connection of the same addresses and ports; what became of the one before: it was quick, or all of its
    /// packets are to be handed on.
    Again(Result<Quick, Isn>),
}

/// The client's initial sequence number; absent where its SYN was not seen.
pub type Isn = Option<u32>;

/// A connection: addresses and ports are used again, with other numbers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Connection {
    /// Its addresses and ports.
    pub flow: FlowName,
    /// Its client's number.
    pub isn: Isn,
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
    /// The client sent its first protected record: its last flight.
    Finished,
    /// The server spoke after that, and had it.
    Answered,
}

/// What a client says once the server has answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Said {
    /// Hello once more: it was asked to (HelloRetryRequest), or repeats a segment.
    Hello,
    /// Something protected.
    Protected,
    /// Nothing that tells.
    Other,
}

/// How far a connection came. What is no [`Instant`] is nanoseconds since its first packet: what takes four seconds, the most that they
/// tell, is not quick.
struct Course {
    client: End,
    server: End,
    isn: Isn,
    turn: Turn,
    /// More than SYN packets came.
    spoken: bool,
    /// Until when its packets are handed on, if it is a suspect.
    suspect: Option<Instant<Monotonic>>,
    /// The client's last record was ChangeCipherSpec: what it says next is protected.
    changed: bool,
    /// The sequence number behind the client's last flight.
    flight_end: u32,
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
            Entry::Occupied(entry) if entry.get().ends_with(seen) => {
                let before = std::mem::replace(entry.into_mut(), Course::of(seen));
                self.due.push_back((seen.frame.at + self.least, seen.flow));
                // Who only sent SYN has no connection; and of a suspect, whoever judges it has the packets.
                let told = !before.spoken || before.suspect.is_some();
                return if told { Step::Quiet } else { Step::Again(before.decided(self.least)) };
            }
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(_) if !new || most => return Step::Quiet,
            Entry::Vacant(entry) => {
                self.due.push_back((seen.frame.at + self.least, seen.flow));
                entry.insert(Course::of(seen))
            }
        };
        if course.suspect.is_some() {
            return Step::HandOn;
        }
        course.note(seen);
        let ended = seen.flags.rst() || seen.flags.fin();
        if ended && course.turn < Turn::Finished {
            let until = seen.frame.at + FOLLOWED;
            course.suspect = Some(until);
            self.suspects.push_back((until, seen.flow));
            return Step::Suspect(course.isn);
        }
        Step::Quiet
    }

    /// Connections that are decided by now: quick ones, and suspects, whose packets are to be handed on.
    pub fn tick(&mut self, now: Instant<Monotonic>) -> Vec<Result<Quick, Connection>> {
        let mut decided = Vec::new();
        while let Some((due, flow)) = self.due.pop_front_if_due(now) {
            let Entry::Occupied(mut entry) = self.courses.entry(flow) else { continue };
            let course = entry.get_mut();
            if course.suspect.is_some() || course.first + self.least != due {
                continue;
            }
            if let Ok(quick) = course.decided(self.least) {
                decided.push(Ok(quick));
                entry.remove();
            } else {
                course.suspect = Some(now + FOLLOWED);
                self.suspects.push_back((now + FOLLOWED, flow));
                decided.push(Err(Connection { flow, isn: course.isn }));
            }
        }
        while let Some((until, flow)) = self.suspects.pop_front_if_due(now) {
            // The port may be another connection's by now.
            if let Entry::Occupied(entry) = self.courses.entry(flow)
                && entry.get().suspect == Some(until)
            {
                entry.remove();
            }
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
            isn: isn_of(seen),
            spoken: false,
            suspect: None,
            changed: false,
            flight_end: 0,
            first: seen.frame.at,
            syn_ack: None,
            round_trip: None,
            finished: 0,
            answered: 0,
        }
    }

    fn note(&mut self, seen: &Seen<'_>) {
        let at = u32::try_from((seen.frame.at - self.first).nanos()).unwrap_or(u32::MAX);
        self.spoken |= !seen.syn();
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
            (Turn::Nobody, true) if is_hello(seen.payload) => {
                let len = seen.payload.get(3..5).map_or(0, |len| usize::from(len[0]) << 8 | usize::from(len[1]));
                self.hello(seen, 5 + len)
            }
            (Turn::Hello, true) => self.hello(seen, 0),
            (Turn::Hello, false) => Turn::Flight,
            (Turn::Flight, true) => match said(seen, 0, &mut self.changed) {
                Said::Protected => {
                    (self.finished, self.flight_end) = (at, seen.seq.wrapping_add(seen.payload_len));
                    Turn::Finished
                }
                Said::Hello => Turn::Hello,
                Said::Other => Turn::Flight,
            },
            // A part of the server's flight, or a copy of it, knows nothing of what the client said last.
            (Turn::Finished, false) if seen.flags.ack() && seen.ack.wrapping_sub(self.flight_end).cast_signed() >= 0 => {
                self.answered = at;
                Turn::Answered
            }
            (turn, _) => turn,
        };
    }

    /// What is at `at` of a segment follows a ClientHello: if it is protected, it is 0-RTT data, which may go on behind the server's
    /// flight and looks like Finished there.
    fn hello(&mut self, seen: &Seen<'_>, at: usize) -> Turn {
        if said(seen, at, &mut self.changed) == Said::Protected { Turn::Unknown } else { Turn::Hello }
    }

    /// Whether another connection begins with `seen`, of the same addresses and ports.
    fn ends_with(&self, seen: &Seen<'_>) -> bool {
        isn_of(seen).is_some_and(|isn| self.isn != Some(isn))
    }

    fn decided(&self, least: Span) -> Result<Quick, Isn> {
        let quick = self.turn == Turn::Answered && nanos(self.answered) < least;
        if quick { Ok(self.quick()) } else { Err(self.isn) }
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

/// The number of a client's SYN.
fn isn_of(seen: &Seen<'_>) -> Isn {
    (seen.syn() && !seen.flags.ack()).then_some(seen.seq)
}

/// What a client's segment says from `at` on, record by record, if one begins there; `changed` is whether ChangeCipherSpec came before
/// it, and then behind it.
///
/// ChangeCipherSpec by itself says nothing: many clients of TLS 1.3 send it long before Finished.
fn said(seen: &Seen<'_>, mut at: usize, changed: &mut bool) -> Said {
    let mut key_exchange = false;
    loop {
        let behind = (seen.payload_len as usize).saturating_sub(at);
        let header = seen.payload.get(at..).and_then(|rest| rest.first_chunk::<5>());
        let Some([content, 3, _, high, low]) = header else {
            // What is cut off behind ClientKeyExchange: ChangeCipherSpec, and more than that.
            let finished = header.is_none() && key_exchange && behind > CHANGE_CIPHER_SPEC + 5;
            return if finished { Said::Protected } else { Said::Other };
        };
        let len = u16::from_be_bytes([*high, *low]);
        let kind = seen.payload.get(at + 5);
        match content {
            23 => return Said::Protected,
            // Finished of TLS 1.2 is shorter than any Hello.
            22 if *changed && len < FINISHED_12 => return Said::Protected,
            22 if kind == Some(&1) && len >= FINISHED_12 => {
                *changed = false;
                return Said::Hello;
            }
            20 => *changed = true,
            22 => (*changed, key_exchange) = (false, kind == Some(&16)),
            _ => return Said::Other,
        }
        at += 5 + usize::from(len);
    }
}

/// Length of a record of ChangeCipherSpec.
const CHANGE_CIPHER_SPEC: usize = 6;
/// TLS 1.2's Finished is shorter than this with every cipher suite.
const FINISHED_12: u16 = 97;

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

#[cfg(test)]
mod tests {
    use super::*;
    use analysis::wire::packet::{Flags, LinkType};
    use capture::seen::Frame;

    const MS: i64 = 1_000_000;
    const CLIENT: u32 = 7_000;
    const SERVER: u32 = 90_000;

    /// A connection of which the packets are written here.
    struct Wire {
        screen: Screen,
        ends: [End; 2],
        next: [u32; 2],
    }

    impl Wire {
        fn new() -> Self {
            let ends = ["192.0.2.7:40000", "192.0.2.1:443"].map(|end| End::from(end.parse::<SocketAddr>().expect("an end")));
            Self { screen: Screen::new(Span::from_millis(100)), ends, next: [CLIENT + 1, SERVER + 1] }
        }

        fn flow(&self) -> FlowName {
            FlowName::of(self.ends[0], self.ends[1])
        }

        fn begun_with(&self, isn: u32) -> Connection {
            Connection { flow: self.flow(), isn: Some(isn) }
        }

        fn pass(&mut self, ms: i64, from_client: bool, flags: u8, payload: &[u8]) -> Step {
            let [own, peer] = if from_client { [0, 1] } else { [1, 0] };
            let syn = flags & 2 != 0;
            let seen = Seen {
                frame: Frame {
                    at: Instant::from_nanos(ms * MS),
                    wire_len: 60,
                    interface: 1,
                    outgoing: !from_client,
                    link: LinkType::Ethernet,
                    bytes: &[],
                },
                flow: self.flow(),
                client: self.ends[0],
                server: self.ends[1],
                from_client,
                flags: Flags(flags),
                seq: if syn { self.next[own].wrapping_sub(1) } else { self.next[own] },
                ack: self.next[peer],
                payload_len: payload.len() as u32,
                payload,
            };
            self.next[own] += payload.len() as u32;
            self.screen.push(&seen, begins(&seen))
        }

        /// SYN and SYN-ACK with the numbers that come next.
        fn open(&mut self, ms: i64) -> Step {
            let step = self.pass(ms, true, 2, &[]);
            self.pass(ms, false, 18, &[]);
            self.pass(ms + 1, true, 16, &[]);
            step
        }

        fn client(&mut self, ms: i64, payload: &[u8]) -> Step {
            self.pass(ms, true, 24, payload)
        }

        fn server(&mut self, ms: i64, payload: &[u8]) -> Step {
            self.pass(ms, false, 24, payload)
        }

        /// The other one does not have it yet.
        fn server_without_news(&mut self, ms: i64, payload: &[u8], unseen: &[u8]) {
            self.next[0] -= unseen.len() as u32;
            self.server(ms, payload);
            self.next[0] += unseen.len() as u32;
        }

        fn quick(&mut self, ms: i64) -> bool {
            matches!(self.screen.tick(Instant::from_nanos(ms * MS))[..], [Ok(_)])
        }
    }

    fn hello() -> Vec<u8> {
        [&[22, 3, 1, 0, 200, 1][..], &[0; 199]].concat()
    }

    const CCS: &[u8] = &[20, 3, 3, 0, 1, 1];
    const PROTECTED: &[u8] = &[23, 3, 3, 0, 5, 9, 9, 9, 9, 9];
    const FINISHED_OF_12: &[u8] = &[22, 3, 3, 0, 5, 16, 9, 9, 9, 9];
    const KEY_EXCHANGE: &[u8] = &[22, 3, 3, 0, 5, 16, 0, 0, 1, 4];

    #[test]
    fn finished_is_what_is_protected_however_it_is_cut() {
        for (flight, what) in [
            (vec![PROTECTED], "Finished of TLS 1.3"),
            (vec![CCS, PROTECTED], "behind ChangeCipherSpec in a segment of its own"),
            (vec![CCS, FINISHED_OF_12], "resumed in TLS 1.2"),
            (vec![KEY_EXCHANGE, CCS, FINISHED_OF_12], "TLS 1.2, each by itself"),
        ] {
            for cut in [true, false] {
                let mut wire = Wire::new();
                wire.open(0);
                wire.client(1, &hello());
                wire.server(2, &[22; 900]);
                let whole = [flight.concat()];
                let segments: Vec<&[u8]> = if cut { flight.clone() } else { whole.iter().map(Vec::as_slice).collect() };
                for segment in &segments[..segments.len() - 1] {
                    wire.client(3, segment);
                    wire.server(4, &[9; 50]); // the rest of its flight
                }
                assert!(wire.screen.courses[&wire.flow()].turn == Turn::Flight, "{what}: nothing is finished yet");
                wire.client(5, segments[segments.len() - 1]);
                wire.server(6, PROTECTED);
                assert!(wire.quick(200), "{what}, {} segments", segments.len());
            }
        }
    }

    #[test]
    fn a_client_that_says_only_change_cipher_spec_has_not_finished() {
        for hello_again in [false, true] {
            let mut wire = Wire::new();
            wire.open(0);
            wire.client(1, &hello());
            wire.server(2, &[22; 90]);
            wire.client(3, CCS);
            if hello_again {
                wire.client(4, &hello());
            }
            wire.server(5, &[22; 900]);
            wire.server(6, &[22; 900]);
            assert!(!wire.quick(200), "its Finished is still to come");
        }
    }

    #[test]
    fn a_copy_of_the_servers_flight_is_no_answer() {
        let mut wire = Wire::new();
        wire.open(0);
        wire.client(1, &hello());
        wire.server(2, &[22; 900]);
        wire.client(3, PROTECTED);
        wire.server_without_news(4, &[22; 900], PROTECTED);
        assert!(!wire.quick(200));
    }

    #[test]
    fn data_that_comes_early_is_not_finished() {
        let mut wire = Wire::new();
        wire.open(0);
        wire.client(1, &hello());
        wire.client(1, PROTECTED);
        wire.server(2, &[22; 900]);
        wire.client(3, PROTECTED);
        wire.server(4, PROTECTED);
        assert!(!wire.quick(200), "who knows which of them Finished was");
    }

    fn whole(wire: &mut Wire, ms: i64) {
        wire.open(ms);
        wire.client(ms + 1, &hello());
        wire.server(ms + 2, &[22; 900]);
        wire.client(ms + 3, PROTECTED);
        wire.server(ms + 4, PROTECTED);
    }

    #[test]
    fn a_port_that_is_used_again_is_another_connection() {
        let mut wire = Wire::new();
        whole(&mut wire, 0);
        wire.next = [CLIENT + 50_000, SERVER + 50_000];
        assert!(matches!(wire.open(30), Step::Again(Ok(_))), "the first was quick");
        wire.client(31, &hello());
        assert!(wire.screen.tick(Instant::from_nanos(110 * MS)).is_empty(), "the second has its own time");
        assert_eq!(wire.screen.tick(Instant::from_nanos(140 * MS)), [Err(wire.begun_with(CLIENT + 49_999))]);
        // And one that had not ended when it came.
        let mut wire = Wire::new();
        wire.open(0);
        wire.next = [CLIENT + 50_000, SERVER + 50_000];
        assert_eq!(wire.open(30), Step::Again(Err(Some(CLIENT))));
    }

    #[test]
    fn a_suspect_is_forgotten_and_who_has_its_port_is_not() {
        let mut wire = Wire::new();
        wire.open(0);
        assert_eq!(wire.screen.tick(Instant::from_nanos(150 * MS)), [Err(wire.begun_with(CLIENT))]);
        wire.next = [CLIENT + 50_000, SERVER + 50_000];
        assert_eq!(wire.open(119_900), Step::Quiet);
        wire.client(119_902, &hello());
        assert_eq!(wire.screen.tick(Instant::from_nanos(120_200 * MS)), [Err(wire.begun_with(CLIENT + 49_999))]);
        assert_eq!(wire.server(123_000, &[22; 900]), Step::HandOn);
    }
}
