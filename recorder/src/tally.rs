//! Who was to blame for how many handshakes lately, from which networks.
//!
//! Pure: times are arguments, each the time since the recorder began. Counts live in slices of a few seconds; of more networks than are
//! remembered, the rest is counted together.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use foldhash::HashMap;
use ipnet::IpNet;

use crate::admission::network_of;
use crate::config::Network;
use crate::origins::Origin;
use crate::slow::Culprit;

/// Seconds of a slice.
const SLICE: u64 = 5;
/// How long counts are kept.
pub const KEPT: Duration = Duration::from_secs(600);
/// Places told apart in a slice.
const MOST_PLACES: usize = 4_096;

/// Where a client is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Place {
    /// In a network that the configuration names.
    Named(String),
    /// In this autonomous system and country.
    Origin(Arc<Origin>),
    /// In this network, which belongs to that origin, if anybody knows.
    Prefix(IpNet, Option<Arc<Origin>>),
    /// In one of too many.
    Elsewhere,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::Named(name) => f.write_str(name),
            Place::Origin(origin) => origin.fmt(f),
            Place::Prefix(net, _) => net.fmt(f),
            Place::Elsewhere => f.write_str("elsewhere"),
        }
    }
}

/// The places in which a client counts: the network that the configuration names, else its prefix, and its origin where that is known.
pub fn places_of(client: IpAddr, networks: &[Network], origin: Option<Arc<Origin>>) -> Vec<Place> {
    let client = client.to_canonical();
    let within = |n: &&Network| n.prefixes.iter().any(|p| p.contains(&client));
    match networks.iter().find(within) {
        Some(network) => vec![Place::Named(network.name.clone())],
        None => {
            let prefix = Place::Prefix(network_of(client), origin.clone());
            origin.map(Place::Origin).into_iter().chain([prefix]).collect()
        }
    }
}

/// Handshakes of some place and time.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Counts {
    /// All.
    pub all: u64,
    /// Slow ones by culprit.
    pub slow: BTreeMap<Culprit, u64>,
}

impl Counts {
    fn count(&mut self, slow: Option<Culprit>) {
        self.all += 1;
        if let Some(culprit) = slow {
            *self.slow.entry(culprit).or_default() += 1;
        }
    }

    fn add(&mut self, other: &Counts) {
        self.all += other.all;
        for (culprit, n) in &other.slow {
            *self.slow.entry(*culprit).or_default() += n;
        }
    }

    /// Slow ones, whoever's fault.
    pub fn slow_ones(&self) -> u64 {
        self.slow.values().sum()
    }
}

struct Slice {
    /// In seconds since the recorder began.
    begun: u64,
    everywhere: Counts,
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
    /// All handshakes.
    pub everywhere: Counts,
    /// By place; a client counts in its network, and where that is known in its origin too.
    pub places: BTreeMap<Place, Counts>,
    /// Domains of networks, as far as they are known.
    pub domains: BTreeMap<IpNet, String>,
}

impl Sums {
    /// The place from which most handshakes with that culprit came, and how many of them; of several, the one with a name.
    pub fn leading(&self, culprit: Culprit) -> Option<(&Place, u64)> {
        let of = |(place, counts): (_, &Counts)| Some((place, *counts.slow.get(&culprit)?));
        // Places lie in order, what has a name first: of equals the last one is taken, so they are looked at backwards.
        self.places.iter().rev().filter_map(of).max_by_key(|(_, n)| *n)
    }

    /// A place, with all that is known of it.
    pub fn say(&self, place: &Place) -> String {
        match place {
            Place::Prefix(net, _) if self.domains.contains_key(net) => format!("{net} ({})", self.domains[net]),
            other => other.to_string(),
        }
    }

    /// "212 slow handshakes of 5000 in the last 10 minutes: 198 client, 190 of them from aws; 14 path, 14 of them from …".
    pub fn sentence(&self, window: Duration) -> String {
        let seconds = window.as_secs();
        let time = if seconds.is_multiple_of(60) { format!("{} min", seconds / 60) } else { format!("{seconds} s") };
        let mut text = format!("{} slow handshakes of {} in the last {time}", self.everywhere.slow_ones(), self.everywhere.all);
        let mut culprits: Vec<(Culprit, u64)> = self.everywhere.slow.iter().map(|(culprit, n)| (*culprit, *n)).collect();
        culprits.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        for (i, (culprit, n)) in culprits.into_iter().enumerate() {
            text.push_str(&format!("{} {n} {culprit}", if i == 0 { ":" } else { ";" }));
            if let Some((place, of)) = self.leading(culprit) {
                text.push_str(&format!(", {of} of them from {}", self.say(place)));
            }
        }
        text
    }
}

