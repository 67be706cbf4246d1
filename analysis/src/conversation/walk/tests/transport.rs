//! The border of the walk, answered by a transport that is not TCP: its packets are numbered apart from the stream, nothing opens the
//! connection but its first bytes, what is lost is sent again under another number, and room is granted by a message of its own (as in
//! QUIC, RFC 9000).

use std::ops::Range;

use super::super::arcs::{What, Work};
use super::super::follow::{Point, Walk};
use super::super::goal::{Goal, Stopped, goal, phase_of};
use super::super::transport::{Endpoint, Freed, Known, Packet, Rule, Ways};
use crate::judging::ledger::Phase;
use crate::tcp::flow::Side;
use crate::tls::{Dialogue, Extent, Version};
use Side::{Client as C, Server as S};

/// One way, in milliseconds.
const WAY: f64 = 20.0;
/// How far the edge's clock runs ahead.
const AHEAD: f64 = 700.0;

/// One packet on its way: which stretch of its sender's stream it carries is no matter of its number.
#[derive(Clone)]
struct Sent {
    from: Side,
    /// Of its sender's.
    number: u64,
    /// When it left, in milliseconds, and whether it came.
    left: f64,
    came: bool,
    bytes: Range<i64>,
    /// The numbers that it acknowledges.
    acks: Vec<u64>,
    /// How much of the peer's stream its sender has room for.
    room: Option<i64>,
}

fn sent(from: Side, number: u64, left: f64, bytes: Range<i64>) -> Sent {
    Sent { from, number, left, came: true, bytes, acks: vec![], room: None }
}

impl Sent {
    fn acks(self, numbers: impl IntoIterator<Item = u64>) -> Self {
        Self { acks: numbers.into_iter().collect(), ..self }
    }
    fn room(self, upto: i64) -> Self {
        Self { room: Some(upto), ..self }
    }
    fn lost(self) -> Self {
        Self { came: false, ..self }
    }
    /// What the capture calls it.
    fn captured(&self) -> u64 {
        self.number * 2 + self.from as u64
    }
}

/// One end of such a connection.
struct Toy {
    end: Side,
    packets: Vec<Packet>,
    /// What each packet grants, by its place.
    room: Vec<Option<i64>>,
}

/// How far a stream reaches without a hole.
fn prefix<'a>(bytes: impl Iterator<Item = &'a Range<i64>>) -> i64 {
    let mut bytes: Vec<&Range<i64>> = bytes.collect();
    bytes.sort_by_key(|b| b.start);
    bytes.into_iter().fold(0, |reached, b| if b.start <= reached { reached.max(b.end) } else { reached })
}

impl Toy {
    fn of(end: Side, talk: &[Sent]) -> Self {
        let clock = |ms: f64| ((ms + if end == S { AHEAD } else { 0.0 }) * 1e6).round() as i64;
        let seen = talk.iter().filter(|p| p.from == end || p.came);
        let mut seen: Vec<(i64, &Sent)> = seen.map(|p| (clock(if p.from == end { p.left } else { p.left + WAY }), p)).collect();
        seen.sort_by_key(|(at, _)| *at);
        let reached = |upto: usize, from: Side| -> i64 {
            let bytes = seen[..upto].iter().filter(|(_, p)| p.from == from).map(|(_, p)| &p.bytes);
            if from == end { bytes.map(|b| b.end).max().unwrap_or(0) } else { prefix(bytes) }
        };
        let packet = |(i, (at, p)): (usize, &(i64, &Sent))| {
            let acknowledged = talk.iter().filter(|q| q.from != p.from && p.acks.contains(&q.number)).map(|q| &q.bytes);
            Packet {
                at: *at,
                number: p.captured(),
                from: p.from,
                known: Known::Captured,
                other: None,
                range: (p.bytes.start, p.bytes.end),
                before: reached(i, p.from),
                after: reached(i + 1, p.from),
                opens: false,
                closes: false,
                told: (!p.acks.is_empty()).then(|| prefix(acknowledged)),
            }
        };
        let packets = seen.iter().enumerate().map(packet).collect();
        Self { end, packets, room: seen.iter().map(|(_, p)| p.room).collect() }
    }

    /// What the peer, or this end itself, has room for behind the packets before `i`.
    fn room(&self, i: usize, from: Side) -> i64 {
        let granted = (0..i).filter(|k| self.packets[*k].from == from).filter_map(|k| self.room[k]);
        granted.max().unwrap_or(i64::MAX)
    }
}

