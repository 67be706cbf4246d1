//! From a plan to the connections of a world: both stacks, the path with its faults, the scripts, what stands between.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use fastrand::Rng;

use crate::MS;
use crate::frame::End;
use crate::host::ThreadState;
use crate::lookup::DEAD_HOST;
use crate::path::{Deed, Path};
use crate::plaintext::{Plaintext, Speech};
use crate::plan::{Abort, Aim, InVain, Plan};
use crate::tcp::Tcp;
use crate::tls::{Script, Step, Version, script};
use crate::world::{App, Conn, SynProxy, World};

/// Another client than the one that is judged.
const ANOTHER_CLIENT: u8 = 11;
/// Another address of the edge.
const ELSEWHERE: u8 = 6;
/// An attempt in vain has a port far from those of the others.
const DEAD_NTH: usize = 500;

/// The plan with everything that goes wrong taken out.
pub(crate) fn quiet(plan: &Plan) -> Plan {
    let mut healthy = Plan::healthy(plan.manner.version, plan.before_name.unwrap_or(&plan.manner.name));
    healthy.manner.plaintext = plan.manner.plaintext.as_ref().map(Plaintext::prompt);
    healthy.manner.hello_len = plan.manner.hello_len;
    healthy.manner.certificate_len = 2_800;
    (healthy.client, healthy.server, healthy.ipv6) = (plan.client, plan.server, plan.ipv6);
    (healthy.delay, healthy.jitter, healthy.hops) = (plan.delay, plan.jitter, plan.hops);
    (healthy.nat, healthy.nat64, healthy.renumbered) = (plan.nat, plan.nat64, plan.renumbered);
    healthy.reorders = plan.reorders;
    healthy.client_host = if plan.before_of_another { ANOTHER_CLIENT } else { plan.client_host };
    healthy.edge_host = if plan.before_elsewhere { ELSEWHERE } else { plan.edge_host };
    healthy
}

/// The client's port of the connection of this number: its own, and behind address translation.
pub fn ports(nth: usize) -> [u16; 2] {
    [40_000 + nth as u16 * 7, 51_000 + nth as u16]
}

/// Adds a connection by plan, and the proxy's other one before it; gives its number.
pub(crate) fn connect(world: &mut World, plan: &Plan, nth: usize, start: i64, rng: &mut Rng) -> usize {
    let script = sabotaged(plan, script(&plan.manner, rng));
    let [port, translated] = ports(nth);
    let client = plan
        .client_address
        .map_or_else(|| address(plan.ipv6, plan.client_host, port), |a| SocketAddr::new(a.ip(), a.port() + nth as u16));
    let server = address(plan.ipv6, plan.edge_host, 443);
    let outside = if plan.nat { address(plan.ipv6, 3, translated) } else { client };
    let (inside, outside) = if plan.nat64 {
        // The well-known prefix (RFC 6052) before the edge's own address; the translator's address in the client's place.
        let well_known = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0xc633, 0x6402);
        let translated = (address(false, 3, translated), address(false, 2, 443));
        ((client, SocketAddr::new(well_known.into(), 443)), translated)
    } else {
        ((client, server), (outside, server))
    };
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
    ends[1].deaf_to_syn = plan.deaf_to_syn;
    ends[1].defer_accept = plan.defer_accept;
    if let Some((buffer, _)) = plan.slow_reader {
        ends[0].buffer = buffer;
    }
    for (end, buffer) in ends.iter_mut().zip(plan.buffers) {
        end.buffer = buffer.unwrap_or(end.buffer);
    }
    ends[1].paced = plan.paced;
    if let Some(mss) = plan.jumbo {
        ends.iter_mut().for_each(|end| end.mss = mss);
    }
    if plan.old_connection {
        ends[1].old = Some((rng.u32(..), rng.u32(..)));
    }
    let mut path = [0, 1].map(|_| Path::new(plan.delay, plan.jitter, plan.hops, plan.ipv6));
    for (way, faults) in path.iter_mut().zip([&plan.out, &plan.back]) {
        way.faults = faults.iter().map(|(aim, deed)| aim.fault(&script.marks, *deed)).collect();
    }
    for way in &mut path {
        (way.loss, way.reorders) = (plan.background_loss, plan.reorders);
    }
    let mut conn = Conn {
        tcp: ends,
        app: [App::following(script.clone()), App::following(script.clone())],
        path,
        addresses: [inside, outside],
        captured: [true, true],
        start,
        slow_reader: plan.slow_reader.map(|(_, lies)| lies),
        middlebox: match plan.abort {
            Some(Abort::Middlebox) => Some((script.marks.hello_end, 255)),
            Some(Abort::NearMiddlebox) => Some((script.marks.hello_end, 63 + plan.hops)),
            _ => None,
        },
        squeeze: plan.squeeze,
        syn_proxy: SynProxy::default(),
        too_big: plan.too_big,
        renumbered: [0, 0],
        resets_on_fin: plan.abort == Some(Abort::ClientFin),
        reset_at: (plan.abort == Some(Abort::ClientReset)).then_some(script.marks.finishing_step),
        vanish_at: (plan.abort == Some(Abort::ClientVanishes)).then_some(script.marks.finishing_step),
        patience: plan.patience.or(Some(30_000 * MS).filter(|_| plan.abort.is_none())).or(Some(5_000 * MS)),
        closes: plan.closes,
        pause: plan.pause,
        stops: plan.stopped,
        stopped_until: 0,
        log: Vec::new(),
        steps: [Vec::new(), Vec::new()],
    };
    if plan.abort == Some(Abort::ClientVanishes) {
        conn.patience = None;
    }
    if plan.squeeze.is_some() {
        conn.syn_proxy.cookie = rng.u32(..);
    }
    if plan.renumbered {
        conn.renumbered = [rng.u32(1..), rng.u32(1..)];
    }
    if !plan.proxy {
        return world.add(conn);
    }
    // The proxy's connection to the edge: same bytes, other sequence numbers, addresses and stack.
    let front = world.conns.len() + 1;
    let near = Path::new(MS / 4, 5_000, 1, plan.ipv6);
    let header = if plan.proxy_header { proxy_header(client, server) } else { Vec::new() };
    let mut script = script;
    script.server.iter_mut().for_each(|step| step.after += header.len());
    let back = Conn {
        tcp: [tcp(End::Client, rng), tcp(End::Server, rng)],
        app: [App::Relay { to: front, end: End::Server, passed: 0, header: Vec::new() }, App::following(script)],
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
    conn.app[1] = App::Relay { to: id, end: End::Client, passed: 0, header };
    conn.captured = [true, false];
    world.add(conn)
}

