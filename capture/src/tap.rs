//! Where the recorder's packets come from: filtered as cheaply as this host permits.
//!
//! In: interfaces, [`Limits`]. Out: handshake packets with times of `CLOCK_MONOTONIC`. Three ways, the best first:
//!
//! | filter | bulk data costs | needs |
//! |---|---|---|
//! | `tc` | a lookup | CAP_NET_RAW, CAP_NET_ADMIN, CAP_BPF, CAP_PERFMON, Linux 5.8, a build with clang |
//! | `socket` | a lookup and, where it leaves, a clone of its header | the same |
//! | `user` | a copy of its first bytes | CAP_NET_RAW |
//!
//! Sockets are read one by one, and none shows its last packets at once: what several show is given in order of time, so late.

use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use analysis::clock::{Instant, Span};
use analysis::wire::packet::{LinkType, Transport, decode};
use nix::net::if_::{InterfaceFlags, if_nameindex, if_nametoindex};
use pcap::{Active, Precision};

use crate::clock::{Monotonic, WallOffset, monotonic};
use crate::limits::{Gate, Limits, Pass};
use crate::live::Error;
use crate::seen::{Counters, Frame, Seen};
use crate::waiting::Waiting;
#[cfg(kernel_filter)]
use crate::{kernel::KernelFilter, socket};

/// Buffer of a capture socket.
const SOCKET_BYTES: i32 = 8 << 20;
/// How long a capture socket may keep what is not much, in milliseconds.
const SOCKET_PATIENCE: i32 = 50;
/// After so long all of them have shown what passed: twice as long as one keeps it.
const SHOWN: Span = Span::from_millis(2 * SOCKET_PATIENCE as i64);
/// The number of loopback.
const LOOPBACK: u32 = 1;

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
    /// Capturing failed, as is said; it was begun anew.
    Reopened(String, String),
    /// It has another name now, or its own again; packets are seen as before.
    Renamed(String, String),
    /// It is down.
    Down(String),
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
    /// Which place of the list each interface's number stands for: one that came back has another number.
    places: Vec<(u32, u32)>,
    /// Packets of several sockets that are not given yet.
    waiting: Waiting,
    /// Packets lost at sockets.
    lost: u64,
}

struct Interface {
    name: String,
    /// Absent while it is gone.
    number: Option<u32>,
    handle: Option<pcap::Capture<Active>>,
    link: LinkType,
    /// What its socket said it lost, of which [`Tap::lost`] knows.
    lost: u32,
    /// Why nothing comes from its socket any more.
    failed: Option<String>,
    down: bool,
    /// What it is called now, and what it was called when our program was hung there.
    called: String,
    attached_as: String,
}

