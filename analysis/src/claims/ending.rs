//! How it ended: "never completed" means that the last Finished came nowhere, "completed" that it did; whoever "ended it" did so first.

use crate::clock::{Span, Unplaced};
use crate::conversation::handshake::Handshake;
use crate::conversation::milestone::Milestone;
use crate::judging::ledger::Owner;
use crate::judging::verdict::{End, Verdict};
use crate::tcp::flow::{Seen, Side};
use crate::tls::Extent;

use super::witness::Witness;
use super::{Broken, Case, side_of};

/// TTLs of one end's packets differ by less when a route changes.
const OTHER_TTL: u8 = 3;

pub(super) fn check(case: &Case<'_>, found: &mut Vec<Broken>) {
    let d = &case.handshake.dialogue;
    let (side, due) =
        if d.server_finishes_last() { (Side::Server, d.server_finished) } else { (Side::Client, d.client_finished) };
    let came = due.and_then(|due| case.witnesses().find_map(|w| w.arrival(side, due.end)));
    // "It was refused behind its Finished" is said of what stopped, too.
    let came = came.filter(|_| !(d.refused_late() && case.reading.end != End::Complete));
    match (case.reading.end, came) {
        (End::Stopped { .. }, Some(packet)) => found.push(Broken::Completed { side, packet: packet.packet }),
        (End::Complete, None) => found.push(Broken::Incomplete { side }),
        _ => {}
    }
    if let End::Stopped { after } = case.reading.end
        && after != Milestone::Syn
        && !proven(case, after)
    {
        found.push(Broken::Unproven { after });
    }
    if let Verdict::Aborted { by, after } = case.judgement.verdict {
        if !proven(case, after) {
            found.push(Broken::Unproven { after });
        }
        aborted(case, by, found);
    }
}

/// Whether anybody saw it, or its acknowledgement.
fn proven(case: &Case<'_>, milestone: Milestone) -> bool {
    let d = &case.handshake.dialogue;
    let syn = |side| case.witnesses().any(|w| w.sent_by(side).any(|p| p.flags.syn()) || w.acknowledged(side));
    let message = |side: Side, extent: Option<Extent>| {
        let shown = |w: &Witness, end| w.arrival(side, end).is_some() || w.sent_by(side).any(|p| !p.is_empty() && p.end() >= end);
        extent.is_some_and(|e| case.witnesses().any(|w| shown(w, e.end)))
    };
    match milestone {
        Milestone::DnsStart | Milestone::DnsEnd => case.handshake.lookup.is_some(),
        Milestone::Syn => syn(Side::Client),
        Milestone::SynAck | Milestone::Ack => syn(Side::Server),
        Milestone::ClientHello => message(Side::Client, d.client_hello),
        Milestone::ServerHello => message(Side::Server, d.server_hello),
        Milestone::ServerFlightEnd | Milestone::FlightAck => message(Side::Server, d.server_flight),
        Milestone::ClientFinished => message(Side::Client, d.client_finished),
        Milestone::ServerFinished => message(Side::Server, d.server_finished),
        Milestone::FirstRequest => message(Side::Client, d.first_request),
        Milestone::FirstResponse => message(Side::Server, d.first_response),
    }
}

fn aborted(case: &Case<'_>, by: Owner, found: &mut Vec<Broken>) {
    let d = &case.handshake.dialogue;
    let alerts = [(Side::Client, d.client_alert), (Side::Server, d.server_alert)];
    let firsts: Vec<(&Witness, &Seen<Unplaced>)> =
        case.witnesses().filter_map(|w| w.packets.iter().find(|p| ends(p, &alerts)).map(|p| (w, p))).collect();
    let told = |h: &Handshake| {
        h.unreachable.iter().flatten().any(|(_, _, who)| (*who == h.endpoints.server.ip()) == (by == Owner::Edge))
    };
    if firsts.is_empty() && matches!(by, Owner::Edge | Owner::Path) && told(case.handshake) {
        return;
    }
    let Some((_, first)) = firsts.first() else {
        return found.push(Broken::NobodyEnded { by });
    };
    if by == Owner::Path {
        let foreign = |w: &Witness| {
            w.packets.iter().filter(|p| p.flags.rst()).any(|rst| {
                let own = w.sent_by(rst.from).find(|p| !p.flags.rst());
                let unsent = case.at(rst.from).is_some_and(|own| !own.sent_by(rst.from).any(|p| p.flags.rst()));
                unsent || own.is_some_and(|p| p.ttl.abs_diff(rst.ttl) >= OTHER_TTL)
            })
        };
        if !case.witnesses().any(foreign) {
            found.push(Broken::NobodyEnded { by });
        }
        return;
    }
    let side = side_of(by);
    // Both may have ended it while the other's end was under way.
    let ours = |(w, p): &(&Witness, &Seen<Unplaced>)| {
        Some(p.from) == side
            || w.end != p.from
                && w.packets.iter().any(|q| Some(q.from) == side && ends(q, &alerts) && q.at - p.at < Span::from_millis(1))
    };
    if !firsts.iter().any(ours) {
        let (first, packet) = (first.from, first.packet);
        found.push(Broken::EndedFirst { by, first, packet });
    }
}

/// Whether a packet ends a connection: by an alert, in order, or by force.
fn ends(p: &Seen<Unplaced>, alerts: &[(Side, Option<Extent>)]) -> bool {
    let alert = |(side, extent): &(Side, Option<Extent>)| {
        *side == p.from && extent.is_some_and(|e| !p.is_empty() && p.start() < e.end && p.end() > e.start)
    };
    p.flags.fin() || p.flags.rst() || alerts.iter().any(alert)
}
