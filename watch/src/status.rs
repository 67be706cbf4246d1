//! What is known now, for whoever looks: page and metrics read it, the engine writes it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use alerting::Culprit;
use alerting::states::Active;
use alerting::status::{AlertSnapshot, AlertStatus};
use analysis::clock::{Client, Instant};

use crate::checks::Role;
use crate::store::RoundRecord;

/// Rounds of each check that are shown.
const SHOWN: usize = 20;

/// A round, as much of it as a glance takes in.
#[derive(Clone, Debug)]
pub struct RoundSummary {
    /// When it began.
    pub started: Instant<Client>,
    /// How long it took, in milliseconds.
    pub total_ms: f64,
    /// Whether it succeeded.
    pub success: bool,
    /// Whether the prober was too sick to judge.
    pub sick: bool,
    /// Who was blamed.
    pub culprit: Option<Culprit>,
}

/// A check, as last seen.
#[derive(Clone, Default, Debug)]
pub struct CheckStatus {
    /// What is checked.
    pub target: String,
    /// What for.
    pub role: Role,
    /// Its last round.
    pub last: Option<RoundRecord>,
    /// Its last rounds, latest first.
    pub recent: VecDeque<RoundSummary>,
    /// The alert, if one is on.
    pub active: Option<Active>,
}

/// All checks, as last seen.
#[derive(Clone, Default, Debug)]
pub struct Checks {
    /// By name.
    pub by_name: BTreeMap<String, CheckStatus>,
    /// There are none in the check file: `/probe` alone is served.
    pub none: bool,
    /// Why the prober is too sick to judge others, as of the last round.
    pub sick: Option<String>,
}

/// All that is known now.
#[derive(Clone, Default, Debug)]
pub struct Snapshot {
    /// Checks.
    pub checks: Checks,
    /// Alerts, and what is wrong with the watcher itself.
    pub alerts: AlertSnapshot,
}

/// The same, shared by who judges and who shows.
#[derive(Default)]
pub struct Status {
    checks: Mutex<Checks>,
    /// Alerts, shared with the outbox.
    pub alerts: Arc<AlertStatus>,
}

impl Status {
    /// Changes what is known of checks.
    pub fn change<T>(&self, change: impl FnOnce(&mut Checks) -> T) -> T {
        // A panic elsewhere while it was held leaves at worst an older view.
        change(&mut self.checks.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Something is wrong with a part of the watcher, or (with nothing said) no longer.
    pub fn trouble(&self, part: &'static str, what: Option<String>) {
        self.alerts.trouble(part, what);
    }

    /// All of it, as it is now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { checks: self.change(|checks| checks.clone()), alerts: self.alerts.snapshot() }
    }

    /// Notes a round.
    pub fn round(&self, round: &RoundRecord, target: &str, role: Role, active: Option<&Active>) {
        self.change(|checks| {
            let view = checks.by_name.entry(round.name.clone()).or_default();
            target.clone_into(&mut view.target);
            (view.role, view.active) = (role, active.cloned());
            let (started, total_ms, success) = (round.started, round.total_ms, round.success);
            view.recent.push_front(RoundSummary {
                started,
                total_ms,
                success,
                sick: round.sick.is_some(),
                culprit: round.culprit,
            });
            view.last = Some(round.clone());
            view.recent.truncate(SHOWN);
            checks.sick.clone_from(&round.sick);
        });
    }
}
