//! Scripted faults: what becomes of the n-th packet of a kind on the n-th connection, and a log of what passed.
//!
//! [`super::Fault`] acts on every connection between two hosts; a script names single connections by the order in
//! which their SYNs passed, so that one recording holds handshakes with and without the fault. The log is the truth
//! that recordings are graded by, so it is written here, where the packets are.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::mpsc::Sender;
use std::time::Duration;

use analysis::wire::packet::TcpSegment;

use super::path::Direction;
use super::track::Track;
use super::{Port, nanos};

/// A packet of a handshake. Numbers count new data segments of that turn from 1.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Packet {
    /// SYN.
    Syn,
    /// SYN-ACK.
    SynAck,
    /// The client's acknowledgement of SYN-ACK.
    FirstAck,
    /// Data of the client before TLS (STARTTLS, CONNECT, SSLRequest).
    ClientPlain(usize),
    /// Data of the server before TLS.
    ServerPlain(usize),
    /// A segment of the ClientHello, also of a second one.
    ClientHello(usize),
    /// A segment of the server's flight.
    Flight(usize),
    /// A pure acknowledgement by the client of all the server said so far.
    FlightAck,
    /// A segment of the client's flight that ends with Finished (a ChangeCipherSpec alone does not count).
    ClientFinished(usize),
    /// Server data behind the client's Finished: in TLS 1.2 its own Finished.
    Behind(usize),
    /// Any other packet.
    Other(Direction),
}

/// Which packets a rule concerns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    /// A named packet, its n-th copy (from 1).
    Copy(Packet, u32),
    /// A named packet, its first n copies.
    Copies(Packet, u32),
    /// Every packet of a direction whose IP length is above this.
    Above(Direction, u32),
}

/// What to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Act {
    /// It vanishes.
    Drop,
    /// It alone is late; others may overtake it.
    Delay(Duration),
    /// It and all behind it in its direction wait.
    Hold(Duration),
    /// It passes; all behind it in its direction waits until so long after it.
    HoldAfter(Duration),
    /// It comes twice, the second time so much later.
    Duplicate(Duration),
    /// It and all behind it in its direction vanish for so long.
    Silence(Duration),
    /// It vanishes and both ends get a reset in the other's name, with this TTL.
    Reset(u8),
}

/// One rule; it acts as often as it fits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rule {
    /// The connection, by the order of SYNs, from 0.
    pub connection: usize,
    /// The packet.
    pub which: Which,
    /// The act.
    pub act: Act,
}

/// A farther address of the server: constant extra delay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Detour {
    /// The address.
    pub server: IpAddr,
    /// Extra delay client to server.
    pub out: Duration,
    /// Extra delay server to client.
    pub back: Duration,
}

/// All that is scripted between one client and one server.
#[derive(Clone, Debug)]
pub struct Script {
    /// The client's port.
    pub client: Port,
    /// The server's port.
    pub server: Port,
    /// The server's TCP ports that count; others are not numbered.
    pub tcp_ports: Vec<u16>,
    /// The rules.
    pub rules: Vec<Rule>,
    /// Farther addresses.
    pub detours: Vec<Detour>,
    /// Where the log goes.
    pub log: Sender<Event>,
}

/// A line of the log.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// When the packet reached the wire, nanoseconds since the epoch.
    pub at: i64,
    /// The connection's number.
    pub connection: usize,
    /// Its client.
    pub client: SocketAddr,
    /// Its server.
    pub server: SocketAddr,
    /// The packet.
    pub packet: Packet,
    /// Which way it went.
    pub direction: Direction,
    /// Number among the new data segments of its direction, from 1; a copy has its first one's; 0 without data.
    pub nth: usize,
    /// Payload bytes.
    pub payload: u32,
    /// Which copy, from 1.
    pub copy: u32,
    /// What was done to it, if anything.
    pub act: Option<Act>,
}

/// What becomes of a packet.
pub(super) enum Outcome {
    Drop,
    Due(i64),
    Twice(i64, i64),
    Reset(u8),
}

struct Connection {
    number: usize,
    track: Track,
    held: HashMap<Direction, i64>,
    silent: HashMap<Direction, i64>,
}

/// A script and what it remembers.
pub(super) struct Scripted {
    script: Script,
    connections: HashMap<(SocketAddr, SocketAddr), Connection>,
}

impl Scripted {
    pub(super) fn new(script: Script) -> Self {
        Self { script, connections: HashMap::new() }
    }

    /// Decides about one segment that came at `stamp` and would be delivered at `due`.
    pub(super) fn apply(&mut self, from: Port, to: Port, s: &TcpSegment<'_>, stamp: i64, due: i64) -> Outcome {
        let out = (from, to) == (self.script.client, self.script.server);
        if !out && (to, from) != (self.script.client, self.script.server) {
            return Outcome::Due(due);
        }
        let (client, server) = if out { (s.source(), s.destination()) } else { (s.destination(), s.source()) };
        if !self.script.tcp_ports.contains(&server.port()) {
            return Outcome::Due(due);
        }
        let direction = if out { Direction::Out } else { Direction::Back };
        let detour = self.script.detours.iter().find(|d| d.server == server.ip());
        let due = due + detour.map_or(0, |d| nanos(if out { d.out } else { d.back }));
        let number = self.connections.len();
        let connection = self.connections.entry((client, server)).or_insert_with(|| Connection {
            number,
            track: Track::default(),
            held: HashMap::new(),
            silent: HashMap::new(),
        });
        let seen = connection.track.packet(direction, s);
        let rule = self.script.rules.iter().find(|r| {
            r.connection == connection.number
                && match r.which {
                    Which::Copy(packet, copy) => packet == seen.packet && copy == seen.copy,
                    Which::Copies(packet, copies) => packet == seen.packet && seen.copy <= copies,
                    Which::Above(way, size) => way == direction && s.ip_len > size,
                }
        });
        let mut act = rule.map(|r| r.act);
        let silent = connection.silent.get(&direction).copied();
        if let Some(until) = silent {
            act = (stamp < until).then_some(Act::Drop).or(act.filter(|a| !matches!(a, Act::Silence(_))));
        }
        let _ = self.script.log.send(Event {
            at: stamp,
            connection: connection.number,
            client,
            server,
            packet: seen.packet,
            direction,
            nth: seen.nth,
            payload: s.len,
            copy: seen.copy,
            act,
        });
        let held = connection.held.entry(direction).or_insert(0);
        let due = due.max(*held);
        match act {
            None => Outcome::Due(due),
            Some(Act::Drop) => Outcome::Drop,
            Some(Act::Delay(by)) => Outcome::Due(due + nanos(by)),
            Some(Act::Hold(by)) => {
                *held = due + nanos(by);
                Outcome::Due(*held)
            }
            Some(Act::HoldAfter(by)) => {
                *held = due + nanos(by);
                Outcome::Due(due)
            }
            Some(Act::Duplicate(after)) => Outcome::Twice(due, due + nanos(after)),
            Some(Act::Silence(span)) => {
                connection.silent.insert(direction, stamp + nanos(span));
                Outcome::Drop
            }
            Some(Act::Reset(ttl)) => Outcome::Reset(ttl),
        }
    }
}
