//! Criterion benchmarks of the recorder: taking a packet, finding one flow among all, reading a proxy's line.
#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

use std::net::SocketAddr;

use analysis::clock::Instant;
use analysis::wire::packet::{Flags, LinkType};
use capture::chains::{Chains, Entry};
use capture::ends::FlowName;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use imports::logline::{Fields, read};

/// Packets of a handshake, and how large each is on average.
const PACKETS: usize = 16;
const BYTES: usize = 400;

fn flow(n: usize) -> FlowName {
    let client = SocketAddr::from(((n as u32).wrapping_mul(2_654_435_761).to_be_bytes(), (n >> 4) as u16));
    FlowName::of(client, SocketAddr::from(([198, 51, 100, 1], 443)))
}

fn entry<'a>(flow: FlowName, at: usize, bytes: &'a [u8]) -> Entry<'a> {
    let (at, wire_len, flags) = (Instant::from_nanos(at as i64), bytes.len() as u32, Flags(0x10));
    Entry { flow, at, wire_len, interface: 2, outgoing: false, flags, link: LinkType::Ethernet, bytes }
}

/// A ring that is full: every packet pushes others out, flows lie interleaved.
fn full(bytes: usize) -> (Chains, usize) {
    let (mut ring, packet) = (Chains::new(bytes), [7_u8; BYTES]);
    let flows = bytes / (BYTES + 40) / PACKETS * 2;
    for i in 0..flows * PACKETS {
        ring.push(entry(flow(i / (PACKETS * 64) * 64 + i % 64), i, &packet));
    }
    (ring, flows)
}

fn recorder(c: &mut Criterion) {
    let mut group = c.benchmark_group("recorder");
    let (mut ring, flows) = full(256 << 20);
    let packet = [7_u8; BYTES];
    let names: Vec<FlowName> = (flows..flows + 4_096).map(flow).collect();
    let mut i = 0;
    group.throughput(Throughput::Elements(1));
    group.bench_function("take a packet of 400 bytes, 256 MB full", |b| {
        b.iter(|| {
            i += 1;
            ring.push(entry(names[i / 4 % names.len()], i, &packet));
        });
    });
    let (ring, flows) = full(256 << 20);
    let mut i = 0;
    group.bench_function("find one flow of 16 packets in 256 MB", |b| {
        b.iter_batched(
            || {
                i += 64 * 7;
                flow(flows - 64 - i % (flows / 4))
            },
            |name| ring.flow(name).len(),
            BatchSize::SmallInput,
        );
    });
    group.sample_size(10);
    group.bench_function("the same by looking at every packet", |b| {
        let name = flow(flows - 64);
        b.iter(|| ring.since(Instant::MIN).filter(|e| e.flow == name).count());
    });
    group.finish();
}

/// Lines as proxies write them: of every request, and whole records of a collector's.
fn log_lines(c: &mut Criterion) {
    let mut group = c.benchmark_group("recorder, a log line");
    group.throughput(Throughput::Elements(1));
    let httpslog = r#"<134>Nov 26 12:00:00 edge haproxy[7]: 198.51.100.4:5001 [26/Nov/2026:12:00:00.101] fe~ be/s1 12/0/1/3/20 200 1534 - - ---- 9/9/0/0/0 0/0 {Mozilla/5.0 (X11; Linux x86_64)|} {} "GET /a/path?with=a&query=7 HTTP/1.1" 0/0/0/0/0 edge.test/TLSv1.3/TLS_AES_128_GCM_SHA256"#;
    let named = r#"{"time_local":"26/Nov/2026:12:00:00 +0000","remote_addr":"198.51.100.4","remote_port":"5001","request":"GET /a/path?with=a&query=7 HTTP/2.0","status":"200","http_user_agent":"Mozilla/5.0 (X11; Linux x86_64)","ssl_handshake_time":"0.012","upstream_addr":"10.0.0.9:8080"}"#;
    let kept =
        serde_json::json!({ "log": format!("{httpslog}\n"), "stream": "stdout", "time": "2026-11-26T12:00:00.1Z" }).to_string();
    for (what, line) in [("HAProxy's httpslog", httpslog), ("nginx's JSON", named), ("httpslog, kept by docker", kept.as_str())] {
        group.bench_function(what, |b| b.iter(|| read(std::hint::black_box(line), &Fields::default()).is_ok()));
    }
}

criterion_group!(benches, recorder, log_lines);
criterion_main!(benches);
