//! An acknowledgement that was overdue: until a timer ran out, TCP let nothing go.
//!
//! In: an arc from what left last to what a timer sent then. Out: its entries, behind those that are there. For one round trip the
//! window, or Nagle's algorithm, would have held what followed in any case; what the timer waited beyond that is whoever's who kept the
//! acknowledgement: the way that lost it or was late with it, or the end that gave none. A kernel that only put it off is nobody's stall:
//! that is the rule's, as without a timer.

use enumset::EnumSet;

use super::arcs::Arc;
use super::entries::{Evidence, STAMP_ERROR, direction, span};
use super::follow::transit;
use super::tcp::far::PUT_OFF_OTHERS;
use super::transport::{Endpoint, Packet};
use crate::clock::Span;
use crate::judging::ledger::{Entry, Kind, Missing, Owner};
use crate::tcp::flow::Side;

/// What left so much later than a packet, or a quarter of a round trip, and came before it tells that it was lost (RFC 8985, section 6.2).
const REORDERED: i64 = 10_000_000;

/// `held` is what the rule would have cost, were all of it the rule's.
pub(super) fn overdue(evidence: &Evidence<'_>, arc: &Arc, mut held: Entry, entries: &mut Vec<Entry>) {
    if evidence.far == Some(arc.side) {
        // Nobody saw that it was a timer.
        return entries.push(kept(evidence, arc, span(arc), (held.owner, held.kind)));
    }
    held.span = held.span.min(Span::from_nanos(evidence.round_trip));
    let (beyond, rule) = (span(arc) - held.span, (held.owner, held.kind));
    entries.push(held);
    if beyond > Span::ZERO {
        entries.push(kept(evidence, arc, beyond, rule));
    }
}

/// What was said had come, and was repeated until an acknowledgement of it came.
pub(super) fn unheard(evidence: &Evidence<'_>, arc: &Arc) -> Entry {
    kept(evidence, arc, span(arc), (Owner::Protocol, Some(Kind::Nagle)))
}

/// Who kept the acknowledgement for so long; `rule` is what waits for one that was only put off.
fn kept(evidence: &Evidence<'_>, arc: &Arc, beyond: Span, rule: (Owner, Option<Kind>)) -> Entry {
    let teller = arc.side.peer();
    let end = |side| if side == Side::Client { Owner::Client } else { Owner::Edge };
    let of =
        |owner, kind| Entry::new(transit(arc.phase), owner, kind, beyond, STAMP_ERROR).between(arc.packets.into_iter().flatten());
    let open = |candidates: EnumSet<Owner>, missing: Option<Missing>| {
        let mut open = of(Owner::Unattributed, None);
        (open.candidates, open.missing) = (candidates, missing.into_iter().collect());
        open
    };
    let any = Owner::Path | Owner::Loss;
    if let Some(far) = evidence.far {
        return open(any | end(far), Some(evidence.capture(far)));
    }
    let any = any | end(teller);
    let (sender, peer) = (evidence.tapes[arc.side as usize], evidence.tapes[teller as usize]);
    let heard = sender.packets(0..sender.len()).filter(|p| p.from == teller && p.at <= arc.to).filter_map(|p| p.told).max();
    let tells = |p: &Packet| p.from == teller && p.told > heard;
    let Some(i) = peer.packets(0..peer.len()).position(|p| tells(&p)) else { return open(any, None) };
    let told = peer.packet(i);
    // What it lacked had left before the timer ran, and that copy never came.
    let lacked = sender.first_departure(heard.unwrap_or(0).max(0)).map(|first| sender.packet(first));
    if lacked.is_some_and(|first| first.at < arc.to && first.other.is_none()) {
        return open(Owner::Path | Owner::Loss, None);
    }
    if told.other.is_none() {
        // What left so much later came, and it did not. Without that it may only be late: what is kept of a capture ends with the handshake.
        let reordered = REORDERED.max(evidence.round_trip / 4);
        let behind = |p: &Packet| p.from == teller && p.other.is_some() && p.at - told.at > reordered;
        if !peer.packets(i + 1..peer.len()).any(|p| behind(&p)) {
            return open(Owner::Path | Owner::Loss, None);
        }
        let lost = Entry::new(transit(arc.phase), Owner::Loss, direction(teller), beyond, STAMP_ERROR);
        return lost.between([told.number]);
    }
    // What it acknowledges had come to that end, on whose clock it then took so long.
    let data = peer.packets(0..i).find(|p| p.from == arc.side && !p.is_bare() && Some(p.after) > heard);
    let within = data.map_or(0, |data| told.at - data.at);
    // Of two full segments every kernel tells at once (RFC 9293, section 3.8.6.3).
    let said = sender.packets(0..sender.len()).filter(|p| p.from == arc.side && p.at < arc.to).map(|p| p.range.1).max();
    let single = said.is_some_and(|said| said - heard.unwrap_or(0) < 2 * sender.full());
    match within {
        _ if within <= beyond.nanos() / 2 => of(Owner::Path, Some(Kind::Delay)),
        ..=PUT_OFF_OTHERS if single => of(rule.0, rule.1),
        _ => of(end(teller), None),
    }
}

/// Whether all that a side sent again in the turn that `arc` ended had come before: then its window was cut for nothing, and acknowledgements
/// were late or lost.
pub(super) fn repaired_nothing(evidence: &Evidence<'_>, arc: &Arc) -> bool {
    let sender = evidence.tapes[arc.side as usize];
    let Some(last) = sender.events.iter().position(|e| Some(e.seen.packet) == arc.packets[1]).filter(|_| evidence.far.is_none())
    else {
        return false;
    };
    let since = sender.news_before(last).unwrap_or(0);
    let again = |p: &Packet| p.from == arc.side && !p.is_bare() && !p.is_news();
    // Of what left in one piece (offloads) a part may have been lost: what counts is that the copy brought nothing new.
    let peer = evidence.tapes[arc.side.peer() as usize];
    let came = |p: Packet| p.other.is_some_and(|copy| !peer.packet(copy as usize).is_news());
    let mut repeated = sender.packets(since..last).filter(again).peekable();
    repeated.peek().is_some() && repeated.all(came)
}
