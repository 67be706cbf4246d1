//! Waits that TCP's own rules make a sender spend on an acknowledgement.
//!
//! In: one observer's packets and a stretch of its time. Out: the stretches in which a side had data to send and
//! TCP did not let it go before an acknowledgement came. Two rules do that in a handshake:
//!
//! - a flight larger than the initial congestion window (RFC 6928) waits for the acknowledgement of its start;
//! - Nagle's algorithm (RFC 896, RFC 9293 section 3.7.4) holds a small segment while anything is unacknowledged.
//!   A TLS stack that writes ChangeCipherSpec and Finished one by one meets it, and the peer's delayed
//!   acknowledgement (RFC 9293 section 3.8.6.3, 40 ms on Linux) makes it long.
//!
//! Both show the same hand: new data leaves at once when the acknowledgement of all before it arrives.

use std::ops::Range;

use crate::clock::{Domain, Instant, Span};
use crate::flow::{Seen, Side, View};
use crate::ledger::Kind;

/// Data this soon after an acknowledgement was released by it: the kernel does it in the same interrupt.
const RELEASED: Span = Span::from_micros(300);
/// Shorter waits are none.
const AT_ONCE: Span = Span::from_millis(1);
/// Ten segments of the least usual size: fewer bytes never fill an initial window.
const LEAST_WINDOW: i64 = 10_000;
/// What may be acknowledged of a window before the rest leaves.
const MOST_OF_A_WINDOW: i64 = 4_000;
/// No segment below the least MSS (RFC 9293 section 3.7.1) is full.
const LEAST_MSS: i64 = 536;
/// Of a view that shows no longer segment, nobody knows the MSS; on the paths of today none is less (IPv6's least MTU, less headers).
const USUAL_MSS: i64 = 1_160;

/// A stretch in which a side waited for an acknowledgement.
#[derive(Clone, Copy, Debug)]
pub struct AckWait<'a, D> {
    /// Under which rule: [`Kind::InitialWindow`] or [`Kind::Nagle`].
    pub kind: Kind,
    /// The last data sent before it.
    pub sent: &'a Seen<D>,
    /// The acknowledgement that ended it.
    pub ack: &'a Seen<D>,
    /// The data it released.
    pub released: &'a Seen<D>,
}

impl<D: Domain> AckWait<'_, D> {
    /// The frames that prove it.
    pub fn packets(&self) -> [u64; 3] {
        [self.sent.packet, self.ack.packet, self.released.packet]
    }
}

/// The waits of `side` within `[from, to]`, by the observer at that side.
pub fn ack_waits<D: Domain>(view: &View<D>, side: Side, from: Instant<D>, to: Instant<D>) -> Vec<AckWait<'_, D>> {
    waits(view, side, (from, to), Span::ZERO, |ack, released| ack.at <= released.at && released.at - ack.at < RELEASED)
}

/// The same by an observer at the *peer*, where what an acknowledgement releases arrives one round trip later. So does any answer;
/// only within one message, whose bytes are `written` together, is it TCP that waited.
pub fn ack_waits_seen_by_peer<D: Domain>(
    view: &View<D>,
    side: Side,
    from: Instant<D>,
    to: Instant<D>,
    round_trip: Span,
    written: Range<i64>,
) -> Vec<AckWait<'_, D>> {
    let slack = AT_ONCE + round_trip.percent(10);
    let one_message = |w: &AckWait<'_, D>| w.sent.start() >= written.start && w.released.start() < written.end;
    let found = waits(view, side, (from, to), round_trip, |ack, released| {
        let later = released.at - ack.at - round_trip;
        later < slack && Span::ZERO - later < slack
    });
    found.into_iter().filter(one_message).collect()
}

/// `lag` is how much later than `side`'s data its peer's acknowledgements pass the observer than they pass `side`: a round trip
/// for an observer at the peer.
fn waits<'a, D: Domain>(
    view: &'a View<D>,
    side: Side,
    (from, to): (Instant<D>, Instant<D>),
    lag: Span,
    releases: impl Fn(&Seen<D>, &Seen<D>) -> bool,
) -> Vec<AckWait<'a, D>> {
    if to - from <= AT_ONCE {
        return Vec::new(); // too short for a wait
    }
    let full = || view.sent_by(side).map(Seen::len).max().unwrap_or(0).max(USUAL_MSS);
    let mut found = Vec::new();
    let mut last = None::<&Seen<D>>;
    for packet in view.sent_by(side).filter(|p| !p.is_empty() && p.at >= from && p.at <= to) {
        let Some(sent) = last.filter(|sent| packet.start() >= sent.end()) else {
            last = last.filter(|l| l.end() >= packet.end()).or(Some(packet));
            continue;
        };
        last = Some(packet);
        let after = |a: &Seen<D>| a.at + lag > sent.at;
        let acks =
            || view.sent_by(side.peer()).filter(|a| after(a) && a.at <= packet.at && a.ack().is_some_and(|a| a > sent.start()));
        // Nagle lets go when all is acknowledged, a full window when some of it is.
        let all =
            acks().find(|a| a.ack().is_some_and(|a| a >= sent.end())).filter(|a| packet.len() < full() && releases(a, packet));
        let before = view.sent_by(side.peer()).filter(|a| !after(a)).filter_map(|a| a.ack()).max().unwrap_or(0);
        let newer = |a: &&Seen<D>| after(a) && a.at <= packet.at && a.ack().is_some_and(|a| a > before);
        let some = view.sent_by(side.peer()).filter(newer).find(|a| releases(a, packet));
        let windowful = sent.end() > LEAST_WINDOW && sent.end() - before.min(sent.start()) > MOST_OF_A_WINDOW;
        let (kind, ack) = match (all, some) {
            (_, Some(ack)) if windowful => (Kind::InitialWindow, ack),
            (Some(ack), _) if !windowful => (Kind::Nagle, ack),
            _ => continue,
        };
        if packet.at - sent.at > AT_ONCE {
            found.push(AckWait { kind, sent, ack, released: packet });
        }
    }
    found
}

/// The small piece just before `rest`, if all the time until `rest` left it was unacknowledged: Nagle's algorithm may
/// have held `rest`, and a timer (a loss probe, RFC 8985 section 7: two round trips or more) let it go.
pub fn held_piece<'a, D: Domain>(view: &'a View<D>, side: Side, rest: &Seen<D>, round_trip: Span) -> Option<&'a Seen<D>> {
    let piece = view.sent_by(side).find(|p| !p.is_empty() && p.end() == rest.start())?;
    let acknowledged =
        view.sent_by(side.peer()).any(|a| a.at >= piece.at && a.at <= rest.at && a.ack().is_some_and(|a| a >= piece.end()));
    let small = |p: &Seen<D>| p.len() < LEAST_MSS;
    let timer = AT_ONCE.max(round_trip.percent(190));
    (!acknowledged && small(piece) && small(rest) && rest.at - piece.at > timer).then_some(piece)
}