impl Interface {
    fn at(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            number: None,
            handle: None,
            link: LinkType::Ethernet,
            lost: 0,
            failed: None,
            down: false,
            called: name.to_owned(),
            attached_as: name.to_owned(),
        }
    }

    /// What its socket lost since somebody asked.
    fn newly_lost(&mut self) -> u64 {
        let Some(now) = self.handle.as_mut().and_then(|handle| handle.stats().ok()).map(|stat| stat.dropped) else { return 0 };
        u64::from(now.wrapping_sub(std::mem::replace(&mut self.lost, now)))
    }
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
        let mut interfaces: Vec<Interface> = config.interfaces.iter().map(|name| Interface::at(name)).collect();
        // Those that are not there may come, and one that is down may go up.
        let mut refused = None;
        for interface in &mut interfaces {
            let Ok(number) = if_nametoindex(interface.name.as_str()) else { continue };
            match open(&interface.name, filter_at, &config) {
                Ok((handle, link)) => {
                    (interface.number, interface.handle, interface.link) = (Some(number), Some(handle), link);
                }
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        if interfaces.iter().all(|interface| interface.number.is_none()) {
            let absent = || Error::Interface(config.interfaces.join(", "), "there is no such interface".into());
            return Err(refused.unwrap_or_else(absent));
        }
        let filter = if filter_at == FilterAt::User {
            Filter::User(Box::new(Gate::new(config.limits.clone())))
        } else {
            in_kernel(filter_at, &config, &mut interfaces)?
        };
        let mut tap = Self {
            config,
            filter_at,
            filter,
            interfaces,
            own: HashSet::new(),
            places: Vec::new(),
            waiting: Waiting::default(),
            lost: 0,
        };
        tap.know_places();
        tap.know_own()?;
        Ok(tap)
    }

    /// Learns which addresses are this host's.
    fn know_own(&mut self) -> Result<(), Error> {
        let own: HashSet<IpAddr> = own_addresses().into_iter().filter(|address| !address.is_loopback()).collect();
        if own == self.own {
            return Ok(());
        }
        // What the kernel refuses is tried again.
        #[cfg(kernel_filter)]
        if let Filter::Kernel(filter) = &mut self.filter {
            filter.own(own.iter().copied())?;
        }
        self.own = own;
        Ok(())
    }

    /// Learns which numbers the interfaces have.
    fn know_places(&mut self) {
        for (place, number) in (0..).zip(self.interfaces.iter().map(|i| i.number)) {
            if let Some(number) = number
                && !self.places.contains(&(number, place))
            {
                self.places.retain(|(other, _)| *other != number);
                self.places.push((number, place));
            }
        }
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

    /// Interfaces that are not there, or could not be opened.
    pub fn absent(&self) -> impl Iterator<Item = &str> {
        self.interfaces.iter().filter(|i| i.number.is_none()).map(|i| i.name.as_str())
    }

    /// What becomes readable when so much waits that it should be read soon; nothing where nobody can tell.
    pub fn fds(&self) -> Vec<BorrowedFd<'_>> {
        match &self.filter {
            #[cfg(kernel_filter)]
            Filter::Kernel(filter) if self.filter_at == FilterAt::Tc => filter.fds().to_vec(),
            _ => Vec::new(),
        }
    }

    /// Gives the packets that wait to `each`, their interfaces as places in the list; gives until when none is left. `last`: nobody will
    /// read again.
    pub fn read(&mut self, last: bool, each: &mut dyn FnMut(Seen<'_>)) -> Instant<Monotonic> {
        #[cfg(kernel_filter)]
        if let (FilterAt::Tc, Filter::Kernel(filter)) = (self.filter_at, &mut self.filter) {
            let (places, beyond) = (&self.places, self.interfaces.len() as u32);
            return filter.read(&mut |mut seen| {
                let place = places.iter().find(|(number, _)| *number == seen.frame.interface);
                seen.frame.interface = place.map_or(beyond, |(_, place)| *place);
                each(seen);
            });
        }
        let (now, offset) = (monotonic(), WallOffset::now());
        let several = self.interfaces.len() > 1;
        let Self { interfaces, filter, own, waiting, config, .. } = self;
        let about: Vec<(LinkType, bool)> = interfaces.iter().map(|i| (i.link, i.number == Some(LOOPBACK))).collect();
        let mut give = |at: Instant<Monotonic>, place: usize, wire_len: u32, bytes: &[u8]| {
            let (link, loopback) = about[place];
            let Ok(Transport::Tcp(segment)) = decode(link, bytes) else { return };
            let outgoing = !loopback && own.contains(&segment.source().ip());
            let passed = match filter {
                Filter::User(gate) => gate.push(link, bytes, outgoing),
                #[cfg(kernel_filter)]
                Filter::Kernel(_) => {
                    config.limits.from_client(&segment).map(|from_client| Pass { keep: bytes.len(), from_client })
                }
            };
            let Some(Pass { keep, from_client }) = passed else { return };
            let frame = Frame { at, wire_len, interface: place as u32, outgoing, link, bytes };
            each(Seen::decoded(frame, &segment, from_client, keep));
        };
        for (place, interface) in interfaces.iter_mut().enumerate() {
            let Some(handle) = &mut interface.handle else { continue };
            loop {
                let packet = match handle.next_packet() {
                    Ok(packet) => packet,
                    Err(pcap::Error::TimeoutExpired | pcap::Error::NoMorePackets) => break,
                    Err(error) => {
                        interface.failed = Some(error.to_string());
                        break;
                    }
                };
                // Precision::Nano: libpcap puts nanoseconds where microseconds stand.
                let wall = Instant::from_nanos(packet.header.ts.tv_sec * 1_000_000_000 + packet.header.ts.tv_usec);
                let at = offset.to_monotonic(wall);
                if several {
                    waiting.push(at, place, packet.header.len, packet.data);
                } else {
                    give(at, place, packet.header.len, packet.data);
                }
            }
        }
        let until = if last { Instant::from_nanos(i64::MAX) } else { now - SHOWN };
        waiting.give(until, |packet, bytes| give(packet.at, packet.place, packet.wire_len, bytes));
        if last { now } else { until }
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
        self.lost += self.interfaces.iter_mut().map(Interface::newly_lost).sum::<u64>();
        counters.lost += self.lost;
        Ok(counters)
    }

    /// Looks after the interfaces: they come and go, and others may take our program off them.
    pub fn tend(&mut self) -> Vec<InterfaceEvent> {
        // What the kernel does not take of them costs records of the edge's own connections, nothing else.
        let _ = self.know_own();
        let running = running();
        let events = (0..self.interfaces.len()).filter_map(|i| self.tend_one(i, &running)).collect();
        self.know_places();
        events
    }

    fn tend_one(&mut self, i: usize, running: &HashSet<String>) -> Option<InterfaceEvent> {
        let interface = &mut self.interfaces[i];
        let (name, number, failed) = (interface.name.clone(), interface.number, interface.failed.take());
        let there = if_nametoindex(name.as_str()).ok();
        let again = |tap: &mut Self, called: &str, number: u32, done: InterfaceEvent| match tap.reattach(i, called, number) {
            Ok(()) => done,
            Err(error) => {
                tap.interfaces[i].failed = failed.clone(); // so it is tried again
                InterfaceEvent::Refused(name.clone(), error.to_string())
            }
        };
        // What hangs there, and what reads there, goes with it to its new name.
        let called = match (number, there) {
            (Some(was), Some(is)) if was == is => Some((was, name.clone())),
            (Some(was), None) => name_of(was).map(|now| (was, now)),
            _ => None,
        };
        if let Some((number, called)) = called {
            if let Some(why) = &failed {
                return Some(again(self, &called, number, InterfaceEvent::Reopened(name.clone(), why.clone())));
            }
            if !self.hangs(i) {
                return Some(again(self, &called, number, InterfaceEvent::Reattached(name.clone())));
            }
            let interface = &mut self.interfaces[i];
            if interface.called != called {
                interface.called.clone_from(&called);
                return Some(InterfaceEvent::Renamed(name, called));
            }
            let down = !running.contains(&called);
            let changed = std::mem::replace(&mut interface.down, down) != down;
            return changed.then_some(if down { InterfaceEvent::Down(name) } else { InterfaceEvent::Back(name) });
        }
        match (number, there) {
            (_, Some(is)) => Some(again(self, &name, is, InterfaceEvent::Back(name.clone()))),
            (Some(_), None) => {
                self.lost += self.interfaces[i].newly_lost();
                self.interfaces[i] = Interface { link: self.interfaces[i].link, ..Interface::at(&name) };
                Some(InterfaceEvent::Gone(name))
            }
            (None, None) => None,
        }
    }

    fn hangs(&mut self, i: usize) -> bool {
        #[cfg(kernel_filter)]
        if let (FilterAt::Tc, Filter::Kernel(filter)) = (self.filter_at, &mut self.filter) {
            return filter.attached(&self.interfaces[i].attached_as);
        }
        let _ = i;
        true
    }

    /// Begins anew at an interface that is called so now.
    fn reattach(&mut self, i: usize, called: &str, number: u32) -> Result<(), Error> {
        let name = self.interfaces[i].name.clone();
        let (handle, link) = open(called, self.filter_at, &self.config)?;
        let attached_as = called.to_owned();
        let called = self.interfaces[i].called.clone(); // that it is called something else is still to be said
        let mut reopened = Interface { number: Some(number), link, called, attached_as, ..Interface::at(&name) };
        #[cfg(kernel_filter)]
        if let Filter::Kernel(filter) = &mut self.filter {
            same_link(&name, link, filter.link())?;
            if self.filter_at == FilterAt::Tc {
                filter.detach(&self.interfaces[i].attached_as);
                filter.attach(&reopened.attached_as)?;
                self.interfaces[i] = reopened;
                return Ok(());
            }
            filter.attach_to_socket(socket::of(&handle))?;
        }
        reopened.handle = Some(handle);
        self.lost += self.interfaces[i].newly_lost();
        self.interfaces[i] = reopened;
        Ok(())
    }
}

#[cfg(kernel_filter)]
fn same_link(name: &str, link: LinkType, first: LinkType) -> Result<(), Error> {
    let other = || Error::Interface(name.to_owned(), "its frames begin otherwise than those of the first interface".into());
    if link == first { Ok(()) } else { Err(other()) }
}

#[cfg(kernel_filter)]
fn in_kernel(filter_at: FilterAt, config: &TapConfig, interfaces: &mut [Interface]) -> Result<Filter, Error> {
    let there = || interfaces.iter().filter(|i| i.number.is_some());
    let (first, link) = there().next().map_or(("", LinkType::Ethernet), |i| (i.name.as_str(), i.link));
    there().try_for_each(|i| same_link(&i.name, i.link, link))?;
    if !matches!(link, LinkType::Ethernet | LinkType::RawIp) {
        return Err(Error::Interface(first.to_owned(), "the in-kernel filter reads Ethernet and bare IP only".into()));
    }
    let mut filter = KernelFilter::load(&config.limits, link)?;
    for interface in interfaces.iter_mut().filter(|i| i.number.is_some()) {
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

/// Opens a capture socket that sees the wanted ports only; gives how frames begin there.
fn open(interface: &str, filter_at: FilterAt, config: &TapConfig) -> Result<(pcap::Capture<Active>, LinkType), Error> {
    let failed = |source| Error::Pcap { interface: interface.to_owned(), source };
    let snaplen = if filter_at == FilterAt::User { config.snaplen } else { 65_535 };
    let inactive = pcap::Capture::from_device(interface).map_err(failed)?;
    let inactive = inactive.snaplen(snaplen).buffer_size(SOCKET_BYTES).timeout(SOCKET_PATIENCE).precision(Precision::Nano);
    let mut handle = inactive.open().map_err(failed)?;
    handle.filter(&port_filter(&config.limits.ports), true).map_err(failed)?;
    let number = handle.get_datalink().0.unsigned_abs();
    let link = LinkType::from_number(number)
        .ok_or_else(|| Error::Interface(interface.to_owned(), format!("frames of LINKTYPE {number} cannot be read")))?;
    Ok((handle.setnonblock().map_err(failed)?, link))
}

/// libpcap looks for ports right behind IPv6's header only: what has extension headers comes whole, and is looked at here.
fn port_filter(ports: &[u16]) -> String {
    let ports: Vec<String> = ports.iter().map(|port| format!("tcp port {port}")).collect();
    let extended: Vec<String> = [0, 43, 44, 60, 135].iter().map(|header| format!("ip6[6] = {header}")).collect();
    format!("{} or (ip6 and ({}))", ports.join(" or "), extended.join(" or "))
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

/// Interfaces that are up and have a carrier, as far as their addresses tell.
fn running() -> HashSet<String> {
    let up = InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING;
    let all = nix::ifaddrs::getifaddrs().into_iter().flatten();
    all.filter(|address| address.flags.contains(up)).map(|address| address.interface_name).collect()
}

/// What the interface with that number is called.
fn name_of(number: u32) -> Option<String> {
    if_nameindex().ok()?.iter().find(|i| i.index() == number)?.name().to_str().ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_extension_headers_comes_to_be_looked_at() {
        let capture = pcap::Capture::dead(pcap::Linktype::ETHERNET).expect("it needs no interface");
        let program = capture.compile(&port_filter(&[443]), true).expect("it is a filter");
        let mut frame = [&[2; 12][..], &[0x86, 0xdd, 0x60, 0, 0, 0, 0, 40]].concat();
        frame.resize(14 + 40 + 8 + 20, 0);
        frame[14 + 40..].fill(0);
        for (next, passes) in [(60, true), (0, true), (17, false)] {
            frame[14 + 6] = next;
            assert_eq!(program.filter(&frame), passes, "next header {next}");
        }
    }
}
