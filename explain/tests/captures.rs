//! Capture files as people have them: compressed, rotated, cut, damaged; and what is written of them.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use analysis::judging::ledger::Phase;
use records::explained::{ExplainReport, ExplainedRecord, SeenFrom};
use sim::Trial;
use sim::cases::{Grade, Setup};
use sim::host::ThreadState;
use sim::plan::Plan;
use sim::tls::Version;
use sim::traffic::{Mix, make};
use sim::trial::write_pcap;
use whostalled_explain::filter::Filter;
use whostalled_explain::gather::Gather;
use whostalled_explain::{Options, evidence, explain};

/// One case of the fault matrix, three healthy handshakes before it.
fn trial(case: u8) -> Trial {
    let setup = Setup { case, severity: 150, version: Version::Tls13, grade: Grade::BothAndHost, seed: 4 };
    Trial::run(&setup.plan().expect("the case makes sense").plan, 4)
}

fn bytes(frames: &[(i64, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_pcap(&mut bytes, frames).expect("a vector takes every write");
    bytes
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).expect("the folder takes files");
    path
}

fn read(captures: Vec<PathBuf>, filter: Filter) -> (ExplainReport, Vec<ExplainedRecord>) {
    let mut records = Vec::new();
    let mut each = |record: &ExplainedRecord| {
        records.push(record.clone());
        ControlFlow::Continue(())
    };
    let mut progress = |_| ();
    let mut gather = Gather::new(filter, 10, &mut progress).for_each(&mut each);
    let outcome = explain(&Options { captures, ..Options::default() }, &mut gather);
    let (report, _) = gather.finish(outcome);
    (report, records)
}

fn labels(captures: Vec<PathBuf>) -> Vec<String> {
    read(captures, Filter::default()).1.iter().map(ExplainedRecord::label).collect()
}

#[test]
fn each_journey_has_tried_its_own_addresses() {
    // A client whose other family's address never answers connects again and again.
    let mut frames: Vec<(i64, Vec<u8>)> = Vec::new();
    let journeys = 3_u64;
    for n in 0..journeys {
        let setup = Setup { case: 62, severity: 30, version: Version::Tls13, grade: Grade::BothAndHost, seed: 4 };
        let plan = setup.plan().expect("the case makes sense").plan;
        let began = frames.last().map_or(0, |(at, _)| *at);
        let trial = Trial::run(&plan, 4 + n);
        let first = trial.client.first().map_or(0, |(at, _)| *at);
        frames.extend(trial.client.into_iter().map(|(at, frame)| (at - first + began + 3_000_000_000, frame)));
    }
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = write(folder.path(), "client.pcap", &bytes(&frames));
    let (_, records) = read(vec![file], Filter::default());
    let attempts = |record: &&ExplainedRecord| {
        record.judged.as_ref().is_some_and(|judged| judged.reading.ledger.entries.iter().any(|e| e.phase == Phase::Attempts))
    };
    assert_eq!(records.iter().filter(attempts).count() as u64, journeys);
}

#[test]
fn compressed_and_rotated_captures_say_the_same() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let trial = trial(26);
    let plain = write(folder.path(), "edge.pcap", &bytes(&trial.edge));
    let expected = labels(vec![plain.clone()]);
    assert_eq!(expected, ["healthy", "healthy", "healthy", "edge"]);

    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&bytes(&trial.edge)).expect("a vector takes every write");
    let gzip = write(folder.path(), "edge.pcap.gz", &gzip.finish().expect("a vector takes every write"));
    assert_eq!(labels(vec![gzip]), expected);

    // Three files of one capture, cut anywhere, given in the wrong order.
    let thirds = trial.edge.len() / 3;
    let parts: Vec<PathBuf> = (0..3)
        .map(|i| {
            let end = if i == 2 { trial.edge.len() } else { (i + 1) * thirds };
            write(folder.path(), &format!("ring.pcap{i}"), &bytes(&trial.edge[i * thirds..end]))
        })
        .collect();
    let (report, records) = read(vec![parts[2].clone(), parts[0].clone(), parts[1].clone()], Filter::default());
    let mut found: Vec<&ExplainedRecord> = records.iter().collect();
    found.sort_by_key(|r| r.started_ns);
    assert_eq!(found.iter().map(|r| r.label()).collect::<Vec<_>>(), expected);
    assert_eq!(report.captures.len(), 1, "a rotated set is one capture");
}

