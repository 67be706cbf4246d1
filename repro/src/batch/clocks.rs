//! Both ends' packets of real stacks, with one end's clock elsewhere: verdicts must not move.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use agent::{
    Bundle, ClientKind, ClientSpec, Clients, Clock, ClockError, Destination, Go, Hello, Losses, Pcapng, Permits, Plan, Ready,
};
use analysis::clock::{Instant, Span, Unplaced};
use analysis::doubt::offset::crossings;
use analysis::doubt::one_way::Bounds;
use analysis::judging::run::{Cell as Judging, Compare, Role, apply_baselines};
use analysis::judging::verdict::Verdict;
use analysis::tcp::flow::Side;
use capture::Captured;
use capture::evidence::Evidence;
use capture::file::Reader;
use vantage::{Ahead, Vantage, host};

use super::{Batch, Cells, Member, Order, run};
use crate::scenario::Scenario;
use crate::seen::Seen;

/// What is done to one end's clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clockwork {
    /// It is ahead by so many nanoseconds.
    ahead: i64,
    /// It runs faster by so many parts per million.
    ppm: i64,
    /// It is set forward by so much in the middle of each handshake.
    step: i64,
}

/// An end whose packets lie in a file.
pub(super) struct Recorded {
    pub(super) frames: Vec<(u32, i32, Captured)>,
    clock: Clockwork,
    /// Draws how exchanges of times go.
    draw: fastrand::Rng,
    /// Exchanges so far: one before the packets, one behind them.
    exchanges: i64,
}

impl Recorded {
    pub(super) fn of(path: &Path, clock: Clockwork) -> Self {
        let mut reader = Reader::open(path, None).expect("a recording of the zoo");
        let mut frames = Vec::new();
        while let Some(frame) = reader.next_frame().expect("it is whole") {
            let captured = Captured { at: frame.at, wire_len: frame.wire_len, outgoing: None, bytes: frame.bytes.to_vec() };
            frames.push((frame.interface, frame.link_number, captured));
        }
        let seed = frames.len() as u64 ^ clock.ahead.unsigned_abs();
        Self { frames, clock, draw: fastrand::Rng::with_seed(seed), exchanges: 0 }
    }

    /// When its first packet passed, and its last.
    fn ends(&self) -> (Instant<Unplaced>, Instant<Unplaced>) {
        let at = |frame: Option<&(u32, i32, Captured)>| frame.map_or(Instant::from_nanos(0), |(_, _, captured)| captured.at);
        (at(self.frames.first()), at(self.frames.last()))
    }

    /// An exchange of times with a controller whose clock is right: the answer was read anywhere between question and answer. The first
    /// comes a little before the packets, the second a little behind them.
    fn exchange(&mut self) -> Ahead {
        let Clockwork { ahead, ppm, step } = self.clock;
        let (first, last) = self.ends();
        let length = (last - first).nanos();
        let since = if self.exchanges == 0 { -50_000_000 } else { length + 50_000_000 };
        let stepped = if self.exchanges == 0 { 0 } else { step };
        self.exchanges += 1;
        let taken = self.draw.i64(100_000..4_000_000);
        let read_at = self.draw.i64(0..=taken);
        let is = ahead + since / 1_000_000 * ppm + stepped;
        Ahead { by: Span::from_nanos(is + read_at - taken / 2), error: Span::from_nanos(taken / 2) }
    }
}

impl Vantage for Recorded {
    fn hello(&self) -> Hello {
        let permits = Permits { quotas: false, real_time: false, no_packets: None };
        host::hello("recorded", Clock { source: "tsc".into(), error: ClockError::Unknown }, permits)
    }

    fn prepare(&mut self, plan: &Plan, _: &AtomicBool) -> Result<Ready, vantage::Error> {
        Ok(Ready { batch: plan.batch, clients: 0, losses: Losses::default() })
    }

