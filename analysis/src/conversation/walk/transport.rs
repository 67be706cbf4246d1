//! What the walk asks of a connection, whatever its transport.
//!
//! In: one end of a connection, as an [`Endpoint`]. Out: neutral [`Packet`]s and answers about them. TCP answers with its tapes
//! ([`super::tcp::tape`]); the walk and its goal know nothing below this border. A transport whose packets are numbered apart from its stream
//! answers just as well: what counts is which bytes a packet carries, and what its sender says has come.

use std::ops::Range;

use crate::tcp::flow::Side;

/// The place in a stream of what opens a connection: just before the first byte.
pub(super) const OPENING: i64 = -1;

/// How the time of a packet is known.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Known {
    /// Stamped by a capture at this end.
    Captured,
    /// By the end's own TCP timestamps, or by its kernel's prompt acknowledgement.
    Told,
    /// By nothing but the usual way.
    Guessed,
}

/// One packet, as one end knows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet {
    /// When it left or came, on this end's clock.
    pub at: i64,
    /// Its number in the captures.
    pub number: u64,
    /// Who sent it.
    pub from: Side,
    /// How its time is known.
    pub known: Known,
    /// The same packet at the other end: its place there.
    pub other: Option<u32>,
    /// The bytes of its sender's stream that it carries: the first, and what follows the last.
    pub range: (i64, i64),
    /// How far its sender's stream had been sent (at the sender) or had come without a hole (at the receiver), before it.
    pub before: i64,
    /// The same behind it.
    pub after: i64,
    /// Whether it opens the connection; then it carries [`OPENING`].
    pub opens: bool,
    /// Whether nothing of its sender's follows.
    pub closes: bool,
    /// Up to where it says that the peer's stream has come; absent where it says nothing.
    pub told: Option<i64>,
}

impl Packet {
    /// Whether it brought its stream on.
    #[inline]
    pub fn is_news(&self) -> bool {
        self.after > self.before
    }

    /// Whether it carries nothing of its stream.
    #[inline]
    pub fn is_bare(&self) -> bool {
        self.range.0 >= self.range.1
    }

    #[inline]
    pub fn carries(&self, byte: i64) -> bool {
        self.range.0 <= byte && byte < self.range.1
    }
}

/// A rule that holds senders back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Rule {
    /// No more than the receiver has room for (RFC 9293, section 3.8.6).
    ReceiveWindow,
    /// No small segment behind a small one that is not acknowledged (RFC 896, as Minshall has it).
    Nagle,
    /// No more than the congestion window, perhaps paced (RFC 5681, RFC 6928).
    CongestionWindow,
    /// The window was cut for a loss (RFC 5681, section 3.2).
    Repair,
}

/// What let a departure go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Freed {
    /// News from the peer: the packet, and the rule under which data had waited for it.
    By { news: usize, rule: Rule },
    /// A timer, for the acknowledgement of what was sent before is overdue: a loss probe takes new data along (RFC 8985, section 7.3).
    Timer(Rule),
    /// Nothing but the program.
    Program,
}

/// How long the ways took, across the two clocks, by the side that sent; absent where no packet was seen at both ends.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Ways {
    pub least: [Option<i64>; 2],
    pub usual: [Option<i64>; 2],
}

/// One end of a connection: all that left it and came to it, in order of time. Places are places in that order.
pub(super) trait Endpoint {
    /// Which end it is.
    fn end(&self) -> Side;

    /// How many packets there are.
    fn len(&self) -> usize;

    /// The packets at these places.
    fn packets(&self, places: Range<usize>) -> impl DoubleEndedIterator<Item = Packet> + ExactSizeIterator;

    /// The packet at this place.
    fn packet(&self, i: usize) -> Packet;

    /// What let the fresh departure `d` go, `since` being the news that its turn answers.
    fn freed(&self, d: usize, since: usize) -> Freed;

    /// Whether what this end offered its peer with its own packet `i` left room for more to come.
    fn left_room(&self, i: usize) -> bool;

    /// The first of this end's own packets since which it offered its peer no more room than with its own packet `i`, and none for a whole
    /// segment: others repeat that (they answer probes), or acknowledge what still fitted in.
    fn shut_since(&self, i: usize) -> usize;

    /// Whether the packet left this end.
    #[inline]
    fn is_own(&self, i: usize) -> bool {
        self.packet(i).from == self.end()
    }

    /// The first packet that left this end with a byte.
    fn first_departure(&self, byte: i64) -> Option<usize> {
        self.packets(0..self.len()).position(|p| p.from == self.end() && p.carries(byte))
    }

    /// The packet with which all of the peer's stream before `upto` had come.
    fn completing(&self, upto: i64) -> Option<usize> {
        self.packets(0..self.len()).position(|p| p.from != self.end() && p.after >= upto && p.before < upto)
    }

    /// The last packet before `i` that brought the peer's stream on.
    fn news_before(&self, i: usize) -> Option<usize> {
        self.packets(0..i).rposition(|p| p.from != self.end() && p.is_news())
    }

    /// How far this end's stream was sent behind all that is before `i`.
    fn sent_before(&self, i: usize) -> i64 {
        self.packets(0..i).rfind(|p| p.from == self.end()).map_or(OPENING, |p| p.after)
    }

    /// The last packet before `i` with new bytes of this end's own.
    fn fresh_before(&self, i: usize) -> Option<usize> {
        self.packets(0..i).rposition(|p| p.from == self.end() && p.is_news())
    }

    /// How far the peer's stream has come at last.
    fn came(&self) -> i64 {
        self.packets(0..self.len()).rfind(|p| p.from != self.end()).map_or(OPENING, |p| p.after)
    }

    /// The first place behind a moment.
    fn place_after(&self, at: i64) -> usize {
        self.packets(0..self.len()).position(|p| p.at > at).unwrap_or(self.len())
    }
}
