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
use whostalled_imports::{Contents, HEAD, Reason, Request, Seen, Source, Unknown, read, sniff};

/// Every file: what it is, and how many requests it gives.
const FILES: &[(&str, Source, usize)] = &[
    ("made/chromium-late-and-refused.har", Source::Har, 1),
    ("made/chromium.har", Source::Har, 2),
    ("made/curl-behind-page.txt", Source::Curl, 1),
    ("made/curl-http.json", Source::Curl, 1),
    ("made/curl-late-flight.json", Source::Curl, 1),
    ("made/curl-no-answer.json", Source::Curl, 1),
    ("made/curl-no-name.json", Source::Curl, 1),
    ("made/curl-not-tls.json", Source::Curl, 1),
    ("made/curl-redirected.json", Source::Curl, 0),
    ("made/curl-refused.json", Source::Curl, 1),
    ("made/curl-reused-in-one-line.json", Source::Curl, 2),
    ("made/curl-slow-answer.json", Source::Curl, 1),
    ("made/curl-tls12.json", Source::Curl, 1),
    ("made/curl-tls13.json", Source::Curl, 1),
    ("made/haproxy-handshake.log", Source::HaProxy, 3),
    ("made/haproxy-http.log", Source::HaProxy, 1),
    ("made/haproxy-https.log", Source::HaProxy, 3),
    ("made/haproxy-tcp.log", Source::HaProxy, 1),
    ("made/netlog-killed.json", Source::NetLog, 2),
    ("made/netlog-late-flight.json", Source::NetLog, 3),
    ("made/netlog-refused.json", Source::NetLog, 3),
    ("made/netlog.json", Source::NetLog, 2),
    ("made/nginx-combined.log", Source::Line, 0),
    ("made/nginx-labelled.log", Source::Nginx, 10),
    ("made/nginx-pairs.log", Source::Nginx, 10),
    ("made/nginx.json", Source::Nginx, 10),
    ("edited/curl-7.70.json", Source::Curl, 1),
    ("edited/curl-8.14-by-proxy.json", Source::Curl, 1),
    ("edited/curl-8.14-http3.json", Source::Curl, 1),
    ("edited/curl-8.14.json", Source::Curl, 1),
    ("edited/curl-array.json", Source::Curl, 2),
    ("edited/devtools-cut.har", Source::Har, 2),
    ("edited/devtools.har", Source::Har, 4),
    ("edited/devtools.har.gz", Source::Har, 4),
    ("edited/firefox.har", Source::Har, 2),
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
            assert_eq!(
                request.key().is_none(),
                request.unknown.contains(Unknown::ClientAddress) || request.unknown.contains(Unknown::ClientPort),
                "{place}"
            );
            let handshake = match &request.seen {
                Seen::Edge(trace) => trace.handshake.is_some(),
                Seen::Client(_) => true,
            };
            assert!(
                handshake
                    || request.unknown.contains(Unknown::Handshake)
                    || request.url.as_deref().is_some_and(|url| url.starts_with("http://")),
                "{place}"
            );
        }
    }
}