impl Endpoint for Toy {
    fn end(&self) -> Side {
        self.end
    }
    fn len(&self) -> usize {
        self.packets.len()
    }
    fn packets(&self, places: Range<usize>) -> impl DoubleEndedIterator<Item = Packet> + ExactSizeIterator {
        self.packets[places].iter().copied()
    }
    fn packet(&self, i: usize) -> Packet {
        self.packets[i]
    }
    /// By its only rule: no more than there is room for.
    fn freed(&self, d: usize, since: usize) -> Freed {
        let end = self.packets[d].range.1;
        let previous = self.fresh_before(d).filter(|p| *p > since);
        let shut = previous.is_some_and(|p| self.room(p, self.end.peer()) < end);
        let opened = (since + 1..d).find(|i| self.room(*i + 1, self.end.peer()) >= end);
        match opened.filter(|_| shut) {
            Some(news) => Freed::By { news, rule: Rule::ReceiveWindow },
            None => Freed::Program,
        }
    }
    fn left_room(&self, i: usize) -> bool {
        let came = self.packets[..i].iter().rfind(|p| p.from != self.end).map_or(0, |p| p.after);
        self.room(i + 1, self.end) > came
    }
    fn shut_since(&self, i: usize) -> usize {
        let own = (0..=i).rev().filter(|k| self.packets[*k].from == self.end);
        own.take_while(|k| self.packets[*k].is_bare() && self.room[*k] == self.room[i]).last().unwrap_or(i)
    }
}

/// Both ends, which know each other's packets by their numbers.
fn ends(talk: &[Sent]) -> [Toy; 2] {
    let mut ends = [Toy::of(C, talk), Toy::of(S, talk)];
    for end in 0..2 {
        let places: Vec<Option<usize>> = {
            let place = |p: &Packet| ends[1 - end].packets.iter().position(|q| q.number == p.number);
            ends[end].packets.iter().map(place).collect()
        };
        for (packet, place) in ends[end].packets.iter_mut().zip(places) {
            packet.other = place.map(|k| k as u32);
        }
    }
    ends
}

/// ClientHello of 1,200 bytes, a flight of 3,000, Finished of 80.
fn dialogue() -> Dialogue {
    let extent = |start, end| Some(Extent { start, end });
    Dialogue {
        version: Some(Version::Tls13),
        client_hello: extent(0, 1_200),
        server_hello: extent(0, 120),
        server_flight: extent(0, 3_000),
        client_finished: extent(1_200, 1_280),
        ..Dialogue::default()
    }
}

/// What the walk finds: what, whose, where, and milliseconds; the last first.
fn walked(talk: &[Sent]) -> Vec<(What, Side, Phase, f64)> {
    let (ends, d) = (ends(talk), dialogue());
    let [client, edge] = &ends;
    let Goal::Reached(point) = goal(&d, [client, edge], false) else { panic!("it completed") };
    let phase_of = |side, byte| phase_of(&d, side, byte);
    let way = |ms: f64| Some((ms * 1e6) as i64);
    let ways = [way(WAY + AHEAD), way(WAY - AHEAD)];
    let mut walk = Walk {
        ends: [client, edge],
        ways: Ways { least: ways, usual: ways },
        round_trip: (2.0 * WAY * 1e6) as i64,
        far: None,
        phase_of: &phase_of,
        answers_upto: &|_, _| None,
        arcs: Vec::new(),
        unseen: None,
    };
    walk.follow(point);
    // Ways lie across two clocks: without their difference.
    let ahead = |side| if side == C { AHEAD } else { -AHEAD };
    let ms = |a: &super::super::arcs::Arc| a.span() as f64 / 1e6 - if a.what == What::Way { ahead(a.side) } else { 0.0 };
    walk.arcs.iter().map(|a| (a.what, a.side, a.phase, (ms(a) * 10.0).round() / 10.0)).collect()
}

const HEAD: What = What::Work(Work::Head);

