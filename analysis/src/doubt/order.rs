//! The order of packets, and stamps that no clock gives.
//!
//! Several queues of a network card, or several writers, leave a file whose order is not that of time; a clock that was set back leaves
//! one whose times are not in order. Causality tells the two apart: nobody acknowledges what has not come.

use crate::clock::{Domain, Span};
use crate::tcp::flow::{Seen, Side, View};

/// A single stamp so far from both its neighbours is garbage, not a pause.
const GARBAGE: Span = Span::from_millis(3_600_000);

/// What was done to the order of a view.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Mended {
    /// Packets whose time was garbage; they stand where their neighbours do.
    pub garbage: usize,
    /// Whether packets were put in the order of time.
    pub sorted: bool,
}

/// Mends garbage stamps, and puts packets in the order of time where that is the order of causes.
pub fn mend<D: Domain>(view: &mut View<D>) {
    view.mended = mended(view);
}

fn mended<D: Domain>(view: &mut View<D>) -> Mended {
    if view.packets.windows(2).all(|pair| (Span::ZERO..GARBAGE).contains(&(pair[1].at - pair[0].at))) {
        return Mended::default();
    }
    let garbage = ungarble(view);
    if view.packets.is_sorted_by_key(|p| p.at) {
        return Mended { garbage, sorted: false };
    }
    let mut sorted = view.packets.clone();
    sorted.sort_by_key(|p| p.at);
    // A clock that was set shows more effects before their causes when it is taken at its word.
    if absurd(&sorted) > absurd(&view.packets) {
        return Mended { garbage, sorted: false };
    }
    view.replace_packets(sorted);
    Mended { garbage, sorted: true }
}

fn ungarble<D: Domain>(view: &mut View<D>) -> usize {
    let far = |a: &Seen<D>, b: &Seen<D>| (a.at - b.at).abs() >= GARBAGE;
    let packets = &view.packets;
    let alone = |i: usize| {
        let before = i.checked_sub(1).map(|k| &packets[k]);
        let behind = packets.get(i + 1);
        let neighbours_agree = match (before, behind) {
            (Some(a), Some(b)) => !far(a, b),
            // At an end, the two next to it must agree.
            (None, Some(b)) => packets.get(i + 2).is_some_and(|c| !far(b, c)),
            (Some(a), None) => i.checked_sub(2).is_some_and(|k| !far(a, &packets[k])),
            (None, None) => false,
        };
        neighbours_agree && before.or(behind).is_some_and(|n| far(n, &packets[i]))
    };
    let garbage: Vec<usize> = (0..packets.len()).filter(|i| alone(*i)).collect();
    for i in &garbage {
        let near = if *i > 0 { view.packets[i - 1].at } else { view.packets[i + 1].at };
        view.packets[*i].at = near;
    }
    garbage.len()
}

/// How often something comes before what it answers: an acknowledgement of bytes that were not sent, a byte behind a later one.
fn absurd<D: Domain>(packets: &[Seen<D>]) -> usize {
    let mut sent = [-1_i64; 2];
    let mut count = 0;
    for packet in packets.iter().filter(|p| !p.flags.rst()) {
        let peer = sent[packet.from.peer() as usize];
        count += usize::from(packet.ack().is_some_and(|ack| ack > peer + 1));
        let own = &mut sent[packet.from as usize];
        count += usize::from(!packet.is_empty() && packet.start() > *own.max(&mut 0));
        count += usize::from(packet.flags.syn() && *own >= 0 && packet.from == Side::Client);
        *own = (*own).max(packet.end());
    }
    count
}
