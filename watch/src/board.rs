//! What is known now, for whoever looks: page and metrics read it, the desk writes it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;

use tokio::sync::Notify;

use crate::checks::Role;
use crate::event::Event;
use crate::states::Active;
use crate::store::{Kept, Refused};

/// Rounds of each check that are shown.
const SHOWN: usize = 20;

/// A round, as much of it as a glance takes in.
#[derive(Clone, Debug)]
pub struct Glance {
    /// When it began, in nanoseconds since the epoch.
    pub started: i64,
    /// How long it took, in milliseconds.
    pub total_ms: f64,
    /// Whether it succeeded.
    pub success: bool,
    /// Whether the prober was too sick to judge.
    pub sick: bool,
    /// Who was blamed.
    pub culprit: Option<String>,
}

/// A check, as last seen.
#[derive(Clone, Default, Debug)]
pub struct CheckView {
    /// What is checked.
    pub target: String,
    /// What for.
    pub role: Role,
    /// Its last round.
    pub last: Option<Kept>,
    /// Its last rounds, latest first.
    pub recent: VecDeque<Glance>,
    /// The alert, if one is on.
    pub active: Option<Active>,
}

/// All checks, as last seen.
#[derive(Clone, Default, Debug)]
pub struct Seen {
    /// By name.
    pub checks: BTreeMap<String, CheckView>,
    /// Why the prober is too sick to judge others, as of the last round.
    pub sick: Option<String>,
    /// Alerts that receivers know of, to be told again.
    pub firing: BTreeMap<String, Event>,
    /// What went wrong with the watcher itself: a reload, the store.
    pub trouble: BTreeMap<&'static str, String>,
    /// Messages that receivers refused for good.
    pub refused: Vec<Refused>,
}

/// The board.
#[derive(Default)]
pub struct Board {
    seen: Mutex<Seen>,
    messages: Notify,
}

impl Board {
    /// Changes it.
    pub fn change<T>(&self, change: impl FnOnce(&mut Seen) -> T) -> T {
        // A panic elsewhere while it was held leaves at worst an older view.
        change(&mut self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Says that messages wait in the store, or for want of it elsewhere.
    pub fn messages_wait(&self) {
        self.messages.notify_one();
    }

    /// Waits until messages wait.
    pub async fn messages(&self) {
        self.messages.notified().await;
    }

    /// All of it, as it is now.
    pub fn seen(&self) -> Seen {
        self.change(|seen| seen.clone())
    }

    /// Notes a round.
    pub fn round(&self, round: &Kept, target: &str, role: Role, active: Option<&Active>) {
        self.change(|seen| {
            let view = seen.checks.entry(round.name.clone()).or_default();
            target.clone_into(&mut view.target);
            (view.role, view.active) = (role, active.cloned());
            let (started, total_ms, success) = (round.started, round.total_ms, round.success);
            view.recent.push_front(Glance {
                started,
                total_ms,
                success,
                sick: round.sick.is_some(),
                culprit: round.culprit.clone(),
            });
            view.last = Some(round.clone());
            view.recent.truncate(SHOWN);
            seen.sick.clone_from(&round.sick);
        });
    }
}
