//! A record → what people read in a terminal: `cargo run -p whostalled-report --example render_record`
//!
//! The record is one that `explain` could have written of a slow edge.

use analysis::clock::Span;
use analysis::judging::ledger::{Baseline, Entry, Ledger, Owner, Phase};
use analysis::judging::verdict::{Circumstances, End, Grade, Reading, judge};
use records::FORMAT;
use records::explained::ExplainedRecord;
use records::handshake::Judged;
use whostalled_report::{explained_terminal, terminal};

/// Three round trips, and an edge that took its time.
fn judged() -> Judged {
    let (round_trip, error) = (Span::from_millis(40), Span::from_micros(100));
    let mut ledger = Ledger::open(Span::from_millis(420));
    ledger.charge(Entry::round_trip(Phase::Connect, round_trip, error).between([1, 2]));
    ledger.charge(Entry::new(Phase::ServerFlight, Owner::Edge, None, Span::from_millis(300), error).between([4, 6]));
    ledger.charge(Entry::round_trip(Phase::ServerFlight, round_trip, error).between([4, 6]));
    ledger.charge(Entry::round_trip(Phase::Finish, round_trip, error).between([8, 9]));
    ledger.apply(&Baseline::default());
    let reading = Reading { grade: Grade::OneEnd { host: false }, ledger, end: End::Complete };
    let judgement = judge(&reading, Circumstances::default());
    Judged { reading, judgement, sentence: "The edge sent its flight 300 ms after it could have. [packets 4 and 6]".into() }
}

fn main() {
    let record = ExplainedRecord {
        format: FORMAT,
        id: 7,
        started: "2026-11-26T16:40:00.000001Z".into(),
        started_ns: 1_795_711_200_000_001_000,
        client: "192.0.2.7:40000".into(),
        server: "198.51.100.1:443".into(),
        server_name: Some("login.example".into()),
        random: None,
        version: Some("TLS 1.3".into()),
        resumed: false,
        habits: None,
        seen_from: records::explained::SeenFrom::EdgeEnd,
        how: "the capture was taken at the edge".into(),
        judged: Some(judged()),
        not_judged: None,
        other_leg: None,
        notes: vec!["the client sent no TCP timestamps".into()],
        lanes: Vec::new(),
    };
    // Renderers return text, with colours as ANSI codes; whoever calls them writes it.
    print!("{}", explained_terminal::handshake(&record));
    if let Some(verdict) = record.verdict() {
        println!("In words: {}", terminal::words(verdict));
    }
}
