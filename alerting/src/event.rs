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
    /// Labels of the check.
    pub labels: BTreeMap<String, String>,
    /// Where to look.
    pub link: Option<String>,
}

impl Event {
    /// One line.
    pub fn summary(&self) -> String {
        let Blame { culprit, phase, ms, .. } = &self.blame;
        match self.check.as_str() {
            PROBER => format!("The prober at {} is too sick to judge others", self.vantage),
            check if self.resolved => format!("{check} from {}: over (it was: {})", self.vantage, culprit.words()),
            check if *ms > 0.0 => format!("{check} from {}: {}, {ms:.0} ms in {phase}", self.vantage, culprit.words()),
            check => format!("{check} from {}: {} ({phase})", self.vantage, culprit.words()),
        }
    }
}

/// The check that stands for the prober itself.
pub const PROBER: &str = "prober";
