//! What was lost, and what never came: whose it is, and how sure that is.
//!
//! In: an arc of a walk between a first copy and the one that came, or the end of watching. Out: its ledger entry. Where both ends were
//! captured the packets say what came; from one end, holes, D-SACK, timestamps and identifications do, or leave it open.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use foldhash::HashSet;

use super::arcs::{Arc, What};
use super::entries::{Evidence, STAMP_ERROR, TICK, direction, entry, span};
use super::tcp::tape::{Event, Known, MOST_SEGMENT, TIMESTAMPS};
use super::transport::Endpoint;
use crate::clock::{Client, Domain, Edge, Span};
use crate::judging::ledger::{Entry, Kind, Missing, Owner, Phase};
use crate::tcp::copies::{ALWAYS_CARRIED, ALWAYS_CARRIED_BYTES, blackhole};
use crate::tcp::covered::{Covered, Pieces};
use crate::tcp::flow::{Seen, Side, View};

/// Nobody repeats a SYN-ACK sooner (RFC 6298, section 2.1: a second, of which a coarse timer may miss some).
const SYN_TIMER: Span = Span::from_millis(900);
/// Chance lets one of the repetitions of a segment through by then.
const NO_CHANCE: Span = Span::from_millis(1_500);

/// From the capture's sight of a word of the path's until a kernel heeds it.
const HEARD: i64 = 1_000_000;

pub(super) fn lost(evidence: &Evidence<'_>, arc: &Arc) -> Entry {
    if let Some(told) = evidence.told_too_big(arc) {
        return told;
    }
    let full_size = || match (&evidence.handshake.client, &evidence.handshake.edge) {
        (Some(client), Some(edge)) => passes_no_big(client, edge, arc.side),
        (Some(view), None) => shrank(view, arc),
        (None, Some(view)) => shrank(view, arc),
        (None, None) => false,
    };
    // Beside big ones a small one may be lost by chance.
    if (evidence.far == Some(arc.side) || evidence.lost_big(arc)) && full_size() {
        return entry(arc, Owner::Path, Kind::MtuBlackhole, STAMP_ERROR);
    }
    if evidence.answered_for_another(arc) {
        return entry(arc, Owner::EdgeHost, Kind::OldConnection, STAMP_ERROR);
    }
    let near = evidence.far.map(Side::peer);
    if let Some(far) = evidence.far.filter(|_| evidence.was_told_again(arc)) {
        // An acknowledgement that left here, and that its peer repeated what it was for: lost on its way, or late.
        let mut open = entry(arc, Owner::Unattributed, None, STAMP_ERROR);
        (open.candidates, open.missing) = (Owner::Loss | Owner::Path, evidence.capture(far).into());
        return open;
    }
    if evidence.far == Some(arc.side) {
        return evidence.lost_there(arc);
    }
    let mut entry = entry(arc, Owner::Loss, direction(arc.side), STAMP_ERROR);
    if near == Some(arc.side) {
        match evidence.answered_by(arc) {
            // A copy before had come as well: its acknowledgement was lost, or late.
            Some(Answer::Twice) => {
                (entry.owner, entry.kind) = (Owner::Unattributed, None);
                (entry.candidates, entry.missing) = (Owner::Loss | Owner::Path, evidence.capture(arc.side.peer()).into());
                return entry;
            }
            // Lost may be it, or the answer that acknowledged it.
            Some(Answer::WithData) if near == Some(Side::Client) => entry.kind = None,
            Some(Answer::Alone | Answer::WithData) | None => {}
        }
    }
    if near == Some(Side::Client) && arc.side == Side::Client && !evidence.edge_took(arc) {
        // An edge whose accept queue is full drops it just as the way does.
        (entry.owner, entry.kind) = (Owner::Unattributed, None);
        (entry.candidates, entry.missing) = (Owner::Loss | Owner::EdgeHost, Missing::EdgeCapture.into());
    }
    entry
}

/// Whether both ends' captures show that big packets of `side` never pass.
fn passes_no_big(client: &View<Client>, edge: &View<Edge>, side: Side) -> bool {
    match side {
        Side::Client => blackhole(client, edge, side),
        Side::Server => blackhole(edge, client, side),
    }
}

