//! The walk itself: backwards from an arrival, along what was waited for last.
//!
//! In: both ends' tapes and the arrival that completed what was waited for. Out: arcs, the last one first. The method is the critical
//! path through the packet dependence graph (Barford & Crovella, *Critical path analysis of TCP transactions*, SIGCOMM 2000): an arrival
//! depends on the departure of the copy that came, a departure on what let it go ([`super::limits`]), and so on back to SYN.

use super::arcs::{Arc, What, Work};
use super::limits::{Freed, Rule, Sender, freed};
use super::pairing::Ways;
use super::tape::{Event, Known, Tape};
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
pub(super) struct Walk<'a> {
    /// The client's and the edge's.
    pub tapes: [&'a Tape; 2],
    pub ways: Ways,
    pub senders: [Sender; 2],
    /// The end of which only the other end's observer tells.
    pub far: Option<Side>,
    /// Where in the handshake a byte belongs.
    pub phase_of: &'a dyn Fn(Side, i64) -> Phase,
    /// The last first.
    pub arcs: Vec<Arc>,
}

impl Walk<'_> {
    fn tape(&self, end: Side) -> &Tape {
        self.tapes[end as usize]
    }

    fn event(&self, end: Side, i: usize) -> &Event {
        &self.tape(end).events[i]
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
        if span.1 > span.0 || matches!(what, What::Way | What::Limit(_) | What::Work(Work::Head)) {
            self.arcs.push(Arc { what, side, phase, from: span.0, to: span.1, packets, known });
        }
    }

    /// From an arrival to the first departure of what it completed.
    fn arrived(&mut self, end: Side, i: usize) -> Option<Point> {
        let (from, came) = (end.peer(), *self.event(end, i));
        if came.is_full_of_nothing() {
            return None;
        }
        // Behind a hole that it filled, its first byte counts; else its last.
        let byte = if came.after > came.range().1 { came.before.max(came.range().0) } else { came.range().1 - 1 };
        let phase = transit((self.phase_of)(from, came.range().0));
        let Some(copy) = came.other.map(|k| k as usize) else { return Some(self.arrived_unsent(end, &came, phase)) };
        let sender = self.tape(from);
        let left = sender.events[copy];
        let first = sender.first_departure(byte).filter(|f| sender.events[*f].at() <= left.at()).unwrap_or(copy);
        let overtaken = sender.events[first].other.is_some_and(|k| k as usize > i);
        let unseen = if first == copy && self.far == Some(from) { self.hole_before(end, i, byte) } else { None };
        self.push(What::Way, from, phase, (left.at(), came.at()), cite(&left, &came), left.known.max(came.known));
        let origin = unseen.unwrap_or(first);
        if origin != copy {
            let begun = *self.event(from, origin);
            let what = if overtaken { What::Overtaken } else { What::Lost };
            self.push(what, from, phase, (begun.at(), left.at()), cite(&begun, &left), left.known);
        }
        Some(Point::Left { end: from, i: origin })
    }

    /// The packet behind the hole that arrival `i` filled: it left after the first copy did, which never came. Told by the near end alone.
    fn hole_before(&self, end: Side, i: usize, byte: i64) -> Option<usize> {
        let tape = self.tape(end);
        let behind = tape.events[..i].iter().find(|e| e.seen.from != end && e.range().0 > byte && !e.is_full_of_nothing())?;
        let (behind, copy) = (behind.other? as usize, tape.events[i].other? as usize);
        let far = self.tape(end.peer());
        (far.events[copy].at() - far.events[behind].at() > REORDERED).then_some(behind)
    }

    /// Its sender's capture missed it: the way is taken for the usual one.
    fn arrived_unsent(&mut self, end: Side, came: &Event, phase: Phase) -> Point {
        let from = end.peer();
        let at = came.at() - self.ways.usual[from as usize].unwrap_or(0);
        self.push(What::Way, from, phase, (at, came.at()), [Some(came.seen.packet), None], Known::Guessed);
        Point::LeftUnseen { end: from, at }
    }

    fn left_unseen(&mut self, end: Side, at: i64) -> Option<Point> {
        let tape = self.tape(end);
        let behind = tape.events.iter().position(|e| e.at() > at).unwrap_or(tape.events.len());
        let since = tape.news_before(behind)?;
        let (came, phase) = (tape.events[since], (self.phase_of)(end, tape.sent_before(behind)));
        self.push(What::Work(Work::Head), end, phase, (came.at(), at), [Some(came.seen.packet), None], Known::Guessed);
        Some(Point::Arrived { end, i: since })
    }

    /// From a departure to what let it go.
    fn left(&mut self, end: Side, i: usize) -> Option<Point> {
        let tape = self.tape(end);
        let since = tape.news_before(i)?;
        let sender = self.senders[end as usize];
        // A turn is what its first segment begins.
        let first = (since + 1..=i)
            .find(|k| tape.is_own(*k) && tape.events[*k].is_news() && !tape.events[*k].seen.flags.syn())
            .unwrap_or(i);
        let phase = (self.phase_of)(end, tape.events[if tape.events[i].seen.flags.syn() { i } else { first }].range().0);
        let (mut top, mut at) = (i, i);
        loop {
            let tape = self.tape(end);
            let freed = freed(tape, at, since, sender);
            if let Freed::By { news, rule } = freed {
                let (told, last) = (tape.events[news], tape.events[top]);
                self.push(What::Limit(rule), end, phase, (told.at(), last.at()), cite(&told, &last), told.known);
                return self.told(end, news, rule, phase);
            }
            // SYN-ACK is the kernel's: what follows it is a turn of its own.
            let Some(previous) = tape.fresh_before(at).filter(|p| *p > since && !tape.events[*p].seen.flags.syn()) else { break };
            let (before, here, last) = (tape.events[previous], tape.events[at], tape.events[top]);
            let held = match freed {
                Freed::Timer(rule) => Some(What::Limit(rule)),
                Freed::By { .. } | Freed::Program => {
                    (here.at() - before.at() > PAUSE.max(sender.round_trip / 2)).then_some(What::Work(Work::Tail))
                }
            };
            if let Some(held) = held {
                self.push(held, end, phase, (before.at(), last.at()), cite(&before, &last), last.known);
                top = previous;
            }
            at = previous;
        }
        let tape = self.tape(end);
        let (came, first, last) = (tape.events[since], tape.events[at], tape.events[top]);
        if let Some(opened) = self.accepted(end, since, at) {
            // A server that speaks first can do so once the connection stands, a round trip behind SYN.
            let (ack, last) = (self.tape(end).events[opened], tape.events[top]);
            self.push(What::Work(Work::Head), end, phase, (ack.at(), last.at()), cite(&ack, &last), last.known);
            return self.stood(end, opened);
        }
        self.push(What::Work(Work::Tail), end, phase, (first.at(), last.at()), cite(&first, &last), last.known);
        self.push(What::Work(Work::Head), end, phase, (came.at(), first.at()), cite(&came, &first), first.known.max(came.known));
        Some(Point::Arrived { end, i: since })
    }

    /// The acknowledgement of SYN-ACK, if the departure `at` is data that answers nothing but SYN.
    fn accepted(&self, end: Side, since: usize, at: usize) -> Option<usize> {
        let tape = self.tape(end);
        if end == Side::Client || !tape.events[since].seen.flags.syn() || tape.events[at].range().1 <= 0 {
            return None;
        }
        (since + 1..at).find(|i| !tape.is_own(*i) && !tape.events[*i].seen.flags.syn() && tape.events[*i].seen.ack() >= Some(0))
    }

    /// From that acknowledgement to the SYN-ACK that it answers.
    fn stood(&mut self, end: Side, opened: usize) -> Option<Point> {
        let (client, came) = (end.peer(), *self.event(end, opened));
        let tape = self.tape(client);
        let left = match came.other {
            Some(k) => (tape.events[k as usize].at(), Some(tape.events[k as usize].seen.packet), k as usize),
            None => {
                let at = came.at() - self.ways.usual[client as usize].unwrap_or(0);
                (at, None, tape.events.iter().position(|e| e.at() > at).unwrap_or(tape.events.len()))
            }
        };
        let i = tape.news_before(left.2)?;
        let syn_ack = tape.events[i];
        self.push(What::Way, client, Phase::BeforeTls, (left.0, came.at()), [left.1, Some(came.seen.packet)], came.known);
        self.push(
            What::Work(Work::Head),
            client,
            Phase::Connect,
            (syn_ack.at(), left.0),
            [Some(syn_ack.seen.packet), left.1],
            came.known,
        );
        Some(Point::Arrived { end: client, i })
    }

    /// From the news that let something go to the data that it acknowledged.
    fn told(&mut self, end: Side, news: usize, rule: Rule, phase: Phase) -> Option<Point> {
        let (teller, came) = (end.peer(), *self.event(end, news));
        let Some(m) = came.other.map(|m| m as usize) else {
            let at = came.at() - self.ways.usual[teller as usize].unwrap_or(0);
            self.push(What::Way, teller, transit(phase), (at, came.at()), [Some(came.seen.packet), None], Known::Guessed);
            let tape = self.tape(teller);
            let behind = tape.events.iter().position(|e| e.at() > at).unwrap_or(tape.events.len());
            return self.held(teller, (behind, at, None), rule, phase);
        };
        let left = *self.event(teller, m);
        self.push(What::Way, teller, transit(phase), (left.at(), came.at()), cite(&left, &came), left.known.max(came.known));
        let before = self.tape(end).events[..news].iter().rfind(|e| e.seen.from == teller).and_then(|e| e.seen.ack());
        if rule == Rule::ReceiveWindow && came.is_full_of_nothing() && before == came.seen.ack() {
            return self.unread(teller, m, phase);
        }
        if !left.is_full_of_nothing() {
            // Data told it: that left when the program wrote it.
            return Some(Point::Left { end: teller, i: m });
        }
        self.held(teller, (m, left.at(), Some(left.seen.packet)), rule, phase)
    }

    /// From an acknowledgement (its place, time and number) to the data that it is for.
    fn held(&mut self, end: Side, (behind, at, packet): (usize, i64, Option<u64>), rule: Rule, phase: Phase) -> Option<Point> {
        let tape = self.tape(end);
        let k = tape.events[..behind].iter().rposition(|e| e.seen.from != end && !e.is_full_of_nothing())?;
        let data = tape.events[k];
        self.push(What::Hold(rule), end, phase, (data.at(), at), [Some(data.seen.packet), packet], data.known);
        Some(Point::Arrived { end, i: k })
    }

    /// Nothing but its window changed: its program had not read.
    fn unread(&mut self, end: Side, opened: usize, phase: Phase) -> Option<Point> {
        let tape = self.tape(end);
        let shut = (0..opened).rfind(|i| tape.is_own(*i))?;
        let (closed, left) = (tape.events[shut], tape.events[opened]);
        // What the end offered itself was not small: something on the way shut the window in its name.
        let offered = tape.right_edge(shut).is_some_and(|edge| edge > tape.right_edge_had(shut));
        let what = if self.far != Some(end) && offered { What::Shut } else { What::Work(Work::Unread) };
        self.push(what, end, phase, (closed.at(), left.at()), cite(&closed, &left), left.known);
        if closed.is_full_of_nothing() {
            return self.held(end, (shut, closed.at(), Some(closed.seen.packet)), Rule::ReceiveWindow, phase);
        }
        Some(Point::Left { end, i: shut })
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

fn cite(a: &Event, b: &Event) -> [Option<u64>; 2] {
    [Some(a.seen.packet), Some(b.seen.packet)]
}
