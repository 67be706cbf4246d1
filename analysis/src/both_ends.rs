//! The ledger of a handshake captured at both ends.
//!
//! The handshake is walked along its critical path on the *client's* clock. Each exchange (out to the
//! edge, back to the client) divides without synchronised clocks (DESIGN 5.1):
//!
//! ```text
//! gap on the client's clock = wait for the copy that arrived, out   (client's clock)  → loss, out
//!                           + turnaround at the edge                (edge's clock)    → edge
//!                           + wait for the copy that arrived, back  (edge's clock)    → loss, back
//!                           + the rest: one round trip of the path                    → path
//! ```
//!
//! Between exchanges the client's own turnaround is read on its clock alone and divided by what its
//! kernel says of its threads.

use crate::ack_wait::{AckWait, ack_waits, held_piece};
use crate::clock::{Client, Domain, Edge, Instant, Span};
use crate::copies::{blackhole, loss_wait};
use crate::flow::{Seen, Side, View};
use crate::handshake::{Handshake, waited_for_others};
use crate::host::HostTrace;
use crate::ledger::{Entry, Kind, Ledger, Missing, Owner, Phase};
use crate::milestone::Milestone;
use crate::offset::{Crossing, crossings, least_way};
use crate::verdict::{End, Grade, Reading};
use crate::window::closed_windows;

/// Two capture timestamps of one host: softirq and clock granularity.
const STAMP_ERROR: Span = Span::from_micros(100);

/// Reads a handshake from both ends, from its SYN or (in a capture that began later) its ClientHello on; absent if the
/// client's end was not captured or shows neither.
pub fn read(handshake: &Handshake) -> Option<Reading> {
    let client = handshake.client.as_ref()?;
    let d = &handshake.dialogue;
    let syn = client.syns(Side::Client).next();
    let hello = || client.first_copy(Side::Client, d.first_client_hello.or(d.client_hello)?.end);
    let begun = syn.or_else(hello)?;
    let start = handshake.lookup.as_ref().map_or(begun.at, |l| l.start);
    let finish = finish(handshake, client);
    let end = finish.unwrap_or_else(|| client_gave_up(client));
    let mut walk = Walk {
        handshake,
        client,
        edge: handshake.edge.as_ref(),
        crossings: handshake.edge.as_ref().map_or_else(Vec::new, |edge| crossings(client, edge)),
        ledger: Ledger::open(end - start),
        at: start,
        first_piece: None,
        last: if handshake.lookup.is_some() { Milestone::DnsEnd } else { Milestone::Syn },
    };
    let stopped = walk.whole();
    let phase = if stopped { Phase::ServerFlight } else { Phase::Finish };
    walk.ledger.close(phase);
    let end = if !stopped && finish.is_some() { End::Complete } else { End::Stopped { after: walk.last } };
    Some(Reading { grade: Grade::BothEnds { host: handshake.client_host.is_some() }, ledger: walk.ledger, end })
}

/// When the client could know that the edge has its Finished: the end of what is measured.
fn finish(handshake: &Handshake, client: &View<Client>) -> Option<Instant<Client>> {
    let dialogue = &handshake.dialogue;
    let finished = dialogue.client_finished?;
    client.first_copy(Side::Client, finished.end)?;
    last_answer(handshake).arrived(client).map(|p| p.at)
}

/// What answers the client's Finished: the server's Finished in a full TLS 1.2 handshake, else an
/// acknowledgement of the client's.
fn last_answer(handshake: &Handshake) -> Mark {
    let d = &handshake.dialogue;
    let acknowledged = Mark::Ack(Side::Client, d.client_finished.map_or(0, |e| e.end));
    match d.server_finished.filter(|_| d.server_finishes_last()) {
        Some(finished) => Mark::Bytes(Side::Server, finished.end),
        None => acknowledged,
    }
}

fn client_gave_up(client: &View<Client>) -> Instant<Client> {
    let ended = client.sent_by(Side::Client).find(|p| p.flags.fin() || p.flags.rst());
    ended.or(client.packets.last()).map(|p| p.at).expect("a view with a SYN has a packet")
}

