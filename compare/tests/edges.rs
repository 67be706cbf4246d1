//! Real edges on loopback that differ in one thing each.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use analysis::judging::ledger::{Owner, Phase};
use prober::tls::Only;
use records::compared::{Change, Compared, Count, Counted, Found, LeftOut, Outcome};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use whostalled_compare::edge::Asked;
use whostalled_compare::judge::Sizes;
use whostalled_compare::{Error, Options, Stop, compare, compare_with_stored};

/// How an edge is.
#[derive(Clone, Copy)]
struct Edge {
    /// It thinks so long before it speaks TLS.
    thinks: Duration,
    /// Certificates that nobody needs, behind its own.
    ballast: usize,
    /// It asks for another key share.
    retries: bool,
    /// It speaks TLS 1.2 alone.
    old: bool,
    /// To each so-and-so-manieth client alone.
    old_to_each: Option<usize>,
    /// It closes each so-and-so-manieth connection.
    closes_each: Option<usize>,
    /// The status of its answers.
    status: u16,
    /// Protocols that it speaks (ALPN).
    speaks: &'static [&'static [u8]],
}

const PLAIN: Edge = Edge {
    thinks: Duration::ZERO,
    ballast: 0,
    retries: false,
    old: false,
    old_to_each: None,
    closes_each: None,
    status: 200,
    speaks: &[],
};

impl Edge {
    fn config(self) -> ServerConfig {
        let own = rcgen::generate_simple_self_signed(vec!["edge.test".to_owned()]).expect("a certificate");
        let key = PrivateKeyDer::Pkcs8(own.signing_key.serialize_der().into());
        let mut provider = ring::default_provider();
        if self.retries {
            provider.kx_groups.retain(|group| group.name() == rustls::NamedGroup::secp384r1);
        }
        let versions: &[_] = if self.old { &[&rustls::version::TLS12] } else { rustls::ALL_VERSIONS };
        let chain: Vec<CertificateDer<'static>> = vec![own.cert.der().clone(); 1 + self.ballast];
        let builder = ServerConfig::builder_with_provider(Arc::new(provider)).with_protocol_versions(versions).expect("versions");
        let mut config = builder.with_no_client_auth().with_single_cert(chain, key).expect("a key that fits");
        config.alpn_protocols = self.speaks.iter().map(|name| name.to_vec()).collect();
        config
    }

    /// Serves until the test ends.
    fn serve(self) -> SocketAddr {
        let (bound, address) = channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
                bound.send(listener.local_addr().expect("it is bound")).expect("the test waits");
                let acceptor = TlsAcceptor::from(Arc::new(self.config()));
                let old = TlsAcceptor::from(Arc::new(Edge { old: true, ..self }.config()));
                for n in 1_usize.. {
                    let Ok((stream, _)) = listener.accept().await else { break };
                    let is_each = |each: Option<usize>| each.is_some_and(|each| n.is_multiple_of(each));
                    if is_each(self.closes_each) {
                        continue;
                    }
                    let acceptor = if is_each(self.old_to_each) { old.clone() } else { acceptor.clone() };
                    tokio::spawn(async move {
                        if !self.thinks.is_zero() {
                            tokio::time::sleep(self.thinks).await;
                        }
                        let mut tls = acceptor.accept(stream).await?;
                        let _ = tls.read(&mut [0; 4096]).await?;
                        let answer = format!("HTTP/1.1 {} So\r\nContent-Length: 2\r\n\r\nok", self.status);
                        tls.write_all(answer.as_bytes()).await?;
                        tls.shutdown().await
                    });
                }
            });
        });
        address.recv().expect("it listens")
    }

    fn url(self) -> String {
        format!("https://{}/", self.serve())
    }
}

fn options(budget: Duration) -> Options {
    Options {
        tls: prober::tls::TlsOptions { insecure: true, ..Default::default() },
        asked: Asked { name: Some("edge.test".into()), path: "/".into(), ..Asked::default() },
        budget,
        timeout: Duration::from_secs(10),
        sizes: Sizes::default(),
        stop: Stop::default(),
    }
}

fn counts_of(base: Edge, candidate: Edge) -> Compared {
    compare(&base.url(), &candidate.url(), &options(Duration::ZERO), |_| ()).expect("both work")
}

fn count(compared: &Compared, what: Counted) -> [Option<u64>; 2] {
    let Count { base, candidate, .. } = *compared.counts.iter().find(|count| count.what == what).expect("it is counted");
    [base, candidate]
}

