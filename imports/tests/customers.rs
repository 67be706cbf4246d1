//! Files as customers send them (`customers/README.md` says how each was made): what they are, what is in them, and that nothing is claimed
//! which their sources cannot know.

use std::collections::BTreeSet;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use analysis::clock::Span;
use analysis::conversation::app::{self, AppTrace, edge::EdgeTrace};
use analysis::judging::ledger::{Missing, Owner};
use analysis::judging::verdict::{Grade, Judgement, Reading, Verdict};
use whostalled_imports::{Contents, HEAD, Request, Seen, Source, Unknown, read, sniff};

/// Every file: what it is, and how many requests it gives.
const FILES: &[(&str, Source, usize)] = &[
    ("documented/alb-access.log", Source::Alb, 3),
    ("documented/alb-access.log.gz", Source::Alb, 3),
    ("documented/alb-connection.log", Source::AlbConnections, 3),
    ("documented/alb-http.log", Source::Alb, 1),
    ("documented/envoy-default.log", Source::Envoy, 2),
    ("documented/envoy-http.json", Source::Envoy, 2),
    ("documented/envoy-istio.log", Source::Envoy, 1),
    ("documented/envoy-tcp.json", Source::Envoy, 1),
    ("documented/haproxy-th.log", Source::HaProxy, 2),
    ("documented/ingress-nginx.log", Source::Nginx, 1),
    ("documented/nginx-handshake-time.json", Source::Nginx, 2),
    ("documented/nlb-tls.log", Source::Nlb, 3),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/customers")
}

