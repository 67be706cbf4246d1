//! Everything that makes one trial: the peers, the path, the captures, and what goes wrong.

use std::net::SocketAddr;

use crate::MS;
use crate::habit::{Habit, LINUX};
use crate::host::Think;
use crate::lookup::Lookup;
use crate::path::{Deed, Fault, Which};
use crate::plaintext::Speech;
use crate::tap::Tap;
use crate::tls::{Manner, Marks, Version};

/// Which packets a fault means, by what they carry of the handshake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Aim {
    /// All.
    All,
    /// SYN, or SYN-ACK.
    Syn,
    /// All but that.
    BehindSyn,
    /// The first segment of the server's flight.
    FlightBegin,
    /// The last segment of it.
    FlightEnd,
    /// The end of the client's Finished.
    Finished,
    /// The pure acknowledgement of the flight.
    FlightAck,
    /// What the client sends after that.
    AfterFlightAck,
    /// The end of the (last) ClientHello.
    Hello,
    /// The byte of the server's flight that lies so many per cent behind its begin.
    FlightAt(usize),
    /// All that the client says once it has seen any of the flight.
    BehindFlight,
    /// All pure acknowledgements of the server's flight.
    FlightAcks,
    /// All pure acknowledgements of the client's last flight.
    FinishedAcks,
    /// IP packets longer than this.
    LongerThan(usize),
}

impl Aim {
    /// As a fault of a path over which these messages travel.
    pub fn fault(self, marks: &Marks, deed: Deed) -> Fault {
        let which = match self {
            Aim::All => Which::All,
            Aim::Syn => Which::Syn,
            Aim::BehindSyn => Which::BehindSyn,
            Aim::FlightBegin => Which::Carrying(marks.flight_start),
            Aim::FlightEnd => Which::Carrying(marks.flight_end - 1),
            Aim::Finished => Which::Carrying(marks.finished_end - 1),
            Aim::FlightAck => Which::Acknowledging(marks.flight_end),
            Aim::AfterFlightAck => Which::AfterAcknowledging(marks.flight_end),
            Aim::Hello => Which::Carrying(marks.hello_end - 1),
            Aim::FlightAt(share) => {
                Which::Carrying(marks.flight_start + (marks.flight_end - marks.flight_start - 1) * share / 100)
            }
            Aim::BehindFlight => Which::Beyond(marks.flight_start),
            Aim::FlightAcks => Which::BareBeyond(marks.flight_start),
            Aim::FinishedAcks => Which::BareBeyond(marks.finished_start),
            Aim::LongerThan(len) => Which::LongerThan(len),
        };
        Fault { which, deed }
    }
}

/// How a handshake ends before its time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Abort {
    /// The client sends an alert instead of Finished.
    ClientAlert,
    /// The client resets instead of sending Finished.
    ClientReset,
    /// The edge answers ClientHello with an alert.
    ServerAlert,
    /// Something between resets both ends when it has seen ClientHello.
    Middlebox,
    /// The same; its resets come with the TTL of a near neighbour.
    NearMiddlebox,
    /// The client closes instead of sending Finished, and the edge answers that with a reset.
    ClientFin,
    /// The client refuses the server's flight with an alert in clear.
    ClearAlert,
    /// The edge refuses what came with the client's Finished.
    LateServerAlert,
    /// The edge's program never answers; the client gives up after a while.
    ServerSilent,
    /// The client is never heard of again after the server's flight.
    ClientVanishes,
}

/// Whom an end asks while it thinks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asks {
    /// Somebody who answers.
    Answered,
    /// Somebody who does not answer its SYNs.
    Unanswered,
    /// A name server that does not answer.
    NameServer,
}

/// What something between does to the server's windows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Squeeze {
    /// It answers SYN itself, with a window of 0, and opens it when the server has answered too: a SYN proxy. It asks the server so late.
    SynProxy(i64),
    /// It strips window scaling from SYN-ACK.
    Unscaled,
}

/// An address that is tried before the one that answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InVain {
    /// For how long before the other one is tried.
    pub wait: i64,
    /// Whether the attempt goes on beside the other one (happy eyeballs, RFC 8305).
    pub overlaps: bool,
    /// It answers after all, so long after its SYN came: too late to be used.
    pub answers: Option<i64>,
}

