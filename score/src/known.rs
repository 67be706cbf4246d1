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
const C: Grade = Grade::Client;
const S: Grade = Grade::Server;

/// All that are known.
pub const KNOWN: [Known; 13] = [
    known(
        60,
        B,
        60.0,
        "what waits for a timer because the window is too small is called the client's sleep; a SYN proxy's time is left out",
    ),
    known(60, C, 40.0, "what waits for a timer because the window is too small is called the client's"),
    known(60, S, 40.0, "behind a SYN proxy the client is named beside the path"),
    known(61, B, 60.0, "the answer to a question asked again is not read when its twin's was answered at first"),
    known(61, C, 60.0, "the same"),
    known(63, S, 100.0, "bytes that a client's FIN proves were lost; its giving up is called its abort"),
    known(
        65,
        C,
        40.0,
        "a record of the flight whose end never came; the wait for it is called the client's, its giving up an abort",
    ),
    known(65, S, 100.0, "the wait for the second piece of a ClientHello is called the edge's"),
    known(68, B, 100.0, "name servers' and single SYNs' silence is not seen as a dependency; the side is right"),
    known(68, C, 100.0, "the same"),
    known(68, S, 100.0, "the same"),
    known(74, C, 34.0, "Nagle's wait behind the client's own delayed acknowledgement is called the edge's, one time in thirty"),
    known(76, S, 100.0, "loss/back where the client's acknowledgements were lost; that it is loss, is right"),
];

/// What is known of a case.
pub fn known_of(case: u8, grade: Grade) -> Option<&'static Known> {
    KNOWN.iter().find(|k| (k.case, k.grade) == (case, grade))
}
