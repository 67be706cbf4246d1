//! TLS that others still run: real `openssl s_server`s that our library cannot speak to, certificates that nobody vouches for, demands for a
//! certificate of ours. What is said of each must be exactly that.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use testing::Need;
use whostalled_prober::ocsp::{Staple, Status};
use whostalled_prober::tls::{TlsOptions, config};
use whostalled_prober::{Family, HttpRequest, Lookup, Pauses, Reason, Report, Route, Target, probe};

/// An `openssl s_server`, ended when it is dropped.
struct Server {
    process: Child,
    port: u16,
}

impl Server {
    fn start(folder: &Path, options: &[&str]) -> Self {
        // Nobody else takes a port of these tests between closing it here and opening it there: if so, the server ends and the test says it.
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("loopback").port();
        let mut command = Command::new("openssl");
        command.args(["s_server", "-accept", &format!("127.0.0.1:{port}"), "-www"]).args(options).current_dir(folder);
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("openssl runs");
        let server = Self { process, port };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(20), "openssl s_server {options:?} does not begin");
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    /// One that shows this certificate, and `others` behind it.
    fn showing(place: &Place, certificate: &str, others: &str, key: &str) -> Self {
        place.write("shown.pem", certificate);
        place.write("others.pem", others);
        place.write("shown.key", key);
        let options = ["-cert", "shown.pem", "-key", "shown.key", "-cert_chain", "others.pem"];
        Self::start(place.path(), if others.is_empty() { &options[..4] } else { &options })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn openssl(folder: &Path, arguments: &[&str]) {
    let said = Command::new("openssl").args(arguments).current_dir(folder).output().expect("openssl runs");
    assert!(said.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&said.stderr));
}

/// Whether there is an openssl; said if not.
fn is_openssl() -> bool {
    let is = testing::program("openssl").is_some();
    if !is {
        testing::skipped(Need::Tools, "openssl is not installed");
    }
    is
}

struct Place(tempfile::TempDir);

impl Place {
    /// A folder with a self-signed RSA certificate for `localhost`.
    fn new() -> Self {
        let place = Self(tempfile::tempdir().expect("a temporary folder"));
        let name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "30", "-nodes"];
        openssl(
            place.path(),
            &[&["req", "-x509", "-newkey", "rsa:2048", "-keyout", "rsa.key", "-out", "rsa.pem"][..], &name].concat(),
        );
        let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp521r1"];
        openssl(place.path(), &[&["req", "-x509", "-keyout", "p521.key", "-out", "p521.pem"][..], &curve, &name].concat());
        place
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, text).expect("a folder of our own");
        path
    }
}

async fn shake(port: u16, options: &TlsOptions, request: Option<HttpRequest>) -> Report {
    let target = Target {
        host: "localhost".into(),
        port,
        connect_to: None,
        address: Some(([127, 0, 0, 1], port).into()),
        server_name: None,
        family: Family::Any,
        tls: Some(Arc::new(config(options).expect("the options are sound"))),
        request,
        timeout: Duration::from_secs(20),
        pauses: Pauses::default(),
        route: Route::default(),
    };
    probe(&target, &Lookup::new(&[]).expect("a resolver")).await
}

fn insecure() -> TlsOptions {
    TlsOptions { insecure: true, ..TlsOptions::default() }
}

#[tokio::test]
async fn a_server_that_our_library_cannot_speak_to_is_said_to_be_that() {
    if !is_openssl() {
        return;
    }
    let place = Place::new();
    let (rsa, p521) = (["-cert", "rsa.pem", "-key", "rsa.key"], ["-cert", "p521.pem", "-key", "p521.key"]);
    let everything = ["-cipher", "ALL:@SECLEVEL=0"];
    for (options, said) in [
        ([&rsa[..], &["-tls1_2", "-cipher", "AES128-SHA"]].concat(), "RSA key exchange (TLS_RSA_WITH_AES_128_CBC_SHA)"),
        ([&rsa[..], &["-tls1_2", "-cipher", "AES128-GCM-SHA256"]].concat(), "RSA key exchange (TLS_RSA_WITH_AES_128_GCM_SHA256)"),
        (
            [&rsa[..], &["-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA"]].concat(),
            "CBC encryption (TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA)",
        ),
        ([&rsa[..], &["-tls1_2", "-cipher", "DHE-RSA-AES128-GCM-SHA256"]].concat(), "DHE key exchange"),
        ([&rsa[..], &["-tls1"], &everything].concat(), "TLS 1.0 at most"),
        ([&rsa[..], &["-tls1_1"], &everything].concat(), "TLS 1.1 at most"),
        ([&rsa[..], &["-tls1_2", "-groups", "P-521"]].concat(), "the group P-521"),
        ([&rsa[..], &["-tls1_3", "-groups", "P-521"]].concat(), "the group P-521"),
        ([&p521[..], &["-tls1_2"]].concat(), "a key on P-521"),
        (p521.to_vec(), "a key on P-521"),
        ([&p521[..], &["-tls1_3"]].concat(), "P-521, Ed448, SHA-1 or the like"),
    ] {
        let server = Server::start(place.path(), &options);
        let report = shake(server.port, &insecure(), None).await;
        let detail = report.detail.unwrap_or_default();
        assert_eq!(report.reason, Some(Reason::TlsIncompatible), "{options:?}: {detail}");
        assert!(detail.contains(said) && detail.contains("whose fault that is not"), "{options:?}: {detail}");
        assert!(!Reason::TlsIncompatible.is_edges_word());
    }
}

