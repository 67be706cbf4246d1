//! What happened, on its way into the store and to receivers: one transaction a batch.
//!
//! In: rounds, states, incidents, events. Out: the store, the outbox. If the store refuses, the batch waits and its messages are handed
//! over directly: a full disk must not silence an alert.

use std::sync::Arc;
use std::time::{Duration, Instant};

use alerting::states::{Active, State};
use alerting::{Event, Incident, Receiver};
use analysis::clock::{Client, Instant as Moment, Span};
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
const FORGET_TIME: Duration = Duration::from_secs(60);
/// What is too old is forgotten for so long at a time: rounds wait meanwhile.
const FORGET_FOR: Duration = Duration::from_millis(100);

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
    /// What is wrong with the file, as of the last look.
    lost: Option<String>,
    /// When what is too old was last forgotten, all of it.
    forgotten: Option<Instant>,
    /// When the last round was that the store had at first, and when that was read.
    latest: (Option<Moment<Client>>, Instant),
}

impl Journal {
    pub(crate) fn new(
        store: History,
        status: Arc<Status>,
        direct: UnboundedSender<(String, Event)>,
        store_errors: Counter,
    ) -> Self {
        let latest = (store.latest().ok().flatten(), Instant::now());
        let (batch, retired, touched) = (Batch::default(), Vec::new(), Vec::new());
        Self { store, status, direct, store_errors, batch, retired, touched, lost: None, forgotten: None, latest }
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

    /// Tells receivers of now that were not there before of all that is `on`: nobody else will.
    pub(crate) fn introduce(&mut self, before: &[String], now: &[Receiver], on: &[Event]) {
        self.batch.alerts.receivers = Some(now.iter().map(Receiver::name).collect());
        let new: Vec<Receiver> = now.iter().filter(|receiver| !before.contains(&receiver.name())).cloned().collect();
        on.iter().for_each(|event| self.tell(&new, event));
    }

    /// Receivers as they were when the store was last written; those of `now` where it never was with any.
    pub(crate) fn receivers_before(&self, now: &[Receiver]) -> Vec<String> {
        let known = self.store.alerts().receivers().unwrap_or_default();
        if known.is_empty() { now.iter().map(Receiver::name).collect() } else { known }
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
        let no_alerts = no_alerts && alerts.receivers.is_none();
        if no_alerts && self.batch.rounds.is_empty() && self.batch.times.is_empty() && self.batch.reported.is_empty() {
            return true;
        }
        let messages = !alerts.messages.is_empty();
        let written = self.store.write(&self.batch);
        match &written {
            Ok(()) => {
                self.batch = Batch::default();
                self.look(retention);
                self.status.trouble("store", self.lost.clone());
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

    /// Looks after the file, once a minute: whether it is there, and what in it is too old.
    fn look(&mut self, retention: Span) {
        if self.forgotten.is_some_and(|at| at.elapsed() < FORGET_TIME) {
            return;
        }
        let lost = self.store.alerts().lost().map(|path| {
            let path = path.display();
            format!("{path} was deleted, or another file put in its place: what is written now is lost at the end; start anew")
        });
        self.store_errors.inc_by(u64::from(lost.is_some()));
        self.lost = lost;
        self.forget(retention);
    }

    fn forget(&mut self, retention: Span) {
        let (begun, before) = (Instant::now(), self.today() - retention);
        loop {
            match self.store.forget(before) {
                Ok(true) if begun.elapsed() < FORGET_FOR => {}
                Ok(true) => return, // more of it with the next batch
                Ok(false) => break,
                Err(error) => {
                    self.lost = Some(error.to_string());
                    break;
                }
            }
        }
        self.forgotten = Some(begun);
    }

    /// What time it is, as far as it is sure: by a wall clock that is ahead all would be too old, so no more time has passed since the
    /// last round of an earlier run than we were there for. What is kept for longer than it must be is forgotten later.
    fn today(&self) -> Moment<Client> {
        let (latest, read) = self.latest;
        let passed = Span::from_nanos(i64::try_from(read.elapsed().as_nanos()).unwrap_or(i64::MAX));
        latest.map_or(now(), |latest| now().min(latest + passed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::RoundRecord;

    const DAY: Span = Span::from_millis(86_400_000);

    fn round(started: Moment<Client>) -> RoundRecord {
        RoundRecord {
            name: "login".into(),
            address: None,
            scheduled: started,
            started,
            total_ms: 1.0,
            success: true,
            reason: None,
            local: None,
            verdict: String::new(),
            target_verdict: String::new(),
            target_culprit: None,
            culprit: None,
            sick: None,
            rtt_ms: None,
            grade: String::new(),
            sentence: String::new(),
            parts: Vec::new(),
            certificate_end: None,
        }
    }

    fn journal(path: &std::path::Path) -> Journal {
        let (direct, _) = tokio::sync::mpsc::unbounded_channel();
        Journal::new(History::open(path).expect("it opens"), Arc::default(), direct, Counter::default())
    }

    fn write(journal: &mut Journal, rounds: Vec<RoundRecord>, retention: Span) -> usize {
        journal.batch.rounds = rounds;
        assert!(journal.write(|_| None, retention), "there is room");
        journal.store.rounds("login", Moment::from_nanos(i64::MAX), 100_000).expect("they are read").len()
    }

    #[test]
    fn a_clock_that_is_ahead_at_the_start_forgets_nothing_that_is_not_too_old_without_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("store.db");
        // By the clock of now, all of it was thirty days ago: or it is thirty days ahead.
        let then = now() - DAY * 30;
        let old = (0..10).map(|n| round(then - DAY * n)).rev().collect();
        assert_eq!(write(&mut journal(&path), old, DAY * 60), 10);
        let left = write(&mut journal(&path), vec![round(now())], DAY * 14);
        assert_eq!(left, 11);
        // What is too old without it goes.
        assert_eq!(write(&mut journal(&path), Vec::from([round(now())]), DAY * 14), 2, "now that is the last round");
    }

    #[test]
    fn a_store_that_was_deleted_is_said_to_be() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("store.db");
        let mut journal = journal(&path);
        write(&mut journal, vec![round(now())], DAY);
        let trouble = |journal: &Journal| journal.status.snapshot().alerts.trouble.get("store").cloned();
        assert_eq!((trouble(&journal), journal.store_errors.get()), (None, 0));
        std::fs::remove_file(&path).expect("it is there");
        journal.forgotten = None;
        write(&mut journal, vec![round(now())], DAY);
        assert!(trouble(&journal).is_some_and(|said| said.contains("store.db was deleted")));
        assert_eq!(journal.store_errors.get(), 1);
    }

    #[test]
    fn all_that_is_too_old_is_forgotten_however_much_comes_in_a_minute() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut journal = journal(&folder.path().join("store.db"));
        let many = (0..12_000).map(|_| round(now() - DAY)).collect();
        let mut left = write(&mut journal, many, DAY * 2);
        assert_eq!(left, 12_000);
        journal.forgotten = None;
        for _ in 0..100 {
            left = write(&mut journal, vec![round(now())], Span::from_millis(60_000));
        }
        assert_eq!(left, 100, "no batch waits for a minute while there is more");
    }
}
