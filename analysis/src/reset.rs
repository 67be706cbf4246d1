//! Who ended a connection: one of its ends, or something between them in an end's name.
//!
//! Two witnesses: an end that was captured itself shows whether it sent the reset; and what something on the way
//! sends has another TTL than the end's own packets (its hops are others, and so mostly is what it starts with).

use crate::clock::Domain;
use crate::flow::{Side, View};
use crate::handshake::Handshake;
use crate::ledger::Owner;

/// TTLs of one end's packets differ by less when a route changes.
const OTHER_TTL: u8 = 3;

/// Who reset the handshake; absent if nobody did.
pub(crate) fn reset_by(handshake: &Handshake) -> Option<Owner> {
    let client = handshake.client.as_ref().and_then(first_reset);
    let edge = handshake.edge.as_ref().and_then(first_reset);
    let (by, foreign) = client.or(edge)?;
    let owner = |by| if by == Side::Client { Owner::Client } else { Owner::Edge };
    let shown = match by {
        Side::Client => handshake.client.as_ref().map(|view| resets(view, by)),
        Side::Server => handshake.edge.as_ref().map(|view| resets(view, by)),
    };
    Some(match shown {
        Some(true) => owner(by),
        Some(false) => Owner::Path,
        None if foreign => Owner::Path,
        None => owner(by),
    })
}

/// Who closed the connection in an orderly way first; absent if nobody did.
pub(crate) fn closed_by(handshake: &Handshake) -> Option<Owner> {
    fn first<D: Domain>(view: &View<D>) -> Option<Side> {
        view.first_fin().map(|p| p.from)
    }
    let side = handshake.client.as_ref().and_then(first).or_else(|| handshake.edge.as_ref().and_then(first))?;
    Some(if side == Side::Client { Owner::Client } else { Owner::Edge })
}

/// Who the first reset claims to be from, and whether its TTL gives it away.
fn first_reset<D: Domain>(view: &View<D>) -> Option<(Side, bool)> {
    let reset = view.first_rst()?;
    let own = view.sent_by(reset.from).find(|p| !p.flags.rst())?;
    Some((reset.from, own.ttl.abs_diff(reset.ttl) >= OTHER_TTL))
}

fn resets<D: Domain>(view: &View<D>, side: Side) -> bool {
    view.sent_by(side).any(|p| p.flags.rst())
}
