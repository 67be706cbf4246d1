//! From a ledger to faults: for each stretch that took too long, the fault that takes as long there.

use std::time::Duration;

use analysis::clock::Span;
use analysis::conversation::milestone::Milestone;
use analysis::judging::ledger::Entry;
use analysis::judging::verdict::{End, Verdict};
use analysis::judging::vocabulary::{Kind, Missing, Owner, Phase};
use enumset::EnumSet;
use lab::wire::Message;
use records::handshake::Judged;

use super::blank::length;
use super::report::Stretch;
use super::{CLIENT, EDGE, LEAST, Piece, Sketch};
use crate::duration::Length;
use crate::faults::{
    AcceptQueue, AnswerBefore, ClientPause, CpuQuota, Detour, Direction, DnsDelay, DropMessage, EdgeDelay, Fault, Hold, Mtu,
    Refuse, Reset, Stop,
};

/// What the lab's own programs work in a turn, about: what the original's did beyond that is made up for.
pub(super) const LAB_WORK: Span = Span::from_millis(1);
/// The rounds of a detour agree about how much longer they are by so much.
const EVEN: i64 = 50;
/// Packets above this vanish in a black hole: less than a full one, more than a hello.
const BLACK_HOLE: u32 = 1_400;
/// Of time that is left out.
const UNKNOWN: &str = "whose it was, the evidence does not tell";
/// SYN is sent again after a second and, by Linux since 6.5, after each further one.
const SYN_AGAIN: Span = Span::from_millis(1_000);

/// Adds the faults that a ledger tells of.
pub(super) fn of_ledger(sketch: &mut Sketch, judged: &Judged) {
    let entries = &judged.reading.ledger.entries;
    let aborted = match &judged.judgement.verdict {
        Verdict::Aborted { by, after } => {
            abort(sketch, *by, *after);
            true
        }
        Verdict::Inconclusive { candidates, missing, .. } => unproven(sketch, judged, *candidates, *missing),
        Verdict::Healthy | Verdict::Culprit { .. } => false,
    };
    // Of one that failed, what it took until then is not what is asked about.
    let least = if aborted { judged.judgement.floor.max(LEAST) } else { LEAST };
    let slow: Vec<&Entry> = entries.iter().filter(|e| e.excess() > least && e.owner != Owner::Unattributed).collect();
    if let Verdict::Healthy = judged.judgement.verdict {
        ordinary(sketch, entries);
        return;
    }
    let rounds: Vec<&Entry> =
        entries.iter().filter(|e| e.owner == Owner::Path && e.round_trip && !e.extra_round && !e.filled_in).collect();
    let detour = detour(&rounds);
    if let Some(extra) = detour {
        let fault = Detour { from: None, to: EDGE.into(), extra_rtt: length(extra), direction: Direction::Both };
        let phase = rounds.iter().max_by_key(|e| e.excess()).map_or(Phase::ServerFlight, |e| e.phase);
        let piece = Piece { fault: "detour".into(), phase, owner: Owner::Path, span: extra, open: false };
        put(sketch, piece, Fault::Detour(fault));
    }
    // Work of one end in one phase may lie in several pieces: one sleep stands for all of them.
    let mut done: Vec<(Phase, Owner)> = Vec::new();
    for entry in &slow {
        let owner = entry.owner.side();
        // What a reset stood in place of looks lost.
        let reset = aborted && owner == Owner::Loss;
        if reset || owner == Owner::Protocol || owner == Owner::Path && detour.is_some() || done.contains(&(entry.phase, owner)) {
            continue;
        }
        done.push((entry.phase, owner));
        if second_hello(sketch, entries, entry) {
            let why = "the lab's client sleeps before its first ClientHello, not behind a HelloRetryRequest";
            sketch.cannot.push(format!("{} of {} ({}): {why}", entry.span, owner.label(), entry.phase.words()));
            continue;
        }
        // What nobody can name is as long for whoever is named beside it.
        let open = !slow.iter().any(|e| e.phase == entry.phase && e.owner.side() != owner);
        let span = made_up_for(entries, entry.phase, owner, open);
        let kind = entry.kind;
        match stretch(sketch, entry.phase, entry.owner, kind, span) {
            Ok((name, fault)) => put(sketch, Piece { fault: name.into(), phase: entry.phase, owner, span, open }, fault),
            Err(why) => sketch.cannot.push(format!("{span} of {} ({}): {why}", owner.label(), entry.phase.words())),
        }
    }
    for entry in entries.iter().filter(|e| e.owner == Owner::Unattributed && e.excess() > least) {
        let stands_for = |piece: &Piece| piece.open && piece.phase == entry.phase && may_be(entry, piece.owner);
        let why = match sketch.pieces.iter().any(stands_for) {
            true => "whose it was, the evidence does not tell: it is put to the other's beside it",
            false if slow.iter().any(|e| e.phase == entry.phase) => UNKNOWN,
            false => guess(sketch, entries, entry),
        };
        sketch.cannot.push(format!("{} of {} ({}): {why}", entry.excess(), entry.owner.label(), entry.phase.words()));
    }
}

