//! Probes against real servers on loopback: good ones, slow ones, and ones that talk nonsense.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use analysis::conversation::socket;
use analysis::judging::ledger::{Baseline, Owner, Phase};
use analysis::judging::verdict::{Circumstances, judge};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use whostalled_prober::tls::{Only, TlsOptions, config};
use whostalled_prober::{Family, HttpRequest, Lookup, Pauses, Reason, Report, Route, Target, probe};

fn server_config(names: &[&str]) -> Arc<ServerConfig> {
    let key = rcgen::generate_simple_self_signed(names.iter().map(ToString::to_string).collect::<Vec<_>>()).expect("rcgen signs");
    let _ = rustls::crypto::ring::default_provider().install_default();
    let chain = vec![key.cert.der().clone()];
    let secret = rustls_pki_types::PrivateKeyDer::Pkcs8(key.signing_key.serialize_der().into());
    let mut config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, secret).expect("the pair fits");
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

/// A TLS server that waits before it answers ClientHello.
async fn edge(config: Arc<ServerConfig>, before_flight: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback can be bound");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = TlsAcceptor::from(Arc::clone(&config));
            tokio::spawn(async move {
                stream.readable().await?;
                tokio::time::sleep(before_flight).await;
                let mut tls = acceptor.accept(stream).await?;
                let mut request = [0; 4096];
                let _ = tls.read(&mut request).await?;
                tls.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await?;
                tls.shutdown().await
            });
        }
    });
    address
}

fn target(address: SocketAddr, options: &TlsOptions) -> Target {
    Target {
        host: "edge.test".into(),
        port: address.port(),
        connect_to: None,
        address: Some(address),
        server_name: None,
        family: Family::Any,
        tls: Some(Arc::new(config(options).expect("the options are sound"))),
        request: Some(HttpRequest::default()),
        timeout: Duration::from_secs(5),
        pauses: Pauses::default(),
        route: Route::default(),
    }
}

fn insecure() -> TlsOptions {
    TlsOptions { insecure: true, ..TlsOptions::default() }
}

async fn once(target: &Target) -> Report {
    probe(target, &Lookup::new(&["127.0.0.1:9".parse().expect("an address")]).expect("a resolver")).await
}

fn verdict(report: &Report) -> String {
    let mut reading = socket::read(&report.trace);
    reading.ledger.apply(&Baseline { client_unsplit: analysis::clock::Span::from_millis(20), ..Baseline::default() });
    judge(&reading, Circumstances::default()).verdict.label()
}

#[tokio::test]
async fn every_timing_of_a_good_handshake_is_there_and_in_order() {
    for only in [Only::Tls12, Only::Tls13] {
        let address = edge(server_config(&["edge.test"]), Duration::ZERO).await;
        let report = once(&target(address, &TlsOptions { only: Some(only), alpn: vec!["http/1.1".into()], ..insecure() })).await;
        assert!(report.success, "{report:?}");
        let times = [
            report.connect_start,
            report.connected,
            report.client_hello,
            report.flight_at_kernel,
            report.flight_read,
            report.first_response,
            Some(report.ended),
        ];
        assert!(times.iter().all(Option::is_some), "{report:?}");
        assert!(times.windows(2).all(|w| w[0] <= w[1]), "{times:?}");
        assert_eq!(report.response.as_ref().map(|r| r.status), Some(200));
        assert_eq!(report.alpn.as_deref(), Some("http/1.1"));
        assert!(report.dns_start.is_none(), "an address is not looked up");
        let hello = &report.trace.exchanges[0].sent;
        assert!(hello.left.len() == 1 && hello.acked.is_some(), "the kernel stamps ClientHello: {hello:?}");
    }
}

