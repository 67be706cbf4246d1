//! Whose time it was: one walk for all evidence.
//!
//! ```text
//! views ─► tapes (pairing; far: what one end tells of the other) ═► goal ─► follow ─ arcs ─► entries ─► Ledger
//!             └ limits: what let a departure go             transport
//! ```
//! `goal`, `follow` and `arcs` stand behind a border ([`transport`]): they know ends that answer questions, and nothing of TCP.
//!
//! The walk goes backwards from the arrival that completed the handshake, along what was waited for last, to its SYN. Every instant
//! gets one arc, so the ledger sums by construction; TLS names the goal and the labels, and nothing else.

mod arcs;
mod entries;
mod follow;
mod goal;
mod losses;
mod overdue;
mod reached;
mod tcp;
#[cfg(test)]
mod tests;
mod told;
mod transport;

use crate::clock::{Client, Domain, Instant, Span};
use crate::conversation::handshake::Handshake;
use crate::conversation::milestone::Milestone;
use crate::conversation::reset::{Refusal, gave_up, refusal};
use crate::judging::ledger::{Entry, Kind, Ledger, Missing, Owner, Phase};
use crate::judging::verdict::{End, Grade, Reading};
use crate::tcp::flow::{Seen, Side, View};
use crate::tls::Dialogue;

use arcs::{What, Work};
use entries::Evidence;
use follow::{Point, Walk};
use goal::{Goal, Stopped};
use tcp::limits::Sender;
use tcp::tape::{Event, Tape};
use tcp::{far, pairing};
use transport::{Endpoint, Known, Ways};

/// An event and what it caused, where one of them is guessed, lie so far apart at most, beside a tenth of a round trip.
const GUESSED: i64 = 3_000_000;

/// Reads a handshake from what was captured of it, from its SYN or (in a capture that began later) from what is seen first; absent if a
/// capture shows one direction only, or nothing.
pub fn read(handshake: &Handshake) -> Option<Reading> {
    let reading = read_upto(handshake, [None; 2])?;
    if !matches!(reading.end, End::Stopped { .. }) {
        return Some(reading);
    }
    // What an end says on giving up is nothing that the other, or it, was waited for.
    match farewells(handshake) {
        [None, None] => Some(reading),
        upto => read_upto(handshake, upto),
    }
}

/// By side, where in its stream an end took its leave that had waited in vain.
fn farewells(handshake: &Handshake) -> [Option<i64>; 2] {
    let d = &handshake.dialogue;
    [Side::Client, Side::Server].map(|side| {
        let at_client = handshake.client.as_ref().and_then(|view| gave_up(view, d, side)).map(Seen::start);
        at_client.or_else(|| handshake.edge.as_ref().and_then(|view| gave_up(view, d, side)).map(Seen::start))
    })
}

fn read_upto(handshake: &Handshake, upto: [Option<i64>; 2]) -> Option<Reading> {
    match (&handshake.client, &handshake.edge) {
        (Some(client), Some(edge)) => {
            let mut client = Tape::captured(Side::Client, client, upto);
            let mut edge = Tape::captured(Side::Server, edge, upto);
            let ways = pairing::pair(&mut client, &mut edge);
            let round_trip = ways.least[0].zip(ways.least[1]).map_or(0, |(out, back)| (out + back).max(0));
            Some(walk(handshake, [client, edge], ways, None, round_trip))
        }
        (Some(view), None) => one_end(handshake, Side::Client, view, upto),
        (None, Some(view)) => one_end(handshake, Side::Server, view, upto),
        (None, None) => None,
    }
}

fn one_end<D: Domain>(handshake: &Handshake, end: Side, view: &View<D>, upto: [Option<i64>; 2]) -> Option<Reading> {
    // Nobody may have answered a SYN; whoever speaks behind it had an answer, which was not captured.
    let spoke = |p: &Seen<D>| !p.flags.syn() && p.ack().is_some();
    if !view.both_directions() && (!view.syns(Side::Client).any(|_| true) || view.sent_by(Side::Client).any(spoke)) {
        return None;
    }
    let read = |until: Option<&Seen<D>>| as_far(handshake, end, view, upto, until);
    let own_close = || view.sent_by(end).find(|p| p.flags.fin() || p.flags.rst());
    if handshake.is_not_tls() {
        return Some(read(own_close().filter(|p| p.flags.fin())));
    }
    let reading = read(None);
    if !matches!(reading.end, End::Stopped { .. }) {
        return Some(reading);
    }
    // What came behind its own close, an end that stopped did not wait for.
    let late = own_close().filter(|close| view.sent_by(end.peer()).any(|p| p.packet > close.packet && !p.is_empty()));
    let Some(close) = late else { return Some(reading) };
    Some(Reading { end: reading.end, ..read(Some(close)) })
}

