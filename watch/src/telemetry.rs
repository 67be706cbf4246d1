//! Rounds as traces, for OpenTelemetry: those that somebody is blamed for.

use analysis::clock::Span;
use analysis::judging::vocabulary::in_words;
use serving::otlp::trace::{Stretch, Trace};

use crate::store::RoundRecord;
use crate::words::of_phase;

/// The trace of a round.
pub(crate) fn trace(round: &RoundRecord, target: &str, vantage: &str) -> Trace {
    let nanos = |ms: f64| (ms * 1e6) as i64;
    let started = round.started.nanos();
    let mut trace = Trace::new(&format!("TLS check {}", round.name), started, started, nanos(round.total_ms));
    trace.wrong = (round.culprit.is_some() || !round.success).then(|| round.sentence.clone());
    let facts = [
        ("whostalled.check", Some(round.name.clone())),
        ("whostalled.vantage", Some(vantage.to_owned())),
        ("whostalled.target", Some(target.to_owned())),
        ("whostalled.verdict", Some(round.verdict.clone())),
        ("whostalled.culprit", round.culprit.map(|culprit| culprit.label().to_owned())),
        ("whostalled.evidence", Some(round.grade.clone())),
        ("error.type", round.reason.clone()),
        ("network.peer.address", round.address.clone()),
        ("network.local.address", round.local.clone()),
        ("tcp.round_trip", round.rtt_ms.map(|ms| Span::from_nanos(nanos(ms)).to_string())),
    ];
    trace.attributes = facts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    let stretch = |(phase, owner, ms): &(String, String, f64)| Stretch {
        name: format!("{}: {}", of_phase(phase), in_words(owner)),
        nanos: nanos(*ms),
        attributes: vec![("whostalled.phase".into(), phase.clone()), ("whostalled.owner".into(), owner.clone())],
    };
    trace.stretches = round.parts.iter().map(stretch).collect();
    trace
}
