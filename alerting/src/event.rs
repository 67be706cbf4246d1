//! What receivers hear.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clock::UnixSeconds;
use crate::states::Blame;

/// An alert that began, changed or ended.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Event {
    /// The receiver's key: the same from the first word to the last.
    pub key: String,
    /// The check, or `prober`.
    pub check: String,
    /// From where; of a check that several places judge together, their common name.
    pub vantage: String,
    /// The places that see it, where several judge together: it may change while the alert lasts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seen_from: Vec<String>,
    /// What is checked.
    pub target: String,
    /// Whether it is over.
    pub resolved: bool,
    /// Since when: wall clock, seconds since the Unix epoch.
    pub since: UnixSeconds,
    /// Until when, on the same clock, if it is over.
    pub ended: Option<UnixSeconds>,
    /// Whose fault, and the evidence.
    pub blame: Blame,
    /// Labels of the check.
    pub labels: BTreeMap<String, String>,
    /// Where to look.
    pub link: Option<String>,
}

impl Event {
    /// One line.
    pub fn summary(&self) -> String {
        let Blame { culprit, phase, ms, .. } = &self.blame;
        let from = if self.seen_from.is_empty() { self.vantage.clone() } else { listed(&self.seen_from) };
        match self.check.as_str() {
            PROBER => format!("The prober at {from} is too sick to judge others"),
            AGENT if self.resolved => format!("The agent {from} is heard of again"),
            AGENT => format!("The agent {from} is not heard of: what it checks is not known"),
            AGENTS if self.resolved => "Agents are heard of again".into(),
            AGENTS => "No agent is heard of: nothing that the fleet checks is known".into(),
            check if self.resolved => format!("{check} from {from}: over (it was: {})", culprit.words()),
            check if *ms > 0.0 => format!("{check} from {from}: {}, {ms:.0} ms in {phase}", culprit.words()),
            check => format!("{check} from {from}: {} ({phase})", culprit.words()),
        }
    }
}

/// The check that stands for the prober itself.
pub const PROBER: &str = "prober";
/// The check that stands for an agent's being heard of.
pub const AGENT: &str = "agent";
/// The check that stands for any agent's being heard of.
pub const AGENTS: &str = "agents";
/// The check that stands for an agent's own access to the network.
pub const ACCESS: &str = "access";
/// Names that are said one by one.
const MOST_LISTED: usize = 6;

/// Names as a sentence has them: `a, b and c`, `a, b and 7 others`.
pub fn listed(names: &[String]) -> String {
    match names {
        [] => "nowhere".into(),
        [one] => one.clone(),
        [some @ .., last] if names.len() <= MOST_LISTED => format!("{} and {last}", some.join(", ")),
        _ => {
            let said = MOST_LISTED - 1;
            format!("{} and {} others", names[..said].join(", "), names.len() - said)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_listed_while_they_are_few() {
        let names: Vec<String> = (1..=8).map(|n| format!("a{n}")).collect();
        let said: Vec<String> = [0, 1, 2, 3, 6, 7, 8].iter().map(|n| listed(&names[..*n])).collect();
        let wanted = [
            "nowhere",
            "a1",
            "a1 and a2",
            "a1, a2 and a3",
            "a1, a2, a3, a4, a5 and a6",
            "a1, a2, a3, a4, a5 and 2 others",
            "a1, a2, a3, a4, a5 and 3 others",
        ];
        assert_eq!(said, wanted);
    }
}
