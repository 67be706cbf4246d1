//! The addresses that a client tried in vain: each has packets of its own, and none is a handshake.

use agent::ClientEnd;
use analysis::clock::{Client, Instant};
use analysis::conversation::handshake::{Handshake, Tried};
use analysis::tcp::flow::Side;

/// Puts connections that nobody answered to the one that their client went on with, which is at another address. Handshakes are in order
/// of their first packets.
pub(super) fn fold(handshakes: &mut Vec<Handshake>, clients: &[ClientEnd]) {
    for client in clients {
        let ours: Vec<usize> =
            (0..handshakes.len()).filter(|i| client.has_port(handshakes[*i].endpoints.client.port())).collect();
        let answered = ours.iter().copied().find(|i| is_answered(&handshakes[*i]));
        // Where nobody answered at all, it is the last that it waited for.
        let Some(kept) = answered.or(ours.last().copied()) else { continue };
        let Some(connected) = began(&handshakes[kept]).map(|(at, _)| at) else { continue };
        let server = handshakes[kept].endpoints.server;
        let elsewhere = |h: &Handshake| h.endpoints.server.ip() != server.ip() && h.edge.is_none() && !is_answered(h);
        let vain: Vec<usize> = ours.into_iter().filter(|i| *i != kept && elsewhere(&handshakes[*i])).collect();
        let mut tried: Vec<Tried> = Vec::new();
        for i in &vain {
            // One that began later was tried beside it, and lost.
            let Some((from, packet)) = began(&handshakes[*i]).filter(|(from, _)| *from < connected) else { continue };
            if let Some(before) = tried.last_mut() {
                before.to = from;
            }
            tried.push(Tried { server: handshakes[*i].endpoints.server, from, to: connected, packet });
        }
        handshakes[kept].tried = tried;
        for i in vain.into_iter().rev() {
            handshakes.remove(i);
        }
    }
}

fn began(handshake: &Handshake) -> Option<(Instant<Client>, u64)> {
    handshake.client.as_ref()?.syns(Side::Client).next().map(|syn| (syn.at, syn.packet))
}

fn is_answered(handshake: &Handshake) -> bool {
    handshake.client.as_ref().is_some_and(|view| view.syns(Side::Server).next().is_some())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::SocketAddr;

    use agent::Trace;
    use analysis::conversation::handshake::join;
    use analysis::tcp::table::FlowTable;
    use analysis::wire::packet::{LinkType, Transport, decode};

    use super::*;

    const SYN: u8 = 2;
    const ACK: u8 = 16;

    /// A frame with a TCP segment of no payload.
    fn ethernet(from: SocketAddr, to: SocketAddr, flags: u8) -> Vec<u8> {
        let ip = |end: SocketAddr| match end.ip() {
            std::net::IpAddr::V4(ip) => ip.octets(),
            std::net::IpAddr::V6(_) => panic!("IPv4 is enough here"),
        };
        let mut frame = [[0; 12].as_slice(), &[8, 0, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0], &ip(from), &ip(to)].concat();
        frame.extend(from.port().to_be_bytes().into_iter().chain(to.port().to_be_bytes()));
        // The numbers of both directions are 0.
        frame.extend([0, 0, 0, 0, 0, 0, 0, u8::from(flags & ACK != 0), 0x50, flags, 255, 255, 0, 0, 0, 0]);
        frame
    }

    fn at(ms: i64) -> Instant<Client> {
        Instant::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn an_address_that_did_not_answer_is_part_of_the_handshake_behind_it() {
        let end = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let (dead, alive) = (end("192.0.2.3:443"), end("192.0.2.5:443"));
        let [first, second, other] = ["192.0.2.1:40001", "192.0.2.1:40002", "192.0.2.1:40003"].map(end);
        let mut table: FlowTable<Client> = FlowTable::default();
        let said = [(0, first, dead, SYN), (5, other, dead, SYN), (250, second, alive, SYN), (260, alive, second, SYN | ACK)];
        for (packet, (ms, from, to, flags)) in (1..).zip(said) {
            let bytes = ethernet(from, to, flags);
            let Ok(Transport::Tcp(segment)) = decode(LinkType::Ethernet, &bytes) else { panic!("no segment: {bytes:?}") };
            let _ = table.push(at(ms), packet, &segment);
        }
        let mut handshakes = join(table.into_views(), Vec::new());
        handshakes.sort_by_key(|h| began(h).map(|(at, _)| at));
        let trace = Trace { tried: BTreeSet::from([first.port(), second.port()]), ..Trace::default() };
        let said = serde_json::Value::Null;
        let client = ClientEnd { pid: 1, code: Some(0), timed_out: false, said, complained: String::new(), trace };
        fold(&mut handshakes, &[client]);
        assert_eq!(handshakes.len(), 2, "another's connection that nobody answered is its own");
        let tried: Vec<Tried> = handshakes.iter().flat_map(|h| h.tried.clone()).collect();
        assert_eq!(tried, [Tried { server: dead, from: at(0), to: at(250), packet: 1 }]);
    }
}