    fn compare(&mut self, _: &AtomicBool) -> Result<Option<Ahead>, vantage::Error> {
        Ok(Some(self.exchange()))
    }

    fn go(&mut self, _: Go, _: &AtomicBool) -> Result<(), vantage::Error> {
        Ok(())
    }

    fn collect(&mut self, _: &AtomicBool) -> Result<Bundle, vantage::Error> {
        let Clockwork { ahead, ppm, step } = self.clock;
        let (first, last) = self.ends();
        let middle = Instant::from_nanos(i64::midpoint(first.nanos(), last.nanos()));
        let mut bytes = Vec::new();
        let mut file = Evidence::begin(&mut bytes, "").expect("memory takes it");
        let interface = file.interface("eth0", self.frames.first().map_or(1, |(_, link, _)| *link)).expect("memory takes it");
        for (_, _, frame) in &self.frames {
            let since = (frame.at - first).nanos();
            let stepped = if frame.at >= middle { step } else { 0 };
            let at = frame.at + Span::from_nanos(ahead + since / 1_000_000 * ppm + stepped);
            let link = Some(analysis::wire::packet::LinkType::Ethernet);
            file.packet(interface, link, &Captured { at, ..frame.clone() }, &[]).expect("memory takes it");
        }
        file.finish(Instant::from_nanos(0), &[]).expect("memory takes it");
        let clock = Clock { source: "tsc".into(), error: ClockError::Unknown };
        Ok(Bundle {
            batch: 1,
            gave_up: Vec::new(),
            clients: Vec::new(),
            frames: Pcapng(bytes),
            server: None,
            log: Vec::new(),
            losses: Losses::default(),
            late_ns: None,
            clock,
            spin: None,
        })
    }
}

/// The batch of two ends; the target is a lab's, or real.
pub(super) fn ran(mut client: Recorded, mut edge: Recorded, url: &str) -> Batch {
    let (kind, url) = if url.is_empty() { ("", String::new()) } else { ("kind = \"here\"\n", format!("url = \"{url}\"\n")) };
    let text = format!(
        "name = \"x\"\n[client]\nkind = \"probe\"\n[[vantage]]\nname = \"here\"\n{kind}[[target]]\nname = \"edge\"\nrole = \"edge\"\n{url}"
    );
    let scenario = Scenario::parse("x.toml", &text, &[]).expect("it is valid");
    let to = Destination::new("edge", PORT);
    let clients = Clients {
        client: ClientSpec::new(ClientKind::Probe),
        to,
        distrust: false,
        pauses: Vec::new(),
        stops: None,
        settle: settings::Time::default(),
    };
    let order = Order { batch: 1, clients, load: None };
    let members = vec![Member { name: "here", vantage: &mut client, order }];
    let cells = Cells { members, target: &scenario.targets[0], edge: Some(&mut edge) };
    let mut ran = run(cells, 1, &AtomicBool::new(false)).expect("both ends are recorded");
    ran.batches.remove(0).1.expect("both ends are recorded")
}

/// The batch of a recording.
fn batch(case: &Path, of_client: Clockwork, of_edge: Clockwork) -> Batch {
    let recorded = |end: &str, clock| Recorded::of(&case.join(end).with_extension("pcap.zst"), clock);
    ran(recorded("client", of_client), recorded("edge", of_edge), "")
}

/// Client's port, verdict, and whether a clock is in doubt, of each handshake of a recording.
fn verdicts(case: &Path, of_client: Clockwork, of_edge: Clockwork) -> BTreeMap<u16, (String, bool)> {
    verdicts_of(&batch(case, of_client, of_edge))
}

