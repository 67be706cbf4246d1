//! What is probed: servers on loopback that answer the same whoever asks. In: nothing. Out: where they are.

use std::fs;
use std::path::Path;
use std::process::Command;

use e2e::RUNTIME;
use e2e::certificates::Certificates;
use e2e::ports::free_port;
use e2e::process::{Running, program};
use e2e::waiting::wait_for;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufStream};
use tokio::net::{TcpListener, UdpSocket};
use tokio_rustls::TlsAcceptor;

/// What listens.
pub struct Servers {
    /// HTTP in the clear, and behind TLS.
    pub http: u16,
    pub https: u16,
    /// nginx with HTTP/2; absent where there is no nginx.
    pub h2: Option<(u16, Running)>,
    /// A proxy of HTTP.
    pub proxy: u16,
    /// SMTP with STARTTLS, IRC, and what PostgreSQL says to SSLRequest.
    pub smtp: u16,
    pub irc: u16,
    pub postgres: u16,
    /// DNS, by UDP and TCP, and over TLS.
    pub dns: u16,
    pub dns_tls: u16,
    /// Accepts and says nothing.
    pub silent: u16,
    /// Nobody listens there.
    pub nobody: u16,
}

impl Servers {
    pub fn start(folder: &Path, certificates: &Certificates) -> Self {
        let tls = TlsAcceptor::from(certificates.server());
        let (http, https, silent) = (free_port(), free_port(), free_port());
        let ports = (http, https);
        serve(http, move |stream| async move { answer(stream, ports).await });
        let acceptor = tls.clone();
        serve(https, move |stream| {
            let acceptor = acceptor.clone();
            async move { answer(acceptor.accept(stream).await?, ports).await }
        });
        serve(silent, |mut stream| async move { stream.read_to_end(&mut Vec::new()).await.map(drop) });
        let (proxy, smtp, irc, postgres) = (free_port(), free_port(), free_port(), free_port());
        serve(proxy, pass_on);
        let acceptor = tls.clone();
        serve(smtp, move |stream| mail(stream, acceptor.clone()));
        serve(irc, chat);
        let acceptor = tls.clone();
        serve(postgres, move |stream| database(stream, acceptor.clone()));
        let (dns, dns_tls) = (free_port(), free_port());
        for host in ["127.0.0.1", "::1"] {
            RUNTIME.spawn(datagrams(host, dns));
        }
        serve(dns, lookups);
        serve(dns_tls, move |stream| {
            let acceptor = tls.clone();
            async move { lookups(acceptor.accept(stream).await?).await }
        });
        let h2 = nginx(folder, certificates);
        Self { http, https, h2, proxy, smtp, irc, postgres, dns, dns_tls, silent, nobody: free_port() }
    }
}

/// Serves whoever comes to a port of loopback, of IPv4 and IPv6; a connection that breaks off is nobody's fault.
fn serve<F: Future<Output = std::io::Result<()>> + Send + 'static>(
    port: u16,
    each: impl Fn(tokio::net::TcpStream) -> F + Send + Sync + 'static,
) {
    let each = std::sync::Arc::new(each);
    for host in ["127.0.0.1", "::1"] {
        let listener = RUNTIME.block_on(TcpListener::bind((host, port))).expect("a free port");
        let each = std::sync::Arc::clone(&each);
        RUNTIME.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(each(stream));
            }
        });
    }
}

struct Asked {
    method: String,
    target: String,
    head: String,
    body: Vec<u8>,
}

impl Asked {
    fn header(&self, name: &str) -> Option<&str> {
        let named = |line: &&str| line.split_once(':').is_some_and(|(n, _)| n.eq_ignore_ascii_case(name));
        self.head.lines().find(named).and_then(|line| line.split_once(':')).map(|(_, value)| value.trim())
    }
}

