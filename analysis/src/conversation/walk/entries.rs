//! From arcs to the lines of a ledger: who owns each stretch, and how sure that is.
//!
//! In: the arcs of a walk, and what is known beside the packets (the hosts' schedulers, what an end asked others). Out: entries that sum
//! to the walk. A way out and the way back behind it make one round, in which the clocks cancel; what TCP's rules cost is the
//! protocol's; what only one end tells of the other stays open where two owners would look alike.

use enumset::EnumSet;
use smallvec::SmallVec;

use super::arcs::{Arc, What, Work};
use super::losses::{lost, vanished};
use super::overdue::{overdue, repaired_nothing, unheard};
use super::reached::{UnderWay, late_to_the_tap, under_way};
use super::tcp::tape::{Event, Known, Tape};
use super::told::LEAST_TIMEOUT;
use super::transport::{Endpoint, Rule};
use crate::clock::{Client, Edge, Instant, Span};
use crate::conversation::handshake::{Handshake, was_awake};
use crate::judging::ledger::{Cited, Entry, Kind, Ledger, Missing, Owner, Phase, Worked};
use crate::tcp::flow::Side;
use crate::tcp::stamps::Stamps;

/// Two capture timestamps of one host: softirq and clock granularity.
pub(super) const STAMP_ERROR: Span = Span::from_micros(100);
/// TCP timestamps tick once a millisecond on Linux, Windows and macOS; two readings are off by one each.
pub(super) const TICK: Span = Span::from_millis(2);
/// So much do the ways of packets differ that nothing holds.
pub(super) const USUAL_JITTER: i64 = 2_000_000;

/// What the entries are made from, beside the arcs.
pub(super) struct Evidence<'a> {
    pub handshake: &'a Handshake,
    pub tapes: [&'a Tape; 2],
    /// The end that was not captured.
    pub far: Option<Side>,
    /// One round trip between the ends, about.
    pub round_trip: i64,
    /// What nobody's capture shows: who sent it, and when by guess.
    pub unseen: Option<(Side, i64)>,
}

/// The ledger of a walk, whose arcs come last first.
pub(super) fn ledger(evidence: &Evidence<'_>, arcs: &[Arc]) -> Ledger {
    let mut entries: Vec<Entry> = Vec::with_capacity(arcs.len());
    let (mut out, mut extra): (Option<Arc>, Option<Extra>) = (None, None);
    let mut last_round = None;
    let mut rounds: SmallVec<[(usize, i64, i64); 6]> = SmallVec::new();
    for (k, arc) in arcs.iter().enumerate().rev() {
        match arc.what {
            What::Way if arc.side == Side::Client => {
                // A way out that no way back followed: the capture ended, or began, in between.
                out = Some(*arc);
            }
            What::Way => {
                last_round = out.is_some().then_some(entries.len());
                rounds.extend(out.map(|out| (entries.len(), out.from, arc.to)));
                round(evidence, out.take(), *arc, extra.take(), &mut entries);
            }
            What::Limit(rule) | What::Overdue(rule) => {
                // What had come was sent again: no more was lost than acknowledgements, of which another arc tells.
                let in_vain = rule == Rule::Repair && repaired_nothing(evidence, arc);
                let rule = if in_vain { Rule::CongestionWindow } else { rule };
                // At the edge the round is under way, at the client it is over; what a timer sent waited for none.
                match (arc.what, arc.side, last_round) {
                    (What::Overdue(_), ..) => {}
                    (_, Side::Client, Some(at)) => asked_by(&mut entries[at], Extra::Rule(rule), arc.side),
                    _ => extra = Some(Extra::Rule(rule)),
                }
                let (owner, kind) = Extra::Rule(rule).owner(arc.side);
                let held = entry(arc, owner, kind, STAMP_ERROR);
                if matches!(arc.what, What::Overdue(_)) {
                    overdue(evidence, arc, held, &mut entries);
                } else {
                    entries.push(held);
                }
            }
            What::Hold(rule) => {
                let (owner, kind) = Extra::Rule(rule).owner(arc.side.peer());
                entries.push(entry(arc, owner, kind, STAMP_ERROR));
            }
            What::Lost => entries.push(lost(evidence, arc)),
            What::Unheard => entries.push(unheard(evidence, arc)),
            What::Overtaken => entries.push(entry(arc, Owner::Path, Kind::Delay, STAMP_ERROR)),
            What::Shut => entries.push(entry(arc, Owner::Path, Kind::ReceiveWindow, STAMP_ERROR)),
            What::Vanished => {
                last_way(evidence, out.take(), &mut entries);
                entries.push(vanished(evidence, arc));
            }
            What::Work(work) => {
                if work == Work::Silence {
                    last_way(evidence, out.take(), &mut entries);
                }
                if arc.phase == Phase::HelloRetry && arc.side == Side::Server {
                    extra = Some(Extra::HelloRetry);
                }
                let neighbours = [arcs.get(k + 1), k.checked_sub(1).and_then(|k| arcs.get(k))];
                worked(evidence, arc, work, neighbours, &mut entries);
            }
        }
    }
    last_way(evidence, out, &mut entries);
    stood_still(evidence, &mut entries, &rounds);
    entries.retain(|e| e.span != Span::ZERO);
    Ledger { total: entries.iter().map(|e| e.span).sum(), entries }
}

