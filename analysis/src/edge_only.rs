//! The ledger of a handshake seen from the edge alone.
//!
//! Three faults look the same here: a stalled client, a delay towards the edge after its acknowledgement,
//! a lost Finished (DESIGN 5.2). Two witnesses in the client's own packets separate them: its TCP
//! timestamps say when it *sent*, and an IP identification that counts its packets says whether
//! one is missing. Where the client offers neither, the time is left unattributed with the candidates named.

use smallvec::SmallVec;

use crate::ack_wait::ack_waits_seen_by_peer;
use crate::both_ends::edge_side;
use crate::clock::{Edge, Span};
use crate::copies::{ALWAYS_CARRIED, ALWAYS_CARRIED_BYTES};
use crate::far_side::{FarSide, Stretch, TICK};
use crate::flow::{Seen, Side, View};
use crate::handshake::Handshake;
use crate::ledger::{Entry, Kind, Ledger, Missing, Owner, Phase};
use crate::milestone::Milestone;
use crate::verdict::{End, Grade, Reading};

/// Reads a handshake from the edge's capture, from its SYN or (in a capture that began later) its ClientHello on; absent if
/// it shows neither, or one direction only.
pub fn read(handshake: &Handshake) -> Option<Reading> {
    let view = handshake.edge.as_ref().filter(|v| v.both_directions())?;
    let d = &handshake.dialogue;
    let syn = view.syns(Side::Client).next();
    let hello = || view.completed(Side::Client, d.first_client_hello.or(d.client_hello)?.end);
    let start = syn.or_else(hello)?;
    let finished = d.client_finished.and_then(|e| view.completed(Side::Client, e.end));
    let end = finished.or(view.packets.last())?;
    let mut reader = Reader { handshake, view, finished, ledger: Ledger::open(end.at - start.at), last: Milestone::Syn };
    let complete = reader.whole(syn).is_some() && finished.is_some();
    reader.ledger.close(Phase::Finish);
    Some(Reading {
        grade: Grade::OneEnd { host: handshake.edge_host.is_some() },
        end: if complete { End::Complete } else { End::Stopped { after: reader.last } },
        ledger: reader.ledger,
    })
}

/// No segment over Ethernet carries more.
const MOST_SEGMENT: i64 = 1_460;

/// The client's kernel's answer to the server's flight.
enum Reply<'a> {
    /// At once, for what was sent at `sent`.
    Prompt { sent: &'a Seen<Edge>, ack: &'a Seen<Edge> },
    /// Later than a round trip explains.
    Late { ack: &'a Seen<Edge>, round_trip: Span },
    /// Nothing before the client's next message.
    None,
}

struct Reader<'a> {
    handshake: &'a Handshake,
    view: &'a View<Edge>,
    /// The packet with which the client's Finished had come.
    finished: Option<&'a Seen<Edge>>,
    ledger: Ledger,
    last: Milestone,
}