/// Reads what one end's capture shows of what was said before `upto`, `until` that end closed.
fn as_far<D: Domain>(
    handshake: &Handshake,
    end: Side,
    view: &View<D>,
    upto: [Option<i64>; 2],
    until: Option<&Seen<D>>,
) -> Reading {
    let mut near = Tape::captured(end, view, upto);
    if let Some(close) = until {
        near.until(close.at.nanos());
    }
    let far = far::far(&mut near, view);
    let trip = Some(far.round_trip);
    let (towards, from) = if end == Side::Client { (trip, Some(0)) } else { (Some(0), trip) };
    let ways = Ways { least: [towards, from], usual: [towards, from] };
    let tapes = if end == Side::Client { [near, far.tape] } else { [far.tape, near] };
    walk(handshake, tapes, ways, Some(end.peer()), far.round_trip)
}

fn walk(handshake: &Handshake, mut tapes: [Tape; 2], ways: Ways, far: Option<Side>, round_trip: i64) -> Reading {
    let d = &handshake.dialogue;
    let nodelay = handshake.client_host.as_ref().is_some_and(|trace| trace.nodelay == Some(true));
    for tape in &mut tapes {
        tape.sender = Sender {
            nodelay: nodelay && tape.end == Side::Client,
            round_trip,
            slack: if far == Some(tape.end) { GUESSED + round_trip / 10 } else { 0 },
        };
    }
    let ends = tapes.each_ref();
    let not_tls = handshake.is_not_tls();
    let phase_of = |side, byte| match goal::phase_of(d, side, byte) {
        // What follows a ClientHello that nobody meant is no Finished.
        Phase::ClientFinished if not_tls => Phase::Request,
        phase => phase,
    };
    let answers_upto = |side, byte| d.answers_upto(side, byte).filter(|_| !not_tls);
    let mut walk = Walk {
        ends,
        ways,
        round_trip,
        far,
        phase_of: &phase_of,
        answers_upto: &answers_upto,
        arcs: Vec::with_capacity(16),
        unseen: None,
    };
    if let Some(refusal) = refusal(handshake) {
        return refused(&mut walk, handshake, &refusal);
    }
    let reached = match goal::goal(d, ends, not_tls) {
        Goal::Reached(point) => {
            if let Point::Left { end, i } = point {
                // It came, though the capture there missed it: the way is taken for the usual one.
                let left = ends[end as usize].packet(i);
                let came = left.at + ways.usual[end as usize].unwrap_or(0);
                walk.push(What::Way, end, Phase::Finish, (left.at, came), [Some(left.number), None], Known::Guessed);
            }
            Ok(point)
        }
        Goal::Told { end, i } => Ok(walk.came_unseen(end, i)),
        Goal::Stopped(stopped) => Err(stopped),
    };
    let end = match reached {
        Ok(point) => {
            walk.follow(point);
            match () {
                () if not_tls => End::NotTls,
                () if d.refused_late() => End::Stopped { after: Milestone::ClientFinished },
                () => End::Complete,
            }
        }
        Err(stopped) => {
            stop(&mut walk, handshake, stopped);
            if not_tls { End::NotTls } else { End::Stopped { after: goal::proven(d, ends) } }
        }
    };
    let evidence = Evidence { handshake, tapes: ends, far, round_trip, unseen: walk.unseen };
    let mut ledger = entries::ledger(&evidence, &walk.arcs);
    of_coarse_clocks(handshake, &mut ledger);
    if end == End::NotTls {
        let of_client = |e: &&mut Entry| e.worked.is_some_and(|w| w.side == Side::Client);
        for entry in ledger.entries.iter_mut().filter(of_client) {
            (entry.owner, entry.kind, entry.worked) = (Owner::Client, Some(Kind::Idle), None);
        }
    }
    before(handshake, &mut ledger);
    Reading { grade: grade(handshake), ledger, end }
}

