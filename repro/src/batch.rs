//! One batch of one cell: a plan for each end, a bundle from each, joined into handshakes.
//!
//! What no packet shows, the clients themselves may: their sockets, or their own clocks ([`Seen`]).

mod straighten;

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use agent::{Bundle, ClientEnd, Clients, Destination, Go, Load, LogLine, Losses, Plan};
use analysis::clock::{Client, Edge, Instant as Stamp};
use analysis::conversation::handshake::{EdgeLog, Handshake, pairs};
use analysis::dns::Lookups;
use analysis::tcp::table::FlowTable;
use analysis::wire::packet::{LinkType, Transport, decode};
use capture::Captured;
use capture::file::Reader;
use vantage::Vantage;

use crate::Error;
use crate::conditions::Conditions;
use crate::duration::Length;
use crate::scenario::Scenario;
use crate::seen::Seen;
use crate::targets::TargetSpec;

/// Room between the end of the last client and the end of listening: late acknowledgements and retransmissions.
const SETTLE: Duration = Duration::from_millis(120);

/// A frame with the host that captured it.
pub struct Frame {
    /// Which host captured it.
    pub host: String,
    /// How it begins.
    pub link: LinkType,
    /// The frame.
    pub captured: Captured,
}

/// A cell: its two ends, by name and at hand.
pub struct Cell<'a, 'v> {
    /// The vantage's name.
    pub name: &'a str,
    /// The vantage.
    pub vantage: &'a mut (dyn Vantage + 'v),
    /// The target.
    pub target: &'a TargetSpec,
    /// Who watches at the target; absent: the run has one end.
    pub edge: Option<&'a mut (dyn Vantage + 'v)>,
}

/// What a batch yields.
pub struct Batch {
    /// Frames of both ends in order of time.
    pub frames: Vec<Frame>,
    /// The handshakes; their packet numbers count `frames` from the first packet.
    pub seen: Vec<Seen>,
    /// What each client said.
    pub clients: Vec<ClientEnd>,
    /// What each end's capture has lost so far, by host.
    pub losses: Vec<(String, Losses)>,
    /// What the ends had to do without, and why.
    pub gave_up: Vec<String>,
}

/// The clients that one batch of a cell launches.
pub fn clients(scenario: &Scenario, conditions: &Conditions, vantage: &str, target: &TargetSpec, to: &Destination) -> Clients {
    let does = conditions.clients.get(vantage).cloned().unwrap_or_default();
    Clients {
        client: scenario.client.clone(),
        to: to.clone(),
        pauses: does.pauses,
        stops: does.stops,
        settle: Length(SETTLE + target.rtt.0),
    }
}

/// What one batch is to do.
pub struct Order {
    /// Its number in the run.
    pub batch: u64,
    /// Its clients.
    pub clients: Clients,
    /// What takes CPU from them, where the vantage brings that about.
    pub load: Option<Load>,
    /// The number of its first frame.
    pub first_packet: u64,
}

/// Runs one batch of a cell.
///
/// # Errors
/// Harness failures; a client's failure is data.
pub fn run(cell: Cell<'_, '_>, order: Order, stop: &AtomicBool) -> Result<Batch, Error> {
    let Cell { name, vantage, target, mut edge } = cell;
    let Order { batch, clients, load, first_packet } = order;
    let port = clients.to.port;
    let mut lost_before = 0;
    if let Some(edge) = &mut edge {
        lost_before += edge.prepare(&Plan { batch, clients: None, load: None }, stop)?.losses.lost();
    }
    lost_before += vantage.prepare(&Plan { batch, clients: Some(clients), load }, stop)?.losses.lost();
    for end in [Some(&mut *vantage), edge.as_deref_mut()].into_iter().flatten() {
        end.go(Go { at: None }, stop)?;
    }
    let seen = vantage.collect(stop)?;
    let at_edge = edge.map(|edge| edge.collect(stop)).transpose()?;

    let mut gave_up = seen.gave_up.clone();
    let mut frames = frames_of(name, &seen)?;
    let mut losses = vec![(name.to_owned(), seen.losses)];
    if let Some(at_edge) = &at_edge {
        let mut theirs = frames_of(&target.name, at_edge)?;
        if target.url.is_some() {
            // A recorder saw the handshakes of everybody else too.
            theirs = of_the_run(&frames, theirs, name, port);
        }
        frames.extend(theirs);
        losses.push((target.name.clone(), at_edge.losses));
        gave_up.extend(at_edge.gave_up.iter().cloned());
    }
    in_order_of_time(&mut frames);
    let lost = losses.iter().map(|(_, losses)| losses.lost()).sum::<u64>().saturating_sub(lost_before);
    let in_order: Vec<&Frame> = frames.iter().collect();
    let mut handshakes = analyse(&in_order, name, port, first_packet);
    for handshake in &mut handshakes {
        testify(handshake, &seen, at_edge.as_ref());
        handshake.capture_lost = lost;
    }
    let mut all: Vec<Seen> = handshakes.into_iter().map(|handshake| Seen::Packets(Box::new(handshake))).collect();
    let unseen = seen.clients.iter().filter(|c| !all.iter().any(|s| c.has_port(s.client().port())));
    let told: Vec<Seen> = unseen.filter_map(Seen::told_by).collect();
    all.extend(told);
    Ok(Batch { frames, seen: all, clients: seen.clients, losses, gave_up })
}

