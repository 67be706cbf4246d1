//! Builds both ends' captures of a conversation, packet by packet, on a virtual clock.
//!
//! It writes frames; it never reads them. The two captures' clocks differ by [`SKEWED`], so that any
//! subtraction across them would show at once.

use whostalled_analysis::clock::{Client, Domain, Edge, Instant};
use whostalled_analysis::conversation::handshake::{Handshake, join};
use whostalled_analysis::tcp::flow::{Side, View};
use whostalled_analysis::tcp::table::FlowTable;
use whostalled_analysis::wire::packet::{LinkType, Transport, decode};

/// How far the edge's clock runs ahead of the client's.
pub const SKEWED: i64 = 3_723_456_789_123;
/// One way over the path.
pub const HALF: i64 = 20 * MS;
/// A millisecond.
pub const MS: i64 = 1_000_000;

const ACK: u8 = 0x10;
const SYN: u8 = 0x02;
const FIN: u8 = 0x01;

/// What becomes of a packet on its way.
#[derive(Clone, Copy, Default)]
pub struct Fate {
    /// It never arrives.
    pub lost: bool,
    /// It arrives so much later.
    pub held: i64,
}

/// A conversation under construction.
pub struct Talk {
    v6: bool,
    timestamps: bool,
    /// Milliseconds to a tick of each end's timestamps.
    ticks: [i64; 2],
    /// The timestamp that the next packet echoes.
    echo: u32,
    /// The SACK blocks that the next packet has.
    sack: Vec<(i64, i64)>,
    ttl: u8,
    /// What each end offers its peer.
    windows: [u16; 2],
    next: [u32; 2],
    ids: [u16; 2],
    ends: [i64; 2],
    client_tap: Vec<(i64, Vec<u8>)>,
    edge_tap: Vec<(i64, Vec<u8>)>,
}

impl Talk {
    /// Over IPv4 with timestamps, as Linux talks.
    pub fn new() -> Self {
        let isn = [u32::MAX - 100, 7]; // the client's numbers wrap within the ClientHello
        Self {
            v6: false,
            timestamps: true,
            ticks: [1; 2],
            echo: 0,
            sack: vec![],
            ttl: 64,
            windows: [u16::MAX; 2],
            next: isn,
            ids: [900, 0],
            ends: [0, 0],
            client_tap: vec![],
            edge_tap: vec![],
        }
    }
    pub fn over_ipv6(mut self) -> Self {
        self.v6 = true;
        self
    }
    /// As a stack starts that counts all of its host's packets.
    pub fn with_ttl(mut self, ttl: u8) -> Self {
        self.ttl = ttl;
        self
    }
    /// As old stacks do: a timestamp counts so many milliseconds.
    pub fn ticking(mut self, millis: i64) -> Self {
        self.ticks = [millis; 2];
        self
    }
    /// The same of one end.
    pub fn ticking_at(mut self, side: Side, millis: i64) -> Self {
        self.ticks[side as usize] = millis;
        self
    }
    pub fn without_timestamps(mut self) -> Self {
        self.timestamps = false;
        self
    }

    /// From now on an end offers its peer so much room.
    pub fn offers(&mut self, side: Side, window: u16) {
        self.windows[side as usize] = window;
    }

    /// SYN at `at`; gives the time at which the client has SYN-ACK and has acknowledged it.
    pub fn connect(&mut self, at: i64) -> i64 {
        self.connect_late(at, 0)
    }

    /// A SYN that never comes; [`Self::connect`] sends it again.
    pub fn opening_lost(&mut self, at: i64) {
        self.packet(Side::Client, at, SYN, 0, &[], Fate { lost: true, held: 0 });
    }

    /// The same with a SYN-ACK that comes so much later.
    pub fn connect_late(&mut self, at: i64, held: i64) -> i64 {
        self.packet(Side::Client, at, SYN, 0, &[], Fate::default());
        self.packet(Side::Server, at + HALF + MS / 10, SYN | ACK, 0, &[], Fate { held, ..Fate::default() });
        let established = at + 2 * HALF + held + MS / 10;
        self.packet(Side::Client, established, ACK, 0, &[], Fate::default());
        established
    }

