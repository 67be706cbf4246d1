//! Protocol-aware faults: drop or hold a named message of a handshake.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::time::Duration;

use analysis::wire::packet::TcpSegment;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::flow::Tracker;
use super::path::{Direction, Fate};
use super::{Port, nanos};
use crate::truth::{Injected, TruthLog};

/// A message of the handshake, as the wire tells them apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// SYN.
    Syn,
    /// SYN-ACK.
    SynAck,
    /// ClientHello.
    ClientHello,
    /// A data segment of the server's flight.
    ServerFlight,
    /// The client's pure acknowledgement of the server's flight.
    FlightAck,
    /// The client's flight with Finished.
    ClientFinished,
}

impl Message {
    /// Which way it travels.
    pub fn direction(self) -> Direction {
        match self {
            Message::SynAck | Message::ServerFlight => Direction::Back,
            Message::Syn | Message::ClientHello | Message::FlightAck | Message::ClientFinished => Direction::Out,
        }
    }
}

/// What to do with a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Drop its first copies.
    Drop {
        /// How many.
        copies: u32,
    },
    /// Hold it, and all that follows it in its direction, for so long.
    Hold(Duration),
    /// Reset the connection in its place, as a middlebox does.
    Reset,
    /// Let it pass, then hold all that follows it in its direction until so long after it.
    HoldAfter(Duration),
}

impl Action {
    /// How many copies it drops, if it does.
    fn copies(self) -> Option<u32> {
        match self {
            Action::Drop { copies } => Some(copies),
            Action::Hold(_) | Action::Reset | Action::HoldAfter(_) => None,
        }
    }
}

/// A fault on the connections between two hosts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// The client's port.
    pub client: Port,
    /// The server's port.
    pub server: Port,
    /// The message.
    pub message: Message,
    /// Which segment of the server's flight, or of the client's hellos (a second one behind a HelloRetryRequest), from 0; other messages
    /// ignore it.
    pub segment: usize,
    /// What to do.
    pub action: Action,
}

struct Connection {
    client: SocketAddr,
    tracker: Tracker,
    /// Copies dropped so far and when the first would have been delivered, by message and sequence number.
    dropped: HashMap<(Message, u32), (u32, i64)>,
    /// Holds that have begun, by message and its place: each does once.
    begun: HashSet<(Message, usize)>,
    hold_out: Hold,
    hold_back: Hold,
}

/// What holds back one direction; of several, the one that ends last.
#[derive(Default)]
struct Hold {
    until: i64,
    reported: bool,
}

/// Applies faults and reports what they did.
pub struct Faults {
    connections: HashMap<(SocketAddr, SocketAddr), Connection>,
    truth: TruthLog,
}

impl Faults {
    /// Reports to `truth`.
    pub fn new(truth: TruthLog) -> Self {
        Self { connections: HashMap::new(), truth }
    }