#[test]
fn both_ends_are_found_and_joined() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let trial = trial(41);
    let ends = vec![write(folder.path(), "a.pcap", &bytes(&trial.edge)), write(folder.path(), "b.pcap", &bytes(&trial.client))];
    let (report, records) = read(ends, Filter::default());
    assert_eq!(records.len(), 4, "each handshake once, through address translation");
    assert!(records.iter().all(|r| r.seen_from == SeenFrom::BothEnds), "{records:#?}");
    assert!(report.captures.iter().any(|c| c.files[0].ends_with("b.pcap") && c.observation_points[0].contains("at the client")));
}

#[test]
fn whoever_stops_capturing_first_is_not_blamed_for_what_followed() {
    for version in [Version::Tls12, Version::Tls13] {
        let trial = Trial::run(&Plan::healthy(version, "edge.test"), 4);
        let ends = [&trial.client, &trial.edge];
        for (cut, most) in [(0, trial.client.len()), (1, trial.edge.len())] {
            for last in most.saturating_sub(30)..most {
                let kept = |end: usize| if end == cut { &ends[end][..last] } else { &ends[end][..] };
                let folder = tempfile::tempdir().expect("a temporary folder can be made");
                let captures = [("client.pcap", 0), ("edge.pcap", 1)];
                let captures = captures.map(|(name, end)| write(folder.path(), name, &bytes(kept(end)))).to_vec();
                let blamed = labels(captures).into_iter().find(|label| label != "healthy" && !label.starts_with("inconclusive"));
                assert_eq!(blamed, None, "{version:?}, end {cut} kept {last} of {most} packets");
            }
        }
    }
}

#[test]
fn what_lies_before_a_break_is_still_reported() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let trial = trial(26);
    let whole = bytes(&trial.edge);
    for cut in [whole.len() - 7, whole.len() / 2, 30] {
        let (report, records) = read(vec![write(folder.path(), "cut.pcap", &whole[..cut])], Filter::default());
        assert!(report.warnings.iter().any(|w| w.contains("cut.pcap")), "{:?}", report.warnings);
        assert_eq!(records.is_empty(), cut == 30);
    }
    // A packet's header that lies about its length.
    let intact = trial.edge.len() * 3 / 4;
    let header = 24 + trial.edge[..intact].iter().map(|(_, frame)| 16 + frame.len()).sum::<usize>();
    let mut damaged = whole.clone();
    damaged[header..header + 16].fill(0xff);
    let (report, records) = read(vec![write(folder.path(), "damaged.pcap", &damaged)], Filter::default());
    assert!(records.len() >= 2, "what came before counts");
    let place = format!("after packet {intact}");
    assert!(report.warnings.iter().any(|w| w.contains(&place)), "{place}: {:?}", report.warnings);
    let (report, _) = read(vec![write(folder.path(), "text.pcap", b"this is no capture at all")], Filter::default());
    assert!(report.warnings[0].contains("neither pcap nor pcapng, nor anything else"), "{:?}", report.warnings);
    let utf16: Vec<u8> = "\u{feff}{\"log\":{\"entries\":[]}}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for utf16 in [&utf16[..], &utf16[2..]] {
        let (report, _) = read(vec![write(folder.path(), "utf16.har", utf16)], Filter::default());
        assert!(report.warnings[0].contains("UTF-16"), "{:?}", report.warnings);
    }
}

#[test]
fn chosen_packets_are_written_and_read_back_with_the_same_verdict() {
    chosen_and_read_back(&trial(26).edge);
}