/// Whether big pieces never passed and came through smaller at last: seen where they left, or (by the size that both ends said they
/// take) where they came.
fn shrank<D: Domain>(view: &View<D>, arc: &Arc) -> bool {
    let data = || view.sent_by(arc.side).filter(|p| !p.is_empty());
    let biggest = data().map(|p| p.ip_len).max().unwrap_or(0);
    // What was captured before the card cut it (TSO) is sent again by segments: full ones are no smaller than what was lost.
    let full = |p: &Seen<D>| view.mss().unwrap_or(MOST_SEGMENT) - if p.is_stamped() { TIMESTAMPS } else { 0 };
    if biggest > ALWAYS_CARRIED && was_cut(data(), biggest, full) {
        return true;
    }
    let Some(full) = view.mss() else { return false };
    let mut reached = 0;
    let hole = data().find_map(|p| {
        let before = reached;
        reached = p.end().max(reached);
        (p.start() > before).then_some((before, p.start()))
    });
    let smaller = full - full / 10;
    // What is asked for came where they had been missing.
    let came = || data().find(|p| Some(p.packet) == arc.packets[1]);
    let in_it = |(start, end): (i64, i64)| came().is_some_and(|p| p.start() < end && p.end() > start);
    hole.is_some_and(|hole| hole.1 - hole.0 >= smaller && hole.1 - hole.0 > ALWAYS_CARRIED_BYTES && in_it(hole))
        && data().all(|p| p.len() < smaller)
}

/// Whether the beginning of one of the biggest packets, which first carried it, was sent again in one smaller than that and than a full
/// segment.
fn was_cut<'a, D: Domain>(data: impl Iterator<Item = &'a Seen<D>>, biggest: u32, full: impl Fn(&Seen<D>) -> i64) -> bool {
    let mut data: Vec<(usize, &Seen<D>)> = data.enumerate().collect();
    data.sort_by_key(|(i, p)| (p.start(), *i));
    // Those that began before it and may reach beyond it, the earliest first.
    let mut open = BinaryHeap::new();
    for alike in data.chunk_by(|(_, a), (_, b)| a.start() == b.start()) {
        let (first, original) = alike[0];
        while open.peek().is_some_and(|Reverse((_, end))| *end <= original.start()) {
            open.pop();
        }
        let carried = open.peek().is_some_and(|Reverse((i, _))| *i < first);
        if !carried && original.ip_len == biggest && alike.iter().any(|(_, p)| p.len() < original.len().min(full(original))) {
            return true;
        }
        open.extend(alike.iter().map(|(i, p)| Reverse((*i, p.end()))));
    }
    false
}

pub(super) fn vanished(evidence: &Evidence<'_>, arc: &Arc) -> Entry {
    if let Some(told) = evidence.told_too_big(arc) {
        return told;
    }
    let is_far = evidence.far == Some(arc.side);
    let full_size = match (&evidence.handshake.client, &evidence.handshake.edge) {
        (Some(client), Some(edge)) => passes_no_big(client, edge, arc.side),
        (Some(view), None) => swallowed(view, arc.side, is_far, span(arc)),
        (None, Some(view)) => swallowed(view, arc.side, is_far, span(arc)),
        (None, None) => false,
    };
    if full_size {
        return entry(arc, Owner::Path, Kind::MtuBlackhole, STAMP_ERROR);
    }
    let mut entry = entry(arc, Owner::Loss, direction(arc.side), STAMP_ERROR);
    let Some(far) = evidence.far else { return entry };
    (entry.owner, entry.kind) = (Owner::Unattributed, None);
    (entry.candidates, entry.missing) = (Owner::Loss | Owner::Path, evidence.capture(far).into());
    // Of what the far end sent, all that came behind it is here. What it was sent was dropped on the way, or taken and not
    // acknowledged; but an end from which more came was awake, and its kernel acknowledges by itself.
    // A SYN-ACK that is repeated is not: where the accept queue is full, the kernel takes nothing else.
    let said = |e: &Event| e.seen.from == far && !e.seen.flags.syn();
    let awake = || evidence.near().events.iter().rev().take_while(|e| e.at() > arc.from).any(said);
    if !is_far && !awake() {
        entry.candidates |= if far == Side::Client { Owner::Client } else { Owner::Edge };
    }
    entry
}