#[test]
fn what_was_sent_again_under_another_number_was_lost() {
    let talk = [
        sent(C, 0, 0.0, 0..1_200),
        sent(S, 0, 21.0, 0..1_200).acks([0]),
        sent(S, 1, 21.1, 1_200..2_400).lost(),
        sent(S, 2, 21.2, 2_400..3_000),
        sent(C, 1, 41.3, 1_200..1_200).acks([0, 2]),
        sent(S, 3, 121.1, 1_200..2_400),
        sent(C, 2, 143.1, 1_200..1_280).acks([0, 2, 3]),
    ];
    let expected = [
        (What::Way, C, Phase::Finish, 20.0),
        (HEAD, C, Phase::ClientFinished, 2.0),
        (What::Way, S, Phase::ServerFlight, 20.0),
        (What::Lost, S, Phase::ServerFlight, 100.0),
        (What::Work(Work::Tail), S, Phase::ServerFlight, 0.1),
        (HEAD, S, Phase::ServerFlight, 1.0),
        (What::Way, C, Phase::ServerFlight, 20.0),
    ];
    let arcs: Vec<_> = walked(&talk).into_iter().filter(|(.., ms)| *ms != 0.0).collect();
    assert_eq!(arcs, expected);
}

#[test]
fn what_waited_for_room_is_the_readers_time() {
    let talk = [
        sent(C, 0, 0.0, 0..1_200).room(1_000),
        sent(S, 0, 21.0, 0..1_000).acks([0]),
        sent(C, 1, 41.2, 1_200..1_200).acks([0]).room(1_000),
        sent(C, 9, 241.2, 1_200..1_200).acks([0]).room(1_000),
        // Its program reads at last: a message of its own says so, and acknowledges nothing new.
        sent(C, 2, 341.2, 1_200..1_200).acks([0]).room(9_000),
        sent(S, 1, 361.3, 1_000..3_000).acks([1, 2]),
        sent(C, 3, 383.3, 1_200..1_280).acks([0, 1]),
    ];
    let expected = [
        (What::Way, C, Phase::Finish, 20.0),
        (HEAD, C, Phase::ClientFinished, 2.0),
        (What::Way, S, Phase::ServerFlight, 20.0),
        (What::Limit(Rule::ReceiveWindow), S, Phase::ServerFlight, 0.1),
        (What::Way, C, Phase::ServerFlight, 20.0),
        (What::Work(Work::Unread), C, Phase::ServerFlight, 300.0),
        (What::Hold(Rule::ReceiveWindow), C, Phase::ServerFlight, 0.2),
        (What::Way, S, Phase::ServerFlight, 20.0),
        (HEAD, S, Phase::ServerFlight, 1.0),
        (What::Way, C, Phase::ServerFlight, 20.0),
    ];
    let arcs: Vec<_> = walked(&talk).into_iter().filter(|(.., ms)| *ms != 0.0).collect();
    assert_eq!(arcs, expected);
}

#[test]
fn what_never_came_is_where_it_stopped() {
    let lost = [sent(C, 0, 0.0, 0..1_200), sent(S, 0, 21.0, 0..1_200).acks([0]), sent(S, 1, 21.1, 1_200..3_000).lost()];
    let stopped = |talk: &[Sent]| {
        let [client, edge] = ends(talk);
        match goal(&dialogue(), [&client, &edge], false) {
            Goal::Stopped(Stopped::Vanished { end, i }) => (end, [&client, &edge][end as usize].packet(i).range.0, false),
            Goal::Stopped(Stopped::Silent { end, i }) => (end, [&client, &edge][end as usize].packet(i).range.0, true),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(stopped(&lost), (S, 1_200, false));
    let silent = [sent(C, 0, 0.0, 0..1_200), sent(S, 0, 21.0, 0..3_000).acks([0])];
    assert_eq!(stopped(&silent), (C, 0, true));
}

#[test]
fn what_is_acknowledged_came_though_no_capture_has_it() {
    let talk = [
        sent(C, 0, 0.0, 0..1_200),
        sent(S, 0, 21.0, 0..3_000).acks([0]),
        sent(C, 1, 43.0, 1_200..1_280).acks([0]).lost(),
        sent(S, 1, 64.0, 3_000..3_000).acks([0, 1]),
    ];
    // The edge's capture missed Finished, and the edge acknowledged it.
    let [client, edge] = ends(&talk);
    match goal(&dialogue(), [&client, &edge], false) {
        Goal::Reached(Point::Left { end: C, i }) => assert_eq!(client.packet(i).range, (1_200, 1_280)),
        other => panic!("{other:?}"),
    }
}
