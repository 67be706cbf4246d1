//! What happened, on its way into the store and to receivers: one transaction a batch.
//!
//! In: rounds, states, incidents, events. Out: the store, the outbox. If the store refuses, the batch waits and its messages are handed
//! over directly: a full disk must not silence an alert.

use std::sync::Arc;

use alerting::states::{Active, State};
use alerting::{Event, Incident, Receiver};
use analysis::clock::{Client, Instant, Span};
use prometheus_client::metrics::counter::Counter;
use tokio::sync::mpsc::UnboundedSender;

use crate::clock::now;
use crate::status::Status;
use crate::store::{Batch, History, Times};

/// Times that wait for a store that refuses them.
const MOST_TIMES: usize = 200_000;
/// Rounds that wait for a store that refuses them.
pub(crate) const MOST_PENDING: usize = 50_000;
/// Time between two looks for what is too old to be kept.
const FORGET_TIME: Span = Span::from_millis(60_000);

/// The way into the store.
pub(crate) struct Journal {
    store: History,
    status: Arc<Status>,
    /// Messages for the time in which the store refuses.
    direct: UnboundedSender<(String, Event)>,
    store_errors: Counter,
    /// What goes next.
    pub(crate) batch: Batch,
    /// Checks that are no more, whose states must go from the store.
    retired: Vec<String>,
    /// States that changed since the last batch.
    touched: Vec<String>,
    forgotten: Instant<Client>,
}

impl Journal {
    pub(crate) fn new(
        store: History,
        status: Arc<Status>,
        direct: UnboundedSender<(String, Event)>,
        store_errors: Counter,
    ) -> Self {
        let (batch, forgotten) = (Batch::default(), Instant::from_nanos(0));
        Self { store, status, direct, store_errors, batch, retired: Vec::new(), touched: Vec::new(), forgotten }
    }

    /// The state `name` has changed.
    pub(crate) fn touch(&mut self, name: &str) {
        self.touched.push(name.to_owned());
    }

    /// The state `name` is no more.
    pub(crate) fn retire(&mut self, name: String) {
        self.touched.retain(|touched| *touched != name);
        self.retired.push(name);
    }

    /// Receivers are to hear it.
    pub(crate) fn tell(&mut self, receivers: &[Receiver], event: &Event) {
        self.status.alerts.note(event);
        for receiver in receivers {
            self.batch.alerts.messages.push((receiver.name(), event.clone()));
        }
    }

    /// What `event` tells of is a box of the incident diagram; a later word replaces an earlier one.
    pub(crate) fn incident(&mut self, event: &Event, active: &Active) {
        let incident = Incident::of(event, active);
        self.batch.alerts.incidents.retain(|i| (&i.key, i.since) != (&incident.key, incident.since));
        self.batch.alerts.incidents.push(incident);
    }

    /// Adds times; while the store refuses, the oldest go first.
    pub(crate) fn times(&mut self, times: Vec<Times>) {
        self.batch.times.extend(times);
        let excess = self.batch.times.len().saturating_sub(MOST_TIMES);
        self.batch.times.drain(..excess);
    }

    /// Writes what there is; `state` gives the states that were touched. False if the store refuses: all of it waits, but messages, which
    /// are handed over.
    pub(crate) fn write(&mut self, state: impl Fn(&str) -> Option<State>, retention: Span) -> bool {
        self.touched.sort_unstable();
        self.touched.dedup();
        let states = std::mem::take(&mut self.touched).into_iter();
        self.batch.alerts.retired.append(&mut self.retired);
        self.batch.alerts.states = states.filter_map(|name| Some((name.clone(), state(&name)?))).collect();
        let alerts = &self.batch.alerts;
        let no_alerts = alerts.states.is_empty() && alerts.messages.is_empty() && alerts.retired.is_empty();
        if no_alerts && self.batch.rounds.is_empty() && self.batch.times.is_empty() && self.batch.reported.is_empty() {
            return true;
        }
        let messages = !alerts.messages.is_empty();
        let written = self.store.write(&self.batch);
        match &written {
            Ok(()) => {
                self.batch = Batch::default();
                self.status.trouble("store", None);
                self.forget(retention);
            }
            Err(error) => {
                self.store_errors.inc();
                self.status.trouble("store", Some(format!("{error}; rounds wait in memory, alerts go on")));
                // The next batch carries these again; messages cannot wait.
                for message in self.batch.alerts.messages.drain(..) {
                    let _ = self.direct.send(message);
                }
                self.touched = self.batch.alerts.states.drain(..).map(|(name, _)| name).collect();
            }
        }
        if messages {
            self.status.alerts.messages_wait();
        }
        written.is_ok()
    }

    fn forget(&mut self, retention: Span) {
        let now = now();
        if now - self.forgotten > FORGET_TIME {
            self.forgotten = now;
            if let Err(error) = self.store.forget(now - retention) {
                self.status.trouble("store", Some(error.to_string()));
            }
        }
    }
}