#[test]
fn of_a_packet_that_came_in_pieces_all_are_written() {
    let whole = trial(26).edge;
    let cut: Vec<(i64, Vec<u8>)> = whole.iter().flat_map(|(at, frame)| pieces(frame).into_iter().map(|p| (*at, p))).collect();
    assert!(cut.len() > whole.len() + 8, "certificates come in pieces");
    let written = chosen_and_read_back(&cut);
    assert!(written > chosen_and_read_back(&whole));
}

/// A frame of Ethernet and IPv4, cut into pieces of at most 400 bytes on its way.
fn pieces(frame: &[u8]) -> Vec<Vec<u8>> {
    assert_eq!(frame[12..15], [8, 0, 0x45], "IPv4 without options");
    let (head, body) = frame.split_at(14 + 20);
    let last = body.len().div_ceil(400).max(1) - 1;
    let cut = |(i, part): (usize, &[u8])| {
        let mut piece = head.to_vec();
        piece[16..18].copy_from_slice(&(20 + part.len() as u16).to_be_bytes());
        let more = if i < last { 0x2000 } else { 0 };
        piece[20..22].copy_from_slice(&(more | (i * 50) as u16).to_be_bytes());
        piece.extend(part);
        piece
    };
    body.chunks(400).enumerate().map(cut).collect()
}

/// Chooses the one handshake of which the edge is guilty, writes its packets, and reads what was written; gives their number.
fn chosen_and_read_back(frames: &[(i64, Vec<u8>)]) -> u64 {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let edge = write(folder.path(), "edge.pcap", &bytes(frames));
    let filter = Filter { verdicts: vec!["edge".parse().expect("a label")], ..Filter::default() };
    let mut progress = |_| ();
    let mut gather = Gather::new(filter, 10, &mut progress).selecting_packets();
    let captures = vec![edge];
    let outcome = explain(&Options { captures: captures.clone(), ..Options::default() }, &mut gather);
    let (_, selection) = gather.finish(outcome);
    let chosen = folder.path().join("chosen.pcapng");
    let out = BufWriter::new(File::create(&chosen).expect("the folder takes files"));
    let written = evidence::write(selection.expect("packets were asked for"), &captures, out).expect("the folder takes files");
    let (report, records) = read(vec![chosen], Filter::default());
    assert_eq!(report.captures[0].packets, written);
    assert_eq!(records.iter().map(ExplainedRecord::label).collect::<Vec<_>>(), ["edge"]);
    written
}

#[test]
fn a_report_is_the_same_whether_every_handshake_is_wanted_or_the_slowest_only() {
    let mut frames = Vec::new();
    let made = make(Mix::Handshakes, 3_000, 7, |at, frame| {
        frames.push((at, frame.to_vec()));
        Ok::<(), ()>(())
    });
    assert_eq!(made, Ok(()));
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let captures = vec![write(folder.path(), "edge.pcap", &bytes(&frames))];
    let (each, _) = read(captures.clone(), Filter::default());
    let mut progress = |_| ();
    let mut gather = Gather::new(Filter::default(), 10, &mut progress);
    let outcome = explain(&Options { captures, ..Options::default() }, &mut gather);
    let (slowest_only, _) = gather.finish(outcome);
    assert!(each.summary.len() > 4 && each.slowest.iter().all(|record| !record.lanes[0].marks.is_empty()));
    assert_eq!(slowest_only, each);
}

#[test]
fn filters_admit_what_they_say() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let edge = write(folder.path(), "edge.pcap", &bytes(&trial(26).edge));
    let count = |filter: Filter| read(vec![edge.clone()], filter).1.len();
    assert_eq!(count(Filter { slow: Some(analysis::clock::Span::from_millis(150)), ..Filter::default() }), 1);
    assert_eq!(count(Filter { names: vec!["*.test".parse().expect("a name")], ..Filter::default() }), 4);
    assert_eq!(count(Filter { names: vec!["other.test".parse().expect("a name")], ..Filter::default() }), 0);
    assert_eq!(count(Filter { hosts: vec!["198.51.100.2:443".parse().expect("a host")], ..Filter::default() }), 4);
    assert_eq!(count(Filter { verdicts: vec!["slow".parse().expect("a label")], ..Filter::default() }), 1);
    assert_eq!(count(Filter { since: Some(analysis::clock::Instant::from_nanos(i64::MAX)), ..Filter::default() }), 0);
}

