//! An end's own time: it lies between two packets of that end, as far apart as is said, and nothing new left the end in between.
//!
//! What only the other end's observer tells is held to less: it cannot be more than lies between the two packets there, nor more than the
//! end's own timestamps leave room for.

use smallvec::SmallVec;

use crate::clock::{Span, Unplaced};
use crate::judging::ledger::{Entry, Kind, Owner, Phase, Worked};
use crate::judging::verdict::End;
use crate::tcp::flow::{Seen, Side};

use super::witness::Witness;
use super::{Broken, Case, Claim, SLACK, side_of};

/// An acknowledgement may be put off for so long without its program's doing (RFC 9293, section 3.8.6.3); by other stacks than Linux.
const PUT_OFF: [Span; 2] = [Span::from_millis(45), Span::from_millis(210)];
const LINUX_TTL: u8 = 64;

/// One end's own time between the same two packets, however it is divided.
struct Stretch {
    side: Side,
    phase: Phase,
    tail: bool,
    packets: SmallVec<[u64; 2]>,
    claim: Claim,
    error: Span,
    /// Nobody else than the end can have had it.
    named: bool,
}

pub(super) fn check(case: &Case<'_>, found: &mut Vec<Broken>) {
    let stretches = stretches(case.entries());
    let last = stretches.len().saturating_sub(1);
    for (k, stretch) in stretches.iter().enumerate() {
        let Some(near) = case.near(stretch.side) else { continue };
        match stretch.packets[..] {
            [a, b] => {
                between(case, near, stretch, [a, b], found);
                // A turn lies in the phase of its first segment.
                let first = near.place(if stretch.tail { a } else { b }).map(|i| near.packets[i]);
                if first.is_some_and(|first| !of_phase(case, stretch, &first)) {
                    let why = "what left then is no part of that phase";
                    found.push(Broken::Unbound { claim: stretch.claim, packets: vec![a, b], why });
                }
            }
            // What it heard last, before it said nothing more.
            [a] if k == last && matches!(case.reading.end, End::Stopped { .. }) => silence(near, stretch, a, found),
            _ => {}
        }
    }
}

fn stretches(entries: &[Entry]) -> Vec<Stretch> {
    let mut found: Vec<Stretch> = Vec::new();
    for entry in entries.iter().filter(|e| e.phase != Phase::Dns && !e.packets.is_empty()) {
        // Those cite others' packets, or are looked at elsewhere.
        if matches!(entry.kind, Some(Kind::Dependency | Kind::ZeroWindow | Kind::OldConnection)) {
            continue;
        }
        let Some(Worked { side, tail }) = entry.worked else { continue };
        let named = side_of(entry.owner) == Some(side);
        let same = |s: &&mut Stretch| (s.side, s.phase, s.tail) == (side, entry.phase, tail) && s.packets == entry.packets;
        match found.iter_mut().find(same) {
            Some(stretch) => {
                stretch.claim.span += entry.span;
                stretch.error += entry.error;
                if named && !stretch.named {
                    (stretch.claim.owner, stretch.claim.kind) = (entry.owner, entry.kind);
                }
                stretch.named |= named;
            }
            None => found.push(Stretch {
                side,
                phase: entry.phase,
                tail,
                packets: entry.packets.clone(),
                claim: Claim::of(entry),
                error: entry.error,
                named,
            }),
        }
    }
    found
}

/// Whether what left at the end of a stretch is of the phase that the stretch is said to lie in.
fn of_phase(case: &Case<'_>, stretch: &Stretch, left: &Seen<Unplaced>) -> bool {
    let d = &case.handshake.dialogue;
    let hello = d.first_client_hello.or(d.client_hello);
    let (from, to) = match (stretch.side, stretch.phase) {
        (Side::Client, Phase::ClientHello) => (hello.map(|e| e.start), d.client_hello.map(|e| e.end)),
        (Side::Client, Phase::ClientFinished) => (d.client_hello.map(|e| e.end), d.client_finished.map(|e| e.end)),
        (Side::Client, Phase::Request) => (d.client_finished.map(|e| e.end), Some(i64::MAX)),
        (Side::Server, Phase::ServerFlight) => (d.hello_retry.map(|e| e.end).or(Some(0)), d.server_flight.map(|e| e.end)),
        (Side::Server, Phase::Finish) => (d.server_flight.map(|e| e.end), d.server_finished.map(|e| e.end)),
        _ => (None, None),
    };
    let whole = stretch.phase == Phase::Request;
    let Some((from, to)) = from.zip(to).filter(|_| left.from == stretch.side && !left.is_empty()) else { return true };
    if whole { left.start() >= from } else { left.start() < to && left.end() > from }
}

