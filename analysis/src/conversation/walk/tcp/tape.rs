//! One end of a connection as a list of events: what left it and what came to it, in order of time on that end's clock.
//!
//! In: an observer's [`View`], or what one observer can tell of the far end ([`super::far`]). Out: a [`Tape`], in which every
//! packet knows which new bytes it brought. The walk reads two tapes and never asks where they came from.

use std::ops::Range;

pub(in super::super) use super::super::transport::Known;
use super::super::transport::{Endpoint, Freed, OPENING, Packet};
use super::limits::{Sender, freed};
use crate::clock::{Domain, Unplaced};
use crate::tcp::flow::{Blocks, Seen, Side, View, blocks_of};

/// SYN's place in a stream: just before its first byte.
pub(in super::super) const SYN: i64 = OPENING;
/// On the paths of today no MSS is less: what a view shows no longer segment of may be full at this length.
const USUAL_MSS: i64 = 1_160;
/// No segment over Ethernet carries more; what is longer was not cut yet, or merged (offloads).
pub(in super::super) const MOST_SEGMENT: i64 = 1_460;

/// What timestamps take of a segment (RFC 7323, appendix A).
pub(in super::super) const TIMESTAMPS: i64 = 12;

/// One packet at one end.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Event {
    /// The packet, timed on this end's clock.
    pub seen: Seen<Unplaced>,
    /// How its time is known.
    pub known: Known,
    /// How far its sender's stream had been sent (at the sender) or had come without a hole (at the receiver), before it.
    pub before: i64,
    /// The same behind it.
    pub after: i64,
    /// The same packet at the other end: its place on that tape.
    pub other: Option<u32>,
}

impl Event {
    pub fn new(seen: Seen<Unplaced>, known: Known) -> Self {
        Self { seen, known, before: 0, after: 0, other: None }
    }

    pub fn at(&self) -> i64 {
        self.seen.at.nanos()
    }

    /// Whether it brought its stream on.
    pub fn is_news(&self) -> bool {
        self.after > self.before
    }

    /// The bytes it carries; SYN is one.
    pub fn range(&self) -> (i64, i64) {
        if self.seen.flags.syn() { (SYN, self.seen.end()) } else { (self.seen.start(), self.seen.end()) }
    }

    pub fn carries(&self, byte: i64) -> bool {
        let (start, end) = self.range();
        start <= byte && byte < end
    }

    /// Whether it carries nothing.
    pub fn is_full_of_nothing(&self) -> bool {
        let (start, end) = self.range();
        start >= end
    }

    #[inline]
    fn packet(&self) -> Packet {
        Packet {
            at: self.at(),
            number: self.seen.packet,
            from: self.seen.from,
            known: self.known,
            other: self.other,
            range: self.range(),
            before: self.before,
            after: self.after,
            opens: self.seen.flags.syn(),
            closes: self.seen.flags.fin(),
            told: self.seen.ack(),
        }
    }
}

/// All that left one end and came to it.
#[derive(Debug)]
pub(in super::super) struct Tape {
    /// Which end.
    pub end: Side,
    /// In order of time.
    pub events: Vec<Event>,
    /// What is known of this end as a sender.
    pub sender: Sender,
    /// SACK blocks of the packets that have any, in order of packet number.
    sacks: Vec<(u64, Blocks)>,
    /// By how much each side's window field is shifted; absent where the SYNs were not captured.
    scales: [Option<u8>; 2],
    /// The largest segment that the ends may send each other; absent where the SYNs were not captured.
    mss: Option<i64>,
    /// What a full segment of each side holds.
    full: [i64; 2],
}

/// The longest new segments of one side.
#[derive(Clone, Copy, Default)]
struct Longest {
    len: i64,
    times: usize,
    stamped: bool,
}

impl Longest {
    fn count(&mut self, event: &Event) {
        let len = event.seen.len();
        self.stamped |= event.seen.is_stamped();
        if event.is_news() && len >= self.len {
            self.times = if len == self.len { self.times + 1 } else { 1 };
            self.len = len;
        }
    }

