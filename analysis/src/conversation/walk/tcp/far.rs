//! What one observer can tell of the far end: a tape of it, with its events where its own packets put them.
//!
//! In: the tape of the end that was captured. Out: the far end's, on a clock of its own that reads like ours for what came the quickest
//! way; the whole round trip lies on the way towards it. Departures there are told by TCP timestamps (RFC 7323), arrivals by the prompt
//! acknowledgement of its kernel, the copy that arrived by the timestamp that is echoed (RFC 3522). What nothing tells is guessed, and
//! marked so: whoever names owners must leave room for it.

use super::super::transport::Endpoint;
use super::tape::{Event, Known, Tape};
use crate::clock::{Domain, Instant};
use crate::tcp::flow::View;
use crate::tcp::stamps::Stamps;

/// How much later than the quickest a packet must have come for its timestamp to tell of it, beside a tick.
const JITTER: i64 = 2_000_000;
/// An acknowledgement may be put off for so long (RFC 9293, section 3.8.6.3; Linux), and by other stacks, which start at a higher TTL.
const PUT_OFF: i64 = 50_000_000;
pub(in super::super) const PUT_OFF_OTHERS: i64 = 210_000_000;
const LINUX_TTL: u8 = 64;
/// A copy that came needlessly is told at once (D-SACK, RFC 2883).
const TOLD_AT_ONCE: i64 = 5_000_000;
/// Sooner than this nobody answers a copy, whatever the quickest round trip seems to be.
const LEAST_ANSWER: i64 = 50_000;
/// Guessed to have come so much sooner, so that what it let go comes behind it.
const AHEAD: i64 = 1_500_000;
/// And a round trip may be shorter than the others by so much: one in so many parts.
const SOONER: i64 = 8;

/// The far end, as far as it is known.
pub(in super::super) struct Far {
    pub tape: Tape,
    /// The usual round trip between the ends: that of the TCP handshake, or the shortest seen.
    pub round_trip: i64,
}

/// How much of the wait for `answer` the far end's kernel may have put off its acknowledgement, without its program's doing.
pub(in super::super) fn put_off(answer: &Event) -> i64 {
    if answer.seen.ttl > LINUX_TTL { PUT_OFF_OTHERS } else { PUT_OFF }
}

/// What `near` tells of the other end.
pub(in super::super) fn far<D: Domain>(near: &mut Tape, view: &View<D>) -> Far {
    let end = near.end.peer();
    let stamps = Stamps::of(view, end);
    if !stamps.tell() {
        near.events.iter_mut().filter(|e| e.seen.from == end).for_each(|e| e.seen = e.seen.without_tsval());
    }
    let mut left = departures(near, stamps.tick().nanos());
    let mut deliveries = deliveries(near);
    if !deliveries.is_sorted_by_key(|d| d.answer) {
        deliveries.sort_by_key(|d| d.answer);
    }
    let round_trip = round_trip(near, &deliveries);
    // Nobody acknowledges what has not come.
    let mut delivered = deliveries.iter().peekable();
    let mut came = i64::MIN;
    for (i, event) in near.events.iter().enumerate().filter(|(_, e)| e.seen.from == end) {
        while let Some(delivery) = delivered.next_if(|d| d.answer <= i) {
            came = came.max(near.events[delivery.copy].at() + round_trip);
        }
        left[i].at = left[i].at.max(came.min(event.at()));
    }
    let mut came: Vec<Option<(i64, Known)>> = vec![None; near.events.len()];
    for delivery in &deliveries {
        // Of several that it may have come for, the first answer tells when.
        if came[delivery.copy].is_none() {
            // What is guessed came no sooner than what is known to have come and had left before it.
            let before = came[..delivery.copy].iter().rev().flatten().find(|(_, known)| *known <= Known::Told);
            let no_sooner = before.map_or(i64::MIN, |(at, _)| *at);
            came[delivery.copy] = Some(arrival(near, delivery, &left, round_trip, no_sooner));
        }
    }
    had_come(near, &left, &mut came);
    // What left before something came no later than that.
    let mut soonest_behind = vec![i64::MAX; came.len() + 1];
    for i in (0..came.len()).rev() {
        soonest_behind[i] = soonest_behind[i + 1].min(came[i].map_or(i64::MAX, |(at, _)| at));
    }
    let mut events = Vec::with_capacity(near.events.len());
    for (i, event) in near.events.iter().enumerate() {
        let (at, known) = match event.seen.from == end {
            true => (left[i].at, left[i].known),
            false => match came[i] {
                Some(told) => told,
                // A repetition that was not needed, or never acknowledged: it tells the far end nothing.
                None if !event.is_full_of_nothing() => continue,
                None => {
                    let early = (AHEAD + (round_trip / 20).min(2 * AHEAD)).min(round_trip / 2);
                    let came = event.at() + round_trip - early;
                    // Round trips differ: what comes back a little sooner may be what it let go.
                    let soonest = event.at() + round_trip - round_trip / SOONER;
                    let back = |(e, _): &(&Event, &Left)| e.seen.from == end && !e.seen.is_empty() && e.at() >= soonest;
                    let freed = near.events[i..].iter().zip(&left[i..]).find(back).map_or(i64::MAX, |(_, left)| left.at - 1);
                    (came.min(freed.max(event.at())).min(soonest_behind[i]), Known::Guessed)
                }
            },
        };
        let mut seen = event.seen;
        seen.at = Instant::from_nanos(at);
        events.push(Event { other: Some(i as u32), ..Event::new(seen, known) });
    }
    let tape = Tape::of(end, events, near.sacks().to_vec(), near.scales(), near.mss());
    for (k, event) in tape.events.iter().enumerate() {
        if let Some(i) = event.other {
            near.events[i as usize].other = Some(k as u32);
        }
    }
    Far { tape, round_trip }
}