#[tokio::test]
async fn a_slow_edge_is_named_and_a_slow_client_is_not_the_edge() {
    let address = edge(server_config(&["edge.test"]), Duration::from_millis(150)).await;
    let report = once(&target(address, &insecure())).await;
    assert_eq!(verdict(&report), "edge", "{:#?}", socket::read(&report.trace).ledger);

    let address = edge(server_config(&["edge.test"]), Duration::ZERO).await;
    let pauses = Pauses { before_finished: Duration::from_millis(150), ..Pauses::default() };
    let report = once(&Target { pauses, ..target(address, &insecure()) }).await;
    let ledger = socket::read(&report.trace).ledger;
    assert!(verdict(&report).starts_with("client"), "{ledger:#?}");
    let ours: analysis::clock::Span = ledger.entries.iter().filter(|e| e.owner.side() == Owner::Client).map(|e| e.span).sum();
    assert!(ours >= analysis::clock::Span::from_millis(140), "{ledger:#?}");
}

#[tokio::test]
async fn an_answer_has_a_beginning_and_a_length() {
    let address = edge(server_config(&["edge.test"]), Duration::ZERO).await;
    let report = once(&target(address, &insecure())).await;
    assert!(report.trace.tried.is_empty() && report.trace.same_host);
    let answer = report.trace.exchanges[0].answer.expect("it came");
    assert!(answer.bytes > Some(100) && answer.first.is_some() && answer.first <= answer.at_kernel, "{answer:?}");
}

#[tokio::test]
async fn a_hello_retry_request_is_a_round_trip_of_the_protocols_and_nobodys_finished() {
    let key = rcgen::generate_simple_self_signed(["edge.test".to_owned()]).expect("rcgen signs");
    let mut provider = rustls::crypto::ring::default_provider();
    provider.kx_groups.retain(|group| group.name() == rustls::NamedGroup::secp384r1);
    let builder = ServerConfig::builder_with_provider(Arc::new(provider)).with_protocol_versions(rustls::ALL_VERSIONS);
    let secret = rustls_pki_types::PrivateKeyDer::Pkcs8(key.signing_key.serialize_der().into());
    let chain = vec![key.cert.der().clone()];
    let config = builder.expect("it has versions").with_no_client_auth().with_single_cert(chain, secret).expect("the pair fits");
    let report = once(&target(edge(Arc::new(config), Duration::ZERO).await, &insecure())).await;
    assert!(report.success, "{report:?}");
    let exchanges: Vec<_> = report.trace.exchanges.iter().map(|e| (e.phase, e.extra)).collect();
    assert_eq!(exchanges, [(Phase::ServerFlight, true), (Phase::ServerFlight, false), (Phase::Request, false)]);
    let finished = report.trace.finished.as_ref().expect("it came to Finished");
    assert!(report.flight_read.is_some_and(|read| read <= finished.written), "Finished answers the flight");
}

#[tokio::test]
async fn failures_have_reasons_and_keep_their_timings() {
    let good = server_config(&["edge.test"]);
    let address = edge(Arc::clone(&good), Duration::ZERO).await;
    let refused = {
        // Bound but never listening: connections are refused, and nobody else can be given the port.
        let closed = TcpSocket::new_v4().expect("a socket opens");
        closed.bind("127.0.0.1:0".parse().expect("an address")).expect("loopback can be bound");
        once(&target(closed.local_addr().expect("it is bound"), &insecure())).await
    };
    assert_eq!(refused.reason, Some(Reason::ConnectRefused));

    let ca = std::env::temp_dir().join(format!("whostalled-ca-{}.pem", std::process::id()));
    let mut other = rcgen::CertificateParams::new(vec!["other.test".into()]).expect("a name");
    other.distinguished_name.push(rcgen::DnType::CommonName, "another authority");
    let key = rcgen::KeyPair::generate().expect("a key");
    std::fs::write(&ca, other.self_signed(&key).expect("rcgen signs").pem()).expect("written");
    let unknown = once(&target(address, &TlsOptions { ca: Some(ca.clone()), ..TlsOptions::default() })).await;
    std::fs::remove_file(&ca).expect("it was written");
    assert_eq!(unknown.reason, Some(Reason::CertificateUnknownIssuer), "{unknown:?}");
    assert!(unknown.flight_read.is_some() && unknown.client_finished.is_none());

    let slow = edge(good, Duration::from_secs(60)).await;
    let late = once(&Target { timeout: Duration::from_millis(300), ..target(slow, &insecure()) }).await;
    assert_eq!(late.reason, Some(Reason::TlsTimeout));
    assert!(late.client_hello.is_some() && late.flight_read.is_none());
    let reading = socket::read(&late.trace);
    assert_eq!(reading.ledger.entries.iter().map(|e| e.span).sum::<analysis::clock::Span>(), reading.ledger.total);

    let dead = once(&Target { address: None, timeout: Duration::from_millis(300), ..target(address, &insecure()) }).await;
    assert!(matches!(dead.reason, Some(Reason::DnsTimeout | Reason::DnsFailed)), "{:?}", dead.reason);
    assert!(dead.dns_start.is_some() && dead.dns_end.is_none() && dead.connected.is_none());
}

