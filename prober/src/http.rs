//! The optional request: HTTP/1.1, one answer.

use std::io;

use serde::{Deserialize, Serialize};

use crate::reason::{Failure, Reason};

/// More of a head than this is no answer.
const MOST_HEAD: usize = 64 << 10;
/// More headers than this are not read.
const MOST_HEADERS: usize = 128;

/// What to ask for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HttpRequest {
    /// GET, HEAD, POST, …
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Headers beyond Host, User-Agent and Connection.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
    /// Keep so many bytes of the answer's body; the rest is read and dropped.
    pub keep_body: usize,
    /// End with the first byte of the answer: what a handshake check needs.
    pub head_only: bool,
}

impl Default for HttpRequest {
    fn default() -> Self {
        Self { method: "GET".into(), path: "/".into(), headers: vec![], body: String::new(), keep_body: 0, head_only: true }
    }
}

impl HttpRequest {
    /// Its bytes for `host`, as [`authority`] writes it.
    pub fn bytes(&self, host: &str) -> Vec<u8> {
        let named = |name: &str| self.headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
        let mut text = format!("{} {} HTTP/1.1\r\n", self.method, self.path);
        for (name, value) in
            [("Host", host), ("User-Agent", concat!("whostalled/", env!("CARGO_PKG_VERSION"))), ("Connection", "close")]
        {
            if !named(name) {
                text += &format!("{name}: {value}\r\n");
            }
        }
        for (name, value) in &self.headers {
            text += &format!("{name}: {value}\r\n");
        }
        if !self.body.is_empty() && !named("Content-Length") {
            text += &format!("Content-Length: {}\r\n", self.body.len());
        }
        text += "\r\n";
        text += &self.body;
        text.into_bytes()
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
    /// 1.0 or 1.1, as 10 or 11.
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
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }
}

/// Reads an answer from pieces.
#[derive(Default)]
pub struct Reading {
    buffer: Vec<u8>,
    response: Option<Response>,
    body: Body,
    keep: usize,
    no_body: bool,
}

#[derive(Default)]
enum Body {
    #[default]
    UntilClose,
    Left(u64),
    Chunks,
    /// Within a chunk: its bytes and the line end behind them.
    Chunk(u64),
    Done,
}

impl Reading {
    /// Begins to read the answer to `request`.
    pub fn of(request: &HttpRequest) -> Self {
        Self { keep: request.keep_body, no_body: request.method == "HEAD", ..Self::default() }
    }

    /// Takes a piece; true when the answer is complete.
    ///
    /// # Errors
    /// If it is no HTTP.
    pub fn push(&mut self, bytes: &[u8]) -> Result<bool, Failure> {
        self.buffer.extend_from_slice(bytes);
        if self.response.is_none() && !self.head()? {
            return Ok(false);
        }
        self.body()
    }

    /// Whether the head has come.
    pub fn has_head(&self) -> bool {
        self.response.is_some()
    }

    /// The connection was closed: what there is of the answer.
    ///
    /// # Errors
    /// If it was not complete.
    pub fn close(self, error: Option<&io::Error>) -> Result<Response, Failure> {
        let whole = matches!(self.body, Body::UntilClose | Body::Done);
        let cut =
            || Failure::new(Reason::RequestClosed, error.map_or("the edge closed the connection".into(), ToString::to_string));
        self.response.filter(|_| whole).ok_or_else(cut)
    }

    /// The answer as far as it came.
    pub fn take(self) -> Option<Response> {
        self.response
    }