    /// SYN at `at` with data in it (TCP Fast Open), which SYN-ACK acknowledges.
    pub fn syn_with(&mut self, at: i64, bytes: &[u8]) {
        self.packet(Side::Client, at, SYN, 0, bytes, Fate::default());
        self.ends[Side::Client as usize] = bytes.len() as i64;
        self.packet(Side::Server, at + HALF + MS / 10, SYN | ACK, 0, &[], Fate::default());
        self.packet(Side::Client, at + 2 * HALF + MS / 5, ACK, bytes.len() as i64, &[], Fate::default());
    }

    /// New data of `side`; gives the offset just after it.
    pub fn data(&mut self, side: Side, at: i64, bytes: &[u8], fate: Fate) -> i64 {
        let start = self.ends[side as usize];
        self.packet(side, at, ACK, start, bytes, fate);
        self.ends[side as usize] = start + bytes.len() as i64;
        self.ends[side as usize]
    }

    /// New data that echo the timestamp of what the peer sent at `heard`; gives the offset just after them.
    pub fn data_behind(&mut self, side: Side, at: i64, heard: i64, bytes: &[u8]) -> i64 {
        self.echo = self.stamp(side.peer(), heard);
        let end = self.data(side, at, bytes, Fate::default());
        self.echo = 0;
        end
    }

    /// SYN-ACK again.
    pub fn syn_ack_again(&mut self, at: i64) {
        self.packet(Side::Server, at, SYN | ACK, 0, &[], Fate::default());
    }

    /// Data again, from offset `start`.
    pub fn again(&mut self, side: Side, at: i64, start: i64, bytes: &[u8], fate: Fate) {
        self.packet(side, at, ACK, start, bytes, fate);
    }

    /// A pure acknowledgement of everything the peer has sent.
    pub fn ack(&mut self, side: Side, at: i64, fate: Fate) {
        self.packet(side, at, ACK, self.ends[side as usize], &[], fate);
    }

    /// What `side` says while the peer's stream has come up to this offset only.
    pub fn having<T>(&mut self, side: Side, end: i64, say: impl FnOnce(&mut Self) -> T) -> T {
        let peer = side.peer() as usize;
        let sent = std::mem::replace(&mut self.ends[peer], end);
        let said = say(self);
        self.ends[peer] = sent;
        said
    }

    /// A pure acknowledgement of a packet that the peer had sent at `sent`, as its timestamp shows.
    pub fn ack_of(&mut self, side: Side, at: i64, sent: i64) {
        self.echo = self.stamp(side.peer(), sent);
        self.ack(side, at, Fate::default());
        self.echo = 0;
    }

    /// An acknowledgement of what the peer has sent before `upto`, and of what these SACK blocks say.
    pub fn tell(&mut self, side: Side, at: i64, upto: i64, sack: &[(i64, i64)], fate: Fate) {
        let peer = side.peer() as usize;
        let sent = std::mem::replace(&mut self.ends[peer], upto);
        self.sack = sack.to_vec();
        self.ack(side, at, fate);
        (self.ends[peer], self.sack) = (sent, vec![]);
    }

    /// How far `side` has sent.
    pub fn sent(&self, side: Side) -> i64 {
        self.ends[side as usize]
    }

    /// The timestamp of what leaves `side` at `at`.
    fn stamp(&self, side: Side, at: i64) -> u32 {
        5_000_000u32.wrapping_add((at / MS / self.ticks[side as usize]) as u32)
    }

    /// `side` has no more to say.
    pub fn fin(&mut self, side: Side, at: i64) {
        self.packet(side, at, FIN | ACK, self.ends[side as usize], &[], Fate::default());
    }