/// A machine that stands still stamps what came meanwhile when it goes on: what the hypervisor took of a round trip is no way.
/// `rounds` are their places, and when they began and ended on the client's clock.
fn stood_still(evidence: &Evidence<'_>, entries: &mut Vec<Entry>, rounds: &[(usize, i64, i64)]) {
    let Some(trace) = evidence.handshake.client_host.as_ref().filter(|_| evidence.far != Some(Side::Client)) else { return };
    let usual = rounds.iter().map(|(at, ..)| entries[*at].span).min().unwrap_or_default();
    for (at, from, to) in rounds {
        let stolen = trace.usage(Instant::from_nanos(*from), Instant::from_nanos(*to)).stolen;
        let stood = stolen.min(entries[*at].span - usual);
        if stood > Span::from_millis(1) {
            entries[*at].span -= stood;
            let cited = entries[*at].packets.clone();
            entries.push(Entry::new(entries[*at].phase, Owner::ClientHost, Kind::CpuStolen, stood, STAMP_ERROR).between(cited));
        }
    }
}

pub(super) fn span(arc: &Arc) -> Span {
    Span::from_nanos(arc.span())
}

pub(super) fn entry(arc: &Arc, owner: Owner, kind: impl Into<Option<Kind>>, error: Span) -> Entry {
    Entry::new(arc.phase, owner, kind, span(arc), error).between(arc.packets.into_iter().flatten())
}

/// A way out and back; what one of them lacks for being cut off is not known, and nothing.
fn round(evidence: &Evidence<'_>, out: Option<Arc>, back: Arc, extra: Option<Extra>, entries: &mut Vec<Entry>) {
    let Some(out) = out else { return }; // half a round, across two clocks, is no time
    // An acknowledgement of ours is guessed to come there a little early, so that what it let go lies behind it.
    let guessed = evidence.far.is_some() && extra.is_some();
    // No longer than what lies between the packets that are cited for it.
    let between = || evidence.apart(out.packets[0], back.packets[1]).unwrap_or(evidence.round_trip);
    let least = if guessed { Span::from_nanos(evidence.round_trip.min(between())) } else { Span::ZERO };
    let ways = (span(&out) + span(&back)).max(least);
    // What the far end's timestamps say of its way: beyond the quickest, whatever else happened.
    let late = match evidence.far {
        Some(Side::Client) => span(&out),
        Some(Side::Server) => span(&back),
        None => Span::ZERO,
    };
    let late = late.at_least_zero().min(ways);
    let error = if evidence.far.is_some() { Span::from_micros(500) } else { STAMP_ERROR + STAMP_ERROR };
    let cited = || [out.packets[0], back.packets[1]].into_iter().flatten();
    let mut round = Entry::round_trip(out.phase, ways - late, error).between(cited());
    round.filled_in = match evidence.far {
        None => out.known.max(back.known) == Known::Guessed,
        Some(far) => !evidence.is_measured(if far == Side::Server { &out } else { &back }),
    } || round.packets.len() < 2; // one of them was missed
    if let Some(far) = evidence.far {
        // One end cannot tell a long way towards the other from a machine that stood still there; nor, where no acknowledgement tells
        // that something had come, from a program that was slow, and an acknowledgement or an answer that was lost.
        let (came, host, program) = match far {
            Side::Client => (&back, Owner::ClientHost, Owner::Client),
            Side::Server => (&out, Owner::Edge, Owner::Edge),
        };
        let beyond = ways - Span::from_nanos(evidence.round_trip);
        let unsaid = came.known == Known::Guessed && beyond >= LEAST_TIMEOUT;
        // What was sent again meanwhile may have come at once, and its acknowledgement been lost.
        let again = || round.filled_in && evidence.sent_again(out.packets[0], back.packets[1]);
        let lost = unsaid || evidence.may_have_lost_its_answer(came, beyond) || again();
        round.candidates = Owner::Path | if unsaid { program } else { host };
        round.candidates |= if lost { Owner::Loss.into() } else { EnumSet::empty() };
        round.missing = evidence.capture(far).into();
    }
    if let Some(extra) = extra {
        asked_by(&mut round, extra, Side::Server);
    }
    entries.push(round);
    if late > Span::ZERO {
        let mut entry = Entry::new(back.phase, Owner::Path, Kind::Delay, late, TICK).between(cited());
        if evidence.far == Some(Side::Server) && !is_awake(evidence.handshake, back.from, back.to) {
            (entry.owner, entry.kind) = (Owner::Unattributed, None);
            (entry.candidates, entry.missing) = (Owner::Path | Owner::Client, Missing::ClientHost.into());
        }
        entries.push(entry);
    }
}

