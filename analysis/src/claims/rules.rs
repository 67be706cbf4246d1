//! What TCP's rules, an accept queue or a resolver is said to have held: the packets show that it could not go, and then could.

use crate::clock::{Span, Unplaced};
use crate::judging::ledger::{Entry, Kind, Owner};
use crate::tcp::flow::{Seen, Side};

use super::witness::Witness;
use super::{Broken, Case, Claim, SLACK};

/// Fewer full segments under way fill no initial window (RFC 6928 has ten).
const WINDOW_SEGMENTS: i64 = 8;

pub(super) fn check(case: &Case<'_>, found: &mut Vec<Broken>) {
    for entry in case.entries() {
        let why = match (entry.owner, entry.kind) {
            (Owner::Protocol, Some(kind @ (Kind::Nagle | Kind::InitialWindow | Kind::ReceiveWindow))) if !entry.extra_round => {
                held(case, entry, kind)
            }
            (Owner::EdgeHost, Some(Kind::OldConnection)) => old_connection(case),
            (owner, Some(Kind::IgnoredTooBig)) => ignored(case, owner),
            (Owner::EdgeHost, Some(Kind::AcceptQueue)) => queued(case),
            (_, Some(Kind::ZeroWindow)) => unread(case, entry),
            (Owner::Resolver, _) => looked_up(case, entry.span, entry.error),
            (Owner::Protocol, Some(Kind::HelloRetry)) => {
                case.handshake.dialogue.hello_retry.is_none().then_some("there is no HelloRetryRequest")
            }
            // What a host did shows in no packet; `work` holds it to what was sent meanwhile.
            (
                _,
                None
                | Some(
                    Kind::CpuStarved
                    | Kind::Stopped
                    | Kind::CpuStolen
                    | Kind::Asleep
                    | Kind::Idle
                    | Kind::Computing
                    | Kind::Dependency,
                ),
            ) => None,
            // `rounds` has the ways, and the rounds that a protocol asked for; `losses` what was lost.
            (_, Some(Kind::Detour | Kind::Delay | Kind::Out | Kind::Back | Kind::MtuBlackhole)) => None,
            (_, Some(Kind::Nagle | Kind::InitialWindow | Kind::ReceiveWindow | Kind::HelloRetry)) => None,
            // Of another owner it is no kind that this one can have: `sums` says so.
            (_, Some(Kind::OldConnection | Kind::AcceptQueue | Kind::Lookup | Kind::FinalAck)) => None,
        };
        found.extend(why.map(|why| Broken::NotHeld { claim: Claim::of(entry), packets: entry.packets.to_vec(), why }));
    }
}

/// The witness that has both cited packets, and where.
fn cited<'a>(case: &'a Case<'_>, entry: &Entry) -> Option<(&'a Witness, usize, usize)> {
    let [a, b] = entry.packets[..] else { return None };
    let of = |w: &'a Witness| Some((w, w.place(a)?, w.place(b)?));
    let sender = case.witnesses().find_map(of).map(|(w, _, b)| w.packets[b].from)?;
    case.near(sender).and_then(of).or_else(|| case.witnesses().find_map(of))
}

/// From the news to what left with it.
fn held(case: &Case<'_>, entry: &Entry, kind: Kind) -> Option<&'static str> {
    let Some((w, news, left)) = cited(case, entry) else { return Some("no capture has both") };
    let (told, data) = (w.packets[news], w.packets[left]);
    let side = data.from;
    let own = w.end == side;
    if data.is_empty() {
        return put_off(w, news, left, entry); // what waited for an acknowledgement waited for whoever put that off
    }
    let apart = data.at - told.at;
    if told.from == side {
        return if kind == Kind::ReceiveWindow { squeezed(w, left) } else { overdue(w, news, left) };
    }
    if own && apart < Span::ZERO {
        return Some("it left before");
    }
    if apart + entry.error + SLACK < entry.span || own && apart > entry.span + entry.error + SLACK {
        return Some("they lie another time apart");
    }
    match kind {
        Kind::Nagle => nagle(w, news, left),
        Kind::InitialWindow => {
            let under_way = data.start() - w.acknowledged_before(side.peer(), news);
            let last = w.packets[..news].iter().rfind(|p| p.from == side && !p.is_empty());
            let whole = last.is_some_and(|p| p.len() % w.full(side) == 0);
            let in_one_breath = own && apart <= SLACK.percent(15);
            (under_way < WINDOW_SEGMENTS * w.full(side) && !whole && !in_one_breath).then_some("less than a window was under way")
        }
        _ => {
            let edge = |p: &Seen<Unplaced>| w.right_edge(p);
            let before = w.told_before(side.peer(), news).and_then(edge);
            match before.zip(edge(&told)) {
                // What fits into a small window leaves when the persist timer runs out.
                Some((before, _)) if before == data.end() && data.len() < w.full(side) => None,
                Some((before, _)) if before >= data.end() => Some("the window had room before"),
                Some((_, after)) if after < data.end() => Some("the window has no room for it"),
                _ => None,
            }
        }
    }
}

/// Two of a side's own, the first not acknowledged when a timer took the second along.
fn overdue(w: &Witness, first: usize, second: usize) -> Option<&'static str> {
    let (before, data) = (w.packets[first], w.packets[second]);
    let full = w.full(data.from);
    let told = w.packets[first..second].iter().any(|p| p.from != data.from && p.ack() >= Some(before.end()));
    let held = before.len() % full == 0 || before.len() < full && data.len() < full;
    match () {
        () if before.is_empty() => Some("they are not news and the data that it let go"),
        () if told => Some("what was sent before it was acknowledged"),
        () => (!held).then_some("neither was held by a rule of TCP's"),
    }
}