/// A file's bytes, unpacked.
fn bytes(name: &str) -> Vec<u8> {
    let packed = std::fs::read(folder().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    if !name.ends_with(".gz") {
        return packed;
    }
    let mut plain = Vec::new();
    flate2::read::MultiGzDecoder::new(&packed[..]).read_to_end(&mut plain).unwrap_or_else(|e| panic!("{name}: {e}"));
    plain
}

fn requests(name: &str) -> (Vec<Request>, Contents) {
    let bytes = bytes(name);
    let source = sniff(&bytes[..bytes.len().min(HEAD)]).unwrap_or_else(|| panic!("{name}: nothing that is known"));
    let mut found = Vec::new();
    let contents = read(source, &bytes[..], &mut |request| {
        found.push(request);
        ControlFlow::Continue(())
    });
    (found, contents)
}

fn one(name: &str) -> Request {
    let (mut found, contents) = requests(name);
    assert_eq!(found.len(), 1, "{name}: {contents:?}");
    found.remove(0)
}

fn client(request: &Request) -> &AppTrace {
    match &request.seen {
        Seen::Client(trace) => trace,
        Seen::Edge(_) => panic!("{}: a client's program", request.place),
    }
}

fn edge(request: &Request) -> &EdgeTrace {
    match &request.seen {
        Seen::Edge(trace) => trace,
        Seen::Client(_) => panic!("{}: an edge's program", request.place),
    }
}

fn judged(request: &Request) -> (Reading, Judgement) {
    match &request.seen {
        Seen::Client(trace) => {
            let mut reading = app::read(trace);
            let judgement = app::judge(trace, &mut reading, None);
            (reading, judgement)
        }
        Seen::Edge(trace) => {
            let mut reading = app::edge::read(trace);
            let judgement = app::edge::judge(trace, &mut reading);
            (reading, judgement)
        }
    }
}

fn label(request: &Request) -> String {
    judged(request).1.verdict.label()
}

fn key(request: &Request) -> Option<(String, Option<String>)> {
    request.key().map(|key| (key.client.to_string(), key.server.map(|server| server.to_string())))
}

fn both(client: &str, server: &str) -> Option<(String, Option<String>)> {
    Some((client.to_owned(), Some(server.to_owned())))
}

#[test]
fn every_file_is_what_it_is_and_gives_what_is_in_it() {
    for (name, source, n) in FILES {
        let head = bytes(name);
        assert_eq!(sniff(&head[..head.len().min(HEAD)]), Some(*source), "{name}");
        let (found, contents) = requests(name);
        assert_eq!((found.len(), contents.requests), (*n, *n as u64), "{name}: {contents:?}");
    }
    let listed: BTreeSet<String> = FILES.iter().map(|(name, ..)| (*name).to_owned()).collect();
    let mut there = BTreeSet::new();
    for kind in ["documented", "edited", "made"] {
        for file in std::fs::read_dir(folder().join(kind)).into_iter().flatten().flatten() {
            there.insert(format!("{kind}/{}", file.file_name().to_string_lossy()));
        }
    }
    assert_eq!(listed, there, "files and this list");
    assert!(FILES.len() >= 30, "{}", FILES.len());
}

#[test]
fn nobody_is_convicted_whom_a_program_cannot_see() {
    for (name, ..) in FILES {
        for request in requests(name).0 {
            let (reading, judgement) = judged(&request);
            let place = format!("{name}, {}: {:?}", request.place, judgement.verdict);
            assert!(matches!(reading.grade, Grade::App { host: false }), "{place}");
            assert_eq!(reading.ledger.entries.iter().map(|e| e.span).sum::<Span>(), reading.ledger.total, "{place}");
            // A client's program knows itself and whom it asked for names; an edge's knows itself and its backend.
            let knows = match request.seen {
                Seen::Client(_) => Owner::Client | Owner::Resolver,
                Seen::Edge(_) => Owner::Edge | Owner::EdgeApp,
            };
            match &judgement.verdict {
                Verdict::Healthy => {}
                Verdict::Culprit { primary, second } => {
                    let named = [Some(primary), second.as_ref()].into_iter().flatten();
                    assert!(named.into_iter().all(|culprit| knows.contains(culprit.owner)), "{place}");
                }
                Verdict::Inconclusive { candidates, missing, .. } => {
                    assert!(candidates.len() > 1 && !missing.is_empty(), "{place}");
                }
                Verdict::Aborted { .. } => panic!("{place}"),
            }
            assert!(request.unknown.is_superset(Unknown::KernelTimes | Unknown::Loss), "{place}");
            assert_eq!(request.random.is_none(), request.unknown.contains(Unknown::Random), "{place}");
            assert!(request.random.is_none() || request.source == Source::NetLog, "{place}");
            assert_eq!(request.key().is_none(), request.unknown.contains(Unknown::ClientAddress) || request.unknown.contains(Unknown::ClientPort), "{place}");
            let handshake = match &request.seen {
                Seen::Edge(trace) => trace.handshake.is_some(),
                Seen::Client(_) => true,
            };
            assert!(handshake || request.unknown.contains(Unknown::Handshake) || request.url.as_deref().is_some_and(|url| url.starts_with("http://")), "{place}");
        }
    }
}

#[test]
fn albs_tell_of_requests_and_targets_and_their_connection_log_of_handshakes() {
    let (found, _) = requests("documented/alb-access.log");
    assert_eq!(found.iter().map(label).collect::<Vec<_>>(), ["edge_app/dependency", "inconclusive", "inconclusive"]);
    let first = &found[0];
    assert_eq!((key(first), first.status, first.version.as_deref()), (Some(("192.0.2.7:40012".into(), None)), Some(200), Some("TLS 1.2")));
    assert_eq!(first.when.map(|when| (when.text(), when.zone_known)), Some(("2026-11-26T12:00:00.273Z".into(), true)));
    assert_eq!((first.host.as_deref(), first.port, first.path.as_deref()), (Some("www.example.com"), Some(443), Some("/orders?id=7")));
    assert_eq!(edge(first), &EdgeTrace { own: ms(1.0), backend: ms(912.0), complete: true, ..EdgeTrace::default() });
    assert_eq!(edge(&found[1]).undivided, ms(640.0), "a body that the client may have been slow to send");
    assert_eq!(edge(&found[2]), &EdgeTrace::default(), "-1 is no time");

    let (found, _) = requests("documented/alb-connection.log");
    assert_eq!(found.iter().map(|r| edge(r).handshake).collect::<Vec<_>>(), [ms(4_036.0), ms(31.0), None]);
    let (_, judgement) = judged(&found[0]);
    assert_eq!(judgement.candidates, Owner::Client | Owner::Path | Owner::Loss | Owner::Edge);
    assert!(judgement.missing.contains(Missing::EdgeCapture));
}

#[test]
fn nlbs_tell_of_handshakes_and_both_ends() {
    let (found, _) = requests("documented/nlb-tls.log");
    assert_eq!(found.iter().map(|r| edge(r).handshake).collect::<Vec<_>>(), [ms(812.0), ms(22.0), None]);
    assert_eq!(key(&found[0]), both("192.0.2.7:51341", "198.51.100.100:443"));
    assert_eq!(found[0].when.map(|when| when.precision), Some(Span::from_millis(1_000)));
    assert_eq!((found[1].host.as_deref(), found[1].version.as_deref()), (Some("www.example.com"), Some("TLS 1.3")));
    assert_eq!(found[2].error.as_deref(), Some("the client sent TLS alert 48"));
    assert_eq!(found[..2].iter().map(label).collect::<Vec<_>>(), ["inconclusive", "healthy"]);
}

#[test]
fn envoys_default_has_no_clients_end_and_its_json_may() {
    let (found, _) = requests("documented/envoy-default.log");
    assert!(found.iter().all(|r| r.key().is_none() && r.unknown.contains(Unknown::ClientAddress)));
    assert_eq!(edge(&found[0]), &EdgeTrace { backend: ms(900.0), undivided: ms(26.0), complete: true, ..EdgeTrace::default() });
    assert_eq!((edge(&found[1]).complete, label(&found[1])), (false, "inconclusive".into()));
    let istio = one("documented/envoy-istio.log");
    assert_eq!(key(&istio), both("198.51.100.4:5001", "10.1.0.1:8443"));
    assert_eq!(edge(&istio).undivided, ms(709.0));
    let (found, _) = requests("documented/envoy-http.json");
    assert_eq!(key(&found[1]), both("[2001:db8::4]:5002", "[2001:db8::1]:443"));
    assert_eq!(edge(&found[0]), &EdgeTrace { receiving: ms(600.0), backend: ms(12.0), undivided: ms(28.0), complete: true, ..EdgeTrace::default() });
    let tcp = one("documented/envoy-tcp.json");
    assert_eq!((edge(&tcp).handshake, edge(&tcp).undivided, tcp.host.as_deref()), (ms(731.0), None, Some("www.example.com")));
}

#[test]
fn handshake_times_of_haproxy_and_nginx_are_their_first_requests() {
    let (found, _) = requests("documented/haproxy-th.log");
    assert_eq!(found.iter().map(|r| (edge(r).handshake, r.reused())).collect::<Vec<_>>(), [(ms(640.0), false), (None, true)]);
    assert_eq!(found[0].when.map(|when| (when.text(), when.zone_known)), Some(("2026-11-26T12:00:00.101Z".into(), false)));
    assert!(found[0].unknown.contains(Unknown::Zone));
    let (found, _) = requests("documented/nginx-handshake-time.json");
    assert_eq!(found.iter().map(|r| (edge(r).handshake, r.reused())).collect::<Vec<_>>(), [(ms(512.0), false), (None, true)]);
    assert_eq!((edge(&found[0]).round_trip, edge(&found[0]).backend), (ms(31.0), ms(3.0)));
    assert_eq!(key(&found[0]), both("198.51.100.4:5001", "10.1.0.1:443"));
    assert_eq!(edge(&one("documented/ingress-nginx.log")).backend, ms(800.0));
}

fn ms(ms: f64) -> Option<Span> {
    Some(Span::from_micros((ms * 1e3) as i64))
}
