//! Probes of servers on loopback.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rustls_pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

type Heard = Arc<Mutex<Vec<String>>>;

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, response: &str, heard: &Heard) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).await.is_ok_and(|n| n > 0) {
        head.push(byte[0]);
    }
    heard.lock().expect("unbroken").push(String::from_utf8_lossy(&head).into_owned());
    let _ = stream.write_all(response.as_bytes()).await;
    let _ = stream.shutdown().await;
}

/// Serves one answer for ever; gives what it was asked.
async fn serve(address: &str, tls: bool, response: String) -> (SocketAddr, Heard) {
    let listener = TcpListener::bind(address).await.expect("loopback");
    let (at, heard) = (listener.local_addr().expect("it is bound"), Heard::default());
    let pair = rcgen::generate_simple_self_signed(vec!["edge.test".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::Pkcs8(pair.signing_key.serialize_der().into());
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![pair.cert.der().clone()], key)
        .expect("a pair");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let ours = Arc::clone(&heard);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            match tls {
                true => {
                    let Ok(stream) = acceptor.accept(stream).await else { continue };
                    let name = stream.get_ref().1.server_name().unwrap_or("-").to_owned();
                    ours.lock().expect("unbroken").push(format!("SNI {name}"));
                    answer(stream, &response, &ours).await;
                }
                false => answer(stream, &response, &ours).await,
            }
        }
    });
    (at, heard)
}

fn redirect(to: &str) -> String {
    format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n")
}

async fn ask(module: &str, target: &str) -> Result<String, ProbeError> {
    ask_as(&format!("{{ prober: http, timeout: 5s, http: {module} }}"), target).await
}

/// The same by a module of any kind.
async fn ask_as(module: &str, target: &str) -> Result<String, ProbeError> {
    let modules = Blackbox::parse(&format!("modules:\n  m: {module}\n")).expect("it is valid");
    let query = BTreeMap::from([("target".to_owned(), target.to_owned()), ("module".to_owned(), "m".to_owned())]);
    probe(&modules, &query, None, &TlsCache::default()).await
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const SECRETIVE: &str = "{ headers: { X-Api-Key: k3y, Cookie: \"s=s3ss\", Accept: text/html }, basic_auth: { username: me, password: pw }, \
    tls_config: { insecure_skip_verify: true, server_name: inner.test } }";

#[tokio::test]
async fn another_host_hears_no_credentials() {
    let (there, heard_there) = serve("127.0.0.2:0", false, OK.into()).await;
    let (here, heard_here) = serve("127.0.0.1:0", false, redirect(&format!("http://{there}/x"))).await;
    let said = ask(SECRETIVE, &format!("http://{here}/")).await.expect("it is answered");
    assert!(said.contains("probe_success 1\n") && said.contains("probe_http_redirects 1\n"), "{said}");
    let first = heard_here.lock().expect("unbroken").join("");
    assert!(first.contains(&format!("Host: {here}\r\n")), "{first}");
    assert!(first.contains("Authorization: Basic") && first.contains("k3y") && first.contains("s3ss"), "{first}");
    let second = heard_there.lock().expect("unbroken").join("");
    assert!(second.starts_with("GET /x ") && second.contains("Accept: text/html"), "{second}");
    assert!(!second.contains("Authorization") && !second.contains("k3y") && !second.contains("s3ss"), "{second}");
}

#[tokio::test]
async fn a_redirect_to_plain_http_hears_no_credentials_and_another_host_is_asked_for_its_own_name() {
    let (plain, heard_plain) = serve("127.0.0.1:0", false, OK.into()).await;
    let (other, heard_other) = serve("127.0.0.2:0", true, redirect(&format!("http://{plain}/"))).await;
    let (first, heard_first) = serve("127.0.0.1:0", true, redirect(&format!("https://{other}/"))).await;
    let said = ask(SECRETIVE, &format!("https://{first}/")).await.expect("it is answered");
    assert!(said.contains("probe_success 1\n"), "{said}");
    assert_eq!(heard_first.lock().expect("unbroken")[0], "SNI inner.test");
    // An address has no name: nobody's is asked for.
    let other = heard_other.lock().expect("unbroken").join("");
    assert!(other.starts_with("SNI -") && !other.contains("Authorization"), "{other}");
    let plain = heard_plain.lock().expect("unbroken").join("");
    assert!(plain.starts_with("GET / ") && !plain.contains("Authorization") && !plain.contains("k3y"), "{plain}");
}

#[tokio::test]
async fn a_module_that_asks_for_more_than_is_done_is_refused() {
    let (here, heard) = serve("127.0.0.1:0", false, OK.into()).await;
    let error = ask("{ fail_if_body_json_matches_cel: \"body.a == 1\" }", &format!("http://{here}/"))
        .await
        .expect_err("it is refused")
        .to_string();
    assert!(error.contains("fail_if_body_json_matches_cel") && heard.lock().expect("unbroken").is_empty(), "{error}");
}

/// Says this to whoever comes, and closes the connection or says nothing more.
async fn say(words: &'static [u8], closes: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let at = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(words).await;
            if !closes {
                open.push(stream);
            }
        }
    });
    at
}

