//! The optional request: HTTP/1.1 or HTTP/2, one answer. hyper and its h2 speak it, on our own connection.

use std::error::Error;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use http_body_util::Full;
use hyper::body::{Body, Bytes};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use hyper::rt::{Read, Write};
use hyper::{Request, Uri, Version};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::reason::{Failure, Reason};

/// More of a head than this is no answer: cookies and policies make long ones.
const MOST_HEAD: usize = 1 << 20;
/// More headers than this are not read; room for all of them is made for each answer, so that a check has less of it.
const MOST_HEADERS: usize = 128;
/// The same for those who are lenient.
const MOST_HEADERS_LENIENT: usize = 2000;

/// What to ask for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HttpRequest {
    /// GET, HEAD, POST, …
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Headers beyond Host, User-Agent, Connection and those of the transfer, of which the body decides.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// Keep so many bytes of the answer's body; the rest is read and dropped.
    pub keep_body: usize,
    /// Read no more than about so many bytes of the answer's body; absent: all of it.
    pub most_body: Option<u64>,
    /// End with the first byte of the answer: what a handshake check needs.
    pub head_only: bool,
    /// End with the head of a redirect that says where to: whoever follows it wants no more of it.
    pub redirect_by_head: bool,
    /// Read what other clients read, too: very many headers, folded lines, and blanks before the colon.
    pub lenient: bool,
}

impl Default for HttpRequest {
    fn default() -> Self {
        Self {
            method: "GET".into(),
            path: "/".into(),
            headers: vec![],
            body: vec![],
            keep_body: 0,
            most_body: None,
            head_only: true,
            redirect_by_head: false,
            lenient: false,
        }
    }
}

/// How a request is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    /// HTTP/1.1, to the server itself.
    Origin,
    /// HTTP/1.1, to a proxy that passes it on (RFC 9112, section 3.2.2).
    Absolute,
    /// HTTP/2.
    Multiplexed,
}

impl HttpRequest {
    /// As hyper wants it, for `host` as [`authority`] writes it.
    fn message(&self, host: &str, form: Form) -> Result<Request<()>, Failure> {
        let wrong = |what: &str| Failure::new(Reason::Prober, format!("the request cannot be written: {what}"));
        let named = |name: &str| self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str());
        let uri = Uri::builder().path_and_query(self.path.as_str());
        let uri = match form {
            Form::Origin => uri,
            Form::Absolute => uri.scheme("http").authority(host),
            // What `Host` says elsewhere is `:authority` here (RFC 9113, section 8.3.1).
            Form::Multiplexed => uri.scheme("https").authority(named("host").unwrap_or(host)),
        };
        let mut message = Request::new(());
        *message.method_mut() = self.method.parse().map_err(|_| wrong("its method"))?;
        *message.uri_mut() = uri.build().map_err(|e| wrong(&format!("its path: {e}")))?;
        let multiplexed = form == Form::Multiplexed;
        if multiplexed {
            *message.version_mut() = Version::HTTP_2;
        }
        let own = [("Host", host), ("User-Agent", concat!("whostalled/", env!("CARGO_PKG_VERSION"))), ("Connection", "close")];
        let own = own.into_iter().filter(|(name, _)| named(name).is_none());
        let all = own.chain(self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        // A stream has no connection of its own to speak of, and no `Host` beside its authority.
        let of_connection = ["host", "connection", "keep-alive", "proxy-connection", "upgrade"];
        // What is said of a body that is not there has the server wait for it.
        let of_transfer = ["content-length", "transfer-encoding", "trailer"];
        let is_of = |names: &[&str], name: &str| names.iter().any(|n| name.eq_ignore_ascii_case(n));
        for (name, value) in all.filter(|(name, _)| !(is_of(&of_transfer, name) || multiplexed && is_of(&of_connection, name))) {
            let parsed = HeaderName::try_from(name).ok().zip(HeaderValue::from_bytes(value.as_bytes()).ok());
            // A value may be a secret.
            let (name, value) = parsed.ok_or_else(|| wrong(&format!("its header {name:?}")))?;
            message.headers_mut().append(name, value);
        }
        // Of these methods many servers want to hear that there is no body, too (RFC 9110, section 8.6).
        if !self.body.is_empty() || matches!(self.method.as_str(), "POST" | "PUT" | "PATCH") {
            message.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(self.body.len()));
        }
        Ok(message)
    }
}

