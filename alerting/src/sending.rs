//! How receivers are reached: by HTTP as they are, by HTTPS with the platform's root certificates, read when the first needs them.
//!
//! In: an event and whom to tell. Out: that it was taken, or why not, and by whose fault.

use std::fmt;
use std::io;
use std::sync::OnceLock;
use std::time::Duration;

use futures_util::future::BoxFuture;
use prober::tls::{TlsOptions, config};
use reqwest::Url;
use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::redirect::Policy;
use serde_json::Value;
use settings::words::visible;

use crate::clock::UnixSeconds;
use crate::event::Event;
use crate::receiver::{Answered, Receiver};
use crate::secret::SecretError;

/// Patience with a receiver.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Characters of an answer that are shown.
const MOST_WORDS: usize = 200;
/// Bytes of an answer that are read.
const MOST_ANSWER: usize = 4 << 10;
/// Addresses that one request is led to at most.
const MOST_REDIRECTS: usize = 5;

/// A request to send: a POST.
#[derive(Clone, PartialEq, Debug)]
pub struct Request {
    /// Where to.
    pub url: String,
    /// What is sent.
    pub body: Body,
    /// Headers beside those of the body.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// A bearer token.
    pub token: Option<String>,
}

/// What a request carries.
#[derive(Clone, PartialEq, Debug)]
pub enum Body {
    /// As `application/json`.
    Json(Value),
    /// As `text/plain`.
    Text(String),
}

impl Body {
    /// The JSON, if it is that.
    pub fn as_json(&self) -> Option<&Value> {
        match self {
            Body::Json(body) => Some(body),
            Body::Text(_) => None,
        }
    }
}

impl fmt::Display for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Body::Json(body) => body.fmt(f),
            Body::Text(words) => f.write_str(words),
        }
    }
}

impl Request {
    /// One that carries JSON.
    #[must_use]
    pub fn json(url: impl Into<String>, body: Value, token: Option<String>) -> Self {
        Self { url: url.into(), body: Body::Json(body), headers: Vec::new(), token }
    }

    /// One that carries words.
    #[must_use]
    pub fn text(url: impl Into<String>, words: impl Into<String>) -> Self {
        Self { url: url.into(), body: Body::Text(words.into()), headers: Vec::new(), token: None }
    }

    /// With a header more.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }
}

/// What a receiver answered.
#[derive(Clone, PartialEq, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The status by name, and the beginning of the body, fit to be shown.
    pub words: String,
    /// How long it wants to be left alone.
    pub retry_after: Option<Duration>,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it answered {}", self.words)
    }
}

/// Why a message was not taken, by whose fault.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// The configuration's: it names a secret that is not there.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// This host's: it has no usable root certificates, say.
    #[error(transparent)]
    Tls(io::Error),
    /// Ours.
    #[error("the HTTP client: {0}")]
    Client(reqwest::Error),
    /// The network's, or the receiver is away.
    #[error("{}", with_causes(.0))]
    Network(reqwest::Error),
    /// The receiver's, and it may take the message later.
    #[error("{0}")]
    NotNow(Answer),
    /// The receiver's, and it never will.
    #[error("{0}")]
    Refused(Answer),
}

/// Sends requests.
#[derive(Default)]
pub struct Client {
    /// Cannot speak TLS to anybody it trusts.
    plain: OnceLock<reqwest::Client>,
    encrypted: OnceLock<reqwest::Client>,
}

impl Client {
    /// Tells `receiver` of `event`.
    ///
    /// # Errors
    /// If nobody was told: by whose fault, and whether it may work later.
    pub async fn tell(&self, receiver: &Receiver, event: &Event, now: UnixSeconds) -> Result<(), Failed> {
        self.ask(receiver, &receiver.request(event, now)?).await
    }

    /// Sends `receiver` a request that is for it.
    ///
    /// # Errors
    /// As [`Self::tell`].
    pub async fn ask(&self, receiver: &Receiver, request: &Request) -> Result<(), Failed> {
        let answer = self.post(request).await?;
        match receiver.answered(answer.status) {
            Answered::Taken => Ok(()),
            Answered::NotNow => Err(Failed::NotNow(answer)),
            Answered::Refused => Err(Failed::Refused(answer)),
        }
    }