#[tokio::test]
async fn an_alert_of_an_edge_that_we_could_speak_to_stays_its_own() {
    if !is_openssl() {
        return;
    }
    let place = Place::new();
    // A name that the server does not know, and will not have: unrecognized_name.
    let options = [
        "-cert",
        "rsa.pem",
        "-key",
        "rsa.key",
        "-cert2",
        "rsa.pem",
        "-key2",
        "rsa.key",
        "-servername",
        "other.test",
        "-servername_fatal",
    ];
    let server = Server::start(place.path(), &options);
    let report = shake(server.port, &insecure(), None).await;
    assert_eq!(report.reason, Some(Reason::TlsAlert), "{report:?}");
    let server = Server::start(place.path(), &["-cert", "rsa.pem", "-key", "rsa.key"]);
    let report = shake(server.port, &insecure(), None).await;
    assert!(report.success && !report.certificate_wanted, "{report:?}");
}

#[tokio::test]
async fn a_demand_for_a_certificate_is_noticed_in_every_version_and_with_a_request_or_without() {
    if !is_openssl() {
        return;
    }
    let place = Place::new();
    for version in ["-tls1_3", "-tls1_2"] {
        let server = Server::start(place.path(), &["-cert", "rsa.pem", "-key", "rsa.key", version, "-Verify", "1"]);
        for request in [None, Some(HttpRequest::default())] {
            let report = shake(server.port, &insecure(), request.clone()).await;
            let detail = report.detail.clone().unwrap_or_default();
            assert_eq!(report.reason, Some(Reason::ClientCertificateDemanded), "{version} {request:?}: {detail}");
            assert!(detail.contains("none was shown"), "{detail}");
        }
        let own = (place.path().join("rsa.pem"), place.path().join("rsa.key"));
        let shown = TlsOptions { certificate: Some(own), ..insecure() };
        let report = shake(server.port, &shown, None).await;
        assert!(report.success && report.certificate_wanted, "{version}: {report:?}");
        let report = shake(server.port, &shown, Some(HttpRequest::default())).await;
        assert!(report.success, "{version}: {report:?}");
    }
    // Who asks and does not insist lets us in.
    let server = Server::start(place.path(), &["-cert", "rsa.pem", "-key", "rsa.key", "-verify", "1"]);
    let report = shake(server.port, &insecure(), None).await;
    assert!(report.success && report.certificate_wanted, "{report:?}");
}

/// `authorityInfoAccess` with the address of the issuer's certificate.
fn issuer_at(url: &str) -> CustomExtension {
    let uri = [&[0x86, url.len() as u8], url.as_bytes()].concat();
    let method = [0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x02];
    let access = [&[0x30, (method.len() + uri.len()) as u8][..], &method, &uri].concat();
    let content = [&[0x30, access.len() as u8][..], &access].concat();
    CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], content)
}