impl<'a> Reader<'a> {
    /// Without a SYN the round trip is not known, and waits in which one is hidden stay open.
    fn whole(&mut self, syn: Option<&'a Seen<Edge>>) -> Option<()> {
        let view = self.view;
        let d = &self.handshake.dialogue;
        let connected = match syn {
            Some(syn) => Some(self.connect(syn)?),
            None => None,
        };
        let round_trip = connected.map(|(_, round_trip)| round_trip);
        let hello = d.first_client_hello.or(d.client_hello).and_then(|e| view.completed(Side::Client, e.end));
        let hello = match (hello, connected) {
            (None, Some((ack, _))) => self.no_hello(ack)?,
            (hello, _) => hello?,
        };
        if let Some((ack, round_trip)) = connected {
            self.hello(ack, hello, round_trip);
        }
        let hello = self.hello_retry(hello)?;
        self.last = Milestone::ClientHello;

        let flight_end = self.or_edge(Phase::ServerFlight, hello, d.server_flight)?.end;
        let flight = view.first_copy(Side::Server, flight_end)?;
        self.edge(Phase::ServerFlight, hello, flight);
        let copies: SmallVec<[&Seen<Edge>; 8]> =
            view.sent_by(Side::Server).filter(|p| p.at >= flight.at && !p.is_empty() && p.start() < flight_end).collect();
        let answered = |p: &&Seen<Edge>| p.pure_ack() && p.ack().is_some_and(|a| a >= flight_end);
        let told_twice =
            view.sent_by(Side::Client).find(answered).is_some_and(|ack| self.was_repeated_in_vain(ack, flight.start()));
        let delivered = if told_twice { flight } else { self.delivered(Phase::ServerFlight, &copies, Side::Server, flight_end)? };
        self.last = Milestone::ServerFlightEnd;
        let finished = self.finished;
        let flight_begin = d.server_flight.map_or(flight.start(), |e| e.start);
        match self.reply(flight_begin, flight_end, delivered, finished, round_trip) {
            Reply::Prompt { sent, ack } => {
                self.path(Phase::ServerFlight, sent, ack);
                let finished = self.or_silent(ack, finished)?;
                let round_trip = round_trip.unwrap_or(ack.at - sent.at);
                let excused = self.ack_waits(Phase::ClientFinished, ack, finished, round_trip);
                self.client_span(Phase::ClientFinished, ack, finished, excused, round_trip);
            }
            Reply::Late { ack, round_trip } => {
                self.late_reply(delivered, ack, round_trip);
                let finished = self.or_silent(ack, finished)?;
                let excused = self.ack_waits(Phase::ClientFinished, ack, finished, round_trip);
                self.client_span(Phase::ClientFinished, ack, finished, excused, round_trip);
            }
            // Its Finished is its acknowledgement: one round trip of the gap is the path's.
            Reply::None => {
                let finished = self.or_silent(delivered, finished)?;
                let gap = finished.at - delivered.at;
                let Some(round_trip) = round_trip else {
                    self.undecided(Phase::ClientFinished, gap, Missing::Syn, [delivered, finished]);
                    return None;
                };
                self.path_span(Phase::ServerFlight, gap.min(round_trip), [delivered.packet, finished.packet]);
                let before = view.sent_by(Side::Client).rfind(|p| p.at <= delivered.at)?;
                let excused = self.ack_waits(Phase::ClientFinished, before, finished, round_trip);
                let innocent = delivered.at - before.at + round_trip + excused;
                self.client_span(Phase::ClientFinished, before, finished, innocent, round_trip);
            }
        }
        self.last = Milestone::ClientFinished;
        if d.server_finishes_last() {
            self.last = Milestone::ServerFinished;
        }
        Some(())
    }

