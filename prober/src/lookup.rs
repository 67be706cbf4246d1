//! Name lookups, as a phase of their own.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use hickory_resolver::config::{LookupIpStrategy, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::ProtoError;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{Hosts, TokioResolver};

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
    /// IPv4 only, where there is any; else IPv6.
    PreferV4,
    /// IPv6 only, where there is any; else IPv4.
    PreferV6,
}

impl Family {
    /// Whether an address may be used at all.
    pub fn admits(self, ip: IpAddr) -> bool {
        match self {
            Family::Any | Family::PreferV4 | Family::PreferV6 => true,
            Family::V4 => ip.is_ipv4(),
            Family::V6 => ip.is_ipv6(),
        }
    }

    /// Those of some addresses to try, in order.
    fn choose(self, all: impl Iterator<Item = IpAddr>) -> Result<Vec<IpAddr>, Failure> {
        let (v6, v4): (Vec<IpAddr>, Vec<IpAddr>) = all.filter(|ip| self.admits(*ip)).partition(IpAddr::is_ipv6);
        let found = self.order(v6, v4);
        if found.is_empty() { Err(Failure::new(Reason::DnsNoAddress, "no address of the family asked for")) } else { Ok(found) }
    }

    /// The addresses to try, in order.
    fn order(self, v6: Vec<IpAddr>, v4: Vec<IpAddr>) -> Vec<IpAddr> {
        match self {
            Family::PreferV4 if !v4.is_empty() => return v4,
            Family::PreferV6 if !v6.is_empty() => return v6,
            _ => {}
        }
        let most = v6.len().max(v4.len());
        (0..most).flat_map(|i| [v6.get(i), v4.get(i)]).flatten().copied().collect()
    }
}

/// Asks for names; keeps nothing: each probe measures a lookup of its own.
#[derive(Clone)]
pub struct Lookup {
    /// `/etc/hosts`, as it was: the library makes an exception of `localhost`, and asks servers for a family that the file does not have.
    hosts: Arc<Hosts>,
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
        // Without the file it is this host's own name server (resolv.conf(5)): who asks for addresses needs none.
        let own = [SocketAddr::from((Ipv4Addr::LOCALHOST, 53))];
        let servers = if servers.is_empty() && !Path::new("/etc/resolv.conf").exists() { &own } else { servers };
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
            // Without the file there are no names in it.
            hosts: Arc::new(Hosts::from_system().unwrap_or_default()),
            any: of(LookupIpStrategy::Ipv4AndIpv6)?,
            v4: of(LookupIpStrategy::Ipv4Only)?,
            v6: of(LookupIpStrategy::Ipv6Only)?,
        })
    }

    /// The addresses of `host`, in the order to try them: families taking turns, IPv6 first (RFC 8305, section 4).
    ///
    /// # Errors
    /// Says whether there are none, or nobody answered.
    pub fn addresses<'a>(
        &'a self,
        host: &'a str,
        family: Family,
        patience: Duration,
    ) -> BoxFuture<'a, Result<Vec<IpAddr>, Failure>> {
        Box::pin(self.ask(host, family, patience))
    }

    async fn ask(&self, host: &str, family: Family, patience: Duration) -> Result<Vec<IpAddr>, Failure> {
        // An address is nobody's name.
        if let Ok(ip) = host.parse::<IpAddr>() {
            return family.choose([ip].into_iter());
        }
        let known = self.of_file(host);
        if !known.is_empty() {
            return family.choose(known.into_iter());
        }
        let resolver = match family {
            Family::Any | Family::PreferV4 | Family::PreferV6 => &self.any,
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        };
        let name = name(host).map_err(|_| Failure::new(Reason::DnsFailed, format!("{host} is no name of a host")))?;
        // Without a final dot the search list of resolv.conf would be tried as well.
        let answer = match tokio::time::timeout(patience, resolver.lookup_ip(name)).await {
            Err(_) => return Err(Failure::new(Reason::DnsTimeout, "no answer in time")),
            Ok(Err(error)) => return Err(failure(host, &error)),
            Ok(Ok(answer)) => answer,
        };
        family.choose(answer.iter())
    }

    /// What `/etc/hosts` has of a name.
    fn of_file(&self, host: &str) -> Vec<IpAddr> {
        let Ok(name) = name(host) else { return Vec::new() };
        let mut name = name.to_lowercase();
        name.set_fqdn(true);
        let of = |kind| self.hosts.lookup_static_host(&Query::query(name.clone(), kind));
        let found = [RecordType::AAAA, RecordType::A].into_iter().filter_map(of);
        let addresses = found.flat_map(|lookup| lookup.answers().iter().filter_map(|r| r.data.ip_addr()).collect::<Vec<_>>());
        addresses.collect()
    }

    /// What an address is called (reverse mapping, RFC 1035, section 3.5); absent if it has no name, or nobody says.
    pub fn name_of(&self, address: IpAddr, patience: Duration) -> BoxFuture<'_, Option<String>> {
        Box::pin(self.ask_back(address, patience))
    }

    async fn ask_back(&self, address: IpAddr, patience: Duration) -> Option<String> {
        let answer = tokio::time::timeout(patience, self.any.reverse_lookup(address)).await.ok()?.ok()?;
        answer.answers().iter().find_map(|record| match &record.data {
            RData::PTR(name) => Some(name.0.to_utf8()),
            _ => None,
        })
    }
}

/// A name of a host. IDNA is for what is not ASCII: it would not have underscores, which names of containers have.
fn name(host: &str) -> Result<Name, ProtoError> {
    if host.is_ascii() { Name::from_ascii(host) } else { Name::from_utf8(host) }
}

