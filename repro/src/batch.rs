//! One batch of one cell: a plan for each end, a bundle from each, joined into handshakes.
//!
//! What no packet shows, the clients themselves may: their sockets, or their own clocks ([`Seen`]).

mod attempts;
mod ends;
mod straighten;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use agent::{Bundle, ClientEnd, Clients, Destination, Load, LogLine, Losses, Spin};
use analysis::clock::{Client, Edge as AtEdge, Instant as Stamp, Span, Unplaced};
use analysis::conversation::handshake::{EdgeLog, Handshake, pairs};
use analysis::dns::Lookups;
use analysis::doubt::one_way::Bounds;
use analysis::key::Key;
use analysis::tcp::table::FlowTable;
use analysis::tls::client_random;
use analysis::wire::packet::{LinkType, Transport, decode};
use capture::Captured;
use capture::file::Reader;
use vantage::Vantage;

use crate::Error;
use ends::{Compared, Edge, Told, Watched};

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

/// Cells of one target: several start together.
pub struct Cells<'a, 'v> {
    /// Their vantages.
    pub members: Vec<Member<'a, 'v>>,
    /// The target.
    pub target: &'a TargetSpec,
    /// Who watches at the target; absent: the run has one end.
    pub edge: Option<&'a mut (dyn Vantage + 'v)>,
}

/// A vantage, by name and at hand, and what it is to do.
pub struct Member<'a, 'v> {
    /// The vantage's name.
    pub name: &'a str,
    /// The vantage.
    pub vantage: &'a mut (dyn Vantage + 'v),
    /// What it is to do.
    pub order: Order,
}

/// What became of the cells.
pub struct Ran {
    /// Of each vantage, by name; a vantage may fail by itself.
    pub batches: Vec<(String, Result<Batch, vantage::Error>)>,
    /// Why nobody watched at the target, where somebody should have.
    pub unwatched: Option<vantage::Error>,
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
    /// How late its clients started, where they were to start with others.
    pub start: Option<Start>,
    /// How far the edge's clock was ahead of the clients', where both were compared with ours.
    pub edge_ahead: Option<Bounds>,
    /// How long the clients' host took for its loop of fixed size behind the batch.
    pub spin: Option<Spin>,
    /// CPU time that the hypervisor of the clients' host took while they ran; absent where no sample tells.
    pub stolen: Option<Span>,
}

/// A start that was to be together with others.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Start {
    /// So much after the moment that was set, by the vantage's own clock.
    pub late: Span,
    /// By so much that clock may be off the controller's; absent where it was set meanwhile.
    pub clock_error: Option<Span>,
}

/// The clients that one batch of a cell launches.
pub fn clients(scenario: &Scenario, conditions: &Conditions, vantage: &str, target: &TargetSpec, to: &Destination) -> Clients {
    let does = conditions.clients.get(vantage).cloned().unwrap_or_default();
    Clients {
        client: scenario.client.clone(),
        to: to.clone(),
        pauses: does.pauses,
        distrust: does.distrust,
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
}

/// Runs one batch of cells. `first_packet` is the number of its first frame; the frames of one cell follow those of the one before.
///
/// # Errors
/// If packets cannot be read. A client's failure is data; that of a vantage, or of whoever watches at the target, is told.
pub fn run(cells: Cells<'_, '_>, first_packet: u64, stop: &AtomicBool) -> Result<Ran, Error> {
    let Cells { mut members, target, edge } = cells;
    let batch = members.first().map_or(0, |member| member.order.batch);
    let edge = edge.map(|edge| Edge::prepare(edge, batch, stop)).transpose();
    let told = ends::ask(&mut members, stop);
    let mut found = Vec::new();
    for (member, told) in members.iter().zip(told) {
        found.push(match told {
            Ok(told) => Ok((frames_of(member.name, &told.bundle)?, told)),
            Err(error) => Err(error),
        });
    }
    let keys = members.iter().zip(&found).filter_map(|(member, found)| {
        let (frames, _) = found.as_ref().ok()?;
        Some(keys(frames, member.order.clients.to.port))
    });
    let keys = keys.flatten().collect();
    let watched = edge.and_then(|edge| edge.map(|edge| edge.collect(keys, stop)).transpose());
    let (watched, unwatched) = watched.map_or_else(|error| (None, Some(error)), |watched| (watched, None));
    // Where others connect too, what was seen at the target is not all of this cell.
    let alone = members.len() == 1 && target.url.is_none();
    let (mut batches, mut next) = (Vec::new(), first_packet);
    for (member, found) in members.iter().zip(found) {
        let port = member.order.clients.to.port;
        let batch = match found {
            Ok((frames, told)) => {
                let batch = Joining { name: member.name, port, target, alone, first_packet: next }.join(
                    frames,
                    told,
                    watched.as_ref(),
                )?;
                next += batch.frames.len() as u64;
                Ok(batch)
            }
            Err(error) => Err(error),
        };
        batches.push((member.name.to_owned(), batch));
    }
    Ok(Ran { batches, unwatched })
}

/// What is to be joined into a batch.
struct Joining<'a> {
    name: &'a str,
    port: u16,
    target: &'a TargetSpec,
    /// Nobody else connects to the target.
    alone: bool,
    first_packet: u64,
}