#[test]
fn two_of_a_kind_count_the_same() {
    let compared = counts_of(PLAIN, PLAIN);
    assert_eq!((compared.outcome, compared.times_left_out), (Outcome::NoRegression, Some(LeftOut::NotAsked)));
    assert_eq!(count(&compared, Counted::RoundTrips), [Some(2); 2]);
    assert_eq!(
        (count(&compared, Counted::Certificates), count(&compared, Counted::HelloRetryRequests)),
        ([Some(1); 2], [Some(0); 2])
    );
    // Two certificates made at random may differ in a byte of their signatures, and in nothing else.
    let of_bytes = [Counted::ServerBytes, Counted::ChainBytes];
    assert!(
        compared.counts.iter().all(|count| count.change == Change::Same || of_bytes.contains(&count.what)),
        "{:?}",
        compared.counts
    );
}

#[test]
fn another_protocol_is_shown_though_requests_are_the_same() {
    let old = Edge { speaks: &[b"http/1.1"], ..PLAIN };
    let compared = counts_of(Edge { speaks: &[b"h2", b"http/1.1"], ..PLAIN }, old);
    assert_eq!(compared.outcome, Outcome::NoRegression);
    let last = [&compared.base, &compared.candidate].map(|subject| subject.agreed.last().cloned());
    assert_eq!(last, [Some("h2".to_owned()), Some("http/1.1".to_owned())]);
    let none = counts_of(PLAIN, PLAIN);
    assert!(!none.base.agreed.iter().any(|agreed| agreed.contains("http") || agreed == "h2"), "{:?}", none.base.agreed);
}

#[test]
fn certificates_that_are_only_remembered_did_not_pass() {
    let resume = prober::tls::TlsOptions { resume: true, insecure: true, ..Default::default() };
    let options = Options { tls: resume, ..options(Duration::ZERO) };
    let compared = compare(&PLAIN.url(), &PLAIN.url(), &options, |_| ()).expect("both work");
    let counted = [Counted::Resumed, Counted::Certificates, Counted::ChainBytes].map(|what| count(&compared, what));
    assert_eq!(counted, [[Some(1); 2], [Some(0); 2], [Some(0); 2]]);
}

#[test]
fn a_round_trip_more_fails_at_once() {
    let retry = counts_of(PLAIN, Edge { retries: true, ..PLAIN });
    assert_eq!(retry.outcome, Outcome::Regression);
    let more = [Counted::RoundTrips, Counted::HelloRetryRequests].map(|what| count(&retry, what));
    assert_eq!(more, [[Some(2), Some(3)], [Some(0), Some(1)]]);
    let old = counts_of(PLAIN, Edge { old: true, ..PLAIN });
    assert_eq!((old.outcome, count(&old, Counted::RoundTrips)), (Outcome::Regression, [Some(2), Some(3)]));
    // And the other way round it is none.
    assert_eq!(counts_of(Edge { retries: true, ..PLAIN }, PLAIN).outcome, Outcome::NoRegression);
}

#[test]
fn a_round_trip_more_with_every_second_client_is_one() {
    let mixed = Edge { old_to_each: Some(2), ..PLAIN };
    let compared = counts_of(PLAIN, mixed);
    assert_eq!((compared.outcome, count(&compared, Counted::RoundTrips)), (Outcome::Regression, [Some(2), None]));
    // Itself, asked in turns, it is not.
    let url = mixed.url();
    let itself = compare(&url, &url, &options(Duration::ZERO), |_| ()).expect("it works");
    assert_ne!(itself.outcome, Outcome::Regression, "{:?}", itself.counts);
    // It is found in timed handshakes, too, where it is too rare for those that are counted first.
    let rare = Edge { old_to_each: Some(8), ..PLAIN };
    let compared = compare(&PLAIN.url(), &rare.url(), &options(Duration::from_secs(60)), |_| ()).expect("both work");
    assert_eq!(compared.outcome, Outcome::Regression, "{:?}", compared.counts);
}

#[test]
fn a_candidate_that_fails_now_and_then_is_a_regression_and_such_a_base_is_none() {
    let closes = Edge { closes_each: Some(12), ..PLAIN };
    let compared = compare(&PLAIN.url(), &closes.url(), &options(Duration::from_secs(60)), |_| ()).expect("both work");
    let failures = compared.failures.expect("it was counted");
    assert_eq!((compared.outcome, failures.base), (Outcome::Regression, 0), "{failures:?}");
    assert!(compared.failed.is_some() && failures.candidate >= 9, "{failures:?}");
    let compared = compare(&closes.url(), &PLAIN.url(), &options(Duration::ZERO), |_| ()).expect("both work");
    assert_eq!(compared.outcome, Outcome::NoRegression, "{:?}", compared.failures);
}