/// What `Host` says (RFC 9110, section 7.2): the port where it is not the scheme's own, an IPv6 address in brackets.
pub fn authority(host: &str, port: u16, encrypted: bool) -> String {
    let host = host.trim_matches(['[', ']']);
    // A zone is this machine's business.
    let host = if host.contains(':') { format!("[{}]", host.split('%').next().unwrap_or(host)) } else { host.to_owned() };
    if port == if encrypted { 443 } else { 80 } { host } else { format!("{host}:{port}") }
}

/// An answer.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Response {
    /// Its status code.
    pub status: u16,
    /// 1.0, 1.1 or 2, as 10, 11 or 20.
    pub version: u8,
    /// Its headers.
    #[serde(skip)]
    pub headers: Vec<(String, String)>,
    /// What was kept of its body.
    #[serde(skip)]
    pub body: Vec<u8>,
    /// How long its body was, as far as it was read.
    pub body_len: u64,
}

impl Response {
    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers_named(name).next()
    }

    /// All headers of that name, in order.
    pub fn headers_named<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }
}

/// How far a request over HTTP/2 is: there, more than it and its answer passes on the connection.
#[derive(Default, Debug)]
pub(crate) struct Progress {
    /// What is written from now on has the request in it.
    pub asked: AtomicBool,
    /// The answer's head has come.
    pub answered: AtomicBool,
}

/// Asks on a connection by HTTP/1.1, and reads the answer: `heard` has as much of it as came.
///
/// # Errors
/// If the request cannot be written, or what answers is no HTTP or breaks off.
pub(crate) async fn ask(
    stream: impl Read + Write + Unpin,
    request: &HttpRequest,
    host: &str,
    form: Form,
    heard: &mut Option<Response>,
) -> Result<(), Failure> {
    let message = request.message(host, form)?.map(|()| Full::new(Bytes::from(request.body.clone())));
    let mut how = http1::Builder::new();
    let most_headers = if request.lenient { MOST_HEADERS_LENIENT } else { MOST_HEADERS };
    how.title_case_headers(true).max_headers(most_headers).max_buf_size(MOST_HEAD);
    how.allow_obsolete_multiline_headers_in_responses(request.lenient)
        .allow_spaces_after_header_name_in_responses(request.lenient);
    let (sender, connection) = how.handshake(stream).await.map_err(|e| failure(&e))?;
    beside(connection, answer(sender, message, request, heard)).await
}

/// The same by HTTP/2.
///
/// # Errors
/// As [`ask`].
pub(crate) async fn ask_multiplexed(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: &HttpRequest,
    host: &str,
    progress: &Progress,
    heard: &mut Option<Response>,
) -> Result<(), Failure> {
    let message = request.message(host, Form::Multiplexed)?;
    let mut how = h2::client::Builder::new();
    how.enable_push(false)
        .max_header_list_size(MOST_HEAD as u32)
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW);
    let (sender, connection) = how.handshake(stream).await.map_err(|e| h2_failure(&e))?;
    let mut connection = pin!(connection);
    // The preface and our settings leave before the request: they are none.
    let mut over = poll_fn(|cx| Poll::Ready(connection.as_mut().poll(cx).is_ready())).await;
    progress.asked.store(true, Ordering::Relaxed);
    let mut answer = pin!(multiplexed_answer(sender, message, request, progress, heard));
    poll_fn(|cx| {
        over = over || connection.as_mut().poll(cx).is_ready();
        answer.as_mut().poll(cx)
    })
    .await
}

/// What the edge may send of a body before we have taken any of it.
const WINDOW: u32 = 1 << 20;

/// Awaits an answer while its connection moves the bytes; how that ended, the answer tells.
async fn beside<T>(connection: impl Future, answer: impl Future<Output = T>) -> T {
    let (mut connection, mut answer) = (pin!(connection), pin!(answer));
    let mut over = false;
    poll_fn(|cx| {
        over = over || connection.as_mut().poll(cx).is_ready();
        answer.as_mut().poll(cx)
    })
    .await
}

