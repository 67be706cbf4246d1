//! What becomes a file, when that is said, and what is in the file in the end.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use analysis::clock::{Instant as Stamp, Span};
use analysis::wire::packet::{LinkType, Transport, decode};
use capture::clock::WallOffset;
use capture::limits::{Gate, Limits};
use capture::seen::{Frame, Seen};
use serving::otlp::trace::Trace;
use sim::Trial;
use sim::cases::{Grade, Setup};
use sim::tls::Version;
use whostalled_recorder::config::Config;
use whostalled_recorder::detector::Detector;
use whostalled_recorder::engine::{Context, Engine};
use whostalled_recorder::evidence_store::Writer;
use whostalled_recorder::flow_report::{Provenance, flow_report};
use whostalled_recorder::memory::{Memory, Packet};
use whostalled_recorder::metrics::Metrics;
use whostalled_recorder::origins::Origins;
use whostalled_recorder::slow::Culprit;
use whostalled_recorder::sources::TriggerRequest;
use whostalled_recorder::trigger::{LogLine, Source, Trigger};
use whostalled_recorder::view::Shown;

/// A recorder without its threads, and without a clock: it is told what time it is.
struct Recorder {
    engine: Engine,
    gate: Gate,
    metrics: Arc<Metrics>,
    shown: Arc<Shown>,
    traces: tokio::sync::mpsc::Receiver<Trace>,
}

impl Recorder {
    fn new(folder: &Path, change: impl FnOnce(&mut Config)) -> Self {
        let (sent, traces) = tokio::sync::mpsc::channel(16);
        let context = Context {
            filter_at: "test".into(),
            threads: false,
            origins: Origins::open(&[]).expect("there is none to open"),
            names: None,
            traces: Some(sent),
        };
        let writer = Writer::start(folder, 1 << 24, |_, _| ()).expect("it starts");
        let (metrics, shown) = (Arc::new(Metrics::default()), Arc::new(Shown::default()));
        let mut config = Config::default();
        config.evidence.follow = settings::Time::millis(10);
        change(&mut config);
        let memory = Memory::new(8 << 20);
        let engine = Engine::new(Arc::new(config), memory, context, writer, Arc::clone(&metrics), Arc::clone(&shown));
        Self { engine, gate: Gate::new(Limits::default()), metrics, shown, traces }
    }

    fn packets(&mut self, frames: &[(i64, Vec<u8>)]) {
        for (at, bytes) in frames {
            let (at, link) = (Stamp::from_nanos(*at), LinkType::Ethernet);
            self.engine.tick(at);
            let Some(pass) = self.gate.push(link, bytes, false) else { continue };
            let Ok(Transport::Tcp(segment)) = decode(link, bytes) else { continue };
            let frame = Frame { at, wire_len: bytes.len() as u32, interface: 0, outgoing: false, link, bytes };
            self.engine.packet(&Seen::decoded(frame, &segment, pass.from_client, pass.keep));
        }
    }

    /// So long after the last of these packets.
    fn after(&mut self, frames: &[(i64, Vec<u8>)], ms: i64) {
        let last = frames.last().map_or(0, |(at, _)| *at);
        self.engine.tick(Stamp::from_nanos(last) + Span::from_millis(ms));
    }

    fn line(&mut self, client: SocketAddr, text: &str) -> Option<String> {
        self.ask(client, Source::Log(LogLine { text: text.into(), entry: None }))
    }

    fn ask(&mut self, client: SocketAddr, source: Source) -> Option<String> {
        let (tell, told) = channel();
        let answer = Box::new(move |outcome: Result<std::path::PathBuf, _>| drop(tell.send(outcome.ok())));
        let trigger = Trigger { client, server: None, source };
        self.engine.asked(TriggerRequest { trigger, at: Instant::now(), answer: Some(answer) });
        let path = told.recv_timeout(Duration::from_secs(10)).ok()??;
        std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).ok()
    }

    fn count(&self, source: &str, outcome: &str) -> u64 {
        let label = whostalled_recorder::metrics::ByTrigger { source: source.into(), outcome: outcome.into() };
        self.metrics.triggers.get_or_create(&label).get()
    }

    fn finish(self) {
        self.engine.finish();
    }
}

