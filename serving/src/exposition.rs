//! Metrics as whoever scrapes them wants them: OpenMetrics text, or protocol buffers with native histograms.

use std::sync::Mutex;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::metrics::family::MetricConstructor;
use prometheus_client::metrics::histogram::{Histogram, NativeHistogramConfig, exponential_buckets};
use prometheus_client::registry::Registry;

/// Bytes of a piece of the text.
const PIECE: usize = 64 << 10;

/// Makes histograms of seconds: 0.5 ms to 16 s, and native.
#[derive(Clone, Debug)]
pub struct Seconds;

impl MetricConstructor<Histogram> for Seconds {
    fn new_metric(&self) -> Histogram {
        Histogram::new_classic_and_native(exponential_buckets(0.0005, 2.0, 16), NativeHistogramConfig::with_bucket_factor(1.1))
    }
}

/// Registered metrics.
pub struct Exposition(Mutex<Registry>);

impl Exposition {
    /// Of everything that `registry` knows.
    pub fn new(registry: Registry) -> Self {
        Self(Mutex::new(registry))
    }

    /// All of them as OpenMetrics text, in pieces: with thousands of checks it is long.
    pub fn text(&self) -> Vec<String> {
        let mut text = Pieces::default();
        if let Ok(registry) = self.0.lock() {
            // Writing to memory cannot fail.
            let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
        }
        text.0
    }

    /// All of them as delimited protocol buffers, native histograms included.
    #[cfg(feature = "native-histograms")]
    pub fn protobuf(&self) -> Vec<u8> {
        let encode = |registry: std::sync::MutexGuard<'_, Registry>| {
            prometheus_client::encoding::prometheus_protobuf::encode_to_vec(&registry).ok()
        };
        self.0.lock().ok().and_then(encode).unwrap_or_default()
    }

    /// The answer to a scrape.
    pub fn response(&self, headers: &HeaderMap) -> Response {
        let accepts = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
        #[cfg(feature = "native-histograms")]
        if accepts.contains("application/vnd.google.protobuf") {
            let kind = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";
            return ([(header::CONTENT_TYPE, kind)], self.protobuf()).into_response();
        }
        let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        let pieces = self.text().into_iter().map(Ok::<String, std::convert::Infallible>);
        ([(header::CONTENT_TYPE, kind)], Body::from_stream(futures_util::stream::iter(pieces))).into_response()
    }
}

/// Text that grows without being moved.
#[derive(Default)]
struct Pieces(Vec<String>);

impl std::fmt::Write for Pieces {
    fn write_str(&mut self, s: &str) -> std::fmt::Result {
        match self.0.last_mut().filter(|piece| piece.len() + s.len() <= PIECE) {
            Some(piece) => piece.push_str(s),
            None => {
                let mut piece = String::with_capacity(PIECE.max(s.len()));
                piece.push_str(s);
                self.0.push(piece);
            }
        }
        Ok(())
    }
}
