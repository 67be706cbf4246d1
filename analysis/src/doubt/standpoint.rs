//! At which end of a connection its observer stands, told from its packets alone.
//!
//! Two witnesses: near which end the handshake of TCP answers at once (SYN → SYN-ACK is the way to the server and back,
//! SYN-ACK → ACK the way to the client and back; kernels answer both by themselves), and whose packets still have the
//! TTL they were sent with.

use serde::{Deserialize, Serialize};

use crate::clock::{Domain, Span};
use crate::tcp::flow::{Side, View};

/// What hosts send with (Linux and macOS 64, Windows 128, network gear 255).
const INITIAL_TTLS: [u8; 3] = [64, 128, 255];
/// Legs that differ by less say nothing.
const LEAST_DIFFERENCE: Span = Span::from_micros(200);

/// A leg as long as this leads to somewhere else.
const FAR: Span = Span::from_millis(5);

/// And nobody stands at an end that is farther away than this, if no TTL says so.
const MOST_NEAR: Span = Span::from_millis(20);

/// Where an observer stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standpoint {
    /// At the client.
    Client,
    /// At the edge.
    Edge,
    /// At both: they are one host, or neighbours on one wire.
    Both,
    /// Between them.
    Between,
    /// Nothing tells.
    Unknown,
}

/// The two legs of the way, as the handshake of TCP shows them.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Legs {
    /// Observer to client and back.
    pub client: Option<Span>,
    /// Observer to server and back.
    pub server: Option<Span>,
}

/// Measures both legs; of repeated packets, the one whose timestamp the answer echoes counts (RFC 7323), else the latest before it: timers
/// of both ends run out at about the same time, and then a repeated SYN crosses a repeated SYN-ACK.
pub fn legs<D: Domain>(view: &View<D>) -> Legs {
    let Some(syn_ack) = view.syns(Side::Server).next() else { return Legs { client: None, server: refused_in(view) } };
    let before = |at| move |p: &&crate::tcp::flow::Seen<D>| p.at <= at;
    let syns = || view.syns(Side::Client).filter(before(syn_ack.at));
    let echoed = |syn: &&crate::tcp::flow::Seen<D>| syn.tsval().is_some() && syn.tsval() == syn_ack.tsecr();
    let syn = syns().find(echoed).or_else(|| syns().last());
    let ack = view.sent_by(Side::Client).find(|p| p.packet > syn_ack.packet && !p.flags.syn() && p.ack().is_some_and(|a| a >= 0));
    let answered = ack.and_then(|ack| view.syns(Side::Server).filter(before(ack.at)).last());
    let server = syn.map(|syn| syn_ack.at - syn.at);
    let client = ack.zip(answered).map(|(ack, syn_ack)| (ack.at - syn_ack.at, ack.is_empty()));
    // What a program said may have waited for the program: it shows no more than how long the leg is at most.
    let client = client.filter(|(leg, kernel)| *kernel || server.is_some_and(|server| *leg < server)).map(|(leg, _)| leg);
    Legs { client, server }
}

/// How long a reset that answers SYN took.
fn refused_in<D: Domain>(view: &View<D>) -> Option<Span> {
    view.refusing_reset().map(|(syn, reset)| reset.at - syn.at)
}

/// Where the observer of one connection stands.
pub fn standpoint<D: Domain>(view: &View<D>) -> Standpoint {
    let [client, server] = [view.endpoints.client.ip(), view.endpoints.server.ip()];
    let at_once = |leg: Option<Span>| leg.is_some_and(|leg| leg < LEAST_DIFFERENCE);
    let legs = legs(view);
    if client == server
        || client.is_loopback() && server.is_loopback()
        || at_once(legs.client) && at_once(legs.server) && view.grain() < LEAST_DIFFERENCE
    {
        return Standpoint::Both;
    }
    let by_ttl = match [Side::Client, Side::Server].map(|side| untouched(view, side)) {
        [Some(true), Some(false)] => Standpoint::Client,
        [Some(false), Some(true)] => Standpoint::Edge,
        [Some(false), Some(false)] => Standpoint::Between,
        _ => Standpoint::Unknown,
    };
    let Legs { client: Some(client), server: Some(server) } = legs else { return by_ttl };
    let (near, far) = (client.min(server), client.max(server));
    let by_legs = match () {
        () if near >= FAR && far - near < LEAST_DIFFERENCE => Standpoint::Between,
        () if far - near < LEAST_DIFFERENCE => Standpoint::Unknown,
        () if near > far.percent(25) || near > MOST_NEAR && by_ttl == Standpoint::Between => Standpoint::Between,
        () if client < server => Standpoint::Client,
        () => Standpoint::Edge,
    };
    match (by_legs, by_ttl) {
        // An end's kernel answers at once: so far from both, no TTL puts the observer at one of them.
        (Standpoint::Between, _) if near >= FAR => Standpoint::Between,
        (Standpoint::Unknown | Standpoint::Between, Standpoint::Client | Standpoint::Edge) => by_ttl,
        // A server slow to answer SYN looks far away.
        (Standpoint::Client, Standpoint::Edge) | (Standpoint::Edge, Standpoint::Client) => Standpoint::Unknown,
        // Near one end in time, though a few hops from it: as good as there.
        (by_legs, _) => by_legs,
    }
}

/// How far from the client an observer stands: for putting several observers of one connection in order.
pub fn distance_from_client<D: Domain>(view: &View<D>) -> Span {
    let Legs { client, server } = legs(view);
    client.unwrap_or_default() - server.unwrap_or_default()
}

/// Whether a side's packets still have the TTL they were sent with.
fn untouched<D: Domain>(view: &View<D>, side: Side) -> Option<bool> {
    let mut ttls = view.sent_by(side).map(|p| p.ttl);
    let first = ttls.next()?;
    Some(INITIAL_TTLS.contains(&first))
}
