//! Frames read again, with another library's eyes than those that wrote them: what a capture shows of one connection.

use std::net::{IpAddr, SocketAddr};

use etherparse::{NetHeaders, PacketHeaders, TcpOptionElement, TransportHeader};
use whostalled_sim::{MS, Trial};

pub type Frames = [(i64, Vec<u8>)];

/// One TCP packet of a capture.
#[derive(Clone, Debug)]
pub struct Seen {
    /// When, in nanoseconds.
    pub at: i64,
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub ttl: u8,
    pub ip_id: u16,
    pub syn: bool,
    pub ack: Option<u32>,
    pub fin: bool,
    pub rst: bool,
    pub seq: u32,
    pub window: u16,
    pub mss: Option<u16>,
    pub scaled: bool,
    pub stamp: Option<u32>,
    pub payload: Vec<u8>,
}

/// All TCP packets of a capture, in its order.
pub fn tcp(frames: &Frames) -> Vec<Seen> {
    frames.iter().filter_map(|(at, frame)| packet(*at, frame)).collect()
}

fn packet(at: i64, frame: &[u8]) -> Option<Seen> {
    let headers = PacketHeaders::from_ethernet_slice(frame).expect("it is a frame");
    let (source, destination, ttl, ip_id): (IpAddr, IpAddr, u8, u16) = match headers.net? {
        NetHeaders::Ipv4(ip, _) => (ip.source.into(), ip.destination.into(), ip.time_to_live, ip.identification),
        NetHeaders::Ipv6(ip, _) => (ip.source.into(), ip.destination.into(), ip.hop_limit, 0),
        NetHeaders::Arp(_) => return None,
    };
    let Some(TransportHeader::Tcp(tcp)) = headers.transport else { return None };
    let options: Vec<TcpOptionElement> = tcp.options_iterator().map(|o| o.expect("the options are whole")).collect();
    let of = |pick: fn(&TcpOptionElement) -> Option<u32>| options.iter().find_map(pick);
    Some(Seen {
        at,
        from: SocketAddr::new(source, tcp.source_port),
        to: SocketAddr::new(destination, tcp.destination_port),
        ttl,
        ip_id,
        syn: tcp.syn,
        ack: tcp.ack.then_some(tcp.acknowledgment_number),
        fin: tcp.fin,
        rst: tcp.rst,
        seq: tcp.sequence_number,
        window: tcp.window_size,
        mss: of(|o| if let TcpOptionElement::MaximumSegmentSize(mss) = o { Some(u32::from(*mss)) } else { None })
            .map(|m| m as u16),
        scaled: options.iter().any(|o| matches!(o, TcpOptionElement::WindowScale(_))),
        stamp: of(|o| if let TcpOptionElement::Timestamp(value, _) = o { Some(*value) } else { None }),
        payload: headers.payload.slice().to_vec(),
    })
}

/// UDP payloads of a capture with their ports.
pub fn udp(frames: &Frames) -> Vec<(i64, u16, u16, Vec<u8>)> {
    let read = |(at, frame): &(i64, Vec<u8>)| {
        let headers = PacketHeaders::from_ethernet_slice(frame).expect("it is a frame");
        let Some(TransportHeader::Udp(udp)) = headers.transport else { return None };
        Some((*at, udp.source_port, udp.destination_port, headers.payload.slice().to_vec()))
    };
    frames.iter().filter_map(read).collect()
}

/// The judged connection of a trial, at one end, with whether the client sent the packet; times in milliseconds since its first SYN.
pub struct Conversation(pub Vec<(f64, bool, Seen)>);

pub fn at_client(trial: &Trial) -> Conversation {
    of(&trial.client, trial.at_client)
}

pub fn at_edge(trial: &Trial) -> Conversation {
    of(&trial.edge, trial.at_edge)
}

fn of(frames: &Frames, (client, server): (SocketAddr, SocketAddr)) -> Conversation {
    let all = tcp(frames).into_iter().filter(|p| [(client, server), (server, client)].contains(&(p.from, p.to)));
    let all: Vec<Seen> = all.collect();
    let begin = all.iter().find(|p| p.syn).map_or(0, |p| p.at);
    Conversation(all.into_iter().map(|p| ((p.at - begin) as f64 / MS as f64, p.from == client, p)).collect())
}

impl Conversation {
    /// What one side said, in order of its bytes, as far as it is whole.
    pub fn stream(&self, client: bool) -> Vec<u8> {
        let isn = self.0.iter().find(|(_, c, p)| *c == client && p.syn).map_or(0, |(.., p)| p.seq);
        let mut said: Vec<(u32, &[u8])> = self.data(client).map(|(_, p)| (p.seq.wrapping_sub(isn + 1), &p.payload[..])).collect();
        said.sort_unstable_by_key(|(at, bytes)| (*at, bytes.len()));
        let mut stream = Vec::new();
        for (at, bytes) in said {
            let known = stream.len().saturating_sub(at as usize);
            if at as usize <= stream.len() && known < bytes.len() {
                stream.extend_from_slice(&bytes[known..]);
            }
        }
        stream
    }

    /// One side's packets with data.
    pub fn data(&self, client: bool) -> impl Iterator<Item = (f64, &Seen)> {
        self.0.iter().filter(move |(_, c, p)| *c == client && !p.payload.is_empty()).map(|(at, _, p)| (*at, p))
    }

    /// When one side's packets that fit left or came.
    pub fn when(&self, client: bool, fits: impl Fn(&Seen) -> bool) -> Vec<f64> {
        self.0.iter().filter(|(_, c, p)| *c == client && fits(p)).map(|(at, ..)| *at).collect()
    }

    /// The first packet with data whose payload begins so.
    pub fn said(&self, client: bool, begin: &[u8]) -> f64 {
        let found = self.data(client).find(|(_, p)| p.payload.starts_with(begin));
        found.unwrap_or_else(|| panic!("nobody said {begin:?}")).0
    }
}

/// Whether times are near those that are wanted, by a millisecond.
#[track_caller]
pub fn near(found: &[f64], wanted: &[f64]) {
    let same = found.len() == wanted.len() && found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1.0);
    assert!(same, "{found:.2?} instead of {wanted:?}");
}
