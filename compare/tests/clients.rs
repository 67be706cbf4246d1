//! Clients that differ in one thing each: this test's own program, started anew for each handshake.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use analysis::judging::ledger::{Owner, Phase};
use prober::tls::{Only, TlsOptions};
use records::compared::{Compared, Counted, Found, LeftOut, Outcome, Part};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use whostalled_compare::costs::costs;
use whostalled_compare::edge::Asked;
use whostalled_compare::judge::Sizes;
use whostalled_compare::{Error, Options, Stop, compare, compare_with_stored};

/// The command that runs [`as_a_client`] with these habits.
fn client(habits: &[(&str, u64)]) -> String {
    let program = std::env::current_exe().expect("this test");
    let mut line = "env CLIENT_URL={url} CLIENT_CA={ca}".to_owned();
    for (habit, n) in habits {
        let _ = write!(line, " CLIENT_{habit}={n}");
    }
    format!("{line} {} --ignored --exact as_a_client --quiet", program.display())
}

fn habit(name: &str) -> u64 {
    std::env::var(format!("CLIENT_{name}")).ok().and_then(|n| n.parse().ok()).unwrap_or(0)
}

#[test]
#[ignore = "no test, but a client that the tests start"]
fn as_a_client() {
    let (Ok(url), Ok(ca)) = (std::env::var("CLIENT_URL"), std::env::var("CLIENT_CA")) else { return };
    let address = url.trim_start_matches("https://").split('/').next().expect("an address").to_owned();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).expect("a certificate")).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = (0..habit("PROTOCOLS")).map(|n| format!("{n:0>200}").into_bytes()).collect();
    config.alpn_protocols.push(b"http/1.1".to_vec());
    for _ in 0..habit("LEFT") {
        drop(TcpStream::connect(&address).expect("it listens"));
    }
    let stream = TcpStream::connect(&address).expect("it listens");
    // Nagle's algorithm would keep the request until the edge has acknowledged Finished, 40 ms later.
    stream.set_nodelay(true).expect("an option");
    std::thread::sleep(Duration::from_millis(habit("DAWDLES_MS")));
    let tls = ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").expect("a name")).expect("a client");
    let mut tls = StreamOwned::new(tls, stream);
    if habit("DRIPS_MS") > 0 {
        // A record that never ends.
        let _ = tls.sock.write_all(&[22, 3, 1, 0xff, 0xff]);
        while tls.sock.write_all(&[0]).is_ok() {
            std::thread::sleep(Duration::from_millis(habit("DRIPS_MS")));
        }
        return;
    }
    tls.flush().expect("a handshake");
    if habit("CLOSES") > 0 {
        // It says that it is done, and goes on.
        tls.conn.send_close_notify();
        let _ = tls.conn.complete_io(&mut tls.sock);
        let _ = tls.sock.write_all(&[23, 3, 3, 0, 1, 0]);
        let _ = tls.sock.read(&mut [0; 64]);
        return;
    }
    std::thread::sleep(Duration::from_millis(habit("PONDERS_MS")));
    tls.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("it may ask");
    let mut answer = String::new();
    tls.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(habit("FAILS"), 0, "it was to fail");
}

fn options(budget: Duration) -> Options {
    Options {
        tls: TlsOptions::default(),
        asked: Asked { path: "/a".into(), ..Asked::default() },
        budget,
        timeout: Duration::from_secs(10),
        sizes: Sizes::default(),
        stop: Stop::default(),
    }
}

fn counted(base: &[(&str, u64)], candidate: &[(&str, u64)]) -> Compared {
    compare(&client(base), &client(candidate), &options(Duration::ZERO), |_| ()).expect("both work")
}

fn of(compared: &Compared, what: Counted) -> [Option<u64>; 2] {
    let count = compared.counts.iter().find(|count| count.what == what).expect("it is counted");
    [count.base, count.candidate]
}

#[test]
fn the_same_client_twice_is_no_regression() {
    let compared = counted(&[], &[]);
    assert_eq!((compared.outcome, compared.times_left_out), (Outcome::NoRegression, Some(LeftOut::NotAsked)));
    assert_eq!(of(&compared, Counted::RoundTrips), [Some(2); 2], "Finished, and the answer");
    assert_eq!(of(&compared, Counted::Connections), [Some(1); 2]);
    assert_eq!(of(&compared, Counted::ClientHelloSegments), [Some(1); 2]);
    let agreed = &compared.candidate.agreed;
    assert!(agreed[0] == "TLS 1.3" && agreed[1].starts_with("TLS_AES_"), "as RFCs and IANA write them: {agreed:?}");
}

