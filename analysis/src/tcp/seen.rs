//! One packet of a connection, as one observer saw it.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::clock::{Domain, Instant};
use crate::wire::packet::{Flags, TcpSegment};

/// Which end sent a packet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The end that sent SYN.
    Client,
    /// The end that sent SYN-ACK.
    Server,
}

impl Side {
    /// The other end.
    #[must_use]
    pub fn peer(self) -> Self {
        match self {
            Side::Client => Side::Server,
            Side::Server => Side::Client,
        }
    }
}

/// The two endpoints of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Endpoints {
    /// The end that sent SYN.
    pub client: SocketAddr,
    /// The end that listened.
    pub server: SocketAddr,
}

/// One packet of a connection, as one observer saw it: small and plain, for there are many of them.
#[derive(Clone, Copy, Debug)]
pub struct Seen<D> {
    /// When, on the observer's clock.
    pub at: Instant<D>,
    /// Its number in the capture.
    pub packet: u64,
    ack: i32,
    tsval: u32,
    tsecr: u32,
    start: i32,
    len: u32,
    /// Length of the IP packet.
    pub ip_len: u32,
    ip_id: u16,
    /// The window field as sent, without its scale.
    pub window: u16,
    /// Who sent it.
    pub from: Side,
    /// TCP flags.
    pub flags: Flags,
    /// TTL or hop limit.
    pub ttl: u8,
    has: Has,
}

/// Which of a packet's numbers it has: a bit each, for an [`Option`] would take as much again as what is in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Has(u8);

impl Has {
    const ACK: u8 = 1;
    const TSVAL: u8 = 2;
    const IP_ID: u8 = 4;
    const TSECR: u8 = 8;

    #[inline]
    fn of(ack: bool, tsval: bool, ip_id: bool) -> Self {
        let bit = |has: bool, bit: u8| if has { bit } else { 0 };
        Self(bit(ack, Self::ACK) | bit(tsval, Self::TSVAL | Self::TSECR) | bit(ip_id, Self::IP_ID))
    }

    #[inline]
    fn then<T>(self, bit: u8, number: T) -> Option<T> {
        (self.0 & bit != 0).then_some(number)
    }
}

impl<D: Domain> Seen<D> {
    /// Offset of its first payload byte.
    #[inline]
    pub fn start(&self) -> i64 {
        i64::from(self.start)
    }
    /// Payload bytes on the wire.
    #[inline]
    pub fn len(&self) -> i64 {
        i64::from(self.len)
    }
    /// Whether it carries no payload.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
    /// Offset just after the last payload byte.
    #[inline]
    pub fn end(&self) -> i64 {
        self.start() + self.len()
    }
    /// Offset in the peer's stream up to which it acknowledges; absent without ACK.
    #[inline]
    pub fn ack(&self) -> Option<i64> {
        self.has.then(Has::ACK, i64::from(self.ack))
    }
    /// Whether it bears TCP timestamps.
    #[inline]
    pub fn is_stamped(&self) -> bool {
        self.has.0 & Has::TSVAL != 0
    }
    /// TCP timestamp value.
    #[inline]
    pub fn tsval(&self) -> Option<u32> {
        self.has.then(Has::TSVAL, self.tsval)
    }
    /// The timestamp that it echoes: that of the packet which it answers (RFC 7323); absent where it acknowledges nothing.
    #[inline]
    pub fn tsecr(&self) -> Option<u32> {
        if self.flags.ack() { self.has.then(Has::TSECR, self.tsecr) } else { None }
    }
    /// IPv4 identification.
    #[inline]
    pub fn ip_id(&self) -> Option<u16> {
        self.has.then(Has::IP_ID, self.ip_id)
    }
    /// Whether it does nothing but acknowledge.
    pub fn pure_ack(&self) -> bool {
        self.is_empty() && self.flags.ack() && !self.flags.syn() && !self.flags.fin() && !self.flags.rst()
    }
    /// Whether it carries the byte before offset `end`.
    pub(crate) fn covers_last_byte_before(&self, end: i64) -> bool {
        !self.is_empty() && self.start() < end && self.end() >= end
    }

    /// What is remembered of a segment: its first byte lies at `start` in its sender's stream, and it acknowledges the peer's up to
    /// `ack`.
    #[inline]
    pub(crate) fn of(segment: &TcpSegment<'_>, at: Instant<D>, packet: u64, from: Side, start: i32, ack: Option<i32>) -> Self {
        let stamps = segment.options.timestamps();
        let (tsval, tsecr) = stamps.unwrap_or_default();
        Self {
            at,
            packet,
            has: Has::of(ack.is_some(), stamps.is_some(), segment.ip_id.is_some()),
            ack: ack.unwrap_or_default(),
            tsval,
            tsecr,
            start,
            len: segment.len,
            ip_len: segment.ip_len,
            ip_id: segment.ip_id.unwrap_or_default(),
            window: segment.window,
            from,
            flags: segment.flags,
            ttl: segment.ttl,
        }
    }

    /// The same packet without its timestamp value; what it echoes stays.
    pub(crate) fn without_tsval(self) -> Self {
        Self { has: Has(self.has.0 & !Has::TSVAL), ..self }
    }

    /// The same packet on another clock.
    pub(crate) fn on_clock_of<E: Domain>(self) -> Seen<E> {
        Seen {
            at: Instant::from_nanos(self.at.nanos()),
            packet: self.packet,
            ack: self.ack,
            tsval: self.tsval,
            tsecr: self.tsecr,
            start: self.start,
            len: self.len,
            ip_len: self.ip_len,
            ip_id: self.ip_id,
            window: self.window,
            from: self.from,
            flags: self.flags,
            ttl: self.ttl,
            has: self.has,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_fits_into_a_cache_line() {
        assert_eq!(size_of::<Seen<crate::clock::Edge>>(), 48);
    }
}
