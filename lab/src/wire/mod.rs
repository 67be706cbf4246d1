//! The wire: every host's packets pass through one loop that delays, drops and holds them.
//!
//! In: frames with their kernel timestamps. Out: the same frames, each due at *stamp + delay of its path*, so
//! that the loop's own slowness shows as lateness and is never silently added. [`Lateness`] is part of the run's
//! facts: a run in which the wire was late is void.

#[cfg(test)]
mod by_hand;
mod faults;
mod flow;
mod nat;
mod path;
mod reset;
mod script;
mod track;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io::{IoSlice, IoSliceMut};
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use analysis::wire::packet::{LinkType, Transport, decode};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use nix::sys::time::TimeSpec;
use serde::{Deserialize, Serialize};

pub use faults::{Action, Fault, Message};
pub use nat::NatConfig;
pub use path::{Direction, PathConfig};
pub use script::{Act, Detour, Event, Packet, Rule, Script, Which};

use crate::Error;
use crate::sys::{VNET_HEADER, packet_socket, real_time};
use crate::truth::TruthLog;
use faults::Faults;
use nat::Nat;
use path::{Fate, Path};
use script::{Outcome, Scripted};

/// How late the wire was in sending what was due.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Lateness {
    /// Packets forwarded.
    pub forwarded: u64,
    /// Packets dropped by a fault, loss rate or MTU.
    pub dropped: u64,
    /// Packets sent more than [`LATE`] after they were due.
    pub late: u64,
    /// The worst, in nanoseconds.
    pub worst_ns: u64,
    /// Whether the wire had real-time priority.
    pub real_time: bool,
}

/// Later than this counts: it begins to show in what the analysis reports.
pub const LATE: Duration = Duration::from_millis(2);

/// A host's place on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Port(pub usize);

/// What the wire needs to know of one port.
pub struct PortConfig {
    /// The interface's name in the wire's namespace.
    pub interface: String,
    /// The hardware address of the host behind it.
    pub mac: [u8; 6],
    /// The host's addresses.
    pub addresses: Vec<IpAddr>,
}

/// What resets of faults begin with: another than the hosts' 64, as of a device somewhere between.
const TTL_OF_RESETS: u8 = 250;

/// Settings that may change while the wire runs.
#[derive(Default)]
struct Settings {
    paths: HashMap<(Port, Port), PathConfig>,
    /// Packets from there to this address go to another host than the one that has it: anycast.
    routes: HashMap<(Port, IpAddr), Port>,
    faults: Vec<Fault>,
    script: Option<Scripted>,
    nat: Option<Nat>,
    lateness: Lateness,
    late: Vec<Late>,
}

/// A packet that was sent late.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Late {
    /// When it was due, nanoseconds since the epoch.
    pub due: i64,
    /// How late it was, in nanoseconds.
    pub by: u64,
}

/// So many late packets are remembered one by one.
const REMEMBERED: usize = 10_000;

