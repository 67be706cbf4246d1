//! Who was to blame for how many handshakes lately, from which networks.
//!
//! Pure: times are arguments. Counts live in slices of a few seconds; of more networks than are remembered, the rest is counted
//! together.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use foldhash::HashMap;
use ipnet::IpNet;

use crate::admission::network_of;
use crate::config::Network;

/// Seconds of a slice.
const SLICE: i64 = 5;
/// How long counts are kept, in seconds.
pub const KEPT: i64 = 600;
/// Networks told apart in a slice.
const MOST_NETWORKS: usize = 4_096;

/// Where a client is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Place {
    /// In a network that the configuration names.
    Named(String),
    /// In this network.
    Prefix(IpNet),
    /// In one of too many.
    Elsewhere,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::Named(name) => f.write_str(name),
            Place::Prefix(net) => net.fmt(f),
            Place::Elsewhere => f.write_str("elsewhere"),
        }
    }
}

/// Names places.
pub fn place_of(client: IpAddr, networks: &[Network]) -> Place {
    let client = client.to_canonical();
    let within = |n: &&Network| n.prefixes.iter().any(|p| p.contains(&client));
    networks.iter().find(within).map_or_else(|| Place::Prefix(network_of(client)), |n| Place::Named(n.name.clone()))
}

#[derive(Default)]
struct Counts {
    all: u64,
    /// Slow ones by culprit.
    slow: BTreeMap<String, u64>,
}

struct Slice {
    begun: i64,
    places: HashMap<Place, Counts>,
}

/// The last minutes.
#[derive(Default)]
pub struct Tally {
    slices: VecDeque<Slice>,
}

/// Sums over a window.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Sums {
    /// Handshakes.
    pub all: u64,
    /// Slow ones by culprit.
    pub slow: BTreeMap<String, u64>,
    /// By place: all, and slow ones by culprit.
    pub places: BTreeMap<Place, (u64, BTreeMap<String, u64>)>,
}

impl Sums {
    /// Slow handshakes.
    pub fn slow_ones(&self) -> u64 {
        self.slow.values().sum()
    }

    /// The place from which most handshakes with that culprit came: how many of them, and of how many handshakes from there.
    pub fn leading(&self, culprit: &str) -> Option<(&Place, u64, u64)> {
        let of = |(place, (all, slow)): (_, &(u64, BTreeMap<String, u64>))| Some((place, *slow.get(culprit)?, *all));
        self.places.iter().filter_map(of).max_by_key(|(_, n, _)| *n)
    }

    /// "212 slow handshakes of 5000 in the last 10 minutes: 198 client, 190 of them from aws; 14 path, 14 of them from …".
    pub fn sentence(&self, seconds: i64) -> String {
        let time = if seconds % 60 == 0 { format!("{} min", seconds / 60) } else { format!("{seconds} s") };
        let mut text = format!("{} slow handshakes of {} in the last {time}", self.slow_ones(), self.all);
        let mut culprits: Vec<(&String, &u64)> = self.slow.iter().collect();
        culprits.sort_by_key(|(_, n)| std::cmp::Reverse(**n));
        for (i, (culprit, n)) in culprits.into_iter().enumerate() {
            text.push_str(&format!("{} {n} {culprit}", if i == 0 { ":" } else { ";" }));
            if let Some((place, of, _)) = self.leading(culprit) {
                text.push_str(&format!(", {of} of them from {place}"));
            }
        }
        text
    }
}

impl Tally {
    /// Counts a handshake that ended at `now` (seconds of any steady clock); `slow`: whose fault, if it was slow.
    pub fn count(&mut self, now: i64, place: Place, slow: Option<&str>) {
        let begun = now - now.rem_euclid(SLICE);
        if self.slices.back().is_none_or(|s| s.begun < begun) {
            self.slices.push_back(Slice { begun, places: HashMap::default() });
            while self.slices.front().is_some_and(|s| s.begun < now - KEPT) {
                self.slices.pop_front();
            }
        }
        let Some(slice) = self.slices.back_mut() else { return };
        let known = slice.places.len() < MOST_NETWORKS || slice.places.contains_key(&place);
        let counts = slice.places.entry(if known { place } else { Place::Elsewhere }).or_default();
        counts.all += 1;
        if let Some(culprit) = slow {
            *counts.slow.entry(culprit.to_owned()).or_default() += 1;
        }
    }

    /// Sums over the last so many seconds.
    pub fn sums(&self, now: i64, seconds: i64) -> Sums {
        let mut sums = Sums::default();
        for slice in self.slices.iter().rev().take_while(|s| s.begun + SLICE > now - seconds) {
            for (place, counts) in &slice.places {
                let (all, slow) = sums.places.entry(place.clone()).or_default();
                *all += counts.all;
                sums.all += counts.all;
                for (culprit, n) in &counts.slow {
                    *slow.entry(culprit.clone()).or_default() += n;
                    *sums.slow.entry(culprit.clone()).or_default() += n;
                }
            }
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_say_who_and_from_where() {
        let networks = [Network { name: "aws".into(), prefixes: vec!["52.0.0.0/8".parse().expect("a prefix")] }];
        let place = |ip: &str| place_of(ip.parse().expect("an address"), &networks);
        let mut tally = Tally::default();
        for i in 0..190 {
            tally.count(i, place(&format!("52.1.{i}.1")), Some("client"));
        }
        for i in 0..8 {
            tally.count(190 + i, place("203.0.113.9"), Some("client"));
        }
        for _ in 0..14 {
            tally.count(200, place("198.51.100.7"), Some("path"));
        }
        for _ in 0..100 {
            tally.count(200, place("::ffff:52.1.1.1"), None);
        }
        assert_eq!(
            tally.sums(201, 600).sentence(600),
            "212 slow handshakes of 312 in the last 10 min: 198 client, 190 of them from aws; 14 path, 14 of them from 198.51.100.0/24"
        );
        assert_eq!(tally.sums(206, 5).slow.get("client"), None, "what is older does not count");
        assert_eq!(tally.sums(1_000, 600).slow_ones(), 0);
    }

    #[test]
    fn memory_is_bounded_and_nothing_is_lost_from_the_sums() {
        let mut tally = Tally::default();
        for i in 0..20_000_u32 {
            tally.count(1, place_of(IpAddr::from((i << 8).to_be_bytes()), &[]), Some("client"));
        }
        let sums = tally.sums(1, 60);
        assert_eq!((sums.all, sums.places.len()), (20_000, MOST_NETWORKS + 1));
    }
}