async fn asked(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Asked> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut first = head.split(' ');
    let (method, target) = (first.next().unwrap_or_default().to_owned(), first.next().unwrap_or_default().to_owned());
    let mut asked = Asked { method, target, head, body: Vec::new() };
    let length = asked.header("content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
    asked.body = vec![0; length];
    stream.read_exact(&mut asked.body).await?;
    Ok(asked)
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, (http, https): (u16, u16)) -> std::io::Result<()> {
    let asked = asked(&mut stream).await?;
    let said = response(&asked, http, https);
    stream.write_all(&said).await?;
    stream.flush().await?;
    if asked.target.starts_with("/slow") {
        tokio::time::sleep(std::time::Duration::from_secs(20)).await;
    }
    stream.shutdown().await
}

/// What is said: by the path alone, with what was asked where the path wants it.
fn response(asked: &Asked, http: u16, https: u16) -> Vec<u8> {
    let plain = |status: &str, headers: &str, body: &str| {
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
        [head.as_bytes(), body.as_bytes()].concat()
    };
    let to = |location: &str| plain("302 Found", &format!("Location: {location}\r\n"), "moved");
    let echo = format!(
        "method={} host={} body={}",
        asked.method,
        asked.header("host").unwrap_or("-"),
        String::from_utf8_lossy(&asked.body)
    );
    let (path, query) = asked.target.split_once('?').unwrap_or((&asked.target, ""));
    match path {
        "/ok" => plain("200 OK", "", "ok"),
        "/echo" => plain("200 OK", "", &echo),
        "/json" => plain("200 OK", "", "{\"status\":\"UP\"}"),
        "/empty" => plain("204 No Content", "", ""),
        "/missing" => plain("404 Not Found", "", "no"),
        "/teapot" => plain("418 I am a teapot", "", "short and stout"),
        "/head" if asked.method == "HEAD" => b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n".to_vec(),
        "/loop" => to("/loop"),
        "/relative/dir/x" => to("../y"),
        "/relative/y" => plain("200 OK", "", "y"),
        "/query/dir" if query.is_empty() => to("?x=1"),
        "/query/dir" => plain("200 OK", "", query),
        "/to-https" => to(&format!("https://localhost:{https}/ok")),
        "/to-http" => to(&format!("http://localhost:{http}/ok")),
        "/to-repeated" => to(&format!("http://localhost:{http}/repeated")),
        "/to-echo" => to("/echo"),
        "/to-ftp" => to("ftp://localhost/"),
        "/no-location" => plain("302 Found", "", "where?"),
        "/307" => plain("307 Temporary Redirect", "Location: /echo\r\n", ""),
        "/303" => plain("303 See Other", "Location: /echo\r\n", ""),
        "/301" => plain("301 Moved Permanently", "Location: /echo\r\n", ""),
        "/cookie" => match asked.header("cookie") {
            Some(cookie) if cookie.contains("k=v") => plain("200 OK", "", "cookie"),
            _ => plain("302 Found", "Set-Cookie: k=v; Path=/\r\nLocation: /cookie\r\n", ""),
        },
        "/auth" => match asked.header("authorization") {
            // me:pw
            Some("Basic bWU6cHc=" | "Bearer t0ken" | "Token t0ken") => plain("200 OK", "", "in"),
            _ => plain("401 Unauthorized", "WWW-Authenticate: Basic\r\n", "out"),
        },
        "/twice" => plain("200 OK", "Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n", ""),
        "/repeated" => {
            let values: Vec<&str> = asked
                .head
                .lines()
                .filter_map(|line| line.split_once(": "))
                .filter(|(n, _)| n.eq_ignore_ascii_case("x-a"))
                .map(|(_, v)| v)
                .collect();
            plain("200 OK", "", &values.join(","))
        }
        "/modified" => plain("200 OK", "Last-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\n", ""),
        "/chunked" => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n".to_vec(),
        "/close" => b"HTTP/1.1 200 OK\r\n\r\nuntil the end".to_vec(),
        "/http10" => b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold".to_vec(),
        "/short" => b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this".to_vec(),
        "/garbage" => b"SSH-2.0-none\r\n\r\n".to_vec(),
        "/closed" => Vec::new(),
        "/latin1" => b"HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n<html>caf\xe9</html>".to_vec(),
        "/slow-body" => b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nok".to_vec(),
        "/cut" => b"HTTP/1.1 302 Found\r\nLocation: /ok\r\nContent-Length: 100\r\n\r\nmoved".to_vec(),
        "/length" => match asked.header("content-length") {
            Some(length) => plain("200 OK", "", length),
            None => plain("411 Length Required", "", ""),
        },
        "/long-head" => plain("200 OK", &format!("Set-Cookie: a={}\r\n", "x".repeat(100 << 10)), "ok"),
        "/folded" => plain("200 OK", "X-A: b\r\n c\r\nX-B : d\r\n", "ok"),
        "/unmodified" => b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n".to_vec(),
        "/modified-850" => plain("200 OK", "Last-Modified: Wednesday, 21-Oct-15 07:28:00 GMT\r\n", ""),
        "/slow" => Vec::new(),
        "/gzip" => {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", GZIP.len());
            [head.as_bytes(), GZIP].concat()
        }
        "/big" => plain("200 OK", "", &"x".repeat(3 << 20)),
        _ => plain("404 Not Found", "", "?"),
    }
}

/// "packed needle packed".
const GZIP: &[u8] = &[
    0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0xff, 0x2b, 0x48, 0x4c, 0xce, 0x4e, 0x4d, 0x51, 0xc8, 0x4b, 0x4d, 0x4d,
    0xc9, 0x49, 0x55, 0x28, 0x00, 0xf3, 0x00, 0xf8, 0x27, 0xdb, 0x31, 0x14, 0x00, 0x00, 0x00,
];

/// A proxy: CONNECT, and requests in absolute form.
async fn pass_on(mut stream: tokio::net::TcpStream) -> std::io::Result<()> {
    let asked = asked(&mut stream).await?;
    if asked.method == "CONNECT" {
        let Ok(mut there) = tokio::net::TcpStream::connect(&asked.target).await else {
            return stream.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n").await;
        };
        stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
        return tokio::io::copy_bidirectional(&mut stream, &mut there).await.map(drop);
    }
    let url = asked.target.strip_prefix("http://").unwrap_or_default();
    let (authority, path) = url.split_at(url.find('/').unwrap_or(url.len()));
    let mut there = tokio::net::TcpStream::connect(authority).await?;
    let head = asked.head.replacen(&asked.target, path, 1);
    there.write_all(&[head.as_bytes(), &asked.body].concat()).await?;
    tokio::io::copy_bidirectional(&mut stream, &mut there).await.map(drop)
}

async fn mail(stream: tokio::net::TcpStream, acceptor: TlsAcceptor) -> std::io::Result<()> {
    let mut stream = BufStream::new(stream);
    say(&mut stream, "220 mail.test ESMTP ready\r\n").await?;
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 0 {
        match line.trim_end() {
            "STARTTLS" => {
                say(&mut stream, "220 go ahead\r\n").await?;
                let mut tls = BufStream::new(acceptor.accept(stream.into_inner()).await?);
                let mut line = String::new();
                while tls.read_line(&mut line).await? > 0 {
                    say(&mut tls, if line.starts_with("EHLO") { "250-mail.test\r\n250-AUTH PLAIN\r\n" } else { "221 bye\r\n" })
                        .await?;
                    line.clear();
                }
                return Ok(());
            }
            said if said.starts_with("EHLO") => say(&mut stream, "250-mail.test\r\n250-STARTTLS\r\n").await?,
            _ => say(&mut stream, "500 what?\r\n").await?,
        }
        line.clear();
    }
    Ok(())
}

async fn chat(stream: tokio::net::TcpStream) -> std::io::Result<()> {
    let mut stream = BufStream::new(stream);
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 0 {
        match line.trim_end() {
            said if said.starts_with("NICK") => say(&mut stream, "PING :abc\r\n").await?,
            "PONG abc" => {
                say(&mut stream, ":irc.test 001 welcome\r\n").await?;
                return stream.shutdown().await;
            }
            _ => {}
        }
        line.clear();
    }
    Ok(())
}

async fn database(mut stream: tokio::net::TcpStream, acceptor: TlsAcceptor) -> std::io::Result<()> {
    let mut request = [0; 8];
    stream.read_exact(&mut request).await?;
    let wants_tls = request == [0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f];
    stream.write_all(if wants_tls { b"S" } else { b"E" }).await?;
    let mut tls = acceptor.accept(stream).await?;
    tls.read_to_end(&mut Vec::new()).await.map(drop)
}

async fn say(stream: &mut (impl AsyncWrite + Unpin), what: &str) -> std::io::Result<()> {
    stream.write_all(what.as_bytes()).await?;
    stream.flush().await
}

/// The answer to a question: two addresses and a name server of `a.test`, its SOA, its text; NXDOMAIN for all else.
fn lookup(question: &[u8]) -> Option<Vec<u8>> {
    const NAME: &[u8] = b"\x01a\x04test\0";
    let kind_at = 12 + question.get(12..)?.iter().position(|b| *b == 0)? + 1;
    let (name, kind) = (question.get(12..kind_at)?, u16::from_be_bytes(question.get(kind_at..kind_at + 2)?.try_into().ok()?));
    let record = |kind: u16, data: &[u8]| {
        let length = u16::try_from(data.len()).expect("short");
        [&[0xc0, 12][..], &kind.to_be_bytes(), &[0, 1, 0, 0, 1, 0x2c], &length.to_be_bytes(), data].concat()
    };
    let soa =
        [&b"\x02ns\xc0\x0c\x02me\xc0\x0c"[..], &[0x78, 0xd0, 0x2f, 0x01], &[0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4]]
            .concat();
    let answers = match kind {
        _ if !name.eq_ignore_ascii_case(NAME) => vec![],
        1 => vec![record(1, &[192, 0, 2, 1]), record(1, &[192, 0, 2, 2])],
        6 => vec![record(6, &soa)],
        16 => vec![record(16, b"\x06v=spf1\x0bsay \"hello\"")],
        39 => vec![record(39, b"\x01b\x04test\0")],
        43 => vec![record(43, &[0x30, 0x39, 8, 2, 0xab, 0xcd]), record(65400, &[1, 0xab])],
        44 => vec![record(44, &[4, 2, 0xab, 0xcd])],
        255 => vec![record(1, &[192, 0, 2, 1]), record(6, &soa)],
        _ => vec![],
    };
    let known = name.eq_ignore_ascii_case(NAME);
    let authority = if known { record(2, b"\x02ns\xc0\x0c") } else { vec![] };
    let additional = if known { record(1, &[192, 0, 2, 53]) } else { vec![] };
    let counts = [1, answers.len() as u8, u8::from(known), u8::from(known)].map(|n| [0, n]).concat();
    let head = [&question[..2], &[0x85 | question[2] & 1, if known { 0x80 } else { 0x83 }], &counts].concat();
    Some([head, question[12..kind_at + 4].to_vec(), answers.concat(), authority, additional].concat())
}

async fn datagrams(host: &str, port: u16) {
    let socket = UdpSocket::bind((host, port)).await.expect("a free port");
    let mut question = [0; 512];
    while let Ok((len, asker)) = socket.recv_from(&mut question).await {
        if let Some(answer) = lookup(&question[..len]) {
            // Whoever asked may be gone.
            let _ = socket.send_to(&answer, asker).await;
        }
    }
}

async fn lookups(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> std::io::Result<()> {
    loop {
        let mut question = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut question).await?;
        let Some(answer) = lookup(&question) else { return Ok(()) };
        let length = u16::try_from(answer.len()).expect("short").to_be_bytes();
        stream.write_all(&[&length[..], &answer].concat()).await?;
        stream.flush().await?;
    }
}

fn nginx(folder: &Path, certificates: &Certificates) -> Option<(u16, Running)> {
    let port = free_port();
    let folder = folder.join("nginx");
    fs::create_dir_all(folder.join("html")).expect("a folder of our own");
    fs::write(folder.join("html/ok"), "over two").expect("a folder of our own");
    let text = format!(
        "daemon off; pid {0}/pid; error_log stderr;
events {{}}
http {{
  access_log off; client_body_temp_path {0}; proxy_temp_path {0}; fastcgi_temp_path {0}; uwsgi_temp_path {0}; scgi_temp_path {0};
  server {{
    listen 127.0.0.1:{port} ssl http2; listen [::1]:{port} ssl http2; root {0}/html;
    ssl_certificate {1}; ssl_certificate_key {2};
    location /moved {{ return 302 /ok; }}
    location /echo {{ return 200 \"$request_method $host\"; }}
  }}
}}
",
        folder.display(),
        certificates.cert.display(),
        certificates.key.display()
    );
    fs::write(folder.join("nginx.conf"), text).expect("a folder of our own");
    let mut command = Command::new(program("nginx")?);
    command.args(["-p".as_ref(), folder.as_os_str(), "-c".as_ref(), folder.join("nginx.conf").as_os_str()]);
    let log = fs::File::create(folder.join("log")).expect("a folder of our own");
    let running = Running::start(command.stderr(log));
    assert!(wait_for(10, || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()), "nginx does not begin");
    Some((port, running))
}
