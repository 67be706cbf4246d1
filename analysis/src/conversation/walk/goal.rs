//! Where a walk begins: the arrival that completed what was waited for, or the place where a handshake stopped.

use super::follow::Point;
use super::transport::{Endpoint, OPENING, Packet};
use crate::conversation::milestone::Milestone;
use crate::judging::ledger::Phase;
use crate::tcp::flow::Side;
use crate::tls::{Dialogue, Extent, Version};

/// A request that comes so soon behind Finished did not wait for anything.
const WITH_FINISHED: i64 = 10_000_000;

/// Where a walk begins.
#[derive(Clone, Copy, Debug)]
pub(super) enum Goal {
    /// What was waited for came.
    Reached(Point),
    /// It came, for this packet of this end's acknowledges it; no capture shows it.
    Told { end: Side, i: usize },
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
    /// Nothing at all.
    Nowhere,
}

/// Where in the handshake the byte of a side belongs.
pub(super) fn phase_of(d: &Dialogue, side: Side, byte: i64) -> Phase {
    let behind = |extent: Option<Extent>| extent.is_some_and(|e| byte >= e.end);
    let before = |extent: Option<Extent>| extent.is_some_and(|e| byte < e.start);
    match side {
        _ if byte == OPENING => Phase::Connect,
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
pub(super) fn goal<E: Endpoint>(d: &Dialogue, [client, edge]: [&E; 2], not_tls: bool) -> Goal {
    let reached = |at: &E, upto: i64| at.completing(upto).map(|i| Goal::Reached(Point::Arrived { end: at.end(), i }));
    if not_tls {
        // To the first that the server said.
        let answer = |p: Packet| p.from == Side::Server && p.is_news() && !p.opens;
        if let Some(i) = client.packets(0..client.len()).position(answer) {
            return Goal::Reached(Point::Arrived { end: Side::Client, i });
        }
    }
    let goal = match d.client_finished {
        // It proves the client's.
        _ if d.server_finishes_last() => d.server_finished.and_then(|last| {
            reached(client, last.end).or_else(|| acknowledged(edge, last.end)).or_else(|| told(client, last.end))
        }),
        Some(finished) => {
            let carries = |end: &E| end.packets(0..end.len()).any(|p| p.from == Side::Client && p.carries(finished.end - 1));
            if !carries(client)
                && !carries(edge)
                && let Some(goal) = told(edge, finished.end)
            {
                return goal;
            }
            let came = edge.completing(finished.end);
            let answered = came.filter(|_| d.client_authenticates() && d.version == Some(Version::Tls13)).and_then(|i| {
                // Behind a client's certificate the request waits until the server has looked at it.
                let next = (i + 1..edge.len()).find(|k| edge.is_own(*k) && edge.packet(*k).is_news())?;
                // What it says to a later request tells nothing of when it had looked.
                let asked = edge.news_before(next).filter(|asked| *asked > i);
                if asked.is_some_and(|asked| edge.packet(asked).at - edge.packet(i).at > WITH_FINISHED) {
                    return None;
                }
                // That it came, an edge's own capture may not show any more.
                let came = edge.packet(next).other.map(|k| Point::Arrived { end: Side::Client, i: k as usize });
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
fn acknowledged<E: Endpoint>(sender: &E, end: i64) -> Option<Goal> {
    let left = sender.first_departure(end - 1)?;
    let told = sender.packets(0..sender.len()).any(|p| p.from != sender.end() && p.told >= Some(end));
    told.then_some(Goal::Reached(Point::Left { end: sender.end(), i: left }))
}

/// Where an end acknowledges what no capture shows.
fn told<E: Endpoint>(receiver: &E, end: i64) -> Option<Goal> {
    let i = receiver.packets(0..receiver.len()).position(|p| p.from == receiver.end() && p.told >= Some(end))?;
    Some(Goal::Told { end: receiver.end(), i })
}

/// Whose turn it was when a handshake stopped.
fn stopped<E: Endpoint>(d: &Dialogue, client: &E, edge: &E) -> Stopped {
    // Bytes that left and did not come; what was acknowledged did.
    let vanished = |sender: &E, receiver: &E| {
        let peers = sender.packets(0..sender.len()).filter(|p| p.from != sender.end());
        let came = receiver.came().max(peers.filter_map(|p| p.told).max().unwrap_or(OPENING));
        sender.packets(0..sender.len()).position(|p| p.from == sender.end() && p.range.1 > came && p.is_news())
    };
    // A piece never came though what was sent behind it did: seen where it should have come.
    let hole = |sender: &E, receiver: &E| {
        let reached = receiver.came().max(0);
        // Even what carries nothing has its place in the stream behind all that was sent before it.
        let behind = |p: &Packet| p.from == sender.end() && p.range.0 > reached;
        receiver.packets(0..receiver.len()).find(behind)?.other.map(|k| k as usize)
    };
    let out = vanished(client, edge).or_else(|| hole(client, edge));
    let back = vanished(edge, client).or_else(|| hole(edge, client));
    let by_client = |i| Stopped::Vanished { end: Side::Client, i };
    let by_edge = |i| Stopped::Vanished { end: Side::Server, i };
    match (out, back) {
        // Both: whichever the other did not answer because it had not come.
        (Some(a), Some(b)) if edge.packets(0..b).any(|p| p.other == Some(a as u32)) => by_edge(b),
        (Some(a), _) => by_client(a),
        (None, Some(b)) => by_edge(b),
        (None, None) => silent(d, client, edge),
    }
}

fn silent<E: Endpoint>(d: &Dialogue, client: &E, edge: &E) -> Stopped {
    // Before a ClientHello is whole, nobody has anything to answer; nor can it become so where there is no room for the rest.
    let room = |at: &E| at.packets(0..at.len()).rposition(|p| p.from == at.end()).is_none_or(|i| at.left_room(i));
    if let Some(i) = client.news_before(client.len()).filter(|_| d.half_hello.is_some() && room(edge)) {
        return Stopped::Silent { end: Side::Client, i };
    }
    // Before the server's flight is whole, the client has nothing to say; it cannot become so either where the client left no room.
    let half = d.server_hello.is_some() && d.server_flight.is_none_or(|flight| client.came() < flight.end) && room(client);
    if let Some(i) = edge.news_before(edge.len()).filter(|_| half) {
        return Stopped::Silent { end: Side::Server, i };
    }
    let last = |at: &E| {
        let news = at.news_before(at.len())?;
        let said = at.fresh_before(at.len()).is_some_and(|i| i > news);
        (!said).then_some(news)
    };
    match (last(client), last(edge)) {
        (Some(i), _) => Stopped::Silent { end: Side::Client, i },
        (None, Some(i)) => Stopped::Silent { end: Side::Server, i },
        (None, None) => Stopped::Nowhere,
    }
}

/// The last milestone that is proven of a handshake that stopped.
pub(super) fn proven<E: Endpoint>(d: &Dialogue, [client, edge]: [&E; 2]) -> Milestone {
    // What passes an end's capture behind what closed its stream, or is not acknowledged by that, it did not get in time.
    let in_time = |at: &E, i: usize, end: i64| {
        let closed = at.packets(0..at.len()).position(|p| p.from == at.end() && p.closes);
        closed.is_none_or(|k| i < k && at.packet(k).told >= Some(end))
    };
    let came =
        |at: &E, extent: Option<Extent>| extent.is_some_and(|e| at.completing(e.end).is_some_and(|i| in_time(at, i, e.end)));
    match () {
        () if d.server_finishes_last() && came(client, d.server_finished) => Milestone::ServerFinished,
        () if came(edge, d.client_finished) => Milestone::ClientFinished,
        () if came(client, d.server_flight) => Milestone::ServerFlightEnd,
        () if came(client, d.server_hello) => Milestone::ServerHello,
        () if came(edge, d.client_hello) => Milestone::ClientHello,
        () if client.completing(0).is_some() => Milestone::SynAck,
        () => Milestone::Syn,
    }
}
