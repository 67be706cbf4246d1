//! Whether only big packets died on the way.
//!
//! In: the sender's view and the receiver's.

use crate::clock::Domain;
use crate::tcp::flow::{Seen, Side, View};

/// An IP packet that every path carries (TCP's default MSS of 536 stands on it: RFC 9293, section 3.7.1): if one of this size or less
/// vanishes, it is not for its size.
pub(crate) const ALWAYS_CARRIED: u32 = 576;

/// How many bytes of a stream such a packet holds; with a hole of so many or fewer, nothing says that big packets died.
pub(crate) const ALWAYS_CARRIED_BYTES: i64 = ALWAYS_CARRIED as i64 - 40;

/// Whether `side`'s big packets vanish on the way while its small ones arrive: one range was tried twice, and every lost
/// packet is bigger than any that arrived (docs/method.md, "Packet size").
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