    /// Posts JSON to somebody who is no receiver of alerts; only a good answer counts.
    ///
    /// # Errors
    /// If it was not taken: by whose fault.
    pub fn post_json<'a>(
        &'a self,
        url: &'a str,
        headers: &'a [(String, String)],
        body: Value,
    ) -> BoxFuture<'a, Result<(), Failed>> {
        Box::pin(self.try_post_json(url, headers, body))
    }

    async fn try_post_json(&self, url: &str, headers: &[(String, String)], body: Value) -> Result<(), Failed> {
        let mut request = Request::json(url, body, None);
        for (name, value) in headers {
            // One that is none would be the configuration's fault, and says so by the answer that is missing.
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                request = request.header(name, value);
            }
        }
        let answer = self.post(&request).await?;
        match answer.status {
            200..=299 => Ok(()),
            _ => Err(Failed::NotNow(answer)),
        }
    }

    /// Sends a request; gives what was answered, whatever it means. Where the answer leads elsewhere, the same is sent there, if that is
    /// meant: a POST that becomes a GET (Fetch, 4.4) tells nobody anything.
    ///
    /// # Errors
    /// If nobody answered.
    pub async fn post(&self, request: &Request) -> Result<Answer, Failed> {
        let mut request = request.clone();
        let (mut answer, mut led) = (self.try_post(&request).await?, 0);
        let astray = loop {
            if !answer.status().is_redirection() {
                break None;
            }
            match led_to(&request.url, &answer) {
                _ if led == MOST_REDIRECTS => break Some("it leads from address to address".to_owned()),
                Err(why) => break Some(why),
                Ok(next) => request.url = next.into(),
            }
            (answer, led) = (self.try_post(&request).await?, led + 1);
        };
        let status = answer.status();
        let retry_after = answer.headers().get(RETRY_AFTER).and_then(|seconds| seconds.to_str().ok()?.trim().parse().ok());
        let body = match astray {
            Some(astray) => visible(&astray).into_owned(),
            None if status.is_success() => String::new(),
            None => words(answer, request.token.as_deref()).await,
        };
        let words = format!("{status}{}{body}", if body.is_empty() { "" } else { ": " });
        Ok(Answer { status: status.as_u16(), words, retry_after: retry_after.map(Duration::from_secs) })
    }

    async fn try_post(&self, request: &Request) -> Result<reqwest::Response, Failed> {
        let plain = request.url.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http://"));
        let kept = if plain { &self.plain } else { &self.encrypted };
        let client = match kept.get() {
            Some(client) => client,
            // What cannot be had now, as root certificates, may be there at the next attempt.
            None => {
                let made = if plain { without_roots() } else { with_roots() }?;
                kept.get_or_init(|| made)
            }
        };
        let post = client.post(&request.url).timeout(TIMEOUT).headers(request.headers.iter().cloned().collect());
        let mut post = match &request.body {
            Body::Json(body) => post.json(body),
            Body::Text(words) => post.header(CONTENT_TYPE, "text/plain; charset=utf-8").body(words.clone()),
        };
        if let Some(token) = &request.token {
            post = post.bearer_auth(token);
        }
        post.send().await.map_err(|e| Failed::Network(e.without_url()))
    }

    /// Whether root certificates were read.
    #[cfg(test)]
    pub fn has_roots(&self) -> bool {
        self.encrypted.get().is_some()
    }
}

/// Where an answer leads, if the same request is meant to go there; or why it is not. Of the address only the host is shown. Who is not the
/// one that was meant hears nothing: the body may have a secret in it, as the token is one.
fn led_to(from: &str, answer: &reqwest::Response) -> Result<Url, String> {
    let location = answer.headers().get(LOCATION).and_then(|location| location.to_str().ok());
    let from = Url::parse(from).map_err(|e| e.to_string())?;
    let Some(next) = location.and_then(|location| from.join(location).ok()) else { return Err("it leads nowhere".into()) };
    led_from(&from, next, answer.status().as_u16())
}

fn led_from(from: &Url, next: Url, status: u16) -> Result<Url, String> {
    let host = next.host_str().unwrap_or_default();
    let same = (from.host(), from.path(), from.query()) == (next.host(), next.path(), next.query());
    let upgraded = (from.scheme(), next.scheme()) == ("http", "https") && from.port().is_none() && next.port().is_none();
    let other_port = !upgraded && from.port_or_known_default() != next.port_or_known_default();
    match status {
        _ if next.scheme() != "https" && from.scheme() == "https" => Err(format!("it leads from HTTPS to plain HTTP at {host}")),
        301 | 302 | 307 | 308 if from.host() != next.host() => {
            Err(format!("it leads to another host, {host}, and nothing was sent there; name that address if it is meant"))
        }
        301 | 302 | 307 | 308 if other_port => {
            Err(format!("it leads to another port of {host}, and nothing was sent there; name that address if it is meant"))
        }
        301 | 307 | 308 => Ok(next),
        302 if same => Ok(next), // to HTTPS
        _ => Err(format!("it leads to a page at {host}, a login perhaps; name the address that takes messages")),
    }
}