#[tokio::test]
async fn what_is_wrong_with_a_chain_is_said_in_words() {
    if !is_openssl() {
        return;
    }
    let place = Place::new();
    let authority = |name: &str| {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        (params, KeyPair::generate().expect("a key"))
    };
    let (root, root_key) = authority("Our Root");
    let root_pem = root.self_signed(&root_key).expect("a root").pem();
    let root_issuer = Issuer::new(root, root_key);
    let (between, between_key) = authority("Our Intermediate");
    let between_pem = between.signed_by(&between_key, &root_issuer).expect("an intermediate").pem();
    let between_issuer = Issuer::new(between, between_key);
    let leaf = |name: &str, change: &dyn Fn(&mut CertificateParams), issuer: &Issuer<'_, KeyPair>| {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, name);
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let pem = params.signed_by(&key, issuer).expect("a certificate").pem();
        (pem, key.serialize_pem())
    };
    let trusted = place.write("root.pem", &root_pem);
    let foreign = place.write("foreign.pem", &{
        let (params, key) = authority("Another Root");
        params.self_signed(&key).expect("a root").pem()
    });
    let far = |params: &mut CertificateParams| params.custom_extensions.push(issuer_at("http://ca.test/i.crt"));
    let late = |params: &mut CertificateParams| params.not_after = date_time_ymd(2024, 2, 1);
    let early = |params: &mut CertificateParams| params.not_before = date_time_ymd(2094, 2, 1);
    let same = |_: &mut CertificateParams| {};
    let (trusted, foreign) = (Some(trusted), Some(foreign));
    use Reason::{CertificateExpired, CertificateUnknownIssuer, CertificateWrongName};
    for (name, (pem, key), sent, ca, reason, said) in [
        (
            "incomplete",
            leaf("localhost", &far, &between_issuer),
            "",
            &trusted,
            CertificateUnknownIssuer,
            "the chain is incomplete: the edge sent 1 certificate and not the one of the issuer \"Our Intermediate\"",
        ),
        (
            "unknown",
            leaf("localhost", &same, &root_issuer),
            "",
            &foreign,
            CertificateUnknownIssuer,
            "the issuer \"Our Root\" is not trusted here",
        ),
        (
            "foreign",
            leaf("localhost", &same, &root_issuer),
            root_pem.as_str(),
            &foreign,
            CertificateUnknownIssuer,
            "the chain ends in the root \"Our Root\", which is not trusted here",
        ),
        (
            "late",
            leaf("localhost", &late, &root_issuer),
            "",
            &trusted,
            CertificateExpired,
            "the edge's certificate ended on Feb  1 00:00:00 2024",
        ),
        (
            "early",
            leaf("localhost", &early, &root_issuer),
            "",
            &trusted,
            CertificateExpired,
            "the edge's certificate begins on Feb  1 00:00:00 2094",
        ),
        (
            "other",
            leaf("other.test", &same, &root_issuer),
            "",
            &trusted,
            CertificateWrongName,
            "the certificate is for other.test, not for localhost",
        ),
    ] {
        let server = Server::showing(&place, &pem, sent, &key);
        let report = shake(server.port, &TlsOptions { ca: ca.clone(), ..TlsOptions::default() }, None).await;
        let detail = report.detail.unwrap_or_default();
        assert_eq!(report.reason, Some(reason), "{name}: {detail}");
        assert!(detail.starts_with(said), "{name}: {detail}");
    }
    let (pem, key) = leaf("localhost", &far, &between_issuer);
    let server = Server::showing(&place, &pem, &between_pem, &key);
    let report = shake(server.port, &TlsOptions { ca: trusted, ..TlsOptions::default() }, None).await;
    assert!(report.success && report.certificates.len() == 2, "{report:?}");
}

#[tokio::test]
async fn a_root_that_ended_vouches_for_nobody() {
    if !is_openssl() {
        return;
    }
    let place = Place::new();
    let key = KeyPair::generate().expect("a key");
    let root = |change: &dyn Fn(&mut CertificateParams)| {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, "Our Root");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        change(&mut params);
        params
    };
    let pem = |change: &dyn Fn(&mut CertificateParams)| root(change).self_signed(&key).expect("a root").pem();
    let valid = pem(&|_| {});
    let late = pem(&|params| params.not_after = date_time_ymd(2024, 2, 1));
    let early = pem(&|params| params.not_before = date_time_ymd(2094, 2, 1));
    let leaf_key = KeyPair::generate().expect("a key");
    let leaf = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    let issuer = Issuer::new(root(&|_| {}), KeyPair::from_pem(&key.serialize_pem()).expect("the same"));
    let leaf = leaf.signed_by(&leaf_key, &issuer).expect("a certificate").pem();
    let server = Server::showing(&place, &leaf, "", &leaf_key.serialize_pem());
    for (roots, said) in [
        (valid.clone(), None),
        (late.clone(), Some("the root that vouches for the edge's certificate ended on Feb  1 00:00:00 2024")),
        (early, Some("the root that vouches for the edge's certificate begins on Feb  1 00:00:00 2094")),
        // The same root made anew stands beside the old one.
        (format!("{late}{valid}"), None),
    ] {
        let named = place.write("roots.pem", &roots);
        let text = TlsOptions { roots: Some(roots.into()), ..TlsOptions::default() };
        for options in [TlsOptions { ca: Some(named), ..TlsOptions::default() }, text] {
            let report = shake(server.port, &options, None).await;
            let reason = said.map(|_| Reason::CertificateExpired);
            let detail = report.detail.unwrap_or_default();
            assert!(report.reason == reason && detail.contains(said.unwrap_or_default()), "{:?}: {detail}", report.reason);
        }
    }
}

