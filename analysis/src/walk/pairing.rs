//! The same packet at both ends: which departure became which arrival.
//!
//! In: two tapes. Out: each event knows its other self, and how long the way usually took. Copies are matched by all that a packet
//! keeps on its way, first in, first out; stripped timestamps leave the range; behind offloads whoever sent the last byte counts.

use super::tape::{Event, Tape};
use crate::flow::Side;

/// A way may be shorter than the shortest known by so much: stamps jitter.
const SLACK: i64 = 3_000_000;

/// How long the ways took, across the two clocks, by the side that sent; absent where no packet was seen at both ends.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Ways {
    pub least: [Option<i64>; 2],
    pub usual: [Option<i64>; 2],
}

/// Matches the packets of both directions.
pub(super) fn pair(client: &mut Tape, edge: &mut Tape) -> Ways {
    let (mut ways, mut scratch) = (Ways::default(), Vec::new());
    for from in [Side::Client, Side::Server] {
        let (sender, receiver) = if from == Side::Client { (&mut *client, &mut *edge) } else { (&mut *edge, &mut *client) };
        exact(sender, receiver, from, &mut scratch);
        let mut raw: Vec<i64> = receiver
            .events
            .iter()
            .filter(|e| e.seen.from == from)
            .filter_map(|e| Some(e.at() - sender.events[e.other? as usize].at()))
            .collect();
        raw.sort_unstable();
        ways.least[from as usize] = raw.first().copied();
        ways.usual[from as usize] = raw.get(raw.len() / 2).copied();
        roughly(sender, receiver, from, raw.first().copied());
    }
    ways
}

type Key = (i64, i64, i64, u8, u32, u16);

fn key(e: &Event) -> Key {
    let seen = &e.seen;
    // ECN's bits are changed on the way by those who may.
    (
        seen.start(),
        seen.len(),
        seen.ack().unwrap_or(-2),
        seen.flags.0 & 0x17,
        seen.tsval().unwrap_or(0),
        seen.ip_id().unwrap_or(0),
    )
}

fn exact(sender: &mut Tape, receiver: &mut Tape, from: Side, scratch: &mut Vec<(Key, u32)>) {
    let of = |tape: &Tape| -> Vec<(Key, u32)> {
        let mut keys: Vec<(Key, u32)> =
            tape.events.iter().enumerate().filter(|(_, e)| e.seen.from == from).map(|(i, e)| (key(e), i as u32)).collect();
        keys.sort_unstable();
        keys
    };
    *scratch = of(sender);
    let mut left = scratch.iter().peekable();
    for (key, arrival) in of(receiver) {
        while left.peek().is_some_and(|(other, _)| *other < key) {
            left.next();
        }
        if let Some((_, departure)) = left.next_if(|(other, _)| *other == key) {
            receiver.events[arrival as usize].other = Some(*departure);
            sender.events[*departure as usize].other = Some(arrival);
        }
    }
}

/// What something on the way changed, cut or merged.
fn roughly(sender: &mut Tape, receiver: &mut Tape, from: Side, least: Option<i64>) {
    for i in 0..receiver.events.len() {
        let arrival = receiver.events[i];
        if arrival.seen.from != from || arrival.other.is_some() {
            continue;
        }
        let carries = |e: &Event| {
            e.seen.from == from
                && if arrival.is_full_of_nothing() {
                    e.is_full_of_nothing() && e.seen.ack() == arrival.seen.ack() && e.other.is_none()
                } else {
                    e.carries(arrival.range().1 - 1)
                }
        };
        let same_stamp =
            |e: &Event| e.seen.tsval().is_none() || arrival.seen.tsval().is_none() || e.seen.tsval() == arrival.seen.tsval();
        let copies = || (0..sender.events.len()).filter(|k| carries(&sender.events[*k]) && same_stamp(&sender.events[*k]));
        let in_time = |k: &usize| least.is_none_or(|least| arrival.at() - sender.events[*k].at() >= least - SLACK);
        let unmatched = |k: &usize| sender.events[*k].other.is_none();
        let found = copies().filter(in_time).rfind(unmatched).or_else(|| copies().rfind(in_time)).or_else(|| copies().next());
        if let Some(k) = found {
            receiver.events[i].other = Some(k as u32);
            sender.events[k].other.get_or_insert(i as u32);
        }
    }
}