fn holds(said: &str, lines: &[&str]) {
    for line in lines {
        assert!(said.contains(&format!("\n{line}\n")), "{line} in {said}");
    }
}

#[tokio::test]
async fn of_a_body_that_stalls_is_told_what_came() {
    let known =
        ["probe_success 0", "probe_http_status_code 200", "probe_http_version 1.1", "probe_http_uncompressed_body_length 2"];
    for (answer, length) in [
        (&b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nok"[..], "probe_http_content_length 6"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", "probe_http_content_length -1"),
    ] {
        let at = say(answer, false).await;
        for (rule, by_regex) in
            [("{}", 0), ("{ fail_if_body_matches_regexp: [ok] }", 1), ("{ fail_if_body_not_matches_regexp: [ok] }", 1)]
        {
            let said = ask_as(&format!("{{ prober: http, timeout: 500ms, http: {rule} }}"), &format!("http://{at}/")).await;
            let said = said.expect("it is answered");
            holds(&said, &known);
            holds(&said, &[length, &format!("probe_failed_due_to_regex {by_regex}")]);
            assert!(said.contains("reason=\"request_timeout\""), "{said}");
        }
    }
}

#[tokio::test]
async fn a_redirect_is_followed_whatever_becomes_of_its_body() {
    let (there, _) = serve("127.0.0.1:0", false, OK.into()).await;
    for rest in [
        "Content-Length: 100\r\n\r\nmoved",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nmov",
        "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    ] {
        let (here, _) = serve("127.0.0.1:0", false, format!("HTTP/1.1 302 Found\r\nLocation: http://{there}/\r\n{rest}")).await;
        let said = ask("{}", &format!("http://{here}/")).await.expect("it is answered");
        holds(&said, &["probe_success 1", "probe_http_redirects 1", "probe_http_status_code 200"]);
        let unread = "{ follow_redirects: false, valid_status_codes: [302] }";
        let said = ask(unread, &format!("http://{here}/")).await.expect("it is answered");
        holds(&said, &["probe_success 1", "probe_http_status_code 302", "probe_http_uncompressed_body_length 0"]);
    }
    // It never ends: nobody waits for it.
    let (there, _) = serve("127.0.0.1:0", false, OK.into()).await;
    let words = format!("HTTP/1.1 301 Moved\r\nLocation: http://{there}/\r\nContent-Length: 9\r\n\r\nmo").into_bytes();
    let here = say(words.leak(), false).await;
    let said = ask("{}", &format!("http://{here}/")).await.expect("it is answered");
    holds(&said, &["probe_success 1", "probe_http_redirects 1", "probe_http_status_code 200"]);
}

#[tokio::test]
async fn header_lines_that_the_exporter_reads_are_read_and_no_others() {
    for (line, read) in
        [("X-A: b\r\n c", 1), ("X-A: b\r\n\tc", 1), ("X-A : b c", 1), ("X-A: b c\r\ngarbage", 0), ("X-A: b c\r\n: empty", 0)]
    {
        let answer = format!("HTTP/1.1 200 OK\r\n{line}\r\nContent-Length: 2\r\n\r\nok");
        let (here, _) = serve("127.0.0.1:0", false, answer).await;
        let rule = "{ fail_if_header_not_matches: [{ header: X-A, regexp: '^b\\s+c$' }] }";
        let said = ask(rule, &format!("http://{here}/")).await.expect("it is answered");
        holds(&said, &[&format!("probe_success {read}")]);
    }
}

#[tokio::test]
async fn a_line_that_is_no_utf_8_is_matched() {
    let at = say(b"220 caf\xe9 ESMTP \xff\r\n", true).await;
    for (step, success) in
        [("{ expect: '^220 .* ESMTP .$' }", 1), ("{ expect: '^220 caf[^ ] ' }", 1), ("{ expect: '^220 caf. E.+ ..$' }", 0)]
    {
        let said = ask_as(&format!("{{ prober: tcp, timeout: 5s, tcp: {{ query_response: [{step}] }} }}"), &at.to_string()).await;
        holds(&said.expect("it is answered"), &[&format!("probe_success {success}")]);
    }
}
