//! Sums: a ledger of its entries, a judgement of its ledger; and that what is cited is there at all.

use crate::clock::Span;
use crate::judging::ledger::{Entry, Missing, Owner, Phase};
use crate::judging::verdict::Verdict;

use super::witness::Witness;
use super::{Broken, Case, Claim, SLACK};

pub(super) fn check(case: &Case<'_>, found: &mut Vec<Broken>) {
    let (ledger, judgement) = (&case.reading.ledger, case.judgement);
    let sum: Span = ledger.entries.iter().map(|e| e.span).sum();
    if sum != ledger.total {
        found.push(Broken::Sum { entries: sum, total: ledger.total });
    }
    for entry in &ledger.entries {
        if entry.span <= Span::ZERO || entry.baseline > entry.span || entry.baseline < Span::ZERO || entry.error < Span::ZERO {
            found.push(Broken::NoTime { claim: Claim::of(entry), baseline: entry.baseline });
        }
        if entry.kind.is_some_and(|kind| !kind.owners().contains(entry.owner)) {
            found.push(Broken::NoSuchKind { claim: Claim::of(entry) });
        }
    }
    let mut owners: Vec<Owner> = ledger.entries.iter().map(|e| e.owner_of_excess()).collect();
    owners.extend(judgement.parts.iter().map(|p| p.owner));
    owners.sort_unstable();
    owners.dedup();
    for owner in owners {
        let beyond = |e: &&Entry| e.owner_of_excess() == owner;
        let entries: Span = ledger.entries.iter().filter(beyond).map(|e| (e.span - e.baseline).at_least_zero()).sum();
        let said: Span = judgement.parts.iter().filter(|p| p.owner == owner).map(|p| p.excess).sum();
        if entries != said {
            found.push(Broken::Part { owner, said, entries });
        }
    }
    let parts: Span = judgement.parts.iter().map(|p| p.excess).sum();
    let long_path = judgement.missing == Missing::PathBaseline;
    if judgement.excess != parts && !long_path {
        found.push(Broken::Excess { said: judgement.excess, is: parts });
    }
    let most = judgement.parts.iter().map(|p| p.excess).max().unwrap_or_default();
    if judgement.verdict == Verdict::Healthy && most >= judgement.floor {
        found.push(Broken::Excess { said: most, is: judgement.floor });
    }
}

/// No instant is counted twice: not more time than was watched, and no entry like another.
pub(super) fn once(case: &Case<'_>, found: &mut Vec<Broken>) {
    let ledger = &case.reading.ledger;
    // Where somebody else was waited for, the wait goes on as long as the capture does.
    let went_on = |w: &Witness| {
        let until = case.handshake.watched_until.zip(w.packets.first());
        until.map_or(Span::ZERO, |(until, first)| Span::from_nanos(until - first.at.nanos()))
    };
    let watched = case.witnesses().map(|w| w.watched().max(went_on(w))).max().unwrap_or_default();
    let before: Span = ledger.entries.iter().filter(|e| matches!(e.phase, Phase::Dns | Phase::Attempts)).map(|e| e.span).sum();
    let error: Span = ledger.entries.iter().map(|e| e.error.min(e.span)).sum();
    let total = ledger.total - before;
    // The way that nobody saw may go beyond what was watched at its end, and, where it was late, before its beginning.
    let late = |e: &&Entry| e.owner == Owner::Path && !e.round_trip;
    let unseen = ledger.path_spans().max().unwrap_or_default() + ledger.entries.iter().filter(late).map(|e| e.span).sum();
    if total > watched + unseen + error + SLACK {
        found.push(Broken::Longer { total, watched });
    }
    for (i, entry) in ledger.entries.iter().enumerate().filter(|(_, e)| !e.packets.is_empty()) {
        if ledger.entries[..i].iter().any(|e| e == entry) {
            found.push(Broken::Twice { claim: Claim::of(entry), packets: entry.packets.to_vec() });
            return;
        }
    }
}

/// Every cited packet lies in a view of this handshake, or is of the lookup, of addresses tried before, of ICMP or of those asked meanwhile.
pub(super) fn cited(case: &Case<'_>, found: &mut Vec<Broken>) {
    let h = case.handshake;
    let lookup = h.lookup.iter().flat_map(|l| l.waits().into_iter().flat_map(|w| w.packets).chain([l.began().1, l.start_packet]));
    let told = h.too_big.iter().flatten().map(|told| told.packet).chain(h.tried.iter().map(|t| t.packet));
    let told = told.chain(h.unreachable.iter().flatten().map(|(_, packet, _)| *packet));
    let asked = h.client_asked.iter().flat_map(|a| a.packets).chain(h.edge_asked.iter().flat_map(|a| a.packets));
    let beside: Vec<u64> = lookup.chain(told).chain(asked).collect();
    for entry in case.entries() {
        let there = |n: &u64| beside.contains(n) || case.witnesses().any(|w| w.has(*n));
        let lacking = entry.packets.iter().filter(|n| !there(n));
        found.extend(lacking.map(|packet| Broken::NoPacket { claim: Claim::of(entry), packet: *packet }));
    }
}
