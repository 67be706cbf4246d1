//! Where the recorder's packets come from: filtered as cheaply as this host permits.
//!
//! In: interfaces, [`Limits`]. Out: handshake packets with times of `CLOCK_MONOTONIC`. Three ways, the best first:
//!
//! | filter | bulk data costs | needs |
//! |---|---|---|
//! | `tc` | a lookup | CAP_BPF, CAP_NET_ADMIN, Linux 5.8, a build with clang |
//! | `socket` | a lookup and, where it leaves, a clone of its header | CAP_BPF, CAP_NET_RAW |
//! | `user` | a copy of its first bytes | CAP_NET_RAW |

use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use analysis::clock::Instant;
use analysis::wire::packet::{LinkType, Transport, decode};
use nix::net::if_::if_nametoindex;
use pcap::{Active, Precision};

use crate::clock::WallOffset;
use crate::limits::{Gate, Limits, Pass};
use crate::live::Error;
use crate::seen::{Counters, Frame, Seen};
#[cfg(kernel_filter)]
use crate::{kernel::KernelFilter, socket};

/// Buffer of a capture socket.
const SOCKET_BYTES: i32 = 8 << 20;
/// How long a capture socket may keep what is not much, in milliseconds.
const SOCKET_PATIENCE: i32 = 50;

/// Where packets are filtered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FilterAt {
    /// In the kernel, at tc.
    Tc,
    /// In the kernel, on a capture socket.
    Socket,
    /// In user space, behind a port filter in the kernel.
    User,
}

impl fmt::Display for FilterAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FilterAt::Tc => "tc",
            FilterAt::Socket => "socket",
            FilterAt::User => "user",
        })
    }
}

/// What to open.
#[derive(Clone, Debug)]
pub struct TapConfig {
    /// Interfaces.
    pub interfaces: Vec<String>,
    /// What passes.
    pub limits: Limits,
    /// Only there; else the best that the host permits.
    pub filter_at: Option<FilterAt>,
    /// Bytes kept of each packet where user space filters.
    pub snaplen: i32,
}

/// Something that happened to an interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum InterfaceEvent {
    /// It is gone: nothing is seen there.
    Gone(String),
    /// It is there again, and packets are seen again.
    Back(String),
    /// Somebody took our program off; it hangs there again.
    Reattached(String),
    /// It is there and cannot be used.
    Refused(String, String),
}

/// The packets of some interfaces.
pub struct Tap {
    config: TapConfig,
    filter_at: FilterAt,
    filter: Filter,
    /// Interfaces as last seen.
    interfaces: Vec<Interface>,
    /// This host's addresses: what they begin is no client's connection.
    own: HashSet<IpAddr>,
}

struct Interface {
    name: String,
    /// Absent while it is gone.
    number: Option<u32>,
    handle: Option<pcap::Capture<Active>>,
    link: LinkType,
}

enum Filter {
    #[cfg(kernel_filter)]
    Kernel(Box<KernelFilter>),
    User(Box<Gate>),
}

impl Tap {
    /// Opens the interfaces; gives why a better place for the filter was not taken.
    ///
    /// # Errors
    /// If an interface cannot be opened with the filter where it was asked for.
    pub fn open(config: TapConfig) -> Result<(Self, Vec<String>), Error> {
        let mut notes = Vec::new();
        for filter_at in [FilterAt::Tc, FilterAt::Socket, FilterAt::User] {
            if config.filter_at.is_some_and(|only| only != filter_at) {
                continue;
            }
            match Self::open_at(filter_at, config.clone()) {
                Ok(tap) => return Ok((tap, notes)),
                Err(error) if config.filter_at.is_some() || filter_at == FilterAt::User => return Err(error),
                Err(error) => notes.push(format!("{filter_at}: {error}")),
            }
        }
        unreachable!("the last one returns")
    }

    fn open_at(filter_at: FilterAt, config: TapConfig) -> Result<Self, Error> {
        let mut interfaces = Vec::new();
        for name in &config.interfaces {
            let handle = open(name, filter_at, &config)?;
            let number = handle.get_datalink().0.unsigned_abs();
            let link = LinkType::from_number(number)
                .ok_or_else(|| Error::Interface(name.clone(), format!("frames of LINKTYPE {number} cannot be read")))?;
            let index = if_nametoindex(name.as_str()).map_err(|e| Error::Interface(name.clone(), e.to_string()))?;
            interfaces.push(Interface { name: name.clone(), number: Some(index), handle: Some(handle), link });
        }
        let filter = if filter_at == FilterAt::User {
            Filter::User(Box::new(Gate::new(config.limits.clone())))
        } else {
            in_kernel(filter_at, &config, &mut interfaces)?
        };
        Ok(Self { config, filter_at, filter, interfaces, own: own_addresses() })
    }

