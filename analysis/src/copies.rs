//! Copies of one packet at both ends: which of them came, how long the receiver waited for it, and whether only big ones died.
//!
//! In: the sender's view and the receiver's. Loss is judged at the far end (DESIGN 5.7): a repetition whose first copy came as well
//! cost nothing but time on the way.

use crate::clock::{Domain, Span};
use crate::flow::{Seen, Side, View};
use crate::offset::way_of;

/// An IP packet that every path carries (TCP's default MSS of 536 stands on it: RFC 9293, section 3.7.1): if one of this size or less
/// vanishes, it is not for its size.
pub(crate) const ALWAYS_CARRIED: u32 = 576;

/// How many bytes of a stream such a packet holds; with a hole of so many or fewer, nothing says that big packets died.
pub(crate) const ALWAYS_CARRIED_BYTES: i64 = ALWAYS_CARRIED as i64 - 40;

/// How long the receiver waited for a repetition: from when the message was complete at its sender (`sent`) to
/// when the copy that completed it at the receiver (`arrived`) left, on the sender's clock. Nothing, if the
/// first copy arrived as well, if later: then it was late, not lost (DESIGN 5.7).
pub(crate) fn loss_wait<S: Domain, R: Domain>(
    sender: &View<S>,
    receiver: &View<R>,
    sent: &Seen<S>,
    arrived: &Seen<R>,
    least_way: Option<Span>,
) -> Span {
    let Some(copy) = sender_copy(sender, receiver, arrived, least_way) else { return Span::ZERO };
    let same = |p: &&Seen<S>| {
        p.flags.syn() == copy.flags.syn()
            && p.start() == copy.start()
            && p.len() == copy.len()
            && (!p.is_empty() || p.ack() == copy.ack())
    };
    let original = sender.sent_by(arrived.from).find(same).filter(|p| p.packet != copy.packet);
    let first = sender.sent_by(arrived.from).all(|p| p.packet >= copy.packet || p.end() < copy.end() || p.is_empty());
    if !copy.is_empty() && first {
        return Span::ZERO;
    }
    let late = original.is_some_and(|original| {
        let after = receiver
            .sent_by(arrived.from)
            .filter(|r| r.packet != arrived.packet && r.start() == original.start() && r.len() == original.len());
        after.filter_map(|r| sender_copy(sender, receiver, r, least_way)).any(|c| c.packet == original.packet)
    });
    if late { Span::ZERO } else { (copy.at - sent.at).at_least_zero() }
}

/// Which of the sender's copies arrived as `arrived`: same IP identification and timestamp if the packet has them, else
/// the last that would have taken the usual way, else the first: one delay explains more than a loss and a delay.
fn sender_copy<'a, S: Domain, R: Domain>(
    sender: &'a View<S>,
    receiver: &View<R>,
    arrived: &Seen<R>,
    least_way: Option<Span>,
) -> Option<&'a Seen<S>> {
    let carries = |p: &Seen<S>| {
        p.flags.syn() == arrived.flags.syn()
            && if arrived.is_empty() {
                p.is_empty() && p.ack() == arrived.ack()
            } else {
                // GRO may have merged several of the sender's packets: the last of them completed it.
                !p.is_empty() && p.start() < arrived.end() && p.end() >= arrived.end()
            }
    };
    let copies: Vec<&Seen<S>> = sender.sent_by(arrived.from).filter(|p| carries(p)).collect();
    let exact = copies.iter().find(|p| p.ip_id().is_some() && p.ip_id() == arrived.ip_id() && p.tsval() == arrived.tsval());
    if let Some(copy) = exact.filter(|p| p.ip_id() != Some(0)) {
        return Some(copy);
    }
    let timed: Vec<&Seen<S>> = copies.iter().filter(|p| p.tsval().is_some() && p.tsval() == arrived.tsval()).copied().collect();
    let candidates = if timed.is_empty() { &copies } else { &timed };
    let usual = |p: &&&Seen<S>| {
        let slack = Span::from_millis(3);
        least_way.is_some_and(|least| {
            let way = way_of(p.at, arrived.at) - least;
            way < slack && Span::ZERO - way < slack
        })
    };
    if let [first, _, ..] = candidates[..]
        && least_way.is_some()
    {
        return Some(candidates.iter().rev().find(usual).copied().unwrap_or(first));
    }
    let same_at_receiver: Vec<&Seen<R>> = receiver
        .sent_by(arrived.from)
        .filter(|p| {
            p.start() == arrived.start()
                && p.len() == arrived.len()
                && p.flags.syn() == arrived.flags.syn()
                && p.ack() == arrived.ack()
        })
        .collect();
    let nth = same_at_receiver.iter().position(|p| p.packet == arrived.packet).unwrap_or(0);
    match timed.as_slice() {
        // Of n copies sent and m arrived, the k-th to arrive is at least the k-th sent.
        [] => copies.get(nth + copies.len().saturating_sub(same_at_receiver.len().max(1))).or(copies.last()).copied(),
        [one] => Some(one),
        several => several.get(nth.min(several.len() - 1)).copied(),
    }
}

/// Whether `side`'s big packets vanish on the way while its small ones arrive: one range was tried twice, and every lost
/// packet is bigger than any that arrived (DESIGN 5.11).
pub(crate) fn blackhole<S: Domain, R: Domain>(sender: &View<S>, receiver: &View<R>, side: Side) -> bool {
    let biggest_arrived = receiver.sent_by(side).map(|p| p.ip_len).max().unwrap_or(0);
    // Behind the last that came, nobody looked.
    let reached = receiver.sent_by(side).map(Seen::end).max().unwrap_or(0);
    let due = |p: &&Seen<S>| !p.is_empty() && p.start() < reached.max(1);
    let lost: Vec<&Seen<S>> = sender.sent_by(side).filter(due).filter(|p| !arrived_as(receiver, p)).collect();
    let repeated = |p: &&Seen<S>| lost.iter().filter(|q| q.start() == p.start()).count() >= 2;
    let repeated = lost.iter().find(|p| repeated(p));
    // What came through in smaller pieces at last, or at least three losses, are no chance.
    let smaller = |p: &Seen<S>| {
        sender.sent_by(side).any(|q| q.start() == p.start() && !q.is_empty() && q.len() < p.len() && arrived_as(receiver, q))
    };
    let proven = repeated.is_some_and(|p| lost.len() >= 3 || smaller(p));
    proven && biggest_arrived > 0 && lost.iter().all(|p| p.ip_len > biggest_arrived.max(ALWAYS_CARRIED))
}

/// Whether a packet came as it was sent: its bytes in one piece, or merged with others, and not in smaller ones later.
fn arrived_as<S: Domain, R: Domain>(receiver: &View<R>, p: &Seen<S>) -> bool {
    receiver.sent_by(p.from).any(|r| r.start() <= p.start() && r.end() >= p.end() && !r.is_empty())
}
