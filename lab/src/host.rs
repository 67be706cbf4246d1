//! Hosts and the lab that joins them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, PoisonError};

use crate::Error;
use crate::cpu::{Cgroup, Hierarchy};
use crate::exec::Placement;
use crate::netns::Namespace;
use crate::truth::Injected;
use crate::wire::{Port, PortConfig, Wire};

/// One machine of the lab.
#[derive(Debug)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// Its network.
    pub namespace: Namespace,
    /// Its place on the wire.
    pub port: Port,
    /// Its IPv4 address.
    pub ipv4: Ipv4Addr,
    /// Its IPv6 address.
    pub ipv6: Ipv6Addr,
    /// Its further addresses, IPv4 then IPv6 of each.
    pub further: Vec<IpAddr>,
    /// Its cgroup, where this machine allows one.
    pub group: Option<Cgroup>,
    /// CPUs its programs are pinned to; empty: any.
    pub cpus: Vec<usize>,
    /// The `resolv.conf` its programs see.
    pub resolv_conf: Option<PathBuf>,
}

impl Host {
    /// Its address of a family.
    pub fn address(&self, ipv6: bool) -> IpAddr {
        if ipv6 { self.ipv6.into() } else { self.ipv4.into() }
    }

    /// All its addresses, the first of each family in front.
    pub fn addresses(&self) -> Vec<IpAddr> {
        [self.ipv4.into(), self.ipv6.into()].into_iter().chain(self.further.iter().copied()).collect()
    }

    /// Where a program of this host runs.
    pub fn placement(&self) -> Placement {
        Placement {
            namespace: Some(self.namespace.path()),
            cgroups: self.group.iter().map(Cgroup::procs).collect(),
            cpus: self.cpus.clone(),
            resolv_conf: self.resolv_conf.clone(),
            barrier: false,
            runner: None,
        }
    }
}

/// Hosts joined by a wire.
pub struct Lab {
    /// The hosts, in the order asked for.
    pub hosts: Vec<Host>,
    /// The wire.
    pub wire: Wire,
    /// What the wire injected.
    truth: Mutex<Receiver<Injected>>,
    /// Where certificates, configurations and logs lie while the lab lasts.
    pub scratch: PathBuf,
}

/// Settings of a lab.
#[derive(Clone, Copy, Debug)]
pub struct LabConfig {
    /// Seed of everything random on the wire.
    pub seed: u64,
    /// Leave segmentation and receive offloads on (super-frames in the captures).
    pub offloads: bool,
}

impl Lab {
    /// Builds hosts with these names and joins them.
    ///
    /// # Errors
    /// If the machine does not permit it; what was built is taken down.
    pub fn build(names: &[String], config: LabConfig, scratch: &Path) -> Result<Self, Error> {
        Self::build_multihomed(names, config, 0, scratch)
    }

    /// The same with so many further addresses of each family at every host.
    ///
    /// # Errors
    /// If the machine does not permit it; what was built is taken down.
    pub fn build_multihomed(names: &[String], config: LabConfig, further: u8, scratch: &Path) -> Result<Self, Error> {
        let middle = Namespace::create()?;
        middle.sysctl("net.ipv6.conf.all.disable_ipv6", "1");
        middle.sysctl("net.ipv6.conf.default.disable_ipv6", "1");
        let hierarchy = Hierarchy::detect();
        let mut hosts = Vec::new();
        let mut ports = Vec::new();
        for (i, name) in names.iter().enumerate() {
            let host = build_host(i, name, &middle, hierarchy, further)?;
            if !config.offloads {
                offloads_off(&host.namespace, "eth0")?;
                offloads_off(&middle, &interface(i))?;
            }
            ports.push(PortConfig { interface: interface(i), mac: mac(i), addresses: host.addresses() });
            hosts.push(host);
        }
        let (sender, truth) = channel();
        let wire = middle.run(|| Wire::start(&ports, config.seed, sender))?;
        Ok(Self { hosts, wire, truth: Mutex::new(truth), scratch: scratch.to_owned() })
    }

    /// What the wire injected since this was last asked.
    pub fn injected(&self) -> Vec<Injected> {
        self.truth.lock().unwrap_or_else(PoisonError::into_inner).try_iter().collect()
    }

