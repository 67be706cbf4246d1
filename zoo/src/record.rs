//! Records one case: a lab, a server, two captures, a client, and the logs of everybody who injects.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lab::cpu::{Cgroup, Hierarchy};
use lab::host::{Host, Lab, LabConfig};
use lab::wire::{Detour, Direction, Event, NatConfig, Packet, PathConfig, Script};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::case::{Case, Fault};
use crate::certs::Pki;
use crate::clients::{self, Places};
use crate::error::{Failed, Why};
use crate::lines::{lines, lines_in};
use crate::noise::{Late, Noise};
use crate::servers::{self, Helpers, PORT};
use crate::spawn::{Program, Start, start, with_children};
use crate::stacks::Version;
use crate::starved::{Starved, Watch};

/// A stop from outside.
#[derive(Clone, Copy, Debug)]
pub struct Stop {
    pub handshake: usize,
    pub client: bool,
    pub ms: f64,
    pub t: f64,
    pub t_end: f64,
}

/// All logs of a case.
pub struct Logs {
    pub events: Vec<Event>,
    pub client: Vec<Value>,
    pub server: Vec<Value>,
    pub codes: Vec<Option<i32>>,
    pub stops: Vec<Stop>,
    pub noise: Vec<Late>,
    pub starved: Vec<Starved>,
    /// Ports of the client, inside and outside of a translation.
    pub nat: Vec<(u16, u16)>,
    /// The wire's own late packets.
    pub late: Vec<Late>,
}

/// Records a case into `folder` (`client.pcap`, `edge.pcap`).
///
/// # Errors
/// If anything of it could not be done.
pub fn record(case: &Case, folder: &Path, scratch: &Path, pki: &Pki, helpers: &Helpers<'_>) -> Result<Logs, Failed> {
    let names = ["client", "edge", "third"].map(String::from);
    let config = LabConfig { seed: case.seed, offloads: case.offloads };
    let lab = Lab::build_multihomed(&names, config, 1, scratch)?;
    let [client, edge, third] = lab.hosts.as_slice() else { return Err(Failed("the lab has other hosts".into())) };
    for host in [client, edge] {
        host.namespace.sysctl("net.ipv4.tcp_timestamps", if case.timestamps { "1" } else { "0" });
        host.namespace.sysctl("net.ipv4.tcp_congestion_control", if case.bbr { "bbr" } else { "cubic" });
    }
    let (log, events) = channel();
    paths(&lab, case, client, edge, third);
    lab.wire.set_script(Script {
        client: client.port,
        server: edge.port,
        tcp_ports: vec![PORT],
        rules: case.rules(),
        detours: detours(case, edge),
        log,
    });
    if case.nat {
        let outside = std::net::Ipv4Addr::new(10, 77, 200, 1);
        lab.wire.set_nat(NatConfig {
            host: client.port,
            inside: client.ipv4,
            outside,
            first_port: 20_000 + (case.seed % 30_000) as u16,
        });
    }
    let group = match (case.starves(), Hierarchy::detect()) {
        (None, _) => None,
        (Some(_), None) => return Err(Failed("no cgroup for a quota".into())),
        (Some(_), Some(hierarchy)) => Some(Arc::new(Cgroup::create(hierarchy, "starved")?)),
    };
    let joins = |client: bool| group.as_ref().filter(|_| case.starves() == Some(client)).map(|g| g.procs());
    let server = servers::serve(case, edge, pki, helpers, scratch, joins(false))?;
    let fetches = case.faults.iter().flatten().any(|f| matches!(f, Fault::Fetch { .. }));
    let _third = if fetches { Some(servers::third(third, helpers, scratch)?) } else { None };
    let captures =
        [capture(client, case, &folder.join("client.pcap"), scratch)?, capture(edge, case, &folder.join("edge.pcap"), scratch)?];
    let noise = Noise::watch();
    let client_pid = Arc::new(AtomicU32::new(0));
    let watcher = watch(events, case.clone(), Arc::clone(&client_pid), server.answers.pid(), group.clone());
    let places = Places {
        host: client,
        addresses: &edge.addresses(),
        third: third.ipv4.into(),
        nobody: IpAddr::from([10, 77, 9, 9]),
        group: joins(true),
    };
    let ran = clients::run(case, &places, pki, helpers, scratch, &client_pid);
    // What is still on its way, and the last words of both kernels.
    std::thread::sleep(case.out + case.back + Duration::from_millis(60));
    let noise = noise.end();
    let late = lab.wire.late().iter().map(|l| Late { t: (l.due + l.by as i64) as f64 / 1e9, ms: l.by as f64 / 1e6 }).collect();
    let nat = lab.wire.nat_ports();
    for program in captures {
        let said = finish(program)?;
        if said > 0 {
            return Err(Failed("the capture lost packets".into()));
        }
    }
    // It still runs: what it has not ended yet is of no handshake of ours.
    let said = server.answers.output();
    let mut server_lines = lines("the server", said.rsplit_once('\n').map_or("", |(whole, _)| whole))?;
    server.end();
    server_lines.extend(lines_in(&scratch.join(servers::STALLS))?);
    drop(lab); // ends the wire, which ends the log
    let (events, stops, starved) = watcher.join().map_err(|_| Failed("the watcher of the wire failed".into()))?;
    let (client_lines, codes) = ran?;
    Ok(Logs { events, client: client_lines, server: server_lines, codes, stops, starved, nat, noise, late })
}

fn paths(lab: &Lab, case: &Case, client: &Host, edge: &Host, third: &Host) {
    let path = |delay: Duration| PathConfig { delay, jitter: case.jitter, ..PathConfig::default() };
    lab.wire.set_path(client.port, edge.port, path(case.out));
    lab.wire.set_path(edge.port, client.port, path(case.back));
    for (from, to) in [(client.port, third.port), (third.port, client.port)] {
        lab.wire.set_path(from, to, PathConfig { delay: Duration::from_millis(4), ..PathConfig::default() });
    }
}

