//! Name lookups, as a phase of their own.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;

use crate::reason::{Failure, Reason};

/// Which addresses are wanted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub enum Family {
    /// IPv6 and IPv4, raced (RFC 8305).
    #[default]
    Any,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
}

impl Family {
    fn admits(self, ip: IpAddr) -> bool {
        match self {
            Family::Any => true,
            Family::V4 => ip.is_ipv4(),
            Family::V6 => ip.is_ipv6(),
        }
    }
}

/// Asks for names; keeps nothing: each probe measures a lookup of its own.
#[derive(Clone)]
pub struct Lookup {
    any: TokioResolver,
    v4: TokioResolver,
    v6: TokioResolver,
}

impl Lookup {
    /// Asks `servers`, or, if there are none, those of `/etc/resolv.conf`; `/etc/hosts` first, as everybody does.
    ///
    /// # Errors
    /// If the system's configuration cannot be read.
    pub fn new(servers: &[SocketAddr]) -> io::Result<Self> {
        let build = |strategy| -> Result<TokioResolver, NetError> {
            let mut builder = match servers {
                [] => TokioResolver::builder_tokio()?,
                some => {
                    let named = some.iter().map(|server| {
                        let mut config = NameServerConfig::udp_and_tcp(server.ip());
                        config.connections.iter_mut().for_each(|c| c.port = server.port());
                        config
                    });
                    let config = ResolverConfig::from_parts(None, Vec::new(), named.collect());
                    TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
                }
            };
            let options = builder.options_mut();
            (options.cache_size, options.ip_strategy) = (0, strategy);
            builder.build()
        };
        let of = |strategy| build(strategy).map_err(|e| io::Error::other(format!("the resolver's configuration: {e}")));
        Ok(Self {
            any: of(LookupIpStrategy::Ipv4AndIpv6)?,
            v4: of(LookupIpStrategy::Ipv4Only)?,
            v6: of(LookupIpStrategy::Ipv6Only)?,
        })
    }

    /// The addresses of `host`, in the order to try them: families taking turns, IPv6 first (RFC 8305, section 4).
    ///
    /// # Errors
    /// Says whether there are none, or nobody answered.
    pub async fn addresses(&self, host: &str, family: Family, patience: Duration) -> Result<Vec<IpAddr>, Failure> {
        let resolver = match family {
            Family::Any => &self.any,
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        };
        // Without a final dot the search list of resolv.conf would be tried as well.
        let answer = match tokio::time::timeout(patience, resolver.lookup_ip(host)).await {
            Err(_) => return Err(Failure::new(Reason::DnsTimeout, "no answer in time")),
            Ok(Err(error)) => return Err(failure(&error)),
            Ok(Ok(answer)) => answer,
        };
        let (v6, v4): (Vec<IpAddr>, Vec<IpAddr>) = answer.iter().filter(|ip| family.admits(*ip)).partition(IpAddr::is_ipv6);
        let most = v6.len().max(v4.len());
        let in_turn = (0..most).flat_map(|i| [v6.get(i), v4.get(i)]).flatten().copied();
        let found: Vec<IpAddr> = in_turn.collect();
        if found.is_empty() { Err(Failure::new(Reason::DnsNoAddress, "no address of the family asked for")) } else { Ok(found) }
    }

    /// What an address is called (reverse mapping, RFC 1035, section 3.5); absent if it has no name, or nobody says.
    pub async fn name_of(&self, address: IpAddr, patience: Duration) -> Option<String> {
        let answer = tokio::time::timeout(patience, self.any.reverse_lookup(address)).await.ok()?.ok()?;
        answer.answers().iter().find_map(|record| match &record.data {
            RData::PTR(name) => Some(name.0.to_utf8()),
            _ => None,
        })
    }
}

fn failure(error: &NetError) -> Failure {
    let reason = match error {
        NetError::Timeout => Reason::DnsTimeout,
        e if e.is_no_records_found() || e.is_nx_domain() => Reason::DnsNoAddress,
        _ => Reason::DnsFailed,
    };
    Failure::new(reason, error)
}
