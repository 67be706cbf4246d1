//! The messages as they travel: the golden file is version 1, and what was written by it must always be read.

use std::collections::BTreeMap;
use std::path::Path;

use analysis::clock::{Edge, Instant, Span};
use serde::{Deserialize, Serialize};
use settings::Time;
use whostalled_agent::{
    Answer, Ask, Bundle, ClientEnd, ClientKind, ClientSpec, Clients, Clock, ClockError, Destination, Family, Go, Hello, Load,
    LogLine, Losses, Pause, PauseBefore, Pcapng, Permits, Plan, Ready, Sampled, Spin, Stops, TlsVersion, Trace, VERSION,
};

/// One of each message.
#[derive(PartialEq, Debug, Serialize, Deserialize)]
struct Conversation {
    hello: Hello,
    plan: Plan,
    watch: Plan,
    ready: Ready,
    go: Go,
    bundle: Bundle,
}

fn conversation() -> Conversation {
    let clock = Clock { source: "tsc".into(), error: ClockError::WithinNs(Span::from_micros(250)) };
    let client = ClientSpec {
        kind: ClientKind::Command,
        concurrency: 2,
        spread: Time::millis(80),
        verify: true,
        tls: TlsVersion::V12,
        ipv6: false,
        resume: false,
        nodelay: true,
        timeout: Time::millis(1_500),
        command: vec!["openssl".into(), "{host}".into()],
    };
    let to = Destination {
        name: "edge.example".into(),
        address: "192.0.2.7".parse().ok(),
        port: 443,
        path: "/".into(),
        family: Family::Any,
        roots: None,
        before_tls: None,
        client_certificate: false,
    };
    let clients = Clients {
        client,
        to,
        pauses: vec![Pause { before: PauseBefore::ClientFinished, length: Time::millis(300) }],
        stops: Some(Stops { running: Time::millis(70), stopped: Time::millis(400) }),
        settle: Time::millis(160),
        distrust: false,
    };
    let losses = Losses { received: 40, dropped: 2, evicted: 1 };
    let [cpu_ns, run_delay_ns, steal_ns] = [1, 2, 3].map(Span::from_nanos);
    let at_ns = Instant::from_nanos(1_700_000_000_000_000_001);
    let sample = Sampled { at_ns, tid: 7, cpu_ns, run_delay_ns, state: 'S', steal_ns };
    let trace = Trace { samples: vec![sample], ports: BTreeMap::from([(40_000, true)]), ..Trace::default() };
    Conversation {
        hello: Hello {
            version: VERSION,
            name: "office".into(),
            software: "0.1.0".into(),
            kernel: "6.8.0".into(),
            cpus: 4,
            clock: clock.clone(),
            permits: Permits { quotas: true, real_time: false, no_packets: None },
            spin: None,
        },
        plan: Plan { batch: 1, clients: Some(clients), load: None },
        watch: Plan { batch: 1, clients: None, load: None },
        ready: Ready { batch: 1, clients: 2, losses: Losses::default() },
        go: Go { at: "2026-11-26T20:15:00.000000001Z".parse().ok() },
        bundle: Bundle {
            batch: 1,
            gave_up: vec![],
            clients: vec![ClientEnd {
                pid: 4_711,
                code: None,
                timed_out: true,
                said: serde_json::json!({"local_port": 40_000}),
                complained: "too slow".into(),
                trace: trace.clone(),
            }],
            frames: Pcapng(vec![0x0a, 0x0d, 0x0d, 0x0a, 0xff]),
            server: Some(trace),
            log: vec![LogLine {
                peer: "192.0.2.1:40000".parse().expect("it is an address"),
                accepted_ns: Instant::from_nanos(1_700_000_000_000_000_000),
                finished_ns: None,
                handshake_ms: 1.5,
                error: Some("the peer went away".into()),
            }],
            losses,
            late_ns: Some(Span::from_nanos(1_200)),
            clock,
            spin: None,
        },
    }
}

