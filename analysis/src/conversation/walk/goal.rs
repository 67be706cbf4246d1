//! Where a walk begins: the arrival that completed what was waited for, or the place where a handshake stopped.

use super::follow::Point;
use super::tape::{SYN, Tape};
use crate::conversation::milestone::Milestone;
use crate::judging::ledger::Phase;
use crate::tcp::flow::Side;
use crate::tls::{Dialogue, Extent, Version};

/// Where a walk begins.
#[derive(Clone, Copy, Debug)]
pub(super) enum Goal {
    /// What was waited for came.
    Reached(Point),
    /// It did not.
    Stopped(Stopped),
}

/// How a handshake stopped.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stopped {
    /// This event left this end, and never came.
    Vanished { end: Side, i: usize },
    /// This event came to this end, which said nothing behind it.
    Silent { end: Side, i: usize },
    /// Not even a SYN.
    Nowhere,
}

/// Where in the handshake the byte of a side belongs.
pub(super) fn phase_of(d: &Dialogue, side: Side, byte: i64) -> Phase {
    let behind = |extent: Option<Extent>| extent.is_some_and(|e| byte >= e.end);
    let before = |extent: Option<Extent>| extent.is_some_and(|e| byte < e.start);
    match side {
        _ if byte == SYN => Phase::Connect,
        Side::Client if before(d.first_client_hello.or(d.client_hello)) => Phase::BeforeTls,
        Side::Client if !behind(d.client_hello) => Phase::ClientHello,
        Side::Client if !behind(d.client_finished) => Phase::ClientFinished,
        Side::Client => Phase::Request,
        Side::Server if before(d.hello_retry.or(d.server_hello)) => Phase::BeforeTls,
        Side::Server if d.hello_retry.is_some() && !behind(d.hello_retry) => Phase::HelloRetry,
        Side::Server if d.server_hello.is_none() && d.client_hello.is_none() => Phase::BeforeTls,
        Side::Server if !behind(d.server_flight) => Phase::ServerFlight,
        Side::Server if d.server_finishes_last() && !behind(d.server_finished) => Phase::Finish,
        Side::Server => Phase::Request,
    }
}

/// Where to begin.
pub(super) fn goal(d: &Dialogue, [client, edge]: [&Tape; 2], not_tls: bool) -> Goal {
    let reached = |tape: &Tape, upto: i64| tape.completing(upto).map(|i| Goal::Reached(Point::Arrived { end: tape.end, i }));
    if not_tls {
        // To the first that the server said.
        let answer = |e: &super::tape::Event| e.seen.from == Side::Server && e.is_news() && !e.seen.flags.syn();
        if let Some(i) = client.events.iter().position(answer) {
            return Goal::Reached(Point::Arrived { end: Side::Client, i });
        }
    }
    let goal = match d.client_finished {
        Some(_) if d.server_finishes_last() => {
            d.server_finished.and_then(|last| reached(client, last.end).or_else(|| acknowledged(edge, last.end)))
        }
        Some(finished) => {
            let came = edge.completing(finished.end);
            let answered = came.filter(|_| d.client_authenticates() && d.version == Some(Version::Tls13)).and_then(|i| {
                // Behind a client's certificate the request waits until the server has looked at it.
                let next = (i + 1..edge.events.len()).find(|k| edge.is_own(*k) && edge.events[*k].is_news())?;
                // That it came, an edge's own capture may not show any more.
                let came = edge.events[next].other.map(|k| Point::Arrived { end: Side::Client, i: k as usize });
                Some(Goal::Reached(came.unwrap_or(Point::Left { end: Side::Server, i: next })))
            });
            let came = came.map(|i| Goal::Reached(Point::Arrived { end: Side::Server, i }));
            answered.or(came).or_else(|| acknowledged(client, finished.end))
        }
        None => None,
    };
    goal.unwrap_or_else(|| Goal::Stopped(stopped(d, client, edge)))
}

