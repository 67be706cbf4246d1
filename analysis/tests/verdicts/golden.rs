//! Whole readings and judgements, kept as files: a change that moves a number anywhere shows in the diff.
//!
//! After a change that is meant to move them: `make golden`, then read the diff.

use whostalled_analysis::judging::sentence::explain;

use super::support::*;
use super::*;

/// What one grade of evidence says of a conversation, with its sentence.
pub(super) fn opinion(handshake: &Handshake, (reading, judgement): (Reading, Judgement)) -> serde_json::Value {
    let sentence = explain(handshake, &reading, &judgement, &|packet| packet.into());
    serde_json::json!({ "reading": reading, "judgement": judgement, "sentence": sentence })
}

/// What both grades say.
fn opinions(handshake: &Handshake) -> serde_json::Value {
    let one = |said| opinion(handshake, said);
    serde_json::json!({ "both_ends": one(both(handshake)), "edge_only": one(edge(handshake)) })
}

#[test]
fn readings_are_as_they_were() {
    let held = Fate { held: 300 * MS, lost: false };
    let cases = [
        ("healthy", tls13(Talk::new(), &Plan::default())),
        ("client-stall", tls13(Talk::new(), &Plan { stall: 300 * MS, ..Plan::default() })),
        ("finished-lost", tls13(Talk::new(), &Plan { finished: LOST, again: 250 * MS, ..Plan::default() })),
        ("finished-lost-ipv6", tls13(Talk::new().over_ipv6(), &Plan { finished: LOST, again: 250 * MS, ..Plan::default() })),
        ("hold", tls13(Talk::new(), &Plan { finished: held, ..Plan::default() })),
        ("hold-no-timestamps", tls13(Talk::new().without_timestamps(), &Plan { finished: held, ..Plan::default() })),
        ("flight-segment-lost", tls13(Talk::new(), &Plan { flight: LOST, again: 230 * MS, ..Plan::default() })),
        ("edge-slow", tls13(Talk::new(), &Plan { edge: 200 * MS, ..Plan::default() })),
        ("nagle", in_pieces(0, 40 * MS)),
        ("nagle-and-stall", in_pieces(60 * MS, 40 * MS)),
    ];
    for (name, handshake) in cases {
        insta::assert_json_snapshot!(name, opinions(&handshake));
    }
}