#[tokio::test]
async fn sessions_are_resumed_on_purpose_or_never() {
    let address = edge(server_config(&["edge.test"]), Duration::ZERO).await;
    let never = target(address, &insecure());
    assert!(!once(&never).await.resumed && !once(&never).await.resumed);
    let always = target(address, &TlsOptions { resume: true, ..insecure() });
    assert!(!once(&always).await.resumed, "there is nothing yet to resume");
    assert!(once(&always).await.resumed);
}

/// The edge's flight of a real handshake, as its bytes came.
async fn recorded(config: Arc<ServerConfig>) -> Vec<u8> {
    let address = edge(config, Duration::ZERO).await;
    let proxy = TcpListener::bind("127.0.0.1:0").await.expect("loopback can be bound");
    let through = proxy.local_addr().expect("it is bound");
    let recording = tokio::spawn(async move {
        let (mut client, _) = proxy.accept().await.expect("the probe comes");
        let mut server = TcpStream::connect(address).await.expect("the edge answers");
        let mut hello = vec![0; 4096];
        let n = client.read(&mut hello).await.expect("ClientHello");
        server.write_all(&hello[..n]).await.expect("it is passed on");
        let mut flight = vec![0; 8192];
        let n = server.read(&mut flight).await.expect("the flight");
        flight.truncate(n);
        flight
    });
    let _ = once(&Target { timeout: Duration::from_millis(500), ..target(through, &insecure()) }).await;
    recording.await.expect("it was recorded")
}

#[tokio::test]
async fn no_flipped_byte_of_a_flight_does_worse_than_fail_with_a_reason() {
    let flight = recorded(server_config(&["edge.test"])).await;
    assert!(flight.len() > 500, "a flight holds a certificate");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback can be bound");
    let address = listener.local_addr().expect("it is bound");
    let replies = flight.clone();
    tokio::spawn(async move {
        for i in 0..replies.len() {
            let (mut client, _) = listener.accept().await.expect("the probe comes");
            let mut hello = [0; 4096];
            let _ = client.read(&mut hello).await;
            let mut reply = replies.clone();
            reply[i] ^= 0xff;
            let _ = client.write_all(&reply).await;
            let _ = client.shutdown().await;
        }
    });
    let target = Target { timeout: Duration::from_millis(200), ..target(address, &insecure()) };
    for i in 0..flight.len() {
        let report = once(&target).await;
        let reason = report.reason.unwrap_or_else(|| panic!("byte {i} was flipped and the handshake succeeded"));
        assert!(!matches!(reason, Reason::Prober), "byte {i}: {reason}: {:?}", report.detail);
        let ledger = socket::read(&report.trace).ledger;
        assert_eq!(ledger.entries.iter().map(|e| e.span).sum::<analysis::clock::Span>(), ledger.total);
    }
}
