//! Packets of several sockets, put in order.
//!
//! In: what one socket after the other shows. Out: all of it by time, as late as the slowest of them.

use analysis::clock::Instant;

use crate::clock::Monotonic;

/// Packets as they were read, until they are put in order.
#[derive(Default)]
pub(crate) struct Waiting {
    packets: Vec<Waited>,
    bytes: Vec<u8>,
}

#[derive(Clone, Copy)]
pub(crate) struct Waited {
    /// When it passed.
    pub at: Instant<Monotonic>,
    /// The place of its socket.
    pub place: usize,
    /// Length on the wire.
    pub wire_len: u32,
    bytes: [usize; 2],
}

impl Waiting {
    /// Takes a packet.
    pub fn push(&mut self, at: Instant<Monotonic>, place: usize, wire_len: u32, bytes: &[u8]) {
        let from = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        self.packets.push(Waited { at, place, wire_len, bytes: [from, self.bytes.len()] });
    }

    /// Gives those before `until`, in order.
    pub fn give(&mut self, until: Instant<Monotonic>, mut each: impl FnMut(&Waited, &[u8])) {
        self.packets.sort_by_key(|packet| packet.at);
        let ready = self.packets.partition_point(|packet| packet.at < until);
        for packet in &self.packets[..ready] {
            each(packet, &self.bytes[packet.bytes[0]..packet.bytes[1]]);
        }
        let left = std::mem::take(self);
        for Waited { at, place, wire_len, bytes: [from, to] } in left.packets[ready..].iter().copied() {
            self.push(at, place, wire_len, &left.bytes[from..to]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_of_several_sockets_are_given_in_order_of_time_and_none_too_early() {
        let at = Instant::from_nanos;
        let mut waiting = Waiting::default();
        for (place, times) in [(0, [1, 4, 9]), (1, [2, 3, 8])] {
            times.iter().for_each(|t| waiting.push(at(*t), place, 60, &[*t as u8; 3]));
        }
        let mut given = Vec::new();
        waiting.give(at(5), |packet, bytes| given.push((packet.place, bytes.to_vec())));
        waiting.push(at(7), 0, 60, &[7; 3]);
        waiting.give(Instant::from_nanos(i64::MAX), |packet, bytes| given.push((packet.place, bytes.to_vec())));
        let expected = [(0, 1), (1, 2), (1, 3), (0, 4), (0, 7), (1, 8), (0, 9)];
        assert_eq!(given, expected.map(|(place, byte)| (place, vec![byte; 3])));
    }
}
