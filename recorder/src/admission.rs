//! Which triggers are worth a file: each flow once, each network its share, all together no more than the disk should bear.
//!
//! Pure: times are arguments, each the time since the recorder began. One noisy client takes its own tokens, not those of others.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::time::Duration;

use foldhash::fast::RandomState;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use lru::LruCache;

use crate::screen::Connection;

/// Networks remembered.
const MOST_NETWORKS: usize = 16_384;
/// Connections remembered.
const MOST_FLOWS: usize = 65_536;
/// A connection asked for again within so long is the same one: where nobody saw its SYN, another may have its addresses and ports.
const SAME_FLOW: Duration = Duration::from_secs(60);

/// How much is let through.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Rate {
    /// Per second, in the long run.
    pub per_second: f64,
    /// At once.
    pub burst: f64,
}

/// Why a trigger is not followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// Its connection was asked for lately.
    Duplicate,
    /// Its network had its share.
    Network,
    /// All together had theirs.
    Rate,
}

impl Refused {
    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Refused::Duplicate => "duplicate",
            Refused::Network => "network_share",
            Refused::Rate => "rate",
        }
    }
}

struct Bucket {
    tokens: f64,
    at: Duration,
}

impl Bucket {
    fn refill(&mut self, now: Duration, rate: Rate) {
        self.tokens = (self.tokens + now.saturating_sub(self.at).as_secs_f64() * rate.per_second).min(rate.burst);
        self.at = now;
    }
}

/// Who has had how much.
pub struct Admission {
    all: Rate,
    network: Rate,
    bucket: Bucket,
    networks: LruCache<IpNet, Bucket, RandomState>,
    flows: LruCache<Connection, Duration, RandomState>,
}

impl Admission {
    /// With these rates, for all together and for each network.
    pub fn new(all: Rate, network: Rate) -> Self {
        let most = |n: usize| NonZeroUsize::new(n).unwrap_or(NonZeroUsize::MIN);
        Self {
            all,
            network,
            bucket: Bucket { tokens: all.burst, at: Duration::ZERO },
            networks: LruCache::with_hasher(most(MOST_NETWORKS), RandomState::default()),
            flows: LruCache::with_hasher(most(MOST_FLOWS), RandomState::default()),
        }
    }

    /// Whether a trigger for a client's connection is followed `now`.
    ///
    /// # Errors
    /// Says why it is not.
    pub fn ask(&mut self, now: Duration, client: IpAddr, of: Connection) -> Result<(), Refused> {
        if self.flows.get(&of).is_some_and(|before| now.saturating_sub(*before) < SAME_FLOW) {
            return Err(Refused::Duplicate);
        }
        let rate = self.network;
        let network = self.networks.get_or_insert_mut(network_of(client), || Bucket { tokens: rate.burst, at: now });
        network.refill(now, rate);
        if network.tokens < 1.0 {
            return Err(Refused::Network);
        }
        self.bucket.refill(now, self.all);
        if self.bucket.tokens < 1.0 {
            return Err(Refused::Rate);
        }
        self.bucket.tokens -= 1.0;
        network.tokens -= 1.0;
        self.flows.put(of, now);
        Ok(())
    }
}

/// The network that counts as one client: /24 of IPv4, /48 of IPv6.
pub fn network_of(address: IpAddr) -> IpNet {
    match address.to_canonical() {
        IpAddr::V4(v4) => Ipv4Net::new_assert(Ipv4Addr::from(u32::from(v4) & !0xff), 24).into(),
        IpAddr::V6(v6) => Ipv6Net::new_assert(Ipv6Addr::from(u128::from(v6) >> 80 << 80), 48).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use capture::ends::FlowName;
    use std::net::SocketAddr;

    fn ask(admission: &mut Admission, now: f64, client: [u8; 4], port: u16) -> Result<(), Refused> {
        again(admission, now, SocketAddr::from((client, port)), Some(7))
    }

    fn again(admission: &mut Admission, now: f64, client: SocketAddr, isn: Option<u32>) -> Result<(), Refused> {
        let flow = FlowName::of(client, SocketAddr::from(([198, 51, 100, 1], 443)));
        admission.ask(Duration::from_secs_f64(now), client.ip(), Connection { flow, isn })
    }

    fn admission() -> Admission {
        Admission::new(Rate { per_second: 10.0, burst: 50.0 }, Rate { per_second: 0.1, burst: 5.0 })
    }

    #[test]
    fn a_noisy_client_leaves_the_others_their_share() {
        let mut admission = admission();
        let noisy = (0..10_000).filter(|i| ask(&mut admission, f64::from(*i) / 10_000.0, [192, 0, 2, 1], *i as u16).is_ok());
        assert_eq!(noisy.count(), 5);
        for other in 0..40 {
            assert_eq!(ask(&mut admission, 1.0, [203, 0, other, 1], 1), Ok(()), "network {other}");
        }
    }

    #[test]
    fn all_together_are_bounded_and_a_flow_counts_once() {
        let mut admission = admission();
        let admitted = (0..200).filter(|i| ask(&mut admission, 0.0, [10, 1, *i, 1], 1).is_ok()).count();
        assert_eq!(admitted, 50);
        assert_eq!(ask(&mut admission, 1.0, [10, 1, 0, 1], 1), Err(Refused::Duplicate));
        assert_eq!(ask(&mut admission, 1.0, [10, 2, 0, 1], 1), Ok(()));
        assert_eq!(ask(&mut admission, 100.0, [10, 1, 0, 1], 1), Ok(()), "a minute later it may be another connection");
        let client = SocketAddr::from(([10, 3, 0, 1], 1));
        assert_eq!(again(&mut admission, 100.0, client, Some(7)), Ok(()));
        assert_eq!(again(&mut admission, 101.0, client, Some(8)), Ok(()), "another connection of the same addresses and ports");
    }

    #[test]
    fn networks_are_by_prefix() {
        assert_eq!(network_of("192.0.2.77".parse().expect("an address")).to_string(), "192.0.2.0/24");
        assert_eq!(network_of("::ffff:192.0.2.77".parse().expect("an address")).to_string(), "192.0.2.0/24");
        assert_eq!(network_of("2001:db8:1:2::7".parse().expect("an address")).to_string(), "2001:db8:1::/48");
    }
}
