//! The same packet at both ends: which departure became which arrival.
//!
//! In: two tapes. Out: each event knows its other self, and how long the way usually took. Copies are matched by all that a packet
//! keeps on its way, first in, first out; stripped timestamps leave the range; behind offloads whoever sent the last byte counts.

use super::super::transport::Ways;
use super::tape::{Event, Tape};
use crate::tcp::flow::Side;

/// A way may be shorter than the shortest known by so much: stamps jitter.
const SLACK: i64 = 3_000_000;

/// Matches the packets of both directions.
pub(in super::super) fn pair(client: &mut Tape, edge: &mut Tape) -> Ways {
    let mut ways = Ways::default();
    for from in [Side::Client, Side::Server] {
        let (sender, receiver) = if from == Side::Client { (&mut *client, &mut *edge) } else { (&mut *edge, &mut *client) };
        let copies = exact(sender, receiver, from);
        let mut raw: Vec<i64> = receiver
            .events
            .iter()
            .filter(|e| e.seen.from == from)
            .filter_map(|e| Some(e.at() - sender.events[e.other? as usize].at()))
            .collect();
        raw.sort_unstable();
        let least = raw.first().copied();
        for (departures, arrivals) in copies {
            alike(sender, receiver, &departures, &arrivals, least);
        }
        ways.least[from as usize] = least;
        ways.usual[from as usize] = raw.get(raw.len() / 2).copied();
        roughly(sender, receiver, from, least);
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

/// Copies that look alike: departures and arrivals.
type Copies = (Vec<u32>, Vec<u32>);

/// Matches what has one departure and one arrival, and what lost none of its copies; gives the rest.
fn exact(sender: &mut Tape, receiver: &mut Tape, from: Side) -> Vec<Copies> {
    let of = |tape: &Tape| -> Vec<(Key, u32)> {
        let mut keys: Vec<(Key, u32)> =
            tape.events.iter().enumerate().filter(|(_, e)| e.seen.from == from).map(|(i, e)| (key(e), i as u32)).collect();
        keys.sort_unstable();
        keys
    };
    let (left, came) = (of(sender), of(receiver));
    let (mut at, mut copies) = (0, Vec::new());
    for arrivals in came.chunk_by(|a, b| a.0 == b.0) {
        let key = arrivals[0].0;
        at += left[at..].partition_point(|(other, _)| *other < key);
        let departures = left[at..].partition_point(|(other, _)| *other == key);
        let departures = &left[at..at + departures];
        if departures.len() > arrivals.len() {
            let places = |found: &[(Key, u32)]| found.iter().map(|(_, i)| *i).collect();
            copies.push((places(departures), places(arrivals)));
            continue;
        }
        for ((_, departure), (_, arrival)) in departures.iter().zip(arrivals) {
            join(sender, receiver, *departure, *arrival);
        }
    }
    copies
}

fn join(sender: &mut Tape, receiver: &mut Tape, departure: u32, arrival: u32) {
    receiver.events[arrival as usize].other = Some(departure);
    sender.events[departure as usize].other.get_or_insert(arrival);
}

/// Of copies that look alike, some of which were lost, those came that would have taken the usual way; else the first: one delay
/// explains more than a loss and a delay.
fn alike(sender: &mut Tape, receiver: &mut Tape, departures: &[u32], arrivals: &[u32], least: Option<i64>) {
    let mut next = 0;
    for (k, arrival) in arrivals.iter().enumerate() {
        // Of those that may be meant, as many must be left as there are arrivals to come.
        let last = departures.len() - (arrivals.len() - k - 1);
        let off = |d: &usize| {
            let way = receiver.events[*arrival as usize].at() - sender.events[departures[*d] as usize].at();
            way - least.unwrap_or(way)
        };
        let usual = (next..last).rfind(|d| least.is_some() && (-SLACK..SLACK).contains(&off(d)));
        let chosen = usual.unwrap_or(next);
        join(sender, receiver, departures[chosen], *arrival);
        next = chosen + 1;
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
            join(sender, receiver, k as u32, i as u32);
        }
    }
}
