//! Whether what passed the client's capture had reached the client: it may stand before the client (an access point, a mirror port, a
//! VPN's end), and what is lost or late behind it looks like the client's own time.
//!
//! In: the client's tape, and a stretch of its own time on it. Out: how much of that is not the client's, and whose it may be. These
//! tell: the client sends again what was answered, so the answer had not come; a kernel acknowledges SYN-ACK, and two segments, at once
//! (RFC 9293, section 3.8.6.3), whatever its program does; and its own timestamps say how far apart its packets left it.

use super::tcp::tape::{Event, Tape};
use super::transport::Endpoint;
use crate::judging::ledger::Owner;
use crate::tcp::flow::Side;
use enumset::EnumSet;

/// Whoever sends something again, or acknowledges two segments, so much later had not got the answer when it passed.
const LATE: i64 = 10_000_000;
/// A kernel answers a SYN-ACK sooner than this: whatever takes longer has a way to go.
const OWN_HOST: i64 = 1_000_000;
/// No kernel puts an acknowledgement off for longer (RFC 9293, section 3.8.6.3).
const LONGEST_PUT_OFF: i64 = 500_000_000;
/// What a program says as soon as it is connected follows the acknowledgement of SYN-ACK no later.
const AT_ONCE: i64 = 1_500_000;
/// Hosts' timestamps run slower or faster by as much: one in so many parts.
const DRIFT: i64 = 50;

/// The first part of a stretch, in which what it answers was still under way.
pub(super) struct UnderWay {
    /// Until when.
    pub until: i64,
    /// The packet with which that ended, if there is one.
    pub told: Option<u64>,
    /// Whether that is the client's own, which acknowledges it.
    pub acknowledged: bool,
    /// Who it may have been; one alone is sure.
    pub owners: EnumSet<Owner>,
}

/// How long what came with the packet `came` was still under way to the client behind its capture; `left` is the packet that answers it,
/// absent if none did.
pub(super) fn under_way(tape: &Tape, came: Option<u64>, left: Option<u64>) -> Option<UnderWay> {
    let came = place(tape, came?)?;
    if tape.end != Side::Client || tape.is_own(came) {
        return None;
    }
    let Some(left) = left else { return acknowledged_late(tape, came, tape.events.len().checked_sub(1)?) };
    let left = place(tape, left).filter(|left| *left > came)?;
    asked_again(tape, came, left).or_else(|| opened_late(tape, came, left)).or_else(|| acknowledged_late(tape, came, left))
}

/// How long what left with the packet `left` was under way from the client to its capture, by the client's own timestamps since its packet
/// `told`; `tick` is what they count. Nothing where the capture stands on its host.
pub(super) fn late_to_the_tap(tape: &Tape, told: Option<u64>, left: Option<u64>, tick: i64) -> Option<i64> {
    let [told, left] = [place(tape, told?)?, place(tape, left?)?].map(|i| &tape.events[i]);
    let ticks = left.seen.tsval()?.wrapping_sub(told.seen.tsval()?) as i32;
    let seen = left.at() - told.at();
    let late = seen - i64::from(ticks) * tick;
    (!answers_at_once(tape) && ticks >= 0 && late > LATE + tick + seen / DRIFT).then_some(late)
}

fn place(tape: &Tape, number: u64) -> Option<usize> {
    tape.events.iter().position(|e| e.seen.packet == number)
}

/// The client repeated what had been answered: the answer that it got is the next.
fn asked_again(tape: &Tape, came: usize, left: usize) -> Option<UnderWay> {
    let first = tape.events[came];
    let answered = |e: &Event| first.seen.ack().is_some_and(|ack| e.range().1 <= ack);
    let again = |i: &usize| {
        let e = &tape.events[*i];
        tape.is_own(*i) && !e.is_news() && !e.is_full_of_nothing() && answered(e) && e.at() - first.at() > LATE
    };
    let again = (came + 1..left).rfind(again)?;
    let next = (again + 1..left).find(|i| !tape.is_own(*i));
    let until = tape.events[next.unwrap_or(again)].at();
    // By its timestamp's echo, which of the answers it took (RFC 7323, section 4.3).
    let echoed =
        tape.events[next.unwrap_or(again)..=left].iter().filter(|e| e.seen.from == tape.end).find_map(|e| e.seen.tsecr());
    let told = |i: usize| tape.events[i].seen.tsval();
    let lost = next.is_some_and(|next| echoed.is_some() && echoed == told(next) && told(next) != told(came));
    Some(UnderWay {
        until,
        told: next.map(|i| tape.events[i].seen.packet),
        acknowledged: false,
        owners: if lost { Owner::Loss.into() } else { Owner::Loss | Owner::Path },
    })
}

/// The client's kernel acknowledged SYN-ACK late, and its program spoke in the same tick: it had not waited.
fn opened_late(tape: &Tape, came: usize, left: usize) -> Option<UnderWay> {
    let (syn_ack, hello) = (&tape.events[came], &tape.events[left]);
    let opens = |i: &usize| tape.is_own(*i) && tape.events[*i].is_full_of_nothing() && tape.events[*i].seen.ack() >= Some(0);
    let told = &tape.events[(came + 1..left).find(opens).filter(|_| syn_ack.seen.flags.syn())?];
    let same_tick = hello.seen.tsval().is_some() && hello.seen.tsval() == told.seen.tsval();
    let at_once = same_tick && hello.at() - told.at() <= AT_ONCE;
    (at_once && told.at() - syn_ack.at() > LATE).then(|| told_by(told))
}

/// The client's kernel acknowledged several segments late, or one later than any kernel does.
fn acknowledged_late(tape: &Tape, came: usize, left: usize) -> Option<UnderWay> {
    if answers_at_once(tape) {
        return None;
    }
    // Its own word before did not count them yet, though they may have passed here before it.
    let known = tape.events[..came].iter().filter(|e| e.seen.from == tape.end).filter_map(|e| e.seen.ack()).max().unwrap_or(0);
    let open = |e: &&Event| e.seen.from != tape.end && e.is_news() && !e.seen.flags.syn() && e.range().1 > known;
    let segments = tape.events[..=came].iter().filter(open);
    let several = segments.map(|e| if e.seen.len() > tape.full() { 2 } else { 1 }).sum::<u32>() > 1;
    let end = tape.events[came].range().1;
    let told = tape.events[came + 1..=left].iter().find(|e| e.seen.from == tape.end && e.seen.ack() >= Some(end))?;
    let late = told.at() - tape.events[came].at();
    (several && late > LATE || late > LONGEST_PUT_OFF && told.is_full_of_nothing()).then(|| told_by(told))
}

/// It had come by then at the latest; whether the way to the client was long or its machine slept, nothing tells.
fn told_by(told: &Event) -> UnderWay {
    UnderWay { until: told.at(), told: Some(told.seen.packet), acknowledged: true, owners: Owner::Client | Owner::Path }
}

/// Whether the client's kernel answered SYN-ACK so soon that it is the capture's own.
fn answers_at_once(tape: &Tape) -> bool {
    let Some(ack) = tape.events.iter().position(|e| e.seen.from == tape.end && e.seen.ack() >= Some(0)) else { return true };
    let syn_ack = tape.events[..ack].iter().rfind(|e| e.seen.from != tape.end && e.seen.flags.syn());
    syn_ack.is_none_or(|syn_ack| tape.events[ack].at() - syn_ack.at() < OWN_HOST)
}
