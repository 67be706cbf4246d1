//! One observer's view of TCP connections: what passed, in which order, at what time.
//!
//! A [`View`] speaks of *offsets* into each direction's byte stream (0 = the first byte after SYN), so
//! that two views of one connection can be compared byte by byte however the packets were cut, merged
//! (GRO, GSO), repeated or reordered on the way.

use std::sync::OnceLock;

use smallvec::SmallVec;

use crate::clock::{Domain, Instant, Span};
use crate::conversation::{missed, turns};
use crate::doubt::order::Mended;
use crate::tcp::covered::Passed;
use crate::tls::records::{self, Hello, Records};
use crate::tls::stream::Stream;
use crate::tls::{Dialogue, Half, Order};
use crate::wire::packet::{Flags, TcpSegment};

pub use crate::tcp::seen::{Endpoints, Seen, Side};

/// Packets remembered per connection; a handshake is over long before, bulk data is not wanted.
pub(super) const MAX_PACKETS: usize = 2_048;

/// Packets of an ordinary handshake, its request and answer: a kilobyte of them, for which there is room once somebody says something.
const USUAL_PACKETS: usize = 21;

/// What whoever says nothing of the segments that it takes is sent (RFC 9293, section 3.7.1), and the least that Linux sends.
const DEFAULT_MSS: i64 = 536;
const LEAST_MSS: i64 = 48;

/// Stamps this far apart at least are those of a coarse clock.
const COARSE: Span = Span::from_millis(1);

/// And no clock of today's is coarser (Windows: 15.6 ms).
const COARSEST: Span = Span::from_millis(16);

/// SACK blocks; few packets have any.
pub(crate) type Blocks = SmallVec<[(i64, i64); 3]>;

/// One connection as one observer saw it.
#[derive(Clone, Debug)]
pub struct View<D> {
    /// Who talks to whom.
    pub endpoints: Endpoints,
    /// Every packet, in the order of capture.
    pub packets: Vec<Seen<D>>,
    /// The flags of all of them together.
    flags: Flags,
    /// How far both directions have passed.
    pub(super) passed: Passed,
    rare: Option<Box<Rare>>,
    client: Direction,
    server: Direction,
    /// By how much each side's window field is shifted, client's first; absent if its SYN did not say.
    scales: [Option<u8>; 2],
    /// The largest segment each side takes; absent if its SYN did not say.
    takes: [Option<u16>; 2],
    /// Records of protected data before it is worth looking whether the handshake is over.
    pub(crate) next_look: usize,
    /// Once the client has acknowledged so much of the server's stream, the connection is over.
    pub(crate) told_with: Option<i64>,
    /// Once the server has acknowledged so much of the client's stream, its answer tells that Finished came.
    pub(crate) awaits: Option<i64>,
    /// What was done to the order of its packets.
    pub mended: Mended,
    /// The dialogue as it was read last, until more comes.
    pub(crate) settled: Option<Box<Dialogue>>,
}

/// What few packets have, by their number.
#[derive(Clone, Default, Debug)]
struct Rare {
    /// In order of number.
    sacks: Vec<(u64, Blocks)>,
    /// The frames of the pieces in which a packet came, but for the last.
    pieces: Vec<(u64, Vec<u64>)>,
    /// Bytes of the numbers in `pieces`.
    of_pieces: usize,
}

impl Rare {
    fn held(rare: Option<&Self>) -> usize {
        let Some(Self { sacks, pieces, of_pieces }) = rare else { return 0 };
        let of_sacks = sacks.capacity() * size_of::<(u64, Blocks)>();
        size_of::<Self>() + of_sacks + pieces.capacity() * size_of::<(u64, Vec<u64>)>() + of_pieces
    }
}

/// What one side sent, as far as it was captured.
#[derive(Clone, Default, Debug)]
struct Direction {
    isn: Option<u32>,
    /// Another one that the same side offered for the same connection.
    other_isn: Option<u32>,
    /// The peer has acknowledged something, so the number is settled.
    isn_settled: bool,
    /// Absent before its first data, and when nobody wants it any more.
    content: Option<Box<Content>>,
}