/// When one of the far end's packets left it.
#[derive(Clone, Copy)]
struct Left {
    at: i64,
    known: Known,
    /// By its timestamp it left no sooner than this.
    no_sooner: Option<i64>,
}

/// When each of the far end's packets left it.
#[inline]
fn departures(near: &Tape, tick: i64) -> Vec<Left> {
    let end = near.end.peer();
    let first = near.events.iter().filter(|e| e.seen.from == end).find_map(|e| e.seen.tsval());
    let lag = |e: &Event| {
        let ticks = e.seen.tsval()?.wrapping_sub(first?) as i32;
        Some(e.at() - i64::from(ticks) * tick)
    };
    let quickest = near.events.iter().filter(|e| e.seen.from == end).filter_map(|e| Some((lag(e)?, e.at()))).min();
    let left = |e: &Event| {
        let theirs = quickest.filter(|_| e.seen.from == end);
        let Some(((least, at), lag)) = theirs.zip(lag(e)) else {
            return Left { at: e.at(), known: Known::Guessed, no_sooner: None };
        };
        // Some hosts' timestamps run slower or faster by a few per cent.
        let slack = tick + JITTER + (e.at() - at).abs() / 50;
        let late = lag - least;
        Left { at: if late > slack { e.at() - late } else { e.at() }, known: Known::Told, no_sooner: Some(e.at() - late) }
    };
    let mut found: Vec<Left> = near.events.iter().map(left).collect();
    // What lies behind something in the stream left no sooner than that did.
    let (mut reached, mut last) = (i64::MIN, i64::MIN);
    for (event, left) in near.events.iter().zip(&mut found).filter(|(e, _)| e.seen.from == end) {
        if event.seen.start() >= reached {
            left.at = left.at.max(last);
            (reached, last) = (event.seen.end(), left.at);
        }
    }
    found
}