/// The same of a batch.
pub(super) fn verdicts_of(batch: &Batch) -> BTreeMap<u16, (String, bool)> {
    let seen: Vec<_> = batch.seen.iter().filter_map(|seen| Some((seen, seen.read()?))).collect();
    let readings = seen.iter().map(|(_, reading)| reading.clone()).collect();
    let (vantage, target) = ("here".to_owned(), "edge".to_owned());
    let mut cells =
        [Judging { vantage, target, role: Role::Edge, stated_rtt: None, distance: None, servers: BTreeSet::new(), readings }];
    apply_baselines(&mut cells, Compare::AcrossTargets);
    let judged = seen.iter().zip(&mut cells[0].readings).map(|((seen, _), reading)| {
        let verdict = seen.judge(reading, None).verdict;
        // A cause is the same though its name be more or less exact.
        let who = match &verdict {
            Verdict::Culprit { primary, .. } => primary.owner.side().label().to_owned(),
            other => other.label(),
        };
        let doubt = matches!(seen, Seen::Packets(handshake) if handshake.clock_in_doubt);
        (seen.client().port(), (who, doubt))
    });
    judged.collect()
}

/// Where most servers of the zoo listen.
const PORT: u16 = 4_433;

pub(super) const RIGHT: Clockwork = Clockwork { ahead: 0, ppm: 0, step: 0 };

pub(super) fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../zoo/recorded");
    let all = std::fs::read_dir(folder).expect("the zoo's recording").flatten().map(|entry| entry.path());
    let mut both: Vec<PathBuf> =
        all.filter(|case| case.join("client.pcap.zst").exists() && case.join("edge.pcap.zst").exists()).collect();
    both.sort();
    assert!(both.len() >= 20, "{} cases", both.len());
    both
}

#[test]
fn clocks_that_are_apart_or_drift_move_no_verdict() {
    let second = Span::from_millis(1_000).nanos();
    let elsewhere = [
        Clockwork { ahead: 37 * second, ..RIGHT },
        Clockwork { ahead: -310 * second, ppm: 200, ..RIGHT },
        Clockwork { ppm: -200, ..RIGHT },
    ];
    let (mut compared, mut moved) = (0, Vec::new());
    for case in cases() {
        let right = verdicts(&case, RIGHT, RIGHT);
        for clock in elsewhere {
            let found = verdicts(&case, clock, RIGHT);
            compared += found.len();
            let other = |(port, was): &(&u16, &(String, bool))| found.get(port) != Some(was);
            moved.extend(
                right.iter().filter(other).map(|(port, was)| (case.clone(), clock, was.clone(), found.get(port).cloned())),
            );
        }
    }
    assert!(compared > 600, "{compared} handshakes");
    assert!(moved.is_empty(), "{} of {compared}: {:#?}", moved.len(), &moved[..moved.len().min(5)]);
}

#[test]
fn a_clock_that_is_set_in_the_middle_blames_nobody_else() {
    let (mut compared, mut blamed) = (0, Vec::new());
    for case in cases() {
        let right = verdicts(&case, RIGHT, RIGHT);
        for step in [300, -2_000] {
            let clock = Clockwork { step: Span::from_millis(step).nanos(), ..RIGHT };
            let found = verdicts(&case, clock, RIGHT);
            compared += found.len();
            // Open is allowed, another culprit is not. Of clocks that were in doubt before, nothing is known.
            let other = |(port, was): &(&u16, &(String, bool))| {
                !was.1 && found.get(port).is_none_or(|is| is.0 != was.0 && is.0 != "inconclusive")
            };
            blamed.extend(
                right.iter().filter(other).map(|(port, was)| (case.clone(), step, was.clone(), found.get(port).cloned())),
            );
        }
    }
    assert!(compared > 400, "{compared} handshakes");
    assert!(blamed.is_empty(), "{} of {compared}: {:#?}", blamed.len(), &blamed[..blamed.len().min(5)]);
}