    /// How the client's kernel answered the flight: its acknowledgement of all or (while the rest was on its way) some of it.
    fn reply(
        &self,
        begin: i64,
        end: i64,
        delivered: &'a Seen<Edge>,
        finished: Option<&Seen<Edge>>,
        round_trip: Option<Span>,
    ) -> Reply<'a> {
        let before = finished.map_or(u64::MAX, |f| f.packet);
        let acks = || self.view.sent_by(Side::Client).filter(|p| p.pure_ack() && p.packet < before);
        let whole = acks().find(|p| p.at >= delivered.at && p.ack().is_some_and(|a| a >= end));
        let Some(round_trip) = round_trip else {
            return whole.map_or(Reply::None, |ack| Reply::Prompt { sent: delivered, ack });
        };
        let soon = round_trip.percent(110) + Span::from_millis(5);
        if let Some(ack) = whole.filter(|ack| ack.at - delivered.at <= soon) {
            return Reply::Prompt { sent: delivered, ack };
        }
        // A stack that delays acknowledgements gives one for every second segment at once (RFC 9293, section 3.8.6.3).
        let some = acks().filter(|p| p.ack().is_some_and(|a| a > begin && a < end)).find_map(|ack| {
            let sent =
                self.view.sent_by(Side::Server).rfind(|p| !p.is_empty() && Some(p.end()) == ack.ack() && p.at <= ack.at)?;
            (ack.at - sent.at <= soon && delivered.at - sent.at < Span::from_millis(5)).then_some((sent, ack))
        });
        match (some, whole) {
            (Some((sent, ack)), _) => Reply::Prompt { sent, ack },
            (None, Some(ack)) => Reply::Late { ack, round_trip },
            (None, None) => Reply::None,
        }
    }

    /// The client's kernel acknowledged late: its machine stood still, or the way was long. The way towards the edge shows in
    /// the client's timestamps, the other does not.
    fn late_reply(&mut self, delivered: &Seen<Edge>, ack: &Seen<Edge>, round_trip: Span) {
        self.path_span(Phase::ServerFlight, round_trip, [delivered.packet, ack.packet]);
        let Some(before) = self.view.sent_by(Side::Client).rfind(|p| p.at <= delivered.at) else { return };
        let innocent = delivered.at - before.at + round_trip;
        let client = FarSide { view: self.view, side: Side::Client };
        for mut entry in client.divide(Stretch { phase: Phase::ServerFlight, before, next: ack, innocent, round_trip }) {
            if entry.owner != Owner::Path {
                entry = Entry { owner: Owner::Unattributed, kind: None, error: Span::ZERO, ..entry };
                entry.candidates = Owner::ClientHost | Owner::Path;
                entry.missing = Missing::ClientCapture.into();
            }
            self.ledger.charge(entry);
        }
    }

    /// Whether an acknowledgement says that what was repeated had come already (D-SACK, RFC 2883): then nothing was lost.
    fn was_repeated_in_vain(&self, ack: &Seen<Edge>, from: i64) -> bool {
        let until = ack.at + Span::from_millis(5);
        // The receiver tells of it in an acknowledgement of its own, behind the one for the first copy.
        let mut soon = self.view.sent_by(Side::Client).filter(|p| p.at >= ack.at && p.at <= until);
        soon.any(|p| self.view.came_twice(p).is_some_and(|left| left >= from))
    }

    /// The client's next message, or, if it never came, all remaining time left open.
    fn or_silent(&mut self, after: &Seen<Edge>, next: Option<&'a Seen<Edge>>) -> Option<&'a Seen<Edge>> {
        if next.is_none()
            && let Some(last) = self.view.packets.last()
        {
            let rest = self.ledger.remaining();
            self.undecided(Phase::ClientFinished, rest, Missing::ClientCapture, [after, last]);
        }
        next
    }

    fn undecided(&mut self, phase: Phase, span: Span, missing: Missing, packets: [&Seen<Edge>; 2]) {
        let mut entry = Entry::new(phase, Owner::Unattributed, None, span, Span::ZERO).between(packets.map(|p| p.packet));
        entry.candidates = Owner::Client | Owner::Path | Owner::Loss;
        entry.missing = missing.into();
        self.ledger.charge(entry);
    }

    /// ClientHello never came whole: its beginning vanished and its end arrived, or it never came at all.
    fn no_hello(&mut self, ack: &'a Seen<Edge>) -> Option<&'a Seen<Edge>> {
        let rest = self.ledger.remaining();
        let view = self.view;
        let data = || view.sent_by(Side::Client).filter(|p| !p.is_empty());
        let last = view.packets.last()?;
        let tail = data().find(|p| p.start() > 0);
        let begun = data().any(|p| p.start() == 0);
        match tail.filter(|_| !begun) {
            // Chance would have let one of the repetitions through by then.
            Some(tail) if rest > Span::from_millis(1_500) => {
                let entry = Entry::new(Phase::ClientHello, Owner::Path, Kind::MtuBlackhole, rest, TICK);
                self.ledger.charge(entry.between([tail.packet, last.packet]));
            }
            _ => self.undecided(Phase::ClientHello, rest, Missing::ClientCapture, [ack, last]),
        }
        None
    }

    /// SYN to the acknowledgement of SYN-ACK; gives that and the round trip.
    fn connect(&mut self, syn: &'a Seen<Edge>) -> Option<(&'a Seen<Edge>, Span)> {
        let view = self.view;
        let syn_ack = self.or_edge(Phase::Connect, syn, view.syns(Side::Server).next())?;
        self.edge(Phase::Connect, syn, syn_ack);
        self.last = Milestone::SynAck;
        let copies: SmallVec<[&Seen<Edge>; 8]> = view.syns(Side::Server).collect();
        let delivered = self.delivered(Phase::Connect, &copies, Side::Server, 0)?;
        let ack = view.first_ack(Side::Server, 0)?;
        self.path(Phase::Connect, delivered, ack);
        Some((ack, ack.at - delivered.at))
    }

    /// What the edge owes next, or, if it never came, all remaining time charged to the edge.
    fn or_edge<T>(&mut self, phase: Phase, came: &Seen<Edge>, next: Option<T>) -> Option<T> {
        if next.is_none()
            && let Some(last) = self.view.packets.last()
        {
            self.edge(phase, came, last);
        }
        next
    }

    fn edge(&mut self, phase: Phase, came: &Seen<Edge>, went: &Seen<Edge>) {
        for entry in edge_side(self.handshake, self.view, phase, came, went) {
            self.ledger.charge(entry);
        }
    }

    fn path(&mut self, phase: Phase, from: &Seen<Edge>, to: &Seen<Edge>) {
        self.path_span(phase, to.at - from.at, [from.packet, to.packet]);
    }

    fn path_span(&mut self, phase: Phase, span: Span, packets: [u64; 2]) {
        self.ledger.charge(Entry::round_trip(phase, span, Span::from_micros(500)).between(packets));
    }

    /// Passes a HelloRetryRequest round, if there was one; gives the ClientHello that counts.
    fn hello_retry(&mut self, first: &'a Seen<Edge>) -> Option<&'a Seen<Edge>> {
        let d = &self.handshake.dialogue;
        if d.hello_retry.is_none() {
            return Some(first);
        }
        let second = self.view.completed(Side::Client, d.client_hello?.end)?;
        self.ledger.charge(
            Entry::new(Phase::ClientHello, Owner::Protocol, Kind::HelloRetry, second.at - first.at, TICK)
                .between([first.packet, second.packet]),
        );
        Some(second)
    }

    /// Of the copies of something the edge sent, the one that got through: the last one sent half a round trip
    /// or more before the acknowledgement. The wait for it is loss, or a blackhole if only big packets died.
    fn delivered(&mut self, phase: Phase, copies: &[&'a Seen<Edge>], side: Side, end: i64) -> Option<&'a Seen<Edge>> {
        let first = *copies.first()?;
        let Some(ack) = self.view.first_ack(side, end) else {
            self.unacknowledged(phase, copies, end);
            return None;
        };
        if copies.len() == 1 {
            return Some(first);
        }
        let half = self.ledger.min_path().unwrap_or(Span::from_millis(1)).percent(50);
        let through = copies.iter().rev().find(|c| ack.at - c.at >= half.max(Span::from_micros(50))).copied().unwrap_or(first);
        let wait = through.at - first.at;
        if wait <= Span::ZERO || self.view.answers_the_first([first, through], ack) == Some(true) {
            return Some(first); // nothing was waited for
        }
        let entry = match () {
            // SYN-ACK again although the client's data is here: the accept queue is full.
            () if end == 0 && self.view.sent_by(Side::Client).any(|p| !p.is_empty() && p.at <= through.at) => {
                Entry::new(phase, Owner::EdgeHost, Kind::AcceptQueue, wait, TICK)
            }
            () if self.big_ones_died(end) => Entry::new(phase, Owner::Path, Kind::MtuBlackhole, wait, TICK),
            () => Entry::new(phase, Owner::Loss, Kind::Back, wait, TICK),
        };
        self.ledger.charge(entry.between([first.packet, through.packet]));
        Some(through)
    }

    /// The edge's packets were never acknowledged.
    fn unacknowledged(&mut self, phase: Phase, copies: &[&Seen<Edge>], end: i64) {
        let rest = self.ledger.remaining();
        let packets = copies.iter().take(2).map(|c| c.packet);
        if self.big_ones_died(end) {
            self.ledger.charge(Entry::new(phase, Owner::Path, Kind::MtuBlackhole, rest, TICK).between(packets));
            return;
        }
        let mut entry = Entry::new(phase, Owner::Unattributed, None, rest, Span::ZERO).between(packets);
        entry.candidates = Owner::Client | Owner::Path | Owner::Loss;
        entry.missing = Missing::ClientCapture.into();
        self.ledger.charge(entry);
    }

    /// Full-size packets sent twice or more and never acknowledged in their own size, while the client proves
    /// by SACK or ACK that smaller ones arrived.
    fn big_ones_died(&self, end: i64) -> bool {
        let sent: Vec<&Seen<Edge>> = self.view.sent_by(Side::Server).filter(|p| !p.is_empty() && p.start() < end).collect();
        let biggest = sent.iter().map(|p| p.ip_len).max().unwrap_or(0);
        // What was confirmed only after it had been sent in smaller pieces did not come in its own size.
        let confirmed = |p: &Seen<Edge>| {
            let smaller = sent.iter().filter(|q| q.start() == p.start() && q.len() < p.len()).map(|q| q.at).min();
            self.view.sent_by(Side::Client).filter(|c| smaller.is_none_or(|at| c.at < at)).any(|c| {
                c.ack().is_some_and(|a| a >= p.end()) || self.view.sack(c).iter().any(|(l, r)| *l <= p.start() && *r >= p.end())
            })
        };
        let (big, small): (Vec<&Seen<Edge>>, Vec<&Seen<Edge>>) = sent.iter().copied().partition(|p| p.ip_len == biggest);
        let tries = |p: &Seen<Edge>| big.iter().filter(|q| q.start() == p.start()).count();
        let shrunk = |p: &Seen<Edge>| small.iter().any(|q| q.start() == p.start() && q.len() < p.len());
        biggest > ALWAYS_CARRIED
            && !small.is_empty()
            && (big.iter().any(|p| tries(p) >= 3) || big.iter().any(|p| tries(p) >= 2 && shrunk(p)))
            && !big.iter().any(|p| confirmed(p))
            && small.iter().any(|p| confirmed(p))
    }

    /// The client between its acknowledgement of SYN-ACK and ClientHello.
    fn hello(&mut self, ack: &Seen<Edge>, hello: &Seen<Edge>, round_trip: Span) {
        let excused = self.ack_waits(Phase::ClientHello, ack, hello, round_trip);
        if self.hello_shrank(hello) {
            let entry = Entry::new(Phase::ClientHello, Owner::Path, Kind::MtuBlackhole, hello.at - ack.at - excused, TICK);
            self.ledger.charge(entry.between([ack.packet, hello.packet]));
            return;
        }
        self.client_span(Phase::ClientHello, ack, hello, excused, round_trip);
    }

    /// Whether ClientHello's first segment came, behind its second, only when it was sent in smaller pieces.
    fn hello_shrank(&self, hello: &Seen<Edge>) -> bool {
        let data = || self.view.sent_by(Side::Client).filter(|p| !p.is_empty() && p.packet <= hello.packet);
        let tail = data().find(|p| p.start() > 0).filter(|tail| data().all(|p| p.start() > 0 || p.packet > tail.packet));
        // One segment's worth was missing, and no piece that came had its size.
        tail.is_some_and(|tail| {
            let pieces = || data().filter(|p| p.packet > tail.packet && p.start() < tail.start());
            (ALWAYS_CARRIED_BYTES + 1..=MOST_SEGMENT).contains(&tail.start())
                && pieces().count() >= 2
                && pieces().all(|p| p.len() < tail.start())
        })
    }

    /// Charges the waits for acknowledgements that TCP made the client spend before `next`; their sum.
    fn ack_waits(&mut self, phase: Phase, before: &Seen<Edge>, next: &Seen<Edge>, round_trip: Span) -> Span {
        let mut sum = Span::ZERO;
        let hello_end = self.handshake.dialogue.client_hello.map_or(0, |e| e.end);
        let written = if phase == Phase::ClientHello { 0..hello_end } else { hello_end..i64::MAX };
        for wait in ack_waits_seen_by_peer(self.view, Side::Client, before.at, next.at, round_trip, written) {
            let span = wait.released.at - wait.sent.at;
            self.ledger.charge(Entry::new(phase, Owner::Protocol, wait.kind, span, TICK).between(wait.packets()));
            sum += span;
        }
        sum
    }

    /// Divides the time between two of the client's packets, less an innocent part.
    fn client_span(&mut self, phase: Phase, before: &Seen<Edge>, next: &Seen<Edge>, innocent: Span, round_trip: Span) {
        let client = FarSide { view: self.view, side: Side::Client };
        for entry in client.divide(Stretch { phase, before, next, innocent, round_trip }) {
            self.ledger.charge(entry);
        }
    }
}
