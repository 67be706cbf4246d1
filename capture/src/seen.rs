//! What every source of handshake packets gives.

use analysis::packet::LinkType;

/// One packet, seen now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen<'a> {
    /// When, in nanoseconds of `CLOCK_MONOTONIC`: nobody can set that clock.
    pub at: i64,
    /// Length on the wire.
    pub wire_len: u32,
    /// The interface's number; 0 where it is not known.
    pub interface: u32,
    /// Whether it left this host.
    pub outgoing: bool,
    /// Whether it is a SYN or SYN-ACK: these a stranger can make any number of.
    pub syn: bool,
    /// How the frame begins.
    pub link: LinkType,
    /// The bytes captured.
    pub bytes: &'a [u8],
}

/// What a source counted since it began.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counters {
    /// Packets of interest: TCP, to or from a wanted port.
    pub seen: u64,
    /// Handshake packets handed over.
    pub passed: u64,
    /// SYN and SYN-ACK packets handed over.
    pub syns: u64,
    /// Handshake packets lost for want of room.
    pub lost: u64,
    /// SYN and SYN-ACK packets lost for want of room.
    pub syns_lost: u64,
    /// Connections established.
    pub connections: u64,
    /// Of these, those whose SYN was not known.
    pub late: u64,
}
