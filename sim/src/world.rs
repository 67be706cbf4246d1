//! The event loop: connections, hosts and captures on one virtual clock.

mod between;

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;

use fastrand::Rng;

use crate::frame::{End, Packet};
use crate::host::{Host, ThreadState};
use crate::path::Path;
use crate::plan::Squeeze;
use crate::tap::Tap;
use crate::tcp::Tcp;
use crate::tls::Script;

pub use between::SynProxy;

/// No trial is longer.
const MOST_TIME: i64 = 120_000 * crate::MS;

/// What an end's program does.
#[derive(Clone, Debug)]
pub enum App {
    /// It follows its side of a script.
    Script {
        /// The script.
        script: Box<Script>,
        /// Steps done.
        done: usize,
        /// Whether it thinks.
        busy: bool,
    },
    /// It hands bytes on to an end of another connection.
    Relay {
        /// The connection.
        to: usize,
        /// Which end of it.
        end: End,
        /// Bytes handed on.
        passed: usize,
        /// What it says by itself, first.
        header: Vec<u8>,
    },
}

impl App {
    /// A program that follows `script`.
    pub fn following(script: Script) -> Self {
        App::Script { script: Box::new(script), done: 0, busy: false }
    }
}

/// A connection. Pairs are the client's end first.
#[derive(Clone, Debug)]
pub struct Conn {
    /// Both stacks.
    pub tcp: [Tcp; 2],
    /// Both programs.
    pub app: [App; 2],
    /// The way from each end.
    pub path: [Path; 2],
    /// Both addresses as each end's capture sees them.
    pub addresses: [(SocketAddr, SocketAddr); 2],
    /// Whether each end is captured.
    pub captured: [bool; 2],
    /// When it begins.
    pub start: i64,
    /// The client's program lets data lie for so long.
    pub slow_reader: Option<i64>,
    /// Something between resets both ends once this many bytes of the client's have passed it, with this TTL.
    pub middlebox: Option<(usize, u8)>,
    /// What something between does to windows.
    pub squeeze: Option<Squeeze>,
    /// Where a SYN proxy stands with it.
    pub syn_proxy: SynProxy,
    /// A router tells the server of packets that are longer than this.
    pub too_big: Option<u16>,
    /// By how much the client's and the server's sequence numbers look greater at the other end.
    pub renumbered: [u32; 2],
    /// The server answers FIN with a reset.
    pub resets_on_fin: bool,
    /// The client's step that resets instead of writing.
    pub reset_at: Option<usize>,
    /// The client's step at which it vanishes.
    pub vanish_at: Option<usize>,
    /// The client gives up so long after it began.
    pub patience: Option<i64>,
    /// It closes then, as most programs do, instead of resetting.
    pub closes: bool,
    /// The client's machine stands still: so long after its first write, for so long.
    pub pause: Option<(i64, i64)>,
    /// The client's process is stopped for so long when the first data come.
    pub stops: Option<i64>,
    /// Until when it stands.
    pub stopped_until: i64,
    /// What was sent and when it arrived.
    pub log: Vec<Sent>,
    /// When each of the client's and the server's steps was done.
    pub steps: [Vec<i64>; 2],
}

/// One packet's fate.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Who sent it.
    pub from: End,
    /// Whether it is SYN or SYN-ACK.
    pub syn: bool,
    /// Its bytes' place.
    pub start: usize,
    /// Behind them.
    pub end: usize,
    /// When.
    pub at: i64,
    /// When it arrived, if it did.
    pub arrived: Option<i64>,
}

#[derive(Debug)]
enum Event {
    Start,
    Arrive(End, Box<Packet>),
    Tick(End),
    Act(End),
    Read,
    GiveUp,
}

/// Everything.
pub struct World {
    /// Connections.
    pub conns: Vec<Conn>,
    /// The client's host and the edge's.
    pub hosts: [Host; 2],
    /// The client's capture and the edge's.
    pub taps: [Tap; 2],
    /// What else passed the client's capture and the edge's.
    pub beside: [Vec<(i64, Vec<u8>)>; 2],
    rng: Rng,
    events: BinaryHeap<Reverse<(i64, u64, usize)>>,
    bodies: Vec<Option<Event>>,
    order: u64,
    of: Vec<usize>,
}

impl World {
    /// A world in which nothing has happened.
    pub fn new(taps: [Tap; 2], rng: Rng) -> Self {
        Self {
            conns: Vec::new(),
            hosts: [Host::default(), Host::default()],
            taps,
            beside: [Vec::new(), Vec::new()],
            rng,
            events: BinaryHeap::new(),
            bodies: Vec::new(),
            order: 0,
            of: Vec::new(),
        }
    }

