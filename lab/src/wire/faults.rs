//! Protocol-aware faults: drop or hold a named message of a handshake.

use std::collections::HashMap;
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
    hold_out: Hold,
    hold_back: Hold,
}

#[derive(Default)]
struct Hold {
    until: i64,
    begun: bool,
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
        let ours = faults.iter().find(|f| {
            let (client, server) = if from_client { (from, to) } else { (to, from) };
            (f.client, f.server) == (client, server)
                && f.message == message
                && (!matches!(message, Message::ServerFlight | Message::ClientHello) || f.segment == index)
        });
        match ours.map(|f| f.action) {
            Some(Action::Drop { copies }) => connection.drop_copy(message, segment.seq, copies, due, &self.truth),
            Some(Action::Reset) => {
                let what = format!("reset in place of {message:?}");
                let _ = self.truth.send(Injected {
                    client: Some(connection.client),
                    target: None,
                    owner: "path".into(),
                    ms: None,
                    what,
                });
                Fate::Reset(due)
            }
            Some(Action::Hold(span)) => {
                connection.begin_hold(direction, due + nanos(span));
                Fate::Due(connection.held(direction, segment, due, &self.truth))
            }
            Some(Action::HoldAfter(span)) => {
                connection.begin_hold(direction, due + nanos(span));
                Fate::Due(due)
            }
            // A client that sends no acknowledgement of its own: its Finished is the first to follow the flight.
            None if message == Message::ClientFinished => {
                let after = faults.iter().find_map(|f| match f.action {
                    Action::HoldAfter(span) if f.message == Message::FlightAck && (f.client, f.server) == (from, to) => {
                        Some(span)
                    }
                    _ => None,
                });
                if let Some(span) = after {
                    connection.begin_hold(direction, due + nanos(span));
                }
                Fate::Due(connection.held(direction, segment, due, &self.truth))
            }
            None => Fate::Due(due),
        }
    }
}

impl Connection {
    fn hold(&mut self, direction: Direction) -> &mut Hold {
        match direction {
            Direction::Out => &mut self.hold_out,
            Direction::Back => &mut self.hold_back,
        }
    }

    fn begin_hold(&mut self, direction: Direction, until: i64) {
        let hold = self.hold(direction);
        if !hold.begun {
            *hold = Hold { until, begun: true, reported: false };
        }
    }

    /// When a segment may go, given a hold; the first data held is what the hold cost.
    fn held(&mut self, direction: Direction, segment: &TcpSegment<'_>, due: i64, truth: &TruthLog) -> i64 {
        let client = self.client;
        let hold = self.hold(direction);
        if !hold.begun || hold.until <= due {
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

    fn drop_copy(&mut self, message: Message, seq: u32, copies: u32, due: i64, truth: &TruthLog) -> Fate {
        let (count, first_due) = self.dropped.entry((message, seq)).or_insert((0, due));
        if *count < copies {
            *count += 1;
            return Fate::Drop;
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
        Fate::Due(due)
    }
}
