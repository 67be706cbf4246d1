//! The walk itself: backwards from an arrival, along what was waited for last.
//!
//! In: both [`Endpoint`]s and the arrival that completed what was waited for. Out: arcs, the last one first. The method is the critical
//! path through the packet dependence graph (Barford & Crovella, *Critical path analysis of TCP transactions*, SIGCOMM 2000): an arrival
//! depends on the departure of the copy that came, a departure on what let it go ([`Endpoint::freed`]), and so on back to what opened
//! the connection.

use super::arcs::{Arc, What, Work};
use super::transport::{Endpoint, Freed, Known, OPENING, Packet, Rule, Ways};
use crate::judging::ledger::Phase;
use crate::tcp::flow::Side;

/// Steps of the longest walk: a flight of 2,000 packets, each let go by an acknowledgement.
const MOST_STEPS: usize = 4_000;
/// A pause within a turn that no rule explains, longer than this and half a round trip, was the program's.
const PAUSE: i64 = 10_000_000;
/// A packet overtaken by less was reordered, not lost.
const REORDERED: i64 = 4_000_000;

/// A place on the way back.
#[derive(Clone, Copy, Debug)]
pub(super) enum Point {
    /// An event of the peer's at `end`.
    Arrived { end: Side, i: usize },
    /// An own event of `end`.
    Left { end: Side, i: usize },
    /// Something that left `end` at this time, unseen.
    LeftUnseen { end: Side, at: i64 },
}

/// What a walk reads.
pub(super) struct Walk<'a, E> {
    /// The client's and the edge's.
    pub ends: [&'a E; 2],
    pub ways: Ways,
    /// One round trip between them, about.
    pub round_trip: i64,
    /// The end of which only the other end's observer tells.
    pub far: Option<Side>,
    /// Where in the handshake a byte belongs.
    pub phase_of: &'a dyn Fn(Side, i64) -> Phase,
    /// How far the peer's stream must have come before a byte can leave; what follows that is not waited for.
    pub answers_upto: &'a dyn Fn(Side, i64) -> Option<i64>,
    /// The last first.
    pub arcs: Vec<Arc>,
    /// What nobody's capture shows, and its peer acknowledged: who sent it, and when by guess.
    pub unseen: Option<(Side, i64)>,
}