/// Something that travels one way and whose arrival lets the other end go on.
#[derive(Clone, Copy)]
enum Mark {
    /// SYN or SYN-ACK.
    Syn(Side),
    /// All of `side`'s stream before an offset.
    Bytes(Side, i64),
    /// The peer's acknowledgement of `side`'s stream before an offset.
    Ack(Side, i64),
}

impl Mark {
    fn sender(self) -> Side {
        match self {
            Mark::Syn(side) | Mark::Bytes(side, _) => side,
            Mark::Ack(side, _) => side.peer(),
        }
    }

    /// The first copy an observer at the sender sees.
    fn sent<D: Domain>(self, view: &View<D>) -> Option<&Seen<D>> {
        match self {
            Mark::Syn(side) => view.syns(side).next(),
            Mark::Bytes(side, end) => view.first_copy(side, end),
            Mark::Ack(side, end) => view.first_ack(side, end),
        }
    }

    /// The packet that completes it for an observer at the receiver.
    fn arrived<D: Domain>(self, view: &View<D>) -> Option<&Seen<D>> {
        match self {
            Mark::Bytes(side, end) => view.completed(side, end),
            other => other.sent(view),
        }
    }
}

struct Walk<'a> {
    handshake: &'a Handshake,
    client: &'a View<Client>,
    edge: Option<&'a View<Edge>>,
    /// Packets seen at both ends.
    crossings: Vec<Crossing>,
    ledger: Ledger,
    /// How far the walk has come, on the client's clock.
    at: Instant<Client>,
    /// The first piece of the client's Finished, where TCP's timers sent the rest.
    first_piece: Option<&'a Seen<Client>>,
    last: Milestone,
}

impl<'a> Walk<'a> {
    /// Walks the whole handshake; true if it stopped on the way.
    fn whole(&mut self) -> bool {
        self.lookup();
        let d = &self.handshake.dialogue;
        let begun = self.client.syns(Side::Client).next().is_some();
        if begun && !self.exchange(Phase::Connect, Mark::Syn(Side::Client), Mark::Syn(Side::Server)) {
            return true;
        }
        self.last = Milestone::SynAck;
        if let (Some(first), Some(retry)) = (d.first_client_hello, d.hello_retry) {
            if !self.turnaround(Phase::ClientHello, first.end) {
                return true;
            }
            self.hello_retry(retry.end);
        }
        let Some(hello) = d.client_hello else { return self.silent_client(Phase::ClientHello) };
        if !self.turnaround(Phase::ClientHello, hello.end) {
            return self.silent_client(Phase::ClientHello);
        }
        self.last = Milestone::ClientHello;
        // A flight that was never sent whole has no end that could have come.
        let flight_end = d.server_flight.map_or(i64::MAX, |e| e.end);
        if !self.exchange(Phase::ServerFlight, Mark::Bytes(Side::Client, hello.end), Mark::Bytes(Side::Server, flight_end)) {
            return true;
        }
        self.last = Milestone::ServerFlightEnd;
        let Some(finished) = d.client_finished else { return self.silent_client(Phase::ClientFinished) };
        if !self.turnaround(Phase::ClientFinished, finished.end) {
            return self.silent_client(Phase::ClientFinished);
        }
        self.last = Milestone::ClientFinished;
        !self.exchange(Phase::Finish, Mark::Bytes(Side::Client, finished.end), last_answer(self.handshake))
    }

    fn lookup(&mut self) {
        let Some(lookup) = &self.handshake.lookup else { return };
        let Some(answer) = lookup.end() else { return };
        let packets = [lookup.start_packet, answer.packet];
        // Between its first question and the one that was answered last, the client made itself wait.
        self.client_side(Phase::Dns, lookup.start, answer.asked, [lookup.start_packet]);
        let wait = answer.at - answer.asked;
        self.ledger.charge(Entry::new(Phase::Dns, Owner::Resolver, Kind::Lookup, wait, STAMP_ERROR).between(packets));
        self.at = answer.at;
        if let Some(syn) = self.client.syns(Side::Client).next() {
            self.client_side(Phase::Dns, answer.at, syn.at, [syn.packet]);
            self.at = syn.at;
        }
    }