#[test]
fn an_older_version_takes_a_round_trip_more() {
    let tls = TlsOptions { only: Some(Only::Tls12), ..TlsOptions::default() };
    let options = Options { tls, ..options(Duration::ZERO) };
    let compared = compare(&client(&[]), &client(&[]), &options, |_| ()).expect("both work");
    assert_eq!(of(&compared, Counted::RoundTrips), [Some(3); 2]);
    assert!(compared.candidate.agreed.contains(&"TLS 1.2".to_owned()));
}

#[test]
fn what_a_client_does_more_than_before_fails_at_once() {
    let compared = counted(&[], &[("LEFT", 1)]);
    assert_eq!((of(&compared, Counted::Connections), compared.outcome), ([Some(1), Some(2)], Outcome::Regression));
    let compared = counted(&[], &[("PROTOCOLS", 8)]);
    assert_eq!((of(&compared, Counted::ClientHelloSegments), compared.outcome), ([Some(1), Some(2)], Outcome::Regression));
    assert_eq!(counted(&[("LEFT", 1)], &[]).outcome, Outcome::NoRegression, "fewer is no regression");
}

#[test]
fn a_client_that_fails_is_told_by_its_own_words() {
    let compared = counted(&[], &[("FAILS", 1)]);
    assert_eq!((compared.outcome, compared.times_left_out), (Outcome::Regression, Some(LeftOut::CandidateFails)));
    let why = compared.failed.expect("it failed");
    assert!(why.starts_with("answered, it ended (exit status: 101)"), "{why}");
    let absent = "nothing-of-this-name {url}";
    let compared = compare(&client(&[]), absent, &options(Duration::ZERO), |_| ()).expect("the base works");
    let why = compared.failed.expect("it is not there");
    assert!(why.contains("never connected") && why.contains("not found"), "{why}");
    match compare(absent, &client(&[]), &options(Duration::ZERO), |_| ()) {
        Err(Error::Base { why, .. }) => assert!(why.contains("not found"), "{why}"),
        other => panic!("there is nothing to compare with: {other:?}"),
    }
}

#[test]
fn an_address_is_one_word_of_the_shell() {
    let asked = Asked { path: "/a?b=1&c='$(exit 7)'; exit 7".into(), ..Asked::default() };
    let options = Options { asked, ..options(Duration::ZERO) };
    let compared = compare(&client(&[]), &client(&[]), &options, |_| ()).expect("both work");
    assert_eq!(compared.failed, None);
    // Also where it is counted what that costs, in a shell within a shell.
    if testing::program("strace").is_none() {
        return testing::skipped(testing::Need::Tools, "strace is not installed; no client was run under it");
    }
    let found = costs(&client(&[]), &client(&[("LEFT", 6)]), &options).expect("this host can");
    let calls = found.iter().find(|cost| cost.what == "system calls").expect("strace counts them");
    assert!(calls.base > 20.0 && calls.candidate >= calls.base + 6.0 * 3.0, "{calls:?}");
}

#[test]
fn one_that_does_not_go_on_is_given_up() {
    let options = Options { timeout: Duration::from_millis(300), ..options(Duration::ZERO) };
    for (habits, words) in [
        (&[("DAWDLES_MS", 60_000)][..], "did not go on"),
        (&[("DRIPS_MS", 50)], "did not go on"),
        (&[("LEFT", 9)], "closes its connections"),
        (&[("CLOSES", 1)], "left its connection before it had asked"),
    ] {
        let compared = compare(&client(&[]), &client(habits), &options, |_| ()).expect("the base works");
        let why = compared.failed.expect("it failed");
        assert!(why.contains(words), "{why}");
    }
}

#[test]
fn an_edge_and_a_client_are_not_compared() {
    let refused = compare("https://127.0.0.1/", &client(&[]), &options(Duration::ZERO), |_| ());
    assert!(matches!(refused, Err(Error::Unlike)), "{refused:?}");
    let stored = counted(&[], &[]);
    let refused = compare_with_stored(&stored, "https://127.0.0.1/", &options(Duration::ZERO));
    assert!(matches!(refused, Err(Error::Unlike)), "{refused:?}");
    let compared = compare_with_stored(&stored, &client(&[("LEFT", 1)]), &options(Duration::ZERO)).expect("it works");
    assert_eq!(compared.outcome, Outcome::Regression);
}

#[test]
fn what_takes_longer_is_the_phase_that_does() {
    for (habit, phase) in [("DAWDLES_MS", Phase::ClientHello), ("PONDERS_MS", Phase::Request)] {
        let compared =
            compare(&client(&[]), &client(&[(habit, 20)]), &options(Duration::from_secs(60)), |_| ()).expect("both work");
        let slower: Vec<_> = compared.differences.iter().filter(|d| d.found == Found::Slower).map(|d| d.part).collect();
        assert_eq!(slower, [Part { phase, owner: Owner::Client }], "{:?}", compared.differences);
        assert_eq!(compared.outcome, Outcome::Regression);
    }
}
