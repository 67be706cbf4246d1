//! Round trips: one packet out and one back lie between those cited, and no less time than is said.

use crate::judging::ledger::{Kind, Owner};
use crate::tcp::flow::Side;

use super::witness::carries;
use super::{Broken, Case, Claim, SLACK};

pub(super) fn check(case: &Case<'_>, found: &mut Vec<Broken>) {
    for entry in case.entries().iter().filter(|e| e.round_trip || e.extra_round) {
        let claim = Claim::of(entry);
        let [a, b] = entry.packets[..] else {
            if !entry.filled_in && entry.owner == Owner::Path {
                found.push(Broken::NoBounds { claim, packets: entry.packets.to_vec(), why: "a round trip has two ends" });
            }
            continue;
        };
        if case.handshake.unreachable.iter().flatten().any(|(_, told, _)| *told == b) {
            continue; // ICMP, which lies in no view
        }
        let Some(w) = case.near(Side::Client) else { continue };
        let [Some(from), Some(to)] = [a, b].map(|n| w.place(n)) else {
            found.push(Broken::NoBounds { claim, packets: vec![a, b], why: "they lie in two captures, whose clocks differ" });
            continue;
        };
        if a == b {
            found.push(Broken::NoBounds { claim, packets: vec![a], why: "one packet is not two ends" });
            continue;
        }
        let apart = w.packets[to].at - w.packets[from].at;
        let mut between = w.packets[from.min(to)..=from.max(to)].iter();
        let both_ways = [Side::Client, Side::Server].iter().all(|side| between.clone().any(|p| p.from == *side));
        let enough = if w.end == Side::Client {
            to >= from && apart + entry.error + SLACK >= entry.span
        } else {
            // At the edge, the round goes on from the second packet until something answers it.
            let second = w.packets[to];
            // What carries nothing, nobody answers.
            let once = w.copies(&second).count() <= 1 && second.from == Side::Server && carries(&second);
            let answer =
                w.packets[to..].iter().find(|p| p.from == Side::Client && p.ack().is_some_and(|ack| ack >= second.end().max(0)));
            !once || answer.is_none_or(|p| p.at - second.at + entry.error + SLACK >= entry.span)
        };
        if !both_ways || !enough || between.next().is_none() {
            found.push(Broken::NoRound { claim, packets: [a, b], apart });
        }
    }
    // What came later than usual lies between two packets as well.
    for entry in case.entries().iter().filter(|e| e.owner == Owner::Path && e.kind == Some(Kind::Delay) && !e.round_trip) {
        let ([a, b], Some(w)) = (&entry.packets[..], case.near(Side::Client)) else { continue };
        let [Some(from), Some(to)] = [*a, *b].map(|n| w.place(n)) else { continue };
        let apart = w.packets[to].at - w.packets[from].at;
        if w.end == Side::Client && (apart + entry.error + SLACK) < entry.span {
            found.push(Broken::NoRound { claim: Claim::of(entry), packets: [*a, *b], apart });
        }
    }
}
