//! The sampler: reads, every few milliseconds, what the kernel says of chosen processes' threads.
//!
//! In: process ids. Out: per process, the samples of all its threads and children, the local ports of
//! its sockets, and when it ended. It must keep its rhythm while the host starves, so it asks for real-time
//! priority; how late it was shows in the samples' own times.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use agent::{Sampled, Trace};
use analysis::clock::Span;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use crate::clock::now;

/// Time between samples.
const INTERVAL: Duration = Duration::from_millis(4);
/// Every so many samples, look for new threads and children.
const RESCAN: u64 = 8;

/// What was seen of one process and its children.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Samples and ports.
    pub trace: Trace,
    /// Whether it has ended.
    pub ended: bool,
}

struct Thread {
    tid: u32,
    schedstat: File,
    stat: File,
}

#[derive(Default)]
struct Watched {
    threads: Vec<Thread>,
    observed: Observed,
    find_ports: bool,
    /// How often each socket, by inode, was looked at.
    known_sockets: HashMap<u64, u32>,
}

/// A running sampler; dropping it ends it.
pub struct Sampler {
    watched: Arc<Mutex<HashMap<u32, Watched>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Sampler {
    /// Starts it.
    pub fn start() -> Self {
        let watched: Arc<Mutex<HashMap<u32, Watched>>> = Arc::default();
        let stop = Arc::new(AtomicBool::new(false));
        let (theirs, over) = (Arc::clone(&watched), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let _ = crate::sys::real_time(40);
            let mut round = 0;
            while !over.load(Ordering::Relaxed) {
                let steal = steal();
                for (pid, process) in theirs.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
                    process.sample(*pid, round, steal);
                }
                round += 1;
                std::thread::sleep(INTERVAL);
            }
        });
        Self { watched, stop, thread: Some(thread) }
    }

    /// Begins to watch a process; with `find_ports`, also which TCP ports it uses.
    pub fn watch(&self, pid: u32, find_ports: bool) {
        let mut process = Watched { find_ports, ..Watched::default() };
        process.rescan(pid);
        self.lock().insert(pid, process);
    }

    /// Whether a watched process has ended (it may still wait to be reaped).
    pub fn ended(&self, pid: u32) -> bool {
        self.lock().get(&pid).is_none_or(|p| p.observed.ended)
    }

    /// What was seen so far; what is handed out is forgotten.
    pub fn take(&self, pid: u32) -> Observed {
        let mut watched = self.lock();
        let Some(process) = watched.get_mut(&pid) else { return Observed::default() };
        let last = process.last_of_each_thread();
        let observed = std::mem::take(&mut process.observed);
        // Counters are cumulative: the next window needs where this one ended.
        let trace = Trace { samples: last, ports: observed.trace.ports.clone(), tried: observed.trace.tried.clone() };
        process.observed = Observed { trace, ended: observed.ended };
        observed
    }

    /// Stops watching a process.
    pub fn forget(&self, pid: u32) {
        self.lock().remove(&pid);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u32, Watched>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Watched {
    fn sample(&mut self, pid: u32, round: u64, steal: Span) {
        if self.observed.ended {
            return;
        }
        if round.is_multiple_of(RESCAN) {
            self.rescan(pid);
        }
        let mut main_ended = false;
        self.threads.retain(|thread| {
            let Some(raw) = thread.read(steal) else {
                main_ended |= thread.tid == pid;
                return false;
            };
            self.observed.trace.samples.push(raw);
            main_ended |= raw.tid == pid && matches!(raw.state, 'Z' | 'X');
            true
        });
        if self.find_ports && round.is_multiple_of(2) {
            let pids: HashSet<u32> = self.threads.iter().map(|t| t.tid).chain([pid]).collect();
            for pid in pids {
                let (connected, connecting) = ports(pid, &mut self.known_sockets);
                // A later look knows better: programs set the option after they connect.
                self.observed.trace.ports.extend(connected);
                self.observed.trace.tried.extend(connecting);
            }
        }
        self.observed.ended = main_ended;
    }

    /// Finds threads and children not yet known.
    fn rescan(&mut self, pid: u32) {
        let mut pending = vec![pid];
        while let Some(process) = pending.pop() {
            let tasks = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
            for tid in tasks.filter_map(|t| t.file_name().to_str()?.parse::<u32>().ok()) {
                let folder = format!("/proc/{process}/task/{tid}");
                let children = std::fs::read_to_string(format!("{folder}/children")).unwrap_or_default();
                pending.extend(children.split_whitespace().filter_map(|c| c.parse::<u32>().ok()));
                if self.threads.iter().all(|t| t.tid != tid)
                    && let (Ok(schedstat), Ok(stat)) =
                        (File::open(format!("{folder}/schedstat")), File::open(format!("{folder}/stat")))
                {
                    self.threads.push(Thread { tid, schedstat, stat });
                }
            }
        }
    }

    fn last_of_each_thread(&self) -> Vec<Sampled> {
        let mut last: HashMap<u32, Sampled> = HashMap::new();
        for raw in &self.observed.trace.samples {
            last.insert(raw.tid, *raw);
        }
        last.into_values().collect()
    }
}

impl Thread {
    /// Counters first, clock after: the sample is never older than it says.
    fn read(&self, steal: Span) -> Option<Sampled> {
        let schedstat = read(&self.schedstat)?;
        let mut counters = schedstat.split_whitespace();
        let cpu_ns = Span::from_nanos(counters.next()?.parse().ok()?);
        let run_delay_ns = Span::from_nanos(counters.next()?.parse().ok()?);
        let at_ns = now();
        let stat = read(&self.stat)?;
        let state = stat[stat.rfind(')')? + 1..].trim_start().chars().next()?;
        Some(Sampled { at_ns, tid: self.tid, cpu_ns, run_delay_ns, state, steal_ns: steal })
    }
}

/// Reads a small proc file again from its beginning, without opening it again.
fn read(file: &File) -> Option<String> {
    let mut buffer = [0; 512];
    let length = file.read_at(&mut buffer, 0).ok()?;
    Some(String::from_utf8_lossy(buffer.get(..length)?).into_owned()).filter(|text| !text.is_empty())
}

/// Local port and `TCP_NODELAY` of a process's connected TCP sockets, each for its first few looks; and the local ports of those that
/// nobody has answered yet.
///
/// It borrows each socket for a moment (pidfd_getfd(2)) and asks it: `/proc/net/tcp` would walk the whole
/// machine's table of connections each time, for milliseconds, at real-time priority.
fn ports(pid: u32, known: &mut HashMap<u64, u32>) -> (Vec<(u16, bool)>, Vec<u16>) {
    const LOOKS: u32 = 4;
    let (mut found, mut connecting) = (Vec::new(), Vec::new());
    let links = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    for link in links {
        let inode = std::fs::read_link(link.path())
            .ok()
            .and_then(|l| l.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse::<u64>().ok());
        let fd = link.file_name().to_str().and_then(|n| n.parse::<i32>().ok());
        let (Some(inode), Some(fd)) = (inode, fd) else { continue };
        if known.get(&inode).is_some_and(|looks| *looks >= LOOKS) {
            continue;
        }
        let Some(socket) = borrow(pid, fd) else { continue };
        // A UDP socket has a port too, but no connection of ours: only one that is connected over TCP counts.
        let is_tcp =
            nix::sys::socket::getsockopt(&socket, nix::sys::socket::sockopt::SockType) == Ok(nix::sys::socket::SockType::Stream);
        let listens = nix::sys::socket::getsockopt(&socket, nix::sys::socket::sockopt::AcceptConn).unwrap_or(true);
        let stream = TcpStream::from(socket);
        match (is_tcp, stream.local_addr(), stream.peer_addr()) {
            (true, Ok(local), Ok(_)) => {
                *known.entry(inode).or_default() += 1;
                found.push((local.port(), stream.nodelay().unwrap_or(false)));
            }
            (true, Ok(local), Err(_)) if !listens && local.port() != 0 => connecting.push(local.port()),
            _ => {}
        }
    }
    (found, connecting)
}

fn borrow(pid: u32, fd: i32) -> Option<OwnedFd> {
    let process = pidfd_open(Pid::from_raw(pid as i32)?, PidfdFlags::empty()).ok()?;
    pidfd_getfd(process, fd, PidfdGetfdFlags::empty()).ok()
}

/// `(local port, listening)` of each line of `/proc/<pid>/net/<table>`.
fn sockets(pid: u32, table: &str) -> Vec<(u16, bool)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
    text.lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let port = u16::from_str_radix(fields.get(1)?.rsplit(':').next()?, 16).ok()?;
            Some((port, *fields.get(3)? == "0A"))
        })
        .collect()
}

/// Whether something listens on `port` in the network namespace of `pid`.
pub fn listening(pid: u32, port: u16) -> bool {
    ["tcp", "tcp6"].iter().flat_map(|t| sockets(pid, t)).any(|(p, listening)| listening && p == port)
}

/// What the hypervisor kept from this machine since boot.
pub fn steal() -> Span {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    // "cpu user nice system idle iowait irq softirq steal …" in hundredths of a second (USER_HZ).
    let ticks: Option<i64> = text.lines().next().and_then(|l| l.split_whitespace().nth(8)?.parse().ok());
    Span::from_millis(ticks.unwrap_or(0) * 10)
}
