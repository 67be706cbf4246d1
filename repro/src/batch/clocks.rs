//! Both ends' packets of real stacks, with one end's clock elsewhere: verdicts must not move.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use agent::{
    Bundle, ClientKind, ClientSpec, Clients, Clock, ClockError, Destination, Family, Go, Hello, Losses, Pcapng, Permits, Plan,
    Ready,
};
use analysis::clock::Span;
use analysis::judging::run::{Cell as Judging, Compare, Role, apply_baselines};
use analysis::judging::verdict::Verdict;
use capture::Captured;
use capture::evidence::Evidence;
use capture::file::Reader;
use vantage::{Vantage, host};

use super::{Cell, Order, run};
use crate::scenario::Scenario;
use crate::seen::Seen;

/// What is done to one end's clock.
#[derive(Clone, Copy, Debug)]
struct Clockwork {
    /// It is ahead by so many nanoseconds.
    ahead: i64,
    /// It runs faster by so many parts per million.
    ppm: i64,
    /// It is set forward by so much in the middle of each handshake.
    step: i64,
}

/// An end whose packets lie in a file.
struct Recorded {
    frames: Vec<(u32, i32, Captured)>,
    clock: Clockwork,
}

impl Recorded {
    fn of(path: &Path, clock: Clockwork) -> Self {
        let mut reader = Reader::open(path, None).expect("a recording of the zoo");
        let mut frames = Vec::new();
        while let Some(frame) = reader.next_frame().expect("it is whole") {
            let captured = Captured { at: frame.at, wire_len: frame.wire_len, outgoing: None, bytes: frame.bytes.to_vec() };
            frames.push((frame.interface, frame.link_number, captured));
        }
        Self { frames, clock }
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

    fn go(&mut self, _: Go, _: &AtomicBool) -> Result<(), vantage::Error> {
        Ok(())
    }

    fn collect(&mut self, _: &AtomicBool) -> Result<Bundle, vantage::Error> {
        let Clockwork { ahead, ppm, step } = self.clock;
        let first = self.frames.first().map_or(0, |(_, _, f)| f.at);
        let last = self.frames.last().map_or(0, |(_, _, f)| f.at);
        let middle = i64::midpoint(first, last);
        let mut bytes = Vec::new();
        let mut file = Evidence::begin(&mut bytes, "").expect("memory takes it");
        let interface = file.interface("eth0", self.frames.first().map_or(1, |(_, link, _)| *link)).expect("memory takes it");
        for (_, _, frame) in &self.frames {
            let since = frame.at - first;
            let stepped = if frame.at >= middle { step } else { 0 };
            let at = frame.at + ahead + since / 1_000_000 * ppm + stepped;
            let link = Some(analysis::wire::packet::LinkType::Ethernet);
            file.packet(interface, link, &Captured { at, ..frame.clone() }, &[]).expect("memory takes it");
        }
        file.finish(0, &[]).expect("memory takes it");
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
        })
    }
}

/// Client's port, verdict, and whether a clock is in doubt, of each handshake of a recording.
fn verdicts(case: &Path, of_client: Clockwork, of_edge: Clockwork) -> BTreeMap<u16, (String, bool)> {
    let mut client = Recorded::of(&case.join("client.pcap.zst"), of_client);
    let mut edge = Recorded::of(&case.join("edge.pcap.zst"), of_edge);
    let text =
        "name = \"x\"\n[client]\nkind = \"probe\"\n[[vantage]]\nname = \"here\"\n[[target]]\nname = \"edge\"\nrole = \"edge\"\n";
    let scenario = Scenario::parse("x.toml", text, &[]).expect("it is valid");
    let to = Destination { name: "edge".into(), address: None, port: PORT, path: "/".into(), family: Family::Any, roots: None };
    let clients = Clients {
        client: ClientSpec::new(ClientKind::Probe),
        to,
        pauses: Vec::new(),
        stops: None,
        settle: settings::Time::default(),
    };
    let order = Order { batch: 1, clients, load: None, first_packet: 1 };
    let cell = Cell { name: "here", vantage: &mut client, target: &scenario.targets[0], edge: Some(&mut edge) };
    let batch = run(cell, order, &AtomicBool::new(false)).expect("both ends are recorded");
    let seen: Vec<_> = batch.seen.iter().filter_map(|seen| Some((seen, seen.read()?))).collect();
    let readings = seen.iter().map(|(_, reading)| reading.clone()).collect();
    let (vantage, target) = ("here".to_owned(), "edge".to_owned());
    let mut cells = [Judging { vantage, target, role: Role::Edge, stated_rtt: None, readings }];
    apply_baselines(&mut cells, Compare::AcrossTargets);
    let judged = seen.iter().zip(&mut cells[0].readings).map(|((seen, _), reading)| {
        let verdict = seen.judge(reading).verdict;
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

const RIGHT: Clockwork = Clockwork { ahead: 0, ppm: 0, step: 0 };

fn cases() -> Vec<PathBuf> {
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
            // Open is allowed, another culprit is not; of clocks that were in doubt before, nothing is known. of clocks that were in doubt before, nothing is known.
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