#[tokio::test]
async fn a_self_signed_certificate_is_said_to_be_one_and_trusted_where_it_is_named() {
    if !is_openssl() {
        return;
    }
    let place = Place::new();
    let server = Server::start(place.path(), &["-cert", "rsa.pem", "-key", "rsa.key"]);
    let others = place.write("other.pem", &rcgen::generate_simple_self_signed(vec!["x.test".into()]).expect("a pair").cert.pem());
    let report = shake(server.port, &TlsOptions { ca: Some(others), ..TlsOptions::default() }, None).await;
    assert_eq!(report.reason, Some(Reason::CertificateUnknownIssuer), "{report:?}");
    assert_eq!(report.detail.as_deref(), Some("the certificate of \"localhost\" is self-signed"));
    let named = TlsOptions { ca: Some(place.path().join("rsa.pem")), ..TlsOptions::default() };
    let report = shake(server.port, &named, None).await;
    assert!(report.success, "{report:?}");
    // For another name it is not.
    let target = Target {
        host: "other.test".into(),
        port: server.port,
        connect_to: None,
        address: Some(([127, 0, 0, 1], server.port).into()),
        server_name: None,
        family: Family::Any,
        tls: Some(Arc::new(config(&named).expect("the options are sound"))),
        request: None,
        timeout: Duration::from_secs(20),
        pauses: Pauses::default(),
        route: Route::default(),
    };
    let report = probe(&target, &Lookup::new(&[]).expect("a resolver")).await;
    assert_eq!(report.reason, Some(Reason::CertificateWrongName), "{report:?}");
}

#[tokio::test]
async fn a_stapled_answer_is_reported() {
    if !is_openssl() {
        return;
    }
    let place = Place::new();
    let serial = "1234";
    openssl(
        place.path(),
        &[
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca", "-days",
            "30",
        ],
    );
    let name =
        ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "30", "-nodes", "-set_serial", "0x1234"];
    openssl(
        place.path(),
        &[
            &[
                "req", "-x509", "-newkey", "rsa:2048", "-CA", "ca.pem", "-CAkey", "ca.key", "-keyout", "leaf.key", "-out",
                "leaf.pem",
            ][..],
            &name,
        ]
        .concat(),
    );
    for (line, status) in [
        (format!("V\t301231235959Z\t\t{serial}\tunknown\t/CN=localhost\n"), Status::Good),
        (format!("R\t301231235959Z\t250101000000Z\t{serial}\tunknown\t/CN=localhost\n"), Status::Revoked),
    ] {
        place.write("index.txt", &line);
        let answer = ["ocsp", "-index", "index.txt", "-CA", "ca.pem", "-rsigner", "ca.pem", "-rkey", "ca.key", "-ndays", "7"];
        let asked = ["-issuer", "ca.pem", "-cert", "leaf.pem", "-reqout", "request.der"];
        openssl(place.path(), &[&["ocsp"][..], &asked].concat());
        openssl(place.path(), &[&answer[..], &["-reqin", "request.der", "-respout", "answer.der"]].concat());
        let server = Server::start(place.path(), &["-cert", "leaf.pem", "-key", "leaf.key", "-status_file", "answer.der"]);
        let report = shake(server.port, &insecure(), None).await;
        let staple = report.staple.clone().unwrap_or_else(|| panic!("{report:?}"));
        assert_eq!(staple.status, status, "{report:?}");
        let (this, next) = (staple.this_update.expect("a time"), staple.next_update.expect("a time"));
        assert_eq!(next.unix_seconds() - this.unix_seconds(), 7 * 86_400);
    }
    // What breaks off is no answer, and what is altered is no panic.
    let der = std::fs::read(place.path().join("answer.der")).expect("our own file");
    assert_eq!(Staple::read(&der).status, Status::Revoked);
    for at in 0..der.len() {
        assert_eq!(Staple::read(&der[..at]).status, Status::Malformed, "{at} bytes of it");
        let mut altered = der.clone();
        altered[at] ^= 0x55;
        let _ = Staple::read(&altered);
    }
    let server = Server::start(place.path(), &["-cert", "leaf.pem", "-key", "leaf.key"]);
    let report = shake(server.port, &insecure(), None).await;
    assert!(report.success && report.staple.is_none(), "{report:?}");
}