    /// Adds a connection; gives its number.
    pub fn add(&mut self, conn: Conn) -> usize {
        let (start, patience) = (conn.start, conn.patience);
        let relayed = matches!(conn.app[0], App::Relay { .. });
        self.conns.push(conn);
        let id = self.conns.len() - 1;
        // A relay connects when somebody connects to it.
        if !relayed {
            self.schedule(start, id, Event::Start);
        }
        if let Some(patience) = patience {
            self.schedule(start + patience, id, Event::GiveUp);
        }
        id
    }

    /// Lets the client of a connection give up at `at`, if it has not done all by then.
    pub fn give_up(&mut self, id: usize, at: i64) {
        self.schedule(at, id, Event::GiveUp);
    }

    /// Lets time run until nothing more happens.
    pub fn run(&mut self) {
        while let Some(Reverse((now, _, body))) = self.events.pop() {
            if now > MOST_TIME {
                return;
            }
            let Some(event) = self.bodies[body].take() else { continue };
            self.happen(now, self.of[body], event);
        }
    }

    fn schedule(&mut self, at: i64, conn: usize, event: Event) {
        self.bodies.push(Some(event));
        self.of.push(conn);
        self.order += 1;
        self.events.push(Reverse((at, self.order, self.bodies.len() - 1)));
    }

    fn happen(&mut self, now: i64, id: usize, event: Event) {
        let mut out = Vec::new();
        let end = match &event {
            Event::Arrive(end, _) | Event::Tick(end) | Event::Act(end) => *end,
            Event::Start | Event::Read | Event::GiveUp => End::Client,
        };
        // A machine that stands still does everything when it goes on.
        if self.conns[id].captured[end as usize] {
            let awake = self.hosts[end as usize].awake(now);
            if awake > now {
                return self.schedule(awake, id, event);
            }
        }
        match event {
            Event::Start => self.conns[id].tcp[0].connect(now, &mut out),
            Event::Arrive(_, packet) => self.arrive(now, id, end, &packet, &mut out),
            Event::Tick(_) => {
                let tcp = &mut self.conns[id].tcp[end as usize];
                if tcp.deadline().is_some_and(|at| at <= now) {
                    tcp.tick(now, &mut out);
                }
            }
            Event::Act(_) => self.act(now, id, end, &mut out),
            Event::Read => {
                self.conns[id].slow_reader = None;
                self.conns[id].tcp[0].read_all(now, &mut out);
            }
            Event::GiveUp => {
                let unfinished = self.conns[id].steps[0].len() < self.steps_of(id);
                let conn = &mut self.conns[id];
                let (closes, tcp) = (conn.closes, &mut conn.tcp[0]);
                // A kernel that has no answer to its SYN yet says nothing.
                if unfinished && tcp.established() && closes {
                    tcp.close(now, &mut out);
                } else if unfinished && tcp.established() {
                    tcp.reset(now, &mut out);
                } else if unfinished {
                    tcp.die();
                }
            }
        }
        self.flush(now, id, end, out);
        self.progress(now, id, end);
    }

    fn steps_of(&self, id: usize) -> usize {
        match &self.conns[id].app[0] {
            App::Script { script, .. } => script.client.len(),
            App::Relay { .. } => 0,
        }
    }

    fn arrive(&mut self, now: i64, id: usize, end: End, packet: &Packet, out: &mut Vec<Packet>) {
        let conn = &mut self.conns[id];
        if conn.captured[end as usize] {
            let addresses = from(conn.addresses[end as usize], packet.from);
            let ttl = packet.ttl.saturating_sub(conn.path[packet.from as usize].hops).max(1);
            self.taps[end as usize].see(now, &conn.shown(end, packet), addresses, ttl, &mut self.rng);
        }
        conn.tcp[end as usize].receive(now, packet, out);
        if end == End::Server && packet.fin && conn.resets_on_fin {
            conn.tcp[1].reset(now, out);
        }
        if end == End::Client
            && !packet.payload.is_empty()
            && let Some(length) = conn.stops.take()
        {
            conn.stopped_until = now + length;
            self.hosts[0].timeline.push((now, now + length, ThreadState::Stopped));
        }
        match (end, conn.slow_reader) {
            (End::Client, Some(lies)) if !packet.payload.is_empty() => {
                conn.slow_reader = Some(0);
                if lies > 0 {
                    self.schedule(now + lies, id, Event::Read);
                }
            }
            (End::Client, Some(_)) => {}
            _ => conn.tcp[end as usize].read_all(now, out),
        }
    }