/// What asked for a round that no message did.
#[derive(Clone, Copy)]
enum Extra {
    Rule(Rule),
    HelloRetry,
}

impl Extra {
    /// Whose time it costs, `sender` having waited.
    fn owner(self, sender: Side) -> (Owner, Kind) {
        match self {
            Extra::HelloRetry => (Owner::Protocol, Kind::HelloRetry),
            Extra::Rule(Rule::ReceiveWindow) => (Owner::Protocol, Kind::ReceiveWindow),
            Extra::Rule(Rule::Nagle) => (Owner::Protocol, Kind::Nagle),
            Extra::Rule(Rule::CongestionWindow) => (Owner::Protocol, Kind::InitialWindow),
            Extra::Rule(Rule::Repair) => (Owner::Loss, direction(sender)),
        }
    }
}

fn asked_by(round: &mut Entry, extra: Extra, sender: Side) {
    let (owner, kind) = extra.owner(sender);
    (round.owner, round.kind, round.extra_round) = (owner, Some(kind), true);
}

pub(super) fn direction(side: Side) -> Kind {
    if side == Side::Client { Kind::Out } else { Kind::Back }
}

/// The last way out, paired with the quickest of the next few answers: the acknowledgement may be late, or lost. Nobody waits for it,
/// so its own way back is no longer than the ways back before it.
fn last_way(evidence: &Evidence<'_>, out: Option<Arc>, entries: &mut Vec<Entry>) {
    let Some(out) = out else { return };
    let [client, edge] = evidence.tapes;
    let behind = edge.events.iter().position(|e| e.at() >= out.to).unwrap_or(0);
    let way_back = |i: usize| {
        let event = &edge.events[i];
        let came = &client.events[event.other.filter(|_| edge.is_own(i))? as usize];
        // Guessed, it came a little early, so that what it let go lies behind it.
        let least = if evidence.far == Some(Side::Client) { evidence.round_trip } else { i64::MIN };
        Some((event.at(), came.at().max(event.at().saturating_add(least)), came.seen.packet))
    };
    let quickest = |ways: &mut dyn Iterator<Item = (i64, i64, u64)>| ways.take(5).min_by_key(|(left, came, _)| came - left);
    let next = quickest(&mut (behind..edge.events.len()).filter_map(way_back));
    let Some((from, to, answer)) = next.or_else(|| quickest(&mut (0..behind).rev().filter_map(way_back))) else {
        return;
    };
    let usual = match evidence.far {
        // On the clock of a tape that was told, a packet that is not late takes no time from it, and the whole round trip towards it.
        Some(Side::Server) => Some(0),
        Some(Side::Client) => Some(evidence.round_trip),
        None => (0..behind).filter_map(way_back).map(|(left, came, _)| came - left + USUAL_JITTER).min(),
    };
    let to = usual.map_or(to, |usual| to.min(from.saturating_add(usual)));
    let back = Arc { from, to, packets: [None, Some(answer)], side: Side::Server, known: Known::Captured, ..out };
    let begun = entries.len();
    round(evidence, Some(out), back, None, entries);
    if next.is_none() {
        // Its way back is that of an earlier packet: no two packets bound it.
        for entry in &mut entries[begun..] {
            (entry.filled_in, entry.packets) = (true, SmallVec::new());
        }
    }
}