async fn answer(
    mut sender: SendRequest<Full<Bytes>>,
    message: Request<Full<Bytes>>,
    request: &HttpRequest,
    heard: &mut Option<Response>,
) -> Result<(), Failure> {
    let (head, mut body) = sender.send_request(message).await.map_err(|e| failure(&e))?.into_parts();
    let version = if head.version == Version::HTTP_10 { 10 } else { 11 };
    let response = heard.insert(Response::new(head.status.as_u16(), version, &head.headers));
    if response.ends_with_head(request) {
        return Ok(());
    }
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let Ok(data) = frame.map_err(|e| failure(&e))?.into_data() else { continue }; // trailers
        if !response.take(&data, request) {
            break;
        }
    }
    Ok(())
}

async fn multiplexed_answer(
    sender: h2::client::SendRequest<Bytes>,
    message: Request<()>,
    request: &HttpRequest,
    progress: &Progress,
    heard: &mut Option<Response>,
) -> Result<(), Failure> {
    let mut sender = sender.ready().await.map_err(|e| h2_failure(&e))?;
    let (head, mut rest) = sender.send_request(message, request.body.is_empty()).map_err(|e| h2_failure(&e))?;
    if !request.body.is_empty() {
        rest.send_data(Bytes::from(request.body.clone()), true).map_err(|e| h2_failure(&e))?;
    }
    let (head, mut body) = head.await.map_err(|e| h2_failure(&e))?.into_parts();
    progress.answered.store(true, Ordering::Relaxed);
    let response = heard.insert(Response::new(head.status.as_u16(), 20, &head.headers));
    if response.ends_with_head(request) {
        return Ok(());
    }
    while let Some(data) = body.data().await {
        let data = data.map_err(|e| h2_failure(&e))?;
        // Of a stream that is over nothing need be released.
        let _ = body.flow_control().release_capacity(data.len());
        if !response.take(&data, request) {
            break;
        }
    }
    Ok(())
}

impl Response {
    fn new(status: u16, version: u8, headers: &HeaderMap) -> Self {
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers = headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
        Self { status, version, headers, ..Self::default() }
    }

    /// Whether what asked wants nothing of its body.
    fn ends_with_head(&self, request: &HttpRequest) -> bool {
        let redirects = || matches!(self.status, 301 | 302 | 303 | 307 | 308) && self.header("location").is_some();
        request.head_only || request.redirect_by_head && redirects()
    }

    /// Takes more of the body; whether it is to go on.
    fn take(&mut self, data: &[u8], request: &HttpRequest) -> bool {
        let room = request.keep_body.saturating_sub(self.body.len());
        self.body.extend_from_slice(&data[..data.len().min(room)]);
        self.body_len += data.len() as u64;
        request.most_body.is_none_or(|most| self.body_len <= most)
    }
}

fn h2_failure(error: &h2::Error) -> Failure {
    match error.get_io() {
        Some(io) if io.kind() == io::ErrorKind::UnexpectedEof => {
            Failure::new(Reason::RequestClosed, "the edge closed the connection")
        }
        Some(io) => Failure::new(Reason::RequestClosed, io),
        None if error.is_remote() => Failure::new(Reason::RequestClosed, format!("the edge ended the request: {error}")),
        None if error.is_library() || error.is_reset() || error.is_go_away() => Failure::new(Reason::HttpMalformed, error),
        None => Failure::new(Reason::RequestClosed, error),
    }
}

