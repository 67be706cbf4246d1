//! A capture at one end: its clock, what it drops, what offloads merge, where it cuts.

use std::net::SocketAddr;

use fastrand::Rng;

use crate::frame::Packet;

/// How a capture sees.
#[derive(Clone, Debug)]
pub struct Tap {
    /// Nanoseconds its clock is ahead of true time.
    pub offset: i64,
    /// How much faster it runs, in parts per million.
    pub skew_ppm: i64,
    /// At this true time its clock jumps by so much.
    pub step: Option<(i64, i64)>,
    /// Share of packets it misses.
    pub drops: f64,
    /// Whether it sees offloaded super-frames.
    pub merges: bool,
    /// Whether it sees every packet more than once.
    pub copies: Copies,
    /// How coarse its clock is.
    pub tick: i64,
    /// One packet in the middle bears a stamp that means nothing: this one.
    pub garbage: Option<i64>,
    /// Whether neighbours change places in the file, as several queues of a card are written.
    pub stirred: bool,
    frames: Vec<Seen>,
}

/// What a capture sees more than once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Copies {
    /// Nothing.
    None,
    /// Each packet so many times, unchanged: at the card, the bridge and the virtual interface (`-i any`).
    Any(u8),
    /// Each packet before and behind a router of which both ports are mirrored (SPAN).
    Mirror,
    /// Each packet before and behind the translation of the server's address to this one, on the same host (Docker).
    Translated(SocketAddr),
}

/// Packets that lie closer together may change places in a file.
const STIRRED: i64 = 5_000_000;
/// From one sight of a packet to the next.
const COPIED: i64 = 8_000;

#[derive(Clone, Debug)]
struct Seen {
    at: i64,
    packet: Packet,
    addresses: (SocketAddr, SocketAddr),
    ttl: u8,
    /// Whether this end sent it.
    outgoing: bool,
}

/// Packets of one direction this close are one to an offload.
const MERGED: i64 = 30_000;
/// No super-frame is longer.
const MOST_MERGED: usize = 60_000;

impl Tap {
    /// A capture with a perfect eye and clock, `offset` ahead.
    pub fn new(offset: i64) -> Self {
        Self {
            offset,
            skew_ppm: 0,
            step: None,
            drops: 0.0,
            merges: false,
            copies: Copies::None,
            tick: 1,
            garbage: None,
            stirred: false,
            frames: Vec::new(),
        }
    }

    /// Sees a packet at true time `at`.
    pub fn see(&mut self, at: i64, packet: &Packet, addresses: (SocketAddr, SocketAddr), ttl: u8, rng: &mut Rng) {
        if rng.f64() >= self.drops {
            let outgoing = ttl == packet.ttl;
            self.frames.push(Seen { at, packet: packet.clone(), addresses, ttl, outgoing });
        }
    }

    /// What this capture's clock shows at true time `at`.
    pub fn clock(&self, at: i64) -> i64 {
        self.steady_clock(at) + self.step.filter(|(when, _)| *when <= at).map_or(0, |(_, by)| by)
    }

    /// What it would show if nobody had set it: the same host's monotonic clock.
    pub fn steady_clock(&self, at: i64) -> i64 {
        at + self.offset + (i128::from(at) * i128::from(self.skew_ppm) / 1_000_000) as i64
    }

    /// Frames with their true times, in order.
    pub fn frames(&self) -> Vec<(i64, Vec<u8>)> {
        let mut seen = self.frames.clone();
        seen.sort_by_key(|s| s.at);
        if self.merges {
            seen = merge(seen);
        }
        let mut frames: Vec<(i64, Vec<u8>)> =
            seen.iter().flat_map(|s| self.sights(s)).map(|s| (s.at, s.packet.frame(s.addresses, s.ttl))).collect();
        frames.sort_by_key(|(at, _)| *at);
        frames
    }

    /// How often and as what it sees one packet: of one that comes to this end the last sight is its arrival.
    fn sights(&self, seen: &Seen) -> Vec<Seen> {
        let times = match self.copies {
            Copies::None => return vec![seen.clone()],
            Copies::Any(times) => i64::from(times),
            Copies::Mirror | Copies::Translated(_) => 2,
        };
        let first = if seen.outgoing { 0 } else { 1 - times };
        let mut sights: Vec<Seen> = (first..first + times).map(|n| Seen { at: seen.at + n * COPIED, ..seen.clone() }).collect();
        if times == 2 {
            sights[1].ttl -= 1;
        }
        if let Copies::Translated(inside) = self.copies {
            let (source, destination) = seen.addresses;
            if seen.outgoing {
                sights[0].addresses = (inside, destination);
            } else {
                sights[1].addresses = (source, inside);
            }
        }
        sights
    }

    /// The file that comes of these frames: stamps of its clock, and their order.
    pub fn written(&self, mut frames: Vec<(i64, Vec<u8>)>) -> Vec<(i64, Vec<u8>)> {
        // A capture keeps the order in which packets came, whatever its clock does.
        frames.sort_by_key(|(at, _)| *at);
        for (at, _) in &mut frames {
            let exact = self.clock(*at);
            *at = exact - exact.rem_euclid(self.tick);
        }
        let middle = frames.len() / 2;
        if let Some((garbage, (at, _))) = self.garbage.zip(frames.get_mut(middle)) {
            *at = garbage;
        }
        if self.stirred {
            let mut rng = Rng::with_seed(frames.len() as u64);
            // Queues are written out often: what lies further apart keeps its order. Of what bears one stamp, the order is all that tells.
            let close = |i: &usize| (1..STIRRED).contains(&(frames[*i].0 - frames[*i - 1].0));
            let places: Vec<usize> = (1..frames.len()).step_by(2).filter(close).filter(|_| rng.bool()).collect();
            places.into_iter().for_each(|i| frames.swap(i - 1, i));
        }
        frames
    }
}

/// Neighbouring full segments of one direction become one frame, timed by the last.
fn merge(seen: Vec<Seen>) -> Vec<Seen> {
    let mut found: Vec<Seen> = Vec::new();
    for next in seen {
        let follows = |last: &Seen| {
            last.addresses == next.addresses
                && !last.packet.payload.is_empty()
                && !next.packet.payload.is_empty()
                && last.packet.end() == next.packet.start
                && last.packet.ack == next.packet.ack
                && last.packet.sack.is_empty()
                && next.packet.sack.is_empty()
                && next.at - last.at < MERGED
                && last.packet.payload.len() + next.packet.payload.len() < MOST_MERGED
        };
        match found.last_mut().filter(|last| follows(last)) {
            Some(last) => {
                last.packet.payload.extend_from_slice(&next.packet.payload);
                last.at = next.at;
            }
            None => found.push(next),
        }
    }
    found
}