/// An end's own stretch, divided by what its host says, or by what the other end can know of it.
fn worked(evidence: &Evidence<'_>, arc: &Arc, work: Work, neighbours: [Option<&Arc>; 2], entries: &mut Vec<Entry>) {
    let begun = entries.len();
    match evidence.far == Some(arc.side) {
        true => evidence.far_work(arc, work, neighbours, entries),
        false => evidence.near_work(arc, work, entries),
    }
    let own = |e: &&mut Entry| e.kind != Some(Kind::OldConnection) && (e.owner != Owner::Loss || evidence.far == Some(arc.side));
    for entry in entries[begun..].iter_mut().filter(own) {
        entry.worked = Some(Worked { side: arc.side, tail: work == Work::Tail });
    }
}

/// What had passed the client's capture, and had not come to the client yet.
fn late_behind_the_tap(arc: &Arc, under_way: &UnderWay, span: Span) -> Entry {
    let phase = match arc.phase {
        Phase::ClientHello => Phase::Connect,
        Phase::ClientFinished => Phase::ServerFlight,
        other => other,
    };
    let cited = [arc.packets[0], under_way.told.filter(|_| under_way.acknowledged)];
    let entry = |owner, kind| Entry::new(phase, owner, kind, span, STAMP_ERROR).between(cited.into_iter().flatten());
    if under_way.owners == Owner::Loss {
        return entry(Owner::Loss, Some(direction(Side::Server)));
    }
    let mut open = entry(Owner::Unattributed, None);
    (open.candidates, open.missing) = (under_way.owners, Missing::ClientHost.into());
    open
}

/// Who left unread what came to an end, until its window was shut.
pub(super) fn reader(side: Side) -> Owner {
    if side == Side::Client { Owner::ClientApp } else { Owner::Edge }
}