/// A client that sleeps before its Finished.
fn stalled(seed: u64) -> Trial {
    let planned = Setup { case: 2, severity: 900, version: Version::Tls13, grade: Grade::Server, seed }.plan();
    let mut plan = planned.expect("there is such a case").plan;
    plan.client = sim::habit::LINUX; // its timestamps tell that it sent nothing
    Trial::run(&plan, seed)
}

/// Where the longest silence is.
fn silence(trial: &Trial) -> usize {
    (1..trial.edge.len()).max_by_key(|i| trial.edge[*i].0 - trial.edge[*i - 1].0).expect("there are packets")
}

/// The same connection once more, so much later and with other numbers.
fn again(trial: &Trial, later: i64) -> Vec<(i64, Vec<u8>)> {
    let [client, _] = <[SocketAddr; 2]>::from(trial.at_edge);
    let mut frames = trial.edge.clone();
    for (at, frame) in &mut frames {
        *at += later;
        let Some(header) = tcp_at(frame) else { continue };
        // The client's numbers: those that it sends, and those that are acknowledged.
        let own = if frame[header..header + 2] == client.port().to_be_bytes() { 4 } else { 8 };
        let number = u32::from_be_bytes(*frame[header + own..].first_chunk().expect("four bytes"));
        frame[header + own..header + own + 4].copy_from_slice(&number.wrapping_add(1_000_000).to_be_bytes());
    }
    frames
}

/// The same connection to another port of the server, later.
fn to_port(trial: &Trial, port: u16, later: i64) -> Vec<(i64, Vec<u8>)> {
    let mut frames = trial.edge.clone();
    for (at, frame) in &mut frames {
        *at += later;
        let Some(header) = tcp_at(frame) else { continue };
        let of_server = if frame[header..header + 2] == 443_u16.to_be_bytes() { header } else { header + 2 };
        frame[of_server..of_server + 2].copy_from_slice(&port.to_be_bytes());
    }
    frames
}

/// Where a frame's TCP header begins.
fn tcp_at(frame: &[u8]) -> Option<usize> {
    let Ok(Transport::Tcp(segment)) = decode(LinkType::Ethernet, frame) else { return None };
    let ports = [segment.ports[0].to_be_bytes(), segment.ports[1].to_be_bytes()].concat();
    (0..frame.len() - segment.payload.len() - 13).rev().find(|i| frame[*i..*i + 4] == ports)
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).expect("it is there").flatten().filter_map(|e| e.file_name().into_string().ok()).collect();
    names.sort();
    names
}

fn text(folder: &Path, name: &str) -> String {
    String::from_utf8_lossy(&std::fs::read(folder.join(name)).expect("it is there")).into_owned()
}

#[test]
fn what_was_written_while_a_handshake_went_on_is_written_anew_when_it_is_over() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut recorder = Recorder::new(folder.path(), |_| ());
    let (trial, frames) = (stalled(7), stalled(7).edge);
    let stall = silence(&trial);
    recorder.packets(&frames[..stall]);
    recorder.after(&frames[..stall], 400);
    let first = recorder.line(trial.at_edge.0, "handshake timeout").expect("it is kept");
    assert!(first.contains("was under way") && !first.contains("never completed"), "it goes on");
    recorder.packets(&frames[stall..]);
    recorder.after(&frames, 1_000);
    assert_eq!(recorder.count("detector", "duplicate"), 1, "it is the same one");
    recorder.finish();
    let [name] = &files(folder.path())[..] else { panic!("{:?}", files(folder.path())) };
    let said = text(folder.path(), name);
    assert!(name.contains("_client") && !said.contains("under way"), "{name}: {said}");
    assert!(said.contains("trigger: handshake timeout"), "whose word made it a file stays");
}

/// Until its server says something, which it may never do.
fn unanswered(trial: &Trial) -> &[(i64, Vec<u8>)] {
    let says = |(_, frame): &(i64, Vec<u8>)| matches!(decode(LinkType::Ethernet, frame), Ok(Transport::Tcp(s)) if s.source() == trial.at_edge.1 && s.len > 0);
    &trial.edge[..trial.edge.iter().position(says).expect("it says something")]
}

/// Until its client finishes, which it may never do.
fn unfinished(trial: &Trial) -> &[(i64, Vec<u8>)] {
    &trial.edge[..silence(trial)]
}