/// Puts time of which nobody can tell whose it was, and beside which nobody had any, to the one who usually has it there, or else to another
/// of those whose it may have been: seen from the same end, a run then leaves the same open. What is said of it.
fn guess(sketch: &mut Sketch, entries: &[Entry], entry: &Entry) -> &'static str {
    let usual = Stretch::Phase(entry.phase).usual().map(|(_, owner, ..)| owner);
    let mut candidates: Vec<Owner> = entry.candidates.iter().map(Owner::side).collect();
    candidates.sort_by_key(|owner| Some(*owner) != usual);
    for owner in candidates {
        let span = made_up_for(entries, entry.phase, owner, true);
        if let Ok((name, fault)) = stretch(sketch, entry.phase, owner, None, span) {
            put(sketch, Piece { fault: name.into(), phase: entry.phase, owner, span, open: true }, fault);
            return match owner {
                Owner::Client => "whose it was, the evidence does not tell: the client's, which is a guess",
                Owner::Edge => "whose it was, the evidence does not tell: the edge's, which is a guess",
                Owner::Path => "whose it was, the evidence does not tell: the path's, which is a guess",
                _ => "whose it was, the evidence does not tell: what usually takes so long there, which is a guess",
            };
        }
    }
    UNKNOWN
}

/// Somebody broke it off, and one end's capture cannot prove who: that end did, or something on the way in its name. Whether that is it.
fn unproven(sketch: &mut Sketch, judged: &Judged, candidates: EnumSet<Owner>, missing: EnumSet<Missing>) -> bool {
    let End::Stopped { after } = judged.reading.end else { return false };
    let end = [(Owner::Client, Missing::ClientCapture), (Owner::Edge, Missing::EdgeCapture)];
    let Some((by, _)) = end.into_iter().find(|(by, of)| missing == EnumSet::only(*of) && candidates == *by | Owner::Path) else {
        return false;
    };
    for by in [by, Owner::Path] {
        if let Ok((phase, name, fault)) = broken_off(by, after) {
            put(sketch, Piece { fault: name.into(), phase, owner: by, span: Span::ZERO, open: false }, fault);
            sketch.cannot.push(format!(
                "who ended it after {}, the evidence does not tell: the {}, which is a guess",
                after.name(),
                by.label()
            ));
            return true;
        }
    }
    false
}

/// What a fault has to make up for in a phase: of an end all beyond what the lab's own does, whatever is usual for the original; of the way
/// what is beyond its round trips, which the lab has too. With `open`, also what may have been this owner's.
pub(super) fn made_up_for(entries: &[Entry], phase: Phase, owner: Owner, open: bool) -> Span {
    let own = entries.iter().filter(|e| e.phase == phase && (e.owner.side() == owner || open && may_be(e, owner)));
    match owner {
        Owner::Client | Owner::Edge => (own.map(|e| e.span).sum::<Span>() - LAB_WORK).at_least_zero(),
        _ => own.map(Entry::excess).sum(),
    }
}

/// Whether nobody can tell whose it was, and it may have been this owner's.
fn may_be(entry: &Entry, owner: Owner) -> bool {
    entry.owner == Owner::Unattributed && entry.candidates.iter().any(|c| c.side() == owner)
}

/// Whether it is the client's time before its second ClientHello.
fn second_hello(sketch: &Sketch, entries: &[Entry], entry: &Entry) -> bool {
    let before = |e: &&Entry| e.phase == Phase::ClientHello && e.owner.side() == Owner::Client;
    sketch.scenario.targets[0].hello_retry
        && before(&entry)
        && entries.iter().find(before).is_some_and(|first| !std::ptr::eq(first, entry))
}

/// Nothing is wrong: the ends' ordinary work takes as long, in every round.
fn ordinary(sketch: &mut Sketch, entries: &[Entry]) {
    for phase in Phase::ALL.iter().copied().filter(|phase| *phase != Phase::Connect) {
        for owner in [Owner::Client, Owner::Edge] {
            let span = made_up_for(entries, phase, owner, false);
            if span < LAB_WORK {
                continue;
            }
            match stretch(sketch, phase, owner, None, span) {
                Ok((name, fault)) => put(sketch, Piece { fault: name.into(), phase, owner, span, open: false }, fault),
                Err(why) => {
                    let all = span + LAB_WORK;
                    sketch.cannot.push(format!("{all} of ordinary work of the {} ({}): {why}", owner.label(), phase.words()))
                }
            }
        }
    }
}

