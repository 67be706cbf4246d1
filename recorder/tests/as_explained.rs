//! The recorder says of every handshake what `explain` says of a full capture at the edge, though it sees handshake packets only and
//! judges as it goes; and its evidence says it again.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use analysis::clock::{Instant, Span, Unplaced};
use analysis::tcp::flow::Side;
use analysis::tcp::table::FlowTable;
use analysis::wire::packet::{LinkType, Transport, decode};
use capture::clock::{Monotonic, WallOffset};
use capture::ends::FlowName;
use capture::limits::{Gate, Limits};
use capture::seen::{Frame, Seen};
use explain::gather::Gather;
use explain::{Options, filter::Filter};
use records::explained::ExplainedRecord;
use sim::Trial;
use sim::cases::{CASES, Grade, Setup};
use sim::tls::Version;
use whostalled_recorder::detector::Detector;
use whostalled_recorder::flow_report::{Provenance, bundle, flow_report};
use whostalled_recorder::memory::{Memory, Packet};
use whostalled_recorder::screen::{Screen, Step, begins};
use whostalled_recorder::slow::Culprit;
use whostalled_recorder::trigger::{Source, Trigger};

type Labels = BTreeMap<String, String>;

/// The verdict on every client's connection by `explain`.
fn explained(bytes: &[u8]) -> Labels {
    let file = tempfile::NamedTempFile::new().expect("a temporary file can be made");
    std::fs::write(file.path(), bytes).expect("it is writable");
    let mut labels = Labels::new();
    let mut each = |record: &ExplainedRecord| {
        labels.insert(record.client.clone(), record.label());
        ControlFlow::Continue(())
    };
    let mut progress = |_| ();
    let mut gather = Gather::new(Filter::default(), 1, &mut progress).for_each(&mut each);
    let captures = vec![file.path().to_owned()];
    let _ = explain::explain(&Options { edge_side: captures, ..Options::default() }, &mut gather);
    labels
}

/// A frame as the filter hands it over.
fn passed<'a>(gate: &mut Gate, at: Instant<Monotonic>, frame: &'a [u8]) -> Option<Seen<'a>> {
    let link = LinkType::Ethernet;
    let pass = gate.push(link, frame, false)?;
    let Ok(Transport::Tcp(segment)) = decode(link, frame) else { return None };
    let frame = Frame { at, wire_len: frame.len() as u32, interface: 2, outgoing: false, link, bytes: frame };
    Some(Seen::decoded(frame, &segment, pass.from_client, pass.keep))
}

/// When the last packet passed.
fn end_of(trial: &Trial) -> Instant<Monotonic> {
    trial.edge.last().map(|(at, _)| Instant::from_nanos(*at)).unwrap_or_default()
}

/// The verdict on every client's connection by the recorder, and what its evidence says when it is read again.
fn recorded(frames: &[(i64, Vec<u8>)]) -> (Labels, Labels) {
    let mut gate = Gate::new(Limits::default());
    let (mut memory, mut detector) = (Memory::new(8 << 20), Detector::default());
    let mut found = Vec::new();
    let mut last = Instant::default();
    for (at, frame) in frames {
        last = Instant::from_nanos(*at);
        found.extend(detector.tick(last));
        let Some(seen) = passed(&mut gate, last, frame) else { continue };
        let Ok(Transport::Tcp(segment)) = decode(seen.frame.link, seen.frame.bytes) else { continue };
        let known = memory.push(&seen, |syn| {
            if let Ok(Transport::Tcp(segment)) = decode(syn.link, syn.bytes) {
                found.extend(detector.push(syn.at, &segment));
            }
        });
        if known {
            found.extend(detector.push(seen.frame.at, &segment));
        }
    }
    found.extend(detector.tick(last + Span::from_millis(200_000)));
    let (mut labels, mut evidence) = (Labels::new(), Labels::new());
    for finding in found.into_iter().map(|found| found.finding) {
        let ends = finding.placed.handshake.endpoints;
        let far = |o: &explain::judging::Opinion| Culprit::of(o) == Some(Culprit::LongPath);
        let label =
            finding.judged.map_or("not judged".into(), |o| if far(&o) { "far away".into() } else { o.judgement.verdict.label() });
        labels.insert(ends.client.to_string(), label);
        let trigger = Trigger { client: ends.client, server: None, source: Source::Detector };
        let packets = memory.flow(FlowName::of(ends.client, ends.server));
        let made = flow_report(packets, (&trigger).into(), &detector, &provenance(), None).expect("its packets are in memory");
        let read = explained(&made.pcapng);
        let label = if read.len() == 1 { made.record.label() } else { format!("{} flows in its evidence", read.len()) };
        evidence.insert(ends.client.to_string(), label);
    }
    (labels, evidence)
}

