//! Metrics as whoever scrapes them wants them: all or some collections; text of the format 0.0.4, OpenMetrics text, or protocol buffers with
//! native histograms; compressed or not.

use std::fmt::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
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

/// Registered metrics, by the collection that a scrape may ask for alone.
pub struct Exposition(Mutex<Vec<(&'static str, Registry)>>);

/// What a scrape asks for.
#[derive(Debug, Default)]
pub struct Scrape {
    /// Collections; none: all (`collect[]`, as node_exporter has it).
    collections: Vec<String>,
    /// Whether the answer may be compressed.
    gzip: bool,
    format: Format,
}

#[derive(Clone, Copy, Debug, Default)]
enum Format {
    #[default]
    Text,
    OpenMetrics,
    #[cfg(feature = "native-histograms")]
    Protobuf,
}

impl Scrape {
    /// Of a request's query and headers.
    pub fn of(query: Vec<(String, String)>, headers: &HeaderMap) -> Self {
        let said = |name| headers.get(name).and_then(|v: &HeaderValue| v.to_str().ok()).unwrap_or_default();
        let accepts = said(header::ACCEPT);
        let most = |kind: &str| weight(accepts, kind).filter(|q| *q > 0.0);
        let formats = [
            #[cfg(feature = "native-histograms")]
            (Format::Protobuf, most("application/vnd.google.protobuf")),
            (Format::OpenMetrics, most("application/openmetrics-text")),
            (Format::Text, most("text/plain")),
        ];
        // Of those that are liked best the first, which says most.
        let best = formats.into_iter().filter_map(|(format, q)| Some((format, q?)));
        let best = best.reduce(|best, next| if next.1 > best.1 { next } else { best });
        let format = best.map_or(Format::Text, |(format, _)| format);
        let gzip = weight(said(header::ACCEPT_ENCODING), "gzip").is_some_and(|q| q > 0.0);
        let collections = query.into_iter().filter(|(key, _)| key == "collect[]").map(|(_, value)| value).collect();
        Self { collections, gzip, format }
    }
}

/// How much a header that lists what somebody takes likes `wanted`, if it names it (RFC 9110, 12.4.2).
fn weight(listed: &str, wanted: &str) -> Option<f32> {
    listed.split(',').find_map(|one| {
        let mut parts = one.split(';').map(str::trim);
        let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(wanted));
        let q = parts.find_map(|p| p.strip_prefix("q=").or_else(|| p.strip_prefix("Q="))).map(|q| q.parse().unwrap_or(1.0));
        named.then(|| q.unwrap_or(1.0))
    })
}

impl Exposition {
    /// Of collections by name.
    pub fn new(collections: Vec<(&'static str, Registry)>) -> Self {
        Self(Mutex::new(collections))
    }

    /// All of them as OpenMetrics text, in pieces: with thousands of checks it is long.
    pub fn openmetrics(&self) -> Vec<String> {
        let mut text = Pieces::default();
        self.encode(&[], &mut text);
        text.0
    }

    /// Those collections (none: all) as text of the format 0.0.4, in pieces.
    fn text(&self, collections: &[String]) -> Vec<String> {
        let mut text = Plain::default();
        self.encode(collections, &mut text);
        text.out.0
    }

    fn known(&self) -> MutexGuard<'_, Vec<(&'static str, Registry)>> {
        // Nothing is changed while it is held: a panic elsewhere leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn each(&self, collections: &[String], mut what: impl FnMut(&Registry)) {
        let known = self.known();
        let wanted = |name: &str| collections.is_empty() || collections.iter().any(|wanted| wanted == name);
        known.iter().filter(|(name, _)| wanted(name)).for_each(|(_, registry)| what(registry));
    }

    fn encode(&self, collections: &[String], out: &mut impl Write) {
        // Writing to memory cannot fail.
        self.each(collections, |registry| {
            let _ = encode_registry(out, registry);
        });
        let _ = encode_eof(out);
    }

    /// As delimited protocol buffers, native histograms included.
    #[cfg(feature = "native-histograms")]
    fn protobuf(&self, collections: &[String]) -> Vec<u8> {
        let mut out = Vec::new();
        self.each(collections, |registry| {
            out.extend(prometheus_client::encoding::prometheus_protobuf::encode_to_vec(registry).unwrap_or_default());
        });
        out
    }

    /// The answer to a scrape.
    pub fn response(&self, scrape: &Scrape) -> Response {
        let Scrape { collections, gzip, format } = scrape;
        let known: Vec<&str> = self.known().iter().map(|(name, _)| *name).collect();
        if let Some(unknown) = collections.iter().find(|wanted| !known.contains(&wanted.as_str())) {
            let unknown: String = unknown.chars().filter(|c| !c.is_control()).take(100).collect();
            let said = format!("collect[]={unknown}: there is no such collection; there are {}\n", known.join(", "));
            return (StatusCode::BAD_REQUEST, said).into_response();
        }
        let (kind, pieces): (_, Vec<Vec<u8>>) = match format {
            #[cfg(feature = "native-histograms")]
            Format::Protobuf => (
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
                vec![self.protobuf(collections)],
            ),
            Format::OpenMetrics => {
                let mut text = Pieces::default();
                self.encode(collections, &mut text);
                (
                    "application/openmetrics-text; version=1.0.0; charset=utf-8",
                    text.0.into_iter().map(String::into_bytes).collect(),
                )
            }
            Format::Text => {
                ("text/plain; version=0.0.4; charset=utf-8", self.text(collections).into_iter().map(String::into_bytes).collect())
            }
        };
        let headers = [(header::CONTENT_TYPE, kind), (header::VARY, "accept, accept-encoding")];
        match gzip {
            true => (headers, [(header::CONTENT_ENCODING, "gzip")], compressed(pieces)).into_response(),
            false => {
                let pieces = pieces.into_iter().map(Ok::<Vec<u8>, std::convert::Infallible>);
                (headers, Body::from_stream(futures_util::stream::iter(pieces))).into_response()
            }
        }
    }
}

/// Series differ by a few letters from line to line: the quickest level makes a thirtieth of them.
fn compressed(pieces: Vec<Vec<u8>>) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::fast());
    // Writing to memory cannot fail.
    for piece in pieces {
        let _ = std::io::Write::write_all(&mut out, &piece);
    }
    out.finish().unwrap_or_default()
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
        let exposition = Exposition::new(vec![("all", registry)]);
        let said = "# HELP rounds_total All rounds.\n# TYPE rounds_total counter\nrounds_total 1\n# HELP named_total By name.\n\
            # TYPE named_total counter\nnamed_total{a=\"x\\\" # {\"} 1\n# HELP heat_celsius How warm.\n# TYPE heat_celsius gauge\nheat_celsius 0\n";
        assert_eq!(exposition.text(&[]).concat(), said);
        assert!(exposition.openmetrics().concat().ends_with("# EOF\n"));
        let kind = |accept: &'static str| {
            let headers = HeaderMap::from_iter([(header::ACCEPT, axum::http::HeaderValue::from_static(accept))]);
            exposition.response(&Scrape::of(Vec::new(), &headers)).headers()[header::CONTENT_TYPE]
                .to_str()
                .expect("it is text")
                .to_owned()
        };
        assert!(kind("*/*").starts_with("text/plain; version=0.0.4"), "{}", kind("*/*"));
        assert!(kind("application/openmetrics-text;version=1.0.0,text/plain;q=0.5").starts_with("application/openmetrics-text"));
        assert!(kind("text/plain, application/openmetrics-text;q=0.5").starts_with("text/plain"));
        assert!(kind("application/openmetrics-text;q=0").starts_with("text/plain"));
    }

    #[test]
    fn a_panic_elsewhere_takes_no_metrics_away() {
        let exposition = Exposition::new(vec![("apples", counted("apples"))]);
        let held = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _held = exposition.0.lock();
            panic!("while it is held");
        }));
        assert!(held.is_err() && exposition.text(&[]).concat().contains("apples_total 0"));
    }

    fn counted(name: &'static str) -> Registry {
        let mut registry = Registry::default();
        registry.register(name, "Things", Counter::<u64>::default());
        registry
    }

    fn asked(query: &[&str], encoding: Option<&'static str>) -> Scrape {
        let query = query.iter().map(|name| ("collect[]".to_owned(), (*name).to_owned())).collect();
        let headers = encoding.map(|e| (header::ACCEPT_ENCODING, HeaderValue::from_static(e)));
        Scrape::of(query, &HeaderMap::from_iter(headers))
    }

    #[test]
    fn a_scrape_takes_what_it_asks_for() {
        let exposition = Exposition::new(vec![("apples", counted("apples")), ("pears", counted("pears"))]);
        assert!(exposition.text(&["pears".into()]).concat().starts_with("# HELP pears_total"));
        let all = exposition.text(&[]).concat();
        assert!(all.contains("apples_total 0\n") && all.contains("pears_total 0\n"), "{all}");
        assert_eq!(exposition.openmetrics().concat().matches("# EOF").count(), 1);
        assert_eq!(exposition.response(&asked(&["pears"], None)).status(), StatusCode::OK);
        assert_eq!(exposition.response(&asked(&["plums"], None)).status(), StatusCode::BAD_REQUEST);
    }

    #[test]
    fn an_answer_is_compressed_for_whoever_can_read_it() {
        let exposition = Exposition::new(vec![("apples", counted("apples"))]);
        let coding = |accepts| {
            let answer = exposition.response(&asked(&[], Some(accepts)));
            answer.headers().get(header::CONTENT_ENCODING).and_then(|v| v.to_str().ok()).map(str::to_owned)
        };
        assert_eq!(coding("deflate, gzip;q=0.5").as_deref(), Some("gzip"));
        assert_eq!((coding("identity"), coding("gzip;q=0"), coding("br")), (None, None, None));
        let text = exposition.text(&[]).concat();
        let mut read = String::new();
        let whole = compressed(vec![text.clone().into_bytes()]);
        std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(whole.as_slice()), &mut read).expect("it is gzip");
        assert_eq!(read, text);
    }

    #[test]
    fn an_exemplar_is_left_out() {
        let mut plain = Plain::default();
        plain.write_str("a_bucket{le=\"1\"} 3 # {trace=\"x\"} 0.5\na_bu").expect("memory");
        plain.write_str("cket{le=\"2\"} 4\n").expect("memory");
        assert_eq!(plain.out.0.concat(), "a_bucket{le=\"1\"} 3\na_bucket{le=\"2\"} 4\n");
    }
}
