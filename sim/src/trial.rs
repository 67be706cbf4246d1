//! From a plan to a trial: what both captures hold, what both hosts' schedulers say, what was injected.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use fastrand::Rng;
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};
use pcap_file::{DataLink, Endianness, TsResolution};

use crate::MS;
use crate::beside::{dns, exchange};
use crate::frame::End;
use crate::host::{Sample, length};
use crate::path::Path;
use crate::plan::{Abort, Plan};
use crate::tap::Tap;
use crate::tcp::Tcp;
use crate::tls::{Marks, Script, Step, script};
use crate::world::{App, Conn, Sent, World};

/// True time at which the clock of the first capture shows this: an ordinary date.
const EPOCH: i64 = 1_700_000_000_000 * MS;
/// Between handshakes of one trial.
const APART: i64 = 2_000 * MS;

/// One trial.
pub struct Trial {
    /// Frames of the client's capture, with its clock's times.
    pub client: Vec<(i64, Vec<u8>)>,
    /// Frames of the edge's capture.
    pub edge: Vec<(i64, Vec<u8>)>,
    /// The client thread's counters.
    pub client_samples: Vec<Sample>,
    /// The edge thread's counters.
    pub edge_samples: Vec<Sample>,
    /// Endpoints of the judged handshake as the client's capture shows them.
    pub at_client: (SocketAddr, SocketAddr),
    /// As the edge's capture shows them.
    pub at_edge: (SocketAddr, SocketAddr),
    /// Where its messages lie.
    pub marks: Marks,
    /// Every packet of it.
    pub log: Vec<Sent>,
    /// When each of the client's and the server's steps was done, true time.
    pub steps: [Vec<i64>; 2],
}

impl Trial {
    /// Runs a plan.
    pub fn run(plan: &Plan, seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mut world = World::new([plan.client_tap.clone(), plan.edge_tap.clone()], rng.fork());
        for tap in &mut world.taps {
            tap.offset += EPOCH;
        }
        let healthy = Plan { lookup: None, ..quiet(plan) };
        for i in 0..plan.before {
            connect(&mut world, &healthy, i, 10 * MS + APART * i as i64, &mut rng);
        }
        let start = 10 * MS + APART * plan.before as i64;
        let lookup = plan.lookup.unwrap_or(0);
        let id = connect(&mut world, plan, plan.before, start + lookup, &mut rng);
        world.run();

        let conn = &world.conns[id];
        let [at_client, at_edge] =
            if plan.proxy { [conn.addresses[0], world.conns[id - 1].addresses[1]] } else { conn.addresses };
        let (log, steps) = (conn.log.clone(), conn.steps.clone());
        let end = log.iter().map(|s| s.at).max().unwrap_or(start) + 20 * MS;
        let marks = match &conn.app[0] {
            App::Script { script, .. } => script.marks,
            App::Relay { .. } => Marks::default(),
        };
        let [mut client, edge] = [world.taps[0].frames(), world.taps[1].frames()];
        let mut edge = if plan.elsewhere { only_before(edge, at_edge) } else { edge };
        if let Some(took) = plan.lookup {
            client.extend(dns(at_client, start, took));
        }
        let thought = |end: End, step: usize, think: &crate::host::Think| {
            steps[end as usize].get(step).map(|done| (*done - length(think), *done))
        };
        if plan.client_asks
            && let Some((from, to)) = thought(End::Client, marks.finishing_step, &plan.manner.thinks[1])
        {
            client.extend(exchange(at_client.0.ip(), from + MS / 2, to - MS / 2));
        }
        if plan.edge_asks
            && let Some((from, to)) = thought(End::Server, marks.flight_step, &plan.manner.thinks[2])
        {
            edge.extend(exchange(at_edge.1.ip(), from + MS / 2, to - MS / 2));
        }
        // A capture keeps the order in which packets came, whatever its clock does.
        for (tap, frames) in world.taps.iter().zip([&mut client, &mut edge]) {
            frames.sort_by_key(|(at, _)| *at);
            frames.iter_mut().for_each(|(at, _)| *at = tap.clock(*at));
        }
        let own_clock = |tap: &Tap, samples: Vec<Sample>| -> Vec<Sample> {
            samples.into_iter().map(|s| Sample { at: tap.steady_clock(s.at), ..s }).collect()
        };
        let client_samples = own_clock(&world.taps[0], world.hosts[0].samples(start - 5 * MS, end, &mut rng));
        let edge_samples = own_clock(&world.taps[1], world.hosts[1].samples(start - 5 * MS, end, &mut rng));
        Self { client, edge, client_samples, edge_samples, at_client, at_edge, marks, log, steps }
    }