    /// The extra round trip of a HelloRetryRequest is the protocol's, whoever made it long.
    fn hello_retry(&mut self, end: i64) {
        if let Some(arrived) = self.client.completed(Side::Server, end) {
            self.ledger.charge(
                Entry::new(Phase::ServerFlight, Owner::Protocol, Kind::HelloRetry, arrived.at - self.at, STAMP_ERROR)
                    .between([arrived.packet]),
            );
            self.at = arrived.at;
        }
    }

    /// The client between the last arrival and the first copy of its next message.
    fn turnaround(&mut self, phase: Phase, end: i64) -> bool {
        let Some(sent) = self.client.first_copy(Side::Client, end) else { return false };
        let packets = self.client.packets.iter().rev().find(|p| p.at <= self.at && p.from == Side::Server);
        let cited: Vec<u64> = packets.map(|p| p.packet).into_iter().chain([sent.packet]).collect();
        // With TCP_NODELAY set, TCP holds nothing back.
        let nagle = self.handshake.client_host.as_ref().is_none_or(|t| t.nodelay != Some(true));
        let waits = ack_waits(self.client, Side::Client, self.client.packets[0].at, sent.at);
        for wait in waits.into_iter().filter(|w| nagle || w.kind != Kind::Nagle) {
            let Some(written) = self.written(wait.sent.at.max(self.at), wait.ack.at) else { continue };
            self.client_side(phase, self.at, written, cited.clone());
            self.at = written;
            self.held(phase, &wait);
        }
        // TCP's timers may send the rest although nothing was acknowledged: the message left with its first piece.
        let round_trip = self.ledger.min_path().unwrap_or_default();
        let piece = held_piece(self.client, Side::Client, sent, round_trip).filter(|p| nagle && p.at >= self.at);
        let written = piece.and_then(|p| self.written(p.at, sent.at));
        self.first_piece = piece.filter(|_| written.is_some());
        let left = written.unwrap_or(sent.at);
        self.client_side(phase, self.at, left, cited);
        self.at = left;
        true
    }

    /// When, within a stretch in which TCP may have held data, the client had written it: once its threads were
    /// done with what they did in the stretch. Absent if they were busy until its end, and kept the data back themselves.
    fn written(&self, from: Instant<Client>, to: Instant<Client>) -> Option<Instant<Client>> {
        let trace = self.handshake.client_host.as_ref();
        let busy = trace.map_or(Span::ZERO, |trace| trace.usage(from, to).busy());
        Some(from + busy).filter(|written| to - *written > Span::from_millis(1))
    }

    /// Charges a wait for an acknowledgement: a round trip like the others and the peer's delay of its
    /// acknowledgement are what the protocol demands; loss and a longer way are the network's, as anywhere.
    fn held(&mut self, phase: Phase, wait: &AckWait<Client>) {
        let mut parts = Ledger::open(wait.ack.at - self.at);
        let end = wait.sent.end();
        if let Some(steps) = self.steps(Mark::Bytes(Side::Client, end), Mark::Ack(Side::Client, end)) {
            let turnaround = (steps.edge_out.at - steps.edge_in.at).at_least_zero();
            parts.charge(lost(phase, Kind::Out, false, steps.out_wait).between(wait.packets()));
            parts.charge(lost(phase, Kind::Back, false, steps.back_wait).between(wait.packets()));
            let way = (parts.remaining() - turnaround).at_least_zero();
            let usual = self.ledger.min_path().unwrap_or(way);
            if way > usual.percent(110) + Span::from_millis(1) {
                let error = STAMP_ERROR + STAMP_ERROR;
                parts.charge(Entry::new(phase, Owner::Path, Kind::Delay, way - usual, error).between(wait.packets()));
            }
        }
        let rest = parts.remaining();
        parts.charge(Entry::new(phase, Owner::Protocol, wait.kind, rest, STAMP_ERROR).between(wait.packets()));
        for entry in parts.entries {
            self.ledger.charge(entry);
        }
        self.at = wait.ack.at;
    }

