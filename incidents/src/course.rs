//! What happened, round by round: which faults were on, and what each vantage's watcher said. Data.

use std::collections::BTreeMap;

use alerting::states::Active;
use alerting::{Culprit, Family, PatternKind};
use serde::{Deserialize, Serialize};
use watch::paced::Known;

/// The rounds of an incident.
#[derive(Clone, Default, PartialEq, Debug, Serialize, Deserialize)]
pub struct Course {
    /// In their order; the first is round 1.
    pub rounds: Vec<Round>,
}

/// One round.
#[derive(Clone, Default, PartialEq, Debug, Serialize, Deserialize)]
pub struct Round {
    /// Faults of those that have turns.
    pub on: Vec<String>,
    /// What each vantage's watcher said after it.
    pub said: BTreeMap<String, Said>,
}

/// What a watcher says after a round.
#[derive(Clone, Default, PartialEq, Debug, Serialize, Deserialize)]
pub struct Said {
    /// How each check went.
    pub probed: Vec<Probed>,
    /// Alerts that are on.
    pub alerts: Vec<Alert>,
}

/// How a check went.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Probed {
    /// The check.
    pub check: String,
    /// How long it took, in milliseconds.
    pub ms: f64,
    /// Why it failed, if it did.
    pub reason: Option<String>,
    /// Who is blamed for this round, if anybody.
    pub culprit: Option<Culprit>,
    /// Why it does not count, if so.
    pub sick: Option<String>,
    /// In one sentence.
    pub sentence: String,
}

/// An alert that is on.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Alert {
    /// What it is about: a check, or the prober.
    pub about: String,
    /// Whom it blames.
    pub culprit: Culprit,
    /// What kind of trouble.
    pub family: Family,
    /// In which phase, or for which reason.
    pub phase: String,
    /// What the rounds show together.
    pub pattern: Option<PatternKind>,
    /// The evidence.
    pub sentence: String,
}

impl Alert {
    fn of(about: String, active: Active) -> Self {
        let blame = active.blame;
        Self {
            about,
            culprit: blame.culprit,
            family: blame.family,
            phase: blame.phase,
            pattern: blame.pattern.map(|pattern| pattern.kind),
            sentence: blame.sentence,
        }
    }
}

impl Said {
    /// What `watch` knows, in the words of a course.
    pub fn of(known: Known) -> Self {
        let probed = known.rounds.into_iter().map(|round| Probed {
            check: round.name,
            ms: round.total_ms,
            reason: round.reason,
            culprit: round.culprit,
            sick: round.sick,
            sentence: round.sentence,
        });
        let alerts = known.alerts.into_iter().map(|(about, active)| Alert::of(about, active));
        Self { probed: probed.collect(), alerts: alerts.collect() }
    }
}