#[test]
fn a_snap_length_may_leave_a_verdict_open_but_turns_none_around() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let (mut same, mut open) = (0, 0);
    for (case, version) in [2, 4, 8, 10, 14, 16, 22, 26].into_iter().flat_map(|case| Version::ALL.map(|v| (case, v))) {
        let setup = Setup { case, severity: 150, version, grade: Grade::BothAndHost, seed: 4 };
        let Some(planned) = setup.plan() else { continue };
        let trial = Trial::run(&planned.plan, 4);
        for (end, frames) in [("edge", &trial.edge), ("client", &trial.client)] {
            let whole = labels(vec![write(folder.path(), "whole.pcap", &bytes(frames))]);
            for snaplen in [54, 66, 96, 128, 160, 256, 512] {
                let cut = labels(vec![write(folder.path(), "cut.pcap", &cut_to(snaplen, frames))]);
                for (whole, cut) in whole.iter().zip(&cut) {
                    let root = |label: &str| label.split(['/', '_']).next().unwrap_or_default().to_owned();
                    // A lookup that was cut off is out of view.
                    let agrees = root(whole) == root(cut) || (root(whole), root(cut)) == ("resolver".into(), "healthy".into());
                    same += u32::from(agrees);
                    open += u32::from(cut == "inconclusive" && !agrees);
                    assert!(
                        agrees || cut == "inconclusive" || whole == "inconclusive",
                        "case {case}, {version:?}, at the {end}, snaplen {snaplen}: {whole}, cut: {cut}"
                    );
                }
            }
        }
    }
    assert!(same > 300 && open < same / 5, "{same} the same, {open} left open");
}

fn cut_to(snaplen: usize, frames: &[(i64, Vec<u8>)]) -> Vec<u8> {
    let mut pcap = sim::trial::begin_pcap(Vec::new()).expect("a vector takes every write");
    for (at, frame) in frames {
        let kept = &frame[..frame.len().min(snaplen)];
        let packet = pcap_file::pcap::PcapPacket::new(std::time::Duration::from_nanos(*at as u64), frame.len() as u32, kept);
        pcap.write_packet(&packet).expect("a vector takes every write");
    }
    pcap.into_writer()
}

/// What is said of a connection that begins so long behind another to the same edge, `way` ms away, and whose client says nothing for a
/// second.
fn second_of_two(behind: i64, way: i64) -> String {
    const MS: i64 = 1_000_000;
    let frames = |port: u16, silent: i64| {
        let mut plan = Plan::healthy(Version::Tls13, "edge.test");
        (plan.before, plan.delay) = (0, way * MS);
        plan.client_address = Some(SocketAddr::from(([198, 51, 100, 1], port)));
        plan.manner.thinks[0].push((ThreadState::Asleep, silent * MS));
        Trial::run(&plan, u64::from(port)).client
    };
    let (first, second) = (frames(40_001, 0), frames(40_002, 1_000));
    let shift = first[0].0 + behind * MS - second[0].0;
    let mut both: Vec<_> = first.into_iter().chain(second.into_iter().map(|(at, frame)| (at + shift, frame))).collect();
    both.sort_by_key(|(at, _)| *at);
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let records = read(vec![write(folder.path(), "client.pcap", &bytes(&both))], Filter::default()).1;
    let second = records.iter().find(|r| r.client.ends_with(":40002")).expect("it is a handshake");
    second.label()
}

#[test]
fn a_browsers_spare_connection_keeps_nobody_waiting() {
    assert_ne!(second_of_two(250, 150), "client", "opened while the first had no answer for a quarter of a second");
    assert_eq!(second_of_two(245, 150), "client", "no browser's timer");
    assert_eq!(second_of_two(265, 150), "client");
    assert_eq!(second_of_two(250, 100), "client", "the first had its answer");
}
