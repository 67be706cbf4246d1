//! A ledger → a verdict: `cargo run -p whostalled-analysis --example whose_time`
//!
//! The ledger is written by hand: three round trips of 40 ms, and 300 ms that the edge took before its flight. Its entries get what is
//! usual, and what is beyond that is judged.

use whostalled_analysis::clock::Span;
use whostalled_analysis::judging::ledger::{Baseline, Entry, Ledger, Owner, Phase};
use whostalled_analysis::judging::verdict::{Circumstances, End, Grade, Reading, judge};

fn main() {
    let ms = Span::from_millis;
    let error = Span::from_micros(100);
    let mut ledger = Ledger::open(ms(423));
    ledger.charge(Entry::round_trip(Phase::Connect, ms(40), error).between([1, 2]));
    ledger.charge(Entry::round_trip(Phase::ServerFlight, ms(40), error).between([4, 6]));
    ledger.charge(Entry::new(Phase::ServerFlight, Owner::Edge, None, ms(300), error).between([5, 6]));
    ledger.charge(Entry::new(Phase::ClientFinished, Owner::Client, None, ms(2), error).between([6, 8]));
    ledger.charge(Entry::round_trip(Phase::Finish, ms(40), error).between([8, 9]));
    // What nobody was charged for has an owner, too: the entries sum to the total.
    ledger.close(Phase::Finish);

    ledger.apply(&Baseline::default());
    let reading = Reading { grade: Grade::BothEnds { host: false }, ledger, end: End::Complete };
    for entry in &reading.ledger.entries {
        let (phase, owner) = (entry.phase.words(), entry.owner.words());
        let [span, usual, beyond] = [entry.span, entry.baseline, entry.excess()].map(|span| span.to_string());
        println!("{span:>8}  {owner:<20} {phase:<28} usual: {usual:>7}, beyond it: {beyond:>7}");
    }

    let judgement = judge(&reading, Circumstances::default());
    println!("{:>8}  in all, seen from {}", reading.ledger.total.to_string(), reading.grade);
    println!("verdict: {} ({} beyond the usual; {} would count)", judgement.verdict.label(), judgement.excess, judgement.floor);
}