/// Puts frames of several hosts in order of time, those of one host staying in the order of their capture: a clock that was set back has
/// not changed that.
fn in_order_of_time(frames: &mut [Frame]) {
    let mut latest: BTreeMap<String, i64> = BTreeMap::new();
    frames.sort_by_cached_key(|frame| {
        let at = latest.entry(frame.host.clone()).or_insert(i64::MIN);
        *at = frame.captured.at.max(*at);
        *at
    });
}

/// Adds to a handshake what was seen beside its packets: the client's host, the edge's host and log.
fn testify(handshake: &mut Handshake, seen: &Bundle, at_edge: Option<&Bundle>) {
    let client = handshake.endpoints.client;
    let ours = |c: &&ClientEnd| c.has_port(client.port());
    handshake.client_host = seen.clients.iter().find(ours).map(|c| c.trace.on::<Client>());
    let Some(at_edge) = at_edge else { return };
    handshake.edge_host = at_edge.server.as_ref().map(|trace| trace.on::<Edge>());
    let logged =
        |l: &LogLine| EdgeLog { accepted: Stamp::from_nanos(l.accepted_ns), finished: l.finished_ns.map(Stamp::from_nanos) };
    handshake.edge_log = at_edge.log.iter().rfind(|l| same(l.peer, client)).map(logged);
}

/// The edge's frames of connections that the client's frames show too.
fn of_the_run(clients: &[Frame], edge: Vec<Frame>, vantage: &str, port: u16) -> Vec<Frame> {
    let first = 1 + clients.len() as u64;
    let numbered: Vec<&Frame> = clients.iter().chain(&edge).collect();
    let joined = analyse(&numbered, vantage, port, 1);
    let both = joined.iter().filter(|handshake| handshake.client.is_some());
    let wanted: HashSet<u64> =
        both.filter_map(|h| h.edge.as_ref()).flat_map(|view| view.packets.iter().map(|p| p.packet)).collect();
    (first..).zip(edge).filter(|(number, _)| wanted.contains(number)).map(|(_, frame)| frame).collect()
}

fn frames_of(host: &str, bundle: &Bundle) -> Result<Vec<Frame>, Error> {
    let mut reader = Reader::from_bytes(&format!("the packets of {host}"), bundle.frames.0.clone())?;
    let mut frames = Vec::new();
    while let Some(frame) = reader.next_frame()? {
        // A vantage captures nothing whose link type it cannot read.
        let Some(link) = frame.link else { continue };
        let captured = Captured { at: frame.at, wire_len: frame.wire_len, outgoing: None, bytes: frame.bytes.to_vec() };
        frames.push(Frame { host: host.to_owned(), link, captured });
    }
    Ok(frames)
}

/// Frames → views of both ends → joined handshakes, each with the lookup before it.
fn analyse(frames: &[&Frame], vantage: &str, port: u16, first_packet: u64) -> Vec<Handshake> {
    let mut client: FlowTable<Client> = FlowTable::default();
    let mut edge: FlowTable<Edge> = FlowTable::default();
    let mut lookups = Lookups::default();
    for (number, frame) in (first_packet..).zip(frames) {
        let at = frame.captured.at;
        match decode(frame.link, &frame.captured.bytes) {
            Ok(Transport::Tcp(s)) if s.source().port() != port && s.destination().port() != port => {}
            Ok(Transport::Tcp(s)) if frame.host == vantage => drop(client.push(Stamp::from_nanos(at), number, &s)),
            Ok(Transport::Tcp(s)) => drop(edge.push(Stamp::from_nanos(at), number, &s)),
            Ok(Transport::Udp(d)) if frame.host == vantage => {
                lookups.push(Stamp::from_nanos(at), number, d.source, d.destination, d.payload);
            }
            _ => {}
        }
    }
    let mut handshakes = straighten::all(pairs(client.into_views(), edge.into_views()));
    handshakes.retain(|h| h.client.is_some() || h.dialogue.is_tls());
    handshakes.sort_by_key(|h| h.client.as_ref().and_then(|v| v.packets.first()).map(|p| p.at));
    for handshake in &mut handshakes {
        if let Some(first) = handshake.client.as_ref().and_then(|v| v.packets.first()) {
            handshake.lookup = lookups.take_for(handshake.endpoints.server.ip(), first.at).map(Box::new);
        }
    }
    handshakes
}

/// The same end, whether or not IPv4 came mapped into IPv6.
fn same(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() == b.port() && a.ip().to_canonical() == b.ip().to_canonical()
}