/// Where its packets changed places on their way: whatever the far end acknowledges had come by then, though another packet said so before.
fn had_come(near: &Tape, left: &[Left], came: &mut [Option<(i64, Known)>]) {
    let theirs = || near.events.iter().zip(left).filter(|(e, _)| e.seen.from != near.end);
    if theirs().is_sorted_by_key(|(_, left)| left.at) {
        return;
    }
    let mut told: Vec<(i64, i64)> = theirs().filter_map(|(e, left)| Some((e.seen.ack()?, left.at))).collect();
    told.sort_unstable();
    let mut soonest = i64::MAX;
    for (_, at) in told.iter_mut().rev() {
        soonest = soonest.min(*at);
        *at = soonest;
    }
    for (event, came) in near.events.iter().zip(came) {
        if let Some((at, _)) = came
            && let Some((_, told)) = told.get(told.partition_point(|(ack, _)| *ack < event.range().1))
        {
            *at = (*at).min(*told).max(event.at());
        }
    }
}

/// Something of ours that the far end got.
struct Delivery {
    /// The copy that came.
    copy: usize,
    /// The first packet of the far end's that says so.
    answer: usize,
}

/// Which copies of our own came, by what the far end acknowledges.
fn deliveries(near: &Tape) -> Vec<Delivery> {
    let own = |i: &usize| near.is_own(*i) && !near.events[*i].is_full_of_nothing();
    let (any_sack, any_twice) = (near.any_sack(), near.events.iter().any(|e| e.seen.from == near.end && e.range().0 < e.before));
    let least = if any_twice { quickest(near).unwrap_or(0) } else { 0 };
    let mut found = Vec::with_capacity(near.events.len());
    for i in (0..near.events.len()).filter(own).filter(|i| near.events[*i].is_news()) {
        let (start, end) = near.events[i].range();
        let answer = |byte: i64| {
            let covers = |a: &usize| {
                let seen = &near.events[*a].seen;
                seen.ack().is_some_and(|ack| ack > byte)
                    || any_sack && near.sack(*a).iter().any(|(left, right)| *left <= byte && byte < *right)
            };
            (i + 1..near.events.len()).filter(|a| !near.is_own(*a)).find(covers)
        };
        if !any_twice {
            // Nothing was sent twice: what came is what was sent.
            found.extend(answer(end - 1).map(|answer| Delivery { copy: i, answer }));
            continue;
        }
        let delivery = |byte: i64| {
            let answer = answer(byte)?;
            let copies = || (i..answer).filter(own).filter(|c| near.events[*c].carries(byte));
            Some(Delivery { copy: came(near, least, copies(), answer).unwrap_or(i), answer })
        };
        let Some(last) = delivery(end - 1) else { continue };
        // Of what was captured in one piece and sent again in several, the beginning came with another copy.
        let first = delivery(start).filter(|first| first.copy > i && first.copy != last.copy);
        found.extend(first.into_iter().chain([last]));
    }
    found
}

/// Which of several copies an answer is for; `least` is the quickest round trip.
fn came(near: &Tape, least: i64, copies: impl Iterator<Item = usize> + Clone, answer: usize) -> Option<usize> {
    let first = copies.clone().next()?;
    copies.clone().nth(1)?;
    let stamp = |i: usize| near.events[i].seen.tsval();
    let distinct = copies.clone().skip(1).all(|c| stamp(c).is_some() && stamp(c) != stamp(first));
    // Behind a hole, what is echoed is of what came before the hole (RFC 7323, section 4.3).
    let in_order = near.events[answer].seen.ack().is_some_and(|ack| ack > near.events[first].range().0);
    if distinct
        && in_order
        && let Some(echo) = near.events[answer].seen.tsecr()
        && let Some(copy) = copies.clone().find(|c| stamp(*c) == Some(echo))
    {
        return Some(copy);
    }
    // Told soon afterwards that a copy had come twice, it was for the first.
    let soon = near.events[answer].at() + TOLD_AT_ONCE;
    let range = near.events[first].range();
    let twice = (answer..near.events.len())
        .take_while(|i| near.events[*i].at() <= soon)
        .any(|i| !near.is_own(i) && near.came_twice(i).is_some_and(|left| left <= range.0));
    if twice {
        return Some(first);
    }
    // The last that was sent half the time of the quickest round trip before.
    copies.filter(|c| near.events[answer].at() - near.events[*c].at() >= (least / 2).max(LEAST_ANSWER)).last().or(Some(first))
}

