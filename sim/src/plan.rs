//! Everything that makes one trial: the peers, the path, the captures, and what goes wrong.

use std::net::SocketAddr;

use crate::MS;
use crate::habit::{Habit, LINUX};
use crate::host::Think;
use crate::path::{Deed, Fault, Which};
use crate::tap::Tap;
use crate::tls::{Manner, Marks, Version};

/// Which packets a fault means, by what they carry of the handshake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Aim {
    /// All.
    All,
    /// SYN, or SYN-ACK.
    Syn,
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
    /// IP packets longer than this.
    LongerThan(usize),
}

impl Aim {
    /// As a fault of a path over which these messages travel.
    pub fn fault(self, marks: &Marks, deed: Deed) -> Fault {
        let which = match self {
            Aim::All => Which::All,
            Aim::Syn => Which::Syn,
            Aim::FlightBegin => Which::Carrying(marks.flight_start),
            Aim::FlightEnd => Which::Carrying(marks.flight_end - 1),
            Aim::Finished => Which::Carrying(marks.finished_end - 1),
            Aim::FlightAck => Which::Acknowledging(marks.flight_end),
            Aim::AfterFlightAck => Which::AfterAcknowledging(marks.flight_end),
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
    /// The edge's program never answers; the client gives up after a while.
    ServerSilent,
    /// The client is never heard of again after the server's flight.
    ClientVanishes,
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
    /// IPv6 instead of IPv4.
    pub ipv6: bool,
    /// One way, well.
    pub delay: i64,
    /// Mean jitter of each direction.
    pub jitter: i64,
    /// Routers between.
    pub hops: u8,
    /// Packets lost by chance, share.
    pub background_loss: f64,
    /// Faults from the client to the edge.
    pub out: Vec<(Aim, Deed)>,
    /// Faults from the edge to the client.
    pub back: Vec<(Aim, Deed)>,
    /// A name lookup that takes so long comes first.
    pub lookup: Option<i64>,
    /// Nagle's algorithm at the client.
    pub nagle: bool,
    /// Nagle's algorithm at the edge.
    pub edge_nagle: bool,
    /// The client's process is stopped for so long when the first data of the server's come.
    pub stopped: Option<i64>,
    /// For so long after SYN, the edge's accept queue is full.
    pub deaf: i64,
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
    /// A proxy that ends TCP stands before the edge.
    pub proxy: bool,
    /// An address translator stands before the client.
    pub nat: bool,
    /// Another machine answers than the one captured.
    pub elsewhere: bool,
    /// While it thinks before Finished, the client asks somebody else.
    pub client_asks: bool,
    /// While it thinks before its flight, the edge asks somebody else.
    pub edge_asks: bool,
    /// The capture at the client.
    pub client_tap: Tap,
    /// The capture at the edge.
    pub edge_tap: Tap,
    /// Healthy handshakes over the same path before it.
    pub before: usize,
}

impl Plan {
    /// A healthy handshake of Linux with Linux.
    pub fn healthy(version: Version, name: &str) -> Self {
        let compute = |micros: i64| -> Think { vec![(crate::host::Doing::Computing, micros * 1_000)] };
        Self {
            manner: Manner {
                version,
                hello_len: 517,
                certificate_len: 2_800,
                retry: false,
                early_data: 0,
                client_certificate: false,
                split_writes: false,
                split_flight: false,
                early_ticket: false,
                response_len: 1_800,
                name: name.to_owned(),
                thinks: [compute(300), compute(1_500), compute(900), compute(400)],
            },
            client: LINUX,
            server: LINUX,
            client_address: None,
            ipv6: false,
            delay: 20 * MS,
            jitter: 20_000,
            hops: 11,
            background_loss: 0.0,
            out: Vec::new(),
            back: Vec::new(),
            lookup: None,
            nagle: false,
            edge_nagle: false,
            stopped: None,
            deaf: 0,
            defer_accept: false,
            probe_mtu: None,
            slow_reader: None,
            pause: None,
            abort: None,
            proxy: false,
            nat: false,
            elsewhere: false,
            client_asks: false,
            edge_asks: false,
            client_tap: Tap::new(0),
            edge_tap: Tap::new(0),
            before: 0,
        }
    }
}
