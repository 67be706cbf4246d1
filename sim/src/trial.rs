//! From a plan to a trial: what both captures hold, what both hosts' schedulers say, what was injected.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use fastrand::Rng;
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};
use pcap_file::{DataLink, Endianness, TsResolution};

use crate::MS;
use crate::beside::{exchange, unanswered};
use crate::frame::End;
use crate::host::{Sample, length};
use crate::lookup;
use crate::plaintext::Speech;
use crate::plan::{Asks, Plan};
use crate::tap::{Copies, Tap};
use crate::tls::Marks;
pub(crate) use crate::wiring::address;
use crate::wiring::{connect, in_vain, quiet};
use crate::world::{App, Sent, World};

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
    /// Both in one file, in order of their stamps, if that is how they are given.
    pub one_file: Option<Vec<(i64, Vec<u8>)>>,
    /// The client thread's counters.
    pub client_samples: Vec<Sample>,
    /// The edge thread's counters.
    pub edge_samples: Vec<Sample>,
    /// Endpoints of the judged handshake as the client's capture shows them.
    pub at_client: (SocketAddr, SocketAddr),
    /// As the edge's capture shows them.
    pub at_edge: (SocketAddr, SocketAddr),
    /// The edge's endpoint behind the translation on its own host, if its capture shows both.
    pub inside: Option<SocketAddr>,
    /// Where its messages lie.
    pub marks: Marks,
    /// Every packet of it.
    pub log: Vec<Sent>,
    /// When each of the client's and the server's steps was done, true time.
    pub steps: [Vec<i64>; 2],
}

impl Trial {
    /// Runs a plan.
    ///
    /// ```
    /// use whostalled_sim::Trial;
    /// use whostalled_sim::cases::{Grade, Setup};
    /// use whostalled_sim::tls::Version;
    ///
    /// let setup = Setup { case: 26, severity: 150, version: Version::Tls13, grade: Grade::BothAndHost, seed: 4 };
    /// let plan = setup.plan().expect("a server can be slow in any handshake").plan;
    /// assert_eq!(Trial::run(&plan, 4).edge, Trial::run(&plan, 4).edge, "the same seed gives the same bytes");
    /// ```
    pub fn run(plan: &Plan, seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mut world = World::new([plan.client_tap.clone(), plan.edge_tap.clone()], rng.fork());
        for tap in &mut world.taps {
            tap.offset += EPOCH;
        }
        let healthy = quiet(plan);
        for i in 0..plan.before {
            connect(&mut world, &healthy, i, 10 * MS + APART * i as i64, &mut rng);
        }
        let mut start = 10 * MS + APART * plan.before as i64;
        let alike = Plan { lookup: None, in_vain: None, ..plan.clone() };
        for i in 0..plan.again {
            connect(&mut world, &alike, plan.before + i, start, &mut rng);
            start += APART;
        }
        let lookup = plan.lookup.map_or(0, |lookup| lookup.took);
        let mut nth = plan.before + plan.again;
        let begins = start + lookup + plan.in_vain.map_or(0, |tried| tried.wait);
        for place in 1..=plan.queued {
            let mut ahead = alike.clone();
            let share =
                |(doing, span): &(crate::host::ThreadState, i64)| (*doing, span * place as i64 / (plan.queued as i64 + 1));
            ahead.manner.thinks[2] = plan.manner.thinks[2].iter().map(share).collect();
            connect(&mut world, &ahead, nth, begins + place as i64 * MS / 10, &mut rng);
            nth += 1;
        }
        for _ in 0..plan.spare {
            let mut spare = quiet(plan);
            spare.manner.speech = Speech::Silence;
            spare.manner.thinks[0] = vec![(crate::host::ThreadState::Asleep, 5_000 * MS)];
            connect(&mut world, &spare, nth, begins + MS / 5, &mut rng);
            nth += 1;
        }
        if let Some(tried) = plan.in_vain {
            in_vain(&mut world, plan, tried, start + lookup, &mut rng);
        }
        let id = connect(&mut world, plan, nth, begins, &mut rng);
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
        for (frames, beside) in [&mut client, &mut edge].into_iter().zip(std::mem::take(&mut world.beside)) {
            frames.extend(beside);
        }
        if let Some(lookup) = plan.lookup {
            client.extend(lookup.frames(at_client, start));
        }
        let thought = |end: End, step: usize, think: &crate::host::Think| {
            steps[end as usize].get(step).map(|done| (*done - length(think), *done))
        };
        if let Some(asks) = plan.client_asks
            && let Some((from, to)) = thought(End::Client, marks.finishing_step, &plan.manner.thinks[1])
        {
            client.extend(asked(asks, at_client.0.ip(), from + MS / 2, to - MS / 2));
        }
        if let Some(asks) = plan.edge_asks
            && let Some((from, to)) = thought(End::Server, marks.flight_step, &plan.manner.thinks[2])
        {
            edge.extend(asked(asks, at_edge.1.ip(), from + MS / 2, to - MS / 2));
        }
        let [client, edge] = [(0, client), (1, edge)].map(|(tap, frames)| world.taps[tap].written(frames));
        let one_file = plan.one_file.then(|| {
            let mut all = [client.clone(), edge.clone()].concat();
            all.sort_by_key(|(at, _)| *at);
            all
        });
        let inside = match world.taps[1].copies {
            Copies::Translated(inside) => Some(inside),
            _ => None,
        };
        let own_clock = |tap: &Tap, samples: Vec<Sample>| -> Vec<Sample> {
            samples.into_iter().map(|s| Sample { at: tap.steady_clock(s.at), ..s }).collect()
        };
        let client_samples = own_clock(&world.taps[0], world.hosts[0].samples(start - 5 * MS, end, &mut rng));
        let edge_samples = own_clock(&world.taps[1], world.hosts[1].samples(start - 5 * MS, end, &mut rng));
        Self { client, edge, one_file, client_samples, edge_samples, at_client, at_edge, inside, marks, log, steps }
    }

