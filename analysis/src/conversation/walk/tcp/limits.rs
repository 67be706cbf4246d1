//! What let a departure go: the program, or TCP's rules for senders.
//!
//! In: a tape and one of its own departures. Out: [`Freed`]. The classes are those of TCP root-cause analysis (Siekkinen et al., 2005;
//! RFC 4898's sender, receiver and network limits; Dapper, SOSR 2017), told from packets: new data leaves with the news (an
//! acknowledgement, SACK, a window) that allowed it.

use super::super::transport::{Endpoint, Freed, Rule};
use super::far::put_off;
use super::tape::{Known, Tape};

/// Data that Nagle's algorithm held leaves with the acknowledgement, in the same interrupt.
const AT_ONCE: i64 = 1_500_000;
/// What waited less cost nothing, and may have left by chance when an acknowledgement came.
const LEAST_WAIT: i64 = 2_000_000;
/// After so long a silence it is no chance that something leaves with the next packet that comes.
const LONG_SILENCE: i64 = 50_000_000;
/// A window that opens lets waiting data go at once; later than this, the program had not written yet.
const SOON: i64 = 10_000_000;
/// A wait that no chance ends just when news come, and how soon behind them a kernel sends what they let go.
const LONG_WAIT: i64 = 10_000_000;
const INTERRUPT: i64 = 200_000;
/// Sooner than this no timer of a sender runs out (Linux: two jiffies behind two round trips).
const LEAST_TIMER: i64 = 10_000_000;
/// Two readings of a timestamp that ticks once a millisecond are off by so much.
const READINGS: i64 = 2_000_000;
/// Sooner than this and a round trip neither the persist timer does, nor, with one segment under way, that of a loss probe (RFC 8985,
/// section 7.2) or a repetition (Linux: 200 ms).
const SLOW_TIMER: i64 = 190_000_000;
/// Fewer full segments under way fill no initial window (RFC 6928 has ten).
const WINDOW_SEGMENTS: i64 = 8;

/// What is known of the sender beside its tape.
#[derive(Clone, Copy, Default, Debug)]
pub(in super::super) struct Sender {
    /// Its socket has `TCP_NODELAY` set.
    pub nodelay: bool,
    /// One round trip, for segments that are paced over it.
    pub round_trip: i64,
    /// How far apart an event and what it caused may lie on this tape: nothing where it was captured.
    pub slack: i64,
}

