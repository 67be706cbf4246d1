//! Several places of capture in one file: every packet lies there more than once.
//!
//! `tcpdump -i any` sees a packet at each interface it passes, a switch's mirror port sees it twice, and `mergecap` makes one file of
//! both ends'. A copy is told from a repetition by what a stack changes when it sends again: the IP identification or the timestamp.
//! Copies of one host lie microseconds apart and all but one are dropped. Copies of two hosts lie a way apart, in opposite order for the
//! two directions: those make two views.

use foldhash::HashMap;

use crate::clock::{Domain, Span};
use crate::tcp::flow::{Seen, Side, View};

/// Copies at one host's interfaces lie no further apart.
const ONE_HOST: Span = Span::from_micros(400);
/// So many of a hundred packets must have as many copies as the file has places.
const MOST: usize = 70;

/// What a view's copies say of where it was captured.
pub enum Taps<D> {
    /// At one place, or at several of one host: each packet once now.
    One(Box<View<D>>),
    /// At two places, the first nearer to the client.
    Two([Box<View<D>>; 2]),
}

/// Parts the places of capture of a connection.
pub fn part<D: Domain>(view: Box<View<D>>) -> Taps<D> {
    if !view.may_hold_copies() {
        return Taps::One(view);
    }
    let copies = copies(&view.packets);
    // What was sent again counts once: one copy of it may be all that came.
    let mut ranges: HashMap<_, bool> = HashMap::default();
    for places in &copies {
        let p = &view.packets[places[0]];
        *ranges.entry((p.from, p.flags.syn(), p.start(), p.end(), p.ack())).or_default() |= places.len() > 1;
    }
    let twice = ranges.values().filter(|twice| **twice).count();
    if twice * 100 < ranges.len() * MOST {
        return Taps::One(view);
    }
    let gap = |side: Side| {
        let mut gaps: Vec<Span> = copies
            .iter()
            .filter(|places| places.len() > 1 && view.packets[places[0]].from == side)
            .map(|places| view.packets[places[places.len() - 1]].at - view.packets[places[0]].at)
            .collect();
        gaps.sort_unstable();
        gaps.get(gaps.len() / 2).copied().unwrap_or_default()
    };
    let [out, back] = [Side::Client, Side::Server].map(gap);
    if out.abs() < ONE_HOST && back.abs() < ONE_HOST {
        return Taps::One(Box::new(view.with_packets(copies.iter().map(|places| places[0]))));
    }
    two(view, &copies)
}

/// The places of each packet's copies, in order.
fn copies<D: Domain>(packets: &[Seen<D>]) -> Vec<Vec<usize>> {
    let mut found: Vec<Vec<usize>> = Vec::new();
    let mut known: HashMap<_, usize> = HashMap::default();
    for (i, p) in packets.iter().enumerate() {
        let name = (p.from, p.flags.0, p.start(), p.len(), p.ack(), p.tsval(), p.ip_id(), p.window);
        match known.get(&name) {
            Some(at) => found[*at].push(i),
            None => {
                known.insert(name, found.len());
                found.push(vec![i]);
            }
        }
    }
    found
}

/// Which of two copies lies nearer to the client: by TTL where that differs, else by the only order in which nobody answers before
/// anything came.
fn two<D: Domain>(view: Box<View<D>>, copies: &[Vec<usize>]) -> Taps<D> {
    let pairs: Vec<(usize, usize)> =
        copies.iter().filter(|places| places.len() > 1).map(|places| (places[0], places[places.len() - 1])).collect();
    let ttl_says = |side: Side| {
        let of_side = pairs.iter().filter(|(a, _)| view.packets[*a].from == side);
        let (mut first, mut last) = (0, 0);
        for (a, b) in of_side {
            first += usize::from(view.packets[*a].ttl > view.packets[*b].ttl);
            last += usize::from(view.packets[*a].ttl < view.packets[*b].ttl);
        }
        // A packet has its sender's TTL nearer to its sender.
        (first != last).then_some((first > last) == (side == Side::Client))
    };
    // What a side's packets have for a TTL at the first of the two places, and at the last.
    let ttls = [Side::Client, Side::Server].map(|side| {
        let of_side = pairs.iter().find(|(a, _)| view.packets[*a].from == side);
        of_side.map(|(a, b)| (view.packets[*a].ttl, view.packets[*b].ttl)).filter(|(first, last)| first != last)
    });
    let parted = |client_first: [bool; 2]| {
        let mut at_client = Vec::new();
        let mut at_edge = Vec::new();
        for places in copies {
            let (first, last) = (places[0], places[places.len() - 1]);
            let side = view.packets[first].from;
            let (client, edge) = if client_first[side as usize] { (first, last) } else { (last, first) };
            if places.len() > 1 {
                at_client.push(client);
                at_edge.push(edge);
            } else {
                // One of the captures missed it, or it was lost, or cut or merged on the way. Without a TTL that tells, its sender's is likelier.
                let at_first = ttls[side as usize].map(|(near, _)| view.packets[first].ttl == near);
                let of_client = at_first.map_or(side == Side::Client, |first| first == client_first[side as usize]);
                if of_client { at_client.push(first) } else { at_edge.push(first) }
            }
        }
        at_client.sort_unstable();
        at_edge.sort_unstable();
        (at_client, at_edge)
    };
    // The clocks of the two may be far apart: then both directions' copies come in one order.
    let known = [ttl_says(Side::Client), ttl_says(Side::Server)];
    let orders = [[true, false], [true, true], [false, false]];
    let fits = |order: &&[bool; 2]| known.iter().zip(**order).all(|(known, said)| known.is_none_or(|known| known == said));
    let sane = |order: &&[bool; 2]| {
        let (client, edge) = parted(**order);
        answers(&view, &client, Side::Client) && answers(&view, &edge, Side::Server)
    };
    let order = orders.iter().filter(fits).find(sane).or(orders.iter().find(sane)).copied();
    let (at_client, at_edge) = parted(order.unwrap_or([true, false]));
    let (client, edge) = (view.clone().with_packets(at_client.into_iter()), view.with_packets(at_edge.into_iter()));
    Taps::Two([client, edge].map(Box::new))
}

/// Whether at its own end a side answers at once what a kernel answers by itself: SYN, and SYN-ACK.
fn answers<D: Domain>(view: &View<D>, places: &[usize], side: Side) -> bool {
    let packets = || places.iter().map(|i| &view.packets[*i]);
    let Some(asked) = packets().find(|p| p.from != side && p.flags.syn()) else { return true };
    let answer = packets().find(|p| p.from == side && p.ack().is_some_and(|ack| ack >= 0));
    answer.is_none_or(|answer| answer.at >= asked.at)
}