/// The shortest time from something of ours, sent once, to its acknowledgement.
fn quickest(near: &Tape) -> Option<i64> {
    let single = |i: usize| {
        let (start, end) = near.events[i].range();
        let copies = near.events.iter().filter(|e| e.seen.from == near.end && e.carries(end - 1)).count();
        let answer =
            near.events[i + 1..].iter().find(|e| e.seen.from != near.end && e.seen.ack().is_some_and(|ack| ack >= end))?;
        (copies == 1 && end > start).then(|| answer.at() - near.events[i].at())
    };
    (0..near.events.len()).filter(|i| near.is_own(*i)).filter_map(single).min()
}

fn round_trip(near: &Tape, deliveries: &[Delivery]) -> i64 {
    let of = |d: &Delivery| near.events[d.answer].at() - near.events[d.copy].at();
    // Of a SYN or SYN-ACK that was sent again nobody knows which one was answered (Karn's algorithm).
    let once = near.events.iter().filter(|e| e.seen.from == near.end && e.seen.flags.syn()).count() == 1;
    // What answers sooner than the far end can stands on the way to it, and has come from elsewhere; if it is the far end itself, SYN or
    // SYN-ACK was late.
    let ttl = |d: &Delivery| near.events[d.answer].seen.ttl;
    let syn = deliveries.iter().find(|d| once && near.events[d.copy].seen.flags.syn()).map(|d| (of(d), ttl(d)));
    let far_enough = |d: &&Delivery| syn.is_none_or(|(long, from)| of(d) >= long * 2 / 5 || ttl(d) == from);
    let sure = deliveries.iter().filter(|d| once || !near.events[d.copy].seen.flags.syn());
    sure.filter(far_enough).map(of).min().or_else(|| deliveries.iter().map(of).min()).unwrap_or(0).max(0)
}

/// When a copy came; if that must be guessed, no sooner than this.
fn arrival(near: &Tape, delivery: &Delivery, left: &[Left], round_trip: i64, no_sooner: i64) -> (i64, Known) {
    let (answer, sent) = (&near.events[delivery.answer], &near.events[delivery.copy]);
    let Left { at: told, known, .. } = left[delivery.answer];
    let usual = sent.at() + round_trip;
    if answer.seen.flags.syn()
        || at_once(near, delivery)
        || told <= usual + JITTER + (round_trip / 10).min(JITTER) && answer.is_full_of_nothing()
    {
        return (told.max(sent.at()), known.min(Known::Told));
    }
    match answer.is_full_of_nothing() {
        // An acknowledgement of its own that was put off longer than any kernel does: it came late.
        true if told - usual > put_off(answer) => (told, known),
        // Its kernel would have acknowledged by itself what its program did not answer for so long.
        _ => {
            let soonest = (told - put_off(answer)).max(usual).max(lacked(near, sent, left));
            (soonest.max(no_sooner).min(told), Known::Guessed)
        }
    }
}

/// Whether no kernel puts this acknowledgement off: it tells of data behind a hole, or that a hole was filled (RFC 5681, section 4.2).
fn at_once(near: &Tape, delivery: &Delivery) -> bool {
    if !near.any_sack() || !near.events[delivery.answer].is_full_of_nothing() {
        return false;
    }
    let end = near.events[delivery.copy].range().1;
    let behind = |i: usize| !near.is_own(i) && near.sack(i).iter().any(|(left, _)| *left >= end);
    near.events[delivery.answer].seen.ack() < Some(end) || (delivery.copy + 1..delivery.answer).any(behind)
}

/// Until when the far end is known not to have had all of a packet: whatever leaves acknowledges all that came before the first hole.
fn lacked(near: &Tape, sent: &Event, left: &[Left]) -> i64 {
    let end = sent.range().1;
    let lacking = |e: &Event| e.seen.from != near.end && e.seen.ack().is_some_and(|ack| ack < end);
    let told = near.events.iter().zip(left).filter(|(e, _)| lacking(e));
    told.filter_map(|(_, left)| left.no_sooner).max().unwrap_or(i64::MIN)
}
