//! Who ended a connection first: one of its ends, by an alert, FIN or RST, or something between them in an end's name.
//!
//! A reset has three witnesses: an end that was captured itself shows whether it sent it; what something on the way sends has another
//! TTL than the end's own packets (its hops are others, and so mostly is what it starts with); and a stack that resets a connection of
//! its own sends its timestamp, or goes on counting its packets. From one end alone, without any of them, it may be either's.

use std::net::IpAddr;

use crate::clock::{Domain, Span};
use crate::conversation::handshake::Handshake;
use crate::judging::ledger::Owner;
use crate::tcp::flow::{Seen, Side, View};
use crate::tls::Dialogue;

/// TTLs of one end's packets differ by less when a route changes.
const OTHER_TTL: u8 = 3;

/// Who ended it, and whether the path may have done so in that end's name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ended {
    /// Client, edge or path.
    pub by: Owner,
    /// It said so itself, by an alert that answers something.
    pub alert: bool,
    /// Nothing proves that the end it claims to be from sent the reset.
    pub unproven: bool,
    /// How long it had waited by then since anything was said, as the capture at the nearer end shows.
    pub waited: Span,
}

/// A SYN that nobody took up: a reset answered it (RFC 9293, section 3.10.7), or ICMP said that it went nowhere. No longer capture
/// can show more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// Who said so by ICMP; absent of a reset.
    pub by: Option<IpAddr>,
    /// When the first SYN passed there, the last, and what refused it, in nanoseconds on that end's clock.
    pub at: [i64; 3],
    /// Their frames.
    pub packets: [u64; 3],
}

/// What refused a connection.
pub fn refusal(handshake: &Handshake) -> Option<Refusal> {
    let [told_client, told_edge] = handshake.unreachable;
    let at_client = handshake.client.as_ref().and_then(|view| refused(view, told_client));
    at_client.or_else(|| handshake.edge.as_ref().and_then(|view| refused(view, told_edge)))
}

fn refused<D: Domain>(view: &View<D>, told: Option<(i64, u64, IpAddr)>) -> Option<Refusal> {
    let first = view.syns(Side::Client).next().filter(|_| view.syns(Side::Server).next().is_none())?;
    let reset = view.refusing_reset().map(|(_, reset)| (reset.at.nanos(), reset.packet, None));
    let (at, packet, by) = reset.or(told.map(|(at, packet, by)| (at, packet, Some(by))))?;
    let before = |p: &&Seen<D>| p.at.nanos() <= at;
    let last = view.syns(Side::Client).filter(before).last()?;
    // A client that goes on did not take it for the end.
    let went_on = view.sent_by(Side::Client).any(|p| !before(&p));
    let refusal = Refusal { by, at: [first.at.nanos(), last.at.nanos(), at], packets: [first.packet, last.packet, packet] };
    (!went_on).then_some(refusal)
}

/// Who ended the connection before its handshake was over; absent if nobody did.
pub(crate) fn ended(handshake: &Handshake) -> Option<Ended> {
    if let Some(Refusal { by: Some(by), at: [_, last, at], .. }) = refusal(handshake) {
        let of_edge = by == handshake.endpoints.server.ip();
        let by = if of_edge { Owner::Edge } else { Owner::Path };
        // Whoever translates addresses in front of an edge speaks in its name.
        let unproven = of_edge && handshake.edge.is_none();
        return Some(Ended { by, alert: false, unproven, waited: Span::from_nanos(at - last) });
    }
    let d = &handshake.dialogue;
    let at_client = handshake.client.as_ref().and_then(|view| first(view, d));
    let at_edge = handshake.edge.as_ref().and_then(|view| first(view, d));
    let sent = |side: Side| match side {
        Side::Client => handshake.client.as_ref().map(resets_itself(side)),
        Side::Server => handshake.edge.as_ref().map(resets_itself(side)),
    };
    let ended = [at_client, at_edge].into_iter().flatten().map(|(first, waited)| {
        let by = |by, alert, unproven| Ended { by, alert, unproven, waited };
        match first {
            First::Alert(side) => by(owner(side), true, false),
            First::Closed(side) => by(owner(side), false, false),
            First::Reset { side, foreign, own } => match sent(side) {
                Some(true) => by(owner(side), false, false),
                Some(false) => by(Owner::Path, false, false),
                None if foreign => by(Owner::Path, false, false),
                None => by(owner(side), false, !own),
            },
        }
    });
    // What one end never sent, the other end's capture shows.
    ended.clone().find(|e| e.by == Owner::Path).or(ended.into_iter().next())
}