    /// How long the message of `from` that ends at `end` waited for the copy that arrived: the cost of losing the others.
    /// Nothing, if the first copy arrived as well.
    pub fn lost_for(&self, from: End, end: usize) -> i64 {
        let carries = |s: &&Sent| s.from == from && !s.syn && s.start < end && s.end >= end;
        let first = self.log.iter().find(carries).map(|s| s.at);
        let mut arrivals: Vec<(i64, &Sent)> = self
            .log
            .iter()
            .filter(|s| s.from == from && !s.syn && s.end > s.start)
            .filter_map(|s| Some((s.arrived?, s)))
            .collect();
        arrivals.sort_by_key(|(at, _)| *at);
        let mut known: Vec<(usize, usize)> = Vec::new();
        for (_, sent) in arrivals {
            known.push((sent.start, sent.end));
            known.sort_unstable();
            let prefix = known.iter().fold(0, |p, (s, e)| if *s <= p { p.max(*e) } else { p });
            if prefix >= end {
                return first.map_or(0, |first| (sent.at - first).max(0));
            }
        }
        0
    }

    /// The same for SYN or SYN-ACK.
    pub fn syn_lost_for(&self, from: End) -> i64 {
        let mut syns = self.log.iter().filter(|s| s.from == from && s.syn);
        let first = syns.next();
        let arrived = self.log.iter().filter(|s| s.from == from && s.syn && s.arrived.is_some()).min_by_key(|s| s.arrived);
        first.zip(arrived).map_or(0, |(first, arrived)| arrived.at - first.at)
    }
}

/// The plan with everything that goes wrong taken out.
fn quiet(plan: &Plan) -> Plan {
    let mut healthy = Plan::healthy(plan.manner.version, &plan.manner.name);
    healthy.manner.hello_len = plan.manner.hello_len;
    healthy.manner.certificate_len = 2_800;
    (healthy.client, healthy.server, healthy.ipv6) = (plan.client, plan.server, plan.ipv6);
    (healthy.delay, healthy.jitter, healthy.hops) = (plan.delay, plan.jitter, plan.hops);
    (healthy.nat, healthy.proxy) = (plan.nat, false);
    healthy
}

/// Adds a connection by plan, and the proxy's other one before it; gives its number.
fn connect(world: &mut World, plan: &Plan, nth: usize, start: i64, rng: &mut Rng) -> usize {
    let script = sabotaged(plan, script(&plan.manner, rng));
    let port = 40_000 + nth as u16 * 7;
    let client =
        plan.client_address.map_or_else(|| address(plan.ipv6, 1, port), |a| SocketAddr::new(a.ip(), a.port() + nth as u16));
    let server = address(plan.ipv6, 2, 443);
    let outside = if plan.nat { address(plan.ipv6, 3, 51_000 + nth as u16) } else { client };
    let tcp = |end: End, rng: &mut Rng| {
        let habit = if end == End::Client { plan.client } else { plan.server };
        Tcp::new(end, habit, rng.u32(..), rng.u32(..), rng.u16(..))
    };
    let mut ends = [tcp(End::Client, rng), tcp(End::Server, rng)];
    ends[0].nagle = plan.nagle;
    ends[1].nagle = plan.edge_nagle;
    ends[0].probe_mtu = plan.probe_mtu;
    ends[1].probe_mtu = plan.probe_mtu;
    ends[1].deaf_until = start + plan.delay + plan.deaf;
    ends[1].defer_accept = plan.defer_accept;
    if let Some((buffer, _)) = plan.slow_reader {
        ends[0].buffer = buffer;
    }
    let mut path = [0, 1].map(|_| Path::new(plan.delay, plan.jitter, plan.hops, plan.ipv6));
    for (way, faults) in path.iter_mut().zip([&plan.out, &plan.back]) {
        way.faults = faults.iter().map(|(aim, deed)| aim.fault(&script.marks, *deed)).collect();
    }
    for way in &mut path {
        way.loss = plan.background_loss;
    }
    let mut conn = Conn {
        tcp: ends,
        app: [App::following(script.clone()), App::following(script.clone())],
        path,
        addresses: [(client, server), (outside, server)],
        captured: [true, true],
        start,
        slow_reader: plan.slow_reader.map(|(_, lies)| lies),
        middlebox: (plan.abort == Some(Abort::Middlebox)).then_some(script.marks.hello_end),
        reset_at: (plan.abort == Some(Abort::ClientReset)).then_some(script.marks.finishing_step),
        vanish_at: (plan.abort == Some(Abort::ClientVanishes)).then_some(script.marks.finishing_step),
        patience: Some(30_000 * MS).filter(|_| plan.abort.is_none()).or(Some(5_000 * MS)),
        pause: plan.pause,
        stops: plan.stopped,
        stopped_until: 0,
        log: Vec::new(),
        steps: [Vec::new(), Vec::new()],
    };
    if plan.abort == Some(Abort::ClientVanishes) {
        conn.patience = None;
    }
    if !plan.proxy {
        return world.add(conn);
    }
    // The proxy's connection to the edge: same bytes, other sequence numbers, addresses and stack.
    let front = world.conns.len() + 1;
    let near = Path::new(MS / 4, 5_000, 1, plan.ipv6);
    let back = Conn {
        tcp: [tcp(End::Client, rng), tcp(End::Server, rng)],
        app: [App::Relay { to: front, end: End::Server, passed: 0 }, App::following(script)],
        path: [near.clone(), near],
        addresses: [0, 1].map(|_| (address(plan.ipv6, 4, 55_000 + nth as u16), address(plan.ipv6, 5, 8443))),
        captured: [false, true],
        slow_reader: None,
        middlebox: None,
        patience: None,
        pause: None,
        stops: None,
        ..conn.clone()
    };
    let id = world.add(back);
    conn.app[1] = App::Relay { to: id, end: End::Client, passed: 0 };
    conn.captured = [true, false];
    world.add(conn)
}

