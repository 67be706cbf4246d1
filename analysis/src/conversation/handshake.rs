//! One handshake with everything known about it: both ends' views, the TLS dialogue, host evidence.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::clock::{Client, Domain, Edge, Instant, Span};
use crate::conversation::host::HostTrace;
use crate::conversation::{missed, turns};
use crate::dns::Lookup;
use crate::tcp::flow::{Endpoints, Seen, Side, View};
use crate::tls::{Dialogue, Order};

/// What the edge's own log says of a handshake.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EdgeLog {
    /// When the edge's program accepted the connection.
    pub accepted: Instant<Edge>,
    /// When it held the handshake complete; absent if it never did.
    pub finished: Option<Instant<Edge>>,
}

/// Everything known about one handshake.
#[derive(Clone, Debug)]
pub struct Handshake {
    /// Who talks to whom.
    pub endpoints: Endpoints,
    /// Where each message lies in the two streams.
    pub dialogue: Box<Dialogue>,
    /// As seen on the client's wire.
    pub client: Option<View<Client>>,
    /// As seen on the edge's wire.
    pub edge: Option<View<Edge>>,
    /// The lookup that came before it.
    pub lookup: Option<Box<Lookup>>,
    /// The client process's threads.
    pub client_host: Option<HostTrace<Client>>,
    /// The edge process's threads.
    pub edge_host: Option<HostTrace<Edge>>,
    /// The edge's log line.
    pub edge_log: Option<EdgeLog>,
    /// Packets that a capture says it lost while this handshake ran.
    pub capture_lost: u64,
    /// A capture's clock was set while it ran, and by how much is not known.
    pub clock_in_doubt: bool,
    /// Moments at which the client's capture saw any packet at all, about every [`BEAT`] at most.
    pub client_pulse: Vec<Instant<Client>>,
    /// Of one end's capture alone: until when it went on, in nanoseconds on that end's clock, as far as its packets of any connection show.
    pub watched_until: Option<i64>,
    /// It is not over, and who looks goes on: what has not come so far may come.
    pub under_way: bool,
    /// Addresses that the client tried before this one, and that did not answer.
    pub tried: Vec<Tried>,
    /// When something on the way told an end that its packets are too big (ICMP), on that end's clock: the client's, the edge's.
    pub too_big: [Vec<TooBig>; 2],
    /// When somebody refused what the client sent (ICMP), on the client's clock and on the edge's, in which packet, and who.
    pub unreachable: [Option<(i64, u64, IpAddr)>; 2],
    /// Other connections of the client's host while this handshake ran.
    pub client_asked: Vec<Asked<Client>>,
    /// Other connections that the edge's host began.
    pub edge_asked: Vec<Asked<Edge>>,
    /// Whether acknowledgements of bytes that a view never showed prove that its capture lost packets.
    gaps: bool,
    not_tls: bool,
}

/// Between two beats of a capture's pulse.
pub const BEAT: Span = Span::from_millis(2);

/// Whether a capture's pulse went on in `[from, to]`: a host that stands still as a whole (a paused virtual machine, a stolen CPU)
/// captures nothing either.
pub(crate) fn was_awake<D: Domain>(pulse: &[Instant<D>], from: Instant<D>, to: Instant<D>) -> bool {
    let most = (to - from).percent(50);
    let mut last = from;
    let beats = pulse.iter().filter(|at| **at > from && **at < to).chain([&to]);
    for at in beats {
        if *at - last > most {
            return false;
        }
        last = *at;
    }
    true
}

/// An address that a client tried in vain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tried {
    /// Whose.
    pub server: std::net::SocketAddr,
    /// When its first SYN left.
    pub from: Instant<Client>,
    /// When the client went on to the next address.
    pub to: Instant<Client>,
    /// The frame of its first SYN.
    pub packet: u64,
}

/// A word of the path's (ICMP) that packets are too big for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooBig {
    /// When whoever had sent them was told, in nanoseconds on that end's clock.
    pub at: i64,
    /// In which frame.
    pub packet: u64,
    /// The longest IP packet that may pass.
    pub most: u32,
}

/// Another connection that a host began, and what came back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Asked<D> {
    /// When its first packet left.
    pub from: Instant<D>,
    /// When the last data came.
    pub to: Instant<D>,
    /// Frames of both.
    pub packets: [u64; 2],
    /// Whether anything came back; else it lasts until the host went on.
    pub answered: bool,
}

