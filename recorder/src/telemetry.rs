//! Slow handshakes as traces, for OpenTelemetry.

use analysis::judging::vocabulary::in_words;
use records::explained::ExplainedRecord;
use serving::otlp::trace::{Side, Stretch, Trace};

/// The trace of a handshake of `client`, as it may be called.
pub(crate) fn trace(record: &ExplainedRecord, client: &str) -> Trace {
    let ledger = record.judged.as_ref().map(|judged| &judged.reading.ledger);
    let total = ledger.map_or(0, |ledger| ledger.total.nanos());
    let mut trace = Trace::new("TLS handshake", port(&record.client), record.started_ns, total);
    trace.side = Side::Server;
    let sentence = record.judged.as_ref().map(|judged| judged.sentence.clone());
    trace.wrong = sentence.or_else(|| record.not_judged.clone());
    let facts = [
        ("whostalled.verdict", Some(record.label())),
        ("client.address", Some(client.to_owned())),
        ("server.address", Some(record.server.clone())),
        ("tls.client.server_name", record.server_name.clone()),
        ("tls.protocol.version", record.version.clone()),
    ];
    trace.attributes = facts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    for entry in ledger.into_iter().flat_map(|ledger| &ledger.entries) {
        let kind = entry.kind.map(|kind| ("whostalled.kind".to_owned(), kind.label().to_owned()));
        let own = [("whostalled.phase", entry.phase.label()), ("whostalled.owner", entry.owner.label())];
        trace.stretches.push(Stretch {
            name: format!("{}: {}", entry.phase.words(), in_words(entry.owner.label())),
            nanos: entry.span.nanos(),
            attributes: own.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().chain(kind).collect(),
        });
    }
    trace
}

/// Notes in which file the handshake lies.
pub(crate) fn lies_in(trace: &mut Trace, file: &str) {
    trace.attributes.push(("whostalled.evidence".to_owned(), file.to_owned()));
}

/// The client's port tells two handshakes of one instant apart.
fn port(client: &str) -> i64 {
    client.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or(0)
}
