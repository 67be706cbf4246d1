//! Where rounds are judged, kept and turned into messages: one thread, one writer of the store.
//!
//! In: [`RawRound`]s. Out: one transaction a batch (rounds, states, incidents, messages together: [`Journal`]), the status and the metrics.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, SystemTime};

use alerting::clock::UnixSeconds;
use alerting::event::PROBER;
use alerting::states::{Active, Blame, KofN, Rule, State};
use alerting::{Culprit, Event};
use analysis::clock::Span;
use serving::otlp::trace::Trace;
use tokio::sync::mpsc::{Sender, UnboundedSender};
use tracing::warn;

use crate::checks::CheckFile;
use crate::clock::{UnixHour, now, second};
use crate::journal::{Journal, MOST_PENDING};
use crate::judging::{Judged, Judging, USUAL_FOR};
use crate::metrics::{ByCheck, ByCulprit, ByOwner, ByPhase, ByReason, Metrics, RoundLabel};
use crate::probing::RawRound;
use crate::status::Status;
use crate::store::{History, HistoryError};
use crate::telemetry::trace;
use crate::trends::Trends;

/// Rounds wait so long for others to be written with them.
pub(crate) const BATCH_TIME: Duration = Duration::from_millis(250);
/// Time between two additions to the hourly histograms: each costs as much as many rounds.
pub(crate) const MERGE_TIME: Duration = Duration::from_secs(60);
/// The prober is sick when half of its last rounds were.
pub(crate) const PROBER_RULE: Rule = Rule { fire: KofN { k: 5, n: 10 }, resolve_after: 10 };

/// Judges rounds, and alerts.
pub struct Engine {
    journal: Journal,
    config: Arc<CheckFile>,
    status: Arc<Status>,
    metrics: Arc<Metrics>,
    states: HashMap<String, State>,
    judging: Judging,
    trends: Trends,
    /// Takes the traces of bad rounds, where somebody wants them.
    traces: Option<Sender<Trace>>,
}

