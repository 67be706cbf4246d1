//! The verdict on what a program's clock says, in a sentence.

use std::fmt::Write;

use crate::judging::ledger::{Entry, Owner};
use crate::judging::verdict::{Culprit, End, Judgement, Reading, Verdict};

/// `program`: whose clock it was.
pub(super) fn sentence(reading: &Reading, judgement: &Judgement, program: &str) -> String {
    let mut said = match &judgement.verdict {
        Verdict::Healthy => format!("Healthy: {} in all, {} beyond the baseline.", reading.ledger.total, judgement.excess),
        Verdict::Culprit { primary, second } => {
            let second = second.as_ref().map_or(String::new(), |second| format!(" And: {}", culprit(reading, second, program)));
            culprit(reading, primary, program) + &second
        }
        Verdict::Inconclusive { candidates, missing, excess } => {
            let who: Vec<&str> = candidates.iter().map(Owner::words).collect();
            let what: Vec<&str> = missing.iter().map(|m| m.words()).collect();
            let mostly =
                largest(reading, Owner::Unattributed).map_or(String::new(), |e| format!(", mostly in \"{}\",", e.phase.words()));
            let mut said = format!("{excess} beyond the baseline{mostly} could be any of: {}.", who.join(", "));
            if !what.is_empty() {
                let _ = write!(said, " To tell: {}.", what.join("; "));
            }
            said
        }
        Verdict::Aborted { by, after } => format!("The {} ended it after {}.", by.words(), after.words()),
    };
    if let End::Stopped { after } = reading.end {
        let _ = write!(said, " It had not completed where the account of it ends; the last thing proven is {}.", after.words());
    }
    said
}

fn culprit(reading: &Reading, culprit: &Culprit, program: &str) -> String {
    let Some(entry) = largest(reading, culprit.owner) else { return format!("{}: {}.", culprit.owner.words(), culprit.excess) };
    let (phase, span) = (entry.phase.words(), entry.span);
    match (culprit.owner, entry.kind) {
        (Owner::Resolver, _) => format!("The name lookup took {span}: the resolver's time, or the way's to it."),
        (Owner::Client, _) => format!("By its own clock {program} took {span} ({phase}), and waited for nobody whom it names."),
        (Owner::Edge, _) => format!("By its own clock {program} took {span} ({phase})."),
        (Owner::EdgeApp, _) => format!("{program} waited {span} for its backend ({phase})."),
        (owner, Some(kind)) => format!("{}: {}, {span} ({phase}).", owner.words(), kind.words()),
        (owner, None) => format!("{}: {span} ({phase}).", owner.words()),
    }
}

/// The entry with the most excess of an owner's.
fn largest(reading: &Reading, owner: Owner) -> Option<&Entry> {
    reading.ledger.entries.iter().filter(|e| e.owner_of_excess() == owner).max_by_key(|e| e.excess())
}