/// The plan of one trial.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What the TLS peers do.
    pub manner: Manner,
    /// The client's stack.
    pub client: Habit,
    /// The server's stack.
    pub server: Habit,
    /// The client's address and first port; absent: that of the documentation's networks.
    pub client_address: Option<SocketAddr>,
    /// The client's host and the edge's, in the documentation's networks.
    pub client_host: u8,
    /// See there.
    pub edge_host: u8,
    /// IPv6 instead of IPv4.
    pub ipv6: bool,
    /// One way, well.
    pub delay: i64,
    /// Mean jitter of each direction.
    pub jitter: i64,
    /// Routers between.
    pub hops: u8,
    /// A share of packets that takes so much longer than others, in each direction.
    pub reorders: Option<(f64, i64)>,
    /// Packets lost by chance, share.
    pub background_loss: f64,
    /// Faults from the client to the edge.
    pub out: Vec<(Aim, Deed)>,
    /// Faults from the edge to the client.
    pub back: Vec<(Aim, Deed)>,
    /// A name lookup comes first.
    pub lookup: Option<Lookup>,
    /// Nagle's algorithm at the client.
    pub nagle: bool,
    /// Nagle's algorithm at the edge.
    pub edge_nagle: bool,
    /// The client's process is stopped for so long when the first data of the server's come.
    pub stopped: Option<i64>,
    /// For so long after SYN, the edge's accept queue is full.
    pub deaf: i64,
    /// It is full already when SYN comes: that is not answered either.
    pub deaf_to_syn: bool,
    /// `TCP_DEFER_ACCEPT` at the edge.
    pub defer_accept: bool,
    /// Either end's stack shrinks its segments after so many timeouts.
    pub probe_mtu: Option<(u32, usize)>,
    /// The client's receive buffer, and how long its program lets data lie in it.
    pub slow_reader: Option<(usize, i64)>,
    /// The client's machine stands still: so long after ClientHello left, for so long.
    pub pause: Option<(i64, i64)>,
    /// How it ends early.
    pub abort: Option<Abort>,
    /// The client gives up so long after it began; absent: late.
    pub patience: Option<i64>,
    /// A client that gives up closes, as most programs do; else it resets.
    pub closes: bool,
    /// A proxy that ends TCP stands before the edge.
    pub proxy: bool,
    /// An address translator stands before the client.
    pub nat: bool,
    /// Another machine answers than the one captured.
    pub elsewhere: bool,
    /// While it thinks before Finished, the client asks somebody else.
    pub client_asks: Option<Asks>,
    /// While it thinks before its flight, the edge asks somebody else.
    pub edge_asks: Option<Asks>,
    /// The capture at the client.
    pub client_tap: Tap,
    /// The capture at the edge.
    pub edge_tap: Tap,
    /// The edge's stack paces what it sends.
    pub paced: bool,
    /// Both announce that they take jumbo frames: the largest segment.
    pub jumbo: Option<usize>,
    /// The edge still holds an earlier connection of the same addresses and ports.
    pub old_connection: bool,
    /// What something between does to windows.
    pub squeeze: Option<Squeeze>,
    /// What the client's and the edge's stack have as a receive buffer.
    pub buffers: [Option<usize>; 2],
    /// A router tells the edge that packets longer than this are too big, and the edge goes on.
    pub too_big: Option<u16>,
    /// An address that is tried in vain before.
    pub in_vain: Option<InVain>,
    /// IPv6 at the client, IPv4 at the edge (RFC 6146).
    pub nat64: bool,
    /// Something between rewrites both ends' sequence numbers.
    pub renumbered: bool,
    /// The proxy tells the edge who the client is, in a line before the first byte.
    pub proxy_header: bool,
    /// Both captures in one file.
    pub one_file: bool,
    /// Healthy handshakes over the same path before it.
    pub before: usize,
    /// They go to another address of the edge.
    pub before_elsewhere: bool,
    /// They are another client's.
    pub before_of_another: bool,
    /// They ask for another name.
    pub before_name: Option<&'static str>,
    /// The same, faults and all, so often before it.
    pub again: usize,
    /// Handshakes of the same client that begin together with it and that the edge takes first, one after the other.
    pub queued: usize,
    /// Connections that the client opens beside it and leaves unused.
    pub spare: usize,
}

impl Plan {
    /// A healthy handshake of Linux with Linux.
    pub fn healthy(version: Version, name: &str) -> Self {
        let compute = |micros: i64| -> Think { vec![(crate::host::ThreadState::Computing, micros * 1_000)] };
        Self {
            manner: Manner {
                version,
                hello_len: 517,
                certificate_len: 2_800,
                retry: false,
                early_data: 0,
                client_certificate: false,
                hello_pause: Vec::new(),
                flight_pause: Vec::new(),
                split_writes: false,
                split_flight: false,
                early_ticket: false,
                split_records: false,
                plaintext: None,
                speech: Speech::Tls,
                retry_thinks: [Vec::new(), Vec::new()],
                settle: Vec::new(),
                response_len: 1_800,
                name: name.to_owned(),
                thinks: [compute(300), compute(1_500), compute(900), compute(400)],
            },
            client: LINUX,
            server: LINUX,
            client_address: None,
            client_host: 1,
            edge_host: 2,
            ipv6: false,
            delay: 20 * MS,
            jitter: 20_000,
            hops: 11,
            reorders: None,
            background_loss: 0.0,
            out: Vec::new(),
            back: Vec::new(),
            lookup: None,
            nagle: false,
            edge_nagle: false,
            stopped: None,
            deaf: 0,
            deaf_to_syn: false,
            defer_accept: false,
            probe_mtu: None,
            slow_reader: None,
            pause: None,
            abort: None,
            patience: None,
            closes: false,
            proxy: false,
            nat: false,
            elsewhere: false,
            client_asks: None,
            edge_asks: None,
            client_tap: Tap::new(0),
            edge_tap: Tap::new(0),
            paced: false,
            jumbo: None,
            old_connection: false,
            squeeze: None,
            buffers: [None, None],
            too_big: None,
            in_vain: None,
            nat64: false,
            renumbered: false,
            proxy_header: false,
            one_file: false,
            before: 0,
            before_elsewhere: false,
            before_of_another: false,
            before_name: None,
            again: 0,
            queued: 0,
            spare: 0,
        }
    }
}