    /// Where packets are filtered.
    pub fn filter_at(&self) -> FilterAt {
        self.filter_at
    }

    /// How long packets may wait to be read: half a second where the filter wakes its reader before its buffer is full; less
    /// where nobody does.
    pub fn patience(&self) -> Duration {
        Duration::from_millis(if self.filter_at == FilterAt::Tc { 500 } else { 100 })
    }

    /// The interfaces that are there, with their numbers.
    pub fn interfaces(&self) -> impl Iterator<Item = (u32, &str)> {
        self.interfaces.iter().filter_map(|i| Some((i.number?, i.name.as_str())))
    }

    /// What becomes readable when so much waits that it should be read soon; nothing where nobody can tell.
    pub fn fds(&self) -> Vec<BorrowedFd<'_>> {
        match &self.filter {
            #[cfg(kernel_filter)]
            Filter::Kernel(filter) if self.filter_at == FilterAt::Tc => filter.fds().to_vec(),
            _ => Vec::new(),
        }
    }

    /// Gives all packets that wait to `each`.
    pub fn read(&mut self, each: &mut dyn FnMut(Seen<'_>)) {
        #[cfg(kernel_filter)]
        if let (FilterAt::Tc, Filter::Kernel(filter)) = (self.filter_at, &mut self.filter) {
            return filter.read(each);
        }
        let offset = WallOffset::now();
        for interface in &mut self.interfaces {
            let (Some(handle), Some(number), link) = (&mut interface.handle, interface.number, interface.link) else { continue };
            while let Ok(packet) = handle.next_packet() {
                // Precision::Nano: libpcap puts nanoseconds where microseconds stand.
                let wall = Instant::from_nanos(packet.header.ts.tv_sec * 1_000_000_000 + packet.header.ts.tv_usec);
                let at = offset.to_monotonic(wall);
                let (wire_len, bytes) = (packet.header.len, packet.data);
                let Ok(Transport::Tcp(segment)) = decode(link, bytes) else { continue };
                let outgoing = self.own.contains(&segment.source().ip()) && !segment.source().ip().is_loopback();
                let passed = match &mut self.filter {
                    Filter::User(gate) => gate.push(link, bytes, outgoing),
                    #[cfg(kernel_filter)]
                    Filter::Kernel(_) => {
                        self.config.limits.from_client(&segment).map(|from_client| Pass { keep: bytes.len(), from_client })
                    }
                };
                let Some(Pass { keep, from_client }) = passed else { continue };
                let frame = Frame { at, wire_len, interface: number, outgoing, link, bytes };
                each(Seen::decoded(frame, &segment, from_client, keep));
            }
        }
    }

    /// What was counted so far.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub fn counters(&mut self) -> Result<Counters, Error> {
        let mut counters = match &self.filter {
            #[cfg(kernel_filter)]
            Filter::Kernel(filter) => filter.counters()?,
            Filter::User(gate) => Counters {
                seen: gate.seen,
                passed: gate.passed,
                syns: gate.syns,
                connections: gate.connections,
                late: gate.late,
                ..Counters::default()
            },
        };
        for interface in &mut self.interfaces {
            if let Some(stat) = interface.handle.as_mut().filter(|_| self.filter_at != FilterAt::Tc).and_then(|h| h.stats().ok())
            {
                counters.lost += u64::from(stat.dropped);
            }
        }
        Ok(counters)
    }

    /// Looks after the interfaces: they come and go, and others may take our program off them.
    pub fn tend(&mut self) -> Vec<InterfaceEvent> {
        let mut events = Vec::new();
        if self.filter_at != FilterAt::Tc {
            self.own = own_addresses(); // at tc the hook tells which way a packet goes
        }
        for i in 0..self.interfaces.len() {
            let name = self.interfaces[i].name.clone();
            let there = if_nametoindex(name.as_str()).ok();
            match (self.interfaces[i].number, there) {
                (Some(was), Some(is)) if was == is => {
                    if !self.hangs(&name) {
                        events.push(match self.reattach(i, is) {
                            Ok(()) => InterfaceEvent::Reattached(name),
                            Err(error) => InterfaceEvent::Refused(name, error.to_string()),
                        });
                    }
                }
                (_, Some(is)) => events.push(match self.reattach(i, is) {
                    Ok(()) => InterfaceEvent::Back(name),
                    Err(error) => InterfaceEvent::Refused(name, error.to_string()),
                }),
                (Some(_), None) => {
                    (self.interfaces[i].number, self.interfaces[i].handle) = (None, None);
                    events.push(InterfaceEvent::Gone(name));
                }
                (None, None) => {}
            }
        }
        events
    }

    fn hangs(&mut self, interface: &str) -> bool {
        #[cfg(kernel_filter)]
        if let (FilterAt::Tc, Filter::Kernel(filter)) = (self.filter_at, &mut self.filter) {
            return filter.attached(interface);
        }
        let _ = interface;
        true
    }

    fn reattach(&mut self, i: usize, number: u32) -> Result<(), Error> {
        let name = self.interfaces[i].name.clone();
        #[cfg(kernel_filter)]
        if let (FilterAt::Tc, Filter::Kernel(filter)) = (self.filter_at, &mut self.filter) {
            filter.detach(&name);
            filter.attach(&name)?;
            self.interfaces[i].number = Some(number);
            return Ok(());
        }
        let handle = open(&name, self.filter_at, &self.config)?;
        #[cfg(kernel_filter)]
        if let Filter::Kernel(filter) = &mut self.filter {
            filter.attach_to_socket(socket::of(&handle))?;
        }
        (self.interfaces[i].number, self.interfaces[i].handle) = (Some(number), Some(handle));
        Ok(())
    }
}

