//! Cases that are known to be judged wrongly, each with how often at most: what is held, is held without them.
//!
//! It only ever becomes less: who mends one takes its line out. How to see one: `whostalled-score --case N --misses`, and
//! `whostalled-sim trial N --severity … --version … --seed … --evidence …` writes the captures of a line that it prints.

use sim::cases::Grade;

/// One case from one standpoint.
pub struct Known {
    /// The case.
    pub case: u8,
    /// The evidence.
    pub grade: Grade,
    /// Per cent of its trials that are wrong, at most.
    pub most: f64,
    /// What goes wrong.
    pub why: &'static str,
}

const fn known(case: u8, grade: Grade, most: f64, why: &'static str) -> Known {
    Known { case, grade, most, why }
}

const B: Grade = Grade::BothAndHost;
const S: Grade = Grade::Server;

/// All that are known.
pub const KNOWN: [Known; 5] = [
    known(60, B, 40.0, "a SYN proxy's wait is left out of the ledger"),
    known(60, S, 40.0, "behind a SYN proxy the client is named beside the path"),
    known(76, S, 100.0, "loss/back where the client's acknowledgements were lost; that it is loss, is right"),
    known(84, B, 60.0, "a copy that comes when all is over is not looked at any more: it counts as lost"),
    known(88, B, 80.0, "the same, behind both ends' close"),
];

/// What is known of a case.
pub fn known_of(case: u8, grade: Grade) -> Option<&'static Known> {
    KNOWN.iter().find(|k| (k.case, k.grade) == (case, grade))
}