impl Engine {
    /// Takes up where the store left off.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn open(
        store: History,
        config: Arc<CheckFile>,
        status: Arc<Status>,
        metrics: Arc<Metrics>,
        direct: UnboundedSender<(String, Event)>,
    ) -> Result<Self, HistoryError> {
        let now = now();
        let states: HashMap<String, State> = store.alerts().states()?.into_iter().collect();
        let known = store.round_trips(now - USUAL_FOR)?;
        let usual =
            known.into_iter().map(|(name, round_trip, n)| (name, VecDeque::from([(UnixHour::of(now), round_trip, n)]))).collect();
        let journal = Journal::new(store, Arc::clone(&status), direct, metrics.store_errors.clone());
        let judging = Judging::new(usual);
        let engine = Self { journal, config, status, metrics, states, judging, trends: Trends::default(), traces: None };
        engine.recall();
        Ok(engine)
    }

    /// Has it hand out a trace of every bad round.
    #[must_use]
    pub fn traced(mut self, traces: Option<Sender<Trace>>) -> Self {
        self.traces = traces;
        self
    }

    /// Puts alerts that were on when we stopped into the status.
    fn recall(&self) {
        for (name, active) in self.states.iter().filter_map(|(name, s)| Some((name, s.active.as_ref().filter(|a| a.told)?))) {
            let target = self.config.check_of(name).map_or("", |c| &c.target);
            let event = self.event(name, target, active, None);
            self.status.alerts.note(&event);
        }
    }

    /// Works until nobody sends rounds any more.
    pub fn run(mut self, rounds: &Receiver<RawRound>, configs: &Receiver<Arc<CheckFile>>) {
        let (mut written, mut merged) = (std::time::Instant::now(), std::time::Instant::now());
        loop {
            match rounds.recv_timeout(BATCH_TIME) {
                Ok(round) => self.take(round),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if let Some(config) = configs.try_iter().last() {
                self.retire(&config);
                self.judging.retain(|name| config.check_of(name).is_some());
                self.config = config;
            }
            if written.elapsed() >= BATCH_TIME {
                if merged.elapsed() >= MERGE_TIME {
                    self.merge();
                    merged = std::time::Instant::now();
                }
                self.write();
                written = std::time::Instant::now();
            }
        }
        self.merge();
        self.write();
    }

    /// Puts the times of the last minutes into the batch.
    fn merge(&mut self) {
        self.journal.times(self.trends.take());
    }

    /// Ends the alerts of checks that are no more: nobody's rounds would.
    fn retire(&mut self, next: &CheckFile) {
        let stays = |name: &str| name == PROBER || next.check_of(name).is_some();
        let gone: Vec<String> = self.states.keys().filter(|name| !stays(name)).cloned().collect();
        for name in gone {
            let Some(active) = self.states.remove(&name).and_then(|s| s.active) else { continue };
            let target = self.config.check_of(&name).map_or(String::new(), |c| c.target.clone());
            let ended = second(now());
            self.metrics.firing.remove(&ByCheck { check: name.clone() });
            self.incident(&name, &target, &active, Some(ended));
            if active.told {
                let event = self.event(&name, &target, &active, Some(ended));
                self.journal.tell(&self.config.receivers, &event);
            }
            self.journal.retire(name);
        }
    }

    /// Judges a round, and notes what comes of it.
    pub(crate) fn take(&mut self, raw: RawRound) {
        let plan = &raw.prepared.plan;
        let judged = self.judging.judge(&raw, &self.config.gate);
        self.measure(&raw, &judged);
        if let Some(traces) = self.traces.as_ref().filter(|_| judged.record.culprit.is_some()) {
            // A collector that is away costs traces, nothing else.
            let _ = traces.try_send(trace(&judged.record, &raw.prepared.plan.check.target, &self.config.watch.vantage));
        }
        let Judged { record, found, gated, prober, .. } = judged;
        let at = second(raw.started);
        let vantage = self.config.watch.vantage.clone();
        self.advance(PROBER, &vantage, at, prober, PROBER_RULE);
        if !gated {
            let rule = Rule { fire: plan.fire, resolve_after: plan.resolve_after };
            self.advance(&raw.name, &plan.check.target, at, found, rule);
        }
        let active = self.states.get(&raw.name).and_then(|s| s.active.as_ref());
        self.status.round(&record, &plan.check.target, plan.check.role, active);
        self.trends.note(&record);
        self.journal.batch.rounds.push(record);
    }

    /// Alerts that are on, by what they are about.
    pub(crate) fn active(&self) -> Vec<(String, Active)> {
        let on = self.states.iter().filter_map(|(name, state)| Some((name.clone(), state.active.clone()?)));
        let mut on: Vec<(String, Active)> = on.collect();
        on.sort_by(|a, b| a.0.cmp(&b.0));
        on
    }

    fn advance(&mut self, name: &str, target: &str, at: UnixSeconds, found: Option<Blame>, rule: Rule) {
        let check = self.config.check_of(name).map_or(name, |c| &c.name);
        let resting = self.config.maintenance.iter().any(|m| m.covers(name, at) || m.covers(check, at));
        let state = self.states.entry(name.to_owned()).or_default();
        let transition = state.round(at, found, rule, resting);
        let active = state.active.clone();
        self.journal.touch(name);
        self.metrics.firing.get_or_create(&ByCheck { check: name.to_owned() }).set(i64::from(active.is_some()));
        if let Some(active) = &active {
            self.incident(name, target, active, None);
        }
        let Some(transition) = transition else { return };
        let (word, before) = (transition.word(), transition.before().cloned());
        let (active, ended) = transition.into_parts();
        let Blame { culprit, family, sentence, .. } = &active.blame;
        warn!(check = name, state = word, family = family.label(), culprit = culprit.label(), "{sentence}");
        self.incident(name, target, &active, ended);
        let event = Event { before, ..self.event(name, target, &active, ended) };
        self.journal.tell(&self.config.receivers, &event);
    }

    fn event(&self, name: &str, target: &str, active: &Active, ended: Option<UnixSeconds>) -> Event {
        let watch = &self.config.watch;
        Event {
            key: format!("{name}@{}", watch.vantage),
            check: name.to_owned(),
            vantage: watch.vantage.clone(),
            seen_from: Vec::new(),
            target: target.to_owned(),
            resolved: ended.is_some(),
            since: active.since,
            ended,
            blame: active.blame.clone(),
            before: None,
            labels: self.config.check_of(name).map(|c| c.labels.clone()).unwrap_or_default(),
            link: Some(watch.link(name)),
        }
    }

    fn incident(&mut self, name: &str, target: &str, active: &Active, ended: Option<UnixSeconds>) {
        let event = self.event(name, target, active, ended);
        self.journal.incident(&event, active);
    }

    fn measure(&self, raw: &RawRound, judged: &Judged) {
        let (m, Judged { record, opinion, gated, chain_end, .. }) = (&self.metrics, judged);
        let check = || record.name.clone();
        let culprit = if *gated { "gated" } else { record.culprit.map_or("none", Culprit::label) };
        // What a graph of rounds leads to: the page of this one, and its trace if there is one.
        let exemplar = record
            .culprit
            .map(|_| RoundLabel { trace_id: trace(record, "", "").hex(), round: record.started.nanos().to_string() });
        let at = exemplar.is_some().then(SystemTime::now);
        m.rounds.get_or_create(&ByCulprit { check: check(), culprit: culprit.to_owned() }).inc_by(1, exemplar, at);
        if let Some(reason) = &record.reason {
            m.failures.get_or_create(&ByReason { check: check(), reason: reason.clone() }).inc();
        }
        m.success.get_or_create(&ByCheck { check: check() }).set(i64::from(record.success));
        m.total.get_or_create(&ByCheck { check: check() }).observe(record.total_ms / 1e3);
        let mut phases: Vec<(&str, f64)> = Vec::new();
        for (phase, owner, ms) in &record.parts {
            match phases.iter_mut().find(|(p, _)| p == phase) {
                Some((_, sum)) => *sum += ms,
                None => phases.push((phase, *ms)),
            }
            m.owners.get_or_create(&ByOwner { check: check(), owner: owner.clone() }).inc_by(ms / 1e3);
        }
        for (phase, ms) in phases {
            m.phases.get_or_create(&ByPhase { check: check(), phase: phase.into() }).observe(ms / 1e3);
        }
        if let Some(ms) = record.rtt_ms {
            m.round_trip.get_or_create(&ByCheck { check: check() }).set(ms / 1e3);
        }
        if let Some(end) = *chain_end {
            m.certificate_end.get_or_create(&ByCheck { check: check() }).set(end.secs() as f64);
        }
        m.lateness.observe(raw.late.nanos() as f64 / 1e9);
        m.healthy.set(i64::from(opinion.health.sick.is_none()));
        m.run_delay.set(opinion.health.run_delay_ms / 1e3);
        if let Some(ms) = opinion.health.reference_ms {
            m.reference.set(ms / 1e3);
        }
    }

    /// Writes what was noted.
    pub(crate) fn write(&mut self) {
        let written =
            self.journal.write(|name| self.states.get(name).cloned(), Span::from_nanos(self.config.watch.retention.nanos()));
        if !written {
            let excess = self.journal.batch.rounds.len().saturating_sub(MOST_PENDING);
            self.journal.batch.rounds.drain(..excess);
        }
    }
}