    /// What a full one holds: a length that comes twice, or what the ends agreed on; one long segment may be all that there was to say.
    fn full(self, mss: Option<i64>) -> i64 {
        let timestamps = if self.stamped { TIMESTAMPS } else { 0 };
        let most = mss.map_or(MOST_SEGMENT, |mss| MOST_SEGMENT.min(mss - timestamps));
        let shown = self.times > 1 && self.len >= USUAL_MSS;
        if shown || mss.is_none() { self.len.max(USUAL_MSS).min(most) } else { most }
    }
}

impl Tape {
    /// What an observer at `end` saw; of each side only what lies before `upto`, where it took its leave.
    pub fn captured<D: Domain>(end: Side, view: &View<D>, upto: [Option<i64>; 2]) -> Self {
        // An end that closes acknowledges all that it had by then: what had only passed the capture had not come.
        let own_fin = view.packets.iter().position(|p| p.from == end && p.flags.fin());
        let had = own_fin.and_then(|i| Some((i, view.packets[i].ack()?)));
        // What lies behind a hole may have: of that nothing is acknowledged.
        let lacked = |p: &Seen<D>, ack| !p.is_empty() && p.start() <= ack && p.end() > ack;
        let came = |i: usize, p: &Seen<D>| had.is_none_or(|(fin, ack)| i > fin || p.from == end || !lacked(p, ack));
        // What carries nothing has its place in the stream behind all that was sent before it.
        let said = |p: &Seen<D>| {
            upto[p.from as usize].is_none_or(|upto| p.flags.syn() || p.start() < upto + i64::from(p.is_empty() && !p.flags.fin()))
        };
        let there = view.packets.iter().enumerate().filter(|(i, p)| !p.flags.rst() && came(*i, p) && said(p));
        let mut events = Vec::with_capacity(view.packets.len());
        events.extend(there.map(|(_, p)| Event::new(p.on_clock_of(), Known::Captured)));
        let scales = [Side::Client, Side::Server].map(|side| view.window_scale(side));
        Self::of(end, events, view.sacks().to_vec(), scales, view.mss())
    }

    /// Of events in any order; `mss` is what both ends said they take, if they did.
    pub fn of(end: Side, mut events: Vec<Event>, sacks: Vec<(u64, Blocks)>, scales: [Option<u8>; 2], mss: Option<i64>) -> Self {
        if !events.is_sorted_by_key(Event::at) {
            events.sort_by_key(Event::at);
        }
        let begun = [Side::Client, Side::Server].map(|side| events.iter().any(|e| e.seen.from == side && e.seen.flags.syn()));
        // Without its SYN a stream begins with its first byte.
        let mut reached = begun.map(|begun| if begun { SYN } else { 0 });
        let (mut longest, mut beyond) = ([Longest::default(); 2], Vec::new());
        for event in &mut events {
            let side = event.seen.from as usize;
            let (start, last) = event.range();
            event.before = reached[side];
            if event.seen.from == end {
                if last > start {
                    reached[side] = reached[side].max(last);
                }
                // An ACK before its own SYN is another connection's.
                let begun = reached[side] > SYN;
                let other = &mut reached[1 - side];
                if let Some(ack) = event.seen.ack().filter(|ack| begun && *ack > *other) {
                    *other = ack;
                    fill(other, &mut beyond);
                }
            } else if last > start && last > reached[side] {
                if start > reached[side] {
                    beyond.push((start, last));
                } else {
                    reached[side] = last;
                    fill(&mut reached[side], &mut beyond);
                }
            }
            event.after = reached[side];
            longest[side].count(event);
        }
        let full = longest.map(|longest| longest.full(mss));
        Self { end, events, sender: Sender::default(), sacks, scales, mss, full }
    }