/// A SYN that was refused: its copies, and the round that the last of them made.
fn refused(walk: &mut Walk<'_, Tape>, handshake: &Handshake, refusal: &Refusal) -> Reading {
    let ([first, last, at], [syn, again, packet]) = (refusal.at, refusal.packets);
    let copies = [Some(syn), Some(again)];
    walk.push(What::Lost, Side::Client, Phase::Connect, (first, last), copies, Known::Captured);
    let evidence = Evidence { handshake, tapes: walk.ends, far: walk.far, round_trip: walk.round_trip, unseen: None };
    let mut ledger = entries::ledger(&evidence, &walk.arcs);
    let span = Span::from_nanos(at - last);
    if span > Span::ZERO {
        let mut round = Entry::round_trip(Phase::Connect, span, entries::STAMP_ERROR).between([again, packet]);
        // Whoever refused it may stand anywhere on the way.
        round.filled_in = true;
        ledger.total += span;
        ledger.entries.push(round);
    }
    of_coarse_clocks(handshake, &mut ledger);
    before(handshake, &mut ledger);
    Reading { grade: grade(handshake), ledger, end: End::Stopped { after: Milestone::Syn } }
}

/// Notes how coarse the clocks were that measured it.
fn of_coarse_clocks(handshake: &Handshake, ledger: &mut Ledger) {
    let grains = [handshake.client.as_ref().map(View::grain), handshake.edge.as_ref().map(View::grain)];
    if let Some(grain) = grains.into_iter().flatten().max().filter(|grain| *grain > Span::ZERO) {
        ledger.entries.iter_mut().for_each(|entry| entry.grain = grain);
    }
}

fn grade(handshake: &Handshake) -> Grade {
    match (&handshake.client, &handshake.edge) {
        (Some(_), Some(_)) => Grade::BothEnds { host: handshake.client_host.is_some() },
        (Some(_), None) => Grade::OneEnd { host: handshake.client_host.is_some() },
        _ => Grade::OneEnd { host: handshake.edge_host.is_some() },
    }
}

/// The time until nobody watched or waited any more.
fn stop(walk: &mut Walk<'_, Tape>, handshake: &Handshake, stopped: Stopped) {
    let (Stopped::Vanished { end, i } | Stopped::Silent { end, i }) = stopped else { return };
    let last = walk.ends[end as usize].packet(i);
    let mut from = last.at;
    let mut until = ended(handshake, walk, end).max(from);
    // Where somebody else was waited for, the wait went on as long as the capture did; what is due takes a round trip.
    let others = matches!(stopped, Stopped::Vanished { .. }) || walk.far == Some(end);
    let due = from.saturating_add(walk.round_trip);
    if let Some(watched) = handshake.watched_until.filter(|watched| others && !closed(handshake) && *watched > until.max(due)) {
        from = due;
        until = watched;
    }
    let packets = [Some(last.number), None];
    match stopped {
        // What shows a hole before it was not lost itself; what was, left since the last that had come there.
        Stopped::Vanished { .. } if last.is_bare() => {
            let ends = &walk.ends[end as usize];
            let (phase, since) = ((walk.phase_of)(end, last.range.0 - 1), ends.news_before(i));
            let Some((since, came)) = since.map(|since| (since, ends.packet(since))) else { return };
            walk.push(What::Vanished, end, phase, (came.at, until), [Some(came.number), Some(last.number)], last.known);
            walk.follow(Point::Arrived { end, i: since });
        }
        Stopped::Vanished { .. } => {
            let phase = (walk.phase_of)(end, last.range.1 - 1);
            walk.push(What::Vanished, end, phase, (from, until), packets, last.known);
            walk.follow(Point::Left { end, i });
        }
        // It had said a part, and not the rest.
        _ if let Some(said) = walk.ends[end as usize].fresh_before(walk.ends[end as usize].len()).filter(|said| *said > i) => {
            let said_last = walk.ends[end as usize].packet(said);
            let phase = (walk.phase_of)(end, said_last.range.1);
            let span = (said_last.at, until.max(said_last.at));
            walk.push(What::Work(Work::Silence), end, phase, span, [Some(said_last.number), None], said_last.known);
            walk.follow(Point::Left { end, i: said });
        }
        _ => {
            let phase = (walk.phase_of)(end, walk.ends[end as usize].sent_before(i));
            walk.push(What::Work(Work::Silence), end, phase, (from, until), packets, last.known);
            walk.follow(Point::Arrived { end, i });
        }
    }
}