    /// Decides about one segment that would be delivered at `due`.
    pub fn apply(&mut self, faults: &[Fault], from: Port, to: Port, segment: &TcpSegment<'_>, due: i64) -> Fate {
        if !faults.iter().any(|f| (f.client, f.server) == (from, to) || (f.server, f.client) == (from, to)) {
            return Fate::Due(due);
        }
        let forward = (segment.source(), segment.destination());
        let backward = (segment.destination(), segment.source());
        let from_client = segment.flags.syn() && !segment.flags.ack() || self.connections.contains_key(&forward);
        if segment.flags.syn() && !segment.flags.ack() {
            self.connections.entry(forward).or_insert_with(|| Connection {
                client: segment.source(),
                tracker: Tracker::default(),
                dropped: HashMap::new(),
                begun: HashSet::new(),
                hold_out: Hold::default(),
                hold_back: Hold::default(),
            });
        }
        let Some(connection) = self.connections.get_mut(if from_client { &forward } else { &backward }) else {
            return Fate::Due(due);
        };
        let named =
            if from_client { connection.tracker.client_segment(segment) } else { connection.tracker.server_segment(segment) };
        let direction = if from_client { Direction::Out } else { Direction::Back };
        let due = connection.held(direction, segment, due, &self.truth);
        let Some((message, index)) = named else { return Fate::Due(due) };
        let by_place = matches!(message, Message::ServerFlight | Message::ClientHello);
        let (client, server) = if from_client { (from, to) } else { (to, from) };
        let of_pair = |f: &&Fault| (f.client, f.server) == (client, server);
        let ours = || faults.iter().filter(of_pair).filter(|f| f.message == message && (!by_place || f.segment == index));
        // All faults of a message act: what is dropped is held when a copy passes.
        let copies = ours().filter_map(|f| f.action.copies()).reduce(u32::saturating_add);
        if copies.is_some_and(|copies| connection.drops(message, segment.seq, copies, due, &self.truth)) {
            return Fate::Drop;
        }
        if ours().any(|f| f.action == Action::Reset) {
            let what = format!("reset in place of {message:?}");
            let injected = Injected { client: Some(connection.client), target: None, owner: "path".into(), ms: None, what };
            let _ = self.truth.send(injected);
            return Fate::Reset(due);
        }
        let key = |message: Message| (message, if by_place { index } else { 0 });
        // A client that sends no acknowledgement of its own: its Finished is the first to follow the flight.
        let behind_ack = faults.iter().filter(of_pair).filter(|f| {
            message == Message::ClientFinished && f.message == Message::FlightAck && matches!(f.action, Action::HoldAfter(_))
        });
        for fault in ours().chain(behind_ack) {
            if let Action::Hold(span) | Action::HoldAfter(span) = fault.action {
                connection.begin_hold(direction, key(fault.message), due + nanos(span));
            }
        }
        // What a message let pass holds up only what follows it.
        let passes =
            ours().any(|f| matches!(f.action, Action::HoldAfter(_))) && !ours().any(|f| matches!(f.action, Action::Hold(_)));
        Fate::Due(if passes { due } else { connection.held(direction, segment, due, &self.truth) })
    }
}

impl Connection {
    fn hold(&mut self, direction: Direction) -> &mut Hold {
        match direction {
            Direction::Out => &mut self.hold_out,
            Direction::Back => &mut self.hold_back,
        }
    }

    fn begin_hold(&mut self, direction: Direction, of: (Message, usize), until: i64) {
        if self.begun.insert(of) && until > self.hold(direction).until {
            *self.hold(direction) = Hold { until, reported: false };
        }
    }

    /// When a segment may go, given a hold; the first data held is what the hold cost.
    fn held(&mut self, direction: Direction, segment: &TcpSegment<'_>, due: i64, truth: &TruthLog) -> i64 {
        let client = self.client;
        let hold = self.hold(direction);
        if hold.until <= due {
            return due;
        }
        if !hold.reported && segment.len > 0 {
            hold.reported = true;
            let _ = truth.send(Injected {
                client: Some(client),
                target: None,
                owner: "path".into(),
                ms: Some((hold.until - due) as f64 / 1e6),
                what: format!("held {direction:?}"),
            });
        }
        hold.until
    }