/// Whoever waited for an answer goes on so soon behind it: a signature and a chain to verify.
const GOES_ON: Span = Span::from_millis(100);

/// Whether a stretch in which a host was silent is the time it waited for others' answers: what it asked began in it, ended in
/// it just before the host went on, and covers most of it, all together. What nobody answered must do so alone: another program's question
/// would.
pub fn waited_for_others<D: Domain>(asked: &[Asked<D>], from: Instant<D>, to: Instant<D>) -> Option<[u64; 2]> {
    let is_most = |span: Span| span.fraction_of(to - from) >= 0.6;
    let most = |a: &Asked<D>| is_most(a.to - a.from);
    let within = asked.iter().filter(|a| a.from >= from && a.to <= to && a.to > a.from);
    let mut within: Vec<&Asked<D>> = within.filter(|a| a.answered || most(a)).collect();
    within.sort_by_key(|a| a.from);
    let (first, last) = (within.first()?, within.iter().max_by_key(|a| a.to)?);
    // What is asked while another answer is due is waited for once.
    let (mut waited, mut until) = (Span::ZERO, first.from);
    for a in &within {
        waited += (a.to - a.from.max(until)).at_least_zero();
        until = until.max(a.to);
    }
    let covers = is_most(waited) && to - last.to <= GOES_ON.max((to - from).percent(5));
    covers.then_some([first.packets[0], last.packets[1]])
}

impl Handshake {
    /// The same handshake, with only what the edge's operator has.
    #[must_use]
    pub fn edge_side_only(&self) -> Self {
        let edge = self.edge.clone();
        let dialogue = Box::new(edge.as_ref().map_or_else(Dialogue::default, View::dialogue));
        let not_tls = edge.as_ref().is_some_and(|view| not_tls(view, &dialogue));
        Self {
            endpoints: self.endpoints,
            not_tls,
            dialogue,
            client: None,
            edge,
            lookup: None,
            client_host: None,
            edge_host: self.edge_host.clone(),
            edge_log: self.edge_log.clone(),
            capture_lost: self.capture_lost,
            clock_in_doubt: self.clock_in_doubt,
            client_pulse: Vec::new(),
            watched_until: None,
            under_way: false,
            client_asked: Vec::new(),
            tried: Vec::new(),
            too_big: [Vec::new(), self.too_big[1].clone()],
            unreachable: [None, self.unreachable[1]],
            edge_asked: self.edge_asked.clone(),
            gaps: self.edge.as_ref().is_some_and(View::capture_gap),
        }
    }

    /// Whether this was no TLS handshake after all: what answered ClientHello is not TLS, or ClientHello lies inside something else.
    pub fn is_not_tls(&self) -> bool {
        self.not_tls
    }

    /// Whether a capture lost packets of this handshake: said by its counters, or proved by
    /// acknowledgements of bytes it never showed.
    pub fn capture_incomplete(&self) -> bool {
        self.capture_lost > 0 || self.gaps
    }
}

impl Handshake {
    /// Lets go of what its views hold of both streams: its dialogue is read, only times matter from here on.
    pub fn forget_bytes(&mut self) {
        if let Some(view) = &mut self.client {
            view.forget_bytes();
        }
        if let Some(view) = &mut self.edge {
            view.forget_bytes();
        }
    }

    /// Lets go of the packets of its views: it has been read, and is only counted from here on.
    pub fn forget_packets(&mut self) {
        if let Some(view) = &mut self.client {
            view.forget_packets();
        }
        if let Some(view) = &mut self.edge {
            view.forget_packets();
        }
    }
}

/// Joins the views of both ends into handshakes: same initial sequence numbers (they survive address
/// translation), or, where something on the way changed those, the same ClientHello.random. A connection seen at one end only stays.
pub fn join(clients: Vec<View<Client>>, edges: Vec<View<Edge>>) -> Vec<Handshake> {
    pairs(clients, edges).into_iter().map(|(client, edge)| Handshake::of(client, edge)).collect()
}

/// What one connection looked like at the client's end and at the edge's, as far as it was seen there.
pub type Pair = (Option<View<Client>>, Option<View<Edge>>);

