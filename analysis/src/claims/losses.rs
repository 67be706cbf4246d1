//! Losses: what was lost was sent again, the first copy did not come, and the second left as much later as is said.

use smallvec::SmallVec;

use crate::clock::Unplaced;
use crate::judging::ledger::{Entry, Kind, Owner};
use crate::tcp::flow::{Seen, Side};

use super::witness::Witness;
use super::{Broken, Case, Claim, SLACK};

pub(super) fn check(case: &Case<'_>, found: &mut Vec<Broken>) {
    for entry in case.entries().iter().filter(|e| !e.extra_round) {
        match (entry.owner, entry.kind) {
            (Owner::Loss, Some(Kind::Out)) => lost(case, entry, Side::Client, found),
            (Owner::Loss, Some(Kind::Back)) => lost(case, entry, Side::Server, found),
            (Owner::Path, Some(Kind::MtuBlackhole)) => blackhole(case, entry, found),
            _ => {}
        }
    }
}

/// Whether an entry is the time from one copy of something to another.
pub(super) fn of_two_copies(case: &Case<'_>, entry: &Entry) -> bool {
    let both = |w: &Witness| match places(w, entry)[..] {
        // What was captured in one piece may be sent again in several.
        [a, b] => a != b && w.packets[a].from == w.packets[b].from && overlap(&w.packets[a], &w.packets[b]),
        _ => false,
    };
    case.witnesses().any(both)
}

fn places(w: &Witness, entry: &Entry) -> SmallVec<[usize; 2]> {
    entry.packets.iter().filter_map(|n| w.place(*n)).collect()
}

fn lost(case: &Case<'_>, entry: &Entry, side: Side, found: &mut Vec<Broken>) {
    let claim = Claim::of(entry);
    let packets = || entry.packets.to_vec();
    let Some(sender) = case.at(side) else { return told(case, entry, side, found) };
    let at = places(sender, entry);
    if at.is_empty() && put_off(case, entry, side) {
        return;
    }
    if at.len() != entry.packets.len() {
        return found.push(Broken::Unbound { claim, packets: packets(), why: "not all are in the capture of whoever sent them" });
    }
    match at[..] {
        // It never came.
        [a] => {
            let p = sender.packets[a];
            if p.from != side {
                return found.push(Broken::Unbound { claim, packets: packets(), why: "whoever is said to have sent it did not" });
            }
            let came = sender.arrival(side, p.end()).or_else(|| case.at(side.peer()).and_then(|w| w.arrival(side, p.end())));
            if came.is_some() && !p.is_empty() {
                found.push(Broken::NotLost { claim, packets: packets(), sent: sender.copies(&p).count(), came: 1 });
            }
        }
        [a, b] if sender.packets[a].pure_ack() && sender.packets[a].from == side => unheard(case, entry, sender, [a, b], found),
        [a, b] if sender.packets[a].from == side => copies(case, entry, sender, [a, b], found),
        // From what told of a loss to what could leave then: something was lost.
        [_, b] if !repaired(sender, side, b) => {
            found.push(Broken::NotLost { claim, packets: packets(), sent: 1, came: 1 });
        }
        _ => {}
    }
}

/// From data to its acknowledgement at the other end, which the repair waited for.
fn put_off(case: &Case<'_>, entry: &Entry, side: Side) -> bool {
    let Some(w) = case.at(side.peer()) else { return false };
    let [a, b] = places(w, entry)[..] else { return false };
    let (data, ack) = (w.packets[a], w.packets[b]);
    let apart = ack.at - data.at;
    data.from == side && ack.from != side && (apart - entry.span).abs() <= entry.error + SLACK
}

fn copies(case: &Case<'_>, entry: &Entry, sender: &Witness, [a, b]: [usize; 2], found: &mut Vec<Broken>) {
    let (first, second) = (sender.packets[a], sender.packets[b]);
    let claim = Claim::of(entry);
    let apart = second.at - first.at;
    if (apart - entry.span).abs() > entry.error + SLACK {
        found.push(Broken::Distance { claim, packets: [first.packet, second.packet], apart });
    }
    let shared = |p: &Seen<Unplaced>| overlap(p, &first) && overlap(p, &second);
    let again = overlap(&first, &second);
    let sent = sender.sent_by(first.from).filter(|p| shared(p)).count();
    let came = case.at(first.from.peer()).map_or(0, |w| w.sent_by(first.from).filter(|p| shared(p)).count());
    if !again || sent < 2 || came >= sent {
        found.push(Broken::NotLost { claim, packets: entry.packets.to_vec(), sent, came });
    }
}

