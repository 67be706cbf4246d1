//! One direction of one path: delay, jitter, loss, rate, MTU.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Which way, seen from a connection's client.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Client to server.
    Out,
    /// Server to client.
    Back,
}

/// Properties of one direction of a path.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct PathConfig {
    /// One-way delay.
    pub delay: Duration,
    /// Extra delay, uniform in `[0, jitter]`; packets stay in order.
    pub jitter: Duration,
    /// Fraction of packets lost at random.
    pub loss: f64,
    /// Bits a second; absent: unlimited.
    pub rate: Option<u64>,
    /// IP packets longer than this vanish without a word.
    pub mtu: Option<u32>,
}

/// What becomes of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It vanishes.
    Drop,
    /// It is to be delivered at this time (nanoseconds since the epoch).
    Due(i64),
    /// Both ends hear at this time, each in the other's name, that the connection is reset.
    Reset(i64),
}

/// What a path remembers between packets.
#[derive(Default)]
pub struct Path {
    last_due: i64,
    link_free: i64,
}

impl Path {
    /// Passes one packet of `size` bytes that came at `stamp`.
    pub fn pass(&mut self, config: &PathConfig, stamp: i64, size: u32, random: &mut Random) -> Fate {
        if config.mtu.is_some_and(|mtu| size > mtu) || (config.loss > 0.0 && random.unit() < config.loss) {
            return Fate::Drop;
        }
        let mut due = stamp;
        if let Some(rate) = config.rate.filter(|r| *r > 0) {
            let airtime = (i64::from(size) * 8_000_000_000) / i64::try_from(rate).unwrap_or(i64::MAX);
            self.link_free = self.link_free.max(stamp) + airtime;
            due = self.link_free;
        }
        due += config.delay.as_nanos() as i64 + (config.jitter.as_nanos() as f64 * random.unit()) as i64;
        self.last_due = due.max(self.last_due);
        Fate::Due(self.last_due)
    }
}

/// A small seeded generator (SplitMix64, Steele et al. 2014): runs repeat, and nothing here needs more.
pub struct Random(u64);

impl Random {
    /// Seeds it.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Uniform in `[0, 1)`.
    pub fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(fate: Fate) -> Option<i64> {
        match fate {
            Fate::Due(at) => Some(at),
            Fate::Drop | Fate::Reset(_) => None,
        }
    }

    #[test]
    fn delay_rate_and_mtu() {
        let config =
            PathConfig { delay: Duration::from_millis(10), rate: Some(8_000_000), mtu: Some(1_000), ..PathConfig::default() };
        let (mut path, mut random) = (Path::default(), Random::new(1));
        assert_eq!(due(path.pass(&config, 0, 1_000, &mut random)), Some(11_000_000), "1 ms of airtime, 10 of delay");
        assert_eq!(due(path.pass(&config, 0, 1_000, &mut random)), Some(12_000_000), "queued behind the first");
        assert_eq!(due(path.pass(&config, 0, 1_001, &mut random)), None, "too big");
    }

    #[test]
    fn jitter_never_reorders_and_loss_follows_its_rate() {
        let config = PathConfig { jitter: Duration::from_millis(5), loss: 0.2, ..PathConfig::default() };
        let (mut path, mut random) = (Path::default(), Random::new(7));
        let passed: Vec<i64> = (0..10_000).filter_map(|i| due(path.pass(&config, i * 1_000, 100, &mut random))).collect();
        assert!(passed.windows(2).all(|w| w[0] <= w[1]));
        assert!((7_700..8_300).contains(&passed.len()), "{} of 10000 passed", passed.len());
    }
}