/// The least way out and back of each handshake, by clocks that are right: the recordings were made on one machine.
fn true_ways(case: &Path) -> BTreeMap<u16, [Span; 2]> {
    let batch = batch(case, RIGHT, RIGHT);
    let ways = batch.seen.iter().filter_map(|seen| {
        let exact = seen.one_way(Bounds { least: Span::ZERO, most: Span::ZERO })?;
        let middle = |[least, most]: [Span; 2]| Span::from_nanos(i64::midpoint(least.nanos(), most.nanos()));
        let Seen::Packets(handshake) = seen else { return None };
        let crossings = crossings(handshake.client.as_ref()?, handshake.edge.as_ref()?);
        let of = |side| crossings.iter().filter(move |c| c.from == side).map(|c| c.difference);
        let truth = [of(Side::Client).min()?, Span::ZERO - of(Side::Server).max()?];
        assert!((middle(exact.out) - truth[0]).abs() < Span::from_millis(1), "{exact:?}, {truth:?}");
        Some((seen.client().port(), truth))
    });
    ways.collect()
}

/// What is said of ways, and what of it is not so.
#[derive(Default)]
struct Ways {
    said: usize,
    unsaid: usize,
    wrong: Vec<(PathBuf, Clockwork, Span, [Span; 2])>,
    widths: Vec<Span>,
}

/// The ways of every case, by these clocks of the client and the edge.
fn ways(clocks: &[(Clockwork, Clockwork)]) -> Ways {
    let mut found = Ways::default();
    for case in cases() {
        let truth = true_ways(&case);
        for (of_client, of_edge) in clocks {
            let batch = batch(&case, *of_client, *of_edge);
            for seen in &batch.seen {
                let Some(truth) = truth.get(&seen.client().port()) else { continue };
                let Some(ways) = batch.edge_ahead.and_then(|ahead| seen.one_way(ahead)) else {
                    found.unsaid += 1;
                    continue;
                };
                found.said += 2;
                found.widths.push(ways.out[1] - ways.out[0]);
                for ([least, most], truth) in [(ways.out, truth[0]), (ways.back, truth[1])] {
                    if truth < least || truth > most {
                        found.wrong.push((case.clone(), *of_client, truth, [least, most]));
                    }
                }
            }
        }
    }
    found
}

#[test]
fn the_way_out_and_the_way_back_lie_between_their_bounds_whatever_the_clocks() {
    let second = Span::from_millis(1_000).nanos();
    let elsewhere = [
        RIGHT,
        Clockwork { ahead: 37 * second, ..RIGHT },
        Clockwork { ahead: -310 * second, ppm: 200, ..RIGHT },
        Clockwork { ppm: -200, ..RIGHT },
        Clockwork { ahead: second, step: Span::from_millis(300).nanos(), ..RIGHT },
        Clockwork { step: Span::from_millis(-2_000).nanos(), ..RIGHT },
        // Less than the exchange can see.
        Clockwork { step: Span::from_micros(400).nanos(), ..RIGHT },
    ];
    let apart = elsewhere.map(|clock| [(clock, RIGHT), (RIGHT, clock), (clock, Clockwork { ahead: -second, ppm: 200, step: 0 })]);
    // Thousands of batches: half of the clocks to each thread.
    let (one, other) = apart.as_flattened().split_at(apart.as_flattened().len() / 2);
    let [one, other] = std::thread::scope(|scope| {
        [one, other].map(|clocks| scope.spawn(|| ways(clocks))).map(|half| half.join().expect("its own assertions hold"))
    });
    let (said, unsaid) = (one.said + other.said, one.unsaid + other.unsaid);
    let (wrong, mut widths) = ([one.wrong, other.wrong].concat(), [one.widths, other.widths].concat());
    widths.sort_unstable();
    println!(
        "{said} intervals, {} do not hold the truth; {unsaid} handshakes without; median width {}",
        wrong.len(),
        widths[widths.len() / 2]
    );
    assert!(said > 3_000, "{said}");
    assert!(wrong.len() * 1_000 <= said, "{} of {said}: {:#?}", wrong.len(), &wrong[..wrong.len().min(5)]);
    // Where clocks are whole, it can be said.
    assert!(unsaid * 2 < said, "{unsaid} handshakes without, {said} intervals");
}