fn detours(case: &Case, edge: &Host) -> Vec<Detour> {
    let far = edge.addresses().into_iter().filter(|a| a.is_ipv6() == case.ipv6).nth(1);
    case.detour.and_then(|(out, back)| far.map(|server| Detour { server, out, back })).into_iter().collect()
}

fn capture(host: &Host, case: &Case, path: &Path, scratch: &Path) -> Result<Program, Failed> {
    let mut args: Vec<String> =
        ["-i", "eth0", "-n", "-p", "-s", "0", "-U", "--immediate-mode", "-B", "16384", "-Z", "root"].map(String::from).to_vec();
    if case.nanoseconds {
        args.push("--time-stamp-precision=nano".into());
    }
    args.extend(["-w".into(), path.display().to_string(), "tcp".into()]);
    let log = scratch.join(format!("tcpdump-{}", host.name));
    let mut program = start(host, &Start { program: "tcpdump", args, env: vec![], log, input: None, group: None })?;
    let until = Instant::now() + Duration::from_secs(3);
    while !program.errors().contains("listening on") {
        if Instant::now() > until || program.ended() {
            return Err(Failed(format!("tcpdump does not listen: {}", program.errors().trim())));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(program)
}

/// Ends a capture; says how many packets the kernel dropped.
fn finish(mut program: Program) -> Result<u64, Failed> {
    kill(Pid::from_raw(program.pid() as i32), Signal::SIGTERM).why("ending tcpdump")?;
    program.wait(Duration::from_secs(2)).ok_or_else(|| Failed("tcpdump does not end".into()))?;
    let errors = program.errors();
    let dropped = errors.lines().find(|l| l.contains("dropped by kernel")).and_then(|l| l.split_whitespace().next());
    dropped.and_then(|n| n.parse().ok()).ok_or_else(|| Failed(format!("tcpdump did not say what it dropped: {}", errors.trim())))
}

type Seen = (Vec<Event>, Vec<Stop>, Vec<Starved>);

/// Collects the wire's log and stops programs when the packet has passed that they would answer next.
fn watch(
    events: Receiver<Event>,
    case: Case,
    client: Arc<AtomicU32>,
    server: u32,
    group: Option<Arc<Cgroup>>,
) -> JoinHandle<Seen> {
    std::thread::spawn(move || {
        let last_word = case.mtls || (case.version == Version::Two && !case.resume);
        let before = |client| if client { case.back } else { case.out };
        let stat = group.as_ref().and_then(|group| Some(group.procs().parent()?.join("cpu.stat")));
        let mut starved = case.starves().map(|client| Watch::new(client, last_word, before(client), stat.clone()));
        let mut all: Vec<Event> = Vec::new();
        let mut stops: Vec<JoinHandle<Stop>> = Vec::new();
        for event in events {
            if let Some(starved) = &mut starved {
                let pid = if case.starves() == Some(true) { client.load(Ordering::Relaxed) } else { server };
                starved.packet(&event, pid);
            }
            let first = event.copy == 1 && !all.iter().any(|e| e.connection == event.connection && e.packet == event.packet);
            for fault in case.faults.get(event.connection).into_iter().flatten().filter(|_| first) {
                match (fault, event.packet, &group) {
                    (Fault::Starve { client: true, ms }, Packet::SynAck, Some(group))
                    | (Fault::Starve { client: false, ms }, Packet::ClientHello(1), Some(group)) => {
                        starve(Arc::clone(group), *ms)
                    }
                    _ => {}
                }
                let stop = match (fault, event.packet) {
                    (Fault::ClientStop { before_hello: true, ms }, Packet::SynAck)
                    | (Fault::ClientStop { before_hello: false, ms }, Packet::Flight(1)) => Some((true, *ms)),
                    (Fault::ServerStop { ms }, Packet::ClientHello(1)) => Some((false, *ms)),
                    _ => None,
                };
                let Some((of_client, ms)) = stop else { continue };
                let pid = if of_client { client.load(Ordering::Relaxed) } else { server };
                let handshake = event.connection;
                if pid > 0 {
                    stops.push(std::thread::spawn(move || halt(pid, handshake, of_client, ms)));
                }
            }
            all.push(event);
        }
        (all, stops.into_iter().filter_map(|s| s.join().ok()).collect(), starved.map(Watch::end).unwrap_or_default())
    })
}

/// Leaves a program a hundredth of a CPU for a while.
fn starve(group: Arc<Cgroup>, ms: f64) {
    std::thread::spawn(move || {
        let _ = group.quota(0.01);
        std::thread::sleep(Duration::from_secs_f64(ms / 1e3));
        let _ = group.quota(1_000.0);
    });
}

fn halt(pid: u32, handshake: usize, client: bool, ms: f64) -> Stop {
    let _ = kill(Pid::from_raw(pid as i32), Signal::SIGSTOP);
    let stopped = with_children(pid);
    let all = |signal| {
        for pid in &stopped {
            let _ = kill(*pid, signal);
        }
    };
    all(Signal::SIGSTOP);
    let (t, begun) = (now(), Instant::now());
    std::thread::sleep(Duration::from_secs_f64(ms / 1e3));
    all(Signal::SIGCONT);
    Stop { handshake, client, ms: begun.elapsed().as_secs_f64() * 1e3, t, t_end: now() }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

/// The wire's word for a direction, in truth files.
pub fn place(direction: Direction) -> &'static str {
    match direction {
        Direction::Out => "path c2s",
        Direction::Back => "path s2c",
    }
}
