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
    /// From where.
    pub vantage: String,
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
    /// Labels of the check.
    pub labels: BTreeMap<String, String>,
    /// Where to look.
    pub link: Option<String>,
}

impl Event {
    /// One line.
    pub fn summary(&self) -> String {
        let Blame { culprit, family, ms, .. } = &self.blame;
        let place = self.blame.in_words();
        let (check, from) = (&self.check, &self.vantage);
        match family {
            _ if check == PROBER => format!("The prober at {from} is too sick to judge others"),
            _ if self.resolved => format!("{check} from {from}: over (it was: {})", culprit.words()),
            Family::Slow if *ms >= 1.0 => format!("{check} from {from}: {}, {ms:.0} ms in {place}", culprit.words()),
            Family::Failing => format!("{check} from {from}: {place} ({})", culprit.whose()),
            Family::Slow | Family::Certificate | Family::Prober => format!("{check} from {from}: {} ({place})", culprit.words()),
        }
    }

    /// Its severity.
    pub fn severity(&self) -> Severity {
        self.blame.family.severity(self.blame.culprit)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::culprit::Culprit;
    use crate::receiver::tests::event;

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
            "login from here: the edge is slow or fails, 312 ms in ClientHello to server flight"
        );
    }

    #[test]
    fn what_is_too_long_is_cut_between_characters() {
        assert_eq!((shortened("Zürich", 6), shortened("Zürich", 3)), ("Zürich".to_owned(), "Zü…".to_owned()));
    }
}