fn owner(side: Side) -> Owner {
    if side == Side::Client { Owner::Client } else { Owner::Edge }
}

fn resets_itself<D: Domain>(side: Side) -> impl Fn(&View<D>) -> bool {
    move |view| view.sent_by(side).any(|p| p.flags.rst())
}

/// What came first.
#[derive(Clone, Copy)]
enum First {
    /// An alert.
    Alert(Side),
    /// FIN.
    Closed(Side),
    /// A reset in a side's name: with another TTL than its packets, or with marks of its own stack.
    Reset { side: Side, foreign: bool, own: bool },
}

/// What ended it, and how long after the last data.
fn first<D: Domain>(view: &View<D>, d: &Dialogue) -> Option<(First, Span)> {
    let alert =
        |side, extent: Option<crate::tls::Extent>| view.first_copy(side, extent?.end).map(|p| (p.packet, First::Alert(side)));
    let closed = view.first_fin().map(|p| (p.packet, First::Closed(p.from)));
    let reset = view.first_rst().map(|p| (p.packet, First::Reset { side: p.from, foreign: foreign(view, p), own: own(view, p) }));
    let gave_up = [Side::Client, Side::Server].map(|side| gave_up(view, d, side).map(|p| (p.packet, First::Closed(side))));
    let alerts = [alert(Side::Client, d.client_alert), alert(Side::Server, d.server_alert)];
    // Of the same packet, what it answers counts before what it says.
    let all = gave_up.into_iter().chain(alerts).chain([closed, reset]).flatten();
    let (packet, first) = all.min_by_key(|(packet, _)| *packet)?;
    let place = view.packets.iter().position(|p| p.packet == packet)?;
    // What is sent again says nothing new, and what it had not by then, nothing to it.
    let (closing, mut reached, mut said) = (&view.packets[place], [i64::MIN; 2], None);
    let had = |p: &&Seen<D>| p.from == closing.from || closing.ack().is_none_or(|ack| p.start() > ack || p.end() <= ack);
    for p in view.packets[..place].iter().filter(|p| !p.is_empty() || p.flags.syn()).filter(had) {
        if p.end() > reached[p.from as usize] {
            (reached[p.from as usize], said) = (p.end(), Some(p.at));
        }
    }
    Some((first, said.map_or(Span::ZERO, |said| view.packets[place].at - said)))
}

/// The packet with which a side took its leave by an alert though it was not its turn: nothing had come to it since its own last word, or
/// no more than a part of what it waited for. It gave up waiting.
pub(crate) fn gave_up<'a, D: Domain>(view: &'a View<D>, d: &Dialogue, side: Side) -> Option<&'a Seen<D>> {
    let begun = d.farewells[side as usize]?;
    let data = || view.sent_by(side).filter(|p| !p.is_empty() || p.flags.syn());
    let farewell = data().find(|p| !p.flags.syn() && p.start() >= begun)?;
    let before = data().take_while(|p| p.packet != farewell.packet).last();
    let nothing_came = before.is_some_and(|before| before.ack() == farewell.ack());
    let a_part = match side {
        Side::Client => d.server_hello.is_some() && d.server_flight.is_none(),
        Side::Server => d.half_hello.is_some(),
    };
    (nothing_came || a_part).then_some(farewell)
}

/// Whether a reset's TTL is not that of its side's packets, if there are others.
fn foreign<D: Domain>(view: &View<D>, reset: &Seen<D>) -> bool {
    let other = view.sent_by(reset.from).find(|p| !p.flags.rst());
    other.is_some_and(|other| other.ttl.abs_diff(reset.ttl) >= OTHER_TTL)
}

/// Whether a reset bears the marks of the stack whose connection it was.
fn own<D: Domain>(view: &View<D>, reset: &Seen<D>) -> bool {
    let before = || view.sent_by(reset.from).filter(|p| p.packet < reset.packet);
    let stamped = before().any(|p| p.tsval().is_some());
    let counted = before().next_back().and_then(|last| Some(reset.ip_id()?.wrapping_sub(last.ip_id()?)));
    stamped && reset.tsval().is_some() || !stamped && counted.is_some_and(|step| (1..16).contains(&step))
}

#[cfg(test)]
mod tests;
