//! What stands between the ends and does more than lose and delay: forged resets, SYN proxies, stripped options, routers' words.

use super::{Event, World};
use crate::beside::too_big;
use crate::frame::{End, Packet};
use crate::plan::Squeeze;

/// From a SYN proxy, which stands near the edge, to the edge and back.
const NEAR: i64 = crate::MS / 2;
/// The window that it tells of when the edge has answered.
const OPENED: u16 = 501;

/// Where a SYN proxy stands with a connection (as netfilter's SYNPROXY).
#[derive(Clone, Default, Debug)]
pub struct SynProxy {
    /// The number with which it answers SYN in the server's place.
    pub cookie: u32,
    /// The client's SYN, kept for the server.
    syn: Option<Packet>,
    /// The client's acknowledgement of the proxy's answer.
    ack: Option<Packet>,
    /// The server's own number, once it has answered.
    server: Option<u32>,
}

impl World {
    /// Something in the middle of the path resets both ends in each other's name.
    pub(super) fn forge(&mut self, now: i64, id: usize, ttl: u8, seen: &Packet) {
        let delay = self.conns[id].path[0].delay;
        let reset = Packet { rst: true, payload: Vec::new(), ttl, ip_id: 0x7777, timestamps: None, ..seen.clone() };
        let to_server = Packet { start: seen.end(), ..reset.clone() };
        let ack = seen.ack.unwrap_or(0);
        let to_client = Packet { from: End::Server, start: ack, ack: Some(seen.end()), isn: (seen.isn.1, seen.isn.0), ..reset };
        self.schedule(now + delay / 2 + delay / 2, id, Event::Arrive(End::Server, Box::new(to_server)));
        self.schedule(now + delay / 2, id, Event::Arrive(End::Client, Box::new(to_client)));
    }

    /// A packet comes to what squeezes windows, on its way to where it arrives at `at`.
    pub(super) fn squeeze(&mut self, at: i64, id: usize, mut packet: Packet) {
        let conn = &mut self.conns[id];
        let from = packet.from;
        let mut arrivals = Vec::new();
        match conn.squeeze {
            Some(Squeeze::SynProxy(late)) => {
                let near = 63 + conn.path[0].hops;
                let back = conn.path[1].delay;
                let proxy = &mut conn.syn_proxy;
                match (from, proxy.server) {
                    (End::Client, None) if packet.syn => {
                        // It answers as the server would, with its stamps, and with no room for data.
                        let mut answers = Vec::new();
                        conn.tcp[1].clone().receive(at, &packet, &mut answers);
                        proxy.syn = Some(packet);
                        let answer = answers.into_iter().next().map(|a| Packet { window: 0, isn: (proxy.cookie, a.isn.1), ..a });
                        arrivals.extend(answer.map(|a| (at + back, a)));
                    }
                    (End::Client, None) => {
                        let syn = proxy.syn.clone().filter(|_| proxy.ack.is_none());
                        arrivals.extend(syn.map(|syn| (at + late, Packet { ttl: near, ..syn })));
                        proxy.ack.get_or_insert(packet);
                    }
                    (End::Client, Some(server)) => {
                        packet.isn.1 = server;
                        arrivals.push((at, packet));
                    }
                    (End::Server, _) => {
                        let number = packet.isn.0;
                        packet.isn.0 = proxy.cookie;
                        if packet.syn {
                            proxy.server = Some(number);
                            let ack = proxy.ack.clone().map(|a| Packet { isn: (a.isn.0, number), ttl: near, ..a });
                            arrivals.extend(ack.map(|ack| (at - back + NEAR, ack)));
                            packet = Packet { syn: false, window: OPENED, ..packet };
                        }
                        arrivals.push((at, packet));
                    }
                }
            }
            Some(Squeeze::Unscaled) => {
                packet.scaled &= from == End::Client;
                arrivals.push((at, packet));
            }
            None => arrivals.push((at, packet)),
        }
        for (at, packet) in arrivals {
            self.schedule(at, id, Event::Arrive(packet.from.peer(), Box::new(packet)));
        }
    }

    /// The router in the middle tells the server that a packet is too big.
    pub(super) fn tell_too_big(&mut self, now: i64, id: usize, packet: &Packet) {
        let conn = &self.conns[id];
        let Some(mtu) = conn.too_big.filter(|mtu| packet.ip_len(conn.path[1].ipv6) > usize::from(*mtu)) else { return };
        if packet.from == End::Server {
            let (client, server) = conn.addresses[1];
            let frame = packet.frame((server, client), packet.ttl);
            // Half of the way there, and back.
            self.beside[1].push((now + conn.path[1].delay, too_big(server.ip(), &frame, mtu)));
        }
    }
}