impl Joining<'_> {
    fn join(self, mut frames: Vec<Frame>, told: Told, watched: Option<&Watched>) -> Result<Batch, Error> {
        let Self { name, port, target, alone, first_packet } = self;
        let Told { lost_before, bundle: seen, clock } = told;
        let at_edge = watched.map(|watched| &watched.bundle);
        // Of a real target nobody knows which port a translation on the way makes of ours.
        let edge_port = target.url.is_none().then_some(port);
        let mut gave_up = seen.gave_up.clone();
        if clock == Some(Compared::Set) {
            gave_up.push(format!("the clock of {name} was set while clients ran: of one way alone nothing is said there"));
        }
        let mut losses = vec![(name.to_owned(), seen.losses)];
        if let Some(at_edge) = at_edge {
            let mut theirs = frames_of(&target.name, at_edge)?;
            if !alone {
                theirs = of_the_cell(&frames, theirs, name, port, edge_port);
            }
            frames.extend(theirs);
            losses.push((target.name.clone(), at_edge.losses));
            gave_up.extend(at_edge.gave_up.iter().cloned());
        }
        in_order_of_time(&mut frames);
        let lost_before = lost_before + watched.map_or(0, |watched| watched.lost_before);
        let lost = losses.iter().map(|(_, losses)| losses.lost()).sum::<u64>().saturating_sub(lost_before);
        let in_order: Vec<&Frame> = frames.iter().collect();
        let mut handshakes = analyse(&in_order, name, port, edge_port, first_packet, &seen.clients);
        for handshake in &mut handshakes {
            testify(handshake, &seen, at_edge);
            handshake.capture_lost = lost;
        }
        let mut all: Vec<Seen> = handshakes.into_iter().map(|handshake| Seen::Packets(Box::new(handshake))).collect();
        let unseen = seen.clients.iter().filter(|c| !all.iter().any(|s| c.has_port(s.client().port())));
        let told: Vec<Seen> = unseen.filter_map(Seen::told_by).collect();
        all.extend(told);
        let edge_ahead = watched.and_then(|watched| clock?.to(watched.clock?));
        let start = seen.late_ns.map(|late| Start { late, clock_error: clock.and_then(Compared::error) });
        let (spin, stolen) = (seen.spin, stolen(&seen.clients));
        Ok(Batch { frames, seen: all, clients: seen.clients, losses, gave_up, start, edge_ahead, spin, stolen })
    }
}

/// Puts frames of several hosts in order of time, those of one host staying in the order of their capture: a clock that was set back has
/// not changed that.
fn in_order_of_time(frames: &mut [Frame]) {
    let mut latest: BTreeMap<String, Stamp<Unplaced>> = BTreeMap::new();
    frames.sort_by_cached_key(|frame| {
        let at = latest.entry(frame.host.clone()).or_insert(Stamp::MIN);
        *at = frame.captured.at.max(*at);
        *at
    });
}

/// What was stolen between the first sample and the last: the counter is the host's, whichever client shows it.
fn stolen(clients: &[ClientEnd]) -> Option<Span> {
    let all = || clients.iter().flat_map(|client| &client.trace.samples).map(|sample| sample.steal_ns);
    Some(all().max()? - all().min()?)
}

