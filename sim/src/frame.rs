//! One packet, and the frame that a capture holds of it.

use std::net::{IpAddr, SocketAddr};

use etherparse::{IpHeaders, IpNumber, Ipv4Extensions, Ipv4Header, Ipv6Extensions, Ipv6Header, PacketBuilder, TcpOptionElement};

/// Which end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The end that sent SYN.
    Client,
    /// The other.
    Server,
}

impl End {
    /// The other end.
    #[must_use]
    pub fn peer(self) -> Self {
        if self == End::Client { End::Server } else { End::Client }
    }
}

/// One TCP segment. Positions in streams count from 0, the first byte after SYN.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Who sent it.
    pub from: End,
    /// SYN.
    pub syn: bool,
    /// FIN.
    pub fin: bool,
    /// RST.
    pub rst: bool,
    /// Position of its first byte.
    pub start: usize,
    /// Its bytes.
    pub payload: Vec<u8>,
    /// Up to where it acknowledges; absent in the first SYN.
    pub ack: Option<usize>,
    /// SACK blocks, a D-SACK first.
    pub sack: Vec<(usize, usize)>,
    /// The window field.
    pub window: u16,
    /// The largest segment that a SYN announces.
    pub mss: u16,
    /// Whether a SYN offers to shift the window field.
    pub scaled: bool,
    /// TSval and TSecr.
    pub timestamps: Option<(u32, u32)>,
    /// IPv4 identification.
    pub ip_id: u16,
    /// TTL as it was sent.
    pub ttl: u8,
    /// Sequence numbers of both ends' SYN, own first.
    pub isn: (u32, u32),
    /// Which copy of the same bytes this is, from 0.
    pub copy: u32,
}

impl Packet {
    /// Position just behind its bytes.
    pub fn end(&self) -> usize {
        self.start + self.payload.len()
    }

    /// Whether it does nothing but acknowledge.
    pub fn pure_ack(&self) -> bool {
        self.payload.is_empty() && !self.syn && !self.fin && !self.rst
    }

    /// Length of its IP packet, about (options of data packets: timestamps).
    pub fn ip_len(&self, ipv6: bool) -> usize {
        let options = if self.timestamps.is_some() { 12 } else { 0 };
        (if ipv6 { 40 } else { 20 }) + 20 + options + self.payload.len()
    }

    /// The Ethernet frame with these addresses (sender first) and this TTL.
    pub fn frame(&self, addresses: (SocketAddr, SocketAddr), ttl: u8) -> Vec<u8> {
        let (source, destination) = addresses;
        let ip = match (source.ip(), destination.ip()) {
            (IpAddr::V4(s), IpAddr::V4(d)) => {
                let mut header = Ipv4Header::new(0, ttl, IpNumber::TCP, s.octets(), d.octets()).expect("an empty payload fits");
                header.identification = self.ip_id;
                header.dont_fragment = true;
                IpHeaders::Ipv4(header, Ipv4Extensions::default())
            }
            (IpAddr::V6(s), IpAddr::V6(d)) => {
                let header = Ipv6Header {
                    hop_limit: ttl,
                    next_header: IpNumber::TCP,
                    source: s.octets(),
                    destination: d.octets(),
                    ..Ipv6Header::default()
                };
                IpHeaders::Ipv6(header, Ipv6Extensions::default())
            }
            _ => panic!("both ends of a simulated connection speak one IP version"),
        };
        let number = |isn: u32, position: usize| isn.wrapping_add(1).wrapping_add(position as u32);
        let seq = if self.syn { self.isn.0 } else { number(self.isn.0, self.start) };
        let mut tcp = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]).ip(ip).tcp(
            source.port(),
            destination.port(),
            seq,
            self.window,
        );
        if self.syn {
            tcp = tcp.syn();
        }
        if self.fin {
            tcp = tcp.fin();
        }
        if self.rst {
            tcp = tcp.rst();
        }
        if !self.payload.is_empty() {
            tcp = tcp.psh();
        }
        if let Some(ack) = self.ack {
            tcp = tcp.ack(number(self.isn.1, ack));
        }
        let tcp = tcp.options(&self.options()).expect("the options fit");
        let mut bytes = Vec::with_capacity(tcp.size(self.payload.len()));
        tcp.write(&mut bytes, &self.payload).expect("a vector takes every write");
        bytes
    }

    fn options(&self) -> Vec<TcpOptionElement> {
        let mut options = Vec::new();
        if self.syn {
            options.push(TcpOptionElement::MaximumSegmentSize(self.mss));
            options.push(TcpOptionElement::SelectiveAcknowledgementPermitted);
            options.extend(self.scaled.then_some(TcpOptionElement::WindowScale(7)));
        }
        // As most stacks do, so that four-byte fields lie at multiples of four (RFC 7323, appendix A).
        let aligned = [TcpOptionElement::Noop, TcpOptionElement::Noop];
        if let Some((value, echo)) = self.timestamps {
            options.extend(aligned.iter().filter(|_| !self.syn).cloned());
            options.push(TcpOptionElement::Timestamp(value, echo));
        }
        let block = |(l, r): (usize, usize)| {
            let number = |position: usize| self.isn.1.wrapping_add(1).wrapping_add(position as u32);
            (number(l), number(r))
        };
        let mut blocks = self.sack.iter().take(3).map(|b| block(*b));
        if let Some(first) = blocks.next() {
            options.extend(aligned);
            options.push(TcpOptionElement::SelectiveAcknowledgement(first, [blocks.next(), blocks.next(), None]));
        }
        options
    }
}
