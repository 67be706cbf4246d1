//! What is on now, for whoever looks: alerts that receivers know of, messages that they refused, and what is wrong with alerting itself.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;
use tracing::{info, warn};

use crate::event::Event;
use crate::store::Refused;

/// Alerts, as they are now.
#[derive(Clone, Default, Debug)]
pub struct AlertSnapshot {
    /// Alerts that receivers know of, to be told again, by key.
    pub firing: BTreeMap<String, Event>,
    /// What went wrong with ourselves, by part: the store, the outbox, a reload.
    pub trouble: BTreeMap<&'static str, String>,
    /// Messages that receivers refused for good.
    pub refused: Vec<Refused>,
}

/// The same, shared by who makes alerts, who delivers them and who shows them.
#[derive(Default)]
pub struct AlertStatus {
    now: Mutex<AlertSnapshot>,
    messages: Notify,
}

impl AlertStatus {
    /// Changes it.
    pub fn change<T>(&self, change: impl FnOnce(&mut AlertSnapshot) -> T) -> T {
        // A panic elsewhere while it was held leaves at worst an older view.
        change(&mut self.now.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// An alert began, changed or ended.
    pub fn note(&self, event: &Event) {
        self.change(|now| match event.resolved {
            true => now.firing.remove(&event.key),
            // What it was before is told once.
            false => now.firing.insert(event.key.clone(), Event { before: None, ..event.clone() }),
        });
    }

    /// Something is wrong with a part of ourselves, or (with nothing said) no longer.
    pub fn trouble(&self, part: &'static str, what: Option<String>) {
        let before = self.change(|now| match &what {
            Some(what) => now.trouble.insert(part, what.clone()),
            None => now.trouble.remove(part),
        });
        match (&what, &before) {
            (Some(what), before) if before.as_ref() != Some(what) => warn!(part, "{what}"),
            (None, Some(before)) => info!(part, before, "over"),
            (Some(_) | None, _) => {}
        }
    }

    /// All of it, as it is now.
    pub fn snapshot(&self) -> AlertSnapshot {
        self.change(|now| now.clone())
    }

    /// Says that messages wait in the store, or for want of it elsewhere.
    pub fn messages_wait(&self) {
        self.messages.notify_one();
    }

    /// Waits until messages wait.
    pub async fn messages(&self) {
        self.messages.notified().await;
    }
}
