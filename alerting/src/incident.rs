//! An alert as history: one box of the two-week diagram.

use serde::{Deserialize, Serialize};

use crate::clock::UnixSeconds;
use crate::culprit::Culprit;
use crate::event::Event;
use crate::states::Active;

/// A box of the incident diagram.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Incident {
    /// The alert's key.
    pub key: String,
    /// Since when: wall clock, seconds since the Unix epoch.
    pub since: UnixSeconds,
    /// Until when, on the same clock; absent while it lasts.
    pub ended: Option<UnixSeconds>,
    /// The check.
    pub name: String,
    /// From where.
    pub vantage: String,
    /// What is checked.
    pub target: String,
    /// Whose fault.
    pub culprit: Culprit,
    /// In which phase.
    pub phase: String,
    /// The most beyond the baseline, in milliseconds.
    pub worst_ms: f64,
    /// Rounds since then.
    pub rounds: u32,
    /// Bad ones among them.
    pub bad: u32,
    /// The evidence.
    pub sentence: String,
}

impl Incident {
    /// What `event` tells of, as a box: `active` has its extent, and its begin as it was first noted, whatever the clock said then.
    pub fn of(event: &Event, active: &Active) -> Self {
        Self {
            key: event.key.clone(),
            since: active.since,
            ended: event.ended.map(|ended| ended.max(active.since)),
            name: event.check.clone(),
            vantage: event.vantage.clone(),
            target: event.target.clone(),
            culprit: active.blame.culprit,
            phase: active.blame.phase.clone(),
            worst_ms: active.blame.ms,
            rounds: active.rounds,
            bad: active.bad,
            sentence: active.blame.sentence.clone(),
        }
    }
}