/// The views that [`join`] joins.
pub fn pairs(clients: Vec<View<Client>>, mut edges: Vec<View<Edge>>) -> Vec<Pair> {
    let by_numbers = clients.into_iter().map(|client| {
        let edge = edges.iter().position(|edge| same_numbers(&client, edge)).map(|i| edges.remove(i));
        (client, edge)
    });
    let mut joined: Vec<(View<Client>, Option<View<Edge>>)> = by_numbers.collect();
    if !edges.is_empty() {
        let mut named: Vec<([u8; 32], View<Edge>)> = Vec::new();
        let mut others = Vec::new();
        for edge in edges {
            match edge.dialogue().client_random {
                Some(random) => named.push((random, edge)),
                None => others.push(edge),
            }
        }
        for (client, edge) in joined.iter_mut().filter(|(_, edge)| edge.is_none()) {
            let Some(random) = client.dialogue().client_random else { continue };
            let same = named.iter().position(|(other, edge)| *other == random && same_bytes(client, edge));
            *edge = same.map(|i| named.remove(i).1);
        }
        others.extend(named.into_iter().map(|(_, edge)| edge));
        edges = others;
    }
    let joined = joined.into_iter().map(|(client, edge)| (Some(client), edge));
    joined.chain(edges.into_iter().map(|edge| (None, Some(edge)))).collect()
}

/// The client's number is the same, and so is one thing more: both ends, the server's port, or the server's number, where the port is
/// translated too.
fn same_numbers(client: &View<Client>, edge: &View<Edge>) -> bool {
    let server = client.isn(Side::Server);
    edge.isn(Side::Client) == client.isn(Side::Client)
        && (edge.endpoints == client.endpoints
            || edge.endpoints.server.port() == client.endpoints.server.port()
            || server.is_some() && edge.isn(Side::Server) == server)
}

/// Whether two views with the same ClientHello are one connection whose numbers something changed on the way: offsets count from SYN, and
/// the segment that holds the first bytes bears the same TCP timestamp. Without that it is a proxy that hands the bytes on.
pub fn same_bytes<A: Domain, B: Domain>(one: &View<A>, other: &View<B>) -> bool {
    fn begun<D: Domain>(view: &View<D>) -> bool {
        view.syns(Side::Client).next().is_some()
    }
    fn stamp<D: Domain>(view: &View<D>) -> Option<u32> {
        view.sent_by(Side::Client).find(|p| !p.is_empty() && p.start() == 0)?.tsval()
    }
    let same_stamp = || stamp(one).is_some_and(|of_one| stamp(other) == Some(of_one));
    begun(one) && begun(other) && (one.endpoints == other.endpoints || same_stamp())
}

impl Handshake {
    /// A handshake of which nothing is known but packets.
    ///
    /// # Panics
    /// Without any view.
    pub fn of(mut client: Option<View<Client>>, mut edge: Option<View<Edge>>) -> Self {
        if let Some(view) = &mut client {
            view.close();
        }
        if let Some(view) = &mut edge {
            view.close();
        }
        let gaps = client.as_ref().is_some_and(View::capture_gap) || edge.as_ref().is_some_and(View::capture_gap);
        let dialogue = dialogue(client.as_mut(), edge.as_mut());
        let not_tls = match (&client, &edge) {
            (Some(view), _) => not_tls(view, &dialogue),
            (None, Some(view)) => not_tls(view, &dialogue),
            (None, None) => false,
        };
        let endpoints = client.as_ref().map(|v| v.endpoints).or(edge.as_ref().map(|v| v.endpoints));
        Self {
            endpoints: endpoints.expect("a handshake has at least one view"),
            not_tls,
            dialogue,
            client,
            edge,
            lookup: None,
            client_host: None,
            edge_host: None,
            edge_log: None,
            capture_lost: 0,
            clock_in_doubt: false,
            client_pulse: Vec::new(),
            watched_until: None,
            under_way: false,
            client_asked: Vec::new(),
            tried: Vec::new(),
            too_big: [Vec::new(), Vec::new()],
            unreachable: [None; 2],
            edge_asked: Vec::new(),
            gaps,
        }
    }
}