    /// The client never sent what was due: the time until it gave up is its own.
    fn silent_client(&mut self, phase: Phase) -> bool {
        let end = client_gave_up(self.client);
        self.client_side(phase, self.at, end, []);
        true
    }

    fn client_side(&mut self, phase: Phase, from: Instant<Client>, to: Instant<Client>, packets: impl IntoIterator<Item = u64>) {
        for entry in client_side(self.handshake, phase, from, to, packets.into_iter().collect()) {
            self.ledger.charge(entry);
        }
    }

    /// One exchange, divided; false (and the rest charged to whoever holds it up) if it never completed.
    fn exchange(&mut self, phase: Phase, out: Mark, back: Mark) -> bool {
        let Some(steps) = self.steps(out, back) else {
            self.pending(phase, out, back);
            return false;
        };
        let final_ack = matches!(back, Mark::Ack(..));
        let Steps { out_sent, out_wait, edge_in, edge_out, back_wait, arrived } = steps;
        let gap = arrived.at - self.at.max(out_sent.at);
        let turnaround = (edge_out.at - edge_in.at).at_least_zero();
        let cited = [out_sent.packet, arrived.packet];
        let out_blackhole = self.edge.is_some_and(|e| blackhole(self.client, e, Side::Client));
        let back_blackhole = self.edge.is_some_and(|e| blackhole(e, self.client, Side::Server));
        let mut ledger = Ledger::open(gap);
        ledger.charge(lost(phase, Kind::Out, out_blackhole, out_wait).between(cited));
        if final_ack {
            // Nobody waits for this acknowledgement but our own measuring.
            ledger.charge(Entry::new(phase, Owner::Protocol, Kind::FinalAck, turnaround + back_wait, STAMP_ERROR));
        } else {
            for entry in self.edge_side(phase, edge_in, edge_out) {
                ledger.charge(entry);
            }
            ledger.charge(lost(phase, Kind::Back, back_blackhole, back_wait).between(cited));
        }
        // A machine that stands still stamps what came meanwhile when it goes on.
        let stolen =
            self.handshake.client_host.as_ref().map_or(Span::ZERO, |t| t.usage(self.at.max(out_sent.at), arrived.at).stolen);
        if stolen > Span::from_millis(1) {
            let usual = self.ledger.min_path().unwrap_or_default();
            let stood = stolen.min((ledger.remaining() - usual).at_least_zero());
            ledger.charge(Entry::new(phase, Owner::ClientHost, Kind::CpuStolen, stood, STAMP_ERROR).between(cited));
        }
        let rest = ledger.remaining();
        ledger.charge(Entry::round_trip(phase, rest, STAMP_ERROR + STAMP_ERROR).between(cited));
        let arrived_at = arrived.at;
        for entry in ledger.entries {
            self.ledger.charge(entry);
        }
        self.at = arrived_at;
        true
    }

