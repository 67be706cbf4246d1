//! What every source of handshake packets gives.

use analysis::clock::Instant;
use analysis::wire::packet::{Flags, LinkType, TcpSegment};

use crate::clock::Monotonic;
use crate::ends::{End, FlowName};

/// A frame, seen now, of which nothing else is known yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame<'a> {
    /// When, on the clock that nobody can set.
    pub at: Instant<Monotonic>,
    /// Length on the wire.
    pub wire_len: u32,
    /// The interface's place in the list of those that are read; behind them all where it is not known.
    pub interface: u32,
    /// Whether it left this host.
    pub outgoing: bool,
    /// How the frame begins.
    pub link: LinkType,
    /// The bytes captured.
    pub bytes: &'a [u8],
}

/// One packet. What its source learnt about it on the way is told: nobody has to decode it once more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen<'a> {
    /// Its frame.
    pub frame: Frame<'a>,
    /// Its flow.
    pub flow: FlowName,
    /// The client's end.
    pub client: End,
    /// The server's end.
    pub server: End,
    /// Whether the client sent it.
    pub from_client: bool,
    /// TCP's flags.
    pub flags: Flags,
    /// TCP's sequence number.
    pub seq: u32,
    /// TCP's acknowledgement number.
    pub ack: u32,
    /// Payload on the wire.
    pub payload_len: u32,
    /// Payload captured.
    pub payload: &'a [u8],
}

impl<'a> Seen<'a> {
    /// Whether it is a SYN or SYN-ACK: these a stranger can make any number of.
    pub fn syn(&self) -> bool {
        self.flags.syn()
    }

    /// A packet whose frame somebody decoded; of the frame's bytes `keep` are given on.
    pub fn decoded(frame: Frame<'a>, segment: &TcpSegment<'a>, from_client: bool, keep: usize) -> Self {
        let (source, destination) = (End::from(segment.source()), End::from(segment.destination()));
        let (client, server) = if from_client { (source, destination) } else { (destination, source) };
        let kept = keep.saturating_sub(payload_at(frame.bytes, segment)).min(segment.payload.len());
        Self {
            frame: Frame { bytes: &frame.bytes[..keep.min(frame.bytes.len())], ..frame },
            flow: FlowName::of(client, server),
            client,
            server,
            from_client,
            flags: segment.flags,
            seq: segment.seq,
            ack: segment.ack,
            payload_len: segment.len,
            payload: &segment.payload[..kept],
        }
    }
}

/// Where a segment's payload begins in its frame; behind all of it if the frame is cut before.
pub(crate) fn payload_at(frame: &[u8], segment: &TcpSegment<'_>) -> usize {
    let at = (segment.payload.as_ptr() as usize).wrapping_sub(frame.as_ptr() as usize);
    at.min(frame.len())
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
