//! Clocks of a batch's two ends, set straight: the hosts may be anywhere, and anybody may set their clocks.

use analysis::clock::{Client, Edge};
use analysis::conversation::handshake::{Handshake, Pair};
use analysis::doubt::offset::Apart;
use analysis::doubt::straight::{Note, straight, straight_pair};
use analysis::tcp::flow::{Side, View};

/// Handshakes with their clocks set straight. Where either of two clocks may have been set, that is a doubt; so it is where they are further
/// apart behind a handshake than before it, and it does not show when that came.
pub(super) fn all(pairs: Vec<Pair>) -> Vec<Handshake> {
    let mut found: Vec<(Handshake, Option<Apart>)> = pairs.into_iter().map(|(client, edge)| set_straight(client, edge)).collect();
    found.sort_by_key(|(handshake, _)| handshake.client.as_ref().and_then(|v| v.packets.first()).map(|p| p.at));
    let aparts: Vec<(usize, Apart)> = found.iter().enumerate().filter_map(|(i, (_, apart))| Some((i, (*apart)?))).collect();
    for pair in aparts.windows(2) {
        let [(before, earlier), (behind, later)] = [pair[0], pair[1]];
        if earlier.moved_to(later).is_some() {
            let lasted = |handshake: &Handshake| {
                let packets = handshake.client.as_ref().map(|view| &view.packets);
                packets.and_then(|packets| Some((packets.first()?.at, packets.last()?.at)))
            };
            let from = lasted(&found[before].0).map(|(from, _)| from);
            let to = lasted(&found[behind].0).map(|(_, to)| to);
            let meanwhile =
                |handshake: &Handshake| lasted(handshake).is_some_and(|(first, last)| Some(last) >= from && Some(first) <= to);
            for (handshake, _) in found.iter_mut().filter(|(handshake, _)| meanwhile(handshake)) {
                handshake.clock_in_doubt = true;
            }
        }
    }
    found.into_iter().map(|(handshake, _)| handshake).collect()
}

fn set_straight(client: Option<View<Client>>, edge: Option<View<Edge>>) -> (Handshake, Option<Apart>) {
    match (client, edge) {
        (Some(client), Some(edge)) => {
            let found = straight_pair(client, edge, None);
            let mut handshake = *found.handshake;
            handshake.clock_in_doubt |= found.otherwise.is_some();
            (handshake, found.apart)
        }
        (client, edge) => {
            let client = client.map(|view| straight(view, Some(Side::Client)));
            let edge = edge.map(|view| straight(view, Some(Side::Server)));
            let notes = client.iter().flat_map(|(_, notes)| notes).chain(edge.iter().flat_map(|(_, notes)| notes));
            let doubt = notes.copied().any(Note::is_doubt);
            let mut handshake = Handshake::of(client.map(|(view, _)| view), edge.map(|(view, _)| view));
            handshake.clock_in_doubt = doubt;
            (handshake, None)
        }
    }
}