/// What let the fresh departure `d` go, `since` being the news that its turn answers.
pub(in super::super) fn freed(tape: &Tape, d: usize, since: usize, sender: Sender) -> Freed {
    let events = &tape.events;
    let Some(previous) = tape.fresh_before(d).filter(|p| *p > since) else { return first_of_turn(tape, d, since, sender) };
    let news = || news(tape, previous, d);
    if fills_a_small_window(tape, d, previous, sender) {
        return Freed::Timer(Rule::ReceiveWindow);
    }
    if news().next().is_none() {
        return by_timer(tape, d, previous, sender).map_or(Freed::Program, Freed::Timer);
    }
    let late = |n: usize| between(tape, n, d);
    if let Some(freed) = by_window(tape, d, previous, sender) {
        return freed;
    }
    let (start, end) = events[d].range();
    let short = |i: usize| events[i].seen.len() < tape.full() && !events[i].seen.flags.syn();
    if short(d) && !sender.nodelay {
        // Minshall's rule: what counts is the last small segment, not all data.
        let small = (since + 1..=previous)
            .rfind(|i| tape.is_own(*i) && events[*i].is_news() && short(*i) && events[*i].range().1 <= start);
        if let Some(small) = small {
            let acknowledged = |i: &usize| events[*i].seen.ack().is_some_and(|ack| ack >= events[small].range().1);
            let before = (small..=previous).any(|i| !tape.is_own(i) && acknowledged(&i));
            let first = news().find(acknowledged).filter(|_| !before);
            if let Some(first) = first.filter(|n| at_once(tape, *n, d, sender)) {
                return Freed::By { news: first, rule: Rule::Nagle };
            }
        }
    }
    if let Some(freed) = by_classic_nagle(tape, d, previous, sender, short(d)) {
        return freed;
    }
    // What had come already cost nobody a window (RFC 2883, RFC 4015).
    let needless = |i: usize| (i + 1..events.len()).any(|k| !tape.is_own(k) && tape.came_twice(k) == Some(events[i].range().0));
    let again = |i: usize| tape.is_own(i) && !events[i].is_news() && !events[i].is_full_of_nothing();
    let repeated = (since + 1..d).any(|i| again(i) && !(tape.any_sack() && needless(i)));
    // Seen from the other end, what was sent again looks as if it had left late, and a hole may be packets that changed places.
    let holes = sender.slack == 0
        && tape.any_sack()
        && (since + 1..d).any(|i| !tape.is_own(i) && tape.sack(i).iter().any(|(left, _)| Some(*left) > events[i].seen.ack()));
    if repeated || holes {
        return match news().last().filter(|n| late(*n) <= SOON + sender.slack) {
            Some(last) => Freed::By { news: last, rule: Rule::Repair },
            None => Freed::Program,
        };
    }
    let acknowledged = acknowledged_before(tape, previous + 1).unwrap_or(0);
    if start.min(end) - acknowledged >= WINDOW_SEGMENTS * tape.full() {
        let paced = sender.round_trip + sender.round_trip / 4 + SOON;
        let all = news().find(|n| events[*n].seen.ack() >= Some(events[previous].range().1));
        if let Some(all) = all.filter(|n| late(*n) > SOON + sender.slack) {
            return Freed::By { news: all, rule: Rule::CongestionWindow };
        }
        if let Some(first) = news().next().filter(|n| late(*n) <= paced + sender.slack) {
            return Freed::By { news: first, rule: Rule::CongestionWindow };
        }
    }
    by_small_window(tape, d, previous, sender).or_else(|| in_the_same_breath(tape, d, previous, sender)).unwrap_or(Freed::Program)
}

/// How long one event lies behind another.
fn between(tape: &Tape, a: usize, b: usize) -> i64 {
    tape.events[b].at() - tape.events[a].at()
}

/// Whether something left with some news, as far as this tape tells times.
fn at_once(tape: &Tape, news: usize, d: usize, sender: Sender) -> bool {
    (-sender.slack..=AT_ONCE + sender.slack).contains(&between(tape, news, d))
}

/// Up to where the peer had acknowledged, before place `i`.
fn acknowledged_before(tape: &Tape, i: usize) -> Option<i64> {
    (0..i).rev().filter(|i| !tape.is_own(*i)).find_map(|i| tape.events[i].seen.ack())
}

/// Whatever rule a stack has: seen where it left, after a long wait with data under way it left in the interrupt in which news came. A
/// program does not wake for them, and hits that moment once in some hundred times.
fn in_the_same_breath(tape: &Tape, d: usize, previous: usize, sender: Sender) -> Option<Freed> {
    if sender.slack > 0 || between(tape, previous, d) < LONG_WAIT || tape.events[previous].seen.is_empty() {
        return None;
    }
    let last = news(tape, previous, d).last()?;
    let in_time = between(tape, last, d) <= INTERRUPT;
    in_time.then_some(Freed::By { news: last, rule: Rule::CongestionWindow })
}