    /// Lets a program go on, if what it waits for is there.
    fn progress(&mut self, now: i64, id: usize, end: End) {
        let conn = &mut self.conns[id];
        let tcp = &conn.tcp[end as usize];
        if !tcp.established() {
            return;
        }
        let have = tcp.received().len();
        match &mut conn.app[end as usize] {
            App::Script { script, done, busy } => {
                let steps = if end == End::Client { &script.client } else { &script.server };
                let Some(step) = steps.get(*done).filter(|step| !*busy && have >= step.after) else { return };
                *busy = true;
                let think = step.think.clone();
                let now = if end == End::Client { now.max(conn.stopped_until) } else { now };
                // Only captured ends are hosts of which anything is told.
                let at = if conn.captured[end as usize] || end == End::Server {
                    self.hosts[end as usize].think(now, &think)
                } else {
                    now + crate::host::length(&think)
                };
                self.schedule(at, id, Event::Act(end));
            }
            App::Relay { to, end: onward, passed, header } => {
                let (to, onward) = (*to, *onward);
                let news = &tcp.received()[*passed..];
                *passed += news.len();
                let bytes = [&std::mem::take(header), news].concat();
                if onward == End::Client && !self.conns[to].tcp[0].established() && self.conns[to].log.is_empty() {
                    self.schedule(now, to, Event::Start);
                }
                let mut out = Vec::new();
                self.conns[to].tcp[onward as usize].write(now, &bytes, &mut out);
                self.flush(now, to, onward, out);
            }
        }
    }

    fn act(&mut self, now: i64, id: usize, end: End, out: &mut Vec<Packet>) {
        let conn = &mut self.conns[id];
        let App::Script { script, done, busy } = &mut conn.app[end as usize] else { return };
        *busy = false;
        let at = *done;
        *done += 1;
        let step = if end == End::Client { &script.client[at] } else { &script.server[at] };
        let tcp = &mut conn.tcp[end as usize];
        conn.steps[end as usize].push(now);
        if end == End::Client && conn.reset_at == Some(at) {
            return tcp.reset(now, out);
        }
        if end == End::Client && conn.vanish_at == Some(at) {
            return tcp.die();
        }
        for bytes in &step.writes {
            tcp.write(now, bytes, out);
        }
        if step.close {
            tcp.close(now, out);
        }
        if end == End::Client
            && at == 0
            && let Some((after, length)) = conn.pause
        {
            self.hosts[0].pause = Some((now + after, now + after + length));
        }
    }

    fn flush(&mut self, now: i64, id: usize, end: End, out: Vec<Packet>) {
        for packet in out {
            let conn = &mut self.conns[id];
            if conn.captured[end as usize] {
                let addresses = from(conn.addresses[end as usize], end);
                self.taps[end as usize].see(now, &conn.shown(end, &packet), addresses, packet.ttl, &mut self.rng);
            }
            let arrived = conn.path[end as usize].carry(now, &packet, &mut self.rng);
            conn.log.push(Sent { from: end, syn: packet.syn, start: packet.start, end: packet.end(), at: now, arrived });
            if let Some((trigger, ttl)) = conn.middlebox
                && end == End::Client
                && packet.end() >= trigger
            {
                conn.middlebox = None;
                self.forge(now, id, ttl, &packet);
            }
            match arrived {
                Some(at) if self.conns[id].squeeze.is_some() => self.squeeze(at, id, packet),
                Some(at) => self.schedule(at, id, Event::Arrive(end.peer(), Box::new(packet))),
                None => self.tell_too_big(now, id, &packet),
            }
        }
        if let Some(at) = self.conns[id].tcp[end as usize].deadline() {
            self.schedule(at.max(now), id, Event::Tick(end));
        }
    }
}

impl Conn {
    /// A packet as one end's capture shows it.
    fn shown<'a>(&self, end: End, packet: &'a Packet) -> Cow<'a, Packet> {
        let (other, by) = (end.peer(), self.renumbered[end.peer() as usize]);
        if by == 0 {
            return Cow::Borrowed(packet);
        }
        let mut packet = packet.clone();
        let number = if packet.from == other { &mut packet.isn.0 } else { &mut packet.isn.1 };
        *number = number.wrapping_add(by);
        Cow::Owned(packet)
    }
}

fn from((client, server): (SocketAddr, SocketAddr), sender: End) -> (SocketAddr, SocketAddr) {
    if sender == End::Client { (client, server) } else { (server, client) }
}