/// Cases of which the recorder says something else than a reader of the whole capture, and why.
const APART: [(u8, &str); 6] = [
    (37, "a clock that is set: the recorder's is one that nobody sets"),
    (67, "ICMP that a host ignores: its filter lets TCP through, so it names the path"),
    (72, "packets out of order in a file: they reach it in order of time"),
    (82, "rewritten addresses: of a single flow it has no usual round trip of the others"),
    (88, "a copy that comes behind the handshake's end: its evidence stops there, and says that it may be late or lost"),
    (91, "a firewall that lets SYNs alone pass: where no ClientHello came, it tells no more than how far away the client is"),
];

#[test]
fn every_case_of_the_fault_matrix() {
    let (mut agree, mut differ) = (0, Vec::new());
    let apart = |case: &u8| APART.iter().any(|(of, _)| of == case);
    for (case, version) in (1..=CASES).filter(|case| !apart(case)).flat_map(|case| Version::ALL.map(|v| (case, v))) {
        let seed = u64::from(case) + 100 * version as u64;
        let Some(planned) = (Setup { case, severity: 200, version, grade: Grade::Server, seed }).plan() else { continue };
        let trial = Trial::run(&planned.plan, seed);
        let mut pcap = Vec::new();
        sim::trial::write_pcap(&mut pcap, &trial.edge).expect("a vector takes every write");
        let expected = explained(&pcap);
        let (labels, evidence) = recorded(&trial.edge);
        for (client, label) in &expected {
            // Whom an edge's host asked meanwhile only a full capture shows.
            let label = label.strip_suffix("_app/dependency").unwrap_or(label);
            let (said, again) = (labels.get(client).map(String::as_str), evidence.get(client).map(String::as_str));
            // How long a path usually is the recorder knows from the third handshake on; its evidence is judged later.
            let far = said == Some("far away") && ["healthy", "inconclusive"].contains(&label);
            if (said == Some(label) || far) && again == Some(label) {
                agree += 1;
            } else {
                differ.push(format!(
                    "case {case} {version:?} seed {seed} {client}: {label}, recorder: {said:?}, evidence: {again:?}"
                ));
            }
        }
    }
    assert!(agree > 350 && differ.is_empty(), "{agree} agree; these differ:\n{}", differ.join("\n"));
}

/// What was slow before the first packet came to the edge (60: a SYN that was held), or is only because packets are out of order (72),
/// the screen cannot know.
const NOT_BY_ITS_PACKETS: [u8; 2] = [60, 72];