/// By how much every round trip was longer, if all of them were, and about as much.
fn detour(rounds: &[&Entry]) -> Option<Span> {
    let mut excess: Vec<Span> = rounds.iter().map(|e| e.excess()).collect();
    excess.sort_unstable();
    let (least, most) = (*excess.first()?, *excess.last()?);
    (excess.len() > 1 && least > LEAST && least >= most.percent(EVEN)).then(|| excess[excess.len() / 2])
}

/// Adds a fault and what it stands for, under a name that is free.
pub(super) fn put(sketch: &mut Sketch, piece: Piece, fault: Fault) {
    let faults = &mut sketch.scenario.faults;
    let name = piece.fault.as_str();
    let free = (2..).map(|n| format!("{name}-{n}")).find(|name| !faults.contains_key(name));
    let name = if faults.contains_key(name) { free.unwrap_or_default() } else { name.to_owned() };
    faults.insert(name.clone(), fault);
    sketch.pieces.push(Piece { fault: name, ..piece });
}

/// The fault that costs an owner so long in a phase.
///
/// # Errors
/// Why the lab has none.
pub(super) fn stretch(
    sketch: &mut Sketch,
    phase: Phase,
    owner: Owner,
    kind: Option<Kind>,
    span: Span,
) -> Result<(&'static str, Fault), &'static str> {
    let length = length(span);
    match (owner.side(), kind) {
        (_, Some(Kind::MtuBlackhole)) => {
            sketch.scenario.client.timeout = sketch.scenario.client.timeout.min(Length::secs(4));
            Ok(("mtu", Fault::Mtu(Mtu { from: None, to: EDGE.into(), bytes: BLACK_HOLE, direction: Direction::Back })))
        }
        (Owner::Edge, Some(Kind::AcceptQueue)) => {
            sketch.scenario.client.concurrency = 6;
            Ok((
                "queue",
                Fault::AcceptQueue(AcceptQueue { on: EDGE.into(), interval: length.min(Length::millis(500)), backlog: 1 }),
            ))
        }
        (Owner::Client, Some(Kind::CpuStarved)) => {
            sketch.scenario.client.concurrency = 8;
            Ok(("quota", Fault::CpuQuota(CpuQuota { on: CLIENT.into(), cpus: 0.2, burners: 0 })))
        }
        (Owner::Edge, Some(Kind::CpuStarved)) => {
            Ok(("quota", Fault::CpuQuota(CpuQuota { on: EDGE.into(), cpus: 0.1, burners: 2 })))
        }
        (Owner::Client, Some(Kind::Stopped)) => {
            // While the flight is on its way: behind the lookup, SYN and ClientHello.
            let running = Length(sketch.scenario.targets[0].rtt.0 * 3 / 2 + Duration::from_millis(15));
            Ok(("stop", Fault::Stop(Stop { on: CLIENT.into(), running, stopped: length })))
        }
        (Owner::Client, _) => client(phase, length),
        (Owner::Edge, _) => edge(sketch, phase, length),
        (Owner::Path, _) => hold(phase, length),
        (Owner::Loss, kind) => loss(sketch, phase, kind, span),
        (Owner::Resolver, _) => Ok(("dns", Fault::DnsDelay(DnsDelay { length }))),
        (Owner::Unattributed, _) => Err(UNKNOWN),
        _ => Err("the lab has no fault for that"),
    }
}

fn client(phase: Phase, length: Length) -> Result<(&'static str, Fault), &'static str> {
    let before = match phase {
        Phase::ClientHello => agent::PauseBefore::ClientHello,
        Phase::ClientFinished => agent::PauseBefore::ClientFinished,
        _ => return Err("the lab's client sleeps only before ClientHello and before its Finished"),
    };
    Ok(("pause", Fault::ClientPause(ClientPause { on: None, before, length })))
}

fn edge(sketch: &Sketch, phase: Phase, length: Length) -> Result<(&'static str, Fault), &'static str> {
    let target = &sketch.scenario.targets[0];
    let before = match phase {
        Phase::BeforeTls if target.before_tls.is_some() => AnswerBefore::Plaintext,
        Phase::HelloRetry if target.hello_retry => AnswerBefore::HelloRetry,
        Phase::ServerFlight => AnswerBefore::ServerHello,
        Phase::Finish | Phase::Request => AnswerBefore::ServerFinished,
        _ => return Err("the lab's edge sleeps only before its answers"),
    };
    Ok(("slow", Fault::EdgeDelay(EdgeDelay { on: EDGE.into(), before, length })))
}

fn hold(phase: Phase, length: Length) -> Result<(&'static str, Fault), &'static str> {
    let message = match phase {
        Phase::Connect => Message::SynAck,
        Phase::ClientHello => Message::ClientHello,
        Phase::HelloRetry | Phase::ServerFlight => Message::ServerFlight,
        Phase::ClientFinished | Phase::Finish => Message::ClientFinished,
        _ => return Err("the lab's wire holds messages of the handshake alone"),
    };
    Ok(("hold", Fault::Hold(Hold { from: None, to: EDGE.into(), message: Some(message), after: None, segment: 0, length })))
}

fn loss(sketch: &Sketch, phase: Phase, kind: Option<Kind>, span: Span) -> Result<(&'static str, Fault), &'static str> {
    let out = kind != Some(Kind::Back);
    let message = match (phase, out) {
        (Phase::Connect, true) => Message::Syn,
        (Phase::Connect, false) => Message::SynAck,
        (Phase::ClientHello | Phase::HelloRetry | Phase::ServerFlight, true) => Message::ClientHello,
        (Phase::HelloRetry | Phase::ServerFlight, false) => Message::ServerFlight,
        (Phase::ClientFinished | Phase::Finish, true) => Message::ClientFinished,
        _ => return Err("the lab's wire loses messages of the handshake alone"),
    };
    let copies = match message {
        Message::Syn | Message::SynAck => ((span.nanos() + SYN_AGAIN.nanos() / 2) / SYN_AGAIN.nanos()).clamp(1, 6),
        _ => 1,
    };
    // What ends a flight is missed by nobody until a timer says so; of a HelloRetryRequest there is one segment.
    let segment = match (message, phase) {
        // What others follow is missed within a round trip or so (RFC 8985).
        (Message::ServerFlight, Phase::ServerFlight) if span > round_trip(sketch) * 2 => sketch.last_segment(),
        (Message::ServerFlight, Phase::ServerFlight) => usize::from(sketch.scenario.targets[0].hello_retry),
        (Message::ClientHello, Phase::ServerFlight) => usize::from(sketch.scenario.targets[0].hello_retry),
        _ => 0,
    };
    let copies = u32::try_from(copies).unwrap_or(1);
    Ok(("loss", Fault::Drop(DropMessage { from: None, to: EDGE.into(), message, segment, copies })))
}

fn round_trip(sketch: &Sketch) -> Span {
    Span::from_nanos(sketch.scenario.targets[0].rtt.nanos())
}

impl Sketch {
    /// The last segment of the server's flight, by its size.
    pub(super) fn last_segment(&self) -> usize {
        const SEGMENT: usize = 1_448;
        let edge = &self.scenario.targets[0];
        let retry = usize::from(edge.hello_retry);
        edge.chain_bytes.map_or(retry, |bytes| retry + (bytes + 400) / SEGMENT)
    }
}

fn abort(sketch: &mut Sketch, by: Owner, after: Milestone) {
    match broken_off(by.side(), after) {
        Ok((phase, name, fault)) => {
            put(sketch, Piece { fault: name.into(), phase, owner: by.side(), span: Span::ZERO, open: false }, fault)
        }
        Err(why) => sketch.cannot.push(format!("it ended after {}, by the {}: {why}", after.words(), by.words())),
    }
}

/// The fault by which somebody breaks off behind a milestone, and where that shows.
fn broken_off(by: Owner, after: Milestone) -> Result<(Phase, &'static str, Fault), &'static str> {
    let reset = |message| ("reset", Fault::Reset(Reset { from: None, to: EDGE.into(), message, segment: 0 }));
    let refuse = |on: &str| ("refuse", Fault::Refuse(Refuse { on: on.into() }));
    let (phase, (name, fault)) = match (by, after) {
        (Owner::Path, Milestone::Syn) => (Phase::Connect, reset(Message::SynAck)),
        (Owner::Path, Milestone::SynAck | Milestone::Ack) => (Phase::ClientHello, reset(Message::ClientHello)),
        (Owner::Path, Milestone::ClientHello) => (Phase::ServerFlight, reset(Message::ServerFlight)),
        (Owner::Path, Milestone::ServerHello | Milestone::ServerFlightEnd | Milestone::FlightAck) => {
            (Phase::Finish, reset(Message::ClientFinished))
        }
        (Owner::Client, Milestone::ServerHello | Milestone::ServerFlightEnd | Milestone::FlightAck) => {
            (Phase::ClientFinished, refuse(CLIENT))
        }
        (Owner::Edge, Milestone::ClientHello) => (Phase::ServerFlight, refuse(EDGE)),
        _ => return Err("no end of the lab breaks off there"),
    };
    Ok((phase, name, fault))
}