/// The same packets, so much later.
fn later(frames: &[(i64, Vec<u8>)], ms: i64) -> Vec<(i64, Vec<u8>)> {
    frames.iter().map(|(at, frame)| (at + ms * 1_000_000, frame.clone())).collect()
}

#[test]
fn a_stall_is_not_unsaid_after_a_silence_however_long() {
    // Whether a client is silent, or nothing of it comes, an edge cannot tell.
    let label = "inconclusive";
    for asked in [true, false] {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let mut recorder = Recorder::new(folder.path(), |_| ());
        let trial = stalled(7);
        let frames = unfinished(&trial);
        recorder.packets(frames);
        if asked {
            recorder.after(frames, 5_000);
            let first = recorder.line(trial.at_edge.0, "handshake timeout").expect("it is kept");
            assert!(first.contains("was under way") && first.contains(&format!("whostalled: {label}")), "{first}");
        }
        recorder.after(frames, 29_900);
        recorder.after(frames, 35_000);
        recorder.after(frames, 65_000);
        let again = recorder.line(trial.at_edge.0, "handshake timeout");
        assert!(again.is_none(), "it is kept already");
        recorder.after(frames, 100_000);
        let (metrics, shown) = (Arc::clone(&recorder.metrics), Arc::clone(&recorder.shown));
        recorder.finish();
        let [name] = &files(folder.path())[..] else { panic!("{:?}", files(folder.path())) };
        let said = text(folder.path(), name);
        let stall = said.contains("beyond the baseline in client before Finished");
        assert!(name.contains(&format!("_{label}")) && stall && said.contains("never completed"), "{name}: {said}");
        let (_, slow) = shown.now();
        assert_eq!((slow.len(), slow[0].verdict.starts_with(label)), (1, true), "{slow:?}");
        assert_eq!(counted(&metrics), [(label, 1)]);
    }
}

/// How many handshakes of which label.
fn counted(metrics: &Metrics) -> Vec<(&'static str, u64)> {
    let labels = Culprit::ALL.into_iter().map(Culprit::label).chain(["none", "unread"]);
    let count = |culprit: &'static str| {
        let label = whostalled_recorder::metrics::ByCulprit { culprit: culprit.into() };
        (culprit, metrics.handshakes.get_or_create(&label).get())
    };
    labels.map(count).filter(|(_, n)| *n > 0).collect()
}

#[test]
fn what_goes_on_after_a_long_silence_is_written_anew_when_it_is_over_and_counted_once() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut recorder = Recorder::new(folder.path(), |_| ());
    let trial = stalled(7);
    let frames = unfinished(&trial);
    let rest = later(&trial.edge[frames.len()..], 40_000);
    recorder.packets(frames);
    recorder.after(frames, 35_000);
    assert_eq!(counted(&recorder.metrics), [("inconclusive", 1)]);
    recorder.packets(&rest);
    recorder.after(&rest, 1_000);
    let metrics = Arc::clone(&recorder.metrics);
    recorder.finish();
    let [name] = &files(folder.path())[..] else { panic!("{:?}", files(folder.path())) };
    let said = text(folder.path(), name);
    assert!(!name.contains("_inconclusive") && said.contains(r#""end":"complete""#), "{name}: {said}");
    assert_eq!(counted(&metrics), [("inconclusive", 1)]);
}

#[test]
fn a_connection_that_is_kept_once_more_has_one_file_and_one_row() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut recorder = Recorder::new(folder.path(), |config| config.slow.excess = settings::Time::secs(60));
    let trial = stalled(7);
    // While its server is silent nobody knows that the client will be, too.
    let early = unanswered(&trial);
    recorder.packets(early);
    recorder.after(early, 1);
    recorder.line(trial.at_edge.0, "handshake timeout").expect("it is kept");
    let [first] = &files(folder.path())[..] else { panic!("{:?}", files(folder.path())) };
    recorder.packets(&trial.edge[early.len()..]);
    let asked = recorder.ask(trial.at_edge.0, Source::Asked).expect("a person is not rationed");
    let shown = Arc::clone(&recorder.shown);
    recorder.finish();
    let [name] = &files(folder.path())[..] else { panic!("{:?}", files(folder.path())) };
    assert_ne!(first, name, "it was called something else");
    assert!(asked.contains("trigger: handshake timeout"), "what the log said stays: {asked}");
    let page: Vec<_> = shown.now().1.into_iter().map(|slow| slow.file).collect();
    assert_eq!(page, [Some(name.clone())]);
}