/// Where something left that its peer acknowledges, though the capture there missed it.
fn acknowledged(sender: &Tape, end: i64) -> Option<Goal> {
    let left = sender.first_departure(end - 1)?;
    let told = sender.events.iter().any(|e| e.seen.from != sender.end && e.seen.ack() >= Some(end));
    told.then_some(Goal::Reached(Point::Left { end: sender.end, i: left }))
}

/// Whose turn it was when a handshake stopped.
fn stopped(d: &Dialogue, client: &Tape, edge: &Tape) -> Stopped {
    // Bytes that left and did not come; what was acknowledged did.
    let vanished = |sender: &Tape, receiver: &Tape| {
        let acknowledged =
            sender.events.iter().filter(|e| e.seen.from != sender.end).filter_map(|e| e.seen.ack()).max().unwrap_or(SYN);
        let came = receiver.events.iter().rfind(|e| e.seen.from == sender.end).map_or(SYN, |e| e.after).max(acknowledged);
        (0..sender.events.len()).find(|i| sender.is_own(*i) && sender.events[*i].range().1 > came && sender.events[*i].is_news())
    };
    // A piece never came though what was sent behind it did: seen where it should have come.
    let hole = |sender: &Tape, receiver: &Tape| {
        let reached = receiver.events.iter().rfind(|e| e.seen.from == sender.end).map_or(SYN, |e| e.after);
        let behind =
            receiver.events.iter().find(|e| e.seen.from == sender.end && e.range().0 > reached && !e.is_full_of_nothing())?;
        behind.other.map(|k| k as usize)
    };
    let out = vanished(client, edge).or_else(|| hole(client, edge));
    let back = vanished(edge, client).or_else(|| hole(edge, client));
    let by_client = |i| Stopped::Vanished { end: Side::Client, i };
    let by_edge = |i| Stopped::Vanished { end: Side::Server, i };
    match (out, back) {
        // Both: whichever the other did not answer because it had not come.
        (Some(a), Some(b)) if edge.events[..b].iter().any(|e| e.other == Some(a as u32)) => by_edge(b),
        (Some(a), _) => by_client(a),
        (None, Some(b)) => by_edge(b),
        (None, None) => silent(d, client, edge),
    }
}

fn silent(d: &Dialogue, client: &Tape, edge: &Tape) -> Stopped {
    // Before the server's flight is whole, the client has nothing to say.
    let half = d.server_hello.is_some() && d.server_flight.is_none();
    if let Some(i) = edge.news_before(edge.events.len()).filter(|_| half) {
        return Stopped::Silent { end: Side::Server, i };
    }
    let last = |tape: &Tape| {
        let news = tape.news_before(tape.events.len())?;
        let said = tape.fresh_before(tape.events.len()).is_some_and(|i| i > news);
        (!said).then_some(news)
    };
    match (last(client), last(edge)) {
        (Some(i), _) => Stopped::Silent { end: Side::Client, i },
        (None, Some(i)) => Stopped::Silent { end: Side::Server, i },
        (None, None) => Stopped::Nowhere,
    }
}

/// The last milestone that is proven of a handshake that stopped.
pub(super) fn proven(d: &Dialogue, [client, edge]: [&Tape; 2]) -> Milestone {
    // What passes an end's capture behind its FIN, or is not acknowledged by that, it did not get in time.
    let in_time = |tape: &Tape, i: usize, end: i64| {
        let closed = tape.events.iter().position(|e| e.seen.from == tape.end && e.seen.flags.fin());
        closed.is_none_or(|k| i < k && tape.events[k].seen.ack() >= Some(end))
    };
    let came = |tape: &Tape, extent: Option<Extent>| {
        extent.is_some_and(|e| tape.completing(e.end).is_some_and(|i| in_time(tape, i, e.end)))
    };
    match () {
        () if d.server_finishes_last() && came(client, d.server_finished) => Milestone::ServerFinished,
        () if came(edge, d.client_finished) => Milestone::ClientFinished,
        () if came(client, d.server_flight) => Milestone::ServerFlightEnd,
        () if came(edge, d.client_hello) => Milestone::ClientHello,
        () if client.completing(0).is_some() => Milestone::SynAck,
        () => Milestone::Syn,
    }
}
