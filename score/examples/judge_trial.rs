//! One trial of the simulator, judged as any capture is: `cargo run -p whostalled-score --example judge_trial [CASE [SEED]]`
//!
//! The same fault is judged from both ends, from the client's and from the edge's capture. CASE is a row of the fault matrix, from 1.

use std::error::Error;

use sim::cases::{Grade, NAMES, Setup};
use sim::tls::Version;
use whostalled_score::judge::trial;

/// "client Finished lost".
const LOST_FINISHED: u8 = 13;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let case = arguments.next().map_or(Ok(LOST_FINISHED), |case| case.parse())?;
    let seed = arguments.next().map_or(Ok(1), |seed| seed.parse())?;
    let name = case.checked_sub(1).and_then(|row: u8| NAMES.get(usize::from(row))).ok_or("there is no such case")?;
    println!("case {case}, seed {seed}: {name}");

    let folder = tempfile::tempdir()?;
    for (grade, seen) in [(Grade::BothAndHost, "both ends"), (Grade::Client, "the client"), (Grade::Server, "the edge")] {
        let setup = Setup { case, severity: 150, version: Version::Tls13, grade, seed };
        let Some(judged) = trial(setup, folder.path()) else {
            println!("from {seen}: the case makes no sense there");
            continue;
        };
        let verdict = if judged.right() { "right" } else { "WRONG" };
        println!("from {seen}: {}; right is {}: {verdict}", judged.label(), judged.expected.right.join(", or "));
        if let Some((given, truth, error)) = judged.attributed() {
            println!("    {given} given to its owner, {truth} injected; stated error {error}");
        }
    }
    Ok(())
}