/// What fits into a small window leaves when the persist timer runs out.
fn squeezed(w: &Witness, left: usize) -> Option<&'static str> {
    let data = w.packets[left];
    let edge = w.told_before(data.from.peer(), left).and_then(|told| w.right_edge(told));
    (edge != Some(data.end()) || data.len() >= w.full(data.from)).then_some("it does not fill a small window")
}

/// Two short segments, the second behind the acknowledgement of the first; where Minshall's rule does not hold, a short one behind the
/// acknowledgement of all that was sent before it.
fn nagle(w: &Witness, news: usize, left: usize) -> Option<&'static str> {
    let (told, data) = (w.packets[news], w.packets[left]);
    let full = w.full(data.from);
    let short = |p: &Seen<Unplaced>| !p.is_empty() && p.len() < full;
    if !short(&data) {
        return Some("what left is a full segment");
    }
    let acknowledged = w.acknowledged_before(data.from.peer(), news);
    let waiting = |p: &&Seen<Unplaced>| p.from == data.from && short(p) && p.end() <= data.start() && p.end() > acknowledged;
    let Some(small) = w.packets[..left].iter().find(waiting) else {
        let all = acknowledged < data.start() && told.ack() >= Some(data.start());
        return (!all).then_some("no short segment waited before it");
    };
    (told.ack() < Some(small.end())).then_some("the short segment before it was not acknowledged by then")
}

/// From data to its acknowledgement.
fn put_off(w: &Witness, data: usize, ack: usize, entry: &Entry) -> Option<&'static str> {
    let (came, told) = (w.packets[data], w.packets[ack]);
    if came.from == told.from || came.is_empty() && !came.flags.syn() {
        return Some("they are not data and its acknowledgement");
    }
    let apart = told.at - came.at;
    let own = w.end == told.from;
    (apart + entry.error + SLACK < entry.span || own && apart > entry.span + entry.error + SLACK)
        .then_some("they lie another time apart")
}

/// The same came to the edge at least twice before the edge acknowledged it, or the edge's own log or host says when it was taken.
fn queued(case: &Case<'_>) -> Option<&'static str> {
    let (h, edge) = (case.handshake, case.edge.as_ref()?);
    if h.edge_host.is_some() || h.edge_log.is_some() {
        return None;
    }
    let again = |p: &Seen<Unplaced>| {
        let answered = |q: &Seen<Unplaced>| {
            q.from == Side::Server && q.at >= p.at && q.ack() >= Some(p.end()) && (p.is_empty() || !q.flags.syn())
        };
        let answer = edge.packets.iter().find(|q| answered(q)).map(|q| q.at);
        let in_time = |q: &&Seen<Unplaced>| q.packet != p.packet && q.at >= p.at && answer.is_none_or(|at| q.at <= at);
        edge.copies(p).any(|q| in_time(&q))
    };
    let twice = edge.sent_by(Side::Client).any(|p| (p.flags.syn() || !p.is_empty()) && again(p));
    (!twice).then_some("nothing came to the edge twice before it was acknowledged")
}

/// An end was told by ICMP that its packets are too big, and sent something again as big as that.
fn ignored(case: &Case<'_>, owner: Owner) -> Option<&'static str> {
    let side = if owner == Owner::ClientHost { Side::Client } else { Side::Server };
    let told = &case.handshake.too_big[side as usize];
    let Some(first) = told.iter().map(|told| told.at).min() else { return Some("no ICMP told so") };
    let w = case.at(side)?;
    let most = told.iter().map(|told| told.most).min();
    let again = |i: usize| w.packets[i].from == side && w.packets[i].at.nanos() > first && !w.is_new(i);
    let as_big = (0..w.packets.len()).any(|i| again(i) && Some(w.packets[i].ip_len) > most);
    (!as_big).then_some("it sent nothing again as big as before")
}

/// Before SYN-ACK, the edge acknowledged something else than SYN.
fn old_connection(case: &Case<'_>) -> Option<&'static str> {
    let answered =
        |w: &Witness| w.sent_by(Side::Server).take_while(|p| !p.flags.syn()).any(|p| p.pure_ack() && p.ack() != Some(0));
    (!case.witnesses().any(answered)).then_some("nothing but SYN-ACK answered SYN")
}

/// The window was shut, and opened, and the peer's data waited for that.
fn unread(case: &Case<'_>, entry: &Entry) -> Option<&'static str> {
    let Some((w, shut, opened)) = cited(case, entry) else { return Some("no capture has both") };
    let (closed, open) = (w.packets[shut], w.packets[opened]);
    if closed.from != open.from {
        return Some("they are of two ends");
    }
    let (before, after) = (w.right_edge(&closed)?, w.right_edge(&open)?);
    if after <= before {
        return Some("the window did not open");
    }
    let next = w.packets[opened..].iter().find(|p| p.from != open.from && !p.is_empty() && p.end() > before);
    next.is_none().then_some("nothing was waiting for it")
}

fn looked_up(case: &Case<'_>, span: Span, error: Span) -> Option<&'static str> {
    let Some(lookup) = &case.handshake.lookup else { return Some("there is no lookup") };
    let fits = |apart: Span| (apart - span).abs() <= error + SLACK;
    (!lookup.waits().iter().any(|w| fits(w.to - w.from))).then_some("no question and its answer lie so far apart")
}
