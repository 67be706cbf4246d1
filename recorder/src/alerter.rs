//! The alerter: sums come in, alerts go out; judged every few seconds, kept in the store, sent by the outbox that `watch` has too.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use alerting::clock::UnixSeconds;
use alerting::states::{Active, State};
use alerting::status::AlertStatus;
use alerting::store::Batch;
use alerting::{Event, Incident, Store};
use tokio::sync::mpsc::UnboundedSender;
use tracing::warn;

use crate::alarm::{Alarm, wrong};
use crate::config::Config;
use crate::error::Error;
use crate::evidence_store::make_folder;
use crate::metrics::{ByAlert, Metrics};
use crate::tally::Sums;
use crate::view::Shown;

/// How long messages that were refused, and rows that cannot be read, are kept.
const REMEMBERED: Duration = Duration::from_secs(14 * 86_400);

/// Alerts, with what they need.
pub struct Alerter {
    config: Arc<Config>,
    alarm: Alarm,
    store: Store,
    board: Arc<AlertStatus>,
    metrics: Arc<Metrics>,
    shown: Arc<Shown>,
    /// Incidents that the store refused: the next batch has them again.
    unsaved: Vec<Incident>,
    /// Takes messages that the store refused.
    direct: UnboundedSender<(String, Event)>,
}

impl Alerter {
    /// Takes up where an earlier run stopped.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn open(
        config: Arc<Config>,
        board: Arc<AlertStatus>,
        metrics: Arc<Metrics>,
        shown: Arc<Shown>,
        direct: UnboundedSender<(String, Event)>,
    ) -> Result<Self, Error> {
        let path = &config.alerts.store;
        if let Some(folder) = path.parent() {
            make_folder(folder).map_err(|source| Error::File { path: folder.to_owned(), source })?;
        }
        private(path).map_err(|source| Error::File { path: path.clone(), source })?;
        let store = open(path)?;
        let states = store.states().map_err(|e| Error::Store(e.to_string()))?;
        let alerter = Self { alarm: Alarm::new(states), config, store, board, metrics, shown, unsaved: Vec::new(), direct };
        alerter.recall();
        Ok(alerter)
    }

    /// Puts alerts that were on when we stopped back on the board.
    fn recall(&self) {
        for (name, active) in self.alarm.states().filter_map(|(name, s)| Some((name, s.active.as_ref()?))) {
            let event = self.event(name, active, None);
            self.board.note(&event);
        }
        self.show();
    }

    /// Judges the sums of the last window.
    pub fn judge(&mut self, sums: &Sums) {
        let alerts = &self.config.alerts;
        let wrong = wrong(sums, alerts, alerts.window.0);
        let said = self.alarm.round(UnixSeconds::now(), &wrong, alerts);
        let mut batch = Batch { retired: self.alarm.forget(), incidents: std::mem::take(&mut self.unsaved), ..Batch::default() };
        for (name, transition) in said {
            let (word, before) = (transition.word(), transition.before().cloned());
            let (active, ended) = transition.into_parts();
            let event = Event { before, ..self.event(&name, &active, ended) };
            let (family, culprit) = (event.blame.family.label(), event.blame.culprit.label());
            warn!(alert = event.key, state = word, family, culprit, "{}", event.blame.sentence);
            self.board.note(&event);
            batch.incidents.push(Incident::of(&event, &active));
            batch.messages.extend(self.config.receivers.iter().map(|r| (r.name(), event.clone())));
        }
        batch.states = self.alarm.states().map(|(name, state)| (name.clone(), state.clone())).collect();
        self.keep(batch);
        self.show();
    }

    fn keep(&mut self, batch: Batch) {
        let messages = !batch.messages.is_empty();
        match self.store.write(&batch) {
            Ok(()) => {
                let forgotten = self.store.forget(UnixSeconds::now() - REMEMBERED);
                self.shown.trouble("store", forgotten.err().map(|error| error.to_string()));
            }
            Err(error) => {
                self.shown.trouble("store", Some(format!("{error}; alerts go on from memory")));
                self.unsaved = batch.incidents;
                for message in batch.messages {
                    let _ = self.direct.send(message); // the outbox lives as long as we do
                }
            }
        }
        if messages {
            self.board.messages_wait();
        }
    }

    fn show(&self) {
        let on: BTreeMap<String, &State> = self.alarm.states().map(|(n, s)| (n.clone(), s)).collect();
        for (name, state) in &on {
            self.metrics.firing.get_or_create(&ByAlert { alert: name.clone() }).set(i64::from(state.active.is_some()));
        }
        let sentences = on.iter().filter_map(|(name, s)| Some((name.clone(), s.active.as_ref()?.blame.sentence.clone())));
        let alerts = sentences.collect();
        let troubles = ["outbox", "refused"].map(|part| (part, self.board.change(|seen| seen.trouble.get(part).cloned())));
        // The outbox has logged them already.
        self.shown.change(|status| {
            status.alerts = alerts;
            for (part, trouble) in troubles {
                match trouble {
                    Some(trouble) => status.trouble.insert(part.to_owned(), trouble),
                    None => status.trouble.remove(part),
                };
            }
        });
    }

    fn event(&self, name: &str, active: &Active, ended: Option<UnixSeconds>) -> Event {
        let site = &self.config.capture.site;
        Event {
            key: format!("capture {name}@{site}"),
            check: check_of(name),
            vantage: site.clone(),
            seen_from: Vec::new(),
            target: site.clone(),
            resolved: ended.is_some(),
            since: active.since,
            ended,
            blame: active.blame.clone(),
            before: None,
            unwatched: None,
            labels: BTreeMap::new(),
            link: None,
        }
    }
}

/// What receivers hear an alert's check called.
pub(crate) fn check_of(subject: &str) -> String {
    format!("handshakes, {subject}")
}

/// Opens the database of alerts.
///
/// # Errors
/// If it cannot be read, or is of a later version.
pub fn open(path: &Path) -> Result<Store, Error> {
    Store::open(path).map_err(|e| Error::Store(e.to_string()))
}

/// Makes a file for this user only, where there is none: clients' networks will be in it.
fn private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::File::options().append(true).create(true).mode(0o600).open(path).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_database_of_alerts_is_for_this_user_only() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let path = folder.path().join("alerts.db");
        let mut config = Config::default();
        config.alerts.store = path.clone();
        let (direct, _undelivered) = tokio::sync::mpsc::unbounded_channel();
        let open =
            || Alerter::open(Arc::new(config.clone()), Arc::default(), Arc::default(), Arc::default(), direct.clone()).map(drop);
        open().expect("it opens");
        let mode = |path: &Path| std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        open().expect("it opens again");
    }
}