#[test]
fn albs_tell_of_requests_and_targets_and_their_connection_log_of_handshakes() {
    let (found, _) = requests("documented/alb-access.log");
    assert_eq!(found.iter().map(label).collect::<Vec<_>>(), ["edge_app/dependency", "inconclusive", "inconclusive"]);
    let first = &found[0];
    assert_eq!(
        (key(first), first.status, first.version.as_deref()),
        (Some(("192.0.2.7:40012".into(), None)), Some(200), Some("TLS 1.2"))
    );
    assert_eq!(first.when.map(|when| (when.text(), when.zone_known)), Some(("2026-11-26T12:00:00.273Z".into(), true)));
    assert_eq!((first.host.as_deref(), first.port, first.path.as_deref()), (Some("www.example.com"), Some(443), Some("/orders")));
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
    assert_eq!(
        edge(&found[0]),
        &EdgeTrace { receiving: ms(600.0), backend: ms(12.0), undivided: ms(28.0), complete: true, ..EdgeTrace::default() }
    );
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

#[test]
fn curls_steps_are_what_it_says_and_no_more() {
    let late = one("made/curl-late-flight.json");
    assert_eq!(
        (late.status, late.port, label(&late)),
        (Some(200), Some(18445), "inconclusive".into()),
        "who kept the flight back, curl cannot know"
    );
    assert_eq!(
        key(&late).and_then(|(client, server)| Some((client.starts_with("127.0.0.1:"), server?))),
        Some((true, "127.0.0.1:18445".into()))
    );
    let took = client(&late).tls.and_then(|tls| Some(tls.done? - tls.began)).map(Span::millis);
    assert!(took.is_some_and(|ms| (400.0..500.0).contains(&ms)), "{took:?}");
    let (_, judgement) = judged(&late);
    assert!(judgement.missing.contains(Missing::ClientSocket) && judgement.candidates.contains(Owner::Client));

    for (name, error) in [("no-answer", "Connection timed out"), ("not-tls", "wrong version number")] {
        let failed = one(&format!("made/curl-{name}.json"));
        assert!(failed.error.as_deref().is_some_and(|said| said.contains(error)), "{:?}", failed.error);
        assert!(
            failed.unknown.contains(Unknown::Steps) && client(&failed).connect.is_none(),
            "curl does not tell when TCP was done"
        );
        assert_eq!((client(&failed).complete, client(&failed).tls.map(|tls| tls.done)), (false, Some(None)));
    }
    let refused = one("made/curl-refused.json");
    assert_eq!((client(&refused).connect.map(|tcp| tcp.done), client(&refused).tls, refused.key()), (Some(None), None, None));
    let no_name = one("made/curl-no-name.json");
    assert_eq!((client(&no_name).lookup.map(|lookup| lookup.done), client(&no_name).connect), (Some(None), None));
    let http = one("made/curl-http.json");
    assert_eq!((client(&http).tls, client(&http).complete), (None, true));

    let (found, _) = requests("made/curl-reused-in-one-line.json");
    assert_eq!(found.iter().map(Request::reused).collect::<Vec<_>>(), [false, true]);
    assert_eq!((client(&found[1]).connect, client(&found[1]).tls, found[0].key()), (None, None, found[1].key()));
    let (_, contents) = requests("made/curl-redirected.json");
    assert_eq!(contents.skipped.first().map(|s| s.reason), Some(Reason::Redirects));
}

#[test]
fn curls_of_all_versions_are_read() {
    let old = one("edited/curl-7.70.json");
    assert_eq!((key(&old), label(&old)), (both("192.0.2.7:53412", "198.51.100.1:443"), "inconclusive".into()));
    let new = one("edited/curl-8.14.json");
    assert_eq!((key(&new), label(&new)), (both("[2001:db8::7]:53412", "[2001:db8::1]:443"), "healthy".into()));
    assert!(one("edited/curl-8.14-by-proxy.json").unknown.contains(Unknown::Proxy));
    let quic = one("edited/curl-8.14-http3.json");
    assert!(quic.unknown.contains(Unknown::Quic) && client(&quic).connect.is_none() && client(&quic).tls.is_some());
    assert_eq!(requests("edited/curl-array.json").0.iter().map(key).collect::<Vec<_>>(), [key(&old), key(&new)]);
}

#[test]
fn hars_have_no_clients_end_whoever_wrote_them() {
    let steps = |request: &Request| {
        let trace = client(request);
        let length = |began, done: Option<_>| done.map(|done| analysis::clock::Span::millis(done - began));
        (trace.connect.and_then(|tcp| length(tcp.began, tcp.done)), trace.tls.and_then(|tls| length(tls.began, tls.done)))
    };
    for (name, n) in [("made/chromium.har", 2), ("edited/devtools.har", 4), ("edited/firefox.har", 2)] {
        let (found, _) = requests(name);
        assert_eq!(found.iter().filter(|r| r.key().is_none() && r.unknown.contains(Unknown::ClientAddress)).count(), n, "{name}");
    }
    let (found, contents) = requests("edited/devtools.har");
    assert_eq!(contents.skipped.first().map(|s| (s.reason, s.n, s.first.number)), Some((Reason::NotAsked, 1, 3)));
    assert_eq!(steps(&found[0]), (Some(1_032.0), Some(52.2)));
    assert_eq!((found[0].server.to_string().as_str(), label(&found[0]).as_str()), ("[2001:db8::1]:443", "inconclusive"));
    assert_eq!((found[1].reused(), steps(&found[1]), label(&found[1]).as_str()), (true, (None, None), "inconclusive"));
    assert!(found[2].unknown.contains(Unknown::Quic) && steps(&found[2]) == (None, Some(31.0)), "{:?}", steps(&found[2]));
    let down = &found[3];
    assert_eq!((down.reused(), down.status, down.error.as_deref()), (false, None, Some("net::ERR_CONNECTION_TIMED_OUT")));
    assert!(judged(down).1.candidates.contains(Owner::Resolver), "the browser's queue hides what it waited for");
    assert_eq!(requests("edited/devtools-cut.har").1.cut.as_deref(), Some("the file ends behind entry 3"));

    let (found, _) = requests("edited/firefox.har");
    assert_eq!(steps(&found[0]), (Some(31.0), Some(640.0)), "in Firefox TLS is not within connect");
    assert_eq!((found[1].reused(), found[0].when.map(|when| when.text())), (true, Some("2026-11-26T12:00:00.12Z".into())));

    let (found, _) = requests("made/chromium.har");
    assert_eq!((found[1].reused(), found[0].version.as_deref(), found[0].status), (true, Some("TLS 1.3"), Some(200)));
    let (found, _) = requests("made/chromium-late-and-refused.har");
    assert!(steps(&found[0]).1.is_some_and(|ms| ms > 400.0) && label(&found[0]) == "inconclusive");
}

#[test]
fn netlogs_give_the_whole_key() {
    let (found, _) = requests("made/netlog-late-flight.json");
    let used = found.iter().find(|request| request.url.is_some()).expect("the page's");
    assert_eq!((used.version.as_deref(), used.port, used.server.port), (Some("TLS 1.3"), Some(18445), Some(18445)));
    assert!(used.client.socket().is_some() && found[0].random.is_some() && found[0].random != found[1].random);
    let tls = client(used).tls.expect("it has TLS");
    assert!(tls.hello.is_some() && tls.flight.is_some() && tls.finished.is_some() && tls.rounds == Some(1), "{tls:?}");
    assert!(!used.unknown.contains(Unknown::TlsMessages) && client(used).lookup.is_some_and(|lookup| lookup.done.is_some()));
    let mapped = requests("made/netlog.json").0;
    assert!(
        mapped.iter().all(|r| client(r).lookup.is_none() && r.unknown.contains(Unknown::Lookup)),
        "its name was mapped to an address"
    );
    assert_eq!(label(used), "inconclusive");
    let (refused, _) = requests("made/netlog-refused.json");
    assert!(refused.iter().all(|r| r.error.as_deref() == Some("net error -102") && !client(r).complete && r.key().is_none()));
    let (killed, contents) = requests("made/netlog-killed.json");
    assert!(killed.iter().all(|r| !client(r).complete && r.unknown.contains(Unknown::Rest) && r.random.is_some()));
    assert!(contents.cut.as_deref().is_some_and(|cut| cut.starts_with("the file ends behind event ")), "{contents:?}");
}

#[test]
fn proxies_own_lines_are_read_as_they_write_them() {
    let (found, _) = requests("made/haproxy-handshake.log");
    assert_eq!(found.iter().map(|r| edge(r).handshake.is_some()).collect::<Vec<_>>(), [true, false, true]);
    let late = edge(&found[2]).handshake.map(Span::millis);
    assert!(late.is_some_and(|ms| (500.0..700.0).contains(&ms)), "{late:?}");
    assert_eq!(label(&found[2]), "inconclusive", "it was the client, and HAProxy cannot know");
    let (found, _) = requests("made/haproxy-https.log");
    assert_eq!((found[0].version.as_deref(), found[1].path.as_deref()), (Some("TLS 1.3"), Some("/slow")));
    assert_eq!(label(&found[1]), "edge_app/dependency");
    assert_eq!(found[2].error.as_deref(), Some("SSL handshake failure"));
    assert!(found[0].key().is_some() && edge(&one("made/haproxy-tcp.log")).complete);

    let (json, _) = requests("made/nginx.json");
    let (labelled, _) = requests("made/nginx-labelled.log");
    let (pairs, _) = requests("made/nginx-pairs.log");
    for other in [&labelled, &pairs] {
        for (a, b) in json.iter().zip(other.iter()) {
            assert_eq!((a.client, edge(a).backend, edge(a).undivided), (b.client, edge(b).backend, edge(b).undivided));
        }
    }
    assert!(json.iter().any(|r| r.reused()) && json.iter().all(|r| edge(r).round_trip.is_some()));
    let (_, contents) = requests("made/nginx-combined.log");
    assert_eq!(contents.skipped.first().map(|s| s.reason), Some(Reason::NoTimes));
}

fn ms(ms: f64) -> Option<Span> {
    Some(Span::from_micros((ms * 1e3) as i64))
}