    /// Leaves out what lies behind the moment at which this end closed: it waited for nothing more.
    pub fn until(&mut self, closed: i64) {
        self.events.truncate(self.events.partition_point(|e| e.at() <= closed));
    }

    /// What a full segment of this end holds.
    pub fn full(&self) -> i64 {
        self.full[self.end as usize]
    }

    /// Up to where the peer's packet `i` lets this end send; absent where its scale is not known.
    pub fn right_edge(&self, i: usize) -> Option<i64> {
        let seen = &self.events[i].seen;
        let scale = if seen.flags.syn() { 0 } else { self.scales[seen.from as usize]? };
        Some(seen.ack()? + (i64::from(seen.window) << scale))
    }

    /// How far the peer's stream had come when this end sent its packet `i`, and a full segment more: a window that reaches so far
    /// is not shut.
    fn right_edge_had(&self, i: usize) -> i64 {
        let peer = 1 - self.end as usize;
        self.events[..i].iter().rfind(|e| e.seen.from != self.end).map_or(0, |e| e.after.max(0))
            + self.full[peer].min(USUAL_MSS) / 2
    }

    pub fn sack(&self, i: usize) -> &[(i64, i64)] {
        blocks_of(&self.sacks, self.events[i].seen.packet)
    }

    pub fn sacks(&self) -> &[(u64, Blocks)] {
        &self.sacks
    }

    pub fn mss(&self) -> Option<i64> {
        self.mss
    }

    pub fn scales(&self) -> [Option<u8>; 2] {
        self.scales
    }

    pub fn any_sack(&self) -> bool {
        !self.sacks.is_empty()
    }

    /// What the peer's packet `i` says had come twice (D-SACK, RFC 2883): where that begins.
    pub fn came_twice(&self, i: usize) -> Option<i64> {
        let (left, _) = self.sack(i).first()?;
        self.events[i].seen.ack().filter(|ack| left < ack).map(|_| *left)
    }
}

fn fill(reached: &mut i64, beyond: &mut Vec<(i64, i64)>) {
    while let Some(i) = beyond.iter().position(|(start, _)| *start <= *reached) {
        *reached = beyond.swap_remove(i).1.max(*reached);
    }
}

impl Endpoint for Tape {
    #[inline]
    fn end(&self) -> Side {
        self.end
    }

    #[inline]
    fn len(&self) -> usize {
        self.events.len()
    }

    #[inline]
    fn packets(&self, places: Range<usize>) -> impl DoubleEndedIterator<Item = Packet> + ExactSizeIterator {
        self.events[places].iter().map(Event::packet)
    }

    #[inline]
    fn packet(&self, i: usize) -> Packet {
        self.events[i].packet()
    }

    fn freed(&self, d: usize, since: usize) -> Freed {
        freed(self, d, since, self.sender)
    }

    fn left_room(&self, i: usize) -> bool {
        self.right_edge(i).is_some_and(|edge| edge > self.right_edge_had(i))
    }

    fn shut_since(&self, i: usize) -> usize {
        let full = self.full[1 - self.end as usize];
        // A window that is scaled is told no finer than this.
        let grain = 1_i64 << self.scales[self.end as usize].unwrap_or(0);
        let (last, edge) = (&self.events[i].seen, self.right_edge(i));
        let told = |j: usize| {
            let seen = &self.events[j].seen;
            // Into less room than for a segment no sender sends what is not the end of its data (RFC 9293, section 3.8.6.2.1).
            let as_shut = |edge: i64| {
                self.right_edge(j).zip(seen.ack()).is_some_and(|(at, ack)| (at - edge).abs() <= grain && at - ack < full)
            };
            (seen.ack(), seen.window) == (last.ack(), last.window) || edge.is_some_and(as_shut)
        };
        let own = (0..=i).rev().filter(|j| self.is_own(*j));
        // With data of its own it told the peer more than that.
        own.take_while(|j| self.events[*j].is_full_of_nothing() && told(*j)).last().unwrap_or(i)
    }
}