#[test]
fn a_second_slow_handshake_of_the_same_ends_has_a_file_of_its_own() {
    for apart in [3_000, 119_700] {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let mut recorder = Recorder::new(folder.path(), |_| ());
        let trial = stalled(7);
        recorder.packets(&trial.edge);
        let second = again(&trial, apart * 1_000_000);
        recorder.packets(&second);
        recorder.after(&second, 2_000);
        recorder.engine.tick(Stamp::from_nanos(second[second.len() - 1].0) + Span::from_millis(40_000));
        recorder.finish();
        let names = files(folder.path());
        assert_eq!(names.iter().filter(|name| name.contains("_client")).count(), 2, "{apart} ms apart: {names:?}");
    }
}

#[test]
fn the_first_handshake_at_an_endpoint_is_found_by_a_line_that_names_its_client_alone() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut recorder = Recorder::new(folder.path(), |_| ());
    let trial = stalled(7);
    recorder.packets(unanswered(&trial)); // nobody can have judged anything yet
    recorder.line(trial.at_edge.0, "slow").expect("it is kept");
    recorder.finish();
}

#[test]
fn a_line_means_the_connection_whose_server_it_names_and_else_the_latest() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut recorder = Recorder::new(folder.path(), |config| config.slow.excess = settings::Time::secs(60));
    recorder.gate = Gate::new(Limits { ports: vec![443, 8_443], ..Limits::default() });
    let trial = stalled(7);
    let second = to_port(&trial, 8_443, 20_000_000);
    recorder.packets(&trial.edge);
    recorder.packets(&second);
    recorder.after(&second, 2_000);
    let (client, server) = (trial.at_edge.0, trial.at_edge.1);
    let named = recorder.line(client, &format!("client={client} server={server} slow")).expect("it is kept");
    assert!(!named.contains("does not say which"), "{named}");
    let other = recorder.line(client, "slow").expect("another one is kept");
    assert!(other.contains("2 connections of this client's end are in memory"), "{other}");
    recorder.finish();
}

#[test]
fn nothing_is_said_to_be_kept_before_it_is_on_the_disk() {
    let above = tempfile::tempdir().expect("a temporary folder can be made");
    let folder = above.path().join("evidence");
    let mut recorder = Recorder::new(&folder, |_| ());
    std::fs::remove_dir(&folder).and_then(|()| std::fs::write(&folder, "in its way")).expect("it is ours");
    let trial = stalled(7);
    recorder.packets(&trial.edge);
    recorder.after(&trial.edge, 2_000);
    assert_eq!((recorder.count("detector", "duplicate"), recorder.count("detector", "kept")), (0, 0), "it cannot be written");
    let shown = |recorder: &Recorder| recorder.shown.now().1.into_iter().map(|slow| slow.file).collect::<Vec<_>>();
    assert_eq!(shown(&recorder), [None], "it was slow, and there is no file");
    // The folder can be made again: memory still has the handshake.
    std::fs::remove_file(&folder).expect("it is ours");
    let begun = Instant::now();
    while recorder.count("detector", "kept") == 0 && begun.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(20));
        recorder.after(&trial.edge, 3_000);
    }
    let (metrics, of_page) = (Arc::clone(&recorder.metrics), Arc::clone(&recorder.shown));
    recorder.finish();
    let label = whostalled_recorder::metrics::ByTrigger { source: "detector".into(), outcome: "kept".into() };
    assert_eq!((files(&folder).len(), metrics.triggers.get_or_create(&label).get()), (1, 1));
    let page: Vec<Option<String>> = of_page.now().1.into_iter().map(|slow| slow.file).collect();
    assert_eq!(page, [Some(files(&folder)[0].clone())]);
}