/// Ends a script before its time, if the plan says so.
fn sabotaged(plan: &Plan, mut script: Script) -> Script {
    let alert = |encrypted: bool| {
        if encrypted { vec![23, 3, 3, 0, 19].into_iter().chain([7; 19]).collect() } else { vec![21, 3, 3, 0, 2, 2, 48] }
    };
    let last = |after: usize, think: &crate::host::Think, bytes: Vec<u8>| Step {
        after,
        think: think.clone(),
        writes: vec![bytes],
        close: true,
    };
    let (finishing, flight) = (script.marks.finishing_step, script.marks.flight_step);
    match plan.abort {
        Some(Abort::ClientAlert) => {
            let step = script.client[finishing].clone();
            script.client.truncate(finishing);
            script.client.push(last(step.after, &step.think, alert(plan.manner.version.is_13())));
        }
        Some(Abort::ServerAlert) => {
            let step = script.server[flight].clone();
            script.server.truncate(flight);
            script.server.push(last(step.after, &step.think, alert(false)));
        }
        Some(Abort::ServerSilent) => script.server.truncate(flight),
        _ => {}
    }
    script
}

/// Drops the frames of one connection: whoever captured here never saw it.
fn only_before(frames: Vec<(i64, Vec<u8>)>, (client, _): (SocketAddr, SocketAddr)) -> Vec<(i64, Vec<u8>)> {
    let port = client.port().to_be_bytes();
    let transport = if client.is_ipv4() { 34 } else { 54 };
    let ours = |frame: &[u8]| {
        frame.get(transport..transport + 2) == Some(&port[..]) || frame.get(transport + 2..transport + 4) == Some(&port[..])
    };
    frames.into_iter().filter(|(_, frame)| !ours(frame)).collect()
}

/// An address of the simulated world, in the documentation's networks.
pub(crate) fn address(ipv6: bool, host: u8, port: u16) -> SocketAddr {
    let ip: IpAddr = if ipv6 {
        Ipv6Addr::new(0x2001, 0xdb8, 0, u16::from(host), 0, 0, 0, u16::from(host)).into()
    } else {
        Ipv4Addr::new(198, 51, 100, host).into()
    };
    SocketAddr::new(ip, port)
}

/// Begins a pcap with nanoseconds.
///
/// # Errors
/// If `out` cannot be written.
pub fn begin_pcap<W: Write>(out: W) -> std::io::Result<PcapWriter<W>> {
    let header = PcapHeader {
        snaplen: 262_144,
        datalink: DataLink::ETHERNET,
        ts_resolution: TsResolution::NanoSecond,
        endianness: Endianness::Little,
        ..PcapHeader::default()
    };
    PcapWriter::with_header(out, header).map_err(std::io::Error::other)
}

/// Adds a frame to a pcap.
///
/// # Errors
/// If it cannot be written.
pub fn add_frame<W: Write>(pcap: &mut PcapWriter<W>, at: i64, frame: &[u8]) -> std::io::Result<()> {
    let packet = PcapPacket::new(Duration::from_nanos(at.unsigned_abs()), frame.len() as u32, frame);
    pcap.write_packet(&packet).map(|_| ()).map_err(std::io::Error::other)
}

/// Writes frames as a pcap.
///
/// # Errors
/// If `out` cannot be written.
pub fn write_pcap(out: impl Write, frames: &[(i64, Vec<u8>)]) -> std::io::Result<()> {
    let mut pcap = begin_pcap(out)?;
    frames.iter().try_for_each(|(at, frame)| add_frame(&mut pcap, *at, frame))
}
