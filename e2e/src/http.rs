//! An HTTP client. In: an address. Out: status and body; 0 where nobody answered.

use std::time::Duration;

use reqwest::Client;
use rustls::{ClientConfig, RootCertStore};

use crate::RUNTIME;
use crate::certificates::{Certificates, trusting};

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    /// 0 if nobody answered; `body` says why.
    pub status: u16,
    /// Its content type.
    pub kind: String,
    /// Its bytes.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A client with its connections.
#[derive(Debug)]
pub struct Http(Client);

impl Http {
    /// For plain HTTP.
    #[must_use]
    pub fn plain() -> Self {
        Self::with(trusting(RootCertStore::empty()))
    }

    /// For HTTPS, with our own root.
    #[must_use]
    pub fn trusting(certificates: &Certificates) -> Self {
        Self::with(certificates.client())
    }

    fn with(tls: ClientConfig) -> Self {
        // Connections are not kept: a server that was killed would be asked over a dead one.
        let client =
            Client::builder().tls_backend_preconfigured(tls).timeout(Duration::from_secs(5)).pool_max_idle_per_host(0).no_proxy();
        Self(client.build().expect("a client"))
    }

    /// Asks.
    #[must_use]
    pub fn get(&self, url: &str) -> Answer {
        self.get_with(url, &[])
    }

    /// Asks, with headers.
    #[must_use]
    pub fn get_with(&self, url: &str, headers: &[(&str, &str)]) -> Answer {
        Self::send(headers.iter().fold(self.0.get(url), |request, (name, value)| request.header(*name, *value)))
    }

    /// Posts nothing.
    #[must_use]
    pub fn post(&self, url: &str) -> Answer {
        Self::send(self.0.post(url))
    }

    fn send(request: reqwest::RequestBuilder) -> Answer {
        let answered = RUNTIME.block_on(async {
            let response = request.send().await?;
            let status = response.status().as_u16();
            let kind = response.headers().get("content-type").and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
            Ok::<_, reqwest::Error>(Answer { status, kind, body: response.bytes().await?.to_vec() })
        });
        answered.unwrap_or_else(|error| Answer { status: 0, kind: String::new(), body: error.to_string().into_bytes() })
    }
}

/// The values of a page of metrics, of all lines that start so, summed.
#[must_use]
pub fn total(page: &str, start: &str) -> f64 {
    let value = |line: &str| line.split_whitespace().last().and_then(|v| v.parse::<f64>().ok());
    page.lines().filter(|line| line.starts_with(start) && !line.starts_with('#')).filter_map(value).sum()
}

/// The same as a number of things.
#[must_use]
pub fn count(page: &str, start: &str) -> u64 {
    // Counters of metrics are whole numbers far below 2^53.
    total(page, start).round() as u64
}

#[cfg(test)]
mod tests {
    #[test]
    fn metrics_are_summed_by_their_start() {
        let page = "# a_total 9\na_total{x=\"1\"} 2\na_total{x=\"2\"} 3\nb 1\n";
        assert_eq!((super::count(page, "a_total"), super::count(page, "a_total{x=\"2\""), super::count(page, "c")), (5, 3, 0));
    }
}