#[test]
fn one_piece_of_an_ip_packet_hides_no_handshake() {
    let trial = stalled(7);
    let packets = trial.edge.iter().map(|(at, frame)| {
        let mut bytes = frame.clone();
        let hello =
            matches!(decode(LinkType::Ethernet, frame), Ok(Transport::Tcp(s)) if matches!(s.payload, [22, 3, _, _, _, 1, ..]));
        if hello {
            // The first piece of it: "more fragments" is set, and the rest is elsewhere.
            bytes.truncate(14 + 20 + 200);
            bytes[16..18].copy_from_slice(&220_u16.to_be_bytes());
            bytes[20] |= 0x20;
        }
        let wire_len = bytes.len() as u32;
        Packet { at: Stamp::from_nanos(*at), wire_len, interface: 0, outgoing: false, link: LinkType::Ethernet, bytes }
    });
    let trigger = Trigger { client: trial.at_edge.0, server: None, source: Source::Asked };
    let wall_offset = WallOffset::between(Stamp::default(), Stamp::default());
    let provenance = Provenance { wall_offset, interfaces: vec![], received: 1, lost: 0, filter_at: "test".into() };
    let made = flow_report(packets.collect(), (&trigger).into(), &Detector::default(), &provenance, None).expect("it is kept");
    let said = String::from_utf8_lossy(&made.pcapng).into_owned();
    assert!(said.contains("1 piece of IP packets") && !made.record.label().contains("edge"), "{}: {said}", made.record.label());
}

#[test]
fn where_clients_are_networks_no_name_of_a_file_and_no_trace_says_more() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut recorder = Recorder::new(folder.path(), |config| config.capture.anonymise = true);
    let trial = stalled(7);
    recorder.packets(&trial.edge);
    recorder.after(&trial.edge, 2_000);
    let (metrics, shown) = (Arc::clone(&recorder.metrics), Arc::clone(&recorder.shown));
    let Recorder { engine, mut traces, .. } = recorder;
    engine.finish();
    let trace = traces.try_recv().expect("one was sent");
    let exposed = metrics.exposition.openmetrics();
    let client = trial.at_edge.0.ip().to_string();
    let all = format!("{exposed:?}{trace:?}{:?}{:?}", shown.now(), files(folder.path()));
    assert!(all.contains("_client"), "there is something to hide: {all}");
    let dashed = client.replace(':', "-");
    assert!(!all.contains(&client) && !all.contains(&format!("{dashed}-")) && !all.contains(&format!("_{dashed}_")), "{all}");
}

#[test]
fn a_handshake_whose_rest_nobody_saw_is_nobodys_fault() {
    for version in Version::ALL {
        let trial = Trial::run(&sim::plan::Plan::healthy(version, "edge.test"), 3);
        for end in 2..trial.edge.len() {
            let folder = tempfile::tempdir().expect("a temporary folder can be made");
            let mut recorder = Recorder::new(folder.path(), |_| ());
            recorder.packets(&trial.edge[..end]);
            recorder.after(&trial.edge[..end], 65_000);
            let blamed = counted(&recorder.metrics).into_iter().find(|(label, _)| !["none", "inconclusive"].contains(label));
            assert_eq!(blamed, None, "{version:?}, {end} of its packets");
        }
    }
}

#[test]
fn what_comes_behind_the_end_of_a_handshake_is_in_its_file_too() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut recorder = Recorder::new(folder.path(), |config| config.evidence.follow = settings::Time::millis(200));
    let trial = stalled(7);
    let stall = silence(&trial);
    let (begun, rest) = trial.edge.split_at(stall);
    recorder.packets(begun);
    recorder.line(trial.at_edge.0, "handshake timeout").expect("it is kept");
    let (finished, answered) = rest.split_at(2);
    recorder.packets(finished);
    recorder.after(&trial.edge[..stall + 2], 400);
    recorder.packets(&later(answered, 400));
    std::thread::sleep(Duration::from_millis(250));
    recorder.after(&later(answered, 400), 1);
    recorder.finish();
    let [name] = &files(folder.path())[..] else { panic!("{:?}", files(folder.path())) };
    let mut reader = capture::file::Reader::open(&folder.path().join(name), None).expect("it is a capture");
    let packets = std::iter::from_fn(|| reader.next_frame().expect("it reads").map(drop)).count();
    assert!(packets > stall + 2, "{packets} of {}", trial.edge.len());
}
