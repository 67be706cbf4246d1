//! A last message that the capture missed, told by who acknowledged it and by what followed.
//!
//! In: a view with a hole where its packets missed bytes that the peer had, and the dialogue that was read around it. Out: the same
//! dialogue with Finished in that hole. A handshake of which one packet was not captured was no less completed.

use crate::clock::Domain;
use crate::tcp::covered::Covered;
use crate::tcp::flow::{Seen, Side, View};
use crate::tls::{Content, Dialogue, Extent, Half, Order};

/// A record of ChangeCipherSpec.
const CHANGE: i64 = 6;

/// Adds what a hole tells; changes nothing that bytes before it have told.
pub(crate) fn complete<D: Domain>(view: &View<D>, [client, server]: [Half<'_>; 2], d: &mut Dialogue) {
    // What was captured of the other end's is no hole.
    let unread = |known: Option<Extent>, hole: Extent| known.is_none_or(|known| known.start >= hole.end);
    // Of early data a hole may be anything.
    if !view.capture_gap() || d.server_hello.is_none() || d.early_data_offered {
        return;
    }
    let Some(hello) = d.client_hello.filter(|_| d.version.is_some()) else { return };
    let last = hole(view, Side::Client, hello.end).filter(|hole| unread(d.client_finished, *hole));
    let protected = || client.records.found.iter().filter(|r| r.content == Content::ApplicationData);
    let request = |hole: Extent| protected().map(|r| r.extent).find(|extent| extent.start >= hole.end);
    if d.server_finishes_last() {
        // ChangeCipherSpec is in clear: where it was captured, so was what follows it.
        if let Some(hole) = last.filter(|_| d.server_finished.is_some() && d.client_finished.is_none()) {
            let found = &client.records.found;
            let change = found.iter().position(|r| r.content == Content::ChangeCipherSpec && r.extent.start >= hole.end);
            let last = change.and_then(|i| Some(Extent { start: found[i].extent.start, end: found.get(i + 1)?.extent.end }));
            let last = last.unwrap_or(hole);
            (d.client_finished, d.first_request) = (Some(last), request(last));
            return;
        }
        let Some(flight) = d.server_flight else { return };
        let hole = hole(view, Side::Server, flight.end).filter(|hole| unread(d.server_finished, *hole));
        // It answers Finished, and the client goes on.
        let answers = d.client_finished.is_some_and(|finished| view.first_ack(Side::Client, finished.end).is_some());
        d.server_finished = hole.filter(|_| answers && d.first_request.is_some()).or(d.server_finished);
        return;
    }
    let Some(hole) = last else { return };
    let Some(told) = view.first_ack(Side::Client, hole.end) else { return };
    // Behind it both go on: what lay there was enough for both.
    let asks = |p: &&Seen<D>| p.from == Side::Client && !p.is_empty() && p.start() >= hole.end;
    let answers = |p: &&Seen<D>| p.from == Side::Server && !p.is_empty() && p.packet >= told.packet;
    if !view.packets.iter().any(|p| asks(&p)) || !view.packets.iter().any(|p| answers(&p)) {
        return;
    }
    // What is as long as Finished, with ChangeCipherSpec or without, is one. In what is longer there may have been a certificate, too:
    // then Finished follows, behind CertificateVerify; and where no record begins behind it, nothing is known.
    let is_finished = |len: i64, extra: i64| d.finished_13().iter().any(|finished| len == *finished + extra);
    let len = hole.end - hole.start;
    let follows = || protected().filter(|r| r.extent.start >= hole.end).take(3).any(|r| is_finished(r.len(), 0));
    let readable = || client.records.found.iter().any(|r| r.extent.start == hole.end);
    let longer = d.finished_13().iter().all(|finished| len > *finished + CHANGE) && readable() && !follows();
    if !is_finished(len, 0) && !is_finished(len, CHANGE) && !longer {
        return;
    }
    let before = view.packets.iter().take_while(|p| p.packet != told.packet).filter(|p| p.from == Side::Server);
    let order = Order { server_before_finished: Some(before.map(Seen::end).max().unwrap_or(0)), client_before_hello: None };
    d.read_again(client, server, order);
    d.client_alert = d.client_alert.filter(|alert| alert.end <= hole.start);
    (d.client_finished, d.first_request) = (Some(hole), request(hole));
}

/// The first bytes of a side from an offset on that no packet held, though the peer acknowledged them.
fn hole<D: Domain>(view: &View<D>, side: Side, from: i64) -> Option<Extent> {
    let (mut covered, mut behind) = (Covered::default(), i64::MAX);
    // FIN takes one number.
    view.sent_by(side).for_each(|p| covered.add(p.start(), p.end() + i64::from(p.flags.fin())));
    let start = covered.prefix;
    view.sent_by(side).filter(|p| p.start() > start).for_each(|p| behind = behind.min(p.start()));
    let hole = Extent { start, end: behind };
    (start >= from && behind < i64::MAX && view.first_ack(side, behind).is_some()).then_some(hole)
}