/// Adds to a handshake what was seen beside its packets: the client's host, the edge's host and log.
fn testify(handshake: &mut Handshake, seen: &Bundle, at_edge: Option<&Bundle>) {
    let client = handshake.endpoints.client;
    let ours = |c: &&ClientEnd| c.has_port(client.port());
    handshake.client_host = seen.clients.iter().find(ours).map(|c| c.trace.on::<Client>());
    let Some(at_edge) = at_edge else { return };
    let on_edge = |at: Stamp<Unplaced>| Stamp::from_nanos(at.nanos());
    handshake.edge_host = at_edge.server.as_ref().map(|trace| trace.on::<AtEdge>());
    let logged = |l: &LogLine| EdgeLog { accepted: on_edge(l.accepted_ns), finished: l.finished_ns.map(on_edge) };
    handshake.edge_log = at_edge.log.iter().rfind(|l| same(l.peer, client)).map(logged);
}

/// The edge's frames of connections that the client's frames show too.
fn of_the_cell(clients: &[Frame], edge: Vec<Frame>, vantage: &str, port: u16, edge_port: Option<u16>) -> Vec<Frame> {
    let first = 1 + clients.len() as u64;
    let numbered: Vec<&Frame> = clients.iter().chain(&edge).collect();
    let joined = analyse(&numbered, vantage, port, edge_port, 1, &[]);
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

/// By what somebody at the target finds the connections that the clients' frames show.
fn keys(clients: &[Frame], port: u16) -> Vec<Key> {
    let mut keys = BTreeSet::new();
    for frame in clients {
        let Ok(Transport::Tcp(segment)) = decode(frame.link, &frame.captured.bytes) else { continue };
        if segment.destination().port() == port {
            keys.insert(Key::Ends { client: segment.source(), server: Some(segment.destination()) });
            keys.extend(client_random(segment.payload).map(Key::Random));
        }
    }
    keys.into_iter().collect()
}

/// Frames → views of both ends → joined handshakes, each with what its client did before it: the lookup, the addresses that it tried in
/// vain. Of the clients' frames those of their `port` count; of the edge's those of its own, where that is known.
fn analyse(
    frames: &[&Frame],
    vantage: &str,
    port: u16,
    edge_port: Option<u16>,
    first_packet: u64,
    clients: &[ClientEnd],
) -> Vec<Handshake> {
    let mut client: FlowTable<Client> = FlowTable::default();
    let mut edge: FlowTable<AtEdge> = FlowTable::default();
    let mut lookups = Lookups::default();
    for (number, frame) in (first_packet..).zip(frames) {
        let at = frame.captured.at.nanos();
        match decode(frame.link, &frame.captured.bytes) {
            Ok(Transport::Tcp(s)) => {
                let at_client = frame.host == vantage;
                let serves = |port: u16| [s.source().port(), s.destination().port()].contains(&port);
                match if at_client { Some(port) } else { edge_port } {
                    Some(port) if !serves(port) => {}
                    _ if at_client => drop(client.push(Stamp::from_nanos(at), number, &s)),
                    _ => drop(edge.push(Stamp::from_nanos(at), number, &s)),
                }
            }
            Ok(Transport::Udp(d)) if frame.host == vantage => {
                lookups.push(Stamp::from_nanos(at), number, d.source, d.destination, d.payload);
            }
            _ => {}
        }
    }
    let mut handshakes = straighten::all(pairs(client.into_views(), edge.into_views()));
    handshakes.retain(|h| h.client.is_some() || h.dialogue.is_tls());
    handshakes.sort_by_key(|h| h.client.as_ref().and_then(|v| v.packets.first()).map(|p| p.at));
    attempts::fold(&mut handshakes, clients);
    for handshake in &mut handshakes {
        let begun = handshake.client.as_ref().and_then(|v| v.packets.first()).map(|first| first.at);
        if let Some(begun) = handshake.tried.first().map(|tried| tried.from).or(begun) {
            handshake.lookup = lookups.take_for(handshake.endpoints.server.ip(), begun).map(Box::new);
        }
    }
    handshakes
}

/// The same end, whether or not IPv4 came mapped into IPv6.
fn same(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() == b.port() && a.ip().to_canonical() == b.ip().to_canonical()
}

#[cfg(test)]
mod clocks;
#[cfg(test)]
mod translated;
#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use agent::{Clock, ClockError, Go, Hello, Pcapng, Permits, Plan, Ready, Sampled, Trace, VERSION};
    use capture::evidence::Evidence;

    use super::*;

    /// An end that is no lab: it says what it was told and hands over what it was given.
    struct Scripted<'a> {
        name: &'static str,
        told: &'a Mutex<Vec<String>>,
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
            let (name, kernel) = (self.name.into(), "6".into());
            Hello { version: VERSION, name, software, kernel, cpus: 1, clock: clock(), permits, spin: None }
        }

        fn prepare(&mut self, plan: &Plan, _: &AtomicBool) -> Result<Ready, vantage::Error> {
            let clients = plan.clients.as_ref().map_or(0, |c| c.client.concurrency);
            self.told.lock().expect("no test panics").push(format!("{}: batch {}, {clients} clients", self.name, plan.batch));
            Ok(Ready { batch: plan.batch, clients, losses: Losses { dropped: self.losses[0], ..Losses::default() } })
        }

        fn go(&mut self, _: Go, _: &AtomicBool) -> Result<(), vantage::Error> {
            self.told.lock().expect("no test panics").push(format!("{}: go", self.name));
            Ok(())
        }

        fn collect(&mut self, _: &AtomicBool) -> Result<Bundle, vantage::Error> {
            self.told.lock().expect("no test panics").push(format!("{}: collect", self.name));
            let mut bytes = Vec::new();
            let mut file = Evidence::begin(&mut bytes, "").expect("memory takes it");
            file.interface("eth0", 1).expect("memory takes it");
            for at in &self.frames {
                let frame = Captured { at: Stamp::from_nanos(*at), wire_len: 60, outgoing: None, bytes: vec![0; 60] };
                file.packet(0, Some(LinkType::Ethernet), &frame, &[]).expect("memory takes it");
            }
            file.finish(Stamp::from_nanos(0), &[]).expect("memory takes it");
            let [cpu_ns, run_delay_ns, steal_ns] = [3, 4, 5].map(Span::from_nanos);
            let sample = Sampled { at_ns: Stamp::from_nanos(1), tid: 2, cpu_ns, run_delay_ns, state: 'R', steal_ns };
            Ok(Bundle {
                batch: 1,
                gave_up: Vec::new(),
                clients: Vec::new(),
                frames: Pcapng(bytes),
                server: Some(Trace { samples: vec![sample], ..Trace::default() }),
                log: Vec::new(),
                losses: Losses { dropped: self.losses[1], ..Losses::default() },
                late_ns: None,
                clock: clock(),
                spin: None,
            })
        }
    }

    fn alone(ran: Result<Ran, Error>) -> Batch {
        let Ran { mut batches, unwatched } = ran.expect("the packets can be read");
        assert!(unwatched.is_none() && batches.len() == 1);
        batches.remove(0).1.expect("the vantage answers")
    }

    fn scenario() -> Scenario {
        let text = "name = \"x\"\n[client]\nkind = \"curl\"\nconcurrency = 3\n[[vantage]]\nname = \"office\"\n[[target]]\nname = \
                    \"edge\"\nrole = \"edge\"\n";
        Scenario::parse("x.toml", text, &[]).expect("it is valid")
    }

    #[test]
    fn a_batch_needs_no_more_of_its_ends_than_plans_and_bundles() {
        let (scenario, told) = (scenario(), Mutex::default());
        let target = &scenario.targets[0];
        let to = Destination::new("edge.example", 443);
        let order = |batch| Order {
            batch,
            clients: clients(&scenario, &Conditions::of(&scenario, []), "office", target, &to),
            load: None,
        };
        let mut vantage = Scripted { name: "office", told: &told, losses: [3, 5], frames: vec![10, 30] };
        let mut edge = Scripted { name: "edge", told: &told, losses: [1, 1], frames: vec![20] };
        let members = vec![Member { name: "office", vantage: &mut vantage, order: order(1) }];
        let batch = alone(run(Cells { members, target, edge: Some(&mut edge) }, 1, &AtomicBool::new(false)));
        let seen: Vec<(&str, i64)> = batch.frames.iter().map(|f| (f.host.as_str(), f.captured.at.nanos())).collect();
        assert_eq!(seen, [("office", 10), ("edge", 20), ("office", 30)], "frames of both ends, in order of time");
        assert_eq!(batch.losses.iter().map(|(_, l)| l.lost()).collect::<Vec<_>>(), [5, 1]);
        let meant = [
            "edge: batch 1, 0 clients",
            "edge: go",
            "office: batch 1, 3 clients",
            "office: go",
            "office: collect",
            "edge: collect",
        ];
        assert_eq!(std::mem::take(&mut *told.lock().expect("no test panics")), meant);

        let members = vec![Member { name: "office", vantage: &mut vantage, order: order(2) }];
        let batch = alone(run(Cells { members, target, edge: None }, 4, &AtomicBool::new(false)));
        assert_eq!(batch.frames.len(), 2);
    }
}
