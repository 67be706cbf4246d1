//! One handshake as a trace: a span for all of it, and one for each stretch of its ledger.

use serde_json::{Value, json};

use super::{attribute, resource, scope};

/// A client's span, and a server's.
const CLIENT: u8 = 3;
const SERVER: u8 = 2;
/// A span within.
const INTERNAL: u8 = 1;
/// The status of what went wrong.
const ERROR: u8 = 2;

/// Who the span is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// The one who connects.
    Client,
    /// The one who is connected to.
    Server,
}

/// A stretch within a handshake.
#[derive(Clone, PartialEq, Debug)]
pub struct Stretch {
    /// What it was.
    pub name: String,
    /// How long, in nanoseconds; stretches follow one another.
    pub nanos: i64,
    /// Facts.
    pub attributes: Vec<(String, String)>,
}

/// A handshake.
#[derive(Clone, PartialEq, Debug)]
pub struct Trace {
    /// What it was.
    pub name: String,
    /// Its number: 16 bytes that are the same for the same handshake.
    pub id: [u8; 16],
    /// Whose span it is.
    pub side: Side,
    /// When it began: nanoseconds of the wall clock since the epoch.
    pub started: i64,
    /// How long it took, in nanoseconds.
    pub nanos: i64,
    /// What was wrong.
    pub wrong: Option<String>,
    /// Facts.
    pub attributes: Vec<(String, String)>,
    /// What it consists of, in order.
    pub stretches: Vec<Stretch>,
}

impl Trace {
    /// One of `name`, told from others of that name by `which`.
    pub fn new(name: &str, which: i64, started: i64, nanos: i64) -> Self {
        let half = |seed: u64| {
            let bytes = name.bytes().chain(which.to_be_bytes()).chain(started.to_be_bytes());
            bytes.fold(seed, |hash, b| (hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)).max(1)
        };
        let mut id = [0; 16];
        // FNV-1a, twice: the number only has to be another one for another handshake.
        id[..8].copy_from_slice(&half(0xcbf2_9ce4_8422_2325).to_be_bytes());
        id[8..].copy_from_slice(&half(0x8422_2325_cbf2_9ce4).to_be_bytes());
        let name = name.to_owned();
        Self { name, id, side: Side::Client, started, nanos, wrong: None, attributes: Vec::new(), stretches: Vec::new() }
    }

    /// Its number as it is written.
    pub fn hex(&self) -> String {
        hex(&self.id)
    }

    fn spans(&self) -> Vec<Value> {
        let trace = self.hex();
        let span_id = |n: usize| {
            let own: [u8; 8] = std::array::from_fn(|i| self.id[i] ^ self.id[15 - i] ^ (n >> (8 * (i % 4))) as u8);
            if own == [0; 8] { hex(&[1; 8]) } else { hex(&own) }
        };
        let kind = match self.side {
            Side::Client => CLIENT,
            Side::Server => SERVER,
        };
        let mut root = json!({
            "traceId": trace,
            "spanId": span_id(0),
            "name": self.name,
            "kind": kind,
            "startTimeUnixNano": self.started.to_string(),
            "endTimeUnixNano": self.started.saturating_add(self.nanos).to_string(),
            "attributes": attributes(&self.attributes),
        });
        if let Some(wrong) = &self.wrong {
            root["status"] = json!({ "code": ERROR, "message": wrong });
        }
        let mut at = self.started;
        let children = self.stretches.iter().enumerate().map(|(i, stretch)| {
            let from = at;
            at = at.saturating_add(stretch.nanos);
            json!({
                "traceId": trace,
                "spanId": span_id(i + 1),
                "parentSpanId": span_id(0),
                "name": stretch.name,
                "kind": INTERNAL,
                "startTimeUnixNano": from.to_string(),
                "endTimeUnixNano": at.to_string(),
                "attributes": attributes(&stretch.attributes),
            })
        });
        let children: Vec<Value> = children.collect();
        std::iter::once(root).chain(children).collect()
    }
}

fn attributes(facts: &[(String, String)]) -> Vec<Value> {
    facts.iter().map(|(name, value)| attribute(name, value)).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Traces as `ExportTraceServiceRequest`.
pub(super) fn body(traces: &[Trace], about: &[(String, String)]) -> Value {
    let spans: Vec<Value> = traces.iter().flat_map(Trace::spans).collect();
    json!({ "resourceSpans": [{ "resource": resource(about), "scopeSpans": [{ "scope": scope(), "spans": spans }] }] })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn stretches_follow_one_another_under_their_handshake() {
        let mut trace = Trace::new("TLS check login", 7, 1_000, 500);
        trace.wrong = Some("slow".into());
        let stretch = |name: &str, nanos| Stretch { name: name.into(), nanos, attributes: vec![("owner".into(), "edge".into())] };
        trace.stretches = vec![stretch("connect", 200), stretch("flight", 300)];
        let body = body(std::slice::from_ref(&trace), &[("service.name".into(), "w".into())]);
        let spans = body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().expect("spans");
        let ids: BTreeSet<&str> = spans.iter().filter_map(|span| span["spanId"].as_str()).collect();
        assert_eq!((spans.len(), ids.len()), (3, 3), "{spans:?}");
        assert!(
            spans.iter().all(|span| span["traceId"] == trace.hex() && span["spanId"].as_str().is_some_and(|id| id.len() == 16))
        );
        assert_eq!((&spans[1]["parentSpanId"], &spans[2]["parentSpanId"]), (&spans[0]["spanId"], &spans[0]["spanId"]));
        assert_eq!((&spans[2]["startTimeUnixNano"], &spans[2]["endTimeUnixNano"]), (&json!("1200"), &json!("1500")));
        assert_eq!((&spans[0]["status"]["code"], &spans[0]["endTimeUnixNano"]), (&json!(2), &json!("1500")));
    }

    #[test]
    fn another_handshake_has_another_number() {
        let number = |which, started| Trace::new("a", which, started, 1).id;
        assert_eq!(number(1, 2), number(1, 2));
        assert!(number(1, 2) != number(2, 2) && number(1, 2) != number(1, 3));
    }
}