/// A running wire; dropping it stops it.
pub struct Wire {
    settings: Arc<Mutex<Settings>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Wire {
    /// Opens the ports (in the calling thread's namespace) and starts forwarding.
    ///
    /// # Errors
    /// If a port cannot be opened.
    pub fn start(ports: &[PortConfig], seed: u64, truth: TruthLog) -> Result<Self, Error> {
        let mut table = HashMap::new();
        let mut sockets = Vec::new();
        for (i, port) in ports.iter().enumerate() {
            sockets.push(packet_socket(&port.interface).map_err(Error::system(format!("packet socket on {}", port.interface)))?);
            table.extend(port.addresses.iter().map(|a| (*a, Port(i))));
        }
        let settings = Arc::new(Mutex::new(Settings::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let mut forwarder = Forwarder {
            sockets,
            macs: ports.iter().map(|p| p.mac).collect(),
            table,
            settings: Arc::clone(&settings),
            stop: Arc::clone(&stop),
            queue: BinaryHeap::new(),
            order: 0,
            paths: HashMap::new(),
            faults: Faults::new(truth),
            random: path::Random::new(seed),
            buffer: vec![0; VNET_HEADER + 70_000],
        };
        let thread = std::thread::Builder::new()
            .name("wire".into())
            .spawn(move || forwarder.run())
            .map_err(Error::system("starting the wire's thread"))?;
        Ok(Self { settings, stop, thread: Some(thread) })
    }

    /// Sets the path from one host to another, that direction only.
    pub fn set_path(&self, from: Port, to: Port, config: PathConfig) {
        self.lock().paths.insert((from, to), config);
    }

    /// Replaces the routes that lead to another host than the one that has the address: from where, which address, to whom.
    pub fn set_routes(&self, routes: impl IntoIterator<Item = (Port, IpAddr, Port)>) {
        self.lock().routes = routes.into_iter().map(|(from, address, to)| ((from, address), to)).collect();
    }

    /// Replaces the protocol-aware faults.
    pub fn set_faults(&self, faults: Vec<Fault>) {
        self.lock().faults = faults;
    }

    /// Starts translating addresses of one host.
    pub fn set_nat(&self, config: NatConfig) {
        self.lock().nat = Some(Nat::new(config));
    }

    /// Ports that were translated, inside and outside.
    pub fn nat_ports(&self) -> Vec<(u16, u16)> {
        self.lock().nat.as_ref().map(Nat::ports).unwrap_or_default()
    }

    /// Starts a script; connections are counted from now on.
    pub fn set_script(&self, script: Script) {
        self.lock().script = Some(Scripted::new(script));
    }

    /// How late the wire has been so far.
    pub fn lateness(&self) -> Lateness {
        self.lock().lateness
    }

    /// Packets sent more than [`LATE`] after they were due, oldest first.
    pub fn late(&self) -> Vec<Late> {
        self.lock().late.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Queued {
    due: i64,
    order: u64,
    to: Port,
    frame: Vec<u8>,
}

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}
impl Eq for Queued {}
impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Queued {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due, self.order).cmp(&(other.due, other.order))
    }
}

struct Forwarder {
    sockets: Vec<OwnedFd>,
    macs: Vec<[u8; 6]>,
    table: HashMap<IpAddr, Port>,
    settings: Arc<Mutex<Settings>>,
    stop: Arc<AtomicBool>,
    queue: BinaryHeap<Reverse<Queued>>,
    order: u64,
    paths: HashMap<(Port, Port), Path>,
    faults: Faults,
    random: path::Random,
    buffer: Vec<u8>,
}

impl Forwarder {
    fn run(&mut self) {
        let priority = real_time(50).is_ok();
        // Wake within a microsecond of the deadline, not within the default 50.
        let _ = nix::sys::prctl::set_timerslack(1);
        self.settings.lock().unwrap_or_else(PoisonError::into_inner).lateness.real_time = priority;
        while !self.stop.load(Ordering::Relaxed) {
            self.send_due();
            self.wait();
            for port in 0..self.sockets.len() {
                while let Some((length, stamp)) = self.receive(port) {
                    self.take(Port(port), length, stamp);
                }
            }
        }
    }

    /// Sleeps until a frame arrives, the next one is due, or it is time to look at `stop`.
    fn wait(&self) {
        let longest = 50_000_000;
        let until = self.queue.peek().map_or(longest, |next| (next.0.due - now()).clamp(0, longest));
        let mut fds: Vec<PollFd<'_>> = self.sockets.iter().map(|s| PollFd::new(s.as_fd(), PollFlags::POLLIN)).collect();
        let _ = ppoll(&mut fds, Some(TimeSpec::from_duration(Duration::from_nanos(until.unsigned_abs()))), None);
    }

    fn receive(&mut self, port: usize) -> Option<(usize, i64)> {
        let mut control = nix::cmsg_space!(TimeSpec);
        let mut slices = [IoSliceMut::new(&mut self.buffer)];
        let fd = self.sockets[port].as_raw_fd();
        let message = recvmsg::<()>(fd, &mut slices, Some(&mut control), MsgFlags::MSG_DONTWAIT).ok()?;
        let stamp = message.cmsgs().ok()?.find_map(|c| match c {
            ControlMessageOwned::ScmTimestampns(ts) => Some(ts.tv_sec() * 1_000_000_000 + ts.tv_nsec()),
            _ => None,
        });
        Some((message.bytes, stamp.unwrap_or_else(now)))
    }

    /// Decides what becomes of one frame.
    fn take(&mut self, from: Port, length: usize, stamp: i64) {
        if let (Some(nat), Some(frame)) =
            (self.settings.lock().unwrap_or_else(PoisonError::into_inner).nat.as_mut(), self.buffer.get_mut(..length))
        {
            nat.inward(frame);
        }
        let Some(ethernet) = self.buffer.get(VNET_HEADER..length) else { return };
        let (to, size, segment) = match decode(LinkType::Ethernet, ethernet) {
            Ok(Transport::Tcp(segment)) => (segment.destination().ip(), segment.ip_len, Some(segment)),
            Ok(Transport::Udp(datagram)) => (datagram.destination.ip(), length as u32, None),
            Ok(Transport::Fragment(_) | Transport::Icmp(_)) | Err(_) => return, // the lab's hosts speak nothing else that needs a wire
        };
        let mut settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(to) = settings.routes.get(&(from, to)).or_else(|| self.table.get(&to)).copied() else { return };
        let config = settings.paths.get(&(from, to)).cloned().unwrap_or_default();
        let path = self.paths.entry((from, to)).or_default();
        let mut due = match path.pass(&config, stamp, size, &mut self.random) {
            Fate::Drop => {
                settings.lateness.dropped += 1;
                return;
            }
            Fate::Due(due) | Fate::Reset(due) => due,
        };
        let mut reset = false;
        if let Some(segment) = &segment {
            match self.faults.apply(&settings.faults, from, to, segment, due) {
                Fate::Drop => {
                    settings.lateness.dropped += 1;
                    return;
                }
                Fate::Due(held) => due = held,
                Fate::Reset(at) => (due, reset) = (at, true),
            }
        }
        let outcome = match (&segment, settings.script.as_mut()) {
            _ if reset => Outcome::Reset(TTL_OF_RESETS),
            (Some(segment), Some(script)) => script.apply(from, to, segment, stamp, due),
            _ => Outcome::Due(due),
        };
        if matches!(outcome, Outcome::Drop | Outcome::Reset(_)) {
            settings.lateness.dropped += 1;
        }
        drop(settings);
        let payload = segment.as_ref().map_or(0, |s| s.len);
        let frame = self.buffer[..length].to_vec();
        match outcome {
            Outcome::Drop => {}
            Outcome::Due(at) => self.queue(at, to, frame),
            Outcome::Twice(first, second) => {
                self.queue(first, to, frame.clone());
                self.queue(second, to, frame);
            }
            Outcome::Reset(ttl) => {
                if let Some((on, back)) = reset::pair(&frame, payload, ttl) {
                    self.queue(due, to, on);
                    self.queue(due, from, back);
                }
            }
        }
    }

    /// Queues a frame for the host behind a port.
    fn queue(&mut self, due: i64, to: Port, mut frame: Vec<u8>) {
        frame[VNET_HEADER..VNET_HEADER + 6].copy_from_slice(&self.macs[to.0]);
        if let Some(nat) = self.settings.lock().unwrap_or_else(PoisonError::into_inner).nat.as_mut() {
            nat.outward(to, &mut frame);
        }
        self.order += 1;
        self.queue.push(Reverse(Queued { due, order: self.order, to, frame }));
    }

    fn send_due(&mut self) {
        while self.queue.peek().is_some_and(|next| next.0.due <= now()) {
            let Some(Reverse(Queued { due, to, frame, .. })) = self.queue.pop() else { return };
            let _ = sendmsg::<()>(self.sockets[to.0].as_raw_fd(), &[IoSlice::new(&frame)], &[], MsgFlags::MSG_DONTWAIT, None);
            let late = (now() - due).unsigned_abs();
            let mut settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
            let lateness = &mut settings.lateness;
            lateness.forwarded += 1;
            lateness.late += u64::from(late > LATE.as_nanos() as u64);
            lateness.worst_ns = lateness.worst_ns.max(late);
            if late > LATE.as_nanos() as u64 && settings.late.len() < REMEMBERED {
                settings.late.push(Late { due, by: late });
            }
        }
    }
}

fn nanos(span: Duration) -> i64 {
    span.as_nanos() as i64
}

/// Nanoseconds since the epoch: the clock that the kernel stamps packets with.
fn now() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_nanos() as i64)
}