/// Whether data left by a timer that could not leave before: behind a full segment or (by Nagle's algorithm) a small one that is not
/// acknowledged although two round trips have passed. A program that pauses is acknowledged meanwhile.
fn by_timer(tape: &Tape, d: usize, previous: usize, sender: Sender) -> Option<Rule> {
    let events = &tape.events;
    let acknowledged = acknowledged_before(tape, d).unwrap_or(0);
    let under_way = events[previous].range().1 - acknowledged;
    // Two full segments are acknowledged at once; others may be put off, and where there is one alone, timers leave room for that.
    let several = (0..previous).any(|i| tape.is_own(i) && events[i].is_news() && events[i].range().1 > acknowledged.max(0));
    let put_off = (0..d).rfind(|i| !tape.is_own(*i)).map_or(0, |i| put_off(&events[i]));
    let overdue = match several {
        _ if under_way >= 2 * tape.full() => 0,
        true => sender.round_trip + put_off,
        false => sender.round_trip + SLOW_TIMER,
    };
    let overdue = overdue.max(LEAST_TIMER).max(2 * sender.round_trip);
    // Seen from the other end, only its own timestamps tell how long it paused.
    let untold = sender.slack > 0 && [previous, d].iter().any(|i| events[*i].known > Known::Told);
    let paused = between(tape, previous, d) + if sender.slack > 0 { READINGS } else { 0 };
    if untold || under_way <= 0 || events[previous].seen.is_empty() || paused < overdue {
        return None;
    }
    match events[previous].seen.len() % tape.full() == 0 {
        true => Some(Rule::CongestionWindow),
        false => (!sender.nodelay && events[d].seen.len() < tape.full()).then_some(Rule::Nagle),
    }
}

/// Where a congestion window holds a few segments only: the last before it is full, so that there was more to say, and the next leaves
/// with the first news. A program that wrote by pieces would have ended them anywhere.
fn by_small_window(tape: &Tape, d: usize, previous: usize, sender: Sender) -> Option<Freed> {
    let len = tape.events[previous].seen.len();
    if between(tape, previous, d) < LEAST_WAIT + 2 * sender.slack || len == 0 || len % tape.full() != 0 {
        return None;
    }
    // Seen from the other end a hole may be packets that changed places.
    if sender.slack > 0 && (previous..d).any(|i| !tape.is_own(i) && !tape.sack(i).is_empty()) {
        return None;
    }
    let first = news(tape, previous, d).next()?;
    at_once(tape, first, d, sender).then_some(Freed::By { news: first, rule: Rule::CongestionWindow })
}

/// Where not Minshall's rule holds but Nagle's own (Windows, macOS): a small segment waits until all is acknowledged, and leaves with that.
fn by_classic_nagle(tape: &Tape, d: usize, previous: usize, sender: Sender, short: bool) -> Option<Freed> {
    let events = &tape.events;
    let waited = between(tape, previous, d);
    if sender.nodelay || !short || waited < LEAST_WAIT + 2 * sender.slack || events[previous].seen.is_empty() {
        return None;
    }
    // Seen from the other end only its own timestamps tell when it left.
    if sender.slack > 0 && events[d].known == Known::Guessed {
        return None;
    }
    let all = events[previous].range().1;
    let told = news(tape, previous, d).find(|i| events[*i].seen.ack() >= Some(all))?;
    at_once(tape, told, d, sender).then_some(Freed::By { news: told, rule: Rule::Nagle })
}

/// The first of a turn can have waited for a window, or (seen where it left) behind a small segment of an earlier turn.
fn first_of_turn(tape: &Tape, d: usize, since: usize, sender: Sender) -> Freed {
    if let Some(freed) = by_window(tape, d, since, sender) {
        return freed;
    }
    if fills_a_small_window(tape, d, since, sender) {
        return Freed::Timer(Rule::ReceiveWindow);
    }
    if let Some(told) = told_by_anything(tape, d, since, sender) {
        return Freed::By { news: told, rule: Rule::ReceiveWindow };
    }
    // Seen from the other end, every round looks so unless the small segment came there after its own last data.
    let crossed = |small: &usize| tape.events[*small].other > tape.events[since].other;
    let small = tape.fresh_before(since).filter(|small| !sender.nodelay && (sender.slack == 0 || crossed(small)));
    let short = |i: usize| tape.events[i].seen.len() < tape.full() && !tape.events[i].seen.flags.syn();
    let Some(small) = small.filter(|small| short(*small) && short(d)) else {
        return of_an_earlier_turn(tape, d, since, sender).unwrap_or(Freed::Program);
    };
    let acknowledged =
        |i: usize| !tape.is_own(i) && tape.events[i].seen.ack().is_some_and(|ack| ack >= tape.events[small].range().1);
    let at_once = |n: &usize| between(tape, *n, d) <= AT_ONCE + sender.slack;
    let first = (since + 1..d).find(|i| acknowledged(*i)).filter(|_| !(small..=since).any(acknowledged));
    first.filter(at_once).map_or(Freed::Program, |news| Freed::By { news, rule: Rule::Nagle })
}

