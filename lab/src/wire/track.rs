//! What a scripted wire remembers of a connection, and the name it gives to each packet.
//!
//! Simple on purpose, and not the analysis's: what injects must not share its opinion with what judges.

use std::collections::HashMap;

use analysis::wire::packet::TcpSegment;

use super::path::Direction;
use super::script::Packet;

/// A packet's name.
pub(super) struct Seen {
    pub packet: Packet,
    pub nth: usize,
    pub copy: u32,
}

/// One connection so far.
#[derive(Default)]
pub(super) struct Track {
    tls: bool,
    first_ack: bool,
    finished: bool,
    /// New data segments, by direction.
    counts: [usize; 2],
    /// Data segments of each turn.
    turns: [usize; 6],
    server_end: Option<u32>,
    names: HashMap<(bool, u32), (Packet, usize, u32)>,
    syns: [u32; 2],
    flight_acks: HashMap<u32, u32>,
}

impl Track {
    /// Names one packet.
    pub(super) fn packet(&mut self, direction: Direction, s: &TcpSegment<'_>) -> Seen {
        let out = direction == Direction::Out;
        if s.flags.syn() {
            let copies = &mut self.syns[usize::from(out)];
            *copies += 1;
            return Seen { packet: if out { Packet::Syn } else { Packet::SynAck }, nth: 0, copy: *copies };
        }
        if s.len == 0 {
            return self.bare(out, direction, s);
        }
        if let Some((packet, nth, copies)) = self.names.get_mut(&(out, s.seq)) {
            *copies += 1;
            return Seen { packet: *packet, nth: *nth, copy: *copies };
        }
        let count = &mut self.counts[usize::from(out)];
        *count += 1;
        let nth = *count;
        let packet = if out { self.client(s) } else { self.server() };
        if !out {
            let end = s.seq.wrapping_add(s.len);
            let newer = self.server_end.is_none_or(|old| end.wrapping_sub(old) < 1 << 31);
            self.server_end = if newer { Some(end) } else { self.server_end };
        }
        self.names.insert((out, s.seq), (packet, nth, 1));
        Seen { packet, nth, copy: 1 }
    }

    fn bare(&mut self, out: bool, direction: Direction, s: &TcpSegment<'_>) -> Seen {
        let plain = out && s.flags.ack() && !s.flags.fin() && !s.flags.rst();
        if plain && !self.first_ack {
            self.first_ack = true;
            return Seen { packet: Packet::FirstAck, nth: 0, copy: 1 };
        }
        if plain && self.tls && !self.finished && self.turns[3] > 0 && self.server_end == Some(s.ack) {
            let copies = self.flight_acks.entry(s.ack).or_insert(0);
            *copies += 1;
            return Seen { packet: Packet::FlightAck, nth: 0, copy: *copies };
        }
        Seen { packet: Packet::Other(direction), nth: 0, copy: 1 }
    }

    fn next(&mut self, turn: usize) -> usize {
        self.turns[turn] += 1;
        self.turns[turn]
    }

    fn client(&mut self, s: &TcpSegment<'_>) -> Packet {
        self.first_ack = true; // some stacks let the data carry it
        self.tls |= hello(s.payload);
        if !self.tls {
            return Packet::ClientPlain(self.next(0));
        }
        if self.turns[3] == 0 || (!self.finished && hello(s.payload)) {
            return Packet::ClientHello(self.next(2));
        }
        if !self.finished && s.payload.len() == 6 && s.payload.first() == Some(&20) {
            return Packet::Other(Direction::Out);
        }
        self.finished = true;
        Packet::ClientFinished(self.next(4))
    }

    fn server(&mut self) -> Packet {
        if !self.tls {
            Packet::ServerPlain(self.next(1))
        } else if self.finished {
            Packet::Behind(self.next(5))
        } else {
            Packet::Flight(self.next(3))
        }
    }
}

/// A ClientHello, perhaps after a ChangeCipherSpec (RFC 8446, section D.4).
fn hello(payload: &[u8]) -> bool {
    let body = if payload.first() == Some(&20) { payload.get(6..) } else { Some(payload) };
    matches!(body, Some([22, 3, _, _, _, 1, ..]))
}

#[cfg(test)]
mod tests {
    use analysis::wire::packet::{LinkType, Transport, decode};

    use super::super::by_hand::frame;
    use super::*;

    fn name(track: &mut Track, way: Direction, flags: u8, numbers: (u32, u32), payload: &[u8]) -> (Packet, u32) {
        let frame = frame(way, flags, numbers, payload);
        let Ok(Transport::Tcp(segment)) = decode(LinkType::Ethernet, &frame) else { panic!("no segment") };
        let seen = track.packet(way, &segment);
        (seen.packet, seen.copy)
    }

    #[test]
    fn a_handshake_behind_starttls_by_its_packets() {
        use Direction::{Back, Out};
        let (hello, flight, ccs) = ([22, 3, 1, 0, 9, 1, 0, 0], [22, 3, 3, 0, 9, 2, 0, 0], [20, 3, 3, 0, 1, 1]);
        let mut t = Track::default();
        assert_eq!(name(&mut t, Out, 2, (100, 0), &[]), (Packet::Syn, 1));
        assert_eq!(name(&mut t, Out, 2, (100, 0), &[]), (Packet::Syn, 2));
        assert_eq!(name(&mut t, Back, 18, (500, 101), &[]), (Packet::SynAck, 1));
        assert_eq!(name(&mut t, Out, 16, (101, 501), &[]), (Packet::FirstAck, 1));
        assert_eq!(name(&mut t, Back, 24, (501, 101), b"220 hi\r\n"), (Packet::ServerPlain(1), 1));
        assert_eq!(name(&mut t, Out, 24, (101, 509), b"STARTTLS\r\n"), (Packet::ClientPlain(1), 1));
        assert_eq!(name(&mut t, Out, 24, (111, 509), &hello), (Packet::ClientHello(1), 1));
        assert_eq!(name(&mut t, Back, 24, (509, 119), &flight), (Packet::Flight(1), 1));
        assert_eq!(name(&mut t, Back, 24, (509, 119), &flight), (Packet::Flight(1), 2));
        assert_eq!(name(&mut t, Out, 16, (119, 517), &[]), (Packet::FlightAck, 1));
        assert_eq!(name(&mut t, Out, 24, (119, 517), &ccs), (Packet::Other(Out), 1));
        assert_eq!(name(&mut t, Out, 24, (125, 517), b"\x17\x03\x03\x00\x05abcde"), (Packet::ClientFinished(1), 1));
        assert_eq!(name(&mut t, Back, 24, (517, 135), b"\x17\x03\x03\x00\x01a"), (Packet::Behind(1), 1));
    }
}