    fn steps(&self, out: Mark, back: Mark) -> Option<Steps<'a>> {
        let edge = self.edge?;
        let first_piece = self.first_piece.filter(|p| matches!(out, Mark::Bytes(Side::Client, end) if end > p.end()));
        let out_sent = first_piece.or(out.sent(self.client))?;
        let edge_in = out.arrived(edge)?;
        let edge_out = back.sent(edge)?;
        let arrived = back.arrived(self.client)?;
        Some(Steps {
            out_sent,
            out_wait: loss_wait(self.client, edge, out_sent, edge_in, self.least_way(Side::Client))
                - (self.at - out_sent.at).at_least_zero(),
            edge_in,
            edge_out,
            back_wait: loss_wait(edge, self.client, edge_out, arrived, self.least_way(Side::Server)),
            arrived,
        })
    }

    fn least_way(&self, from: Side) -> Option<Span> {
        least_way(&self.crossings, from)
    }

    /// Divides the edge's turnaround, on the edge's clock.
    fn edge_side(&self, phase: Phase, came: &Seen<Edge>, went: &Seen<Edge>) -> Vec<Entry> {
        self.edge.map_or_else(Vec::new, |view| edge_side(self.handshake, view, phase, came, went))
    }

    /// Charges all remaining time to whoever holds up an exchange that never completed.
    fn pending(&mut self, phase: Phase, out: Mark, back: Mark) {
        let rest = self.ledger.remaining();
        let cited = out.sent(self.client).map(|p| p.packet);
        let reached = self.edge.and_then(|edge| out.arrived(edge).map(|came| (edge, came)));
        let Some((edge, came)) = reached else {
            let full_size = self.edge.is_some_and(|e| blackhole(self.client, e, out.sender()));
            self.ledger.charge(lost(phase, Kind::Out, full_size, rest).between(cited));
            return;
        };
        if back.sent(edge).is_some() {
            let full_size = blackhole(edge, self.client, back.sender());
            self.ledger.charge(lost(phase, Kind::Back, full_size, rest).between(cited));
        } else if let Some(last) = edge.packets.last() {
            for mut entry in edge_side(self.handshake, edge, phase, came, last) {
                entry.packets.extend(cited);
                self.ledger.charge(entry);
            }
        }
    }
}

/// Divides a stretch of the client's own time by what its kernel says of its threads, and by what it asked others.
pub(crate) fn client_side(
    handshake: &Handshake,
    phase: Phase,
    from: Instant<Client>,
    to: Instant<Client>,
    packets: Vec<u64>,
) -> Vec<Entry> {
    let asked = waited_for_others(&handshake.client_asked, from, to);
    client_time(handshake.client_host.as_ref(), asked, phase, from, to, packets)
}

/// Divides a stretch of the client's own by what its host says of it; `asked` are the frames of others' answers that it waited for.
pub(crate) fn client_time(
    host: Option<&HostTrace<Client>>,
    asked: Option<[u64; 2]>,
    phase: Phase,
    from: Instant<Client>,
    to: Instant<Client>,
    packets: Vec<u64>,
) -> Vec<Entry> {
    let Some(trace) = host else {
        let mut entry = match asked {
            Some(frames) => Entry::new(phase, Owner::ClientApp, Kind::Dependency, to - from, STAMP_ERROR).between(frames),
            None => Entry::new(phase, Owner::Client, None, to - from, STAMP_ERROR).between(packets),
        };
        entry.missing.insert(Missing::ClientHost);
        return vec![entry];
    };
    let usage = trace.usage(from, to);
    let parts = [
        (Owner::ClientHost, Some(Kind::CpuStarved), usage.waiting),
        (Owner::ClientHost, Some(Kind::Stopped), usage.stopped),
        (Owner::ClientHost, Some(Kind::CpuStolen), usage.stolen),
        (Owner::ClientApp, Some(Kind::Computing), usage.computing),
        (Owner::ClientApp, Some(if asked.is_some() { Kind::Dependency } else { Kind::Asleep }), usage.asleep),
        (Owner::Client, None, usage.unobserved),
    ];
    let entry = |(owner, kind, span): (Owner, Option<Kind>, Span)| {
        let error = usage.error.min(span.max(Span::from_millis(1))) + STAMP_ERROR;
        Entry::new(phase, owner, kind, span, error).between(packets.clone())
    };
    parts.into_iter().map(entry).collect()
}

struct Steps<'a> {
    out_sent: &'a Seen<Client>,
    out_wait: Span,
    edge_in: &'a Seen<Edge>,
    edge_out: &'a Seen<Edge>,
    back_wait: Span,
    arrived: &'a Seen<Client>,
}

fn lost(phase: Phase, direction: Kind, blackhole: bool, wait: Span) -> Entry {
    let (owner, kind) = if blackhole { (Owner::Path, Kind::MtuBlackhole) } else { (Owner::Loss, direction) };
    Entry::new(phase, owner, kind, wait, STAMP_ERROR)
}

