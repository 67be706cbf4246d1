//! OpenTelemetry: metrics and the traces of bad handshakes, sent as OTLP/HTTP in JSON where the standard environment variables say.
//!
//! In: what to show (exposition text, [`trace::Trace`]s). Out: requests ([`Request`]) for whoever can send them. Source of names and shapes:
//! the OpenTelemetry specification (OTLP 1.x, protocol exporter, environment variables).

pub mod environment;
mod metrics;
pub mod trace;

use std::fmt::Display;
use std::time::SystemTime;

use serde_json::{Value, json};
use tokio::sync::mpsc::Receiver;

pub use environment::Environment;
use trace::Trace;

/// Traces sent in one request.
const MOST_TRACES: usize = 64;

/// A POST of JSON.
#[derive(Clone, PartialEq, Debug)]
pub struct Request {
    /// Where to.
    pub url: String,
    /// Headers; their values may be secrets.
    pub headers: Vec<(String, String)>,
    /// What.
    pub body: Value,
}

/// Sends what there is to send until nobody makes traces any more. `text`: all metrics as OpenMetrics text. `heard` is told, for each
/// request, of a failure, or that it went through.
pub async fn export<E: Display>(
    environment: Environment,
    mut traces: Receiver<Trace>,
    text: impl Fn() -> Vec<String>,
    post: impl AsyncFn(Request) -> Result<(), E>,
    heard: impl Fn(Option<String>),
) {
    let begun = SystemTime::now();
    let mut every = tokio::time::interval(environment.interval);
    every.tick().await; // the first is at once, and there is nothing to tell yet
    let send = async |url: &Option<String>, body: Value| {
        let Some(url) = url else { return };
        let request = Request { url: url.clone(), headers: environment.headers.clone(), body };
        heard(post(request).await.err().map(|error| format!("{}: {error}", shown(url))));
    };
    loop {
        tokio::select! {
            _ = every.tick() => {
                if environment.metrics.is_some() {
                    let body = metrics::body(&text().concat(), &environment.resource, begun, SystemTime::now());
                    send(&environment.metrics, body).await;
                }
            }
            first = traces.recv() => {
                let Some(first) = first else { return };
                tokio::time::sleep(environment.together).await;
                let mut all = vec![first];
                while all.len() < MOST_TRACES && let Ok(next) = traces.try_recv() {
                    all.push(next);
                }
                send(&environment.traces, trace::body(&all, &environment.resource)).await;
            }
        }
    }
}

/// Scheme, host and path of an address: what may be secret in it is not shown.
fn shown(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    format!("{scheme}://{}{path}", authority.rsplit('@').next().unwrap_or_default())
}

fn attribute(name: &str, value: &str) -> Value {
    json!({ "key": name, "value": { "stringValue": value } })
}

fn resource(attributes: &[(String, String)]) -> Value {
    json!({ "attributes": attributes.iter().map(|(name, value)| attribute(name, value)).collect::<Vec<_>>() })
}

fn scope() -> Value {
    json!({ "name": "whostalled", "version": env!("CARGO_PKG_VERSION") })
}

/// Nanoseconds since the epoch, as OTLP's JSON has them: in a string.
fn nanos(at: SystemTime) -> String {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos().to_string()
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn traces_go_together_and_metrics_every_interval() {
        let get = |name: &str| match name {
            "OTEL_EXPORTER_OTLP_ENDPOINT" => Some("http://user:hunter2@c.test:4318".to_owned()),
            "OTEL_METRIC_EXPORT_INTERVAL" => Some("400".to_owned()),
            _ => None,
        };
        let environment = Environment::read("whostalled-watch", &get).expect("it is sound").expect("it names somebody");
        let environment = Environment { together: Duration::from_millis(20), ..environment };
        let (out, traces) = tokio::sync::mpsc::channel(8);
        let (sent, heard) = (RefCell::new(Vec::new()), RefCell::new(Vec::new()));
        let text = || vec!["# TYPE a gauge\na 1\n".to_owned(), "# EOF\n".to_owned()];
        let exported = export(
            environment,
            traces,
            text,
            async |request: Request| {
                sent.borrow_mut().push(request.url.rsplit('/').next().unwrap_or_default().to_owned());
                if sent.borrow().len() == 1 { Err("it is away") } else { Ok(()) }
            },
            |trouble| heard.borrow_mut().push(trouble),
        );
        let made = async {
            for n in 0..3 {
                let trace = Trace::new("round", n, 1_000_000_000, 2_000_000);
                out.send(trace).await.expect("somebody listens");
            }
            // However slow this host is, in the end there are both.
            while !sent.borrow().iter().any(|to| to == "metrics") {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            drop(out);
        };
        tokio::join!(exported, made);
        assert_eq!(sent.borrow()[..2], ["traces", "metrics"], "three traces in one request");
        assert_eq!(heard.borrow()[0].as_deref(), Some("http://c.test:4318/v1/traces: it is away"), "and no password");
        assert_eq!(heard.borrow()[1], None);
    }
}