/// A window that an earlier turn filled to its last segment holds what a later one has to say (a ChangeCipherSpec for middleboxes came
/// between, which nobody answers).
fn of_an_earlier_turn(tape: &Tape, d: usize, since: usize, sender: Sender) -> Option<Freed> {
    let previous = tape.fresh_before(since)?;
    let len = tape.events[previous].seen.len();
    let full = len > 0 && len % tape.full() == 0;
    full.then(|| in_the_same_breath(tape, d, previous, sender)).flatten()
}

/// Whether a turn began with a piece that filled a window too small for what there was to say: a sender waits for more room, and sends what
/// fits when its persist timer runs out (RFC 9293, section 3.8.6.1; Linux: after its retransmission timeout).
fn fills_a_small_window(tape: &Tape, d: usize, since: usize, sender: Sender) -> bool {
    let events = &tape.events;
    // Seen from the other end only its own timestamps tell when it left.
    let timed = sender.slack == 0 || events[d].known <= Known::Told;
    if !timed || between(tape, since, d) < SLOW_TIMER || events[d].seen.len() >= tape.full() {
        return false;
    }
    let (_, end) = events[d].range();
    let newest = (0..d).rev().find(|i| !tape.is_own(*i) && events[*i].seen.ack().is_some());
    let fills = newest.and_then(|i| tape.right_edge(i)).is_some_and(|edge| edge == end);
    let more = || events[d + 1..].iter().any(|e| e.seen.from == tape.end && e.is_news() && e.range().0 == end);
    fills && more()
}

/// Seen from the other end: after a long silence something left just when a packet of ours came that brought nothing new, as we sent it.
/// What it told there, something on the way may have changed (a SYN proxy that opens a window).
fn told_by_anything(tape: &Tape, d: usize, since: usize, sender: Sender) -> Option<usize> {
    let events = &tape.events;
    if sender.slack == 0 || between(tape, since, d) < LONG_SILENCE {
        return None;
    }
    let last = (since + 1..d).rfind(|i| !tape.is_own(*i))?;
    let known = acknowledged_before(tape, since + 1);
    let nothing_new = events[last].is_full_of_nothing() && events[last].seen.ack() == known;
    (nothing_new && between(tape, last, d) <= sender.slack).then_some(last)
}

/// Events between two departures that told the sender anything new.
fn news(tape: &Tape, previous: usize, d: usize) -> impl Iterator<Item = usize> {
    let events = &tape.events;
    let told = |i: usize| Some((events[i].seen.ack()?, events[i].seen.window));
    let mut known = (0..=previous).rev().filter(|i| !tape.is_own(*i)).find_map(told);
    (previous + 1..d).filter(move |i| {
        let Some((ack, window)) = told(*i).filter(|_| !tape.is_own(*i)) else { return false };
        if known.is_some_and(|(before, _)| ack < before) {
            return false;
        }
        let new = known != Some((ack, window)) || !tape.sack(*i).is_empty();
        known = Some((ack, window));
        new
    })
}

/// The window that was open did not reach so far: the newest counts, for its edge may move back.
fn by_window(tape: &Tape, d: usize, previous: usize, sender: Sender) -> Option<Freed> {
    let (_, end) = tape.events[d].range();
    let newest = (0..=previous).rev().find(|i| !tape.is_own(*i) && tape.events[*i].seen.ack().is_some())?;
    if end <= tape.right_edge(newest)? {
        return None;
    }
    let opened = (previous + 1..d).find(|i| !tape.is_own(*i) && tape.right_edge(*i).is_some_and(|edge| edge >= end))?;
    (between(tape, opened, d) <= SOON + sender.slack).then_some(Freed::By { news: opened, rule: Rule::ReceiveWindow })
}