/// The bytes of a direction.
#[derive(Clone, Default, Debug)]
struct Content {
    stream: Stream,
    records: Records,
    /// Segments that begin with a TLS record although no Hello was seen.
    late_records: u32,
}

impl<D: Domain> View<D> {
    pub(crate) fn new(endpoints: Endpoints) -> Self {
        Self {
            endpoints,
            packets: Vec::new(),
            flags: Flags::default(),
            passed: Passed::default(),
            rare: None,
            client: Direction::default(),
            server: Direction::default(),
            scales: [None; 2],
            takes: [None; 2],
            next_look: 2,
            told_with: None,
            awaits: None,
            mended: Mended::default(),
            settled: None,
        }
    }

    fn direction(&self, side: Side) -> &Direction {
        match side {
            Side::Client => &self.client,
            Side::Server => &self.server,
        }
    }

    /// By how much `side`'s window field is shifted (RFC 7323: only if both sides offered it); absent where its SYN was not captured.
    pub fn window_scale(&self, side: Side) -> Option<u8> {
        self.syns(Side::Client).next().and(self.syns(Side::Server).next())?;
        let both = self.scales[0].is_some() && self.scales[1].is_some();
        Some(if both { self.scales[side as usize].unwrap_or(0) } else { 0 })
    }

    /// The largest segment that the ends may send each other; absent where a SYN was not captured.
    pub fn mss(&self) -> Option<i64> {
        // Nobody sends segments of nothing: Linux takes 0 as if nothing was said, and sends no less than its `tcp_min_snd_mss`.
        let meant = |mss: u16| if mss == 0 { DEFAULT_MSS } else { i64::from(mss).max(LEAST_MSS) };
        let [client, server] = self.takes;
        Some(meant(client?).min(meant(server?)))
    }

    /// The initial sequence number of `side`: both together are the name of a connection that survives address
    /// translation.
    pub fn isn(&self, side: Side) -> Option<u32> {
        self.direction(side).isn
    }