#[test]
fn an_edge_that_answers_with_an_error_is_worse() {
    let compared = counts_of(PLAIN, Edge { status: 503, ..PLAIN });
    assert_eq!((compared.outcome, count(&compared, Counted::Status)), (Outcome::Regression, [Some(200), Some(503)]));
    assert_eq!(counts_of(Edge { status: 503, ..PLAIN }, PLAIN).outcome, Outcome::NoRegression);
}

#[test]
fn a_stored_base_is_compared_by_how_often() {
    let stored = counts_of(PLAIN, PLAIN);
    let against = |edge: Edge| compare_with_stored(&stored, &edge.url(), &options(Duration::ZERO)).expect("it works").outcome;
    assert_eq!(against(PLAIN), Outcome::NoRegression);
    assert_eq!(against(Edge { old: true, ..PLAIN }), Outcome::Regression);
    assert_eq!(against(Edge { old_to_each: Some(2), ..PLAIN }), Outcome::Regression);
    assert_eq!(against(Edge { closes_each: Some(3), ..PLAIN }), Outcome::Regression);
    let mut older = stored.clone();
    older.counts.retain(|count| count.what != Counted::Status);
    let compared = compare_with_stored(&older, &PLAIN.url(), &options(Duration::ZERO)).expect("it works");
    assert_eq!(compared.outcome, Outcome::TooNoisy);
    let one = Options {
        tls: prober::tls::TlsOptions { only: Some(Only::Tls12), ..options(Duration::ZERO).tls },
        ..options(Duration::ZERO)
    };
    assert!(matches!(compare_with_stored(&stored, &PLAIN.url(), &one), Err(Error::Stored(_))));
}

#[test]
fn it_ends_where_somebody_wants_it() {
    let options = options(Duration::from_secs(60));
    let stop = options.stop.clone();
    let stopped = compare(&PLAIN.url(), &PLAIN.url(), &options, |_| stop.0.store(true, std::sync::atomic::Ordering::Relaxed));
    assert!(matches!(stopped, Err(Error::Stopped)));
}

#[test]
fn a_longer_chain_is_seen_and_fails_once_it_outgrows_the_initial_window() {
    let longer = counts_of(PLAIN, Edge { ballast: 2, ..PLAIN });
    assert_eq!((longer.outcome, count(&longer, Counted::Certificates)), (Outcome::NoRegression, [Some(1), Some(3)]));
    let outgrown = counts_of(PLAIN, Edge { ballast: 60, ..PLAIN });
    assert_eq!(outgrown.outcome, Outcome::Regression);
    let [base, candidate] = count(&outgrown, Counted::SegmentsBeyondInitialWindow);
    assert!(base == Some(0) && candidate > Some(0), "{candidate:?}");
}

#[test]
fn an_edge_that_thinks_longer_is_found_and_it_is_the_edge() {
    let thinks = Edge { thinks: Duration::from_millis(25), ..PLAIN };
    let mut last = None;
    let compared =
        compare(&PLAIN.url(), &thinks.url(), &options(Duration::from_secs(120)), |p| last = Some(p)).expect("both work");
    let slower: Vec<_> = compared.differences.iter().filter(|d| d.found == Found::Slower).collect();
    assert_eq!(compared.outcome, Outcome::Regression, "{:?}", compared.differences);
    assert!(slower.iter().any(|d| (d.part.phase, d.part.owner) == (Phase::ServerFlight, Owner::Edge)), "{slower:?}");
    assert!(slower.iter().all(|d| d.least_ms.is_some_and(|least| least > d.ignored_ms)));
    let last = last.expect("it was said how far it is");
    assert_eq!(last.blocks, compared.blocks.len());
    assert!(compared.blocks.iter().all(|block| block.base_ms.len() == compared.differences.len()));
}

#[test]
fn too_little_time_is_too_noisy_and_not_green() {
    let compared = compare(&PLAIN.url(), &PLAIN.url(), &options(Duration::from_millis(1)), |_| ()).expect("both work");
    assert_eq!((compared.outcome, compared.times_left_out), (Outcome::TooNoisy, Some(LeftOut::NoTime)));
}

#[test]
fn a_candidate_that_fails_is_a_regression_and_a_base_that_fails_is_our_error() {
    let nobody = "https://127.0.0.1:1/";
    let compared = compare(&PLAIN.url(), nobody, &options(Duration::from_secs(1)), |_| ()).expect("the base works");
    assert_eq!((compared.outcome, compared.times_left_out), (Outcome::Regression, Some(LeftOut::CandidateFails)));
    assert!(compared.failed.is_some_and(|why| !why.is_empty()));
    let error = compare(nobody, &PLAIN.url(), &options(Duration::from_secs(1)), |_| ()).expect_err("there is no base");
    assert!(matches!(error, Error::Base { .. }) && error.to_string().contains(nobody), "{error}");
}