/// What went wrong, in the words of whoever found it.
fn failure(error: &hyper::Error) -> Failure {
    let mut root: &(dyn Error + 'static) = error;
    while let Some(source) = root.source() {
        root = source;
    }
    let malformed = |kind| matches!(kind, io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData);
    match root.downcast_ref::<io::Error>().map(io::Error::kind) {
        Some(kind) if malformed(kind) => Failure::new(Reason::HttpMalformed, root),
        None if error.is_parse() => Failure::new(Reason::HttpMalformed, root),
        None | Some(io::ErrorKind::UnexpectedEof) => Failure::new(Reason::RequestClosed, "the edge closed the connection"),
        Some(_) => Failure::new(Reason::RequestClosed, root),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::VecDeque;
    use std::task::{Context, Poll, Waker};

    use hyper::rt::ReadBufCursor;

    /// A server that answers in these pieces once it was asked, and then closes.
    struct Pieces<'a> {
        pieces: VecDeque<&'a [u8]>,
        asked: &'a mut Vec<u8>,
        early: Option<Waker>,
    }

    impl Read for Pieces<'_> {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, mut buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
            if self.asked.is_empty() {
                self.early = Some(cx.waker().clone());
                return Poll::Pending;
            }
            let piece = self.pieces.pop_front().unwrap_or_default();
            let (now, later) = piece.split_at(piece.len().min(buf.remaining()));
            buf.put_slice(now);
            if !later.is_empty() {
                self.pieces.push_front(later);
            }
            Poll::Ready(Ok(()))
        }
    }

    impl Write for Pieces<'_> {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.asked.extend_from_slice(bytes);
            self.early.take().into_iter().for_each(Waker::wake);
            Poll::Ready(Ok(bytes.len()))
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// What was asked, and what the answer was.
    fn asked(request: &HttpRequest, pieces: &[&str]) -> (String, Result<Response, Failure>) {
        let mut asked = Vec::new();
        let pieces = Pieces { pieces: pieces.iter().map(|p| p.as_bytes()).collect(), asked: &mut asked, early: None };
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let mut heard = None;
        let answer = runtime.block_on(ask(pieces, request, "a.test:8443", Form::Origin, &mut heard));
        let answer = answer.map(|()| heard.expect("it has come"));
        (String::from_utf8(asked).expect("it is text"), answer)
    }

    fn read(pieces: &[&str]) -> Result<Response, Failure> {
        asked(&HttpRequest { keep_body: 4, head_only: false, ..HttpRequest::default() }, pieces).1
    }

    #[test]
    fn answers_are_complete_by_length_chunks_or_close() {
        for pieces in [
            &["HTTP/1.1 200 OK\r\nContent-Le", "ngth: 5\r\n\r\nhel", "lo"][..],
            &["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r", "\n2\r\nlo\r\n0\r\n\r\n"],
            &["HTTP/1.0 200 OK\r\n\r\nhello"],
        ] {
            let answer = read(pieces).expect("it is HTTP");
            assert_eq!((answer.status, answer.body.as_slice(), answer.body_len), (200, &b"hell"[..], 5), "{pieces:?}");
        }
        assert_eq!(read(&["HTTP/1.0 200 OK\r\n\r\n"]).expect("it is HTTP").version, 10);
        let interim = read(&["HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\n\r\n"]).expect("it is HTTP");
        assert_eq!((interim.status, interim.version), (204, 11));
    }

    #[test]
    fn an_answer_that_breaks_off_is_none() {
        for pieces in [
            &["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel"][..],
            &["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel"],
            &["HTTP/1.1 200 O"],
            &[],
        ] {
            let failure = read(pieces).expect_err("it is not whole");
            assert_eq!(failure, Failure::new(Reason::RequestClosed, "the edge closed the connection"), "{pieces:?}");
        }
    }

    #[test]
    fn a_head_is_enough_where_it_was_all_that_was_asked_for() {
        let head = "HTTP/1.1 301 Moved\r\nLocation: /b\r\nContent-Length: 5\r\n\r\n";
        let (_, answer) = asked(&HttpRequest::default(), &[head]);
        let answer = answer.expect("it is HTTP");
        assert_eq!((answer.status, answer.header("location"), answer.body_len), (301, Some("/b"), 0));
        let long = format!("HTTP/1.1 200 OK\r\nA: {}\r\n", "x".repeat(MOST_HEAD));
        assert_eq!(read(&[&long]).expect_err("it does not end").reason, Reason::HttpMalformed);
    }

    #[test]
    fn a_request_says_what_it_is_told_to_and_no_more() {
        let (plain, _) = asked(&HttpRequest::default(), &[]);
        let agent = concat!("User-Agent: whostalled/", env!("CARGO_PKG_VERSION"));
        assert_eq!(plain, format!("GET / HTTP/1.1\r\nHost: a.test:8443\r\n{agent}\r\nConnection: close\r\n\r\n"));
        let headers = vec![("host".into(), "v.test".into()), ("X-Api-Key".into(), "k".into())];
        let posted =
            HttpRequest { method: "POST".into(), path: "/a?b=c".into(), headers, body: b"hi".into(), ..HttpRequest::default() };
        let (said, _) = asked(&posted, &[]);
        assert!(said.starts_with("POST /a?b=c HTTP/1.1\r\n") && said.ends_with("\r\n\r\nhi"), "{said}");
        for line in ["Host: v.test\r\n", "X-Api-Key: k\r\n", "Content-Length: 2\r\n"] {
            assert_eq!(said.to_lowercase().matches(&line.to_lowercase()).count(), 1, "{line} in {said}");
        }
        let wrong = HttpRequest { headers: vec![("X".into(), "s3cret\r\n".into())], ..HttpRequest::default() };
        let failure = asked(&wrong, &[]).1.expect_err("it would be two headers");
        assert!(failure.reason == Reason::Prober && !failure.detail.contains("s3cret"), "{failure:?}");
    }

    #[test]
    fn a_length_is_said_where_servers_want_one_and_it_is_the_bodys() {
        for (method, body, length) in [
            ("POST", "", Some("0")),
            ("PUT", "", Some("0")),
            ("PATCH", "", Some("0")),
            ("GET", "", None),
            ("DELETE", "", None),
            ("POST", "hi", Some("2")),
        ] {
            for configured in [None, Some("7")] {
                let headers = configured.map(|length| ("content-length".to_owned(), length.to_owned())).into_iter().collect();
                let request = HttpRequest { method: method.into(), body: body.into(), headers, ..HttpRequest::default() };
                let (said, _) = asked(&request, &[]);
                let said = said.to_lowercase();
                let found = said.lines().find_map(|line| line.strip_prefix("content-length: "));
                assert_eq!((found, said.matches("content-length").count()), (length, length.into_iter().len()), "{said}");
                let multiplexed = request.message("a.test", Form::Multiplexed).expect("it can be written");
                let found = multiplexed.headers().get("content-length").map(|value| value.to_str().expect("it is text"));
                assert_eq!(found, length, "{method} over HTTP/2");
            }
        }
    }

    #[test]
    fn a_long_head_is_read() {
        let cookie = format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nSet-Cookie: a={}\r\n\r\n", "x".repeat(200 << 10));
        assert_eq!(read(&[&cookie]).expect("it is HTTP").header("set-cookie").map(str::len), Some((200 << 10) + 2));
        let many: String = (0..900).map(|n| format!("X-{n}: {n}\r\n")).collect();
        let lenient = HttpRequest { lenient: true, ..HttpRequest::default() };
        let (_, answer) = asked(&lenient, &[&format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{many}\r\n")]);
        let answer = answer.expect("it is HTTP");
        assert_eq!(answer.header("x-899"), Some("899"));
    }

    #[test]
    fn the_host_is_named_with_its_port_and_brackets() {
        for (host, port, encrypted, said) in [
            ("a.test", 443, true, "a.test"),
            ("a.test", 80, false, "a.test"),
            ("a.test", 443, false, "a.test:443"),
            ("a.test", 8443, true, "a.test:8443"),
            ("192.0.2.1", 8443, true, "192.0.2.1:8443"),
            ("::1", 443, true, "[::1]"),
            ("[::1]", 18456, true, "[::1]:18456"),
            ("fe80::1%eth0", 443, true, "[fe80::1]"),
        ] {
            assert_eq!(authority(host, port, encrypted), said);
        }
    }

    #[test]
    fn what_is_no_http_is_said_to_be_none() {
        assert_eq!(read(&["SSH-2.0-OpenSSH_9.2\r\n\r\n"]).expect_err("it is SSH").reason, Reason::HttpMalformed);
        let size = read(&["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"]);
        assert_eq!(size.expect_err("no size").reason, Reason::HttpMalformed);
    }
}