    /// How long the message of `from` that ends at `end` waited for the copy that arrived: the cost of losing the others.
    /// Nothing, if the first copy arrived as well.
    pub fn lost_for(&self, from: End, end: usize) -> i64 {
        self.completed(from, end).zip(self.first_of(from, end)).map_or(0, |(sent, first)| (sent.at - first).max(0))
    }

    /// How long the message of `from` that ends at `end` was under way, from the departure of its first copy to the arrival that completed
    /// it.
    pub fn under_way(&self, from: End, end: usize) -> i64 {
        self.took(from, end - 1, end)
    }

    /// How long what `from` said from `start` to `end` took, from its first departure to the arrival that completed it.
    pub fn took(&self, from: End, start: usize, end: usize) -> i64 {
        let arrived = self.completed(from, end).and_then(|sent| sent.arrived);
        arrived.zip(self.first_of(from, start + 1)).map_or(0, |(arrived, first)| arrived - first)
    }

    /// When the byte before `end` left first.
    fn first_of(&self, from: End, end: usize) -> Option<i64> {
        let carries = |s: &&Sent| s.from == from && !s.syn && s.start < end && s.end >= end;
        self.log.iter().find(carries).map(|s| s.at)
    }

    /// The packet with which all that `from` said before `end` had come.
    fn completed(&self, from: End, end: usize) -> Option<&Sent> {
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
                return Some(sent);
            }
        }
        None
    }

    /// The same for SYN or SYN-ACK.
    pub fn syn_lost_for(&self, from: End) -> i64 {
        let mut syns = self.log.iter().filter(|s| s.from == from && s.syn);
        let first = syns.next();
        let arrived = self.log.iter().filter(|s| s.from == from && s.syn && s.arrived.is_some()).min_by_key(|s| s.arrived);
        first.zip(arrived).map_or(0, |(first, arrived)| arrived.at - first.at)
    }
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

/// What an end asks somebody else within `[from, to]`, as its capture shows it.
fn asked(asks: Asks, host: IpAddr, from: i64, to: i64) -> Vec<(i64, Vec<u8>)> {
    match asks {
        Asks::Answered => exchange(host, from, to),
        Asks::Unanswered => unanswered(host, from, to),
        Asks::NameServer => lookup::unanswered(host, from, to),
    }
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
