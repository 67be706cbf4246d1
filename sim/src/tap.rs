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
    frames: Vec<Seen>,
}

#[derive(Clone, Debug)]
struct Seen {
    at: i64,
    packet: Packet,
    addresses: (SocketAddr, SocketAddr),
    ttl: u8,
}

/// Packets of one direction this close are one to an offload.
const MERGED: i64 = 30_000;
/// No super-frame is longer.
const MOST_MERGED: usize = 60_000;

impl Tap {
    /// A capture with a perfect eye and clock, `offset` ahead.
    pub fn new(offset: i64) -> Self {
        Self { offset, skew_ppm: 0, step: None, drops: 0.0, merges: false, frames: Vec::new() }
    }

    /// Sees a packet at true time `at`.
    pub fn see(&mut self, at: i64, packet: &Packet, addresses: (SocketAddr, SocketAddr), ttl: u8, rng: &mut Rng) {
        if rng.f64() >= self.drops {
            self.frames.push(Seen { at, packet: packet.clone(), addresses, ttl });
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
        seen.iter().map(|s| (s.at, s.packet.frame(s.addresses, s.ttl))).collect()
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