#[cfg(kernel_filter)]
fn in_kernel(filter_at: FilterAt, config: &TapConfig, interfaces: &mut [Interface]) -> Result<Filter, Error> {
    let link = interfaces.first().map_or(LinkType::Ethernet, |i| i.link);
    if let Some(other) = interfaces.iter().find(|i| i.link != link) {
        return Err(Error::Interface(other.name.clone(), "its frames begin otherwise than those of the first interface".into()));
    }
    if !matches!(link, LinkType::Ethernet | LinkType::RawIp) {
        return Err(Error::Interface(interfaces[0].name.clone(), "the in-kernel filter reads Ethernet and bare IP only".into()));
    }
    let mut filter = KernelFilter::load(&config.limits, link)?;
    for interface in interfaces {
        if filter_at == FilterAt::Tc {
            interface.handle = None; // it was opened to learn how frames begin
            filter.attach(&interface.name)?;
        } else if let Some(handle) = &interface.handle {
            filter.attach_to_socket(socket::of(handle))?;
        }
    }
    Ok(Filter::Kernel(Box::new(filter)))
}

#[cfg(not(kernel_filter))]
fn in_kernel(_: FilterAt, _: &TapConfig, interfaces: &mut [Interface]) -> Result<Filter, Error> {
    let name = interfaces.first().map_or_else(String::new, |i| i.name.clone());
    Err(Error::Interface(name, "this build has no in-kernel filter: clang was missing".into()))
}

/// Opens a capture socket that sees the wanted ports only.
fn open(interface: &str, filter_at: FilterAt, config: &TapConfig) -> Result<pcap::Capture<Active>, Error> {
    let failed = |source| Error::Pcap { interface: interface.to_owned(), source };
    let snaplen = if filter_at == FilterAt::User { config.snaplen } else { 65_535 };
    let inactive = pcap::Capture::from_device(interface).map_err(failed)?;
    let inactive = inactive.snaplen(snaplen).buffer_size(SOCKET_BYTES).timeout(SOCKET_PATIENCE).precision(Precision::Nano);
    let mut handle = inactive.open().map_err(failed)?;
    let ports: Vec<String> = config.limits.ports.iter().map(|p| format!("tcp port {p}")).collect();
    handle.filter(&ports.join(" or "), true).map_err(failed)?;
    handle.setnonblock().map_err(failed)
}

/// Addresses of this host, in the calling thread's network namespace.
fn own_addresses() -> HashSet<IpAddr> {
    let ip = |address: nix::ifaddrs::InterfaceAddress| -> Option<IpAddr> {
        let address = address.address?;
        let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
    };
    nix::ifaddrs::getifaddrs().into_iter().flatten().filter_map(ip).collect()
}