/// Divides the time between a packet's arrival at the edge and the edge's answer.
pub(crate) fn edge_side(
    handshake: &Handshake,
    view: &View<Edge>,
    phase: Phase,
    came: &Seen<Edge>,
    went: &Seen<Edge>,
) -> Vec<Entry> {
    let cited = [came.packet, went.packet];
    let mut parts = Ledger::open(went.at - came.at);
    for closed in closed_windows(view, Side::Server, came.at, went.at) {
        let cited = [closed.sent.packet, closed.shut.packet, closed.opened.packet];
        let shut = closed.shut.at.max(came.at);
        let (told, stood) = (shut - closed.sent.at.max(came.at), closed.opened.at - shut);
        parts.charge(Entry::new(phase, Owner::Protocol, Kind::ReceiveWindow, told, STAMP_ERROR).between(cited));
        parts.charge(Entry::new(phase, Owner::ClientApp, Kind::ZeroWindow, stood, STAMP_ERROR).between(cited));
    }
    for wait in ack_waits(view, Side::Server, came.at, went.at) {
        let span = wait.released.at - wait.sent.at;
        parts.charge(Entry::new(phase, Owner::Protocol, wait.kind, span, STAMP_ERROR).between(wait.packets()));
    }
    if kernel_ignored(view, came, went) {
        let rest = parts.remaining();
        parts.charge(Entry::new(phase, Owner::EdgeHost, Kind::AcceptQueue, rest, STAMP_ERROR).between(cited));
    }
    if parts.remaining() == Span::ZERO {
        return parts.entries;
    }
    let asked = waited_for_others(&handshake.edge_asked, came.at, went.at);
    // Before the program accepted the connection, what is not the CPU's fault is the queue's.
    let accepted = handshake.edge_log.as_ref().map(|log| log.accepted.max(came.at).min(went.at));
    for (from, to, queued) in [(came.at, accepted.unwrap_or(came.at), true), (accepted.unwrap_or(came.at), went.at, false)] {
        let Some(trace) = &handshake.edge_host else { break };
        let usage = trace.usage(from, to);
        let asleep = if asked.is_some() { Kind::Dependency } else { Kind::Asleep };
        let idle = if queued { (Owner::EdgeHost, Kind::AcceptQueue) } else { (Owner::EdgeApp, asleep) };
        for (owner, kind, span) in [
            (Owner::EdgeHost, Kind::CpuStarved, usage.waiting),
            (Owner::EdgeHost, Kind::Stopped, usage.stopped),
            (Owner::EdgeHost, Kind::CpuStolen, usage.stolen),
            (Owner::EdgeApp, Kind::Computing, usage.computing),
            (idle.0, idle.1, usage.asleep),
        ] {
            let error = usage.error.min(span.max(Span::from_millis(1))) + STAMP_ERROR;
            parts.charge(Entry::new(phase, owner, kind, span, error).between(cited));
        }
    }
    let rest = parts.remaining();
    let mut unsplit = match asked {
        Some(frames) => Entry::new(phase, Owner::EdgeApp, Kind::Dependency, rest, STAMP_ERROR).between(frames),
        None => Entry::new(phase, Owner::Edge, None, rest, STAMP_ERROR).between(cited),
    };
    unsplit.missing.insert(Missing::EdgeHost);
    parts.charge(unsplit);
    parts.entries
}

/// Whether the edge's kernel itself left a packet unanswered: the same SYN or ClientHello came again, in
/// the edge's own capture, before anything acknowledged it (DESIGN 5.8: a full accept queue).
fn kernel_ignored(view: &View<Edge>, came: &Seen<Edge>, went: &Seen<Edge>) -> bool {
    let acknowledged = view
        .sent_by(Side::Server)
        .find(|p| p.at >= came.at && p.ack().is_some_and(|a| a >= came.end()) && (came.is_empty() || !p.flags.syn()))
        .map_or(went.at, |p| p.at);
    let again = |p: &&Seen<Edge>| {
        p.at > came.at
            && p.at <= acknowledged
            && p.flags.syn() == came.flags.syn()
            && p.start() == came.start()
            && p.len() == came.len()
    };
    acknowledged - came.at > Span::from_millis(100) && view.sent_by(Side::Client).any(|p| again(&p))
}
