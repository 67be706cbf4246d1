//! Whether only big packets died on the way.
//!
//! In: the sender's view and the receiver's.

use foldhash::HashMap;

use crate::clock::Domain;
use crate::tcp::covered::Pieces;
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
    // What came as it was sent: its bytes in one piece, or merged with others, and not in smaller ones later.
    let came: Pieces = receiver.sent_by(side).filter(|r| !r.is_empty()).map(|r| (r.start(), r.end())).collect();
    let arrived = |p: &Seen<S>| came.hold(p.start(), p.end());
    let lost: Vec<&Seen<S>> = sender.sent_by(side).filter(due).filter(|p| !arrived(p)).collect();
    let mut starts: Vec<i64> = lost.iter().map(|p| p.start()).collect();
    starts.sort_unstable();
    let twice = |p: &&&Seen<S>| starts.get(starts.partition_point(|at| *at < p.start()) + 1) == Some(&p.start());
    let repeated = lost.iter().find(twice);
    // What came through in smaller pieces at last, or at least three losses, are no chance.
    let smaller =
        |p: &Seen<S>| sender.sent_by(side).any(|q| q.start() == p.start() && !q.is_empty() && q.len() < p.len() && arrived(q));
    let proven = repeated.is_some_and(|p| lost.len() >= 3 || smaller(p));
    proven
        && biggest_arrived > 0
        && lost.iter().all(|p| p.ip_len > biggest_arrived.max(ALWAYS_CARRIED))
        && !small_vanish(sender, receiver, side, lost[0].packet, arrived)
}

/// Whether what carries nothing never came either, nor anything else behind the `first` that was lost: the last of what left may be under
/// way when a capture ends, and who drops acknowledgements because there are newer ones lets those pass.
fn small_vanish<S: Domain, R: Domain>(
    sender: &View<S>,
    receiver: &View<R>,
    side: Side,
    first: u64,
    arrived: impl Fn(&Seen<S>) -> bool,
) -> bool {
    let mut came = HashMap::<(i64, Option<i64>, bool), usize>::default();
    for p in receiver.sent_by(side).filter(|p| p.is_empty()) {
        *came.entry((p.start(), p.ack(), p.flags.fin())).or_default() += 1;
    }
    let (mut begun, mut vanished) = (false, false);
    for p in sender.sent_by(side) {
        begun |= p.packet == first;
        let arrives = match p.is_empty() {
            true => came.get_mut(&(p.start(), p.ack(), p.flags.fin())).is_some_and(|left| {
                let any = *left > 0;
                *left -= usize::from(any);
                any
            }),
            false => arrived(p),
        };
        if begun && arrives {
            return false;
        }
        vanished |= begun && p.is_empty();
    }
    vanished
}