fn between(case: &Case<'_>, near: &Witness, stretch: &Stretch, packets: [u64; 2], found: &mut Vec<Broken>) {
    let Stretch { side, claim, .. } = *stretch;
    let unbound = |why| Broken::Unbound { claim, packets: packets.to_vec(), why };
    let [Some(a), Some(b)] = packets.map(|n| near.place(n)) else {
        return found.push(unbound("one of them is not in the capture at that end"));
    };
    let (from, to) = (near.packets[a], near.packets[b]);
    if to.from != side {
        return found.push(unbound("the second did not leave that end"));
    }
    // Where the observer stands before the client, its acknowledgement tells that something had come.
    // So it does, wherever the observer stands, of what the capture missed.
    let unseen = || {
        let seen = near.packets[..a].iter().filter(|p| p.from != side).map(Seen::end).max();
        from.ack() > seen
    };
    let confirms = from.from == side && from.is_empty() && from.ack().is_some() && (near.end == side || unseen());
    if (from.from == side) != stretch.tail && !confirms {
        return found.push(unbound(if stretch.tail {
            "the first did not leave that end"
        } else {
            "the first did not come to that end"
        }));
    }
    if stretch.tail && from.flags.syn() && side == Side::Server {
        return found.push(unbound("behind its SYN-ACK that end may only speak when it is acknowledged"));
    }
    let apart = to.at - from.at;
    let own = near.end == side;
    // Of two packets of the far end the first may have come late; its timestamps tell how far apart they left.
    let left_apart = near.left_apart(&from, &to).filter(|_| !own && stretch.tail).unwrap_or_default();
    let most = apart.max(left_apart) + stretch.error + SLACK + if own { Span::ZERO } else { near.tick(side) };
    let divided = claim.kind.is_some();
    let less = own && !divided && claim.span < apart - stretch.error - SLACK;
    if claim.span > most || less {
        found.push(Broken::Distance { claim, packets, apart });
    }
    // All that lies in between is one turn: nothing new of the peer's came, or the end answered that.
    let known = if stretch.tail || confirms { from.ack() } else { Some(from.end()) };
    // Nor is that newer which the far end had before it: it told so, lacking the first packet.
    let lacked = |a: &&Seen<Unplaced>| !own && a.ack() < Some(from.end()) && !near.sack(a).is_empty();
    let had = |end: i64| near.sent_by(side).filter(lacked).any(|a| near.sack(a).iter().any(|(l, r)| *l < end && end <= *r));
    // Nor what comes before it is asked for: nobody waits for that.
    let asked = case.handshake.dialogue.answers_upto(side, to.start()).unwrap_or(i64::MAX);
    let newer = |p: &&Seen<Unplaced>| {
        let end = p.end();
        p.from != side && !p.is_empty() && p.start() < asked && Some(end) > known && Some(end) <= to.ack() && !had(end)
    };
    if let Some(newer) = near.packets.iter().take(b).skip(a + 1).find(newer).filter(|_| known.is_some()) {
        found.push(Broken::Newer { claim, packets, newer: newer.packet });
    }
    if !stretch.tail {
        // Across the network, what left before the first packet came there may still arrive; what acknowledges it did not.
        let behind = |p: &Seen<Unplaced>| p.at > from.at && (own || p.ack() >= Some(from.end()));
        // With its opening an end answers what came with the peer's (RFC 7413) only in part.
        let opens = |p: &Seen<Unplaced>| p.flags.syn() && from.flags.syn() && !from.is_empty();
        let new = |i: &usize| near.packets[*i].from == side && near.is_new(*i) && !opens(&near.packets[*i]);
        let spoke = (a + 1..b).find(|i| new(i) && behind(&near.packets[*i]));
        if let Some(i) = spoke {
            found.push(Broken::Spoke { claim, side, packets: packets.to_vec(), new: near.packets[i].packet });
        }
        if !own && stretch.named {
            found.extend(told(near, stretch, (&from, &to), packets));
        }
    }
}

/// What the far end's own timestamps leave room for: it sent something before the first packet can have come there, or told at once
/// that it had.
fn told(near: &Witness, stretch: &Stretch, (from, to): (&Seen<Unplaced>, &Seen<Unplaced>), packets: [u64; 2]) -> Option<Broken> {
    let side = stretch.side;
    let since = |p: &Seen<Unplaced>| near.left_apart(p, to);
    let before = near.sent_by(side).rfind(|p| p.at <= from.at && !p.flags.rst()).and_then(since);
    let acknowledges = |p: &&Seen<Unplaced>| p.pure_ack() && p.at > from.at && p.at < to.at && p.ack() >= Some(from.end());
    let put_off = PUT_OFF[usize::from(to.ttl > LINUX_TTL)];
    let soon = near.sent_by(side).find(acknowledges).filter(|_| !from.flags.syn()).and_then(since).map(|told| told + put_off);
    let told = [before, soon].into_iter().flatten().min()?;
    let slack = stretch.error + near.tick(side) + SLACK + (to.at - from.at).percent(3);
    (told >= Span::ZERO && stretch.claim.span > told + slack).then_some(Broken::Stamps { claim: stretch.claim, packets, told })
}

/// It heard this, and said nothing more until nobody waited or watched.
fn silence(near: &Witness, stretch: &Stretch, heard: u64, found: &mut Vec<Broken>) {
    let Stretch { side, claim, .. } = *stretch;
    let Some(a) = near.place(heard) else {
        return found.push(Broken::Unbound { claim, packets: vec![heard], why: "it is not in the capture at that end" });
    };
    let over = near.packets.iter().position(|p| p.flags.fin() || p.flags.rst()).unwrap_or(near.packets.len());
    if let Some(i) = (a + 1..over).find(|i| near.packets[*i].from == side && near.is_new(*i)) {
        found.push(Broken::Spoke { claim, side, packets: vec![heard], new: near.packets[i].packet });
    }
    let end = near.packets.last().map_or(near.packets[a].at, |p| p.at);
    let apart = end - near.packets[a].at;
    if claim.span > apart + stretch.error + SLACK && stretch.named && claim.owner != Owner::Unattributed {
        found.push(Broken::Distance { claim, packets: [heard, near.packets[near.packets.len() - 1].packet], apart });
    }
}