fn failure(host: &str, error: &NetError) -> Failure {
    let reason = match error {
        NetError::Timeout => Reason::DnsTimeout,
        e if e.is_no_records_found() || e.is_nx_domain() => Reason::DnsNoAddress,
        _ => Reason::DnsFailed,
    };
    let host = host.trim_end_matches('.');
    let words = match error {
        NetError::Timeout => "no name server answered in time".to_owned(),
        NetError::NoConnections => "no name server can be reached".to_owned(),
        e if e.is_nx_domain() => format!("the name server says that there is no name {host}"),
        e if e.is_no_records_found() => format!("the name server says that {host} has no address"),
        NetError::Dns(DnsError::ResponseCode(code)) => format!("the name server answered \"{code}\" when asked for {host}"),
        NetError::Io(e) => format!("no name server can be asked: {e}"),
        other => format!("{host} could not be looked up: {other}"),
    };
    Failure::new(reason, words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::UdpSocket;

    /// A name server that answers every question with this response code, and nothing else.
    async fn server(code: u8) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("loopback");
        let address = socket.local_addr().expect("it is bound");
        tokio::spawn(async move {
            let mut question = [0; 512];
            while let Ok((n, asker)) = socket.recv_from(&mut question).await {
                let mut answer = question[..n].to_vec();
                answer[2] |= 0x80; // a response
                answer[3] = 0x80 | code; // recursion is available
                answer[10..12].fill(0); // nothing additional
                // The question alone: header, name up to its end, type and class.
                let name = answer[12..].iter().position(|b| *b == 0).map_or(n, |at| 12 + at + 5);
                answer.truncate(name);
                let _ = socket.send_to(&answer, asker).await;
            }
        });
        address
    }

    #[test]
    fn a_preferred_family_is_used_alone_where_there_is_any() {
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        let (v6, v4) = (vec![ip("2001:db8::1"), ip("2001:db8::2")], vec![ip("192.0.2.1")]);
        let order = |family: Family| family.order(v6.clone(), v4.clone());
        assert_eq!(order(Family::Any), [v6[0], v4[0], v6[1]]);
        assert_eq!((order(Family::PreferV4), order(Family::PreferV6)), (v4.clone(), v6.clone()));
        assert_eq!(Family::PreferV4.order(v6.clone(), vec![]), v6);
        assert_eq!(Family::PreferV6.order(vec![], v4.clone()), v4);
    }

    #[tokio::test]
    async fn an_address_is_asked_of_nobody() {
        let lookup = Lookup::new(&[server(2).await]).expect("a resolver");
        let ips = |ips: &[&str]| ips.iter().map(|ip| ip.parse::<IpAddr>().expect("an address")).collect::<Vec<_>>();
        for literal in ["192.0.2.1", "2001:db8::1"] {
            let found = lookup.addresses(literal, Family::Any, Duration::from_secs(5)).await.expect("it is one");
            assert_eq!(found, ips(&[literal]));
        }
    }

    #[tokio::test]
    async fn a_lookup_that_failed_is_said_in_words() {
        for (code, reason, said) in [
            (3, Reason::DnsNoAddress, "no name nobody.test"),
            (0, Reason::DnsNoAddress, "nobody.test has no address"),
            (2, Reason::DnsFailed, "nobody.test"),
        ] {
            let lookup = Lookup::new(&[server(code).await]).expect("it is configured");
            let failure = lookup.addresses("nobody.test.", Family::Any, Duration::from_secs(20)).await.expect_err("it fails");
            assert_eq!(failure.reason, reason, "{failure:?}");
            let debug = failure.detail.contains(['{', '(', '[']) || failure.detail.contains("::");
            assert!(failure.detail.contains(said) && !debug, "{failure:?}");
        }
    }

    #[tokio::test]
    async fn names_with_underscores_are_asked_for_and_what_is_no_name_is_said_in_words() {
        let lookup = Lookup::new(&[server(3).await]).expect("it is configured");
        for (host, reason, said) in [
            ("my_svc.", Reason::DnsNoAddress, "no name my_svc"),
            ("a_b.c_.test.", Reason::DnsNoAddress, "no name a_b.c_.test"),
            ("_x.test.", Reason::DnsNoAddress, "no name _x.test"),
            ("b\u{fc}cher.test.", Reason::DnsNoAddress, "no name b\u{fc}cher.test"),
            ("a..test", Reason::DnsFailed, "a..test is no name"),
            ("\u{fc}_b.test", Reason::DnsFailed, "is no name"),
        ] {
            let failure = lookup.addresses(host, Family::Any, Duration::from_secs(20)).await.expect_err(host);
            assert!(failure.reason == reason && failure.detail.contains(said), "{host}: {failure:?}");
        }
    }

    #[test]
    fn the_file_of_hosts_may_have_names_with_underscores() {
        let mut hosts = Hosts::default();
        hosts.read_hosts_conf(&b"127.0.0.9 plain my_svc # _c\n::9\tMY_SVC\nnonsense a_b\n"[..]).expect("it is in memory");
        let lookup =
            Lookup { hosts: Arc::new(hosts), ..Lookup::new(&[SocketAddr::from(([127, 0, 0, 1], 9))]).expect("it is configured") };
        let found = |name| lookup.of_file(name).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        assert_eq!((found("my_svc"), found("My_Svc.")), ("::9 127.0.0.9".into(), "::9 127.0.0.9".into()));
        assert_eq!((found("plain"), found("a_b"), found("_c")), ("127.0.0.9".into(), String::new(), String::new()));
    }
}