/// An error and what caused it: alone, the first says only that nothing was sent.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| (*error).source());
    std::iter::once(error.to_string()).chain(causes.map(ToString::to_string)).collect::<Vec<_>>().join(": ")
}

/// The beginning of an answer, fit to be shown.
async fn words(mut answer: reqwest::Response, token: Option<&str>) -> String {
    let mut body = Vec::new();
    while let Ok(Some(piece)) = answer.chunk().await {
        body.extend_from_slice(&piece);
        if body.len() >= MOST_ANSWER {
            break;
        }
    }
    let text = String::from_utf8_lossy(&body);
    let text = token.filter(|t| !t.is_empty()).map_or_else(|| text.to_string(), |token| text.replace(token, "…"));
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    visible(&line).chars().take(MOST_WORDS).collect()
}

fn with_roots() -> Result<reqwest::Client, Failed> {
    built(&TlsOptions::default())
}

fn without_roots() -> Result<reqwest::Client, Failed> {
    // Nothing is sent over it but plain HTTP.
    built(&TlsOptions { insecure: true, ..TlsOptions::default() })
}

fn built(tls: &TlsOptions) -> Result<reqwest::Client, Failed> {
    let tls = config(tls).map_err(Failed::Tls)?;
    let builder = reqwest::Client::builder().tls_backend_preconfigured(tls).redirect(Policy::none());
    builder.user_agent(concat!("whostalled/", env!("CARGO_PKG_VERSION"))).build().map_err(Failed::Client)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::culprit::Culprit;
    use crate::receiver::tests::event;
    use crate::receiver::{Format, Webhook};
    use crate::secret::Secret;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// Answers each request with `response`; gives its address.
    async fn serve(response: &'static str) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("it is bound");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = vec![0; 16 << 10];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(response.as_bytes()).await;
            }
        });
        format!("http://{address}")
    }

    fn webhook(url: String, token: Option<Secret>) -> Receiver {
        Receiver::Webhook(Webhook { url: url.as_str().into(), token, format: Format::Own })
    }

    async fn tell(client: &Client, receiver: &Receiver) -> Result<(), Failed> {
        client.tell(receiver, &event(Culprit::Edge, None), UnixSeconds::from_secs(1_800_000_060)).await
    }

    #[tokio::test]
    async fn a_receiver_on_plain_http_needs_no_root_certificates() {
        let client = Client::default();
        let url = serve("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").await;
        tell(&client, &webhook(url, None)).await.expect("it is taken");
        assert!(!client.has_roots());
        let nobody = tell(&client, &webhook("https://127.0.0.1:1/".into(), None)).await;
        match nobody.expect_err("nobody is there") {
            Failed::Network(_) => assert!(client.has_roots()),
            Failed::Tls(_) => assert!(with_roots().is_err(), "this host has none"),
            other => panic!("{other}"),
        }
    }

    #[tokio::test]
    async fn a_refusal_is_told_from_not_now_with_the_receivers_words_and_without_the_token() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let token = folder.path().join("token");
        std::fs::write(&token, "t0ken").expect("it is writable");
        let token = || Some(Secret::File(token.clone()));
        let client = Client::default();
        let url =
            serve("HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 21\r\n\r\nno label \x1b[1m-\n t0ken!").await;
        let refused = tell(&client, &webhook(url, token())).await.expect_err("it is refused");
        let why = refused.to_string();
        assert!(matches!(refused, Failed::Refused(_)), "for good: {why}");
        assert!(why.contains("400") && why.contains("no label") && !why.contains("t0ken") && !why.contains('\x1b'), "{why}");
        let url = serve("HTTP/1.1 503 Away\r\nConnection: close\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n").await;
        let away = tell(&client, &webhook(url, token())).await;
        let wait = Some(Duration::from_secs(7));
        assert!(matches!(away, Err(Failed::NotNow(Answer { status: 503, retry_after, .. })) if retry_after == wait));
        let missing = tell(&client, &webhook("http://127.0.0.1:1/".into(), Some(Secret::File("/no/such/token".into())))).await;
        assert!(matches!(missing, Err(Failed::Secret(_))), "whose fault it is can be told");
    }

    /// Answers by the first line of what it is asked, and says what it was asked.
    async fn answering(answer: fn(&str) -> &'static str) -> (String, tokio::sync::mpsc::UnboundedReceiver<String>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("it is bound");
        let (heard, asked) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (mut request, mut piece) = (String::new(), [0; 4096]);
                // The last field of the body.
                while request.starts_with("POST") && !request.ends_with('}') || request.is_empty() {
                    match stream.read(&mut piece).await.unwrap_or(0) {
                        0 => break,
                        n => request.push_str(&String::from_utf8_lossy(&piece[..n])),
                    }
                }
                let said = answer(request.lines().next().unwrap_or_default());
                let said = format!("HTTP/1.1 {said}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
                let _ = stream.write_all(said.as_bytes()).await;
                let _ = heard.send(request);
            }
        });
        (format!("http://{address}"), asked)
    }

    fn all(mut heard: tokio::sync::mpsc::UnboundedReceiver<String>) -> Vec<String> {
        std::iter::from_fn(|| heard.try_recv().ok()).collect()
    }

    #[tokio::test]
    async fn a_receiver_that_leads_to_a_page_was_not_told() {
        for status in
            ["302 Found\r\nLocation: /login", "303 See Other\r\nLocation: /done", "307 Temporary Redirect", "304 Not Modified"]
        {
            // A page that takes whatever it is asked.
            let answer: fn(&str) -> &'static str = match &status[..3] {
                "302" => |line| if line.contains("/hook") { "302 Found\r\nLocation: /login" } else { "200 OK" },
                "303" => |line| if line.contains("/hook") { "303 See Other\r\nLocation: /done" } else { "200 OK" },
                "307" => |_| "307 Temporary Redirect",
                _ => |_| "304 Not Modified",
            };
            let (url, heard) = answering(answer).await;
            let told = tell(&Client::default(), &webhook(format!("{url}/hook"), None)).await;
            let why = told.expect_err(status).to_string();
            assert!(why.contains(&status[..3]) && why.contains("it leads"), "{why}");
            assert_eq!(all(heard).len(), 1, "nobody else was asked");
        }
    }

    #[tokio::test]
    async fn a_receiver_that_moved_hears_the_same_at_its_new_address_if_that_is_the_same_host() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let token = folder.path().join("token");
        std::fs::write(&token, "t0ken").expect("it is writable");
        let answer: fn(&str) -> &'static str = |line| match line.split(' ').nth(1) {
            Some("/old") => "301 Moved Permanently\r\nLocation: /newer",
            Some("/newer") => "308 Permanent Redirect\r\nLocation: /new",
            Some("/round") => "307 Temporary Redirect\r\nLocation: /round",
            _ => "200 OK",
        };
        let (url, heard) = answering(answer).await;
        tell(&Client::default(), &webhook(format!("{url}/old"), Some(Secret::File(token)))).await.expect("it is taken");
        let heard = all(heard);
        let body = |request: &str| request.split("\r\n\r\n").nth(1).unwrap_or_default().to_owned();
        assert_eq!(heard.len(), 3);
        assert!(
            heard[2].starts_with("POST /new ") && body(&heard[2]).contains("login@here") && body(&heard[2]) == body(&heard[0])
        );
        assert!(heard[2].contains("Bearer t0ken"), "{}", heard[2]);
        let url_of = |url: &str| Url::parse(url).expect("an address");
        let led = |next: &str, status| led_from(&url_of("http://a.test/x"), url_of(next), status);
        assert!(led("https://a.test/y", 301).is_ok() && led("https://a.test/x", 302).is_ok());
        for (next, what) in [
            ("https://b.test/x", "another host, b.test"),
            ("http://a.test:81/x", "another port"),
            ("https://a.test:8443/x", "another port"),
        ] {
            for status in [301, 302, 307, 308] {
                assert!(led(next, status).is_err_and(|why| why.contains(what)), "{next} {status}");
            }
        }
        let (url, _heard) = answering(answer).await;
        let why =
            tell(&Client::default(), &webhook(format!("{url}/round"), None)).await.expect_err("there is no end").to_string();
        assert!(why.contains("from address to address"), "{why}");
    }

    #[tokio::test]
    async fn why_nothing_was_sent_is_said_to_its_cause() {
        let why =
            tell(&Client::default(), &webhook("http://127.0.0.1:1/s3cret".into(), None)).await.expect_err("nobody is there");
        let why = why.to_string();
        assert!(why.contains("refused") && !why.contains("s3cret"), "{why}");
    }
}