/// An acknowledgement that never came, and one that told as much.
fn unheard(case: &Case<'_>, entry: &Entry, sender: &Witness, [a, b]: [usize; 2], found: &mut Vec<Broken>) {
    let (first, second) = (sender.packets[a], sender.packets[b]);
    let claim = Claim::of(entry);
    let apart = second.at - first.at;
    if (apart - entry.span).abs() > entry.error + SLACK {
        found.push(Broken::Distance { claim, packets: [first.packet, second.packet], apart });
    }
    let same =
        |p: &&Seen<Unplaced>| p.pure_ack() && (p.ack(), p.tsval(), p.ip_id()) == (first.ack(), first.tsval(), first.ip_id());
    let sent = sender.sent_by(first.from).filter(same).count();
    let came = case.at(first.from.peer()).map_or(0, |w| w.sent_by(first.from).filter(same).count());
    if second.from != first.from || second.ack() < first.ack() || came >= sent {
        found.push(Broken::NotLost { claim, packets: entry.packets.to_vec(), sent, came });
    }
}

fn overlap(a: &Seen<Unplaced>, b: &Seen<Unplaced>) -> bool {
    let syn = a.flags.syn() && b.flags.syn();
    syn || !a.is_empty() && !b.is_empty() && a.start() < b.end() && b.start() < a.end()
}

/// Whether something of a side was sent again, or holes were told, before place `i`.
fn repaired(w: &Witness, side: Side, i: usize) -> bool {
    let again = |k: usize| w.packets[k].from == side && !w.packets[k].is_empty() && !w.is_new(k);
    let hole = |p: &Seen<Unplaced>| p.from != side && w.sack(p).iter().any(|(left, _)| Some(*left) > p.ack());
    (0..i).any(again) || w.packets[..i].iter().any(hole)
}

/// What the other end's capture alone can show of it: a repetition, a hole, or a number left out.
fn told(case: &Case<'_>, entry: &Entry, side: Side, found: &mut Vec<Broken>) {
    let Some(w) = case.at(side.peer()) else { return };
    let at = places(w, entry);
    let [a, b] = at[..] else {
        if at.len() < entry.packets.len() {
            let why = "not all are in the capture";
            found.push(Broken::Unbound { claim: Claim::of(entry), packets: entry.packets.to_vec(), why });
        }
        return;
    };
    let last = w.packets[b];
    let beyond = w.packets[..b].iter().any(|p| p.from == side && !p.is_empty() && p.start() >= last.end());
    let twice = w.copies(&last).count() > 1 || w.copies(&w.packets[a]).count() > 1;
    let left_out = || {
        let before = w.packets[..b].iter().rfind(|p| p.from == side)?;
        let step = last.ip_id()?.wrapping_sub(before.ip_id()?);
        Some((2..=64).contains(&step) || before.at >= w.packets[a].at)
    };
    if !beyond && !twice && left_out() != Some(true) && !repaired(w, side, b) {
        let packets = entry.packets.to_vec();
        found.push(Broken::NotLost { claim: Claim::of(entry), packets, sent: 1, came: 1 });
    }
    // Of two packets of the far end the first may have come late; its timestamps tell how far apart they left.
    let first = w.packets[a];
    let left_apart = w.left_apart(&first, &last).filter(|_| first.from == side).unwrap_or_default();
    let apart = (last.at - first.at).max(left_apart);
    if entry.span > apart + entry.error + SLACK + w.tick(side) {
        found.push(Broken::Distance { claim: Claim::of(entry), packets: [w.packets[a].packet, last.packet], apart });
    }
}

/// Big packets of a side were sent more than once and never came whole; smaller ones came.
fn blackhole(case: &Case<'_>, entry: &Entry, found: &mut Vec<Broken>) {
    let claim = Claim::of(entry);
    let Some(side) = entry.packets.first().and_then(|n| case.witnesses().find_map(|w| Some(w.packets[w.place(*n)?].from))) else {
        return;
    };
    let Some(sender) = case.at(side) else { return };
    let big = sender.sent_by(side).filter(|p| !p.is_empty() && p.ip_len > 576);
    let again = |p: &&Seen<Unplaced>| sender.sent_by(side).any(|q| q.packet != p.packet && overlap(p, q));
    let Some(vanished) = big.filter(again).max_by_key(|p| p.ip_len) else {
        return found.push(Broken::NoBlackhole { claim, packet: None });
    };
    if let Some(receiver) = case.at(side.peer()) {
        let whole = receiver.sent_by(side).find(|p| p.ip_len >= vanished.ip_len && !p.is_empty());
        if let Some(whole) = whole {
            found.push(Broken::NoBlackhole { claim, packet: Some(whole.packet) });
        }
    }
}
