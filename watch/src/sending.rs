//! How receivers are reached: by HTTP as they are, by HTTPS with the platform's root certificates, read when the first needs them.

use std::sync::OnceLock;
use std::time::Duration;

use prober::tls::{TlsOptions, config};
use reqwest::redirect::Policy;
use settings::words::visible;

use crate::receivers::Request;

/// Patience with a receiver.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Characters of an answer that are shown.
const MOST_WORDS: usize = 200;
/// Bytes of an answer that are read.
const MOST_ANSWER: usize = 4 << 10;

/// Why a message was not taken.
#[derive(Clone, PartialEq, Debug)]
pub enum Failed {
    /// It may be taken later.
    NotNow(String),
    /// It never will be.
    Refused(String),
}

/// Sends requests.
#[derive(Default)]
pub struct Client {
    /// Follows no redirects, and cannot speak TLS to anybody it trusts.
    plain: OnceLock<reqwest::Client>,
    encrypted: OnceLock<reqwest::Client>,
}

impl Client {
    /// Sends a request.
    ///
    /// # Errors
    /// If nobody answered, or the answer was no.
    pub async fn post(&self, request: &Request) -> Result<(), Failed> {
        let plain = request.url.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http://"));
        let mut answer = self.try_post(request, plain).await?;
        if plain && answer.status().is_redirection() {
            answer = self.try_post(request, false).await?; // it may lead to HTTPS
        }
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let words = words(answer, request.token.as_deref()).await;
        let words = format!("it answered {status}{}{words}", if words.is_empty() { "" } else { ": " });
        Err(match status.as_u16() {
            // Too many, or not now, or not with this token: later, perhaps.
            401 | 403 | 404 | 408 | 425 | 429 | 500..=599 => Failed::NotNow(words),
            _ => Failed::Refused(words),
        })
    }

    async fn try_post(&self, request: &Request, plain: bool) -> Result<reqwest::Response, Failed> {
        let kept = if plain { &self.plain } else { &self.encrypted };
        let client = match kept.get() {
            Some(client) => client,
            // What cannot be had now, as root certificates, may be there at the next attempt.
            None => {
                let made = if plain { without_roots() } else { with_roots() };
                let made = made.map_err(Failed::NotNow)?;
                kept.get_or_init(|| made)
            }
        };
        let mut post = client.post(&request.url).timeout(TIMEOUT).json(&request.body);
        if let Some(token) = &request.token {
            post = post.bearer_auth(token);
        }
        post.send().await.map_err(|e| Failed::NotNow(e.without_url().to_string()))
    }

    /// Whether root certificates were read.
    #[cfg(test)]
    pub fn has_roots(&self) -> bool {
        self.encrypted.get().is_some()
    }
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

fn with_roots() -> Result<reqwest::Client, String> {
    built(&TlsOptions::default(), Policy::default())
}

fn without_roots() -> Result<reqwest::Client, String> {
    // Nothing is sent over it but plain HTTP.
    built(&TlsOptions { insecure: true, ..TlsOptions::default() }, Policy::none())
}

fn built(tls: &TlsOptions, redirect: Policy) -> Result<reqwest::Client, String> {
    let tls = config(tls).map_err(|e| e.to_string())?;
    let builder = reqwest::Client::builder().tls_backend_preconfigured(tls).redirect(redirect);
    builder.user_agent(concat!("whostalled/", env!("CARGO_PKG_VERSION"))).build().map_err(|e| format!("the HTTP client: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// Answers each request with `response`; gives its address.
    pub async fn serve(response: &'static str) -> String {
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

    fn request(url: String) -> Request {
        Request { url, body: serde_json::json!({}), token: Some("t0ken".into()) }
    }

    #[tokio::test]
    async fn a_receiver_on_plain_http_needs_no_root_certificates() {
        let client = Client::default();
        let url = serve("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").await;
        assert_eq!(client.post(&request(url)).await, Ok(()));
        assert!(!client.has_roots());
        let nobody = client.post(&request("https://127.0.0.1:1/".into())).await;
        assert!(matches!(nobody, Err(Failed::NotNow(_))) && (client.has_roots() || with_roots().is_err()));
    }

    #[tokio::test]
    async fn a_refusal_is_told_from_not_now_with_the_receivers_words_and_without_the_token() {
        let client = Client::default();
        let url =
            serve("HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 21\r\n\r\nno label \x1b[1m-\n t0ken!").await;
        let Err(Failed::Refused(why)) = client.post(&request(url)).await else { panic!("it is refused for good") };
        assert!(why.contains("400") && why.contains("no label") && !why.contains("t0ken") && !why.contains('\x1b'), "{why}");
        let url = serve("HTTP/1.1 503 Away\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").await;
        assert!(matches!(client.post(&request(url)).await, Err(Failed::NotNow(_))));
    }
}