/// How something that was sent twice was acknowledged.
enum Answer {
    /// It, or what was sent before it, came needlessly, as packets say (D-SACK, RFC 2883).
    Twice,
    /// By an acknowledgement alone.
    Alone,
    /// Together with the answer to it.
    WithData,
}

/// Whether big segments never pass while smaller ones do, seen from one end. Where they left: all that was sent in vain, more than
/// once, is bigger than anything that was acknowledged. Where they should have come: a hole as big as a full segment stayed for so
/// long that chance would have let one repetition through.
fn swallowed<D: Domain>(view: &View<D>, side: Side, far: bool, lasted: Span) -> bool {
    let data = || view.sent_by(side).filter(|p| !p.is_empty());
    if far {
        let (mut covered, mut behind) = (Covered::default(), i64::MAX);
        data().for_each(|p| covered.add(p.start(), p.end()));
        data().filter(|p| p.start() > covered.prefix).for_each(|p| behind = behind.min(p.start()));
        let hole = behind - covered.prefix;
        // What is as big and came has the same way.
        let fits = data().any(|p| p.len() >= hole);
        return behind < i64::MAX && hole > ALWAYS_CARRIED_BYTES && !fits && lasted > NO_CHANCE;
    }
    let peers = || view.sent_by(side.peer());
    let acknowledged = peers().filter_map(Seen::ack).max().unwrap_or(0);
    let selected: Pieces = peers().flat_map(|a| view.sack(a)).copied().collect();
    let came = |p: &Seen<D>| p.end() <= acknowledged || selected.hold(p.start(), p.end());
    let mut in_vain: Vec<&Seen<D>> = data().filter(|p| !came(p)).collect();
    in_vain.sort_by_key(|p| p.start());
    let often = in_vain.len() >= 3 && in_vain.windows(2).any(|pair| pair[0].start() == pair[1].start());
    let least = in_vain.iter().map(|p| p.ip_len).min().unwrap_or(0);
    let most = data().filter(|p| came(p)).map(|p| p.ip_len).max().unwrap_or(u32::MAX);
    often && least > ALWAYS_CARRIED && most < least && !closes_in_vain(view, side)
}

/// Whether an end that said twice that it closes, in packets with nothing else, heard nothing behind the first: small ones vanish as well.
fn closes_in_vain<D: Domain>(view: &View<D>, side: Side) -> bool {
    let closes = |p: &&Seen<D>| p.from == side && p.flags.fin() && p.is_empty();
    let Some(first) = view.packets.iter().position(|p| closes(&p)) else { return false };
    let behind = &view.packets[first + 1..];
    behind.iter().any(|p| closes(&p)) && behind.iter().all(|p| p.from == side)
}

