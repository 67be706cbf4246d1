//! Whether what passed the client's capture had reached the client: it may stand before the client (an access point, a mirror port, a
//! VPN's end), and what is lost or late behind it looks like the client's own time.
//!
//! In: the client's tape, and a stretch of its own time on it. Out: how much of that is not the client's, and whose it may be. Two things
//! tell: the client sends again what was answered, so the answer had not come; and a kernel acknowledges two segments at once
//! (RFC 9293, section 3.8.6.3), whatever its program does.

use super::tcp::tape::{Event, Tape};
use super::transport::Endpoint;
use crate::judging::ledger::Owner;
use crate::tcp::flow::Side;
use enumset::EnumSet;

/// Whoever sends something again, or acknowledges two segments, so much later had not got the answer when it passed.
const LATE: i64 = 10_000_000;
/// A kernel answers a SYN-ACK sooner than this: whatever takes longer has a way to go.
const OWN_HOST: i64 = 1_000_000;

/// The first part of a stretch, in which what it answers was still under way.
pub(super) struct UnderWay {
    /// Until when.
    pub until: i64,
    /// Who it may have been; one alone is sure.
    pub owners: EnumSet<Owner>,
}

/// How long what came with the packet `came` was still under way to the client behind its capture; `left` is the packet that answers it.
pub(super) fn under_way(tape: &Tape, came: Option<u64>, left: Option<u64>) -> Option<UnderWay> {
    let place = |number: Option<u64>| tape.events.iter().position(|e| Some(e.seen.packet) == number);
    let (came, left) = (place(came)?, place(left)?);
    if tape.end != Side::Client || tape.is_own(came) || left <= came {
        return None;
    }
    asked_again(tape, came, left).or_else(|| acknowledged_late(tape, came, left))
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
    Some(UnderWay { until, owners: if lost { Owner::Loss.into() } else { Owner::Loss | Owner::Path } })
}

/// The client's kernel acknowledged several segments late.
fn acknowledged_late(tape: &Tape, came: usize, left: usize) -> Option<UnderWay> {
    if answers_at_once(tape) {
        return None;
    }
    let since = tape.events[..came].iter().rposition(|e| e.seen.from == tape.end).unwrap_or(0);
    let segments = tape.events[since..=came].iter().filter(|e| e.seen.from != tape.end && e.is_news() && !e.seen.flags.syn());
    let several = segments.map(|e| if e.seen.len() > tape.full() { 2 } else { 1 }).sum::<u32>() > 1;
    let end = tape.events[came].range().1;
    let told = tape.events[came + 1..=left].iter().find(|e| e.seen.from == tape.end && e.seen.ack() >= Some(end))?;
    let late = told.at() - tape.events[came].at() > LATE;
    (several && late).then(|| UnderWay { until: told.at(), owners: Owner::Client | Owner::Path })
}

/// Whether the client's kernel answered SYN-ACK so soon that it is the capture's own.
fn answers_at_once(tape: &Tape) -> bool {
    let Some(ack) = tape.events.iter().position(|e| e.seen.from == tape.end && e.seen.ack() >= Some(0)) else { return true };
    let syn_ack = tape.events[..ack].iter().rfind(|e| e.seen.from != tape.end && e.seen.flags.syn());
    syn_ack.is_none_or(|syn_ack| tape.events[ack].at() - syn_ack.at() < OWN_HOST)
}