#[cfg(test)]
mod tests {
    use alerting::Family;

    use super::*;
    use crate::store::Batch;

    const LOG: &str = "[[check]]\nname = \"log\"\ntarget = \"log.test:443\"\n";
    const LOGIN: &str = "[[check]]\nname = \"login\"\ntarget = \"login.test:443\"\nlabels = { team = \"a\" }\n";
    const HOOK: &str = "[watch]\nvantage = \"here\"\n[[receiver]]\nkind = \"webhook\"\nurl = \"http://h.test/\"\n";

    fn file(text: &str) -> Arc<CheckFile> {
        Arc::new(CheckFile::parse(text).expect("it is valid"))
    }

    /// An engine that takes up where another left off: with an alert of `login` on.
    fn engine(folder: &std::path::Path, checks: &str) -> (Engine, Arc<Status>) {
        let path = folder.join("store.db");
        let (family, phase, words) = (Family::Slow, "finish".into(), String::new());
        let blame = Blame { culprit: Culprit::Edge, family, phase, words, ms: 300.0, sentence: "Slow.".into(), pattern: None };
        let active = Active { since: UnixSeconds::from_secs(1), blame, told: true, rounds: 5, bad: 5 };
        let mut state = State::default();
        state.active = Some(active);
        let states = vec![("login".to_owned(), state)];
        let mut store = History::open(&path).expect("it opens");
        let alerts = alerting::store::Batch { states, ..Default::default() };
        store.write(&Batch { alerts, ..Batch::default() }).expect("it is written");
        let status = Arc::new(Status::default());
        let (direct, _) = tokio::sync::mpsc::unbounded_channel();
        let engine = Engine::open(store, file(checks), Arc::clone(&status), Arc::default(), direct).expect("it opens");
        (engine, status)
    }

    #[test]
    fn an_alert_has_its_own_checks_target_after_a_restart() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (_engine, status) = engine(folder.path(), &format!("{HOOK}{LOG}{LOGIN}"));
        let alerts = status.alerts.snapshot();
        let event = alerts.firing.get("login@here").expect("the alert is on");
        assert_eq!((event.target.as_str(), event.labels.get("team").map(String::as_str)), ("login.test:443", Some("a")));
    }

    #[test]
    fn an_alert_ends_with_its_own_checks_target_when_the_check_goes_and_one_of_a_shorter_name_stays() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (mut engine, _) = engine(folder.path(), &format!("{HOOK}{LOG}{LOGIN}"));
        engine.retire(&file(&format!("{HOOK}{LOG}")));
        let told: Vec<(&str, bool)> =
            engine.journal.batch.alerts.messages.iter().map(|(_, e)| (e.target.as_str(), e.resolved)).collect();
        assert_eq!(told, [("login.test:443", true)]);
    }
}