fn golden() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/messages.json")).expect("it is kept")
}

#[test]
fn messages_are_written_as_the_golden_file_has_them() {
    let written = serde_json::to_string_pretty(&conversation()).expect("they can be written");
    assert_eq!(written.trim(), golden().trim(), "a change that an older reader cannot ignore is a new VERSION");
}

#[test]
fn what_was_written_is_read_again() {
    assert_eq!(serde_json::from_str::<Conversation>(&golden()).expect("they can be read"), conversation());
}

#[test]
fn fields_of_later_versions_are_ignored_and_what_may_be_absent_is() {
    let later = golden().replacen("\"batch\": 1,", "\"batch\": 1, \"later\": true,", 1);
    assert_ne!(later, golden());
    assert_eq!(serde_json::from_str::<Conversation>(&later).expect("it can be read"), conversation());
    let plan: Plan = serde_json::from_str("{\"batch\": 3}").expect("clients may be absent");
    assert_eq!(plan, Plan { batch: 3, clients: None, load: None });
    assert_eq!(serde_json::from_str::<Go>("{}").expect("at once"), Go { at: None });
    assert!(serde_json::from_str::<Plan>("{}").is_err(), "a batch has a number");
}

#[test]
fn another_version_is_refused_by_name() {
    let mut hello = conversation().hello;
    assert_eq!(hello.check(), Ok(()));
    hello.version = VERSION + 1;
    let said = hello.check().expect_err("it is another version").to_string();
    assert!(said.contains("office") && said.contains("version 2"), "{said}");
}

#[test]
fn a_trace_gets_its_clock_from_who_reads_it() {
    let trace = conversation().bundle.server.expect("it is there").on::<Edge>();
    assert_eq!(trace.samples[0].at, Instant::<Edge>::from_nanos(1_700_000_000_000_000_001));
    assert_eq!(trace.nodelay, Some(true));
    assert_eq!(Trace::default().on::<Edge>().nodelay, None, "nobody looked");
}

/// What came later, and may be absent: it is written only where it says something.
#[test]
fn what_later_releases_added_is_read_back() {
    let Conversation { mut plan, mut hello, mut bundle, .. } = conversation();
    plan.load = Some(Load { cpus: Some(0.4), burners: 2, one_cpu: true });
    if let Some(clients) = &mut plan.clients {
        (clients.to.path, clients.to.family, clients.to.roots) = ("/health".into(), Family::V6, Some("PEM".into()));
    }
    hello.permits.no_packets = Some("CAP_NET_RAW is missing".into());
    bundle.gave_up.push("no quota".into());
    let [least_ns, median_ns, most_ns] = [330, 340, 10_000].map(Span::from_micros);
    let spin = Spin { rounds: 200_000, n: 16, least_ns, median_ns, most_ns };
    (hello.spin, bundle.spin) = (Some(spin), Some(spin));
    for ask in [Ask::Prepare(Box::new(plan)), Ask::Go(Go { at: None }), Ask::Collect, Ask::Time] {
        let line = serde_json::to_string(&ask).expect("it can be written");
        assert!(!line.contains('\n') && serde_json::from_str::<Ask>(&line).expect("it can be read") == ask, "{line}");
    }
    let answers = [
        Answer::Hello(hello),
        Answer::Ready(conversation().ready),
        Answer::Gone,
        Answer::Bundle(Box::new(bundle)),
        Answer::Time { now_ns: Instant::from_nanos(-5) },
        Answer::Failed { why: "no".into() },
    ];
    for answer in answers {
        let line = serde_json::to_string(&answer).expect("it can be written");
        assert!(!line.contains('\n') && serde_json::from_str::<Answer>(&line).expect("it can be read") == answer, "{line}");
    }
    assert!(serde_json::from_str::<Ask>("{\"ask\": \"dance\"}").is_err());
}
