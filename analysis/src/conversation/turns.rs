//! A handshake whose bytes were not captured, told by whose turn it was to speak.
//!
//! In: a view in which a snap length cut the payload off, and what its records still told. Out: the same dialogue with the
//! messages that headers alone can tell: whatever the versions, the client speaks first (ClientHello), then the server (its
//! flight), then the client (Finished), then, where the server finishes last, the server again. A HelloRetryRequest cannot be seen this way.

use crate::clock::Domain;
use crate::tcp::covered::Covered;
use crate::tcp::flow::{Side, View};
use crate::tls::{Dialogue, Extent};

/// One side's data until the other side's next.
struct Turn {
    side: Side,
    extent: Extent,
    /// End of its first segment.
    first: i64,
}

/// Adds what the order of speaking tells; changes nothing that bytes have told.
pub(crate) fn complete<D: Domain>(view: &View<D>, dialogue: &mut Dialogue) {
    let cut = [Side::Client, Side::Server].iter().any(|side| view.half(*side).stream.has_holes());
    let told = dialogue.client_finished.is_some()
        && dialogue.server_flight.is_some()
        && (dialogue.server_finished.is_some() || !dialogue.server_finishes_last());
    if !cut || told || dialogue.client_alert.is_some() || dialogue.server_alert.is_some() {
        return;
    }
    if !all_passed(view) {
        dialogue.cut = [Side::Client, Side::Server].into_iter().any(|side| is_cut(view, side));
        return;
    }
    let hello_at = dialogue.client_hello.map(|e| e.start);
    let turns = turns(view);
    let first = |t: &Turn| t.side == Side::Client && hello_at.is_none_or(|at| t.extent.start <= at && at < t.extent.end);
    let Some(hello) = turns.iter().position(first) else { return };
    dialogue.client_hello = dialogue.client_hello.or(Some(turns[hello].extent));
    if let Some(flight) = turns.get(hello + 1) {
        let server_hello = Extent { start: flight.extent.start, end: flight.first };
        dialogue.server_hello = dialogue.server_hello.or(Some(server_hello));
        dialogue.server_flight = dialogue.server_flight.or(Some(flight.extent));
    }
    if let Some(finished) = turns.get(hello + 2) {
        let finished = Extent { start: finished.extent.start, end: finished.first };
        dialogue.client_finished = dialogue.client_finished.or(Some(finished));
    }
    if let Some(last) = turns.get(hello + 3).filter(|_| dialogue.server_finishes_last()) {
        let last = Extent { start: last.extent.start, end: last.first };
        dialogue.server_finished = dialogue.server_finished.or(Some(last));
    }
    dialogue.by_turns = true;
}

/// Whether bytes of packets that were captured were not, rather than packets.
fn is_cut<D: Domain>(view: &View<D>, side: Side) -> bool {
    let stream = view.half(side).stream;
    let of = |offset: i64| usize::try_from(offset).ok().filter(|offset| *offset <= stream.end());
    view.sent_by(side).filter(|p| !p.is_empty()).any(|p| of(p.start()).zip(of(p.end())).is_some_and(|(a, b)| !stream.known(a, b)))
}

/// Whether packets held all that was sent, if cut off: where the capture missed some, a turn may be among them.
fn all_passed<D: Domain>(view: &View<D>) -> bool {
    [Side::Client, Side::Server].into_iter().all(|side| {
        let (mut covered, mut end) = (Covered::default(), 0);
        for packet in view.sent_by(side) {
            covered.add(packet.start(), packet.end());
            end = end.max(packet.end());
        }
        covered.prefix >= end
    })
}

/// How often the turn has passed: behind the fourth there is nothing of a handshake.
pub(crate) fn count<D: Domain>(view: &View<D>) -> usize {
    turns(view).len()
}

/// What was said before the ClientHello, if anything was: who spoke first, and how many of the client's turns the server answered.
pub fn plaintext<D: Domain>(view: &View<D>, dialogue: &Dialogue) -> Option<(Side, usize)> {
    let hello = dialogue.first_client_hello.or(dialogue.client_hello)?;
    let turns = turns(view);
    // A greeting to which nobody waited is still a turn of its own.
    let before: Vec<Side> =
        turns.iter().take_while(|t| t.side == Side::Server || t.extent.start < hello.start).map(|t| t.side).collect();
    let first = *before.first()?;
    (hello.start > 0 || first == Side::Server)
        .then(|| (first, before.windows(2).filter(|pair| pair == &[Side::Client, Side::Server]).count()))
}

fn turns<D: Domain>(view: &View<D>) -> Vec<Turn> {
    let mut found: Vec<Turn> = Vec::new();
    let mut said = [0_i64; 2];
    for packet in view.packets.iter().filter(|p| !p.is_empty()) {
        let said = &mut said[packet.from as usize];
        if packet.end() <= *said {
            continue; // a repetition
        }
        let start = *said;
        *said = packet.end();
        match found.last_mut() {
            Some(turn) if turn.side == packet.from => turn.extent.end = packet.end(),
            _ => found.push(Turn { side: packet.from, extent: Extent { start, end: packet.end() }, first: packet.end() }),
        }
    }
    found
}