impl Evidence<'_> {
    fn near_work(&self, arc: &Arc, work: Work, entries: &mut Vec<Entry>) {
        let h = self.handshake;
        let mut cited = Cited::new();
        arc.packets.into_iter().flatten().for_each(|packet| cited.push(packet));
        if work == Work::Unread {
            return entries.push(entry(arc, reader(arc.side), Kind::ZeroWindow, STAMP_ERROR));
        }
        let unseen = self.far.is_some() || self.unseen == Some((arc.side, arc.to));
        if unseen && arc.known == Known::Guessed && arc.packets[1].is_none() && work == Work::Head {
            // When it left nobody saw, nor whether that was the first copy.
            let own = if arc.side == Side::Client { Owner::Client } else { Owner::Edge };
            let mut open = Entry::new(arc.phase, Owner::Unattributed, None, span(arc), STAMP_ERROR).between(cited);
            (open.candidates, open.missing) = (own | Owner::Path | Owner::Loss, Missing::LosslessCapture.into());
            return entries.push(open);
        }
        match arc.side {
            Side::Client => {
                let under_way = under_way(self.tapes[0], arc.packets[0], arc.packets[1])
                    .filter(|_| matches!(work, Work::Head | Work::Silence));
                self.clients_own(arc, cited, under_way, entries);
            }
            Side::Server if arc.phase == Phase::Connect && self.answered_for_another(arc) => {
                entries.push(entry(arc, Owner::EdgeHost, Kind::OldConnection, STAMP_ERROR));
            }
            Side::Server => {
                let (from, to) = (Instant::<Edge>::from_nanos(arc.from), Instant::from_nanos(arc.to));
                crate::conversation::ends::edge_side(h, arc.phase, from, to, arc.packets, entries);
            }
        }
    }

    /// The client's own stretch, without what was under way between it and a capture in front of it.
    fn clients_own(&self, arc: &Arc, cited: Cited, under_way: Option<UnderWay>, entries: &mut Vec<Entry>) {
        let Some(under_way) = under_way else {
            let (from, to) = (Instant::<Client>::from_nanos(arc.from), Instant::from_nanos(arc.to));
            return crate::conversation::ends::client_side(self.handshake, arc.phase, from, to, cited, entries);
        };
        let until = under_way.until.clamp(arc.from, arc.to);
        let cited: Cited = under_way.told.map_or(cited, |told| [Some(told), arc.packets[1]].into_iter().flatten().collect());
        let stamps = self.handshake.client.as_ref().map(|view| Stamps::of(view, Side::Client)).filter(Stamps::tell);
        let late = stamps.and_then(|s| late_to_the_tap(self.tapes[0], under_way.told, arc.packets[1], s.tick().nanos()));
        let late = late.unwrap_or(0).clamp(0, arc.to - until);
        entries.push(late_behind_the_tap(arc, &under_way, Span::from_nanos(until - arc.from)));
        let (from, to) = (Instant::<Client>::from_nanos(until), Instant::from_nanos(arc.to - late));
        crate::conversation::ends::client_side(self.handshake, arc.phase, from, to, cited.clone(), entries);
        if late > 0 {
            let mut open = Entry::new(arc.phase, Owner::Unattributed, None, Span::from_nanos(late), STAMP_ERROR).between(cited);
            (open.candidates, open.missing) = (Owner::Client | Owner::Path, Missing::ClientHost.into());
            entries.push(open);
        }
    }

    /// How far two packets lie apart at the near end.
    fn apart(&self, a: Option<u64>, b: Option<u64>) -> Option<i64> {
        let at = |number: Option<u64>| self.near().events.iter().find(|e| Some(e.seen.packet) == number).map(Event::at);
        Some(at(b)? - at(a)?)
    }

    /// Whether the far end answered what went this way so soon that no more than its round trip lies between the two, and in its own name:
    /// a SYN-ACK with another TTL than all that follows comes from somewhere else (a balancer).
    fn is_measured(&self, way: &Arc) -> bool {
        let near = self.near();
        let Some(i) = near.events.iter().position(|e| Some(e.seen.packet) == way.packets[0]) else { return false };
        let (sent, end) = (&near.events[i], near.events[i].range().1);
        let of_far = || near.events.iter().filter(|e| e.seen.from != near.end);
        let Some(answer) = near.events[i..].iter().find(|e| e.seen.from != near.end && e.seen.ack() >= Some(end)) else {
            return false;
        };
        let elsewhere = || of_far().any(|e| !e.seen.flags.syn() && e.seen.ttl != answer.seen.ttl);
        let noise = USUAL_JITTER + (self.round_trip / 10).min(USUAL_JITTER);
        answer.at() - sent.at() <= self.round_trip + noise && !(answer.seen.flags.syn() && elsewhere())
    }

    /// Whether what left the near end with one packet left it again before another packet came.
    fn sent_again(&self, left: Option<u64>, came: Option<u64>) -> bool {
        let near = self.near();
        let place = |number: Option<u64>| near.events.iter().position(|e| Some(e.seen.packet) == number);
        let (Some(left), Some(came)) = (place(left), place(came)) else { return false };
        let (_, end) = near.events[left].range();
        left < came
            && near.is_own(left)
            && near.events[left + 1..came].iter().any(|e| e.seen.from == near.end && e.carries(end - 1))
    }

    /// What would show this end.
    pub(super) fn capture(&self, side: Side) -> Missing {
        if side == Side::Client { Missing::ClientCapture } else { Missing::EdgeCapture }
    }

    pub(super) fn near(&self) -> &Tape {
        self.tapes[self.far.map_or(Side::Client, Side::peer) as usize]
    }
}

/// Whether the client's host is known to have been awake: one that stands still captures nothing, and what came meanwhile looks late.
fn is_awake(h: &Handshake, from: i64, to: i64) -> bool {
    to - from <= Span::from_millis(5).nanos()
        || h.client_host.is_some()
        || was_awake(&h.client_pulse, Instant::from_nanos(from), Instant::from_nanos(to))
}