impl Evidence<'_> {
    /// What an end lost to packets too big for the way, of which it was told: its own if it sent them again as big as before, and again in
    /// vain; the path's if it obeyed.
    fn told_too_big(&self, arc: &Arc) -> Option<Entry> {
        let told = &self.handshake.too_big[arc.side as usize];
        let meanwhile = told.iter().find(|told| (arc.from..arc.to).contains(&told.at));
        let told = meanwhile.or_else(|| told.iter().rfind(|told| told.at < arc.from))?;
        let heard = told.at.saturating_add(HEARD);
        let data = || self.tapes[arc.side as usize].events.iter().filter(|e| e.seen.from == arc.side && !e.seen.is_empty());
        // What an offload cuts looks as big as before; but then it comes.
        let mut later = HashSet::<i64>::default();
        let ignored = data().rev().skip_while(|e| e.at() > arc.to).take_while(|e| e.at() > heard.max(arc.from)).any(|e| {
            let in_vain = !later.insert(e.seen.start()) || arc.what == What::Vanished;
            in_vain && !e.is_news() && e.seen.ip_len > told.most
        });
        let obeyed = || {
            let first = data().find(|e| Some(e.seen.packet) == arc.packets[0]);
            arc.what == What::Lost && first.is_some_and(|e| e.seen.ip_len > told.most && e.at() <= heard)
        };
        let (owner, kind) = match arc.side {
            Side::Client if ignored => (Owner::ClientHost, Kind::IgnoredTooBig),
            Side::Server if ignored => (Owner::EdgeHost, Kind::IgnoredTooBig),
            Side::Client | Side::Server => obeyed().then_some((Owner::Path, Kind::MtuBlackhole))?,
        };
        let mut entry = entry(arc, owner, kind, STAMP_ERROR);
        if ignored {
            entry.packets.insert(entry.packets.len().min(1), told.packet);
        }
        Some(entry)
    }

    /// Whether what was sent first, seen where it left, is bigger than what every path carries.
    fn lost_big(&self, arc: &Arc) -> bool {
        let first = self.tapes[arc.side as usize].events.iter().find(|e| Some(e.seen.packet) == arc.packets[0]);
        first.is_some_and(|e| e.seen.ip_len > ALWAYS_CARRIED)
    }

    /// Whether what was lost is nothing but an acknowledgement, told again.
    fn was_told_again(&self, arc: &Arc) -> bool {
        let first = self.tapes[arc.side as usize].events.iter().find(|e| Some(e.seen.packet) == arc.packets[0]);
        first.is_some_and(Event::is_full_of_nothing)
    }

    /// Whether SYN was answered by an ACK of another connection, before SYN-ACK came.
    pub(super) fn answered_for_another(&self, arc: &Arc) -> bool {
        if arc.phase != Phase::Connect {
            return false;
        }
        let tape = if self.far == Some(Side::Server) { self.tapes[0] } else { self.tapes[1] };
        let of_server = || tape.events.iter().filter(|e| e.seen.from == Side::Server);
        of_server().take_while(|e| !e.seen.flags.syn()).any(|e| e.is_full_of_nothing() && e.seen.flags.ack())
            && of_server().any(|e| e.seen.flags.syn())
    }

    /// What the far end sent again, told by its holes here: if its first copy is not older by its own marks, that was only late.
    fn lost_there(&self, arc: &Arc) -> Entry {
        let near = self.near();
        let find = |packet: Option<u64>| near.events.iter().find(|e| Some(e.seen.packet) == packet).map(|e| e.seen);
        let (before, copy) = (find(arc.packets[0]), find(arc.packets[1]));
        let counted =
            before.zip(copy).and_then(|(a, b)| Some(b.ip_id()?.wrapping_sub(a.ip_id()?) as i16)).filter(|step| *step != 0);
        if arc.known <= Known::Told || counted.is_some_and(|step| (1..64).contains(&step)) {
            return entry(arc, Owner::Loss, direction(arc.side), TICK);
        }
        let mut open = entry(arc, Owner::Unattributed, None, Span::ZERO);
        open.candidates = Owner::Loss | Owner::Path;
        open.missing = match arc.side {
            Side::Client => Missing::ClientCapture | Missing::ClientTimestamps,
            Side::Server => Missing::EdgeCapture | Missing::EdgeTimestamps,
        };
        open
    }

    /// Whether the first that told the near end of what went this way, `beyond` a round trip later, may have taken a lost one's place: by its
    /// place in the stream something of its sender's is missing before it, or it is a SYN-ACK behind the time after which one is repeated.
    pub(super) fn may_have_lost_its_answer(&self, way: &Arc, beyond: Span) -> bool {
        let near = self.near();
        let Some(i) = near.events.iter().position(|e| Some(e.seen.packet) == way.packets[0]) else { return false };
        let end = near.events[i].range().1;
        let answer = near.events[i..].iter().find(|e| e.seen.from != near.end && e.seen.ack() >= Some(end));
        answer.is_some_and(|answer| match answer.seen.flags.syn() {
            true => beyond >= SYN_TIMER,
            false => answer.seen.start() > answer.before.max(0),
        })
    }

    /// How the far end acknowledged what the near end sent again.
    fn answered_by(&self, arc: &Arc) -> Option<Answer> {
        let near = self.near();
        let copy = near.events.iter().position(|e| Some(e.seen.packet) == arc.packets[1])?;
        let (_, end) = near.events[copy].range();
        let answer = (copy..near.events.len()).find(|i| !near.is_own(*i) && near.events[*i].seen.ack() >= Some(end))?;
        // Each copy that came needlessly is told once. As many as were sent behind this one need not be it, nor what was sent before it.
        let behind = near.events[copy + 1..].iter().filter(|e| e.seen.from == near.end && e.carries(end - 1)).count();
        let holds_last = |i: usize| near.sack(i).first().is_some_and(|(left, right)| (*left..*right).contains(&(end - 1)));
        let twice = |i: &usize| !near.is_own(*i) && near.came_twice(*i).is_some() && holds_last(*i);
        let needless = (answer..near.events.len()).filter(twice).count();
        Some(match () {
            () if needless > behind => Answer::Twice,
            () if near.events[answer].is_full_of_nothing() || near.events[answer].seen.flags.syn() => Answer::Alone,
            () => Answer::WithData,
        })
    }

    /// Whether the edge had taken anything of the client's, beyond its SYN, before what was lost was sent again.
    fn edge_took(&self, arc: &Arc) -> bool {
        let [client, _] = self.tapes;
        let took = |e: &Event| e.seen.ack().is_some_and(|ack| ack > 0);
        let place = |packet: Option<u64>| client.events.iter().position(|e| Some(e.seen.packet) == packet);
        let first = place(arc.packets[0]).unwrap_or(0);
        // Before it was sent again for the first time.
        let again = (first + 1..client.events.len())
            .find(|i| client.is_own(*i) && !client.events[*i].is_news() && !client.events[*i].is_full_of_nothing());
        let until = again.unwrap_or(client.events.len());
        client.events[..until].iter().any(|e| e.seen.from == Side::Server && took(e))
            || (0..client.events.len())
                .any(|i| !client.is_own(i) && (client.came_twice(i).is_some() || i < until && !client.sack(i).is_empty()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::arcs::What;
    use super::*;
    use crate::clock::Unplaced;
    use crate::tcp::by_hand::{C, Packet, S, ack, data, syn, view};

    #[test]
    fn a_black_hole_swallows_what_is_bigger_than_all_that_came() {
        let swallowed_behind = |first: u32| {
            let connected =
                [syn(C, 0.0), syn(S, 40.0), ack(C, 40.1, 0, 0), data(C, 41.0, 0, first), ack(S, 81.0, 0, first as i32)];
            let in_vain = [82.0, 400.0, 1_000.0].map(|at| data(C, at, first as i32, 1_400));
            let packets: Vec<Packet> = connected.into_iter().chain(in_vain).collect();
            swallowed(&view::<Unplaced>(&packets), C, false, Span::from_millis(2_000))
        };
        assert!(swallowed_behind(500));
        assert!(!swallowed_behind(1_400), "one as big came: the others were lost");
    }

    #[test]
    fn what_was_captured_before_it_was_cut_is_repeated_by_segments() {
        let offered = |p: Packet| Packet { mss: Some(1_460), ..p };
        let repeated = |piece: u32| {
            let connected = [offered(syn(C, 0.0)), offered(syn(S, 0.1)), ack(C, 40.1, 0, 0), data(C, 41.0, 0, 500)];
            // Two segments in one frame are lost; two behind them come.
            let flight = [data(S, 41.5, 0, 2_896), data(S, 41.6, 2_896, 2_896)].map(|p| p.acks(500).stamped(1, 1));
            let dup = ack(C, 81.6, 500, 0).sacks(2_896, 5_792);
            let again = data(S, 81.7, 0, piece).acks(500).stamped(41, 1);
            let packets: Vec<Packet> = connected.into_iter().chain(flight).chain([dup, again]).collect();
            let (what, phase, known) = (What::Lost, Phase::ServerFlight, Known::Captured);
            let lost = Arc { what, side: S, phase, from: 0, to: 0, packets: [None; 2], known };
            shrank(&view::<Unplaced>(&packets), &lost)
        };
        assert!(!repeated(1_448), "a full segment");
        assert!(repeated(1_024), "what Linux tries when bigger ones vanish");
    }

    #[test]
    fn a_hole_no_bigger_than_what_came_is_no_black_hole() {
        let swallowed_before = |came: u32| {
            let connected = [syn(C, 0.0), syn(S, 40.0), ack(C, 40.1, 0, 0), data(C, 41.0, 0, 500), data(S, 82.0, 0, came)];
            // 1,200 bytes are missing behind it.
            let packets: Vec<Packet> = connected.into_iter().chain([data(S, 82.2, came as i32 + 1_200, 300)]).collect();
            swallowed(&view::<Unplaced>(&packets), S, true, Span::from_millis(2_000))
        };
        assert!(swallowed_before(700));
        assert!(!swallowed_before(1_448), "what is bigger came the same way");
    }
}
