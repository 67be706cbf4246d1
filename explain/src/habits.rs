//! What the stacks of both ends of a handshake do whatever the network does: sizes, rounds that TLS asks for, plaintext before it.
//!
//! In: a handshake. Out: [`Habits`], from which a lab can be told to do the same.

use analysis::clock::Domain;
use analysis::conversation::handshake::Handshake;
use analysis::conversation::turns::plaintext;
use analysis::tcp::flow::{Side, View};
use analysis::tls::Extent;
use records::explained::{Habits, Plaintext};

/// Of a handshake.
pub(crate) fn of(handshake: &Handshake) -> Habits {
    let d = &handshake.dialogue;
    let bytes = |extent: Option<Extent>| extent.and_then(|e| u64::try_from(e.end - e.start).ok());
    let (segments, turns) = match (&handshake.edge, &handshake.client) {
        (Some(view), _) => (segments(view, d.server_flight), plaintext(view, d)),
        (None, Some(view)) => (segments(view, d.server_flight), plaintext(view, d)),
        (None, None) => (None, None),
    };
    Habits {
        hello_retry: d.hello_retry.is_some(),
        client_certificate: d.client_certificate || d.certificate_request.is_some(),
        client_hello_bytes: bytes(d.client_hello),
        flight_bytes: bytes(d.server_flight),
        flight_segments: segments,
        certificate_bytes: bytes(d.certificate),
        before_tls: turns
            .map(|(first, exchanges)| Plaintext { server_first: first == Side::Server, exchanges: exchanges as u64 }),
        ipv6: handshake.endpoints.server.ip().to_canonical().is_ipv6(),
    }
}

/// New segments of the server's flight.
fn segments<D: Domain>(view: &View<D>, flight: Option<Extent>) -> Option<u64> {
    let flight = flight?;
    let mut said = flight.start;
    let mut count = 0;
    for packet in view.sent_by(Side::Server).filter(|p| !p.is_empty() && p.start() < flight.end) {
        if packet.end() > said {
            said = packet.end();
            count += 1;
        }
    }
    (count > 0).then_some(count)
}
