//! What each stage of reading a capture costs, on a simulated capture of 2,000 connections.
#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

use std::hint::black_box;
use std::ops::ControlFlow;
use std::path::PathBuf;

use analysis::clock::{Edge, Instant};
use analysis::conversation::handshake::Handshake;
use analysis::conversation::walk;
use analysis::judging::verdict::{Circumstances, judge};
use analysis::tcp::flow::View;
use analysis::tcp::table::FlowTable;
use analysis::wire::packet::{LinkType, Transport, decode};
use capture::file::Reader;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use explain::judging::Finding;
use explain::{Options, Sink, explain};
use sim::traffic::{Mix, make};
use sim::trial::write_pcap;

const CONNECTIONS: u32 = 2_000;

struct Nothing;

impl Sink for Nothing {
    fn finding(&mut self, finding: Finding, _: &[PathBuf]) -> ControlFlow<()> {
        black_box(finding.id);
        ControlFlow::Continue(())
    }
    fn progress(&mut self, _: u64) {}
}

fn frames() -> Vec<(i64, Vec<u8>)> {
    let mut frames = Vec::new();
    let kept = make(Mix::Handshakes, CONNECTIONS, 1, |at, frame| {
        frames.push((at, frame.to_vec()));
        Ok::<(), ()>(())
    });
    assert_eq!(kept, Ok(()));
    frames
}

fn views(frames: &[(i64, Vec<u8>)]) -> Vec<View<Edge>> {
    let mut table = FlowTable::<Edge>::default();
    for (number, (at, frame)) in (1..).zip(frames) {
        if let Ok(Transport::Tcp(segment)) = decode(LinkType::Ethernet, frame) {
            table.push(Instant::from_nanos(*at), number, &segment);
        }
    }
    table.into_views()
}

fn stages(c: &mut Criterion) {
    let frames = frames();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("edge.pcap");
    let mut bytes = Vec::new();
    write_pcap(&mut bytes, &frames).expect("a vector takes every write");
    std::fs::write(&path, &bytes).expect("the folder takes files");

    let mut packets = c.benchmark_group("per packet");
    packets.throughput(Throughput::Elements(frames.len() as u64));
    packets.bench_function("read the file", |b| {
        b.iter(|| {
            let mut reader = Reader::open(&path, None).expect("the file opens");
            let mut n = 0;
            while reader.next_frame().expect("the file is whole").is_some() {
                n += 1;
            }
            n
        });
    });
    packets.bench_function("decode", |b| {
        b.iter(|| frames.iter().filter(|(_, frame)| black_box(decode(LinkType::Ethernet, frame)).is_ok()).count());
    });
    packets.bench_function("decode, table, streams, records", |b| b.iter(|| views(&frames).len()));
    packets.bench_function("everything", |b| {
        b.iter(|| explain(&Options { edge_side: vec![path.clone()], ..Options::default() }, &mut Nothing).handshakes);
    });
    packets.finish();

    let views = views(&frames);
    let mut handshakes = c.benchmark_group("per handshake");
    handshakes.throughput(Throughput::Elements(views.len() as u64));
    handshakes.bench_function("dialogue", |b| b.iter(|| views.iter().filter(|v| v.dialogue().is_tls()).count()));
    handshakes.bench_function("close, read from the edge, judge", |b| {
        b.iter_batched(
            || views.clone(),
            |views| {
                let judged = views.into_iter().filter_map(|view| {
                    let handshake = Handshake::of(None, Some(view));
                    walk::read(&handshake).map(|reading| judge(&reading, Circumstances::of(&handshake)))
                });
                judged.count()
            },
            BatchSize::LargeInput,
        );
    });
    handshakes.finish();
}

criterion_group!(benches, stages);
criterion_main!(benches);
