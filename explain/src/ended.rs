//! Whether one end's capture was over while the handshake still went on: two people seldom stop two captures at the same moment.
//!
//! In: the two ends' views of one connection, and until when each capture went on. Out: the end whose capture says nothing of how the
//! handshake ended. It was silent because nobody watched: what the other end received, it had sent.

use analysis::clock::{Instant, Span, Unplaced};
use analysis::tcp::flow::{Seen, Side, View};

/// What was taken shortly before a capture was stopped may not be in it any more, and ways differ by as much.
const SHORTLY: Span = Span::from_millis(20);

/// The end whose capture had ended before the handshake did, as the other's shows; `went_on` is until when the client's and the edge's did.
pub fn ended_first(ends: [&View<Unplaced>; 2], went_on: [Instant<Unplaced>; 2]) -> Option<Side> {
    let over = |side: Side| {
        let (ended, other) = (side as usize, side.peer() as usize);
        over_before(ends[ended], side, went_on[ended], ends[other])
    };
    [Side::Client, Side::Server].into_iter().find(|side| over(*side))
}

/// Whether what `other` has of the handshake and `view`, of the end `own`, has not, left behind the end of that capture.
fn over_before(view: &View<Unplaced>, own: Side, went_on: Instant<Unplaced>, other: &View<Unplaced>) -> bool {
    let reach = |view: &View<Unplaced>, side| view.sent_by(side).map(Seen::end).max().unwrap_or(0);
    let reached = [Side::Client, Side::Server].map(|side| reach(view, side));
    let carries = |p: &Seen<Unplaced>| !p.is_empty() && !p.flags.rst();
    let lacks = |p: &Seen<Unplaced>| carries(p) && p.end() > reached[p.from as usize];
    let Some(at) = other.packets.iter().position(lacks) else { return false };
    let missing = &other.packets[at];
    // Its own words that it lacks prove that it is the capture that was silent.
    let acknowledged = view.sent_by(own).filter_map(Seen::ack).max();
    let own_words = |p: &Seen<Unplaced>| p.from == own && (lacks(p) || p.ack() > acknowledged);
    if !other.packets[at..].iter().any(own_words) {
        return false;
    }
    // How long behind a packet that both have the missing one left: whether the capture went on for so long.
    let known = other.packets[..at].iter().rev().filter(|p| p.from == missing.from);
    let same = |a: &Seen<Unplaced>, b: &Seen<Unplaced>| {
        (a.from, a.start(), a.end(), a.ack(), a.flags.syn()) == (b.from, b.start(), b.end(), b.ack(), b.flags.syn())
    };
    let mut both = known.filter_map(|p| Some((p, view.packets.iter().rfind(|q| same(p, q))?)));
    let Some((there, here)) = both.next() else { return false };
    if went_on - here.at >= missing.at - there.at + SHORTLY {
        return false;
    }
    let dialogue = other.dialogue();
    let finished = [dialogue.client_finished, dialogue.server_finished.filter(|_| dialogue.server_finishes_last())];
    let ends = finished[missing.from as usize].or(dialogue.server_flight.filter(|_| missing.from == Side::Server));
    ends.is_none_or(|extent| missing.start() < extent.end)
}