impl<'a, E: Endpoint> Walk<'a, E> {
    fn end(&self, end: Side) -> &'a E {
        self.ends[end as usize]
    }

    fn packet(&self, end: Side, i: usize) -> Packet {
        self.end(end).packet(i)
    }

    /// The news that an end's packet before place `i`, whose first byte is `byte`, answers.
    fn answered(&self, end: Side, i: usize, byte: i64) -> Option<usize> {
        match (self.answers_upto)(end, byte) {
            None => self.end(end).news_before(i),
            Some(upto) => self.end(end).packets(0..i).rposition(|p| p.from != end && p.is_news() && p.before < upto),
        }
    }

    /// Follows from `point` back to the beginning of the connection, or of the capture.
    pub fn follow(&mut self, mut point: Point) {
        let mut bounds = [usize::MAX; 2];
        for _ in 0..MOST_STEPS {
            // Each step goes back in time at its end, or there is no sense in it.
            if let Point::Arrived { end, i } | Point::Left { end, i } = point {
                if i >= bounds[end as usize] {
                    return;
                }
                bounds[end as usize] = i;
            }
            let next = match point {
                Point::Arrived { end, i } => self.arrived(end, i),
                Point::Left { end, i } => self.left(end, i),
                Point::LeftUnseen { end, at } => self.left_unseen(end, at),
            };
            match next {
                Some(next) => point = next,
                None => return,
            }
        }
    }

    pub fn push(&mut self, what: What, side: Side, phase: Phase, span: (i64, i64), packets: [Option<u64>; 2], known: Known) {
        // A rule that cost nothing still says why there was another round.
        if span.1 > span.0 || matches!(what, What::Way | What::Limit(_) | What::Overdue(_) | What::Work(Work::Head)) {
            self.arcs.push(Arc { what, side, phase, from: span.0, to: span.1, packets, known });
        }
    }

    /// From an arrival to the first departure of what it completed.
    fn arrived(&mut self, end: Side, i: usize) -> Option<Point> {
        let (from, came) = (end.peer(), self.packet(end, i));
        if came.is_bare() {
            return None;
        }
        // Behind a hole that it filled, its first byte counts; else its last.
        let byte = if came.after > came.range.1 { came.before.max(came.range.0) } else { came.range.1 - 1 };
        let phase = transit((self.phase_of)(from, came.range.0));
        let Some(copy) = came.other.map(|k| k as usize) else { return Some(self.arrived_unsent(end, &came, phase)) };
        let sender = self.end(from);
        let left = sender.packet(copy);
        let byte = self.lost_longest(from, &came).unwrap_or(byte);
        let first = sender.first_departure(byte).filter(|f| sender.packet(*f).at <= left.at).unwrap_or(copy);
        let first_came = sender.packet(first).other.map(|k| k as usize);
        let unseen = if first == copy && self.far == Some(from) { self.hole_before(end, i, byte) } else { None };
        self.push(What::Way, from, phase, (left.at, came.at), cite(&left, &came), left.known.max(came.known));
        let origin = unseen.unwrap_or(first);
        if origin != copy {
            let begun = sender.packet(origin);
            let what = match first_came {
                Some(k) if k > i => What::Overtaken,
                Some(k) if k < i && !came.is_news() => What::Unheard,
                _ => What::Lost,
            };
            self.push(what, from, phase, (begun.at, left.at), cite(&begun, &left), left.known);
        }
        Some(Point::Left { end: from, i: origin })
    }

    /// Where one packet brings at last what was sent before in several, the byte of the first of them, if that was lost: all the rest may have
    /// waited for its acknowledgement.
    fn lost_longest(&self, from: Side, came: &Packet) -> Option<i64> {
        let sender = self.end(from);
        let begin = came.before.max(came.range.0);
        let [first, last] = [sender.first_departure(begin)?, sender.first_departure(came.range.1 - 1)?];
        let lost = |i: usize| sender.packet(i).other.is_none();
        (came.after == came.range.1 && first < last && lost(first) && lost(last)).then_some(begin)
    }

    /// The packet behind the hole that arrival `i` filled: it left after the first copy did, which never came. Told by the near end alone.
    fn hole_before(&self, end: Side, i: usize, byte: i64) -> Option<usize> {
        let near = self.end(end);
        let behind = near.packets(0..i).find(|p| p.from != end && p.range.0 > byte && !p.is_bare())?;
        let (behind, copy) = (behind.other? as usize, near.packet(i).other? as usize);
        let far = self.end(end.peer());
        (far.packet(copy).at - far.packet(behind).at > REORDERED).then_some(behind)
    }

    /// Its sender's capture missed it: the way is taken for the usual one.
    fn arrived_unsent(&mut self, end: Side, came: &Packet, phase: Phase) -> Point {
        let from = end.peer();
        let at = came.at - self.ways.usual[from as usize].unwrap_or(0);
        self.push(What::Way, from, phase, (at, came.at), [Some(came.number), None], Known::Guessed);
        Point::LeftUnseen { end: from, at }
    }

    fn left_unseen(&mut self, end: Side, at: i64) -> Option<Point> {
        let sender = self.end(end);
        let behind = sender.place_after(at);
        let since = self.answered(end, behind, sender.sent_before(behind))?;
        let (came, phase) = (sender.packet(since), (self.phase_of)(end, sender.sent_before(behind)));
        self.push(What::Work(Work::Head), end, phase, (came.at, at), [Some(came.number), None], Known::Guessed);
        Some(Point::Arrived { end, i: since })
    }

    /// Between an end's last news and its packet `i`: the first packet that acknowledges the last of what no capture shows.
    fn told_unseen(&self, end: Side, since: usize, i: usize) -> Option<usize> {
        let sender = self.end(end);
        let came = sender.packet(since).after.max(0);
        let own = |k: &usize| sender.packet(*k).from == end;
        let told = (since + 1..=i).filter(own).filter_map(|k| sender.packet(k).told).max()?;
        // FIN takes one number that is no byte of the stream.
        if told <= came + 1 || sender.packets(0..sender.len()).any(|p| p.from != end && p.carries(told - 1)) {
            return None;
        }
        (since + 1..=i).filter(own).find(|k| sender.packet(*k).told == Some(told))
    }

    /// What an end's packet acknowledges came by then, though no capture shows it: the way is taken for the usual one, and it left no
    /// sooner than what its sender said before.
    pub fn came_unseen(&mut self, end: Side, told: usize) -> Point {
        let (from, told) = (end.peer(), self.packet(end, told));
        let (sender, upto) = (self.end(from), told.told.unwrap_or(OPENING));
        let before = sender.packets(0..sender.len()).filter(|p| p.from == from).take_while(|p| p.range.1 < upto).last();
        let guess = told.at - self.ways.usual[from as usize].unwrap_or(0);
        // Where one clock tells both ends, it left before it came.
        let most = told.at - if self.far.is_some() { 0 } else { self.ways.least[from as usize].unwrap_or(0) };
        let reached = self.arcs.iter().rfind(|arc| arc.side == from).map_or(i64::MAX, |arc| arc.from);
        let at = guess.max(before.map_or(i64::MIN, |p| p.at)).min(most).min(reached);
        let phase = transit((self.phase_of)(from, upto - 1));
        self.push(What::Way, from, phase, (at, told.at), [None, Some(told.number)], Known::Guessed);
        self.unseen = Some((from, at));
        Point::LeftUnseen { end: from, at }
    }

    /// From a departure to what let it go.
    fn left(&mut self, end: Side, i: usize) -> Option<Point> {
        let sender = self.end(end);
        let since = self.answered(end, i, sender.packet(i).range.0)?;
        let told = self.told_unseen(end, since, i);
        // What answers it begins no sooner.
        let soonest = told.unwrap_or(since + 1);
        // A turn is what its first segment begins.
        let begins = |k: &usize| {
            let packet = sender.packet(*k);
            packet.from == end && packet.is_news() && !packet.opens
        };
        let first = (soonest..=i).find(begins).unwrap_or(i);
        let phase = (self.phase_of)(end, sender.packet(if sender.packet(i).opens { i } else { first }).range.0);
        let (mut top, mut at) = (i, i);
        let freed = loop {
            // What begins the answer to something unseen waited for that.
            let answers = told.is_some() && sender.fresh_before(at).is_none_or(|p| p < soonest);
            let freed = if answers { Freed::Program } else { sender.freed(at, since) };
            if let Freed::By { news, rule } = freed {
                let (told, last) = (sender.packet(news), sender.packet(top));
                // With nothing under way no congestion window holds anything: from then on the program had not written.
                let all_told = sender.fresh_before(at).is_some_and(|p| told.told >= Some(sender.packet(p).after));
                let idle = rule == Rule::CongestionWindow && all_told && last.at - told.at > PAUSE;
                let until = if idle { told.at } else { last.at };
                self.push(What::Work(Work::Tail), end, phase, (until, last.at), cite(&told, &last), told.known.max(last.known));
                self.push(What::Limit(rule), end, phase, (told.at, until), cite(&told, &last), told.known);
                return self.told(end, news, rule, phase);
            }
            // What answers the opening is the kernel's: what follows it is a turn of its own.
            let Some(previous) = sender.fresh_before(at).filter(|p| *p >= soonest && !sender.packet(*p).opens) else {
                break freed;
            };
            let (before, here, last) = (sender.packet(previous), sender.packet(at), sender.packet(top));
            let held = match freed {
                Freed::Timer(rule) => Some(by_timer(rule)),
                Freed::By { .. } | Freed::Program => {
                    (here.at - before.at > PAUSE.max(self.round_trip / 2)).then_some(What::Work(Work::Tail))
                }
            };
            if let Some(held) = held {
                self.push(held, end, phase, (before.at, last.at), cite(&before, &last), last.known);
                top = previous;
            }
            at = previous;
        };
        let (came, first, last) = (sender.packet(told.unwrap_or(since)), sender.packet(at), sender.packet(top));
        if let Some(opened) = self.accepted(end, since, at).filter(|_| told.is_none()) {
            // A server that speaks first can do so once the connection stands, a round trip behind its opening.
            let ack = sender.packet(opened);
            self.push(What::Work(Work::Head), end, phase, (ack.at, last.at), cite(&ack, &last), last.known);
            return self.stood(end, opened);
        }
        let begun = match freed {
            Freed::Timer(rule) => by_timer(rule),
            Freed::By { .. } | Freed::Program => What::Work(Work::Head),
        };
        self.push(What::Work(Work::Tail), end, phase, (first.at, last.at), cite(&first, &last), last.known);
        self.push(begun, end, phase, (came.at, first.at), cite(&came, &first), first.known.max(came.known));
        Some(told.map_or(Point::Arrived { end, i: since }, |told| self.came_unseen(end, told)))
    }

    /// The acknowledgement of the server's opening, if the departure `at` is data that answers nothing but the client's.
    fn accepted(&self, end: Side, since: usize, at: usize) -> Option<usize> {
        let server = self.end(end);
        let opening = server.packet(since);
        // What came with the opening itself (TCP Fast Open, RFC 7413) is answered, and waits for no acknowledgement.
        let opens = opening.opens && opening.range.1 <= 0;
        if end == Side::Client || !opens || server.packet(at).range.1 <= 0 {
            return None;
        }
        let acknowledges = |i: &usize| {
            let packet = server.packet(*i);
            packet.from != end && !packet.opens && packet.told >= Some(0)
        };
        (since + 1..at).find(acknowledges)
    }

    /// From that acknowledgement to the opening that it answers.
    fn stood(&mut self, end: Side, opened: usize) -> Option<Point> {
        let (side, came) = (end.peer(), self.packet(end, opened));
        let client = self.end(side);
        let (left, number, place) = match came.other {
            Some(k) => (client.packet(k as usize).at, Some(client.packet(k as usize).number), k as usize),
            None => {
                let at = came.at - self.ways.usual[side as usize].unwrap_or(0);
                (at, None, client.place_after(at))
            }
        };
        let i = client.news_before(place)?;
        let opening = client.packet(i);
        self.push(What::Way, side, Phase::BeforeTls, (left, came.at), [number, Some(came.number)], came.known);
        let cited = [Some(opening.number), number];
        self.push(What::Work(Work::Head), side, Phase::Connect, (opening.at, left), cited, came.known);
        Some(Point::Arrived { end: side, i })
    }

    /// From the news that let something go to the data that it acknowledged.
    fn told(&mut self, end: Side, news: usize, rule: Rule, phase: Phase) -> Option<Point> {
        let (side, came) = (end.peer(), self.packet(end, news));
        let teller = self.end(side);
        let Some(m) = came.other.map(|m| m as usize) else {
            let at = came.at - self.ways.usual[side as usize].unwrap_or(0);
            self.push(What::Way, side, transit(phase), (at, came.at), [Some(came.number), None], Known::Guessed);
            return self.held(side, (teller.place_after(at), at, None), rule, phase);
        };
        let left = teller.packet(m);
        self.push(What::Way, side, transit(phase), (left.at, came.at), cite(&left, &came), left.known.max(came.known));
        let before = self.end(end).packets(0..news).rfind(|p| p.from == side).and_then(|p| p.told);
        if rule == Rule::ReceiveWindow && came.is_bare() && before == came.told {
            return self.unread(side, m, phase);
        }
        // What was told so far already was told in vain, or comes later; where one end was captured, a repetition that was not needed shows that.
        let needless = |p: Packet| p.range.1 <= p.before;
        let in_vain = || {
            let answered = teller.packets(0..m).rfind(|p| p.from == end && !p.is_bare());
            self.far == Some(end) && came.told == before && answered.is_some_and(needless)
        };
        let first = teller.packets(0..m).position(|p| p.from == side && p.told >= came.told);
        let late = |k: &usize| teller.packet(*k).other.is_none_or(|j| j as usize > news);
        let first = first.filter(|k| teller.packet(*k).is_bare() && (came.told > before && late(k) || in_vain()));
        let (m, left) = match first.map(|k| (k, teller.packet(k))) {
            Some((k, unheard)) => {
                let what = if unheard.other.is_none() || self.far.is_some() { What::Lost } else { What::Overtaken };
                let span = (unheard.at, left.at);
                self.push(what, side, transit(phase), span, cite(&unheard, &left), unheard.known.max(left.known));
                (k, unheard)
            }
            None => (m, left),
        };
        if !left.is_bare() {
            // Data told it: that left when the program wrote it.
            return Some(Point::Left { end: side, i: m });
        }
        self.held(side, (m, left.at, Some(left.number)), rule, phase)
    }

    /// From an acknowledgement (its place, time and number) to the data that it is for.
    fn held(&mut self, end: Side, (behind, at, number): (usize, i64, Option<u64>), rule: Rule, phase: Phase) -> Option<Point> {
        // A repetition of what had come is not what it is for.
        let brings = |p: Packet| p.from != end && !p.is_bare() && p.range.1 > p.before;
        let k = self.end(end).packets(0..behind).rposition(brings)?;
        let data = self.packet(end, k);
        self.push(What::Hold(rule), end, phase, (data.at, at), [Some(data.number), number], data.known);
        Some(Point::Arrived { end, i: k })
    }

    /// Nothing but its window changed: its program had not read.
    fn unread(&mut self, end: Side, opened: usize, phase: Phase) -> Option<Point> {
        let reader = self.end(end);
        let last = reader.packets(0..opened).rposition(|p| p.from == end)?;
        let shut = reader.shut_since(last);
        let (closed, left) = (reader.packet(shut), reader.packet(opened));
        // What the end offered itself was not small: something on the way shut the window in its name.
        let what = if self.far != Some(end) && reader.left_room(last) { What::Shut } else { What::Work(Work::Unread) };
        self.push(what, end, phase, (closed.at, left.at), cite(&closed, &left), left.known);
        if closed.is_bare() {
            return self.held(end, (shut, closed.at, Some(closed.number)), Rule::ReceiveWindow, phase);
        }
        Some(Point::Left { end, i: shut })
    }
}

/// What it waited for that a timer sent: a persist timer for room (RFC 9293, section 3.8.6.1), the others for an acknowledgement.
fn by_timer(rule: Rule) -> What {
    match rule {
        Rule::ReceiveWindow => What::Limit(rule),
        Rule::Nagle | Rule::CongestionWindow | Rule::Repair => What::Overdue(rule),
    }
}

/// Where in the handshake the network's time is, by whose message it carried.
pub(super) fn transit(phase: Phase) -> Phase {
    match phase {
        Phase::ClientHello => Phase::ServerFlight,
        Phase::ClientFinished => Phase::Finish,
        other => other,
    }
}

fn cite(a: &Packet, b: &Packet) -> [Option<u64>; 2] {
    [Some(a.number), Some(b.number)]
}
