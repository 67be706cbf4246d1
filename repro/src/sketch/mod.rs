//! Sketches: what somebody saw of a slow handshake → a scenario of the lab that does the same.
//!
//! ```text
//! explained records ─► worst ─► blank (habits, round trip) + faults (ledger) ─► Sketch ─► TOML, run ─► explained again ─► Closeness ─► tuned
//! a report in words ─► Report ────────────────────────────────────────────────┘
//! ```
//!
//! Pure. What the lab cannot reproduce is listed, never left out silently; how close a run comes is measured on what `explain` says of its
//! packets, seen from the same ends as the original.

mod blank;
mod close;
mod expected;
mod faults;
mod report;
mod text;
mod tune;

use analysis::clock::Span;
use analysis::judging::verdict::{End, Verdict};
use analysis::judging::vocabulary::{Owner, Phase};
use records::explained::{ExplainedRecord, SeenFrom};
use records::handshake::Judged;

use crate::scenario::Scenario;

pub use close::{Closeness, Compared, representative};
pub use expected::Expected;
pub use report::{NoReport, Report, Slow, Stretch};
pub use tune::tune;

/// The lab's host that calls.
pub const CLIENT: &str = "client";
/// The lab's host that is called.
pub const EDGE: &str = "edge";
/// Rounds without faults: siblings teach what is usual.
const BASELINE_ROUNDS: u32 = 6;
/// Rounds with them: the one in the middle is compared.
const ROUNDS: u32 = 3;
/// Excess below this is what two machines differ by.
const LEAST: Span = Span::from_millis(3);

/// A scenario, and what it is meant to come close to.
#[derive(Clone, Debug)]
pub struct Sketch {
    /// The scenario.
    pub scenario: Scenario,
    /// Where it is from, in a sentence or more.
    pub origin: Vec<String>,
    /// What of the original the lab cannot do.
    pub cannot: Vec<String>,
    /// Which fault stands for which time.
    pub pieces: Vec<Piece>,
    /// What a run of it must come close to.
    pub aim: Aim,
    /// Where the scenario's expectation is from; absent where it has none.
    pub expected: Option<Expected>,
}

/// A fault, and the time of the original for which it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Piece {
    /// The fault's name in the scenario.
    pub fault: String,
    /// Where in the handshake.
    pub phase: Phase,
    /// Whose time, by side.
    pub owner: Owner,
    /// How long.
    pub span: Span,
    /// With what may have been this owner's: nobody else had time beside it.
    pub open: bool,
}

/// What a run must come close to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Aim {
    /// The verdict; absent where a report names none.
    pub verdict: Option<Verdict>,
    /// The slow stretch, and how long it was.
    pub slow: Option<(Stretch, Span)>,
    /// The path's round trip when it is well.
    pub round_trip: Option<Span>,
    /// From where it was seen: by that the run is judged too.
    pub seen_from: SeenFrom,
    /// A resumed session.
    pub resumed: bool,
}

/// Why there is no sketch.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoSketch {
    /// The capture holds none that was judged.
    #[error("no handshake in it could be judged: `whostalled explain` says why")]
    Nothing,
    /// The number names none.
    #[error("it holds no judged handshake {0}: `whostalled explain` numbers them")]
    NoSuch(u64),
}

impl Sketch {
    /// Of the worst of these handshakes, or of the one with this number. `from` says where they are from.
    ///
    /// # Errors
    /// If there is none.
    pub fn of_records(from: &str, records: &[ExplainedRecord], number: Option<u64>) -> Result<Self, NoSketch> {
        let (record, judged) = match number {
            Some(number) => {
                let one = records.iter().find(|r| r.id == number);
                one.and_then(|r| Some((r, r.judged.as_ref()?))).ok_or(NoSketch::NoSuch(number))?
            }
            None => worst(records).ok_or(NoSketch::Nothing)?,
        };
        let siblings: Vec<&ExplainedRecord> = records.iter().filter(|r| r.server_name == record.server_name).collect();
        let blank = blank::of(record, judged, &siblings);
        let mut sketch = Self {
            scenario: blank.scenario,
            origin: vec![
                format!("{from}: handshake {} of {}, {}", record.id, records.len(), record.started),
                judged.sentence.clone(),
            ],
            cannot: blank.cannot,
            pieces: Vec::new(),
            aim: Aim {
                // What was left open names nobody who could be reproduced.
                verdict: Some(judged.judgement.verdict.clone()).filter(|v| !matches!(v, Verdict::Inconclusive { .. })),
                slow: slow_phase(judged).map(|(phase, span)| (Stretch::Phase(phase), span)),
                round_trip: blank.round_trip,
                seen_from: record.seen_from,
                resumed: record.resumed,
            },
            expected: None,
        };
        sketch.scenario.description = format!("Like handshake {} of {from}.", record.id);
        faults::of_ledger(&mut sketch, judged);
        let (expected, expect) = expected::of(judged, &sketch.pieces, record.seen_from);
        (sketch.expected, sketch.scenario.expect) = (Some(expected), Some(expect));
        sketch.settle();
        Ok(sketch)
    }

    /// Rounds without faults come first, where there are faults that can wait for theirs. What stands for ordinary work is always there.
    fn settle(&mut self) {
        let can = |s: &Scenario| s.faults.values().all(|fault| fault.kind().between_rounds().is_none());
        let scenario = &mut self.scenario;
        let always = scenario.faults.is_empty() || self.aim.verdict == Some(Verdict::Healthy);
        scenario.baseline_rounds = if always || !can(scenario) { 0 } else { BASELINE_ROUNDS };
        if scenario.baseline_rounds == 0 {
            scenario.rounds = BASELINE_ROUNDS + ROUNDS;
        }
    }
}

/// A handshake that failed is worse than one that was slow; then excess counts.
fn worst(records: &[ExplainedRecord]) -> Option<(&ExplainedRecord, &Judged)> {
    let judged = records.iter().filter_map(|record| Some((record, record.judged.as_ref()?)));
    judged.max_by_key(|(_, j)| (matches!(j.judgement.verdict, Verdict::Aborted { .. }), j.judgement.excess))
}

/// The phase that took most beyond its baseline and how long it took; of a healthy one, the longest. What was broken off without having
/// been slow has none.
pub(crate) fn slow_phase(judged: &Judged) -> Option<(Phase, Span)> {
    let broken = match judged.judgement.verdict {
        Verdict::Aborted { .. } => true,
        // That it was, or by whom, one end cannot prove.
        Verdict::Inconclusive { .. } => matches!(judged.reading.end, End::Stopped { .. }),
        Verdict::Healthy | Verdict::Culprit { .. } => false,
    };
    if broken && judged.judgement.excess <= judged.judgement.floor {
        return None;
    }
    let entries = &judged.reading.ledger.entries;
    let of = |phase: Phase| entries.iter().filter(move |e| e.phase == phase);
    let span = |phase| of(phase).map(|e| e.span).sum::<Span>();
    let beyond = |phase| of(phase).map(|e| e.excess()).sum::<Span>();
    let healthy = matches!(judged.judgement.verdict, Verdict::Healthy);
    let phases = Phase::ALL.iter().copied().filter(|phase| span(*phase) > Span::ZERO);
    let slow = phases.max_by_key(|phase| if healthy { span(*phase) } else { beyond(*phase) })?;
    Some((slow, span(slow)))
}

#[cfg(test)]
mod tests;