/// Nanoseconds since the epoch.
pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as i64)
}

#[cfg(test)]
mod clocks;
#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use agent::{Clock, ClockError, Hello, Pcapng, Permits, Ready, Sampled, Trace, VERSION};
    use capture::evidence::Evidence;

    use super::*;

    /// An end that is no lab: it says what it was told and hands over what it was given.
    struct Scripted<'a> {
        name: &'static str,
        told: &'a RefCell<Vec<String>>,
        losses: [u64; 2],
        frames: Vec<i64>,
    }

    fn clock() -> Clock {
        Clock { source: "tsc".into(), error: ClockError::Unknown }
    }

    impl Vantage for Scripted<'_> {
        fn hello(&self) -> Hello {
            let permits = Permits { quotas: false, real_time: false, no_packets: None };
            let software = "0".into();
            Hello { version: VERSION, name: self.name.into(), software, kernel: "6".into(), cpus: 1, clock: clock(), permits }
        }

        fn prepare(&mut self, plan: &Plan, _: &AtomicBool) -> Result<Ready, vantage::Error> {
            let clients = plan.clients.as_ref().map_or(0, |c| c.client.concurrency);
            self.told.borrow_mut().push(format!("{}: batch {}, {clients} clients", self.name, plan.batch));
            Ok(Ready { batch: plan.batch, clients, losses: Losses { dropped: self.losses[0], ..Losses::default() } })
        }

        fn go(&mut self, _: Go, _: &AtomicBool) -> Result<(), vantage::Error> {
            self.told.borrow_mut().push(format!("{}: go", self.name));
            Ok(())
        }

        fn collect(&mut self, _: &AtomicBool) -> Result<Bundle, vantage::Error> {
            self.told.borrow_mut().push(format!("{}: collect", self.name));
            let mut bytes = Vec::new();
            let mut file = Evidence::begin(&mut bytes, "").expect("memory takes it");
            file.interface("eth0", 1).expect("memory takes it");
            for at in &self.frames {
                let frame = Captured { at: *at, wire_len: 60, outgoing: None, bytes: vec![0; 60] };
                file.packet(0, Some(LinkType::Ethernet), &frame, &[]).expect("memory takes it");
            }
            file.finish(0, &[]).expect("memory takes it");
            let sample = Sampled { at_ns: 1, tid: 2, cpu_ns: 3, run_delay_ns: 4, state: 'R', steal_ns: 5 };
            Ok(Bundle {
                batch: 1,
                gave_up: Vec::new(),
                clients: Vec::new(),
                frames: Pcapng(bytes),
                server: Some(Trace { samples: vec![sample], ports: [].into() }),
                log: Vec::new(),
                losses: Losses { dropped: self.losses[1], ..Losses::default() },
                late_ns: None,
                clock: clock(),
            })
        }
    }

    fn scenario() -> Scenario {
        let text = "name = \"x\"\n[client]\nkind = \"curl\"\nconcurrency = 3\n[[vantage]]\nname = \"office\"\n[[target]]\nname = \
                    \"edge\"\nrole = \"edge\"\n";
        Scenario::parse("x.toml", text, &[]).expect("it is valid")
    }

    #[test]
    fn a_batch_needs_no_more_of_its_ends_than_plans_and_bundles() {
        let (scenario, told) = (scenario(), RefCell::default());
        let target = &scenario.targets[0];
        let family = agent::Family::Any;
        let to = Destination { name: "edge.example".into(), address: None, port: 443, path: "/".into(), family, roots: None };
        let order = |batch, first_packet| Order {
            batch,
            clients: clients(&scenario, &Conditions::of(&scenario, []), "office", target, &to),
            load: None,
            first_packet,
        };
        let mut vantage = Scripted { name: "office", told: &told, losses: [3, 5], frames: vec![10, 30] };
        let mut edge = Scripted { name: "edge", told: &told, losses: [1, 1], frames: vec![20] };
        let cell = Cell { name: "office", vantage: &mut vantage, target, edge: Some(&mut edge) };
        let batch = run(cell, order(1, 1), &AtomicBool::new(false)).expect("both ends answer");
        let seen: Vec<(&str, i64)> = batch.frames.iter().map(|f| (f.host.as_str(), f.captured.at)).collect();
        assert_eq!(seen, [("office", 10), ("edge", 20), ("office", 30)], "frames of both ends, in order of time");
        assert_eq!(batch.losses.iter().map(|(_, l)| l.lost()).collect::<Vec<_>>(), [5, 1]);
        let meant = [
            "edge: batch 1, 0 clients",
            "office: batch 1, 3 clients",
            "office: go",
            "edge: go",
            "office: collect",
            "edge: collect",
        ];
        assert_eq!(told.take(), meant);

        let cell = Cell { name: "office", vantage: &mut vantage, target, edge: None };
        let batch = run(cell, order(2, 4), &AtomicBool::new(false)).expect("one end is enough");
        assert_eq!(batch.frames.len(), 2);
    }
}