/// Whatever goes wrong, what the screen calls quick the detector does not call slow.
#[test]
fn nothing_slow_is_called_quick() {
    let slow = whostalled_recorder::config::Slow { excess: settings::Time::millis(100), ..Default::default() };
    let (mut quick, mut suspects, mut slow_ones, mut wrong) = (0, 0, 0, Vec::new());
    let cases = (1..=CASES).filter(|case| !NOT_BY_ITS_PACKETS.contains(case));
    for (case, version, seed) in cases.flat_map(|case| Version::ALL.map(|v| (case, v, u64::from(case) + 31 * v as u64))) {
        let Some(mut planned) = (Setup { case, severity: 250, version, grade: Grade::Server, seed }).plan() else { continue };
        planned.plan.delay = planned.plan.delay.min(8_000_000); // near clients, else few are quick
        let trial = Trial::run(&planned.plan, seed);
        let (mut gate, mut screen, mut detector) = (Gate::new(Limits::default()), Screen::new(slow.least()), Detector::default());
        let (mut known, mut called, mut found) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
        for (at, frame) in &trial.edge {
            let at = Instant::from_nanos(*at);
            let Some(seen) = passed(&mut gate, at, frame) else { continue };
            let Ok(Transport::Tcp(segment)) = decode(LinkType::Ethernet, seen.frame.bytes) else { continue };
            for decided in screen.tick(at) {
                match decided {
                    Ok(one) => drop(called.insert(one.client)),
                    Err(_) => suspects += 1,
                }
            }
            screen.push(&seen, begins(&seen) && (known.insert(seen.flow) || seen.syn()));
            found.extend(detector.push(at, &segment));
        }
        let end = end_of(&trial) + Span::from_millis(200_000);
        called.extend(screen.tick(end).into_iter().flatten().map(|q| q.client));
        found.extend(detector.tick(end));
        quick += called.len();
        for finding in found.into_iter().map(|found| found.finding) {
            let client = finding.placed.handshake.endpoints.client;
            let slow = finding.judged.is_ok_and(|opinion| slow.holds(&opinion));
            slow_ones += usize::from(slow);
            if slow && called.contains(&client) {
                wrong.push(format!("case {case} {version:?} seed {seed}: {client} is slow and was called quick"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(quick > 100 && suspects > 20 && slow_ones > 20, "{quick} quick, {suspects} suspects, {slow_ones} slow");
}

/// In a flood the filter may have no room for a connection's SYN.
#[test]
fn a_connection_without_its_syn_is_looked_at_all_the_same() {
    for version in Version::ALL {
        let trial = Trial::run(&sim::plan::Plan::healthy(version, "edge.test"), 3);
        let (mut gate, mut screen) = (Gate::new(Limits::default()), Screen::new(Span::from_millis(100)));
        let (mut known, mut suspects) = (BTreeSet::new(), Vec::new());
        for (at, frame) in &trial.edge {
            let Some(seen) = passed(&mut gate, Instant::from_nanos(*at), frame).filter(|seen| !seen.syn()) else { continue };
            let step = screen.push(&seen, begins(&seen) && known.insert(seen.flow));
            suspects.extend(matches!(step, Step::Suspect(_)).then_some(seen.flow));
        }
        let end = end_of(&trial) + Span::from_millis(1_000);
        suspects.extend(screen.tick(end).into_iter().filter_map(Result::err).map(|of| of.flow));
        assert_eq!(suspects, [FlowName::of(trial.at_edge.0, trial.at_edge.1)], "{version:?}: it is for the detector to judge");
    }
}

/// Bytes of payload in an evidence file, and how many of them are of the marked text.
fn payload(pcapng: Vec<u8>, text: &[u8]) -> (usize, usize) {
    let mut reader = capture::file::Reader::from_bytes("evidence", pcapng).expect("it is a capture");
    let (mut all, mut marked) = (0, 0);
    while let Ok(Some(frame)) = reader.next_frame() {
        if let Ok(Transport::Tcp(segment)) = decode(LinkType::Ethernet, frame.bytes) {
            all += segment.payload.len();
            marked += segment.payload.windows(text.len()).filter(|w| *w == text).count();
        }
    }
    (all, marked)
}

/// What a client asks and a server answers, as TLS would never show it: found again if it were kept.
const MARK: &[u8] = b"confidential";

/// The packets of a handshake and what follows it, in which everything behind the handshake but the next record's header is marked;
/// and the client.
fn marked(version: Version, seed: u64) -> (Vec<Packet>, std::net::SocketAddr) {
    let trial = Trial::run(&sim::plan::Plan::healthy(version, "edge.test"), seed);
    let mut table: FlowTable<Unplaced> = FlowTable::default();
    for (i, (at, frame)) in trial.edge.iter().enumerate() {
        if let Ok(Transport::Tcp(segment)) = decode(LinkType::Ethernet, frame) {
            table.push(Instant::from_nanos(*at), i as u64, &segment);
        }
    }
    let mut views = table.into_views();
    let view = views.iter_mut().find(|v| v.endpoints.client == trial.at_edge.0).expect("the connection is there");
    view.close();
    let dialogue = view.dialogue();
    let server = dialogue.server_finished.or(dialogue.server_flight);
    let ends = [dialogue.client_finished, server].map(|e| e.expect("it is complete").end);
    let mut packets = Vec::new();
    for (at, mut frame) in trial.edge {
        let Ok(Transport::Tcp(segment)) = decode(LinkType::Ethernet, &frame) else { continue };
        if ![segment.source(), segment.destination()].contains(&view.endpoints.client) {
            continue;
        }
        let from = usize::from(segment.source() == view.endpoints.server);
        let isn = view.isn([Side::Client, Side::Server][from]).unwrap_or(0);
        let start = i64::from(segment.seq.wrapping_sub(isn).wrapping_sub(1).cast_signed());
        let payload_at = frame.len() - segment.payload.len();
        let behind = usize::try_from(ends[from] + 5 - start).unwrap_or(0);
        let marks = (payload_at + behind).min(frame.len());
        frame[marks..].iter_mut().zip(MARK.iter().cycle()).for_each(|(byte, mark)| *byte = *mark);
        let (wire_len, link) = (frame.len() as u32, LinkType::Ethernet);
        let at = Instant::from_nanos(at);
        packets.push(Packet { at, wire_len, interface: 1, outgoing: from == 1, link, bytes: frame });
    }
    (packets, view.endpoints.client)
}

fn provenance() -> Provenance {
    let wall_offset = WallOffset::between(Instant::default(), Instant::default());
    Provenance { wall_offset, interfaces: vec![], received: 1, lost: 0, filter_at: "test".into() }
}

#[test]
fn nothing_that_is_said_behind_the_handshake_is_kept() {
    let mut kept = 0;
    for version in Version::ALL {
        let (mut packets, client) = marked(version, 3);
        let whole: usize = packets.iter().map(|p| p.bytes.windows(MARK.len()).filter(|w| *w == MARK).count()).sum();
        assert!(whole > 0, "there is something to hide in {version:?}");
        let trigger = Trigger { client, server: None, source: Source::Detector };
        let made = flow_report(packets.clone(), (&trigger).into(), &Detector::default(), &provenance(), None).expect("a flow");
        let one = payload(made.pcapng, MARK);
        // The same port once more, a minute later, with other sequence numbers.
        let (again, same) = marked(version, 4);
        assert_eq!(client, same);
        packets.extend(again.into_iter().map(|p| Packet { at: p.at + Span::from_millis(60_000), ..p }));
        let all = payload(bundle(packets, &provenance()).expect("a vector takes it"), MARK);
        assert_eq!((one.1, all.1), (0, 0), "{version:?}");
        kept += one.0;
    }
    assert!(kept > 4_000, "the handshakes themselves are kept");
}