    /// The same, and nobody hears of it.
    pub fn fin_lost(&mut self, side: Side, at: i64) {
        self.packet(side, at, FIN | ACK, self.ends[side as usize], &[], Fate { lost: true, held: 0 });
    }

    fn packet(&mut self, side: Side, at: i64, flags: u8, start: i64, payload: &[u8], fate: Fate) {
        self.ids[side as usize] = self.ids[side as usize].wrapping_add(1);
        let frame = self.frame(side, at, flags, start, payload);
        let (sender, receiver) = match side {
            Side::Client => (&mut self.client_tap, &mut self.edge_tap),
            Side::Server => (&mut self.edge_tap, &mut self.client_tap),
        };
        sender.push((at, frame.clone()));
        if !fate.lost {
            receiver.push((at + HALF + fate.held, frame));
        }
    }

    fn frame(&self, side: Side, at: i64, flags: u8, start: i64, payload: &[u8]) -> Vec<u8> {
        let peer = side.peer();
        let syn = flags & SYN != 0;
        let first = |s: Side| self.next[s as usize].wrapping_add(1);
        let seq = if syn { self.next[side as usize] } else { first(side).wrapping_add(start as u32) };
        let ack = first(peer).wrapping_add(self.ends[peer as usize] as u32);
        let mut tcp = Vec::new();
        let ports = [40_000u16, 443];
        tcp.extend(ports[side as usize].to_be_bytes());
        tcp.extend(ports[peer as usize].to_be_bytes());
        tcp.extend(seq.to_be_bytes());
        tcp.extend((if flags & ACK != 0 { ack } else { 0 }).to_be_bytes());
        let mut options: Vec<u8> = if self.timestamps {
            [&[1, 1, 8, 10][..], &self.stamp(side, at).to_be_bytes(), &self.echo.to_be_bytes()].concat()
        } else {
            vec![]
        };
        if !self.sack.is_empty() {
            options.extend([1, 1, 5, 2 + 8 * self.sack.len() as u8]);
            let edges = self.sack.iter().flat_map(|(left, right)| [*left, *right]);
            edges.for_each(|edge| options.extend(first(peer).wrapping_add(edge as u32).to_be_bytes()));
        }
        tcp.extend([(((20 + options.len()) / 4) as u8) << 4, flags]);
        tcp.extend(self.windows[side as usize].to_be_bytes());
        tcp.extend([0, 0, 0, 0]);
        tcp.extend(options);
        tcp.extend(payload);
        let mut frame = vec![0u8; 12];
        if self.v6 {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend((tcp.len() as u16).to_be_bytes());
            frame.extend([6, 64]);
            let address = |s: Side| [[0xfd; 15].as_slice(), &[s as u8 + 1]].concat();
            frame.extend(address(side));
            frame.extend(address(peer));
        } else {
            frame.extend([8, 0, 0x45, 0]);
            frame.extend((tcp.len() as u16 + 20).to_be_bytes());
            frame.extend(self.ids[side as usize].to_be_bytes());
            frame.extend([0x40, 0, self.ttl, 6, 0, 0]);
            frame.extend([10, 0, 0, side as u8 + 1, 10, 0, 0, peer as u8 + 1]);
        }
        frame.extend(tcp);
        frame
    }

    /// Reads both captures into one joined handshake.
    pub fn handshake(&self) -> Handshake {
        let mut joined = join(views::<Client>(&self.client_tap, 0), views::<Edge>(&self.edge_tap, SKEWED));
        assert_eq!(joined.len(), 1, "both ends saw one connection");
        joined.remove(0)
    }

    /// Reads the client's capture alone.
    pub fn at_client(&self) -> Handshake {
        join(views::<Client>(&self.client_tap, 0), vec![]).remove(0)
    }

    /// The edge's capture, for tests that damage it.
    pub fn edge_tap(&mut self) -> &mut Vec<(i64, Vec<u8>)> {
        &mut self.edge_tap
    }