/// Whether a ClientHello was answered or followed by something else, or lies in the middle of a segment that is no PROXY header.
fn not_tls<D: Domain>(view: &View<D>, d: &Dialogue) -> bool {
    let (client, server) = (view.half(Side::Client), view.half(Side::Server));
    let Some(hello) = d.first_client_hello.or(d.client_hello) else {
        // What looks like a ServerHello answers nobody: TLS lies inside something that hides the client's part of it (WebSocket).
        let heard = view.syns(Side::Client).next().is_some() && !view.capture_gap();
        return d.server_hello.is_some() && heard && client.stream.captured() > 0;
    };
    // What the server had said before it is no answer to it.
    let heard = view.first_copy(Side::Client, hello.end).and_then(Seen::ack).unwrap_or(0).max(0);
    let answer = |p: &&Seen<D>| p.end() > heard && p.ack().is_some_and(|ack| ack >= hello.end);
    let known = server.stream.known(heard as usize, heard as usize + 1);
    let answered = known && view.sent_by(Side::Server).any(|p| !p.is_empty() && answer(&p));
    if d.server_hello.is_none() && d.hello_retry.is_none() && d.server_alert.is_none() && answered && server.stream.captured() > 0
    {
        return server.records.hopeless() || server.records.begins_otherwise();
    }
    let end = hello.end as usize;
    if d.server_hello.is_none()
        && d.hello_retry.is_none()
        && d.server_alert.is_none()
        && client.records.hopeless()
        && client.stream.known(end, end + 1)
    {
        return true; // nobody answers, and what the client goes on with is not TLS (Skype)
    }
    if d.server_hello.is_some() && d.client_finished.is_none() && client.records.hopeless() {
        return true; // both spoke as TLS does, and went on otherwise
    }
    let data = || view.sent_by(Side::Client).filter(|p| !p.is_empty());
    let within = hello.start > 0
        && !data().any(|p| p.start() == hello.start)
        && data().any(|p| p.start() < hello.start && p.end() > hello.start);
    let proxied = |signature: &[u8]| client.stream.get(0..signature.len()) == Some(signature);
    within && !proxied(b"PROXY ") && !proxied(b"\r\n\r\n\0\r\nQUIT\n")
}

/// Reads the TLS dialogue from whichever view holds more of each direction.
fn dialogue(client: Option<&mut View<Client>>, edge: Option<&mut View<Edge>>) -> Box<Dialogue> {
    let (client, edge) = match (client, edge) {
        (Some(client), Some(edge)) => (&*client, &*edge),
        (Some(alone), None) => return alone.take_dialogue(),
        (None, Some(alone)) => return alone.take_dialogue(),
        (None, None) => return Box::default(),
    };
    let better = |side| {
        let (a, b) = (client.half(side), edge.half(side));
        if a.stream.captured() >= b.stream.captured() { a } else { b }
    };
    let (from_client, from_server) = (better(Side::Client), better(Side::Server));
    let halves = [from_client, from_server];
    let mut read = Box::new(Dialogue::read(from_client, from_server, Order::default()));
    client.read_in_order(halves, &mut read);
    missed::complete(client, halves, &mut read);
    turns::complete(client, &mut read);
    read
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_for_others_goes_on_when_they_answer() {
        let at = |millis: i64| Instant::<Client>::from_nanos(millis * 1_000_000);
        let asked = |from, to, answered| Asked { from: at(from), to: at(to), packets: [from as u64, to as u64], answered };
        let waited = |asked: &[Asked<Client>]| waited_for_others(asked, at(0), at(1_376));
        assert_eq!(waited(&[asked(60, 1_300, true)]), Some([60, 1_300]));
        assert_eq!(waited(&[asked(60, 700, true), asked(710, 1_300, true)]), Some([60, 1_300]));
        assert_eq!(waited(&[asked(60, 900, true), asked(1_050, 1_190, true)]), None, "186 ms later it had another reason");
        // What nobody answers lasts until the host goes on, and so must be the longest part of it alone.
        assert_eq!(waited(&[asked(60, 1_376, false)]), Some([60, 1_376]));
        assert_eq!(waited(&[asked(60, 900, true), asked(1_160, 1_376, false)]), None);
        // Time between two answers was no wait for either: a monitor that asks now and then.
        assert_eq!(waited(&[asked(30, 31, true), asked(1_326, 1_327, true)]), None);
        let often: Vec<_> = (0..13).map(|k| asked(100 * k, 100 * k + 40, true)).chain([asked(1_300, 1_376, true)]).collect();
        assert_eq!(waited(&often), None);
        assert_eq!(waited(&[asked(60, 500, true), asked(60, 500, true), asked(1_200, 1_300, true)]), None, "at once");
        assert_eq!(waited(&[asked(60, 700, true), asked(300, 500, true), asked(600, 1_300, true)]), Some([60, 1_300]));
        assert_eq!(waited(&[asked(60, 360, true), asked(460, 760, true), asked(960, 1_300, true)]), Some([60, 1_300]));
    }
}