    fn head(&mut self) -> Result<bool, Failure> {
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut parsed = httparse::Response::new(&mut headers);
        let end = match parsed.parse(&self.buffer) {
            Ok(httparse::Status::Complete(end)) => end,
            Ok(httparse::Status::Partial) if self.buffer.len() <= MOST_HEAD => return Ok(false),
            Ok(httparse::Status::Partial) => return Err(Failure::new(Reason::HttpMalformed, "the head does not end")),
            Err(e) => return Err(Failure::new(Reason::HttpMalformed, e)),
        };
        let status = parsed.code.unwrap_or(0);
        if (100..200).contains(&status) && status != 101 {
            self.buffer.drain(..end);
            return self.head(); // an interim answer: the real one follows
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let headers: Vec<(String, String)> = parsed.headers.iter().map(|h| (h.name.to_owned(), text(h.value))).collect();
        let response = Response { status, version: 10 + parsed.version.unwrap_or(1), headers, ..Response::default() };
        let length = response.header("content-length").and_then(|v| v.trim().parse().ok());
        let chunked = response.header("transfer-encoding").is_some_and(|v| v.to_ascii_lowercase().contains("chunked"));
        self.body = match length {
            _ if self.no_body || status == 204 || status == 304 => Body::Done,
            _ if chunked => Body::Chunks,
            Some(length) => Body::Left(length),
            None => Body::UntilClose,
        };
        self.response = Some(response);
        self.buffer.drain(..end);
        Ok(true)
    }

    fn body(&mut self) -> Result<bool, Failure> {
        let malformed = |_| Failure::new(Reason::HttpMalformed, "a chunk without a size");
        loop {
            match self.body {
                Body::Done => return Ok(true),
                Body::UntilClose => {
                    self.keep(u64::MAX, u64::MAX);
                    return Ok(false);
                }
                Body::Left(0) => self.body = Body::Done,
                Body::Left(left) => {
                    let taken = self.keep(left, left);
                    if taken == 0 {
                        return Ok(false);
                    }
                    self.body = Body::Left(left - taken);
                }
                Body::Chunks => match httparse::parse_chunk_size(&self.buffer).map_err(malformed)? {
                    httparse::Status::Partial if self.buffer.len() > MOST_HEAD => {
                        return Err(Failure::new(Reason::HttpMalformed, "a chunk's size does not end"));
                    }
                    httparse::Status::Partial => return Ok(false),
                    httparse::Status::Complete((_, 0)) => self.body = Body::Done,
                    httparse::Status::Complete((at, size)) => {
                        self.buffer.drain(..at);
                        self.body = Body::Chunk(size.saturating_add(2));
                    }
                },
                Body::Chunk(0) => self.body = Body::Chunks,
                Body::Chunk(left) => {
                    let taken = self.keep(left, left.saturating_sub(2));
                    if taken == 0 {
                        return Ok(false);
                    }
                    self.body = Body::Chunk(left - taken);
                }
            }
        }
    }

    /// Takes at most `most` bytes off the buffer, of which the first `content` belong to the body.
    fn keep(&mut self, most: u64, content: u64) -> u64 {
        let taken = (self.buffer.len() as u64).min(most) as usize;
        let of_body = (taken as u64).min(content) as usize;
        if let Some(response) = &mut self.response {
            let room = self.keep.saturating_sub(response.body.len());
            response.body.extend_from_slice(&self.buffer[..of_body.min(room)]);
            response.body_len += of_body as u64;
        }
        self.buffer.drain(..taken);
        taken as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[&str]) -> Result<Option<Response>, Failure> {
        let mut reading = Reading { keep: 100, ..Reading::default() };
        for piece in pieces {
            if reading.push(piece.as_bytes())? {
                return Ok(reading.take());
            }
        }
        Ok(None)
    }

    #[test]
    fn answers_are_complete_by_length_chunks_or_close() {
        let by_length = read(&["HTTP/1.1 200 OK\r\nContent-Le", "ngth: 5\r\n\r\nhel", "lo"]);
        assert_eq!(by_length.expect("it is HTTP").expect("it is complete").body, b"hello");
        let chunked = read(&["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r", "\n2\r\nlo\r\n0\r\n\r\n"]);
        assert_eq!(chunked.expect("it is HTTP").expect("it is complete").body, b"hello");
        assert_eq!(read(&["HTTP/1.0 200 OK\r\n\r\nhello"]), Ok(None), "it ends with the connection");
        assert_eq!(
            read(&["HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\n\r\n"]).expect("it is HTTP").expect("whole").status,
            204
        );
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