    /// What `side` sent: its bytes and the TLS records in them.
    pub fn half(&self, side: Side) -> Half<'_> {
        let content = self.direction(side).content();
        Half { stream: &content.stream, records: &content.records }
    }

    /// The same packets on another clock: for when it is found out whose clock a capture's was.
    pub fn on_clock_of<E: Domain>(self) -> View<E> {
        let packets = self.packets.into_iter().map(Seen::on_clock_of).collect();
        View {
            endpoints: self.endpoints,
            packets,
            flags: self.flags,
            passed: self.passed,
            rare: self.rare,
            client: self.client,
            server: self.server,
            scales: self.scales,
            takes: self.takes,
            next_look: self.next_look,
            told_with: self.told_with,
            awaits: self.awaits,
            mended: self.mended,
            settled: self.settled,
        }
    }

    /// The TLS dialogue, as far as this observer alone can read it.
    pub fn dialogue(&self) -> Dialogue {
        if let Some(read) = &self.settled {
            return (**read).clone();
        }
        let (client, server) = (self.half(Side::Client), self.half(Side::Server));
        let mut read = Dialogue::read(client, server, Order::default());
        self.read_in_order([client, server], &mut read);
        missed::complete(self, [client, server], &mut read);
        turns::complete(self, &mut read);
        read
    }

    /// Reads a dialogue that was read without the order of packets again with it.
    pub(crate) fn read_in_order(&self, [client, server]: [Half<'_>; 2], read: &mut Dialogue) {
        if read.early_data_offered {
            // Of early data, which looks like Finished, only the place of ServerHello tells; what came before Finished, only then.
            let behind_early = Order { server_before_finished: None, ..self.order(read) };
            read.read_again(client, server, behind_early);
        }
        read.read_again(client, server, self.order(read));
    }

    /// The same for good, where it has been read already.
    pub(crate) fn take_dialogue(&mut self) -> Box<Dialogue> {
        self.settled.take().unwrap_or_else(|| Box::new(self.dialogue()))
    }

    /// What the order of packets tells of a dialogue that was read without it.
    pub fn order(&self, dialogue: &Dialogue) -> Order {
        let before = |end: Option<i64>, of: Side| {
            let mark = self.first_copy(of.peer(), end?)?;
            let before = self.packets.iter().take_while(|p| p.packet != mark.packet);
            Some(before.filter(|p| p.from == of).map(Seen::end).max().unwrap_or(0))
        };
        Order {
            server_before_finished: before(dialogue.client_finished.map(|e| e.end), Side::Server),
            client_before_hello: before(dialogue.server_hello.map(|e| e.end), Side::Client)
                .filter(|_| dialogue.early_data_offered),
        }
    }

    /// Ends the capture of this connection: what is missing never comes. Without a SYN, whoever sent ClientHello is
    /// the client.
    pub fn close(&mut self) {
        for (side, hello) in [(Side::Client, Hello::Client), (Side::Server, Hello::Server)] {
            if self.direction_mut(side).close(hello) {
                self.settled = None;
            }
        }
        let swapped = || {
            let [client, server] = [Side::Client, Side::Server].map(|s| self.direction(s));
            let found = |d: &Direction, hello| Records::read(&d.content().stream, hello).start().is_some();
            !found(client, Hello::Client) && (found(server, Hello::Client) || found(client, Hello::Server))
        };
        if self.packets.iter().all(|p| !p.flags.syn()) && swapped() {
            self.turn_round();
        }
    }

    fn turn_round(&mut self) {
        self.settled = None;
        let Endpoints { client, server } = self.endpoints;
        self.endpoints = Endpoints { client: server, server: client };
        std::mem::swap(&mut self.client, &mut self.server);
        self.scales.swap(0, 1);
        self.takes.swap(0, 1);
        for packet in &mut self.packets {
            packet.from = packet.from.peer();
        }
        for (side, hello) in [(Side::Client, Hello::Client), (Side::Server, Hello::Server)] {
            if let Some(content) = &mut self.direction_mut(side).content {
                content.records = Records::read(&content.stream, hello);
            }
        }
    }

    fn direction_mut(&mut self, side: Side) -> &mut Direction {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    /// Whether TLS passed without a Hello: its handshake lies before the capture.
    pub fn late_tls(&self) -> bool {
        let [client, server] = [&self.client, &self.server].map(Direction::content);
        client.records.start().is_none() && server.records.start().is_none() && client.late_records + server.late_records > 0
    }

    /// Whether this packet was its first.
    pub(crate) fn began_with(&self, packet: u64) -> bool {
        self.packets.first().is_some_and(|first| first.packet == packet)
    }

    /// Time of the last packet.
    pub fn last_at(&self) -> Option<Instant<D>> {
        self.packets.last().map(|p| p.at)
    }

    /// Bytes this view holds in memory, about, room that is reserved included; without a dialogue that was read.
    pub fn held(&self) -> usize {
        let packets = self.packets.capacity() * size_of::<Seen<D>>();
        size_of::<Self>() + packets + Rare::held(self.rare.as_deref()) + self.client.held() + self.server.held()
    }

    /// Notes what few packets have; gives how many bytes more that takes.
    fn note(&mut self, what: impl FnOnce(&mut Rare)) -> usize {
        let before = Rare::held(self.rare.as_deref());
        what(self.rare.get_or_insert_default());
        Rare::held(self.rare.as_deref()) - before
    }

    /// Lets go of the bytes of both streams and the records in them: for when the dialogue has been read and only times matter.
    pub fn forget_bytes(&mut self) {
        (self.client.content, self.server.content, self.settled) = (None, None, None);
    }

    /// The same connection with other packets, or the same in another order.
    pub(crate) fn replace_packets(&mut self, packets: Vec<Seen<D>>) {
        self.passed = Passed::default();
        self.flags = Flags::default();
        for p in &packets {
            self.flags.0 |= p.flags.0;
            self.passed.add(p.from, p.start(), p.len(), p.flags.fin(), p.ack());
        }
        self.packets = packets;
        self.settled = None;
    }

    /// Only the packets in these places, in order.
    #[must_use]
    pub(crate) fn with_packets(mut self, places: impl Iterator<Item = usize>) -> Self {
        let packets = places.map(|i| self.packets[i]).collect();
        self.replace_packets(packets);
        self
    }

    /// Whether bytes, or a SYN, passed more than once: if not, no packet lies there twice.
    pub(crate) fn may_hold_copies(&self) -> bool {
        self.passed.may_repeat() || self.syns(Side::Client).nth(1).is_some()
    }

    /// Lets go of the packets: for when all that they tell has been read.
    pub fn forget_packets(&mut self) {
        (self.packets, self.rare) = (Vec::new(), None);
    }

    /// How coarse the clock was that stamped it: what no two of its packets lie closer together than, where several have one stamp.
    pub fn grain(&self) -> Span {
        let (mut least, mut alike) = (None::<Span>, 0);
        for pair in self.packets.windows(2) {
            match (pair[1].at - pair[0].at).abs() {
                Span::ZERO => alike += 1,
                gap if gap < COARSE => return Span::ZERO,
                gap => least = Some(least.map_or(gap, |least| least.min(gap))),
            }
        }
        least.filter(|_| alike >= 2).map_or(Span::ZERO, |least| least.min(COARSEST))
    }

    /// Whether packets of both ends were captured.
    pub fn both_directions(&self) -> bool {
        [Side::Client, Side::Server].iter().all(|side| self.sent_by(*side).next().is_some())
    }

    /// The SACK blocks of all packets that have any, in order of packet number, as offsets in the peer's stream.
    pub(crate) fn sacks(&self) -> &[(u64, Blocks)] {
        self.rare.as_ref().map_or(&[], |rare| &rare.sacks)
    }

    /// A packet's SACK blocks, as offsets in the peer's stream.
    pub fn sack(&self, packet: &Seen<D>) -> &[(i64, i64)] {
        blocks_of(self.sacks(), packet.packet)
    }

    /// Notes that a packet came in pieces, in frames of these numbers and its own; gives how many bytes that takes.
    pub(super) fn note_pieces(&mut self, packet: u64, frames: Vec<u64>) -> usize {
        self.note(|rare| {
            rare.of_pieces += frames.capacity() * size_of::<u64>();
            rare.pieces.push((packet, frames));
        })
    }

    /// The numbers of all frames that held a packet, or a piece of one.
    pub fn frames(&self) -> impl Iterator<Item = u64> {
        let pieces = self.rare.iter().flat_map(|rare| &rare.pieces).flat_map(|(_, frames)| frames);
        self.packets.iter().map(|p| p.packet).chain(pieces.copied())
    }

    /// The first packet that resets the connection; there is none in most.
    pub fn first_rst(&self) -> Option<&Seen<D>> {
        if self.flags.rst() { self.packets.iter().find(|p| p.flags.rst()) } else { None }
    }

    /// The first packet that closes a direction in an orderly way.
    pub fn first_fin(&self) -> Option<&Seen<D>> {
        if self.flags.fin() { self.packets.iter().find(|p| p.flags.fin()) } else { None }
    }

    /// Whether bytes may have passed more than once: if not, nothing was sent again.
    pub(crate) fn may_repeat(&self) -> bool {
        self.passed.may_repeat()
    }

    /// Packets of one end.
    pub fn sent_by(&self, side: Side) -> impl DoubleEndedIterator<Item = &Seen<D>> {
        self.packets.iter().filter(move |p| p.from == side)
    }

    /// Whether an end closed or reset it, as far as was seen.
    pub fn is_closed(&self) -> bool {
        self.flags.fin() || self.flags.rst()
    }

    /// SYNs (from the client) or SYN-ACKs (from the server).
    pub fn syns(&self, side: Side) -> impl Iterator<Item = &Seen<D>> {
        self.sent_by(side).filter(|p| p.flags.syn())
    }

    /// The packet with which every byte of `[0, end)` had passed this observer at least once: where
    /// the observer stands with the receiver, the moment the receiver's kernel could deliver them. Bytes that the peer
    /// acknowledges passed too, though the capture missed them; absent if it missed the last byte itself.
    pub fn completed(&self, side: Side, end: i64) -> Option<&Seen<D>> {
        // In order, all before its end had passed when that came.
        if self.passed.in_order() && end > 0 { self.first_copy(side, end) } else { self.completed_out_of_order(side, end) }
    }

    /// The first packet that carried the last byte before `end`.
    pub fn first_copy(&self, side: Side, end: i64) -> Option<&Seen<D>> {
        self.sent_by(side).find(|p| p.covers_last_byte_before(end))
    }

    /// Every packet that carried the last byte before `end`.
    pub fn copies(&self, side: Side, end: i64) -> impl Iterator<Item = &Seen<D>> {
        self.sent_by(side).filter(move |p| p.covers_last_byte_before(end))
    }

    /// The first packet of `side`'s peer that acknowledges everything `side` sent before `end`.
    pub fn first_ack(&self, side: Side, end: i64) -> Option<&Seen<D>> {
        self.sent_by(side.peer()).find(|p| !p.flags.rst() && p.ack().is_some_and(|ack| ack >= end))
    }

    /// Takes a segment; gives by how many bytes this view takes more room than before.
    #[inline]
    pub(crate) fn push(&mut self, at: Instant<D>, packet: u64, from: Side, segment: &TcpSegment<'_>) -> isize {
        if self.packets.len() >= MAX_PACKETS {
            return 0;
        }
        self.settled = None;
        let room = self.packets.capacity();
        if segment.flags.syn() || !self.client.isn_settled || !self.server.isn_settled {
            if segment.flags.syn() {
                self.scales[from as usize] = segment.options.window_scale();
                self.takes[from as usize] = segment.options.mss();
            }
            self.learn_isn(from, segment);
            self.make_room(segment.len > 0);
        }
        let (Some(own), peer) = (self.direction(from).isn, self.direction(from.peer()).isn) else { return 0 };
        let start = if segment.flags.syn() { 0 } else { offset(own, segment.seq) };
        let ack = peer.filter(|_| segment.flags.ack()).map(|isn| offset(isn, segment.ack));
        self.flags.0 |= segment.flags.0;
        self.passed.add(from, i64::from(start), i64::from(segment.len), segment.flags.fin(), ack.map(i64::from));
        self.packets.push(Seen::of(segment, at, packet, from, start, ack));
        let mut more = ((self.packets.capacity() - room) * size_of::<Seen<D>>()) as isize;
        if segment.options.may_have_sack()
            && let Some(blocks) = peer.and_then(|isn| blocks(isn, segment))
        {
            more += self.note(|rare| {
                let at = rare.sacks.partition_point(|(number, _)| *number <= packet);
                rare.sacks.insert(at, (packet, blocks));
            }) as isize;
        }
        if segment.len == 0 {
            return more;
        }
        let hello = if from == Side::Client { Hello::Client } else { Hello::Server };
        let direction = self.direction_mut(from);
        let before = direction.held();
        direction.push(i64::from(start), segment, hello);
        more + direction.held() as isize - before as isize
    }

    /// A SYN that nobody answers takes the room of one packet, a connection on which nobody says anything that of three: there may be very
    /// many of them.
    fn make_room(&mut self, says_something: bool) {
        let room = match self.packets.len() {
            0 => 1,
            _ if says_something => USUAL_PACKETS,
            _ => 3,
        };
        if self.packets.capacity() < room {
            self.packets.reserve_exact(room - self.packets.len());
        }
    }

    /// SYN states the initial number; a capture that began later learns it from the first segment
    /// or from what the peer acknowledges. Of several that were offered, the one acknowledged counts.
    fn learn_isn(&mut self, from: Side, segment: &TcpSegment<'_>) {
        let (own, peer) = match from {
            Side::Client => (&mut self.client, &mut self.server),
            Side::Server => (&mut self.server, &mut self.client),
        };
        if segment.flags.syn() && !own.isn_settled {
            own.other_isn = own.isn.filter(|isn| *isn != segment.seq).or(own.other_isn);
            own.isn = Some(segment.seq);
        }
        own.isn.get_or_insert(segment.seq.wrapping_sub(1));
        if segment.flags.ack() {
            let acknowledged = segment.ack.wrapping_sub(1);
            peer.isn.get_or_insert(acknowledged);
            if !segment.flags.syn() && !segment.flags.rst() && !peer.isn_settled {
                peer.isn_settled = true;
                if peer.other_isn == Some(acknowledged) {
                    peer.isn = Some(acknowledged);
                }
            }
        }
    }
}

/// Offset of sequence number `seq` in the stream whose SYN was `isn`; right across one wrap-around.
fn offset(isn: u32, seq: u32) -> i32 {
    seq.wrapping_sub(isn.wrapping_add(1)) as i32
}

/// A packet's SACK blocks among those of others, in order of number.
pub(crate) fn blocks_of(sacks: &[(u64, Blocks)], packet: u64) -> &[(i64, i64)] {
    sacks.binary_search_by_key(&packet, |(number, _)| *number).map_or(&[], |at| &sacks[at].1)
}

/// A segment's SACK blocks, as offsets in the stream whose SYN was `isn`.
fn blocks(isn: u32, segment: &TcpSegment<'_>) -> Option<Blocks> {
    let mut found = segment.options.sack().peekable();
    found.peek()?;
    let offset = |seq| i64::from(offset(isn, seq));
    Some(found.map(|(left, right)| (offset(left), offset(right))).collect())
}

impl Direction {
    #[inline]
    fn content(&self) -> &Content {
        static NOTHING: OnceLock<Content> = OnceLock::new();
        self.content.as_deref().unwrap_or_else(|| NOTHING.get_or_init(Content::default))
    }

    /// Bytes held in memory.
    #[inline]
    fn held(&self) -> usize {
        self.content.as_ref().map_or(0, |content| size_of::<Content>() + content.stream.held() + content.records.held())
    }

    fn push(&mut self, start: i64, segment: &TcpSegment<'_>, hello: Hello) {
        let Content { stream, records, late_records } = &mut **self.content.get_or_insert_default();
        if records.start().is_none() && records::begins_protected(segment.payload) {
            *late_records += 1;
        }
        let whole = segment.payload.len() == segment.len as usize;
        if whole && records.take(stream, hello, start, segment.payload) {
            return;
        }
        stream.push(start, segment.payload, segment.len as usize);
        records.advance(stream, hello);
        if let Some(range) = records.unread() {
            stream.skip(range);
        }
    }

    /// Takes what waits; gives whether anything did.
    fn close(&mut self, hello: Hello) -> bool {
        let Some(content) = &mut self.content else { return false };
        let more = content.stream.close();
        if more {
            content.records.advance(&content.stream, hello);
        }
        more
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::packet::Addresses;
    use proptest::prelude::*;

    proptest! {
        /// Records and messages are found alike whether bodies are skipped as they come, in whatever pieces, or all is kept.
        #[test]
        fn what_is_skipped_is_not_missed(
            records in prop::collection::vec((0usize..5, prop::collection::vec(any::<u8>(), 1..400)), 1..9),
            cuts in prop::collection::vec(1usize..700, 1..12),
        ) {
            let mut bytes = vec![22, 3, 3, 0, 44, 2, 0, 0, 40, 3, 3];
            bytes.resize(49, 7);
            for (kind, body) in &records {
                let (kind, mut body) = ([20, 22, 22, 23, 23][*kind], body.clone());
                // A Certificate alone in its record, as some are; others say something else.
                if kind == 22 && body.len() > 4 {
                    let len = body.len() - 4;
                    body[..4].copy_from_slice(&[11, 0, (len >> 8) as u8, len as u8]);
                }
                bytes.extend([kind, 3, 3, (body.len() >> 8) as u8, body.len() as u8]);
                bytes.extend(body);
            }
            let (mut direction, mut at) = (Direction::default(), 0);
            for cut in cuts.iter().cycle() {
                let piece = &bytes[at..(at + cut).min(bytes.len())];
                if piece.is_empty() {
                    break;
                }
                let segment = TcpSegment { len: piece.len() as u32, payload: piece, ..empty_segment() };
                direction.push(at as i64, &segment, Hello::Server);
                at += piece.len();
            }
            let (content, whole) = (direction.content(), Stream::whole(&bytes));
            let kept = Records::read(&whole, Hello::Server);
            prop_assert_eq!(&content.records.found, &kept.found);
            let read = |stream, records| Dialogue::read(Half { stream, records }, Half { stream, records }, Order::default());
            prop_assert_eq!(read(&content.stream, &content.records), read(&whole, &kept));
            // What is reserved doubles, from what is read before a Hello on.
            prop_assert!(content.stream.held() <= (2 * bytes.len()).max(16 << 10));
        }
    }

    proptest! {
        /// Where all passed in order, what is known without a look at each packet is what such a look finds.
        #[test]
        fn in_order_nothing_needs_to_be_searched(
            packets in prop::collection::vec((any::<bool>(), 0u32..12, prop_oneof![9 => Just(0i32), 1 => -9i32..9], -3i32..14), 1..30),
            fin in any::<bool>(),
        ) {
            let ends: std::net::SocketAddr = "192.0.2.1:443".parse().expect("an address");
            let mut view = View::<crate::clock::Unplaced>::new(Endpoints { client: ends, server: ends });
            let (bytes, mut sent) = ([0; 12], [0_i32; 2]);
            // Both initial numbers are known, so that all that follows has the offset it is given here.
            for (from, flags) in [(Side::Client, 0x02), (Side::Server, 0x12), (Side::Client, 0x10)] {
                let (seq, ack) = if flags == 0x10 { (1, 1) } else { (0, 1) };
                view.push(Instant::from_nanos(0), 0, from, &TcpSegment { seq, ack, flags: Flags(flags), ..empty_segment() });
            }
            for (i, (of_client, len, off, behind)) in packets.iter().enumerate() {
                let (from, own) = if *of_client { (Side::Client, 0) } else { (Side::Server, 1) };
                let (start, ack) = ((sent[own] + off).max(0), (sent[1 - own] - behind).max(0));
                sent[own] = sent[own].max(start + *len as i32);
                let flags = Flags(if fin && i + 2 > packets.len() { 0x11 } else { 0x10 });
                let (seq, ack, payload) = (1 + start as u32, 1 + ack as u32, &bytes[..*len as usize]);
                let segment = TcpSegment { seq, ack, flags, len: *len, payload, ..empty_segment() };
                view.push(Instant::from_nanos(i as i64), 1 + i as u64, from, &segment);
            }
            prop_assert_eq!(view.capture_gap(), view.acknowledges_unseen());
            for (side, end) in [Side::Client, Side::Server].into_iter().flat_map(|side| (1..200).map(move |end| (side, end))) {
                prop_assert_eq!(view.completed(side, end).map(|p| p.packet), view.completed_out_of_order(side, end).map(|p| p.packet));
            }
            let again = [Side::Client, Side::Server].iter().any(|side| {
                let mut reached = 0;
                view.sent_by(*side).filter(|p| !p.is_empty()).any(|p| {
                    let again = p.start() < reached;
                    reached = reached.max(p.end());
                    again
                })
            });
            prop_assert!(view.may_repeat() || !again);
            prop_assert!(again || !view.passed.in_order() || !view.may_repeat());
        }
    }

    fn empty_segment() -> TcpSegment<'static> {
        TcpSegment {
            addresses: Addresses::V4(&[0; 8]),
            ports: [0; 2],
            seq: 0,
            ack: 0,
            flags: Flags(0x10),
            len: 0,
            payload: &[],
            options: crate::wire::packet::TcpOptions(&[]),
            ip_id: None,
            ip_len: 0,
            ttl: 64,
            window: 0,
        }
    }

    #[test]
    fn offsets_survive_wrap_around() {
        assert_eq!(offset(u32::MAX, 0), 0);
        assert_eq!(offset(u32::MAX - 5, 10), 15);
        assert_eq!(offset(7, 8), 0);
        assert_eq!(offset(7, 7), -1, "a keep-alive repeats the byte before");
    }
}
