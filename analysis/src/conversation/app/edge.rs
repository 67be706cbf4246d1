//! What an edge's program says of a connection or a request in its log: lengths of time on its own clock, from its own end.
//!
//! In: [`EdgeTrace`]. Out: a [`Reading`] of grade `app`, as of the client's program. It begins where the edge's program took the connection
//! or the request: of the lookup, of TCP's handshake, and of what the connection waited for before that, it knows nothing. Its handshake
//! time includes the client, the way to it, lost packets and the edge's own work. What it says of its queue is its own, and what of its
//! backend is its backend's.

use enumset::EnumSet;
use serde::{Deserialize, Serialize};

use super::words;
use crate::clock::Span;
use crate::conversation::milestone::Milestone;
use crate::judging::ledger::{Baseline, Entry, Kind, Ledger, Missing, Owner, Phase};
use crate::judging::policy;
use crate::judging::verdict::{Circumstances, End, Grade, Judgement, Reading, judge as decided};

/// Logs tell milliseconds.
const GRAIN: Span = Span::from_millis(1);

/// What an edge's log says of one connection or request. Parts that it does not tell of are absent.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct EdgeTrace {
    /// From the connection's coming to the end of its TLS handshake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handshake: Option<Span>,
    /// The round trip to the client by the edge's kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round_trip: Option<Span>,
    /// From the request's first byte to its last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receiving: Option<Span>,
    /// In the edge's own queue, or its own work on the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own: Option<Span>,
    /// Waiting for a backend: until it took the connection, and until it answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<Span>,
    /// The rest of the request's time, which the log does not divide: receiving it, the edge, its backend, sending the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undivided: Option<Span>,
    /// Whether the handshake, or the request, came to its end.
    pub complete: bool,
    /// Whether the request came on a connection that had served others: no handshake was waited for.
    pub reused: bool,
}

/// Reads what an edge's log says.
pub fn read(trace: &EdgeTrace) -> Reading {
    let spans = [trace.handshake, trace.receiving, trace.own, trace.backend, trace.undivided];
    let mut ledger = Ledger::open(spans.iter().flatten().map(|span| span.at_least_zero()).sum());
    if let Some(handshake) = trace.handshake {
        let mut waited = handshake.at_least_zero();
        if let Some(round_trip) = trace.round_trip {
            // In every version the edge waits for one round trip: from its flight to the client's Finished.
            let round = round_trip.at_least_zero().min(waited);
            let mut entry = Entry::round_trip(Phase::ServerFlight, round, GRAIN);
            (entry.candidates, entry.missing) = anybody();
            ledger.charge(entry);
            waited -= round;
        }
        open(&mut ledger, Phase::ServerFlight, waited);
    }
    open(&mut ledger, Phase::Request, trace.receiving.unwrap_or_default());
    ledger.charge(Entry::new(Phase::Request, Owner::Edge, None, trace.own.unwrap_or_default(), GRAIN));
    ledger.charge(Entry::new(Phase::Request, Owner::EdgeApp, Kind::Dependency, trace.backend.unwrap_or_default(), GRAIN));
    open(&mut ledger, Phase::Request, trace.undivided.unwrap_or_default());
    let asked = trace.receiving.or(trace.own).or(trace.backend).or(trace.undivided).is_some();
    let after = if asked { Milestone::FirstRequest } else { Milestone::Ack };
    let end = if trace.complete { End::Complete } else { End::Stopped { after } };
    Reading { grade: Grade::App { host: false }, ledger, end }
}

/// Judges a reading of [`read`]'s.
pub fn judge(trace: &EdgeTrace, reading: &mut Reading) -> Judgement {
    // Where nothing tells the round trip, an ordinary one is not held against anybody.
    let round_trip =
        if trace.handshake.is_some() && trace.round_trip.is_none() { policy::ORDINARY_ROUND_TRIP } else { Span::ZERO };
    reading.ledger.apply(&Baseline { client_unsplit: policy::UNSPLIT_CLIENT + round_trip, ..Baseline::default() });
    for entry in reading.ledger.entries.iter_mut().filter(|e| e.round_trip) {
        (entry.candidates, entry.missing) = anybody();
    }
    decided(reading, Circumstances::default())
}

/// A reading in one sentence.
pub fn sentence(reading: &Reading, judgement: &Judgement) -> String {
    words::sentence(reading, judgement, "the edge's program")
}

fn anybody() -> (EnumSet<Owner>, EnumSet<Missing>) {
    (Owner::Client | Owner::Path | Owner::Loss | Owner::Edge, Missing::EdgeCapture | Missing::ClientCapture)
}

fn open(ledger: &mut Ledger, phase: Phase, span: Span) {
    let mut entry = Entry::new(phase, Owner::Unattributed, None, span, Span::ZERO);
    (entry.candidates, entry.missing) = anybody();
    ledger.charge(entry);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ms(n: i64) -> Option<Span> {
        Some(Span::from_millis(n))
    }

    fn verdict(trace: &EdgeTrace) -> String {
        let mut reading = read(trace);
        judge(trace, &mut reading).verdict.label()
    }

    #[test]
    fn a_long_handshake_at_the_edge_is_anybodys() {
        let long = EdgeTrace { handshake: ms(640), complete: true, ..EdgeTrace::default() };
        let mut reading = read(&long);
        let judgement = judge(&long, &mut reading);
        assert_eq!(judgement.verdict.label(), "inconclusive");
        assert_eq!(judgement.candidates, Owner::Client | Owner::Path | Owner::Loss | Owner::Edge);
        assert_eq!(verdict(&EdgeTrace { handshake: ms(45), complete: true, ..EdgeTrace::default() }), "healthy");
    }

    #[test]
    fn a_backend_that_the_log_names_and_the_edges_queue_are_told_apart() {
        let request = EdgeTrace { receiving: ms(1), own: ms(0), backend: ms(900), complete: true, ..EdgeTrace::default() };
        assert_eq!(verdict(&request), "edge_app/dependency");
        assert_eq!(verdict(&EdgeTrace { own: ms(700), backend: ms(3), ..request.clone() }), "edge");
        assert_eq!(verdict(&EdgeTrace { receiving: ms(700), backend: ms(3), ..request.clone() }), "inconclusive");
        assert_eq!(verdict(&EdgeTrace { backend: None, undivided: ms(900), ..request }), "inconclusive");
    }

    proptest! {
        #[test]
        fn the_ledger_sums_to_its_total(spans in prop::collection::vec(prop::option::of(-9i64..90_000), 6)) {
            let span = |i: usize| spans[i].map(Span::from_millis);
            let trace = EdgeTrace {
                handshake: span(0), round_trip: span(1), receiving: span(2), own: span(3), backend: span(4), undivided: span(5),
                ..EdgeTrace::default()
            };
            let ledger = read(&trace).ledger;
            prop_assert_eq!(ledger.entries.iter().map(|e| e.span).sum::<Span>(), ledger.total);
        }
    }
}