    /// Whether this copy is one of those to be dropped.
    fn drops(&mut self, message: Message, seq: u32, copies: u32, due: i64, truth: &TruthLog) -> bool {
        let (count, first_due) = self.dropped.entry((message, seq)).or_insert((0, due));
        if *count < copies {
            *count += 1;
            return true;
        }
        if *count == copies {
            *count += 1;
            let _ = truth.send(Injected {
                client: Some(self.client),
                target: None,
                owner: "loss".into(),
                ms: Some((due - *first_due) as f64 / 1e6),
                what: format!("dropped {copies} of {message:?}"),
            });
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use analysis::wire::packet::{LinkType, Transport, decode};

    use super::super::by_hand::frame;
    use super::*;
    use Direction::{Back, Out};

    const CLIENT: Port = Port(0);
    const EDGE: Port = Port(1);
    const MS: i64 = 1_000_000;
    const HELLO: [u8; 8] = [22, 3, 1, 0, 9, 1, 0, 0];
    const FLIGHT: [u8; 8] = [22, 3, 3, 0, 9, 2, 0, 0];
    const FINISHED: [u8; 8] = [23, 3, 3, 0, 3, 1, 2, 3];

    /// A wire with one fault.
    struct Wire {
        faults: Faults,
        wanted: Vec<Fault>,
        truth: Receiver<Injected>,
    }

    fn wire(message: Message, segment: usize, action: Action) -> Wire {
        let (truth, told) = channel();
        let wanted = vec![Fault { client: CLIENT, server: EDGE, message, segment, action }];
        Wire { faults: Faults::new(truth), wanted, truth: told }
    }

    impl Wire {
        fn send(&mut self, towards: Direction, flags: u8, numbers: (u32, u32), payload: &[u8], due: i64) -> Fate {
            let (from, to) = match towards {
                Out => (CLIENT, EDGE),
                Back => (EDGE, CLIENT),
            };
            let frame = frame(towards, flags, numbers, payload);
            let Ok(Transport::Tcp(segment)) = decode(LinkType::Ethernet, &frame) else { panic!("no segment") };
            self.faults.apply(&self.wanted, from, to, &segment, due)
        }

        /// SYN to the last segment of the server's flight, a millisecond each; what became of them.
        fn until_flight(&mut self) -> Vec<Fate> {
            vec![
                self.send(Out, 2, (100, 0), &[], MS),
                self.send(Back, 18, (500, 101), &[], 2 * MS),
                self.send(Out, 16, (101, 501), &[], 3 * MS),
                self.send(Out, 24, (101, 501), &HELLO, 4 * MS),
                self.send(Back, 24, (501, 109), &FLIGHT, 5 * MS),
                self.send(Back, 24, (509, 109), &FLIGHT, 6 * MS),
            ]
        }

        /// What it says that it did: whose, for how many ms, in words.
        fn told(&self) -> Vec<(String, Option<f64>, String)> {
            self.truth.try_iter().map(|injected| (injected.owner, injected.ms, injected.what)).collect()
        }
    }

    fn as_due(milliseconds: impl IntoIterator<Item = i64>) -> Vec<Fate> {
        milliseconds.into_iter().map(|at| Fate::Due(at * MS)).collect()
    }

    #[test]
    fn so_many_copies_of_a_message_are_dropped_and_the_wait_is_told_when_one_passes() {
        let mut wire = wire(Message::ClientFinished, 0, Action::Drop { copies: 2 });
        assert_eq!(wire.until_flight(), as_due(1..=6));
        let mut finished = |at: i64| wire.send(Out, 24, (109, 517), &FINISHED, at * MS);
        assert_eq!([finished(7), finished(207), finished(607)], [Fate::Drop, Fate::Drop, Fate::Due(607 * MS)]);
        assert_eq!(finished(700), Fate::Due(700 * MS), "a later copy costs nothing more");
        let what = "dropped 2 of ClientFinished".to_owned();
        assert_eq!(wire.told(), [("loss".to_owned(), Some(600.0), what)]);
    }

    #[test]
    fn only_the_named_segment_of_the_flight_is_dropped() {
        let mut wire = wire(Message::ServerFlight, 1, Action::Drop { copies: 1 });
        let fates = wire.until_flight();
        assert_eq!(fates[..5], as_due(1..=5)[..]);
        assert_eq!(fates[5], Fate::Drop);
        assert_eq!(wire.send(Back, 24, (509, 109), &FLIGHT, 250 * MS), Fate::Due(250 * MS));
        assert_eq!(wire.told(), [("loss".to_owned(), Some(244.0), "dropped 1 of ServerFlight".to_owned())]);
    }

    #[test]
    fn what_follows_a_held_message_in_its_direction_waits_with_it() {
        let mut wire = wire(Message::ClientHello, 0, Action::Hold(Duration::from_millis(100)));
        assert_eq!(wire.until_flight(), [as_due([1, 2, 3]), as_due([104, 5, 6])].concat(), "the other direction does not wait");
        assert_eq!(wire.send(Out, 16, (109, 517), &[], 50 * MS), Fate::Due(104 * MS));
        assert_eq!(wire.send(Out, 24, (109, 517), &FINISHED, 150 * MS), Fate::Due(150 * MS), "it is over");
        assert_eq!(wire.told(), [("path".to_owned(), Some(100.0), "held Out".to_owned())], "it is told once");
    }

    #[test]
    fn a_hold_after_a_message_lets_it_pass() {
        let mut wire = wire(Message::FlightAck, 0, Action::HoldAfter(Duration::from_millis(300)));
        wire.until_flight();
        assert_eq!(wire.send(Out, 16, (109, 517), &[], 7 * MS), Fate::Due(7 * MS));
        assert_eq!(wire.send(Out, 24, (109, 517), &FINISHED, 8 * MS), Fate::Due(307 * MS));
        assert_eq!(wire.told(), [("path".to_owned(), Some(299.0), "held Out".to_owned())]);
    }

    #[test]
    fn several_faults_of_one_message_all_act() {
        let mut wire = wire(Message::ClientHello, 0, Action::Drop { copies: 1 });
        let hold = Fault { action: Action::Hold(Duration::from_millis(50)), ..wire.wanted[0].clone() };
        wire.wanted.push(hold);
        assert_eq!(wire.until_flight()[3], Fate::Drop);
        assert_eq!(wire.send(Out, 24, (101, 501), &HELLO, 204 * MS), Fate::Due(254 * MS), "the copy that passes is held");
        let told: Vec<String> = wire.told().into_iter().map(|(owner, ..)| owner).collect();
        assert_eq!(told, ["loss", "path"]);
    }

    #[test]
    fn several_drops_of_one_message_add_up() {
        for copies in [[1, 2], [2, 1]] {
            let mut wire = wire(Message::ClientHello, 0, Action::Drop { copies: copies[0] });
            wire.wanted.push(Fault { action: Action::Drop { copies: copies[1] }, ..wire.wanted[0].clone() });
            assert_eq!(wire.until_flight()[3], Fate::Drop);
            let mut hello = |at: i64| wire.send(Out, 24, (101, 501), &HELLO, at * MS);
            assert_eq!([hello(204), hello(604), hello(1_404)], [Fate::Drop, Fate::Drop, Fate::Due(1_404 * MS)], "{copies:?}");
            let what = "dropped 3 of ClientHello".to_owned();
            assert_eq!(wire.told(), [("loss".to_owned(), Some(1_400.0), what)]);
        }
    }

    #[test]
    fn several_holds_of_one_direction_follow_each_other() {
        let mut wire = wire(Message::SynAck, 0, Action::Hold(Duration::from_millis(40)));
        let flight =
            Fault { message: Message::ServerFlight, action: Action::Hold(Duration::from_millis(300)), ..wire.wanted[0].clone() };
        wire.wanted.push(flight);
        assert_eq!(wire.send(Out, 2, (100, 0), &[], MS), Fate::Due(MS));
        assert_eq!(wire.send(Back, 18, (500, 101), &[], 2 * MS), Fate::Due(42 * MS));
        assert_eq!(wire.send(Out, 24, (101, 501), &HELLO, 44 * MS), Fate::Due(44 * MS));
        assert_eq!(wire.send(Back, 24, (501, 109), &FLIGHT, 45 * MS), Fate::Due(345 * MS));
        assert_eq!(wire.send(Back, 24, (501, 109), &FLIGHT, 400 * MS), Fate::Due(400 * MS), "each holds once");
    }

    #[test]
    fn a_reset_stands_in_place_of_its_message() {
        let mut wire = wire(Message::ClientHello, 0, Action::Reset);
        assert_eq!(wire.until_flight()[3], Fate::Reset(4 * MS));
        assert_eq!(wire.told(), [("path".to_owned(), None, "reset in place of ClientHello".to_owned())]);
    }

    #[test]
    fn other_hosts_and_connections_without_their_syn_are_let_alone() {
        let mut elsewhere = wire(Message::ClientHello, 0, Action::Drop { copies: 9 });
        elsewhere.wanted[0].server = Port(7);
        assert_eq!(elsewhere.until_flight(), as_due(1..=6));
        let mut midway = wire(Message::ClientHello, 0, Action::Drop { copies: 9 });
        assert_eq!(midway.send(Out, 24, (101, 501), &HELLO, MS), Fate::Due(MS), "whose SYN was before the wire stood");
        assert_eq!(midway.told(), []);
    }
}
