//! Metrics as whoever scrapes them wants them: text of the format 0.0.4, OpenMetrics text, or protocol buffers with native histograms.

use std::fmt::Write;
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
    pub fn openmetrics(&self) -> Vec<String> {
        let mut text = Pieces::default();
        self.encode(&mut text);
        text.0
    }

    /// All of them as text of the format 0.0.4, in pieces.
    pub fn text(&self) -> Vec<String> {
        let mut text = Plain::default();
        self.encode(&mut text);
        text.out.0
    }

    fn encode(&self, out: &mut impl Write) {
        if let Ok(registry) = self.0.lock() {
            // Writing to memory cannot fail.
            let _ = prometheus_client::encoding::text::encode(out, &registry);
        }
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
        let (kind, pieces) = match accepts.contains("application/openmetrics-text") {
            true => ("application/openmetrics-text; version=1.0.0; charset=utf-8", self.openmetrics()),
            false => ("text/plain; version=0.0.4; charset=utf-8", self.text()),
        };
        let pieces = pieces.into_iter().map(Ok::<String, std::convert::Infallible>);
        ([(header::CONTENT_TYPE, kind)], Body::from_stream(futures_util::stream::iter(pieces))).into_response()
    }
}

/// Makes of OpenMetrics what the format before it calls text: without units, exemplars and end, and with a counter's whole name in what is
/// said of it.
#[derive(Default)]
struct Plain {
    out: Pieces,
    /// A line that is not whole yet.
    line: String,
    /// What is said of the family whose kind comes next.
    help: Option<String>,
}

impl Plain {
    fn line(&mut self, line: &str) -> std::fmt::Result {
        if let Some(help) = line.strip_prefix("# HELP ") {
            self.help = Some(help.to_owned());
            return Ok(());
        }
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|line| line.split_once(' ')) {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "stateset" => ("", "gauge"),
                "unknown" => ("", "untyped"),
                kind => ("", kind),
            };
            if let Some((_, help)) = self.help.take().as_deref().and_then(|help| help.split_once(' ')) {
                writeln!(self.out, "# HELP {name}{suffix} {help}")?;
            }
            return writeln!(self.out, "# TYPE {name}{suffix} {kind}");
        }
        if line.starts_with("# UNIT ") || line == "# EOF" {
            return Ok(());
        }
        writeln!(
            self.out,
            "{}",
            line.rsplit_once(" # {").filter(|(before, _)| is_whole(before)).map_or(line, |(sample, _)| sample)
        )
    }
}

/// Whether every quote is closed.
fn is_whole(text: &str) -> bool {
    let (mut open, mut escaped) = (false, false);
    for c in text.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => open = !open,
            _ => {}
        }
    }
    !open
}

impl Write for Plain {
    fn write_str(&mut self, s: &str) -> std::fmt::Result {
        for piece in s.split_inclusive('\n') {
            self.line.push_str(piece);
            if self.line.ends_with('\n') {
                let mut line = std::mem::take(&mut self.line);
                line.truncate(line.len() - 1);
                self.line(&line)?;
                line.clear();
                self.line = line; // its room is used again
            }
        }
        Ok(())
    }
}

/// Text that grows without being moved.
#[derive(Default)]
struct Pieces(Vec<String>);

impl Write for Pieces {
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

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::family::Family;
    use prometheus_client::metrics::gauge::Gauge;

    use super::*;

    #[test]
    fn plain_text_names_a_counter_whole_and_has_no_end() {
        let mut registry = Registry::default();
        let (rounds, heat, named) =
            (Counter::<u64>::default(), Gauge::<i64>::default(), Family::<Vec<(String, String)>, Counter>::default());
        rounds.inc();
        named.get_or_create(&vec![("a".into(), "x\" # {".into())]).inc();
        registry.register("rounds", "All rounds", rounds);
        registry.register("named", "By name", named);
        registry.register_with_unit("heat", "How warm", prometheus_client::registry::Unit::Celsius, heat);
        let exposition = Exposition::new(registry);
        let said = "# HELP rounds_total All rounds.\n# TYPE rounds_total counter\nrounds_total 1\n# HELP named_total By name.\n\
            # TYPE named_total counter\nnamed_total{a=\"x\\\" # {\"} 1\n# HELP heat_celsius How warm.\n# TYPE heat_celsius gauge\nheat_celsius 0\n";
        assert_eq!(exposition.text().concat(), said);
        assert!(exposition.openmetrics().concat().ends_with("# EOF\n"));
        let kind = |accept: &'static str| {
            let headers = HeaderMap::from_iter([(header::ACCEPT, axum::http::HeaderValue::from_static(accept))]);
            exposition.response(&headers).headers()[header::CONTENT_TYPE].to_str().expect("it is text").to_owned()
        };
        assert!(kind("*/*").starts_with("text/plain; version=0.0.4"), "{}", kind("*/*"));
        assert!(kind("application/openmetrics-text;version=1.0.0,text/plain;q=0.5").starts_with("application/openmetrics-text"));
    }

    #[test]
    fn an_exemplar_is_left_out() {
        let mut plain = Plain::default();
        plain.write_str("a_bucket{le=\"1\"} 3 # {trace=\"x\"} 0.5\na_bu").expect("memory");
        plain.write_str("cket{le=\"2\"} 4\n").expect("memory");
        assert_eq!(plain.out.0.concat(), "a_bucket{le=\"1\"} 3\na_bucket{le=\"2\"} 4\n");
    }
}