    /// Has one host answer for another's addresses too, where routes of the wire lead to it: another site of an anycast address.
    ///
    /// # Errors
    /// If one of them is no host, or the addresses cannot be added.
    pub fn answer_for(&mut self, host: &str, other: &str) -> Result<(), Error> {
        let unknown = |name: &str| Error::helper("another site", format!("the lab has no host {name:?}"));
        let addresses = self.host(other).ok_or_else(|| unknown(other))?.addresses();
        let site = self.hosts.iter_mut().find(|h| h.name == host).ok_or_else(|| unknown(host))?;
        for address in addresses {
            if site.further.contains(&address) {
                continue;
            }
            site.namespace.ip(&match address {
                IpAddr::V4(a) => format!("addr add {a}/32 dev lo\n"),
                IpAddr::V6(a) => format!("addr add {a}/128 dev lo nodad\n"),
            })?;
            site.further.push(address);
        }
        Ok(())
    }

    /// A host by name.
    pub fn host(&self, name: &str) -> Option<&Host> {
        self.hosts.iter().find(|h| h.name == name)
    }
}

fn build_host(i: usize, name: &str, middle: &Namespace, hierarchy: Option<Hierarchy>, further: u8) -> Result<Host, Error> {
    let namespace = Namespace::create()?;
    let number = u8::try_from(10 + i).map_err(|_| Error::helper("building the lab", "at most 240 hosts fit"))?;
    let (ipv4, ipv6) = (Ipv4Addr::new(10, 77, 0, number), Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, u16::from(number)));
    let (port, peer) = (interface(i), middle.path());
    let hardware = mac(i).map(|b| format!("{b:02x}")).join(":");
    // No ARP or neighbour discovery: the wire knows every address and sets the hardware address itself.
    namespace.ip(&format!(
        "link set lo up\n\
         link add eth0 address {hardware} arp off type veth peer name {port} netns {}\n\
         addr add {ipv4}/16 dev eth0\n\
         addr add {ipv6}/64 dev eth0 nodad\n\
         link set eth0 up\n",
        peer.display()
    ))?;
    middle.ip(&format!("link set {port} up\n"))?;
    let further: Vec<IpAddr> = (1..=further)
        .flat_map(|k| {
            let six = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, u16::from(k), u16::from(number));
            [IpAddr::from(Ipv4Addr::new(10, 77, k, number)), six.into()]
        })
        .collect();
    for address in &further {
        namespace.ip(&match address {
            IpAddr::V4(a) => format!("addr add {a}/16 dev eth0\n"),
            IpAddr::V6(a) => format!("addr add {a}/64 dev eth0 nodad\n"),
        })?;
    }
    // Connections must not learn from earlier ones, nor be paced: each round stands alone.
    namespace.sysctl("net.ipv4.tcp_no_metrics_save", "1");
    namespace.sysctl("net.ipv4.tcp_congestion_control", "cubic");
    let group = hierarchy.map(|h| Cgroup::create(h, name)).transpose()?;
    Ok(Host { name: name.to_owned(), namespace, port: Port(i), ipv4, ipv6, further, group, cpus: Vec::new(), resolv_conf: None })
}

fn offloads_off(namespace: &Namespace, interface: &str) -> Result<(), Error> {
    namespace.run(|| {
        let output = Command::new("ethtool")
            .args(["-K", interface, "tx", "off", "tso", "off", "gso", "off", "gro", "off"])
            .output()
            .map_err(Error::system("starting `ethtool` (Debian package ethtool)"))?;
        if output.status.success() {
            return Ok(());
        }
        Err(Error::helper(format!("ethtool -K {interface}"), String::from_utf8_lossy(&output.stderr).trim()))
    })
}

fn interface(i: usize) -> String {
    format!("p{i}")
}

fn mac(i: usize) -> [u8; 6] {
    [2, 0, 0, 0, 1, i as u8]
}

/// Whether a host could run such a program: at its path, or on ours.
pub fn installed(program: &str) -> bool {
    // An ordinary user's path may lack where servers lie.
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    std::env::join_paths(folders).is_ok_and(|folders| which::which_in(program, Some(folders), ".").is_ok())
}
