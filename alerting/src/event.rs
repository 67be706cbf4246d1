//! What receivers hear.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clock::UnixSeconds;
use crate::family::{Family, Severity};
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
    /// What it was about before, where this says that it is another thing now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Blame>,
    /// Why nobody looks any more, where that ended it and no round that was well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unwatched: Option<String>,
    /// Labels of the check.
    pub labels: BTreeMap<String, String>,
    /// Where to look.
    pub link: Option<String>,
}

impl Event {
    /// One line.
    pub fn summary(&self) -> String {
        let Blame { culprit, family, ms, .. } = &self.blame;
        let from = self.places();
        let place = self.blame.in_words();
        match (self.check.as_str(), family) {
            (check, _) if self.resolved && self.unwatched.is_some() => {
                let why = self.unwatched.as_deref().unwrap_or_default();
                format!(
                    "{check} from {from}: {why}, and so no longer checked; nobody saw it well (it was: {})",
                    self.blame.trouble()
                )
            }
            (PROBER, _) => format!("The prober at {from} is too sick to judge others"),
            (AGENT, _) if self.resolved => format!("The agent {from} is heard of again"),
            (AGENT, _) => format!("The agent {from} is not heard of: what it checks is not known"),
            (AGENTS, _) if self.resolved => "Agents are heard of again".into(),
            (AGENTS, _) => "No agent is heard of: nothing that the fleet checks is known".into(),
            (check, _) if self.resolved => format!("{check} from {from}: over (it was: {})", self.blame.trouble()),
            (check, Family::Slow) if *ms >= 1.0 => {
                format!("{check} from {from}: {}, {ms:.0} ms in {place}", self.blame.trouble())
            }
            (check, Family::Failing) => format!("{check} from {from}: {place} ({})", culprit.whose()),
            (check, Family::Slow | Family::Certificate | Family::Prober) => {
                format!("{check} from {from}: {} ({place})", self.blame.trouble())
            }
        }
    }

    /// The places that see it, as a sentence has them.
    pub(crate) fn places(&self) -> String {
        if self.seen_from.is_empty() { self.vantage.clone() } else { listed(&self.seen_from) }
    }

    /// Its severity, if the check's own label does not say another.
    pub fn severity(&self) -> Severity {
        match self.labels.get("severity").map(String::as_str) {
            Some("critical") => Severity::Critical,
            Some("warning") => Severity::Warning,
            Some(_) | None => self.blame.family.severity(self.blame.culprit),
        }
    }

    /// Whether it is about what checks, and not about a check.
    pub(crate) fn is_of_ourselves(&self) -> bool {
        OURS.contains(&self.check.as_str())
    }
}

/// Words of at most so many characters: what is longer ends in `…`.
pub(crate) fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => text.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
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
/// Names that no check of anybody's may have: its rounds and its alerts would be taken for ours.
pub const OURS: [&str; 4] = [PROBER, AGENT, AGENTS, ACCESS];
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
    use crate::culprit::Culprit;
    use crate::receiver::tests::event;

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

    #[test]
    fn a_failure_is_said_in_words_and_has_no_milliseconds() {
        let mut refused = event(Culprit::Edge, None);
        refused.blame.family = Family::Failing;
        (refused.blame.phase, refused.blame.words, refused.blame.ms) =
            ("connect_refused".into(), "connection refused".into(), 0.0);
        assert_eq!(refused.summary(), "login from here: connection refused (the edge)");
        assert_eq!(refused.severity(), Severity::Critical);
        refused.blame.words.clear();
        assert_eq!(refused.summary(), "login from here: connect refused (the edge)", "records of before had no words");
        assert_eq!(
            event(Culprit::Edge, None).summary(),
            "login from here: the edge is slow, 312 ms in ClientHello to server flight"
        );
    }

    #[test]
    fn what_nobody_looks_at_any_more_is_not_said_to_be_well() {
        let unwatched = Some("no longer in the check file".into());
        let gone = Event { unwatched, ..event(Culprit::Edge, Some(UnixSeconds::from_secs(1_800_000_050))) };
        let summary = gone.summary();
        assert!(summary.contains("no longer in the check file") && !summary.contains("over"), "{summary}");
        for check in [PROBER, AGENT, AGENTS, ACCESS] {
            let summary = Event { check: check.into(), ..gone.clone() }.summary();
            assert!(summary.contains("no longer in the check file") && !summary.contains("again"), "{summary}");
        }
    }

    #[test]
    fn a_checks_label_says_its_severity_if_it_is_one() {
        let labelled = |severity: &str| {
            let mut event = event(Culprit::Edge, None);
            event.labels.insert("severity".into(), severity.into());
            event.severity()
        };
        assert_eq!((labelled("critical"), labelled("page")), (Severity::Critical, Severity::Warning));
    }

    #[test]
    fn what_is_too_long_is_cut_between_characters() {
        assert_eq!((shortened("Zürich", 6), shortened("Zürich", 3)), ("Zürich".to_owned(), "Zü…".to_owned()));
    }
}
