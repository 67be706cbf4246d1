//! Traffic beside the handshake, written without a protocol engine: a question to somebody else, ICMP, bulk data.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use etherparse::icmpv4::DestUnreachableHeader;
use etherparse::{Icmpv4Type, Icmpv6Type, PacketBuilder};

use crate::MS;
use crate::frame::{End, Packet};

pub(crate) fn udp(source: SocketAddr, destination: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let (IpAddr::V4(s), IpAddr::V4(d)) = (source.ip(), destination.ip()) else { panic!("lookups here go over IPv4") };
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
        .ipv4(s.octets(), d.octets(), 64)
        .udp(source.port(), destination.port());
    let mut bytes = Vec::with_capacity(builder.size(payload.len()));
    builder.write(&mut bytes, payload).expect("a vector takes every write");
    bytes
}

/// A question over HTTP from `host` to a third party, begun and answered within `[from, to]`.
pub fn exchange(host: IpAddr, from: i64, to: i64) -> Vec<(i64, Vec<u8>)> {
    let client = SocketAddr::new(host, 33_333);
    let server = crate::trial::address(host.is_ipv6(), 80, 80);
    let trip = ((to - from) / 10).min(10 * MS);
    let request = b"POST /status HTTP/1.1\r\nHost: ocsp.test\r\n\r\n".to_vec();
    let response = [&b"HTTP/1.1 200 OK\r\n\r\n"[..], &[7; 900]].concat();
    let (asked, answered) = (request.len(), response.len());
    let packet = |side: End, flags: (bool, bool), start: usize, ack: usize, payload: Vec<u8>| Packet {
        from: side,
        syn: flags.0,
        fin: flags.1,
        rst: false,
        start,
        payload,
        ack: (side == End::Server || !flags.0).then_some(ack),
        sack: Vec::new(),
        window: 500,
        mss: 1_460,
        scaled: true,
        timestamps: None,
        ip_id: 0,
        ttl: 64,
        isn: if side == End::Client { (1_000, 2_000) } else { (2_000, 1_000) },
        copy: 0,
    };
    let (c, s) = (End::Client, End::Server);
    let talk = [
        (from, packet(c, (true, false), 0, 0, vec![])),
        (from + trip, packet(s, (true, false), 0, 0, vec![])),
        (from + trip + 20_000, packet(c, (false, false), 0, 0, vec![])),
        (from + trip + 60_000, packet(c, (false, false), 0, 0, request)),
        (to, packet(s, (false, false), 0, asked, response)),
        (to + 10_000, packet(c, (false, true), asked, answered, vec![])),
        (to + 10_000 + trip, packet(s, (false, true), answered, asked + 1, vec![])),
        (to + 30_000 + trip, packet(c, (false, false), asked + 1, answered + 1, vec![])),
    ];
    talk.iter().map(|(at, p)| (*at, p.frame(if p.from == c { (client, server) } else { (server, client) }, p.ttl))).collect()
}

/// SYNs of `host` to a third party that nobody answers, as Linux repeats them, for as long as its program waits: `[from, to]`.
pub fn unanswered(host: IpAddr, from: i64, to: i64) -> Vec<(i64, Vec<u8>)> {
    let client = SocketAddr::new(host, 33_334);
    let server = crate::trial::address(host.is_ipv6(), 81, 80);
    let mut tcp = crate::tcp::Tcp::new(End::Client, crate::habit::LINUX, 1_000, 0, 1);
    let mut out = Vec::new();
    tcp.connect(from, &mut out);
    let mut frames = Vec::new();
    let mut at = from;
    while at < to {
        frames.extend(out.drain(..).map(|p| (at, p.frame((client, server), p.ttl))));
        let Some(next) = tcp.deadline() else { break };
        at = next;
        if at < to {
            tcp.tick(at, &mut out);
        }
    }
    frames
}

/// A router's word to a sender that its packet is too big for the next link: "fragmentation needed" (RFC 1191), or "packet too big"
/// (RFC 8201). `frame` is what it was sent.
pub fn too_big(sender: IpAddr, frame: &[u8], mtu: u16) -> Vec<u8> {
    let ethernet = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 1]);
    let packet = &frame[14..];
    let mut bytes = Vec::new();
    let written = match sender {
        IpAddr::V4(v4) => {
            let about = DestUnreachableHeader::FragmentationNeeded { next_hop_mtu: mtu };
            let router = Ipv4Addr::new(203, 0, 113, 7).octets();
            let builder = ethernet.ipv4(router, v4.octets(), 60).icmpv4(Icmpv4Type::DestinationUnreachable(about));
            // The header, and eight bytes of what it carries.
            builder.write(&mut bytes, &packet[..28])
        }
        IpAddr::V6(v6) => {
            let router = Ipv6Addr::new(0x2001, 0xdb8, 0, 99, 0, 0, 0, 7).octets();
            let builder = ethernet.ipv6(router, v6.octets(), 60).icmpv6(Icmpv6Type::PacketTooBig { mtu: u32::from(mtu) });
            builder.write(&mut bytes, &packet[..packet.len().min(1_232)])
        }
    };
    written.expect("a vector takes every write");
    bytes
}

/// A download of `len` bytes over plain HTTP by `client`, from `start`.
pub fn download(client: SocketAddr, start: i64, len: usize) -> Vec<(i64, Vec<u8>)> {
    let server = crate::trial::address(client.is_ipv6(), 2, 80);
    let trip = 20 * MS;
    let packet = |side: End, syn: bool, start: usize, ack: usize, payload: Vec<u8>| Packet {
        from: side,
        syn,
        fin: false,
        rst: false,
        start,
        payload,
        ack: (side == End::Server || !syn).then_some(ack),
        sack: Vec::new(),
        window: 500,
        mss: 1_460,
        scaled: true,
        timestamps: Some((start as u32, ack as u32)),
        ip_id: (start >> 4) as u16,
        ttl: 60,
        isn: if side == End::Client { (1_000, 2_000) } else { (2_000, 1_000) },
        copy: 0,
    };
    let (c, s) = (End::Client, End::Server);
    let request = b"GET /large HTTP/1.1\r\nHost: plain.test\r\n\r\n".to_vec();
    let asked = request.len();
    let mut talk = vec![
        (start, packet(c, true, 0, 0, vec![])),
        (start + 30_000, packet(s, true, 0, 0, vec![])),
        (start + trip, packet(c, false, 0, 0, vec![])),
        (start + trip + 10_000, packet(c, false, 0, 0, request)),
    ];
    let mut at = start + trip + 50_000;
    let mut sent = 0;
    while sent < len {
        let part = (len - sent).min(1_448);
        talk.push((at, packet(s, false, sent, asked, vec![b'x'; part])));
        sent += part;
        at += 12_000;
        if sent.is_multiple_of(2 * 1_448) {
            talk.push((at + trip, packet(c, false, asked, sent, vec![])));
        }
    }
    let frame = |(at, p): (i64, Packet)| {
        let addresses = if p.from == c { (client, server) } else { (server, client) };
        (at, p.frame(addresses, p.ttl))
    };
    talk.into_iter().map(frame).collect()
}

/// `count` full datagrams to `client`, as QUIC sends them.
pub fn flood(client: SocketAddr, start: i64, count: usize) -> Vec<(i64, Vec<u8>)> {
    let server = crate::trial::address(false, 2, 443);
    let payload = [0x40; 1_200];
    (0..count).map(|i| (start + i as i64 * 15_000, udp(server, client, &payload))).collect()
}