impl Tally {
    /// Counts a handshake that ended `now`; `slow`: whose fault, if it was slow.
    pub fn count(&mut self, now: Duration, places: impl IntoIterator<Item = Place>, slow: Option<Culprit>) {
        let now = now.as_secs();
        let begun = now - now % SLICE;
        if self.slices.back().is_none_or(|s| s.begun < begun) {
            self.slices.push_back(Slice { begun, everywhere: Counts::default(), places: HashMap::default() });
            while self.slices.front().is_some_and(|s| s.begun + KEPT.as_secs() < now) {
                self.slices.pop_front();
            }
        }
        let Some(slice) = self.slices.back_mut() else { return };
        slice.everywhere.count(slow);
        for place in places {
            let known = slice.places.len() < MOST_PLACES || slice.places.contains_key(&place);
            slice.places.entry(if known { place } else { Place::Elsewhere }).or_default().count(slow);
        }
    }

    /// Sums over the last so long.
    pub fn sums(&self, now: Duration, window: Duration) -> Sums {
        let (now, seconds) = (now.as_secs(), window.as_secs());
        let mut sums = Sums::default();
        for slice in self.slices.iter().rev().take_while(|s| (s.begun + SLICE).saturating_add(seconds) > now) {
            sums.everywhere.add(&slice.everywhere);
            for (place, counts) in &slice.places {
                sums.places.entry(place.clone()).or_default().add(counts);
            }
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use analysis::judging::ledger::Owner;

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    const CLIENT: Culprit = Culprit::Side(Owner::Client);
    const PATH: Culprit = Culprit::Side(Owner::Path);

    #[test]
    fn sums_say_who_and_from_where() {
        let networks = [Network { name: "aws".into(), prefixes: vec!["52.0.0.0/8".parse().expect("a prefix")] }];
        let places = |ip: &str| places_of(ip.parse().expect("an address"), &networks, None);
        let mut tally = Tally::default();
        for i in 0..190 {
            tally.count(secs(i), places(&format!("52.1.{i}.1")), Some(CLIENT));
        }
        for i in 0..8 {
            tally.count(secs(190 + i), places("203.0.113.9"), Some(CLIENT));
        }
        for _ in 0..14 {
            tally.count(secs(200), places("198.51.100.7"), Some(PATH));
        }
        for _ in 0..100 {
            tally.count(secs(200), places("::ffff:52.1.1.1"), None);
        }
        assert_eq!(
            tally.sums(secs(201), KEPT).sentence(KEPT),
            "212 slow handshakes of 312 in the last 10 min: 198 client, 190 of them from aws; 14 path, 14 of them from 198.51.100.0/24"
        );
        assert_eq!(tally.sums(secs(206), secs(5)).everywhere.slow.get(&CLIENT), None, "what is older does not count");
        assert_eq!(tally.sums(secs(1_000), KEPT).everywhere.slow_ones(), 0);
    }

    #[test]
    fn a_network_is_called_by_what_is_known_of_it() {
        let origin = Arc::new(Origin { asn: Some(64_500), organization: Some("Example Net".into()), country: None });
        let places = |n: u8, origin| places_of(IpAddr::from([198, 51, n, 1]), &[], origin);
        let mut tally = Tally::default();
        tally.count(secs(1), places(1, Some(Arc::clone(&origin))), Some(CLIENT));
        tally.count(secs(1), places(2, Some(origin)), Some(CLIENT));
        tally.count(secs(1), places(3, None), Some(PATH));
        let mut sums = tally.sums(secs(1), secs(60));
        sums.domains.insert("198.51.3.0/24".parse().expect("a prefix"), "example.net".into());
        let said = "3 slow handshakes of 3 in the last 1 min: 2 client, 2 of them from AS64500 Example Net; \
                    1 path, 1 of them from 198.51.3.0/24 (example.net)";
        assert_eq!(sums.sentence(secs(60)), said);
    }

    #[test]
    fn memory_is_bounded_and_nothing_is_lost_from_the_sums() {
        let mut tally = Tally::default();
        for i in 0..20_000_u32 {
            tally.count(secs(1), places_of(IpAddr::from((i << 8).to_be_bytes()), &[], None), Some(CLIENT));
        }
        let sums = tally.sums(secs(1), secs(60));
        assert_eq!((sums.everywhere.all, sums.places.len()), (20_000, MOST_PLACES + 1));
    }
}