    /// The client's capture, for tests that damage it.
    pub fn client_tap(&mut self) -> &mut Vec<(i64, Vec<u8>)> {
        &mut self.client_tap
    }
}

fn views<D: Domain>(tap: &[(i64, Vec<u8>)], offset: i64) -> Vec<View<D>> {
    let mut sorted: Vec<_> = tap.iter().collect();
    sorted.sort_by_key(|(at, _)| *at);
    let mut table = FlowTable::<D>::default();
    for (number, (at, frame)) in (1..).zip(sorted) {
        match decode(LinkType::Ethernet, frame) {
            Ok(Transport::Tcp(segment)) => drop(table.push(Instant::from_nanos(at + offset), number, &segment)),
            other => panic!("the builder wrote what cannot be read: {other:?}"),
        }
    }
    table.into_views()
}

/// A record of `kind` with `body`.
pub fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, 3, 3][..], &(body.len() as u16).to_be_bytes(), body].concat()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &(body.len() as u32).to_be_bytes()[1..], body].concat()
}

/// A ClientHello that asks for `edge.test`.
pub fn client_hello() -> Vec<u8> {
    client_hello_with(&[])
}

/// One that offers early data.
pub fn early_hello() -> Vec<u8> {
    client_hello_with(&[0, 42, 0, 0])
}

fn client_hello_with(extensions: &[u8]) -> Vec<u8> {
    let name = b"edge.test";
    let list = [&[0][..], &(name.len() as u16).to_be_bytes(), name].concat();
    let sni = [&[0, 0][..], &(list.len() as u16 + 2).to_be_bytes(), &(list.len() as u16).to_be_bytes(), &list].concat();
    let sni = [&sni, extensions].concat();
    let body = [&[3, 3][..], &[9; 32], &[0], &[0, 2, 0x13, 1], &[1, 0], &(sni.len() as u16).to_be_bytes(), &sni].concat();
    record(22, &message(1, &body))
}

/// The same with `more` bytes of padding.
pub fn long_client_hello(more: u16) -> Vec<u8> {
    let plain = client_hello();
    // Of the record the header, of the message type, length, version, random, session, suites, compression: then the extensions' length.
    let at = 5 + 4 + 2 + 32 + 1 + 4 + 2;
    let padding = [&[0, 21][..], &more.to_be_bytes(), &vec![0; more.into()]].concat();
    let extensions = [&plain[at + 2..], &padding].concat();
    let body = [&plain[9..at], &(extensions.len() as u16).to_be_bytes(), &extensions].concat();
    record(22, &message(1, &body))
}

/// A ServerHello; `random` tells a HelloRetryRequest, `extensions` are raw.
pub fn server_hello(random: [u8; 32], extensions: &[u8]) -> Vec<u8> {
    let body = [&[3, 3][..], &random, &[0], &[0x13, 1], &[0], &(extensions.len() as u16).to_be_bytes(), extensions].concat();
    record(22, &message(2, &body))
}

/// `supported_versions` that says TLS 1.3.
pub const TLS13: [u8; 6] = [0, 43, 0, 2, 3, 4];

/// TLS 1.2: Certificate and ServerHelloDone.
pub fn certificate_and_done() -> Vec<u8> {
    [record(22, &message(11, &[0; 900])), record(22, &message(14, &[]))].concat()
}

/// A server's flight of TLS 1.3.
pub fn flight13() -> Vec<u8> {
    [server_hello([1; 32], &TLS13), record(20, &[1]), record(23, &[0; 900])].concat()
}

/// A client Finished of TLS 1.3 with a SHA-256 suite.
pub fn finished13() -> Vec<u8> {
    [record(20, &[1]), record(23, &[0; 53])].concat()
}

/// ChangeCipherSpec and an encrypted Finished of TLS 1.2.
pub fn finished12() -> Vec<u8> {
    [record(20, &[1]), record(22, &[0; 40])].concat()
}
