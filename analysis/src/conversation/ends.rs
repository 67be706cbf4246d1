//! An end's own time, divided by what its host says of it and by what it asked others.
//!
//! In: a stretch on an end's clock that was the end's own. Out: ledger entries that sum to it, behind those that are there. Without evidence
//! from the host, app and host are not told apart.

use crate::clock::{Client, Edge, Instant, Span};
use crate::conversation::handshake::{Handshake, waited_for_others};
use crate::conversation::host::HostTrace;
use crate::judging::ledger::{Cited, Entry, Kind, Ledger, Missing, Owner, Phase};
use crate::tcp::flow::{Seen, Side, View};

/// Two capture timestamps of one host: softirq and clock granularity.
const STAMP_ERROR: Span = Span::from_micros(100);
/// A kernel that leaves something unanswered for less is only slow.
const IGNORED: Span = Span::from_millis(100);

/// Divides a stretch of the client's own time by what its kernel says of its threads, and by what it asked others.
pub(crate) fn client_side(
    handshake: &Handshake,
    phase: Phase,
    from: Instant<Client>,
    to: Instant<Client>,
    packets: Cited,
    entries: &mut Vec<Entry>,
) {
    let asked = waited_for_others(&handshake.client_asked, from, to);
    client_time(handshake.client_host.as_ref(), asked, phase, from, to, packets, entries);
}

/// Divides a stretch of the client's own by what its host says of it; `asked` are the frames of others' answers that it waited for.
pub(crate) fn client_time(
    host: Option<&HostTrace<Client>>,
    asked: Option<[u64; 2]>,
    phase: Phase,
    from: Instant<Client>,
    to: Instant<Client>,
    packets: Cited,
    entries: &mut Vec<Entry>,
) {
    let Some(trace) = host else {
        let mut entry = match asked {
            Some(frames) => Entry::new(phase, Owner::ClientApp, Kind::Dependency, to - from, STAMP_ERROR).between(frames),
            None => Entry::new(phase, Owner::Client, None, to - from, STAMP_ERROR).between(packets),
        };
        entry.missing.insert(Missing::ClientHost);
        return entries.push(entry);
    };
    let usage = trace.usage(from, to);
    let parts = [
        (Owner::ClientHost, Some(Kind::CpuStarved), usage.waiting),
        (Owner::ClientHost, Some(Kind::Stopped), usage.stopped),
        (Owner::ClientHost, Some(Kind::CpuStolen), usage.stolen),
        (Owner::ClientApp, Some(Kind::Computing), usage.computing),
        (Owner::ClientApp, Some(if asked.is_some() { Kind::Dependency } else { Kind::Asleep }), usage.asleep),
        (Owner::Client, None, usage.unobserved),
    ];
    let entry = |(owner, kind, span): (Owner, Option<Kind>, Span)| {
        let error = usage.error.min(span.max(Span::from_millis(1))) + STAMP_ERROR;
        Entry::new(phase, owner, kind, span, error).between(packets.clone())
    };
    entries.extend(parts.into_iter().map(entry));
}

/// Divides the edge's stretch between a packet that came to it and one that left it.
pub(crate) fn edge_side(
    handshake: &Handshake,
    phase: Phase,
    from: Instant<Edge>,
    to: Instant<Edge>,
    packets: [Option<u64>; 2],
    entries: &mut Vec<Entry>,
) {
    let cited = || packets.into_iter().flatten();
    let whole = (to - from).at_least_zero();
    if handshake.edge.as_ref().is_some_and(|view| kernel_ignored(view, packets[0], from, to)) {
        return entries.push(Entry::new(phase, Owner::EdgeHost, Kind::AcceptQueue, whole, STAMP_ERROR).between(cited()));
    }
    let asked = waited_for_others(&handshake.edge_asked, from, to);
    let unsplit = |rest: Span| {
        let mut unsplit = match asked {
            Some(frames) => Entry::new(phase, Owner::EdgeApp, Kind::Dependency, rest, STAMP_ERROR).between(frames),
            None => Entry::new(phase, Owner::Edge, None, rest, STAMP_ERROR).between(cited()),
        };
        unsplit.missing.insert(Missing::EdgeHost);
        unsplit
    };
    let Some(trace) = &handshake.edge_host else { return entries.push(unsplit(whole)) };
    let mut parts = Ledger::open(whole);
    // Before the program accepted the connection, what is not the CPU's fault is the queue's.
    let accepted = handshake.edge_log.as_ref().map_or(from, |log| log.accepted.max(from).min(to));
    for (from, to, queued) in [(from, accepted, true), (accepted, to, false)] {
        let usage = trace.usage(from, to);
        let asleep = if asked.is_some() { Kind::Dependency } else { Kind::Asleep };
        let idle = if queued { (Owner::EdgeHost, Kind::AcceptQueue) } else { (Owner::EdgeApp, asleep) };
        for (owner, kind, span) in [
            (Owner::EdgeHost, Kind::CpuStarved, usage.waiting),
            (Owner::EdgeHost, Kind::Stopped, usage.stopped),
            (Owner::EdgeHost, Kind::CpuStolen, usage.stolen),
            (Owner::EdgeApp, Kind::Computing, usage.computing),
            (idle.0, idle.1, usage.asleep),
        ] {
            let error = usage.error.min(span.max(Span::from_millis(1))) + STAMP_ERROR;
            parts.charge(Entry::new(phase, owner, kind, span, error).between(cited()));
        }
    }
    let rest = parts.remaining();
    parts.charge(unsplit(rest));
    entries.append(&mut parts.entries);
}

/// Whether the edge's kernel itself left a packet unanswered: the same SYN or ClientHello, or the first piece of it, came again, in
/// the edge's own capture, before anything acknowledged it (a full accept queue).
fn kernel_ignored(view: &View<Edge>, came: Option<u64>, from: Instant<Edge>, to: Instant<Edge>) -> bool {
    if to - from <= IGNORED {
        return false;
    }
    // Bare acknowledgements look alike: none of them is another's copy.
    let tells = |p: &&Seen<Edge>| p.from == Side::Client && (p.flags.syn() || !p.is_empty());
    let Some(came) = view.packets.iter().find(|p| Some(p.packet) == came).filter(tells) else { return false };
    let acknowledged = view
        .sent_by(Side::Server)
        .find(|p| p.at >= came.at && p.ack().is_some_and(|a| a >= came.end()) && (came.is_empty() || !p.flags.syn()))
        .map_or(to, |p| p.at);
    let again = |p: &&Seen<Edge>| {
        p.at > came.at
            && p.at <= acknowledged
            && p.flags.syn() == came.flags.syn()
            && (p.flags.syn() || !p.is_empty())
            && p.end() <= came.end()
            && !view.sent_by(Side::Server).any(|q| q.at < p.at && q.ack() >= Some(p.end()) && (p.is_empty() || !q.flags.syn()))
    };
    acknowledged - came.at > IGNORED && view.sent_by(Side::Client).any(|p| again(&p))
}