/// Whether an end closed the connection, as far as was seen.
fn closed(handshake: &Handshake) -> bool {
    handshake.client.as_ref().is_some_and(View::is_closed) || handshake.edge.as_ref().is_some_and(View::is_closed)
}

/// When an end, or whoever watched it, gave up.
fn ended(handshake: &Handshake, walk: &Walk<'_, Tape>, end: Side) -> i64 {
    fn last<D: Domain>(view: &View<D>, d: &Dialogue) -> i64 {
        let over = view.packets.iter().find(|p| p.flags.fin() || p.flags.rst()).or(view.packets.last());
        let gave_up = [Side::Client, Side::Server].into_iter().filter_map(|side| gave_up(view, d, side));
        gave_up.chain(over).map(|p| p.at.nanos()).min().unwrap_or(0)
    }
    let d = &handshake.dialogue;
    match (end, &handshake.client, &handshake.edge) {
        (Side::Client, Some(view), _) => last(view, d),
        (Side::Server, _, Some(view)) => last(view, d),
        // The far end's clock reads like ours.
        (_, Some(view), None) => last(view, d),
        (_, None, Some(view)) => last(view, d),
        _ => walk.ends[end as usize].events.last().map_or(0, Event::at),
    }
}

/// What came before the connection: the lookup of its name, and the addresses that were tried before the one that answered.
fn before(handshake: &Handshake, ledger: &mut Ledger) {
    let Some(syn) = handshake.client.as_ref().and_then(|view| view.syns(Side::Client).next()) else { return };
    let mut journey = Journey { handshake, at: syn.at, entries: Vec::new() };
    if let Some(lookup) = &handshake.lookup {
        let (start, packet) = lookup.began();
        journey.at = start;
        for wait in lookup.waits() {
            journey.own(wait.from, wait.packets[0]);
            let span = wait.to - wait.from.max(journey.at);
            let mut entry = Entry::new(Phase::Dns, Owner::Resolver, Kind::Lookup, span, Span::from_micros(100));
            if wait.perhaps_lost {
                (entry.owner, entry.kind, entry.candidates) = (Owner::Unattributed, None, Owner::Resolver | Owner::Loss);
            }
            journey.push(entry.between(wait.packets), wait.to);
        }
        if journey.entries.is_empty() {
            journey.own(syn.at, packet);
        }
    }
    for tried in &handshake.tried {
        if handshake.lookup.is_none() && journey.entries.is_empty() {
            journey.at = tried.from;
        }
        journey.own(tried.from, tried.packet);
        let mut entry = Entry::new(Phase::Attempts, Owner::Unattributed, None, tried.to - tried.from.max(journey.at), Span::ZERO);
        (entry.candidates, entry.missing) = (Owner::Path | Owner::Loss | Owner::Edge, Missing::OtherAddress.into());
        journey.push(entry.between([tried.packet, syn.packet]), tried.to);
    }
    journey.own(syn.at, syn.packet);
    let entries = journey.entries;
    ledger.total += entries.iter().map(|e| e.span).sum();
    ledger.entries.splice(0..0, entries);
}

/// The time before a connection, as far as it is told.
struct Journey<'a> {
    handshake: &'a Handshake,
    at: Instant<Client>,
    entries: Vec<Entry>,
}

impl Journey<'_> {
    /// The client's own until `to`.
    fn own(&mut self, to: Instant<Client>, packet: u64) {
        let mut own = Vec::new();
        let cited = [packet].into_iter().collect();
        crate::conversation::ends::client_side(self.handshake, Phase::Dns, self.at, to, cited, &mut own);
        self.entries.extend(own.into_iter().filter(|e| e.span > Span::ZERO));
        self.at = self.at.max(to);
    }

    fn push(&mut self, entry: Entry, to: Instant<Client>) {
        if entry.span > Span::ZERO {
            self.entries.push(entry);
        }
        self.at = self.at.max(to);
    }
}
