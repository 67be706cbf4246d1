//! An acknowledgement that was overdue: until a timer ran out, TCP let nothing go.
//!
//! In: an arc from what left last to what a timer sent then. Out: its entries. For one round trip the window, or Nagle's algorithm, would
//! have held what followed in any case; what the timer waited beyond that is whoever's who kept the acknowledgement: the way that lost it
//! or was late with it, or the end that gave none.

use enumset::EnumSet;
use smallvec::smallvec;

use super::arcs::Arc;
use super::entries::{Evidence, STAMP_ERROR, span};
use super::follow::transit;
use super::transport::{Endpoint, Packet};
use crate::clock::Span;
use crate::judging::ledger::{Entries, Entry, Kind, Missing, Owner};
use crate::tcp::flow::Side;

/// `held` is what the rule would have cost, were all of it the rule's.
pub(super) fn overdue(evidence: &Evidence<'_>, arc: &Arc, mut held: Entry) -> Entries {
    if evidence.far == Some(arc.side) {
        // Nobody saw that it was a timer.
        return smallvec![kept(evidence, arc, span(arc))];
    }
    held.span = held.span.min(Span::from_nanos(evidence.round_trip));
    let beyond = span(arc) - held.span;
    if beyond <= Span::ZERO {
        return smallvec![held];
    }
    smallvec![held, kept(evidence, arc, beyond)]
}

/// Who kept the acknowledgement for so long.
fn kept(evidence: &Evidence<'_>, arc: &Arc, beyond: Span) -> Entry {
    let (teller, own) = (arc.side.peer(), if arc.side == Side::Server { Owner::Client } else { Owner::Edge });
    let of =
        |owner, kind| Entry::new(transit(arc.phase), owner, kind, beyond, STAMP_ERROR).between(arc.packets.into_iter().flatten());
    let open = |candidates: EnumSet<Owner>, missing: Option<Missing>| {
        let mut open = of(Owner::Unattributed, None);
        (open.candidates, open.missing) = (candidates, missing.into_iter().collect());
        open
    };
    let any = own | Owner::Path | Owner::Loss;
    if let Some(far) = evidence.far {
        // The program of a sender that was not captured may have paused as long.
        let sender = if arc.side == Side::Server { Owner::Edge } else { Owner::Client };
        let any = if far == teller { any } else { sender | Owner::Path | Owner::Loss };
        return open(any, Some(evidence.capture(far)));
    }
    let (sender, peer) = (evidence.tapes[arc.side as usize], evidence.tapes[teller as usize]);
    let heard = sender.packets(0..sender.len()).filter(|p| p.from == teller && p.at <= arc.to).filter_map(|p| p.told).max();
    let tells = |p: &Packet| p.from == teller && p.told > heard;
    let Some(i) = peer.packets(0..peer.len()).position(|p| tells(&p)) else { return open(any, None) };
    let told = peer.packet(i);
    if told.other.is_none() {
        // It left, and did not come before the handshake was over: what is kept of a capture ends there.
        return open(Owner::Path | Owner::Loss, None);
    }
    // What it acknowledges had come to that end, on whose clock it then took so long.
    let data = peer.packets(0..i).find(|p| p.from == arc.side && !p.is_bare() && Some(p.after) > heard);
    let within = data.map_or(0, |data| told.at - data.at);
    if within > beyond.nanos() / 2 { of(own, None) } else { of(Owner::Path, Some(Kind::Delay)) }
}
