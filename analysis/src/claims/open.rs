//! What is left open: more than one may have been it, and what is said to be missing is not there.

use crate::clock::{Span, Unplaced};
use crate::judging::ledger::{Missing, Owner};
use crate::judging::verdict::Verdict;
use crate::tcp::flow::{Seen, Side};

use super::witness::Witness;
use super::{Broken, Case};

/// Stacks that start higher count the host's packets, not those of one connection.
const PER_CONNECTION_TTL: u8 = 64;
/// Less prints as "0 µs".
const PRINTABLE: Span = Span::from_micros(1);

pub(super) fn check(case: &Case<'_>, found: &mut Vec<Broken>) {
    let Verdict::Inconclusive { candidates, missing, excess } = &case.judgement.verdict else { return };
    let says = |words: &str| case.sentence.contains(words);
    let alone = *missing == Missing::PathBaseline || says("or of nobody") || says("nobody can be named");
    let shares = case.judgement.parts.iter().filter(|p| p.excess > Span::ZERO).count();
    let n = candidates.len();
    if !alone && (n == 1 || n == 0 && shares < 2) {
        found.push(Broken::Candidates { n });
    }
    let part_of = |o: Owner| o.side() != o && candidates.contains(o.side());
    let nobody = |o: &Owner| matches!(o, Owner::Unattributed | Owner::Protocol) || part_of(*o);
    found.extend(candidates.iter().filter(nobody).map(|owner| Broken::NoCandidate { owner }));
    if *excess < PRINTABLE && says("0 µs") {
        found.push(Broken::Nothing { what: "the time left open" });
    }
    for missing in *missing {
        found.extend(there(case, missing));
    }
}

/// What is said to be missing, if it is there.
fn there(case: &Case<'_>, missing: Missing) -> Option<Broken> {
    let h = case.handshake;
    let has = |there: bool| there.then_some(Broken::NotMissing { missing, packet: None });
    let shown = |packet: Option<&Seen<Unplaced>>| packet.map(|p| Broken::NotMissing { missing, packet: Some(p.packet) });
    match missing {
        Missing::ClientCapture => has(case.client.is_some()),
        Missing::EdgeCapture => has(case.edge.is_some()),
        Missing::ClientHost => has(h.client_host.is_some()),
        Missing::EdgeHost => has(h.edge_host.is_some()),
        Missing::ClientTimestamps => shown(case.near(Side::Client).and_then(|w| stamped(w, Side::Client))),
        Missing::EdgeTimestamps => shown(case.near(Side::Server).and_then(|w| stamped(w, Side::Server))),
        Missing::ClientIpId => shown(case.near(Side::Client).and_then(|w| counts(w, Side::Client))),
        Missing::EdgeIpId => shown(case.near(Side::Server).and_then(|w| counts(w, Side::Server))),
        Missing::Syn => shown(case.witnesses().find_map(|w| w.sent_by(Side::Client).find(|p| p.flags.syn()))),
        Missing::LosslessCapture => has(!h.capture_incomplete()),
        Missing::WholePackets => has(!h.dialogue.cut),
        Missing::LongerCapture => shown(case.witnesses().find_map(|w| w.packets.iter().find(|p| p.flags.rst()))),
        // What a handshake cannot show of others, or of where it was watched.
        _ => None,
    }
}

/// A packet of a side with a timestamp, if all its data has one that counts time.
fn stamped(w: &Witness, side: Side) -> Option<&Seen<Unplaced>> {
    let sent = || w.sent_by(side).filter(|p| !p.is_empty());
    (w.counts_time(side) && sent().all(|p| p.tsval().is_some())).then(|| sent().next_back()).flatten()
}

/// The last packet of a side, if its identification goes up by one with each.
fn counts(w: &Witness, side: Side) -> Option<&Seen<Unplaced>> {
    let mut sent: Vec<&Seen<Unplaced>> = w.sent_by(side).filter(|p| !p.flags.syn()).collect();
    sent.sort_by_key(|p| p.packet);
    let step = |pair: &[&Seen<Unplaced>]| Some(pair[1].ip_id()?.wrapping_sub(pair[0].ip_id()?));
    let counted =
        sent.len() >= 4 && sent.iter().all(|p| p.ttl <= PER_CONNECTION_TTL) && sent.windows(2).all(|pair| step(pair) == Some(1));
    sent.last().copied().filter(|_| counted)
}
