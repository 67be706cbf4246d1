//! The ledger of a handshake seen from the edge alone.
//!
//! Three faults look the same here: a stalled client, a delay towards the edge after its acknowledgement,
//! a lost Finished (DESIGN 5.2). Two witnesses in the client's own packets separate them: its TCP
//! timestamps say when it *sent*, and an IP identification that counts its packets says whether
//! one is missing. Where the client offers neither, the time is left unattributed with the candidates named.

use crate::ack_wait::ack_waits_seen_by_peer;
use crate::both_ends::edge_side;
use crate::clock::{Edge, Span};
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
    let mut reader = Reader { handshake, view, ledger: Ledger::open(end.at - start.at), last: Milestone::Syn };
    let complete = reader.whole(syn).is_some() && finished.is_some();
    reader.ledger.close(Phase::Finish);
    Some(Reading {
        grade: Grade::OneEnd { host: handshake.edge_host.is_some() },
        end: if complete { End::Complete } else { End::Stopped { after: reader.last } },
        ledger: reader.ledger,
    })
}

struct Reader<'a> {
    handshake: &'a Handshake,
    view: &'a View<Edge>,
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
        let hello_end = d.first_client_hello.or(d.client_hello)?.end;
        let hello = view.completed(Side::Client, hello_end)?;
        if let Some((ack, round_trip)) = connected {
            self.client(Phase::ClientHello, ack, hello, round_trip);
        }
        let hello = self.hello_retry(hello)?;
        self.last = Milestone::ClientHello;

        let flight_end = self.or_edge(Phase::ServerFlight, hello, d.server_flight)?.end;
        let flight = view.first_copy(Side::Server, flight_end)?;
        self.edge(Phase::ServerFlight, hello, flight);
        let copies = view.sent_by(Side::Server).filter(|p| p.at >= flight.at && p.len > 0 && p.start < flight_end).collect();
        let delivered = self.delivered(Phase::ServerFlight, copies, Side::Server, flight_end)?;
        self.last = Milestone::ServerFlightEnd;
        let finished_end = d.client_finished?.end;
        let finished = view.completed(Side::Client, finished_end)?;
        let ack = view
            .first_ack(Side::Server, flight_end)
            .filter(|a| a.at >= delivered.at && a.packet != finished.packet && a.pure_ack());
        match ack {
            Some(ack) => {
                self.path(Phase::ServerFlight, delivered, ack);
                let round_trip = round_trip.unwrap_or(ack.at - delivered.at);
                let excused = self.ack_waits(ack, finished, round_trip);
                self.client_span(Phase::ClientFinished, ack, finished, excused, round_trip);
            }
            None if round_trip.is_none() => {
                let mut entry = Entry::new(Phase::ClientFinished, Owner::Unattributed, None, finished.at - delivered.at, Span::ZERO);
                entry.candidates = vec![Owner::Client, Owner::Path, Owner::Loss];
                entry.missing = vec![Missing::Syn];
                self.ledger.charge(entry.between([delivered.packet, finished.packet]));
            }
            // Its Finished is its acknowledgement: one round trip of the gap is the path's.
            None => {
                let round_trip = round_trip.unwrap_or_default();
                let gap = finished.at - delivered.at;
                self.path_span(Phase::ServerFlight, gap.min(round_trip), [delivered.packet, finished.packet]);
                let before = view.sent_by(Side::Client).rfind(|p| p.at <= delivered.at)?;
                let excused = self.ack_waits(before, finished, round_trip);
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

    /// SYN to the acknowledgement of SYN-ACK; gives that and the round trip.
    fn connect(&mut self, syn: &'a Seen<Edge>) -> Option<(&'a Seen<Edge>, Span)> {
        let view = self.view;
        let syn_ack = self.or_edge(Phase::Connect, syn, view.syns(Side::Server).next())?;
        self.edge(Phase::Connect, syn, syn_ack);
        self.last = Milestone::SynAck;
        let delivered = self.delivered(Phase::Connect, view.syns(Side::Server).collect(), Side::Server, 0)?;
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
    fn delivered(&mut self, phase: Phase, copies: Vec<&'a Seen<Edge>>, side: Side, end: i64) -> Option<&'a Seen<Edge>> {
        let first = *copies.first()?;
        let Some(ack) = self.view.first_ack(side, end) else {
            self.unacknowledged(phase, &copies, end);
            return None;
        };
        let half = self.ledger.min_path().unwrap_or(Span::from_millis(1)).percent(50);
        let through = copies.iter().rev().find(|c| ack.at - c.at >= half.max(Span::from_micros(50))).copied().unwrap_or(first);
        let wait = through.at - first.at;
        let entry = match () {
            // SYN-ACK again although the client's data is here: the accept queue is full.
            () if end == 0 && self.view.sent_by(Side::Client).any(|p| p.len > 0 && p.at <= through.at) => {
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
        entry.candidates = vec![Owner::Client, Owner::Path, Owner::Loss];
        entry.missing = vec![Missing::ClientCapture];
        self.ledger.charge(entry);
    }

    /// Full-size packets sent twice or more and never acknowledged in their own size, while the client proves
    /// by SACK or ACK that smaller ones arrived.
    fn big_ones_died(&self, end: i64) -> bool {
        let sent: Vec<&Seen<Edge>> = self.view.sent_by(Side::Server).filter(|p| p.len > 0 && p.start < end).collect();
        let biggest = sent.iter().map(|p| p.ip_len).max().unwrap_or(0);
        let confirmed = |p: &Seen<Edge>| {
            self.view
                .sent_by(Side::Client)
                .any(|c| c.ack.is_some_and(|a| a >= p.end()) || c.sack.iter().any(|(l, r)| *l <= p.start && *r >= p.end()))
        };
        let (big, small): (Vec<&Seen<Edge>>, Vec<&Seen<Edge>>) = sent.iter().copied().partition(|p| p.ip_len == biggest);
        let tries = |p: &Seen<Edge>| big.iter().filter(|q| q.start == p.start).count();
        !small.is_empty()
            && big.iter().any(|p| tries(p) >= 3)
            && !big.iter().any(|p| confirmed(p))
            && small.iter().any(|p| confirmed(p))
    }

    fn client(&mut self, phase: Phase, before: &Seen<Edge>, next: &Seen<Edge>, round_trip: Span) {
        self.client_span(phase, before, next, Span::ZERO, round_trip);
    }

    /// Charges the waits for acknowledgements that TCP made the client spend before `next`; their sum.
    fn ack_waits(&mut self, before: &Seen<Edge>, next: &Seen<Edge>, round_trip: Span) -> Span {
        let mut sum = Span::ZERO;
        for wait in ack_waits_seen_by_peer(self.view, Side::Client, before.at, next.at, round_trip) {
            let span = wait.released.at - wait.sent.at;
            self.ledger.charge(Entry::new(Phase::ClientFinished, Owner::Protocol, wait.kind, span, TICK).between(wait.packets()));
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
