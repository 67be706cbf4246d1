//! Packets made by hand, for tests: a line each, times in milliseconds.

use std::net::SocketAddr;

use crate::clock::{Domain, Instant};
use crate::tcp::flow::{Endpoints, Side, View};
use crate::wire::packet::{Addresses, Flags, TcpOptions, TcpSegment};

pub(crate) use Side::{Client as C, Server as S};

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// One packet; its offsets are those of [`crate::tcp::flow::Seen`].
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub at: f64,
    pub from: Side,
    pub start: i32,
    pub len: u32,
    pub ack: i32,
    pub flags: u8,
    pub stamps: Option<(u32, u32)>,
    pub id: Option<u16>,
    pub ttl: u8,
    pub window: u16,
    pub scale: Option<u8>,
    pub mss: Option<u16>,
    pub sack: Vec<(i32, i32)>,
}

/// Data of `from`, `len` bytes from `start` on; without any it is an acknowledgement.
pub(crate) fn data(from: Side, at: f64, start: i32, len: u32) -> Packet {
    Packet {
        at,
        from,
        start,
        len,
        ack: 0,
        flags: ACK,
        stamps: None,
        id: None,
        ttl: 64,
        window: u16::MAX,
        scale: None,
        mss: None,
        sack: vec![],
    }
}

/// Nothing but an acknowledgement up to `ack`, from a side that has sent `start` bytes.
pub(crate) fn ack(from: Side, at: f64, start: i32, ack: i32) -> Packet {
    data(from, at, start, 0).acks(ack)
}

/// SYN from the client, SYN-ACK from the server.
pub(crate) fn syn(from: Side, at: f64) -> Packet {
    Packet { flags: if from == C { SYN } else { SYN | ACK }, ..data(from, at, 0, 0) }
}

impl Packet {
    pub fn acks(mut self, ack: i32) -> Self {
        self.ack = ack;
        self
    }
    /// TCP timestamps: its own, and the one that it echoes.
    pub fn stamped(mut self, value: u32, echo: u32) -> Self {
        self.stamps = Some((value, echo));
        self
    }
    pub fn id(mut self, id: u16) -> Self {
        self.id = Some(id);
        self
    }
    pub fn ttl(mut self, ttl: u8) -> Self {
        self.ttl = ttl;
        self
    }
    pub fn window(mut self, window: u16) -> Self {
        self.window = window;
        self
    }
    pub fn sacks(mut self, left: i32, right: i32) -> Self {
        self.sack.push((left, right));
        self
    }
    pub fn fin(mut self) -> Self {
        self.flags |= FIN;
        self
    }
    pub fn rst(mut self) -> Self {
        self.flags |= RST;
        self
    }
    /// The same, so much later.
    pub fn later(mut self, by: f64) -> Self {
        self.at += by;
        self
    }

    fn options(&self) -> Vec<u8> {
        let mut options = Vec::new();
        if let Some(mss) = self.mss {
            options.extend([2, 4]);
            options.extend(mss.to_be_bytes());
        }
        if let Some(scale) = self.scale {
            options.extend([1, 3, 3, scale]);
        }
        if let Some((value, echo)) = self.stamps {
            options.extend([1, 1, 8, 10]);
            options.extend(value.to_be_bytes());
            options.extend(echo.to_be_bytes());
        }
        if !self.sack.is_empty() {
            options.extend([1, 1, 5, 2 + 8 * self.sack.len() as u8]);
            let edges = self.sack.iter().flat_map(|(left, right)| [*left, *right]);
            edges.for_each(|edge| options.extend((edge + 1).to_be_bytes()));
        }
        options
    }
}

/// What an observer saw of these, in the order given, numbered from 1. Both initial sequence numbers are 0.
pub(crate) fn view<D: Domain>(packets: &[Packet]) -> View<D> {
    let [client, server]: [SocketAddr; 2] =
        ["192.0.2.1:40000", "198.51.100.1:443"].map(|address| address.parse().expect("an address"));
    let mut view = View::new(Endpoints { client, server });
    for (number, packet) in (1..).zip(packets) {
        let options = packet.options();
        let segment = TcpSegment {
            addresses: Addresses::V4(&[0; 8]),
            ports: [0; 2],
            seq: if packet.flags & SYN != 0 { 0 } else { (packet.start + 1) as u32 },
            ack: (packet.ack + 1) as u32,
            flags: Flags(packet.flags),
            len: packet.len,
            payload: &[],
            options: TcpOptions(&options),
            ip_id: packet.id,
            ip_len: 40 + options.len() as u32 + packet.len,
            ttl: packet.ttl,
            window: packet.window,
        };
        view.push(Instant::from_nanos(nanos(packet.at)), number, packet.from, &segment);
    }
    view
}

/// Milliseconds as nanoseconds.
pub(crate) fn nanos(millis: f64) -> i64 {
    (millis * 1e6).round() as i64
}