/// Adds an attempt at another address of the edge, on which nobody answers, or too late.
pub(crate) fn in_vain(world: &mut World, plan: &Plan, tried: InVain, start: i64, rng: &mut Rng) {
    // The family that is tried first is the one that is dead.
    let ipv6 = !plan.ipv6;
    let mut dead = Plan { ipv6, ..quiet(plan) };
    dead.manner.thinks = Default::default();
    match tried.answers {
        None => dead.out = vec![(Aim::All, Deed::Drop(u32::MAX))],
        Some(late) => {
            dead.back = vec![(Aim::Syn, Deed::Hold(late))];
            // Who has another connection by then says nothing on this one, and closes it.
            (dead.manner.speech, dead.closes) = (Speech::Silence, true);
            dead.manner.thinks[0] = vec![(ThreadState::Asleep, 5_000 * MS)];
        }
    }
    let id = connect(world, &dead, DEAD_NTH, start, rng);
    let conn = &mut world.conns[id];
    conn.captured = [true, false];
    conn.addresses = conn.addresses.map(|(client, server)| (client, address(ipv6, DEAD_HOST, server.port())));
    let patience = tried.wait + if tried.overlaps { 2 * plan.delay + MS } else { 0 };
    // It is closed once it stands.
    let answered = tried.answers.map_or(0, |late| late + 2 * plan.delay + 2 * MS);
    world.give_up(id, start + patience.max(answered));
}

/// A line of PROXY protocol, version 1.
fn proxy_header(client: SocketAddr, server: SocketAddr) -> Vec<u8> {
    let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
    format!("PROXY {family} {} {} {} {}\r\n", client.ip(), server.ip(), client.port(), server.port()).into_bytes()
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
        Some(Abort::ClientFin) => {
            let step = script.client[finishing].clone();
            script.client.truncate(finishing);
            script.client.push(Step { writes: vec![], close: true, ..step });
        }
        Some(Abort::ClearAlert) => {
            let step = script.client[finishing].clone();
            script.client.truncate(finishing);
            script.client.push(last(step.after, &step.think, alert(false)));
        }
        Some(Abort::LateServerAlert) => {
            script.server.truncate(flight + 1);
            let after = script.marks.finished_end;
            // Behind ChangeCipherSpec alerts are encrypted, in TLS 1.2 under their own record type.
            let bytes = match plan.manner.version {
                Version::Tls12Resumed => vec![21, 3, 3, 0, 26].into_iter().chain([7; 26]).collect(),
                version => alert(version.is_13()),
            };
            script.server.push(last(after, &plan.manner.settle, bytes));
            // The request goes out behind Finished all the same; nobody answers it.
            script.client.truncate(finishing + 1);
        }
        _ => {}
    }
    script
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
